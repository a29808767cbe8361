//! How values are said in a text: amounts and dates, in French, Arabic and English.
//!
//! Owns the wording of values, not that of sentences (templates are elsewhere). French and English words are in GSM-7, so
//! that no amount and no date doubles what a text costs: a group of digits is set off by an ASCII space and not by the
//! U+202F of typography, and `août` is written without its circumflex. Arabic has Latin digits, as Tunisia writes them, and no
//! direction controls, each of which would cost a unit.
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
/// None if it is no plain decimal number, has more than three decimals (an amount is never rounded), or is longer than any
/// value that is put into a text.
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
