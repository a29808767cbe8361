//! How a text is made to cost less: other words for the characters that force it into UCS-2.
//!
//! Owns the three policies; [`super::encoding`] counts and [`super::rewording`] has the words. A text that is in
//! GSM-7 is never touched. Where a policy may not change a text, or changing it saves nothing, it goes as it is; only
//! [`EncodingPolicy::Force`] can fail, and says which characters it has no words for.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use super::encoding::{Encoding, Measure, measure};
use super::rewording::canonical;
pub use super::rewording::{Forcing, forcing, transliterate};

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

/// The text as the policy wants it. `names` are the values in it that somebody is called by: with `keep_names`,
/// [`EncodingPolicy::Fit`] changes nothing at all where it would have to change one of them (canonically equivalent
/// forms of a name are the same name).
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
            // Nothing but invisible characters would leave nothing to send.
            let saves = (1..measured.segments).contains(&fitted.segments);
            if !saves || (keep_names && changes_a_name(names, text, &reworded)) {
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
    let text = canonical(text);
    names.iter().filter(|name| !name.is_empty()).any(|name| {
        let name = canonical(name);
        reworded.matches(&*name).count() < text.matches(&*name).count()
    })
}

/// Units (septets or UTF-16 code units) that a fixed text of `fixed_units` leaves to its values, if it is to be one
/// segment.
pub fn room(fixed_units: usize, encoding: Encoding) -> usize {
    encoding.limits().0.saturating_sub(fixed_units)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use unicode_normalization::UnicodeNormalization;

    use super::super::samples::{invoice, reminder, service};
    use super::*;

    fn fit(text: &str) -> Fitted<'_> {
        apply(EncodingPolicy::Fit, text, &[], false).unwrap()
    }

    fn fit_but_names<'a>(text: &'a str, names: &[&str]) -> Fitted<'a> {
        apply(EncodingPolicy::Fit, text, names, true).unwrap()
    }

    #[test]
    fn the_texts_of_the_garage_cost_the_documented_segments_before_and_after() {
        let (gsm7, ucs2) = (Encoding::Gsm7, Encoding::Ucs2);
        let golf = "Volkswagen Golf 7 GTD";
        let citroen = "Citroën C4 Picasso";
        let mercedes = "Mercedes-Benz Classe A 180 d AMG Line";
        for (text, encoding, units, segments, fitted) in [
            (service("Sami", "Kia Rio"), gsm7, 108, 1, (gsm7, 1)),
            (service("Mohamed Amine", golf), gsm7, 131, 1, (gsm7, 1)),
            (service("François", citroen), ucs2, 123, 2, (gsm7, 1)),
            (service("محمد", "Peugeot 208"), ucs2, 112, 2, (ucs2, 2)),
            (service("Abderrahmane", mercedes), gsm7, 146, 1, (gsm7, 1)),
            (invoice("Sami", "INV-2025-0042", "350.500", "Kia Rio"), gsm7, 122, 1, (gsm7, 1)),
            (invoice("Mohamed Amine", "FAC-2025-000123", "1 250,500", golf), gsm7, 149, 1, (gsm7, 1)),
            (invoice("Mohamed Amine", "FAC-2025-000123", "1\u{202F}250,500", golf), ucs2, 149, 3, (gsm7, 1)),
            (invoice("François", "FAC-2025-000123", "1250.500", citroen), ucs2, 140, 3, (gsm7, 1)),
            (invoice("محمد", "FAC-2025-000123", "1250.500", "Peugeot 208"), ucs2, 129, 2, (ucs2, 2)),
            (invoice("Abderrahmane", "FAC-2025-000123", "12 250,500", mercedes), gsm7, 165, 2, (gsm7, 2)),
            (reminder("Sami", "Kia Rio", "23/11/2026"), ucs2, 130, 2, (gsm7, 1)),
            (reminder("Mohamed Amine", golf, "23/11/2026"), ucs2, 153, 3, (gsm7, 1)),
            (reminder("François", citroen, "3 décembre 2026"), ucs2, 150, 3, (gsm7, 1)),
            (reminder("محمد", "Peugeot 208", "23/11/2026"), ucs2, 134, 2, (ucs2, 2)),
            (reminder("Abderrahmane", mercedes, "mardi 1 décembre 2026"), ucs2, 179, 3, (gsm7, 2)),
        ] {
            let kept = apply(EncodingPolicy::Keep, &text, &[], false).unwrap();
            assert_eq!((&*kept.text, kept.changed), (&*text, false));
            assert_eq!(kept.measure, Measure { encoding, units, segments }, "{text}");
            let after = fit(&text);
            assert_eq!((after.measure.encoding, after.measure.segments), fitted, "{}", after.text);
            assert_eq!(after.measure, measure(&after.text));
            assert_eq!(after.changed, fitted.1 < segments, "{text}");
            assert!(after.changed || after.text == text);
        }
    }

    #[test]
    fn the_reminder_loses_its_circumflex_and_half_its_price() {
        let text = reminder("Sami", "Kia Rio", "23/11/2026");
        let kept = apply(EncodingPolicy::Keep, &text, &["Sami"], true).unwrap();
        assert_eq!((&*kept.text, kept.measure.segments), (&*text, 2));
        let fitted = fit_but_names(&text, &["Sami", "Kia", "Rio"]);
        assert_eq!(fitted.text, text.replace('ê', "e"));
        assert_eq!((fitted.measure.segments, fitted.changed), (1, true));
    }

    #[test]
    fn a_text_that_is_one_segment_anyway_keeps_its_circumflex() {
        let text = "Bonjour Sami, votre Kia Rio est prête.";
        let fitted = fit(text);
        assert!(matches!(fitted.text, Cow::Borrowed(same) if same == text));
        assert_eq!((fitted.measure.encoding, fitted.measure.segments, fitted.changed), (Encoding::Ucs2, 1, false));
        let forced = apply(EncodingPolicy::Force, text, &["prête"], true).unwrap();
        assert_eq!(
            (&*forced.text, forced.measure.encoding),
            ("Bonjour Sami, votre Kia Rio est prete.", Encoding::Gsm7)
        );
    }

    #[test]
    fn a_text_in_gsm7_is_neither_copied_nor_changed_by_any_policy() {
        let text = "à 5 € [TTC]: Ç, é, ñ\n~^".repeat(20);
        for policy in EncodingPolicy::ALL {
            let fitted = apply(policy, &text, &["Ç"], true).unwrap();
            assert!(matches!(fitted.text, Cow::Borrowed(same) if same == text));
            assert_eq!((fitted.measure, fitted.changed), (measure(&text), false));
        }
        assert_eq!(apply(EncodingPolicy::Force, "", &[], true).unwrap().measure.segments, 0);
    }

    #[test]
    fn a_name_that_is_kept_keeps_the_whole_text() {
        let text = reminder("François", "Kia Rio", "23/11/2026");
        let kept = fit_but_names(&text, &["François", "Rio"]);
        assert_eq!((&*kept.text, kept.measure, kept.changed), (&*text, measure(&text), false));
        assert_eq!(apply(EncodingPolicy::Fit, &text, &["François"], false).unwrap().measure.segments, 1);
        // Not in this text, or nothing at all.
        assert_eq!(fit_but_names(&text, &["Zoë", ""]).measure.segments, 1);
        // In the alphabet.
        let text = reminder("Zoé", "Škoda Rapid", "23/11/2026");
        assert!(fit_but_names(&text, &["Zoé", "Škoda Rapid"]).text == text);
        assert!(fit_but_names(&text, &["Zoé"]).text.contains("Zoé"));
        // Another way to write the same name.
        let text = reminder("Zoe\u{301}", "Kia Rio", "23/11/2026");
        let fitted = fit_but_names(&text, &["Zoe\u{301}"]);
        assert!(fitted.measure.segments == 1 && fitted.text.contains("Zoé"));
        // A mark behind the name, in the template, would be lost on it.
        let text = format!("{} Sami\u{302}", reminder("", "", ""));
        assert!(fit(&text).changed && fit_but_names(&text, &["Sami\u{302}"]).text == text);
    }

    #[test]
    fn a_text_of_invisible_characters_is_not_fitted_into_nothing() {
        let text = "\u{AD}".repeat(71);
        assert_eq!((fit(&text).measure.segments, fit(&text).changed), (2, false));
    }

    #[test]
    fn force_names_what_it_has_no_words_for() {
        let refused = apply(EncodingPolicy::Force, "prête محمد, 🚗", &[], false).unwrap_err();
        assert_eq!(refused.characters, [(6, 'م'), (7, 'ح'), (8, 'م'), (9, 'د'), (12, '🚗')]);
        let many = apply(EncodingPolicy::Force, &"م".repeat(30), &[], false).unwrap_err();
        assert_eq!(many.characters.len(), NAMED_CHARACTERS);
        let shown = apply(EncodingPolicy::Force, "ab\u{1b}\u{7}", &[], false).unwrap_err().to_string();
        assert_eq!(
            shown,
            r"not in the GSM-7 alphabet, and without other words in it: '\u{1b}' (character 3), '\u{7}' (character 4)"
        );
    }

    #[test]
    fn the_room_is_what_fixed_words_leave_of_one_segment() {
        assert_eq!(room(98, Encoding::Gsm7), 62);
        assert_eq!(room(92, Encoding::Gsm7), 68);
        assert_eq!(room(105, Encoding::Gsm7), 55);
        assert_eq!(room(105, Encoding::Ucs2), 0);
        assert_eq!(room(0, Encoding::Ucs2), 70);
    }

    #[test]
    fn a_policy_is_read_as_it_is_written() {
        for policy in EncodingPolicy::ALL {
            assert_eq!(policy.to_string().parse(), Ok(policy));
        }
        assert_eq!("Keep".parse::<EncodingPolicy>(), Err(UnknownPolicy));
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
        fn fitting_never_costs_more_and_changes_nothing_for_nothing(text in texts(), keep_names: bool) {
            let names: Vec<&str> = text.split(' ').take(2).collect();
            let kept = apply(EncodingPolicy::Keep, &text, &names, keep_names).unwrap();
            prop_assert_eq!((&*kept.text, kept.measure, kept.changed), (&*text, measure(&text), false));
            let fitted = apply(EncodingPolicy::Fit, &text, &names, keep_names).unwrap();
            prop_assert_eq!(fitted.measure, measure(&fitted.text));
            if fitted.changed {
                prop_assert!(fitted.measure.segments < kept.measure.segments);
            } else {
                prop_assert_eq!(&fitted, &kept);
            }
            if keep_names {
                let same: String = fitted.text.nfc().collect();
                for name in &names {
                    prop_assert!(same.contains(&name.nfc().collect::<String>()), "{:?} in {:?}", name, same);
                }
            }
            let again = apply(EncodingPolicy::Fit, &fitted.text, &names, keep_names).unwrap();
            prop_assert_eq!(again.text, &*fitted.text);
        }

        #[test]
        fn force_makes_gsm7_or_says_why_not(text in texts()) {
            match apply(EncodingPolicy::Force, &text, &[], true) {
                Ok(forced) => {
                    prop_assert!(forced.measure.encoding == Encoding::Gsm7);
                    prop_assert_eq!(forced.measure, measure(&forced.text));
                    prop_assert_eq!(forced.changed, forced.text != text);
                }
                Err(CannotForce { characters }) => {
                    prop_assert!(!characters.is_empty() && characters.len() <= NAMED_CHARACTERS);
                    let all: Vec<char> = text.chars().collect();
                    prop_assert!(characters.iter().all(|(place, character)| all[*place] == *character));
                }
            }
        }

    }
}
