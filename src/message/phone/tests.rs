use proptest::prelude::*;

use super::*;

fn tunisia(text: &str) -> Result<Normalised, Refusal> {
    normalise(text, &Countries::default())
}

fn number(text: &str) -> String {
    tunisia(text).unwrap_or_else(|refusal| panic!("{text:?}: {refusal}")).number.to_string()
}

fn notes(text: &str) -> Vec<Note> {
    tunisia(text).unwrap_or_else(|refusal| panic!("{text:?}: {refusal}")).notes
}

fn reason(text: &str) -> &'static str {
    tunisia(text).expect_err(text).reason()
}

fn with_france() -> Countries {
    Countries::from_codes(["TN", "FR"]).unwrap()
}

#[test]
fn common_ways_to_write_a_number_give_the_same_number_without_a_note() {
    for text in [
        "20 123 456",
        "20.123.456",
        "20-123-456",
        "(20) 123456",
        "20123456",
        "+216 20 123 456",
        "00216 20123456",
        "00 216 20 123 456",
        "216 20123456",
        "21620123456",
        "+21620123456#",
        "tel:+21620123456",
        "Tél. : 20 123 456",
        "(+216) 20.123.456",
        "+216-20-123-456",
        "++216 20 123 456",
        "+00216 20 123 456",
        "20'123'456",
        "  20123456\r\n",
        "https://wa.me/21620123456",
    ] {
        assert_eq!(number(text), "+21620123456", "{text:?}");
        assert_eq!(notes(text), [], "{text:?}");
    }
}

#[test]
fn a_subscriber_whose_number_begins_with_the_country_code_keeps_it() {
    assert_eq!(number("21612345"), "+21621612345");
    assert_eq!(number("+216 21612345"), "+21621612345");
    assert_eq!(number("21621612345"), "+21621612345");
    assert_eq!(notes("21621612345"), []);
}

#[test]
fn one_leading_zero_is_dropped_and_reported() {
    for text in ["020123456", "+216 (0)20 123 456", "+216 020123456", "216020123456", "00216 0 20 123 456"] {
        assert_eq!(number(text), "+21620123456", "{text:?}");
        assert_eq!(notes(text), [Note::LeadingZeroDropped], "{text:?}");
    }
}

#[test]
fn a_country_code_written_twice_is_repaired_and_reported() {
    for text in ["+21621620123456", "21621620123456", "+216 00216 20 123 456", "00216 216 20 123 456"] {
        assert_eq!(number(text), "+21620123456", "{text:?}");
        assert_eq!(notes(text), [Note::CountryCodeRepeated], "{text:?}");
    }
    assert_eq!(notes("+216 216 020 123 456"), [Note::CountryCodeRepeated, Note::LeadingZeroDropped]);
    assert_eq!(number("+216+21620123456"), "+21620123456");
}

#[test]
fn digits_of_other_scripts_and_typographic_signs_are_read() {
    for text in [
        "٢٠١٢٣٤٥٦",
        "۲۰۱۲۳۴۵۶",
        "２０１２３４５６",
        "२०१२३४५६",
        "＋２１６\u{A0}２０\u{202F}１２３\u{3000}４５６",
        "\u{200E}+216 20 123 456\u{200F}",
        "\u{202A}+216\u{202C} 20\u{AD}123\u{2066}456\u{2069}",
        "\u{FEFF}20\u{2011}123\u{2013}456",
        "20\u{0}123\u{7}456",
        "هاتف: ٢٠ ١٢٣ ٤٥٦",
        "📞20123456",
    ] {
        assert_eq!(number(text), "+21620123456", "{text:?}");
    }
}

#[test]
fn the_first_mobile_wins_and_the_others_are_reported() {
    for text in [
        "20123456 / 98123456",
        "20123456;98123456",
        "20123456, 98123456",
        "20123456 ou 98123456",
        "20123456ou98123456",
        "20123456 98123456",
        "71 123 456 / 20 123 456",
        "2012345678 / 20123456",
        "+33 6 12 34 56 78 / 20123456",
    ] {
        assert_eq!(number(text), "+21620123456", "{text:?}");
        assert_eq!(notes(text), [Note::OthersIgnored(1)], "{text:?}");
    }
    assert_eq!(notes("20123456;71123456;98123456"), [Note::OthersIgnored(2)]);
    assert_eq!(notes("20123456 / +216 20 123 456"), []);
    assert_eq!(number("20123456;71…"), "+21620123456");
    assert_eq!(notes("20123456;71…"), [Note::DigitsIgnored]);
}

