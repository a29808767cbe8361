//! How a text is made to cost less: other words for the characters that force it into UCS-2.
//!
//! Owns the rewording of a text in GSM-7 and the three policies; [`super::encoding`] counts. A text that is in GSM-7 is
//! never touched. Where a policy may not change a text, or changing it saves nothing, it goes as it is; only
//! [`EncodingPolicy::Force`] can fail, and says which characters it has no words for.
//!
//! A rewording is honest: who reads it reads the same. Accents go (`ê` becomes `e`; `é`, `è`, `à`, `ù` are in the alphabet and
//! stay), typographic signs become those of a keyboard, ligatures and compatibility characters are written out (Unicode's
//! NFKD). What would say something else is left alone: `≠` is no `=`, and Arabic has no Latin letters.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use unicode_normalization::char::{decompose_compatible, is_combining_mark};
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use super::encoding::{Encoding, Measure, forces_ucs2, in_gsm7, measure};

/// Characters that [`CannotForce`] names: enough to mend a template, few enough for one line.
const NAMED_CHARACTERS: usize = 10;

/// What may be done to a text that is not in GSM-7.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EncodingPolicy {
    /// Nothing: UCS-2 is allowed.
    Keep,
    /// It is reworded when that saves a segment.
    Fit,
    /// It is reworded, and not sent when that does not make it GSM-7.
    Force,
}

/// A word that names no [`EncodingPolicy`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an encoding policy is \"keep\", \"fit\" or \"force\"")]
pub struct UnknownPolicy;

impl EncodingPolicy {
    /// All policies, from the most faithful to the cheapest.
    pub const ALL: [Self; 3] = [Self::Keep, Self::Fit, Self::Force];

    /// The word in the database and the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Fit => "fit",
            Self::Force => "force",
        }
    }
}

impl fmt::Display for EncodingPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for EncodingPolicy {
    type Err = UnknownPolicy;

    fn from_str(word: &str) -> Result<Self, UnknownPolicy> {
        Self::ALL.into_iter().find(|policy| policy.as_str() == word).ok_or(UnknownPolicy)
    }
}

/// A text as it is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fitted<'a> {
    /// The text: the given one, or other words for it.
    pub text: Cow<'a, str>,
    /// What it costs.
    pub measure: Measure,
    /// Whether it is another text than the given one.
    pub changed: bool,
}

/// A text that cannot be written in GSM-7.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not in the GSM-7 alphabet, and without other words in it: {}", listed(characters))]
pub struct CannotForce {
    /// The first characters without a rewording (ten at most), each with its place counted in characters from 0.
    pub characters: Vec<(usize, char)>,
}

/// Escaped where a terminal would not show them as they are.
fn listed(characters: &[(usize, char)]) -> String {
    let named: Vec<String> =
        characters.iter().map(|(place, character)| format!("{character:?} (character {})", place + 1)).collect();
    named.join(", ")
}

/// A character that forces a text into UCS-2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forcing {
    /// Its place, counted in characters from 0.
    pub place: usize,
    /// The character.
    pub character: char,
    /// What it would become, empty if it just goes; none if it has no rewording, so that the text stays in UCS-2.
    pub rewording: Option<String>,
}

