#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;

use super::super::samples::{invoice, reminder, service};
use super::*;

/// The default alphabet in the order of TS 23.038, without the escape.
const ALPHABET: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?\
    ¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";

/// The extension table in the order of TS 23.038.
const EXTENDED: &str = "\u{C}^{}\\[~]|€";

fn gsm7(units: usize, segments: u32) -> Measure {
    Measure { encoding: Encoding::Gsm7, units, segments }
}

fn ucs2(units: usize, segments: u32) -> Measure {
    Measure { encoding: Encoding::Ucs2, units, segments }
}

#[test]
fn the_fixed_texts_of_the_garage_leave_the_documented_room_for_their_values() {
    // The space between make and model is fixed.
    assert_eq!(measure(&service("", " ")), gsm7(98, 1));
    assert_eq!(measure(&invoice("", "", "", " ")), gsm7(92, 1));
    assert_eq!(measure(&reminder("", " ", "")).units, 105 + "09:30".len());
}

#[test]
fn real_values_cost_the_documented_segments() {
    let golf = "Volkswagen Golf 7 GTD";
    let citroen = "Citroën C4 Picasso";
    let mercedes = "Mercedes-Benz Classe A 180 d AMG Line";
    assert_eq!(measure(&service("Sami", "Kia Rio")), gsm7(108, 1));
    assert_eq!(measure(&service("Mohamed Amine", golf)), gsm7(131, 1));
    assert_eq!(measure(&service("François", citroen)), ucs2(123, 2));
    assert_eq!(measure(&service("محمد", "Peugeot 208")), ucs2(112, 2));
    assert_eq!(measure(&service("Abderrahmane", mercedes)), gsm7(146, 1));

    assert_eq!(measure(&invoice("Sami", "INV-2025-0042", "350.500", "Kia Rio")), gsm7(122, 1));
    assert_eq!(measure(&invoice("Mohamed Amine", "FAC-2025-000123", "1 250,500", golf)), gsm7(149, 1));
    assert_eq!(measure(&invoice("Mohamed Amine", "FAC-2025-000123", "1\u{202F}250,500", golf)), ucs2(149, 3));
    assert_eq!(measure(&invoice("François", "FAC-2025-000123", "1250.500", citroen)), ucs2(140, 3));
    assert_eq!(measure(&invoice("محمد", "FAC-2025-000123", "1250.500", "Peugeot 208")), ucs2(129, 2));
    assert_eq!(measure(&invoice("Abderrahmane", "FAC-2025-000123", "12 250,500", mercedes)), gsm7(165, 2));

    assert_eq!(measure(&reminder("Sami", "Kia Rio", "23/11/2026")), ucs2(130, 2));
    assert_eq!(measure(&reminder("Mohamed Amine", golf, "23/11/2026")), ucs2(153, 3));
    assert_eq!(measure(&reminder("François", citroen, "3 décembre 2026")), ucs2(150, 3));
    assert_eq!(measure(&reminder("محمد", "Peugeot 208", "23/11/2026")), ucs2(134, 2));
    assert_eq!(measure(&reminder("Abderrahmane", mercedes, "mardi 1 décembre 2026")), ucs2(179, 3));
    assert_eq!(measure("Bonjour Sami, votre Kia Rio est prête."), ucs2(38, 1));
}

#[test]
fn an_empty_text_has_no_segment() {
    assert_eq!(measure(""), gsm7(0, 0));
    assert!(segments("").is_empty());
}

#[test]
fn segments_end_where_the_standard_says() {
    for (units, count) in [(1, 1), (160, 1), (161, 2), (306, 2), (307, 3), (459, 3), (460, 4)] {
        assert_eq!(measure(&"a".repeat(units)), gsm7(units, count));
    }
    for (units, count) in [(1, 1), (70, 1), (71, 2), (134, 2), (135, 3), (201, 3), (202, 4)] {
        assert_eq!(measure(&"ê".repeat(units)), ucs2(units, count));
    }
}

#[test]
fn an_escape_pair_counts_twice_and_is_not_cut() {
    assert_eq!(measure(&"€".repeat(80)), gsm7(160, 1));
    assert_eq!(measure(&"€".repeat(81)), gsm7(162, 2));
    // 76 pairs fit into a segment of 153, and one septet is lost.
    assert_eq!(measure(&"€".repeat(152)), gsm7(304, 2));
    assert_eq!(measure(&"€".repeat(153)), gsm7(306, 3));
    let text = format!("{}€{}", "a".repeat(152), "b".repeat(151));
    assert_eq!(measure(&text), gsm7(305, 2));
    assert_eq!(segments(&text), [&text[..152], &text[152..]]);
    assert_eq!(measure(&format!("{text}b")), gsm7(306, 3));
}

#[test]
fn a_longer_header_leaves_a_unit_less() {
    let cut = |text: &str| {
        segments_with(text, HeaderBits::Sixteen).iter().map(|piece| measure(piece).units).collect::<Vec<_>>()
    };
    assert_eq!(cut(&"a".repeat(160)), [160]);
    assert_eq!(cut(&"a".repeat(305)), [152, 152, 1]);
    assert_eq!(cut(&"ê".repeat(133)), [66, 66, 1]);
    assert_eq!(cut(&format!("{}€{}", "a".repeat(151), "b".repeat(20))), [151, 22]);
}

#[test]
fn what_was_encoded_is_decoded_and_nothing_else() {
    for text in [ALPHABET, EXTENDED] {
        assert_eq!(decode_gsm7(&encode_gsm7(text).unwrap()), text);
    }
    assert_eq!(decode_gsm7(&[0x41, 0x80, 0x1B, 0x41, 0x1B]), "A\u{FFFD}\u{FFFD}\u{FFFD}");
}