#[test]
fn extensions_are_left_aside_and_reported() {
    for text in ["20123456 poste 12", "20123456x12", "20123456 ext. 12", "tel:+21620123456;ext=12", "20123456, 12"] {
        assert_eq!(number(text), "+21620123456", "{text:?}");
        assert_eq!(notes(text), [Note::DigitsIgnored], "{text:?}");
    }
}

#[test]
fn landlines_special_numbers_and_short_codes_are_never_sent_to() {
    for text in
        ["71 123 456", "+216 71 123 456", "071123456", "31 490 000", "81200123", "71123456 poste 12", "71123456 / 1820"]
    {
        assert_eq!(reason(text), "landline", "{text:?}");
    }
    for text in ["80101234", "8110 1234", "8210 1234", "88 123 456", "+216 88 123 456"] {
        assert_eq!(reason(text), "special_number", "{text:?}");
    }
    for text in ["85300", "1820", "190", "+216 85300", "٨٥٣٠٠"] {
        assert_eq!(reason(text), "short_code", "{text:?}");
    }
}

#[test]
fn restricted_mobility_counts_as_mobile() {
    for national in
        ["31112345", "31312345", "31512345", "36012345", "36412345", "39112345", "30011234", "31401234", "32401234"]
    {
        assert_eq!(number(national), format!("+216{national}"));
    }
}

#[test]
fn what_is_not_plainly_a_number_is_invalid() {
    for text in [
        "49 123 456",
        "12 345 678",
        "12345678",
        "2012345",
        "201234567",
        "call me maybe",
        "0612345678",
        "+1 123 456 7890",
        "33612345678",
        "+216 2012345",
        "+216 201234567",
        "20 123 456 98 123 456",
        "2o123456",
        "FAC20123456",
        "20123456@example.com",
        "20123456²",
        "20/12/2024",
        "12345678901234567890123",
        "?1",
    ] {
        assert_eq!(reason(text), "invalid_phone", "{text:?}");
    }
}

#[test]
fn placeholders_and_zeros_count_as_no_number() {
    for text in ["", " ", "-", "N/A", "aucun", "0", "00000000", "+", "+216", "00216", "216", "\u{200E}", "\0"] {
        assert_eq!(reason(text), "no_phone", "{text:?}");
    }
}

#[test]
fn foreign_mobiles_need_their_country_on_the_list() {
    for text in ["+33 6 12 34 56 78", "0033612345678", "+33 (0)6 12 34 56 78", "＋33612345678"] {
        let normalised = normalise(text, &with_france()).unwrap();
        assert_eq!((normalised.number.as_str(), normalised.number.region()), ("+33612345678", "FR"), "{text:?}");
        assert_eq!(tunisia(text), Err(Refusal::CountryNotAllowed { region: "FR".to_owned() }), "{text:?}");
    }
    let france = Countries::from_codes(["FR"]).unwrap();
    assert_eq!(normalise("20123456", &france), Err(Refusal::CountryNotAllowed { region: "TN".to_owned() }));
}

#[test]
fn a_foreign_landline_is_a_landline_whatever_the_list() {
    assert_eq!(reason("+33 1 23 45 67 89"), "landline");
    assert_eq!(normalise("+33 1 23 45 67 89", &with_france()), Err(Refusal::Landline));
}

#[test]
fn hints_tell_staff_what_to_do() {
    assert_eq!(
        tunisia("0612345678").unwrap_err().to_string(),
        "the phone number is not valid: if it is a French mobile, write it with +33 instead of the first 0"
    );
    assert_eq!(
        tunisia("2012345").unwrap_err().to_string(),
        "the phone number is not valid: it has 7 digits, a Tunisian number has 8"
    );
}

#[test]
fn of_two_equal_refusals_the_first_is_told() {
    assert_eq!(tunisia("2012345 / 201234567"), tunisia("2012345"));
    assert_eq!(tunisia("201234567 / 2012345"), tunisia("201234567"));
}

