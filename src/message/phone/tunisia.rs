//! The Tunisian numbering plan: 8 digits, no trunk prefix, country code 216 (managed by the INT; ranges as in
//! libphonenumber's metadata 9.0, against which a test compares them).

use super::{Normalised, Note, Number, Refusal};

/// The country code of Tunisia (ITU-T E.164).
pub(super) const COUNTRY_CODE: &str = "216";

/// Tunisia in ISO 3166 alpha-2.
pub(super) const REGION: &str = "TN";

/// Digits of every Tunisian subscriber number since 2 May 2001.
const NATIONAL_DIGITS: usize = 8;

/// What a range of the plan is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Mobile,
    Landline,
    Special,
    Unassigned,
}

/// The plan by prefix; the first that fits counts, so the exceptions stand before the range they are cut from.
const PLAN: &[(Use, &[&str])] = &[
    // "Restricted mobility" inside the fixed ranges: users report that they receive SMS.
    (Use::Mobile, &["3001", "311", "312", "313", "3140", "315", "3240"]),
    (Use::Mobile, &["360", "361", "362", "363", "364", "391"]),
    (Use::Landline, &["30", "31", "32"]),
    (Use::Landline, &["7", "81200"]),
    // Freephone, shared cost, premium rate.
    (Use::Special, &["8010", "8110", "8210", "88"]),
    (Use::Unassigned, &["49"]),
    (Use::Mobile, &["2", "4", "5", "9"]),
];

/// Takes the country code from a number written without plus or `00`. Nothing shorter than country code and number
/// together loses it, for `21 612 345` is a subscriber; the code alone is what a prefilled form leaves behind.
pub(super) fn strip_bare_country_code(digits: &str) -> &str {
    match digits.strip_prefix(COUNTRY_CODE) {
        Some(national) if national.is_empty() || national.len() >= NATIONAL_DIGITS => national,
        _ => digits,
    }
}

/// Reads what follows the country code, or stands without one.
pub(super) fn read(digits: &str) -> Result<Normalised, Refusal> {
    let mut national = digits;
    let mut notes = Vec::new();
    let repeated = national.strip_prefix("00").unwrap_or(national).strip_prefix(COUNTRY_CODE);
    if let Some(rest) = repeated.filter(|rest| rest.len() >= NATIONAL_DIGITS) {
        national = rest;
        notes.push(Note::CountryCodeRepeated);
    }
    if let Some(rest) = national.strip_prefix('0').filter(|rest| rest.len() == NATIONAL_DIGITS) {
        national = rest;
        notes.push(Note::LeadingZeroDropped);
    }
    match national.len() {
        0 => Err(Refusal::Missing),
        3..=5 => Err(Refusal::ShortCode),
        NATIONAL_DIGITS => match use_of(national) {
            Use::Mobile => Ok(Normalised { number: Number::new(COUNTRY_CODE, national, REGION), notes }),
            Use::Landline => Err(Refusal::Landline),
            Use::Special => Err(Refusal::SpecialNumber),
            Use::Unassigned => Err(Refusal::invalid("no operator in Tunisia has numbers that begin like this")),
        },
        10 if national.starts_with("06") || national.starts_with("07") => {
            Err(Refusal::invalid("if it is a French mobile, write it with +33 instead of the first 0"))
        }
        count @ ..NATIONAL_DIGITS => Err(Refusal::invalid(format!("it has {count} digits, a Tunisian number has 8"))),
        count => Err(Refusal::invalid(format!(
            "it has {count} digits, a Tunisian number has 8; write a foreign one with + and its country code"
        ))),
    }
}

/// What the range of a national number is used for.
fn use_of(national: &str) -> Use {
    PLAN.iter()
        .find(|(_, prefixes)| prefixes.iter().any(|prefix| national.starts_with(prefix)))
        .map_or(Use::Unassigned, |(range_use, _)| *range_use)
}

#[cfg(test)]
mod tests {
    use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumber, PhoneNumberType};

    use super::*;

    #[test]
    fn every_range_of_the_plan_has_its_use() {
        let plan = [
            (Use::Mobile, "20 21 22 23 24 25 26 27 28 29 50 51 52 53 54 55 56 57 58 59"),
            (Use::Mobile, "90 91 92 93 94 95 96 97 98 99 40 41 42 43 44 45 46 47 48"),
            (Use::Mobile, "311 312 313 315 360 361 362 363 364 391 3001 3140 3240"),
            (Use::Landline, "300 3000 3002 3010 310 314 3141 316 319 320 3241 329 70 71 72 73 74 75 76 77 78 79 81200"),
            (Use::Special, "8010 8110 8210 88 880 889"),
            (
                Use::Unassigned,
                "0 1 49 490 499 33 34 35 365 369 37 38 390 392 6 80 800 8011 81 811 8120 81201 82 8211 83 87 89",
            ),
        ];
        for (range_use, prefixes) in plan {
            for prefix in prefixes.split(' ') {
                // 9 as filler keeps "300" away from its exception "3001".
                assert_eq!(use_of(&format!("{prefix:9<8}")), range_use, "{prefix}");
            }
        }
    }

    #[test]
    fn the_plan_agrees_with_libphonenumber_on_every_prefix_of_five_digits() {
        for prefix in 0..100_000_u64 {
            // A step of 7 keeps the test short and meets every range of four digits; those with longer ones are walked.
            if prefix % 7 != 0 && !(81_000..83_000).contains(&prefix) && !(30_000..40_000).contains(&prefix) {
                continue;
            }
            let national = prefix * 1000 + 123;
            let number = PhoneNumber { country_code: 216, national_number: national, ..PhoneNumber::default() };
            let expected = match PHONE_NUMBER_UTIL.get_number_type(&number) {
                PhoneNumberType::Mobile | PhoneNumberType::FixedLineOrMobile => Use::Mobile,
                PhoneNumberType::FixedLine => Use::Landline,
                PhoneNumberType::TollFree | PhoneNumberType::PremiumRate | PhoneNumberType::SharedCost => Use::Special,
                PhoneNumberType::Unknown => Use::Unassigned,
                PhoneNumberType::VoIP
                | PhoneNumberType::PersonalNumber
                | PhoneNumberType::Pager
                | PhoneNumberType::UAN
                | PhoneNumberType::VoiceMail => panic!("{national:08} is of a kind that the plan lacks"),
            };
            assert_eq!(use_of(&format!("{national:08}")), expected, "{national:08}");
        }
    }

    #[test]
    fn a_bare_country_code_is_taken_only_from_a_whole_number() {
        assert_eq!(strip_bare_country_code("21620000123"), "20000123");
        assert_eq!(strip_bare_country_code("216020000123"), "020000123");
        assert_eq!(strip_bare_country_code("21612345"), "21612345");
        assert_eq!(strip_bare_country_code("2161234567"), "2161234567");
        assert_eq!(strip_bare_country_code("216"), "");
    }
}
