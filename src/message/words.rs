//! How values are said in a text: amounts and dates, in French, Arabic and English.
//!
//! Owns the wording of values, not that of sentences (templates are elsewhere). French and English words are in
//! GSM-7, so that no amount and no date doubles what a text costs: a group of digits is set off by an ASCII space and
//! not by the U+202F of typography, and `août` is written without its circumflex. Arabic has Latin digits, as Tunisia
//! writes them, and no direction controls, each of which would cost a unit.
//!
//! A language that is not known is French, the language of the garage. An amount that is none has no words, and whoever
//! asked prints it as it is.

use jiff::civil::Date;

use super::facts::VALUE_LIMIT_CHARS;

/// Decimals of the dinar: 1000 millimes.
const DINAR_DECIMALS: usize = 3;

/// Digits that stand together.
const GROUP_DIGITS: usize = 3;

/// A language that values can be said in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Language {
    French,
    Arabic,
    English,
}

impl Language {
    /// By the first part of a tag: `ar-TN` is Arabic.
    fn of(tag: &str) -> Self {
        let language = tag.split(['-', '_']).next().unwrap_or_default();
        if language.eq_ignore_ascii_case("ar") {
            Self::Arabic
        } else if language.eq_ignore_ascii_case("en") {
            Self::English
        } else {
            Self::French
        }
    }

    /// The days of the week, from Monday.
    fn weekdays(self) -> [&'static str; 7] {
        match self {
            Self::French => ["lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche"],
            Self::Arabic => ["الاثنين", "الثلاثاء", "الأربعاء", "الخميس", "الجمعة", "السبت", "الأحد"],
            Self::English => ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"],
        }
    }

    /// The months; the Arabic ones as Tunisia calls them.
    fn months(self) -> [&'static str; 12] {
        match self {
            Self::French => [
                "janvier",
                "février",
                "mars",
                "avril",
                "mai",
                "juin",
                "juillet",
                "aout",
                "septembre",
                "octobre",
                "novembre",
                "décembre",
            ],
            Self::Arabic => [
                "جانفي",
                "فيفري",
                "مارس",
                "أفريل",
                "ماي",
                "جوان",
                "جويلية",
                "أوت",
                "سبتمبر",
                "أكتوبر",
                "نوفمبر",
                "ديسمبر",
            ],
            Self::English => [
                "January",
                "February",
                "March",
                "April",
                "May",
                "June",
                "July",
                "August",
                "September",
                "October",
                "November",
                "December",
            ],
        }
    }
}

/// An amount in dinars, given as the database prints it (`1250.500`), with its three decimals: `1 250,500 DT`,
/// `1250,500 د.ت`, `TND 1,250.500`.
///
/// None if it is no plain decimal number, has more than three decimals (an amount is never rounded), or is longer
/// than any value that is put into a text.
pub fn amount(text: &str, lang: &str) -> Option<String> {
    let (sign, number) = text.strip_prefix('-').map_or(("", text), |number| ("-", number));
    let (whole, decimals) = match number.split_once('.') {
        Some((_, "")) => return None,
        Some((whole, decimals)) => (whole, decimals),
        None => (number, ""),
    };
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if text.len() > VALUE_LIMIT_CHARS || whole.is_empty() || !digits(whole) || !digits(decimals) {
        return None;
    }
    if decimals.len() > DINAR_DECIMALS {
        return None;
    }
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        whole => whole,
    };
    // Nobody owes minus nothing.
    let sign = if whole == "0" && decimals.bytes().all(|digit| digit == b'0') { "" } else { sign };
    Some(match Language::of(lang) {
        Language::French => format!("{sign}{},{decimals:0<DINAR_DECIMALS$} DT", grouped(whole, ' ')),
        Language::Arabic => format!("{sign}{whole},{decimals:0<DINAR_DECIMALS$} د.ت"),
        Language::English => format!("TND {sign}{}.{decimals:0<DINAR_DECIMALS$}", grouped(whole, ',')),
    })
}

/// Digits in groups of three, counted from the end.
fn grouped(digits: &str, separator: char) -> String {
    let mut grouped = String::with_capacity(digits.len() + digits.len() / GROUP_DIGITS);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(GROUP_DIGITS) {
            grouped.push(separator);
        }
        grouped.push(digit);
    }
    grouped
}

/// A date in words: `mardi 1er décembre 2026`, `الثلاثاء 1 ديسمبر 2026`, `Tuesday 1 December 2026`.
pub fn date_long(date: Date, lang: &str) -> String {
    let language = Language::of(lang);
    // A month is 1 to 12.
    let month = language.months()[usize::from(date.month().unsigned_abs()) - 1];
    let first = if language == Language::French && date.day() == 1 { "er" } else { "" };
    format!("{} {}{first} {month} {}", weekday(date, lang), date.day(), date.year())
}

