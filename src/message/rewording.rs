//! Other words, in GSM-7, for the characters that are not.
//!
//! Owns what each character becomes; [`super::fit`] decides whether it may. A text that is in GSM-7 comes back as it
//! is, and a character without other words stays. Nothing here can fail.
//!
//! A rewording is honest: who reads it reads the same. Accents go (`ê` becomes `e`; `é`, `è`, `à`, `ù` are in the
//! alphabet and stay), typographic signs become those of a keyboard, ligatures and compatibility characters are
//! written out (Unicode's NFKD). What would say something else is left alone: `≠` is no `=`, and Arabic has no Latin
//! letters.

use std::borrow::Cow;

use unicode_normalization::char::{decompose_compatible, is_combining_mark};
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use super::encoding::{forces_ucs2, in_gsm7};

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

/// The characters that force a text into UCS-2, and what [`transliterate`] has for each. It makes the text GSM-7
/// exactly if it has something for all of them.
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
            before = behind(character, rewording.as_deref(), before);
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

/// The text in Unicode's NFC: the one form of all that are the same to a reader.
pub(super) fn canonical(text: &str) -> Cow<'_, str> {
    composed(text, |_| true)
}

/// The characters to keep, in NFC.
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
    let mut before = None;
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        if in_gsm7(character) {
            reworded.push(character);
            before = Some(character);
            continue;
        }
        let words = rewording(character, before);
        // French spaces its quotation marks inside. Behind a letter « closes, as in German, and has no space of its
        // own.
        let opens = matches!(character, '«' | '‹') && !before.is_some_and(char::is_alphanumeric);
        if matches!(character, '»' | '›') && !rest.peek().is_some_and(|next| next.is_alphanumeric()) {
            reworded.truncate(reworded.trim_end_matches(' ').len());
        }
        match &words {
            Some(words) => reworded.push_str(words),
            None => reworded.push(character),
        }
        before = behind(character, words.as_deref(), before);
        while opens && rest.next_if(|next| is_space(*next)).is_some() {}
    }
    // An accent that stays may now stand behind a letter that it belongs to.
    match canonical(&reworded) {
        Cow::Borrowed(_) => reworded,
        Cow::Owned(composed) => composed,
    }
}

/// The character that an accent behind this one would belong to: accents do not come between.
fn behind(character: char, rewording: Option<&str>, before: Option<char>) -> Option<char> {
    match rewording {
        Some(words) => words.chars().next_back().or(before),
        None if is_combining_mark(character) => before,
        None => Some(character),
    }
}

