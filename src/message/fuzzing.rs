//! What must hold of numbers, alphabets and texts for any input: one function a property, which the fuzz targets run for
//! hours and the tests for a moment (docs/FUZZING.md). A property that does not hold panics.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::encoding::{Encoding, encode_gsm7, encode_ucs2, forces_ucs2, measure, segments};
use super::facts::{Facts, VALUE_LIMIT_CHARS, clean};
use super::fit::{EncodingPolicy, apply, forcing, transliterate};
use super::hours::{Calendar, Dates, Days, Hours, Opening, Window};
use super::kind::Kind;
use super::phone::{Countries, Normalised, normalise};
use super::template::{DEFAULT_LANG, TEXT_LIMIT_CHARS, Template, Text, Texts};

/// Octets of one SMS (3GPP TS 23.040), and of one that is a part of a long message.
const SEGMENT_OCTETS: usize = 140;

/// Beginnings for [`phone`].
pub const PHONE_SEEDS: &[&str] = &[
    "20 000 001",
    "+216 20000002",
    "00216 20.000.003",
    "(+216) 20-000-004 / 71 000 000",
    "0021621620000005",
    "٢٠ ٠٠٠ ٠٠٦",
    "２００００００７",
    "+33 6 12 34 56 78",
    "n/a",
    "020000008x",
    "+216\u{202a}20\u{a0}000\u{200e}009",
];

/// A number that is found is E.164, in an allowed country, and reads as itself.
pub fn phone(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(allowed) = Countries::from_codes(["TN", "FR", "IT", "LY", "US"]) else { return };
    if let Ok(Normalised { number, .. }) = normalise(&text, &allowed) {
        let digits = number.digits();
        assert!((8..=15).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_digit()), "{number:?}");
        assert!(number.as_str() == format!("+{digits}") && digits.ends_with(number.national()), "{number:?}");
        assert!(allowed.contains(number.region()), "{number:?}");
        let again = normalise(number.as_str(), &allowed);
        assert!(again == Ok(Normalised { number: number.clone(), notes: Vec::new() }), "{number:?} became {again:?}");
    }
}

/// Beginnings for [`encoding`].
pub const ENCODING_SEEDS: &[&str] = &[
    "",
    "Bonjour, votre voiture est prête.",
    "Prix: 250€ [TTC] {a|b} ~^\\ çÇ",
    "مرحبا",
    "🚗🚗🚗",
    "François, votre «\u{a0}Citroën\u{202f}» est prête… l’œil\u{ad} e\u{302}\u{338} 1½ 10² م\u{200d}",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa€€€€€€€",
];

/// A text is cut into as many segments as are counted, each fits an SMS, and nothing of it is lost.
pub fn encoding(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (measured, pieces) = (measure(&text), segments(&text));
    assert!(pieces.len() == measured.segments as usize && pieces.concat() == text, "{measured:?} {pieces:?}");
    assert!(pieces.iter().all(|piece| !piece.is_empty()), "{pieces:?}");
    assert_eq!(forces_ucs2(&text).next().is_none(), measured.encoding == Encoding::Gsm7);
    assert_eq!(encode_gsm7(&text).is_some(), measured.encoding == Encoding::Gsm7);
    let octets =
        |text: &str| encode_gsm7(text).map_or_else(|| encode_ucs2(text).len(), |it| (it.len() * 7).div_ceil(8));
    if measured.encoding == Encoding::Gsm7 {
        assert_eq!(encode_gsm7(&text).map(|septets| septets.len()), Some(measured.units));
        assert!(pieces.iter().all(|piece| octets(piece) <= SEGMENT_OCTETS));
    } else {
        let ucs2 = encode_ucs2(&text);
        assert_eq!(ucs2.len(), measured.units * 2);
        assert!(pieces.iter().all(|piece| encode_ucs2(piece).len() <= SEGMENT_OCTETS));
        let units: Vec<u16> = ucs2.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
        assert_eq!(String::from_utf16(&units).ok().as_deref(), Some(&*text));
    }
    fitting(&text);
}