/// The day of the week: `mardi`, `الثلاثاء`, `Tuesday`.
pub fn weekday(date: Date, lang: &str) -> &'static str {
    Language::of(lang).weekdays()[usize::from(date.weekday().to_monday_zero_offset().unsigned_abs())]
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use jiff::ToSpan;
    use jiff::civil::date;

    use super::*;
    use crate::message::encoding::{Encoding, measure};

    #[test]
    fn an_amount_has_three_decimals_and_the_signs_of_its_language() {
        for (text, fr, ar, en) in [
            ("1250.500", "1 250,500 DT", "1250,500 د.ت", "TND 1,250.500"),
            ("250.00", "250,000 DT", "250,000 د.ت", "TND 250.000"),
            ("-3.5", "-3,500 DT", "-3,500 د.ت", "TND -3.500"),
            ("0.001", "0,001 DT", "0,001 د.ت", "TND 0.001"),
            ("7", "7,000 DT", "7,000 د.ت", "TND 7.000"),
            ("999", "999,000 DT", "999,000 د.ت", "TND 999.000"),
            ("1000", "1 000,000 DT", "1000,000 د.ت", "TND 1,000.000"),
            ("0012.3", "12,300 DT", "12,300 د.ت", "TND 12.300"),
            ("-0.000", "0,000 DT", "0,000 د.ت", "TND 0.000"),
            ("-0.010", "-0,010 DT", "-0,010 د.ت", "TND -0.010"),
            (
                "123456789012345678901234567890.12",
                "123 456 789 012 345 678 901 234 567 890,120 DT",
                "123456789012345678901234567890,120 د.ت",
                "TND 123,456,789,012,345,678,901,234,567,890.120",
            ),
        ] {
            assert_eq!(amount(text, "fr").as_deref(), Some(fr));
            assert_eq!(amount(text, "ar").as_deref(), Some(ar));
            assert_eq!(amount(text, "en").as_deref(), Some(en));
            for said in [fr, en] {
                assert_eq!(measure(said).encoding, Encoding::Gsm7, "{said}");
            }
        }
    }

    #[test]
    fn what_is_no_amount_has_no_words_and_nothing_is_rounded() {
        let long = "1".repeat(61);
        for junk in [
            "", "-", ".", ".5", "5.", "+5", "--5", "1e3", "NaN", "Infinity", "1,5", "1 250", " 5", "5 DT", "1.2.3",
            "٣", "1.-5", "1.2345", "0.0000", &long,
        ] {
            assert_eq!(amount(junk, "fr"), None, "{junk:?}");
        }
        assert!(amount(&"1".repeat(60), "fr").is_some());
    }

    #[test]
    fn a_date_is_said_as_people_say_it() {
        for (day, fr, ar, en) in [
            (date(2026, 12, 1), "mardi 1er décembre 2026", "الثلاثاء 1 ديسمبر 2026", "Tuesday 1 December 2026"),
            (date(2026, 8, 1), "samedi 1er aout 2026", "السبت 1 أوت 2026", "Saturday 1 August 2026"),
            (date(2027, 2, 28), "dimanche 28 février 2027", "الأحد 28 فيفري 2027", "Sunday 28 February 2027"),
            (date(2026, 1, 21), "mercredi 21 janvier 2026", "الأربعاء 21 جانفي 2026", "Wednesday 21 January 2026"),
        ] {
            assert_eq!(date_long(day, "fr"), fr);
            assert_eq!(date_long(day, "ar"), ar);
            assert_eq!(date_long(day, "en"), en);
            assert_eq!(weekday(day, "en"), en.split(' ').next().unwrap());
        }
    }

    #[test]
    fn a_language_is_the_first_part_of_its_tag_and_french_when_it_is_not_known() {
        let day = date(2026, 12, 1);
        let arabic = "الثلاثاء";
        for (tag, said) in [("fr", "mardi"), ("ar-TN", arabic), ("EN_GB", "Tuesday"), ("de", "mardi"), ("", "mardi")] {
            assert_eq!(weekday(day, tag), said, "{tag:?}");
        }
    }

    #[test]
    fn no_day_of_a_year_costs_french_or_english_its_alphabet() {
        let mut day = date(2026, 1, 1);
        let mut said = std::collections::BTreeSet::new();
        while day.year() == 2026 {
            for lang in ["fr", "en"] {
                let words = date_long(day, lang);
                assert_eq!(measure(&words).encoding, Encoding::Gsm7, "{words}");
                said.extend(words.split(' ').map(str::to_owned));
            }
            assert!(date_long(day, "ar").chars().all(|c| c.is_ascii_digit() || c == ' ' || ('ء'..='ي').contains(&c)));
            day = day.checked_add(1.day()).unwrap();
        }
        // 31 days and the first in French, 12 months and 7 weekdays in two languages, the year.
        assert_eq!(said.len(), 31 + 1 + 2 * (12 + 7) + 1);
    }
}
