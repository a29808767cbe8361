//! From any text to runs of ASCII digits. Knows characters and nothing of numbering plans.

/// Fewest digits that count as another phone number rather than as an extension or a note.
pub(super) const OTHER_NUMBER_MIN_DIGITS: usize = 8;

/// Digits that stand together, with nothing but the punctuation of phone numbers between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Run {
    /// Whether a plus stood before them.
    pub(super) plus: bool,
    /// Letters touch them that are not a word such as "tel" or "ext": a licence plate or an e-mail address perhaps.
    pub(super) glued: bool,
    /// The digits in ASCII; never empty.
    pub(super) digits: String,
}

/// Neighbouring characters of one kind.
#[derive(Debug)]
enum Atom {
    Digits(String),
    Plus,
    /// What may stand inside a number: spaces, dashes, dots, brackets.
    Punctuation,
    Word(String),
    /// What ends a number: slash, semicolon, colon, line end, any other sign.
    Separator,
}

/// Words that may touch the digits of a phone number, in lower case: labels, "or" and "extension", in the languages
/// of the garage.
const GLUED_WORDS: &str = "tel tél telephone téléphone phone gsm mob mobile portable port num whatsapp fax \
                           ext x poste p ou et or and و أو او هاتف الهاتف";

/// Signs that may stand inside a number, ASCII and typographic.
const PUNCTUATION: &str =
    "-_.()[]'\u{B7}\u{2019}\u{2022}\u{2024}\u{2212}\u{FE58}\u{FE63}\u{FF08}\u{FF09}\u{FF0D}\u{FF0E}";

/// Texts that people type to say "none", in lower case.
const PLACEHOLDERS: &str = "n/a n.a. na nd none null nil nan undefined aucun inconnu néant neant sans";

/// The zero of every script's decimal digits (Unicode 14, general category Nd), in order; nine more digits follow each.
const DIGIT_ZEROS: [u32; 66] = [
    0x30, 0x660, 0x6F0, 0x7C0, 0x966, 0x9E6, 0xA66, 0xAE6, 0xB66, 0xBE6, 0xC66, 0xCE6, 0xD66, 0xDE6, 0xE50, 0xED0,
    0xF20, 0x1040, 0x1090, 0x17E0, 0x1810, 0x1946, 0x19D0, 0x1A80, 0x1A90, 0x1B50, 0x1BB0, 0x1C40, 0x1C50, 0xA620,
    0xA8D0, 0xA900, 0xA9D0, 0xA9F0, 0xAA50, 0xABF0, 0xFF10, 0x104A0, 0x10D30, 0x11066, 0x110F0, 0x11136, 0x111D0,
    0x112F0, 0x11450, 0x114D0, 0x11650, 0x116C0, 0x11730, 0x118E0, 0x11950, 0x11C50, 0x11D50, 0x11DA0, 0x16A60,
    0x16AC0, 0x16B50, 0x1D7CE, 0x1D7D8, 0x1D7E2, 0x1D7EC, 0x1D7F6, 0x1E140, 0x1E2F0, 0x1E950, 0x1FBF0,
];

/// Whether the text only says that there is no number: nothing visible, signs alone, or a word like "N/A".
pub(super) fn is_placeholder(text: &str) -> bool {
    let text = text.to_lowercase();
    PLACEHOLDERS.split(' ').any(|placeholder| placeholder == text) || !text.chars().any(char::is_alphanumeric)
}

/// The runs of digits in a text, from left to right.
pub(super) fn runs(text: &str) -> Vec<Run> {
    // What most people and programs write needs no closer look.
    let digits = text.strip_prefix('+').unwrap_or(text);
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return vec![Run { plus: digits.len() < text.len(), glued: false, digits: digits.to_owned() }];
    }
    let atoms = atoms(text);
    let is_label = |word: &str| GLUED_WORDS.split(' ').any(|label| label == word.to_lowercase());
    let glues = |atom: Option<&Atom>| matches!(atom, Some(Atom::Word(word)) if !is_label(word));
    let mut runs = Vec::new();
    let mut open = OpenRun::default();
    for (index, atom) in atoms.iter().enumerate() {
        match atom {
            Atom::Digits(digits) => {
                let before = index.checked_sub(1).and_then(|index| atoms.get(index));
                open.glued |= glues(before) || glues(atoms.get(index + 1));
                open.chunks.push(digits);
            }
            Atom::Plus => {
                open.close(&mut runs);
                open.plus = true;
            }
            Atom::Punctuation => {}
            Atom::Word(_) | Atom::Separator => open.close(&mut runs),
        }
    }
    open.close(&mut runs);
    runs
}

/// A run that may still grow.
#[derive(Default)]
struct OpenRun<'a> {
    plus: bool,
    glued: bool,
    chunks: Vec<&'a str>,
}

impl OpenRun<'_> {
    /// Ends the run. Chunks that are each as long as a phone number are several numbers with only a space or a dash
    /// between them.
    fn close(&mut self, runs: &mut Vec<Run>) {
        let Self { plus, glued, chunks } = std::mem::take(self);
        if chunks.iter().all(|chunk| chunk.len() >= OTHER_NUMBER_MIN_DIGITS) {
            let several = chunks.iter().enumerate();
            runs.extend(several.map(|(index, chunk)| Run {
                plus: plus && index == 0,
                glued,
                digits: (*chunk).to_owned(),
            }));
        } else {
            runs.push(Run { plus, glued, digits: chunks.concat() });
        }
    }
}