/// Other words cost fewer segments or are not used, leave names alone, and are in GSM-7 when that was asked for.
fn fitting(text: &str) {
    let reworded = transliterate(text);
    assert_eq!(transliterate(&reworded), reworded);
    let in_gsm7 = measure(&reworded).encoding == Encoding::Gsm7;
    assert_eq!(forcing(text).iter().all(|forcing| forcing.rewording.is_some()), in_gsm7, "{text:?}");
    let names: Vec<&str> = text.split(' ').take(2).collect();
    match apply(EncodingPolicy::Fit, text, &names, true) {
        Ok(fitted) if fitted.changed => assert!(
            fitted.measure.segments < measure(text).segments && fitted.text == reworded,
            "{text:?} became {fitted:?}"
        ),
        Ok(fitted) => assert_eq!(fitted.text, text),
        Err(refused) => panic!("{text:?}: {refused}"),
    }
    match apply(EncodingPolicy::Force, text, &names, true) {
        Ok(forced) => assert!(in_gsm7 && forced.text == reworded, "{text:?} became {forced:?}"),
        Err(refused) => assert!(!in_gsm7 && !refused.characters.is_empty(), "{text:?}: {refused}"),
    }
}

/// Made once, because an input takes less time than the templates.
static TEXTS: LazyLock<Texts> = LazyLock::new(|| Texts::new(Vec::new()).0);

/// Beginnings for [`texts`]: first name, make, model, invoice number, amount, time; one a line.
pub const TEXTS_SEEDS: &[&str] = &[
    "Sami\nKia\nRio\nINV-1A2B3C4D\n250.00\n2026-12-01T08:30:00Z",
    "{{ api_key }}\n{% for i in range(9999999) %}x{% endfor %}\n{# #}\n\n0.000\n2026-12-01T00:00:00+01:00",
    "\u{202e}imaS\u{1b}[31m\r\n\n\u{feff}\n1e309\n-009999-01-02T01:59:59Z",
    "\nKia",
];

/// What people typed is printed as it is, once cleaned, whatever it looks like; a text is one line within its limit.
pub fn texts(data: &[u8]) {
    let input = String::from_utf8_lossy(data);
    let mut lines = input.split('\n');
    let names = ["first_name", "car_make", "car_model", "invoice_number"];
    let values: BTreeMap<String, String> =
        names.iter().zip(lines.by_ref()).map(|(name, value)| ((*name).to_owned(), value.to_owned())).collect();
    let facts = Facts {
        amount: lines.next().map(str::to_owned),
        at: lines.next().and_then(|at| at.parse::<Timestamp>().ok()),
        values,
        ..Facts::default()
    };
    let _ = facts.has_amount();
    for value in facts.values.values() {
        let shown = clean(value);
        assert!(shown.chars().count() <= VALUE_LIMIT_CHARS && !shown.chars().any(char::is_control), "{shown:?}");
        assert_eq!(clean(&shown), shown);
    }
    for (kind, said) in [
        (Kind::ServiceCompleted, &["first_name", "car_make", "car_model"][..]),
        (Kind::InvoiceCreated, &names[..]),
        (Kind::AppointmentReminder, &["first_name", "car_make", "car_model"][..]),
    ] {
        if let Ok(Text { body: text, .. }) = TEXTS.render(kind, DEFAULT_LANG, &facts, &[], &TimeZone::UTC) {
            assert!(text.starts_with("Bonjour") && text.chars().count() <= TEXT_LIMIT_CHARS, "{text:?}");
            assert!(!text.chars().any(char::is_control), "{text:?}");
            for name in said {
                let value = clean(facts.values.get(*name).map_or("", String::as_str));
                assert!(text.contains(&value), "{value:?} is not in {text:?}");
            }
        }
    }
}