#[test]
fn a_text_of_megabytes_is_refused_and_its_spaces_are_not_counted() {
    assert_eq!(reason(&"20123456 ".repeat(500_000)), "invalid_phone");
    assert_eq!(reason(&"é".repeat(1_000_000)), "invalid_phone");
    assert_eq!(number(&format!("{}20123456", " ".repeat(1_000_000))), "+21620123456");
    assert_eq!(reason(&format!("20123456{}", "/".repeat(INPUT_LIMIT_BYTES - 7))), "invalid_phone");
    assert_eq!(number(&format!("20123456{}", "/".repeat(INPUT_LIMIT_BYTES - 8))), "+21620123456");
}

#[test]
fn neither_notes_nor_refusals_nor_debug_show_the_number() {
    let normalised = tunisia("20000123 / 20000124").unwrap();
    assert_eq!(format!("{normalised:?}"), "Normalised { number: Number(+216 ** *** *23), notes: [OthersIgnored(1)] }");
    for text in ["49000123", "71000123", "0612345678", "FAC20000123", "+33 6 12 34 56 78"] {
        let refusal = tunisia(text).unwrap_err();
        let shown = format!("{refusal} {refusal:?}");
        assert!(!shown.chars().filter(char::is_ascii_digit).collect::<String>().contains("123"), "{shown}");
    }
}

/// A Tunisian mobile of the plan, national digits.
fn mobile() -> impl Strategy<Value = String> {
    prop_oneof!["[259][0-9]{7}", "4[0-8][0-9]{6}", "(311|312|313|315|36[0-4]|391)[0-9]{5}", "(3001|3140|3240)[0-9]{4}"]
}

fn country_prefix() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "", "+216", "00216", "216", "(+216)", "+216 (0)", "0", "＋216", "+ 216 ", "tel:+216", "Tél ",
    ])
}

fn gap() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "", "", "", " ", "-", ".", "\u{A0}", "\u{202F}", "\u{200E}", "\u{AD}", " - ", "(", ")", "_",
    ])
}

fn zero_of_a_script() -> impl Strategy<Value = char> {
    prop::sample::select(vec!['0', '\u{660}', '\u{6F0}', '\u{FF10}'])
}

proptest! {
    #[test]
    fn no_text_makes_it_panic_and_every_result_is_e164_that_reads_as_itself(text in any::<String>()) {
        if let Ok(Normalised { number, .. }) = normalise(&text, &with_france()) {
            prop_assert!(number.digits().len() <= 15 && number.digits().bytes().all(|digit| digit.is_ascii_digit()));
            prop_assert_eq!(normalise(number.as_str(), &with_france()), Ok(Normalised { number, notes: Vec::new() }));
        }
    }

    #[test]
    fn no_text_of_digits_and_signs_makes_it_panic(text in "[0-9+()/;, .x٢٠٩۹０é²\u{202A}\u{0}\n-]{0,60}") {
        if let Ok(Normalised { number, .. }) = normalise(&text, &with_france()) {
            prop_assert!(["TN", "FR"].contains(&number.region()));
            prop_assert_eq!(normalise(number.as_str(), &with_france()), Ok(Normalised { number, notes: Vec::new() }));
        }
    }

    #[test]
    fn every_formatting_of_a_mobile_gives_the_same_number(
        national in mobile(),
        prefix in country_prefix(),
        gaps in prop::collection::vec(gap(), 9),
        zero in zero_of_a_script(),
    ) {
        let mut text = prefix.to_owned();
        for (digit, gap) in national.chars().zip(&gaps) {
            text.push_str(gap);
            text.push(char::from_u32(u32::from(zero) + digit.to_digit(10).unwrap()).unwrap());
        }
        text.push_str(gaps[8]);
        prop_assert_eq!(number(&text), format!("+216{national}"), "{:?}", text);
    }

    #[test]
    fn digits_alone_are_read_as_a_number_that_ends_with_them(digits in "[0-9]{1,20}") {
        if let Ok(normalised) = tunisia(&digits) {
            prop_assert!(digits.ends_with(normalised.number.national()));
        }
    }
}