/// The text as the policy wants it. `names` are the values in it that somebody is called by: with `keep_names`,
/// [`EncodingPolicy::Fit`] changes nothing at all where it would have to change one of them (canonically equivalent forms
/// of a name are the same name).
///
/// A text that is in GSM-7 already costs one [`measure`] and no allocation.
///
/// # Errors
/// [`CannotForce`], of [`EncodingPolicy::Force`] only.
pub fn apply<'a>(
    policy: EncodingPolicy,
    text: &'a str,
    names: &[&str],
    keep_names: bool,
) -> Result<Fitted<'a>, CannotForce> {
    let measured = measure(text);
    let as_it_is = Fitted { text: Cow::Borrowed(text), measure: measured, changed: false };
    if measured.encoding == Encoding::Gsm7 {
        return Ok(as_it_is);
    }
    match policy {
        EncodingPolicy::Keep => Ok(as_it_is),
        EncodingPolicy::Fit if measured.segments <= 1 => Ok(as_it_is),
        EncodingPolicy::Fit => {
            let reworded = transliterate(text);
            let fitted = measure(&reworded);
            if fitted.segments >= measured.segments || (keep_names && changes_a_name(names, text, &reworded)) {
                return Ok(as_it_is);
            }
            Ok(Fitted { text: Cow::Owned(reworded), measure: fitted, changed: true })
        }
        EncodingPolicy::Force => {
            let reworded = transliterate(text);
            let fitted = measure(&reworded);
            if fitted.encoding == Encoding::Gsm7 {
                return Ok(Fitted { text: Cow::Owned(reworded), measure: fitted, changed: true });
            }
            let without = forcing(text).into_iter().filter(|forcing| forcing.rewording.is_none());
            let characters = without.map(|forcing| (forcing.place, forcing.character)).take(NAMED_CHARACTERS).collect();
            Err(CannotForce { characters })
        }
    }
}

/// Whether a name stands in the reworded text less often than in the text.
fn changes_a_name(names: &[&str], text: &str, reworded: &str) -> bool {
    let text = composed(text, |_| true);
    names.iter().filter(|name| !name.is_empty()).any(|name| {
        let name = composed(name, |_| true);
        reworded.matches(&*name).count() < text.matches(&*name).count()
    })
}

/// Units (septets or UTF-16 code units) that a fixed text of `fixed_units` leaves to its values, if it is to be one segment.
pub fn room(fixed_units: usize, encoding: Encoding) -> usize {
    encoding.limits().0.saturating_sub(fixed_units)
}

/// The characters that force a text into UCS-2, and what [`transliterate`] has for each. It makes the text GSM-7 exactly if
/// it has something for all of them.
pub fn forcing(text: &str) -> Vec<Forcing> {
    let mut found = Vec::new();
    let mut before = None;
    for (place, character) in text.chars().enumerate() {
        if in_gsm7(character) {
            before = Some(character);
            continue;
        }
        let rewording = if is_invisible(character) || directs(character) {
            Some(String::new())
        } else {
            let rewording = rewording(character, before);
            before = rewording.as_ref().map_or(Some(character), |words| words.chars().next_back().or(before));
            rewording
        };
        found.push(Forcing { place, character, rewording });
    }
    found
}

/// The text with other words for every character outside of GSM-7 that has them; a text in GSM-7 as it is.
pub fn transliterate(text: &str) -> String {
    if is_gsm7(text) {
        return text.to_owned();
    }
    // What directs its neighbours does nothing among Latin letters, but is needed by what stays: Arabic, some emoji.
    let plain = reword(text, |character| !is_invisible(character) && !directs(character));
    if is_gsm7(&plain) || !text.chars().any(directs) {
        return plain;
    }
    reword(text, |character| !is_invisible(character))
}

fn is_gsm7(text: &str) -> bool {
    forces_ucs2(text).next().is_none()
}

/// The characters to keep, in Unicode's NFC.
fn composed(text: &str, keeps: impl Fn(char) -> bool) -> Cow<'_, str> {
    if text.chars().all(&keeps) && is_nfc_quick(text.chars()) == IsNormalized::Yes {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(text.chars().filter(|character| keeps(*character)).nfc().collect())
    }
}

fn reword(text: &str, keeps: impl Fn(char) -> bool) -> String {
    let text = composed(text, keeps);
    let mut reworded = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        if in_gsm7(character) {
            reworded.push(character);
            continue;
        }
        let before = reworded.chars().next_back();
        let Some(words) = rewording(character, before) else {
            reworded.push(character);
            continue;
        };
        // French spaces its quotation marks inside. After a letter « closes, as in German, and has no space of its own.
        if matches!(character, '»' | '›') && !rest.peek().is_some_and(|next| next.is_alphanumeric()) {
            reworded.truncate(reworded.trim_end_matches(' ').len());
        }
        reworded.push_str(&words);
        if matches!(character, '«' | '‹') && !before.is_some_and(char::is_alphanumeric) {
            while rest.next_if(|next| is_space(*next)).is_some() {}
        }
    }
    // An accent that stays may now stand behind a letter that it belongs to.
    match composed(&reworded, |_| true) {
        Cow::Borrowed(_) => reworded,
        Cow::Owned(composed) => composed,
    }
}