/// What says the same in GSM-7 as a character outside of it, when it stands behind `before`.
fn rewording(character: char, before: Option<char>) -> Option<String> {
    match character {
        // Strokes through a character (U+0334 to U+0338) say something else: ≠ is written with one.
        '\u{300}'..='\u{333}' | '\u{339}'..='\u{36F}' => {
            before.is_some_and(|letter| letter.is_alphabetic() && in_gsm7(letter)).then(String::new)
        }
        // Hebrew and Arabic have nothing in Unicode's tables that would be in GSM-7: not worth looking up.
        '\u{590}'..='\u{8FF}' => None,
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
        '\u{61C}'
            | '\u{200C}'..='\u{200F}'
            | '\u{202A}'..='\u{202E}'
            | '\u{2061}'..='\u{206F}'
            | '\u{FE00}'..='\u{FE0F}'
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_character_with_an_honest_rewording_has_it() {
        for (text, reworded) in [
            ("âêîôûëïÿç ÂÀÈÊËÎÏÔÙÛŸ Çéèàùäöüñ", "aeioueiyc AAEEEIIOUUY Çéèàùäöüñ"),
            ("œuvre Œuvre Łódź đ Đ ı İ ſ ħ ß ẞ ø Ǿ", "oeuvre OEuvre Lodz d D i I s h ß SS ø Ø"),
            ("l’été, ‘ici’ “là” „bas” `a` ´b", "l'été, 'ici' \"là\" \"bas\" 'a' 'b"),
            ("votre «\u{A0}Kia Rio\u{202F}», «Rio», « Rio ».", "votre \"Kia Rio\", \"Rio\", \"Rio\"."),
            ("« Rio »", "\"Rio\""),
            ("votre »Rio« est ‹ là ›", "votre \"Rio\" est 'là'"),
            ("Attendez… 8 h – 12 h — ‑ − •", "Attendez... 8 h - 12 h - - - -"),
            ("1\u{A0}250\u{202F}000\u{2009}DT\u{3000}a\tb", "1 250 000 DT a b"),
            ("20 °C, n° 5, № 6, m², 10³, 1½, ½", "20 oC, no 5, No 6, m2, 10^3, 1 1/2, 1/2"),
            ("sou\u{AD}ple\u{200B}ment\u{FEFF}\u{200D}\u{200E}!", "souplement!"),
            ("e\u{302}te\u{301} e\u{AD}\u{301} x\u{302} Am\u{308}li", "eté é x Amli"),
            ("ﬁn, Ⅳ, ２０, 𝐒𝐚𝐦𝐢, ™, ℃, ㎞", "fin, IV, 20, Sami, TM, oC, km"),
            ("Ångstro\u{308}m Ωhm", "Ångström Ωhm"),
        ] {
            assert_eq!(transliterate(text), reworded);
            assert!(is_gsm7(reworded));
        }
    }

    #[test]
    fn what_would_say_something_else_stays() {
        for text in [
            "محمد",
            "ٱلسَّلَامُ عَلَيْكُم",
            "سيارة\u{200F} 216 TU\u{200E}",
            "٢٠",
            "Привет й",
            "αβγ",
            "≠ ≮ s\u{336}t\u{336}",
            "¨ ¸",
            "👨\u{200D}👩 ☎\u{FE0F}",
            "\u{1B}",
        ] {
            assert_eq!(transliterate(text), text);
        }
        // The rest of such a text has its rewording.
        assert_eq!(transliterate("prête, محمد\u{200D}"), "prete, محمد\u{200D}");
    }

    #[test]
    fn a_preview_shows_what_each_character_would_become() {
        let shown = |text: &str| -> Vec<(usize, char, Option<String>)> {
            forcing(text).into_iter().map(|it| (it.place, it.character, it.rewording)).collect()
        };
        let some = |words: &str| Some(words.to_owned());
        assert_eq!(shown("Bonjour à 5 €"), []);
        assert_eq!(
            shown("prête… œ\u{AD} م"),
            [
                (2, 'ê', some("e")),
                (5, '…', some("...")),
                (7, 'œ', some("oe")),
                (8, '\u{AD}', some("")),
                (10, 'م', None)
            ]
        );
        assert_eq!(shown("e\u{302}=\u{338}"), [(1, '\u{302}', some("")), (3, '\u{338}', None)]);
    }

    fn texts() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<String>(),
            "[a-zA-Zéèêçœ’« »… ]{0,200}",
            "[a-zéê\u{202F}\u{AD}\u{200D}\u{301}\u{302}\u{338}=²½9°]{0,160}",
            "[a-zêم🚗« »\u{200D}\u{200F}\u{64B}]{60,150}",
            "[\u{0}-\u{17F}\u{2000}-\u{206F}\u{FF01}-\u{FF5E}\u{300}-\u{340}]{0,120}",
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        #[test]
        fn rewording_once_is_enough_and_the_preview_knows_whether_it_helps(text in texts()) {
            let reworded = transliterate(&text);
            prop_assert_eq!(&transliterate(&reworded), &reworded);
            prop_assert_eq!(is_gsm7(&reworded), forcing(&text).iter().all(|forcing| forcing.rewording.is_some()));
        }

        #[test]
        fn a_text_in_gsm7_reworded_is_itself(
            text in "[@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ -_a-~¡ÄÖÑÜ§¿äöñüà€\u{C}]{0,200}",
        ) {
            prop_assert!(is_gsm7(&text));
            prop_assert_eq!(&transliterate(&text), &text);
        }
    }
}