/// Groups the characters of a text.
fn atoms(text: &str) -> Vec<Atom> {
    let mut atoms: Vec<Atom> = Vec::new();
    for character in text.chars().filter(|character| !is_invisible(*character)) {
        if let Some(digit) = ascii_digit(character) {
            match atoms.last_mut() {
                Some(Atom::Digits(digits)) => digits.push(digit),
                _ => atoms.push(Atom::Digits(digit.to_string())),
            }
        } else if is_word_character(character) {
            match atoms.last_mut() {
                Some(Atom::Word(word)) => word.push(character),
                _ => atoms.push(Atom::Word(character.to_string())),
            }
        } else if is_plus(character) {
            atoms.push(Atom::Plus);
        } else if is_punctuation(character) {
            atoms.push(Atom::Punctuation);
        } else {
            atoms.push(Atom::Separator);
        }
    }
    atoms
}

/// The ASCII digit for a decimal digit of any script.
fn ascii_digit(character: char) -> Option<char> {
    let code = u32::from(character);
    let zero = DIGIT_ZEROS[..DIGIT_ZEROS.partition_point(|zero| *zero <= code)].last()?;
    char::from_digit(code - zero, 10)
}

/// Letters, and numerals that are no decimal digits (², Ⅷ, ½): whatever they touch is not plainly a number. The at
/// sign counts too, so that the digits of an e-mail address are not taken for a phone.
fn is_word_character(character: char) -> bool {
    character.is_alphanumeric() || character == '@'
}

fn is_plus(character: char) -> bool {
    matches!(character, '+' | '\u{207A}' | '\u{2795}' | '\u{FE62}' | '\u{FF0B}')
}

fn is_line_end(character: char) -> bool {
    matches!(character, '\n' | '\u{B}' | '\u{C}' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// Control characters, soft hyphen, joiners, bidi marks, variation selectors, byte order mark: nobody sees them.
fn is_invisible(character: char) -> bool {
    matches!(character,
        '\u{AD}' | '\u{61C}' | '\u{180E}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}'
        | '\u{2060}'..='\u{206F}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}')
        || (character.is_control() && !character.is_whitespace())
}

/// What may stand inside a number: spaces within a line, dashes, and the rest of [`PUNCTUATION`].
fn is_punctuation(character: char) -> bool {
    (character.is_whitespace() && !is_line_end(character))
        || ('\u{2010}'..='\u{2015}').contains(&character)
        || PUNCTUATION.contains(character)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn digits(text: &str) -> Vec<String> {
        runs(text).into_iter().map(|run| format!("{}{}", if run.plus { "+" } else { "" }, run.digits)).collect()
    }

    #[test]
    fn punctuation_joins_and_separators_part() {
        assert_eq!(digits("(20) 00-01.23"), ["20000123"]);
        assert_eq!(
            digits("20000123 / 20000124;20000125,20000126|20000127\n20000128"),
            ["20000123", "20000124", "20000125", "20000126", "20000127", "20000128"]
        );
        assert_eq!(digits("20 000 123 ou 20 000 124 و 20 000 125"), ["20000123", "20000124", "20000125"]);
        assert_eq!(digits("20 000 123\n20 000 124\r\n20 000 125"), ["20000123", "20000124", "20000125"]);
        assert_eq!(digits("no digits at all"), [""; 0]);
        assert_eq!(digits(""), [""; 0]);
    }

    #[test]
    fn whole_numbers_with_only_a_space_between_them_are_several() {
        assert_eq!(digits("20000123 20000124"), ["20000123", "20000124"]);
        assert_eq!(digits("20000123-0021620000124"), ["20000123", "0021620000124"]);
        assert_eq!(digits("+216 20000123"), ["+21620000123"]);
        assert_eq!(digits("+21620000123 20000124"), ["+21620000123", "20000124"]);
        assert_eq!(digits("+21620000123+21620000124"), ["+21620000123", "+21620000124"]);
    }

    #[test]
    fn every_decimal_digit_of_unicode_is_mapped_and_other_numerals_are_words() {
        for zero in DIGIT_ZEROS {
            for value in 0..10 {
                let character = char::from_u32(zero + value).unwrap();
                assert_eq!(ascii_digit(character), char::from_digit(value, 10), "{character:?}");
                assert!(character.is_numeric());
            }
        }
        for numeral in ['²', '½', 'Ⅷ', '①', '㊿'] {
            assert_eq!(ascii_digit(numeral), None);
            assert!(runs(&format!("20000123{numeral}"))[0].glued);
        }
        assert_eq!(ascii_digit('\0'), None);
        assert_eq!(ascii_digit(char::MAX), None);
    }

    #[test]
    fn letters_that_touch_digits_spoil_them_unless_they_are_labels() {
        for text in ["FAC20000123", "20000123a", "20000123@example.com", "2o000123"] {
            assert!(runs(text).iter().any(|run| run.glued), "{text}");
        }
        for text in
            ["tel20000123", "GSM 20000123", "FAC 20000123", "20000123x12", "20000123ou20000124", "wa.me/20000123"]
        {
            assert!(runs(text).iter().all(|run| !run.glued), "{text}");
        }
    }

    #[test]
    fn placeholders_say_that_there_is_no_number() {
        for text in ["", "-", "--", "+", "?", "N/A", "n/a", "Néant", "aucun", "\u{200E}", "...", "( )"] {
            assert!(is_placeholder(text), "{text:?}");
        }
        for text in ["0", "call me maybe", "20000123", "?1"] {
            assert!(!is_placeholder(text), "{text:?}");
        }
    }
}