/// Beginnings for [`template`]: a template, or the value of a setting.
pub const TEMPLATE_SEEDS: &[&str] = &[
    "Bonjour{% if first_name %} {{ first_name }}{% endif %}, votre {{ car_make }} {{ car_model }} est prête le {{ date_text }}.",
    "{% if not time %}{# rien #}{% else %}à {{ time }}{% endif %}",
    "{% for a in [1,2,3] %}{% for b in [1,2,3] %}{{ a ~ b }}{% endfor %}{% endfor %}",
    "{{ first_name * 999999 }}{{ [[[[[[[[1]]]]]]]] }}{% raw %}{{{% endraw %}",
    "{{ weekday",
    "10:00-12:00, 20:30-24:00",
    "mon-thu, sat",
    "05-01, 2027-03-10, 2027-02-08..2027-03-09",
];

/// Segments that a template may make here.
const TEMPLATE_SEGMENTS: u32 = 4;

/// A template is refused with a sentence, or makes texts of no more segments than allowed; hours, days and dates are read or refused.
pub fn template(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for kind in Kind::ALL {
        let template = Template {
            kind,
            lang: DEFAULT_LANG.to_owned(),
            version: 1,
            body: text.clone().into_owned(),
            encoding: None,
        };
        match Texts::check(&template, EncodingPolicy::Fit, TEMPLATE_SEGMENTS) {
            Ok(made) => assert!((1..=TEMPLATE_SEGMENTS).contains(&made.segments), "{text:?} makes {made:?}"),
            Err(refused) => assert!(!refused.to_string().is_empty()),
        }
        // Whatever went round the check: no text, or one within its limit.
        let (texts, _) = Texts::new(vec![template]);
        if let Ok(made) = texts.render(kind, DEFAULT_LANG, &Facts::default(), &[], &TimeZone::UTC) {
            assert!(made.body.chars().count() <= TEXT_LIMIT_CHARS);
        }
    }
    let _ = (text.parse::<Days>(), text.parse::<Dates>());
    if let Ok(hours) = text.parse::<Hours>() {
        let window = Window { hours: hours.clone(), ramadan_hours: hours, ..Window::always() };
        assert_ne!(window.at(Timestamp::UNIX_EPOCH, &TimeZone::UTC, &Calendar::default()), Opening::Never, "{text:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_property_holds_for_the_beginnings_of_the_fuzz_targets() {
        PHONE_SEEDS.iter().for_each(|seed| phone(seed.as_bytes()));
        ENCODING_SEEDS.iter().for_each(|seed| encoding(seed.as_bytes()));
        TEXTS_SEEDS.iter().for_each(|seed| texts(seed.as_bytes()));
        TEMPLATE_SEEDS.iter().for_each(|seed| template(seed.as_bytes()));
    }

    proptest! {
        #[test]
        fn a_number_that_is_found_is_e164_and_reads_as_itself(text in "[0-9+()/;, .x٢٠٩۹０é²\u{202A}\u{0}\n-]{0,60}") {
            phone(text.as_bytes());
        }

        #[test]
        fn no_bytes_upset_the_reading_of_numbers_or_the_cutting_of_texts(data in prop::collection::vec(any::<u8>(), 0..400)) {
            phone(&data);
            encoding(&data);
        }

        #[test]
        fn a_text_is_cut_into_segments_that_fit(text in "[a-zéç€\\[~🚗م]{0,400}") {
            encoding(text.as_bytes());
        }

        #[test]
        fn no_template_and_no_setting_upsets_the_reader(
            text in "([{}%# a-z_|()'0-9,:.-]{0,20}|\\{\\{ first_name \\}\\}|\\{% (if time|else|endif|for a in b|endfor) %\\}){0,12}"
        ) {
            template(text.as_bytes());
        }

        #[test]
        fn what_customers_are_called_is_printed_and_never_run(
            lines in prop::collection::vec(prop_oneof![any::<String>(), "[{}%# a-z_|()'\"]{0,80}"], 4),
            amount in "[0-9.eE+-]{0,12}",
            seconds in any::<i32>(),
        ) {
            let at = Timestamp::from_second(i64::from(seconds)).map(|at| at.to_string()).unwrap_or_default();
            texts(format!("{}\n{amount}\n{at}", lines.join("\n")).as_bytes());
        }
    }
}