#[test]
fn a_surrogate_pair_counts_twice_and_is_not_cut() {
    assert_eq!(measure(&"🚗".repeat(35)), ucs2(70, 1));
    assert_eq!(measure(&"🚗".repeat(36)), ucs2(72, 2));
    let text = format!("{}🚗{}", "a".repeat(66), "b".repeat(65));
    assert_eq!(measure(&text), ucs2(133, 2));
    assert_eq!(segments(&text), [&text[..66], &text[66..]]);
    assert_eq!(measure(&format!("{text}b")), ucs2(134, 3));
}

#[test]
fn the_characters_of_french_are_in_their_documented_class() {
    for inside in "àéèùäöüæÆÇÉÄÖÜ€\n\r\u{C}^{}\\[~]|@_".chars() {
        assert_eq!(measure(&inside.to_string()).encoding, Encoding::Gsm7, "{inside:?}");
    }
    for outside in "âêëîïôûçœÿÀÂÈÊËÎÏÔÙÛŒŸ’‘“”«»…–—°№²`´\u{A0}\u{202F}\t\u{1B}\0مΑ".chars()
    {
        assert_eq!(measure(&outside.to_string()).encoding, Encoding::Ucs2, "{outside:?}");
        assert_eq!(forces_ucs2(&format!("é€{outside}a")).collect::<Vec<_>>(), [(2, outside)]);
        assert_eq!(encode_gsm7(&outside.to_string()), None);
    }
    assert_eq!(forces_ucs2("Bonjour à tous").next(), None);
}

#[test]
fn texts_become_the_octets_of_the_standard() {
    assert_eq!(encode_gsm7(ALPHABET), Some((0x00..0x80).filter(|septet| *septet != 0x1B).collect()));
    let extended = [0x0A, 0x14, 0x28, 0x29, 0x2F, 0x3C, 0x3D, 0x3E, 0x40, 0x65];
    assert_eq!(encode_gsm7(EXTENDED), Some(extended.iter().flat_map(|septet| [0x1B, *septet]).collect()));
    assert_eq!(encode_gsm7("à 5 €\n"), Some(vec![0x7F, 0x20, 0x35, 0x20, 0x1B, 0x65, 0x0A]));
    assert_eq!(encode_gsm7("[ok]\u{C}"), Some(vec![0x1B, 0x3C, 0x6F, 0x6B, 0x1B, 0x3E, 0x1B, 0x0A]));
    assert_eq!(encode_gsm7(""), Some(vec![]));
    assert_eq!(encode_ucs2("ê🚗"), [0x00, 0xEA, 0xD8, 0x3D, 0xDE, 0x97]);
}

#[test]
fn an_encoding_is_read_as_it_is_written() {
    for encoding in [Encoding::Gsm7, Encoding::Ucs2] {
        assert_eq!(encoding.to_string().parse(), Ok(encoding));
    }
    assert_eq!("GSM-7".parse::<Encoding>(), Err(UnknownEncoding));
}

/// A second implementation, slow and plain: each character by a search, each segment taken off the front.
fn measure_plainly(text: &str) -> (Measure, Vec<String>) {
    let fits = text.chars().all(|character| ALPHABET.contains(character) || EXTENDED.contains(character));
    let (encoding, single, long) = if fits { (Encoding::Gsm7, 160, 153) } else { (Encoding::Ucs2, 70, 67) };
    let cost = |character: &char| {
        if fits { 1 + usize::from(EXTENDED.contains(*character)) } else { character.len_utf16() }
    };
    let mut rest: Vec<char> = text.chars().collect();
    let units = rest.iter().map(cost).sum();
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let room = if units <= single { single } else { long };
        let mut count = rest.len();
        while rest[..count].iter().map(cost).sum::<usize>() > room {
            count -= 1;
        }
        pieces.push(rest.drain(..count).collect());
    }
    (Measure { encoding, units, segments: u32::try_from(pieces.len()).unwrap() }, pieces)
}

proptest! {
    #[test]
    fn measures_and_cuts_agree_with_the_plain_implementation(text in prop_oneof![
        any::<String>(),
        "[a-zéèà €|\\[~]{0,500}",
        "[a-z€]{140,170}",
        "[a-zêç€🚗]{0,250}",
        "[a🚗]{60,75}",
    ]) {
        let (measured, pieces) = measure_plainly(&text);
        prop_assert_eq!(measure(&text), measured);
        prop_assert_eq!(segments(&text), pieces);
        prop_assert_eq!(segments(&text).concat(), text);
    }

    #[test]
    fn the_octets_have_the_measured_length_and_decode_to_the_text(
        text in prop_oneof![any::<String>(), "[a-zà€^]{0,200}"],
    ) {
        let measured = measure(&text);
        prop_assert_eq!(forces_ucs2(&text).next().is_none(), measured.encoding == Encoding::Gsm7);
        if let Some(septets) = encode_gsm7(&text) {
            prop_assert_eq!((measured.encoding, measured.units), (Encoding::Gsm7, septets.len()));
            prop_assert!(septets.iter().all(|septet| *septet < 0x80));
        } else {
            prop_assert_eq!(measured.encoding, Encoding::Ucs2);
        }
        let octets = encode_ucs2(&text);
        let units: Vec<u16> = octets.chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
        prop_assert_eq!(String::from_utf16(&units).ok(), Some(text));
    }
}