/// What says the same in GSM-7 as a character outside of it, when it stands behind `before`.
fn rewording(character: char, before: Option<char>) -> Option<String> {
    match character {
        // Strokes through a character (U+0334 to U+0338) say something else: ≠ is written with one.
        '\u{300}'..='\u{333}' | '\u{339}'..='\u{36F}' => {
            before.is_some_and(|letter| letter.is_alphabetic() && in_gsm7(letter)).then(String::new)
        }
        _ => signs(character).map(str::to_owned).or_else(|| compatible(character, before)),
    }
}

/// Characters that have a rewording of their own: Unicode knows none, or one that is not in GSM-7.
fn signs(character: char) -> Option<&'static str> {
    Some(match character {
        'œ' => "oe",
        'Œ' => "OE",
        'ı' => "i",
        'ł' => "l",
        'Ł' => "L",
        'đ' | 'ð' => "d",
        'Đ' | 'Ð' => "D",
        'ħ' => "h",
        'Ħ' => "H",
        'ŧ' => "t",
        'Ŧ' => "T",
        'þ' => "th",
        'Þ' => "Th",
        'ẞ' => "SS",
        '‘' | '’' | '‚' | '‛' | '‹' | '›' | '`' | '´' | '′' | 'ʹ' | 'ʻ' | 'ʼ' => "'",
        '“' | '”' | '„' | '‟' | '«' | '»' | '″' | '〃' => "\"",
        '‐'..='―' | '−' | '⁃' | '•' | '‣' => "-",
        '·' => ".",
        '°' => "o",
        '№' => "No",
        '⁄' | '÷' => "/",
        '×' => "x",
        '¦' => "|",
        '©' => "(c)",
        '®' => "(r)",
        '\u{85}' | '\u{2028}' | '\u{2029}' => "\n",
        space if space.is_whitespace() && !in_gsm7(space) => " ",
        _ => return None,
    })
}

/// What Unicode says the character is made of, without its accents, if all of it is in GSM-7.
fn compatible(character: char, before: Option<char>) -> Option<String> {
    if let Some(canonical) = std::iter::once(character).nfc().next().filter(|canonical| in_gsm7(*canonical)) {
        return Some(canonical.to_string());
    }
    let mut words = String::new();
    let mut said = true;
    decompose_compatible(character, |part| {
        if is_combining_mark(part) {
            // Without its mark a letter is still that letter; another character is not.
            said &= character.is_alphabetic();
        } else if in_gsm7(part) {
            words.push(part);
        } else if let Some(sign) = signs(part) {
            words.push_str(sign);
        } else {
            said = false;
        }
    });
    // A spacing accent (¨, ¸) is made of a space and itself.
    said &= !words.is_empty() && !words.contains(' ');
    if said && before.is_some_and(|digit| digit.is_ascii_digit()) {
        // 1½ is not 11/2, and 10² not 102.
        if matches!(character, '\u{BC}'..='\u{BE}' | '\u{2150}'..='\u{215F}' | '\u{2189}') {
            words.insert(0, ' ');
        } else if matches!(character, '²' | '³' | '¹' | '⁰' | '⁴'..='⁹') {
            words.insert(0, '^');
        }
    }
    said.then_some(words)
}

fn is_space(character: char) -> bool {
    character == ' ' || signs(character) == Some(" ")
}

/// Soft hyphen, zero-width space, word joiner, byte order mark: nothing to see, and nothing to say.
fn is_invisible(character: char) -> bool {
    matches!(character, '\u{AD}' | '\u{200B}' | '\u{2060}' | '\u{FEFF}')
}

/// Invisible characters that say how their neighbours are shown: joiners, directions, variants.
fn directs(character: char) -> bool {
    matches!(
        character,
        '\u{61C}' | '\u{200C}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2061}'..='\u{206F}' | '\u{FE00}'..='\u{FE0F}'
    )
}
