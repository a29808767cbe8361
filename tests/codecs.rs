//! Alphabet, length and segments agree with other people's codecs, on 100,000 texts and on every character of the basic
//! multilingual plane.
//!
//! No two of the oracles share code or tables:
//!
//! - `sms_splitter` answers everything: the character set, its units, the parts and what is in them.
//! - `rusmpp-extra` encodes and cuts GSM-7 and the basic multilingual plane. It refuses surrogate pairs. Its
//!   extension table lacks the form feed (0x0A in TS 23.038), so it is given `^` instead, which is as long.
//! - `smpp-codec` is asked for the texts that `rusmpp-extra` refuses. It cuts UTF-16 every 67 units, whatever stands
//!   there: a surrogate pair too, which a handset would show as two broken characters. Where it does, its octets are
//!   cut again. Its GSM-7 table has no § and no form feed, and holds ` and the escape for characters; a text with a
//!   surrogate pair is UCS-2 in any table, so that does not matter here.
//!
//! All of them call an empty text one part; we say that there is nothing to send, so empty texts are counted but not
//! compared. Every other text is compared with two of them.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use ecar_sms::message::encoding::{Encoding, encode_gsm7, encode_ucs2, measure, segments};
use rusmpp_extra::concatenation::owned::{Concatenation, Concatenator};
use rusmpp_extra::encoding::gsm7bit::Gsm7BitUnpacked;
use rusmpp_extra::encoding::ucs2::Ucs2;
use smpp_codec::splitter::{EncodingType, MessageSplitter, SplitMode};
use sms_splitter::SplitSms;

const TEXTS: usize = 100_000;

/// Of these [`SEED`] makes so many empty ones, which are not compared.
const EMPTY_TEXTS: usize = 136;

/// The same texts in every run, so that what is counted below is known.
const SEED: u64 = 23_038;

/// Octets of an SMS in unpacked GSM-7, and what the concatenation header takes of them, fill bits included.
const GSM7_OCTETS: (usize, usize) = (160, 7);

/// Octets of an SMS in UCS-2, and of the concatenation header.
const UCS2_OCTETS: (usize, usize) = (140, 6);

/// Units at which one more segment is needed, in UCS-2 and in GSM-7.
const BOUNDARIES: [usize; 8] = [70, 134, 201, 268, 153, 160, 306, 459];

/// What the texts are made of; the first five are in the alphabet, the second of them takes two septets a character.
const CLASSES: [&str; 13] = [
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "^{}\\[~]|€\u{C}",
    "0123456789 .,:;!?'\"()/-+*%&=<>#",
    "@£$¥èéùìòÇØøÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ¤¡ÄÖÑÜ§¿äöñüà",
    "\n\r",
    "\u{1B}",
    "ç",
    "âêëîïôûœÿÀÂÈÊËÎÏÔÙÛŒŸ’‘“”«»…–—°№²`´\u{A0}\u{202F}\t\0",
    "e\u{301}\u{302}\u{308}\u{327}\u{338}\u{20E3}",
    "مرحباسيارتكجاهزة٠١٢٣\u{200F}\u{64B}",
    "αβγάώАБВабвĄąłİı\u{37E}\u{2126}\u{212B}",
    "🚗🔧👍🏽𝐀𝟎𐍈\u{10FFFF}",
    "\u{200D}\u{FE0F}\u{FEFF}\u{FFFD}\u{FFFF}\u{E000}\u{D7FF}",
];
const IN_ALPHABET: usize = 5;
const TWO_SEPTETS: usize = 1;

static ALL: LazyLock<Vec<String>> = LazyLock::new(|| {
    let classes: Vec<Vec<char>> = CLASSES.iter().map(|class| class.chars().collect()).collect();
    let mut random = Random(SEED);
    (0..TEXTS).map(|_| text(&mut random, &classes)).collect()
});

/// SplitMix64: quick without optimisation, and the same with any version of a library.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % end as u64) as usize
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

/// Half the texts are in the alphabet, half are as long as a boundary, give or take three units.
fn text(random: &mut Random, classes: &[Vec<char>]) -> String {
    let in_alphabet = random.below(2) == 0;
    let of = if in_alphabet { IN_ALPHABET } else { classes.len() };
    let chosen = [random.below(of), random.below(of), random.below(of)];
    let anything = !in_alphabet && random.below(10) == 0;
    let units = if random.below(2) == 0 { random.one(&BOUNDARIES) + random.below(7) - 3 } else { random.below(401) };
    // Most of a text is of its first class, so that the others stand anywhere, across the boundaries too.
    let rarity = random.one(&[2, 5, 40]);
    let mut text = String::with_capacity(units * 4);
    let mut length = 0;
    while length < units {
        let class = if random.below(rarity) == 0 { random.one(&chosen) } else { chosen[0] };
        let known = random.one(&classes[class]);
        let character = if anything { char::from_u32(random.below(0x11_0000) as u32).unwrap_or(known) } else { known };
        text.push(character);
        length += if in_alphabet && class == TWO_SEPTETS { 2 } else { character.len_utf16() };
    }
    text
}

/// The octets of each of our segments.
fn octets(text: &str, encoding: Encoding) -> Vec<Vec<u8>> {
    let encode = |piece: &str| match encoding {
        Encoding::Gsm7 => encode_gsm7(piece).unwrap(),
        Encoding::Ucs2 => encode_ucs2(piece),
    };
    segments(text).into_iter().map(encode).collect()
}

/// The encoding, and the septets or octets of each of its parts.
fn agrees_with_sms_splitter(text: &str) -> (Encoding, Vec<usize>) {
    let (ours, theirs) = (measure(text), SplitSms::default().split(String::from(text)));
    let (encoding, units) = match theirs.character_set.as_str() {
        "GSM" => (Encoding::Gsm7, theirs.bytes),
        _ => (Encoding::Ucs2, theirs.bytes / 2),
    };
    assert_eq!((ours.encoding, ours.units, ours.segments as usize), (encoding, units, theirs.parts.len()), "{text:?}");
    let parts: Vec<&str> = theirs.parts.iter().map(|part| part.content.as_str()).collect();
    assert_eq!(segments(text), parts, "{text:?}");
    (encoding, theirs.parts.iter().map(|part| part.bytes).collect())
}

fn agrees_with_rusmpp(text: &str) {
    let gsm7 = Gsm7BitUnpacked::new().concatenate(text, GSM7_OCTETS.0, GSM7_OCTETS.1);
    let (encoding, theirs) = match gsm7 {
        Ok((parts, _)) => (Encoding::Gsm7, parts),
        Err(_) => (Encoding::Ucs2, Ucs2::new().concatenate(text, UCS2_OCTETS.0, UCS2_OCTETS.1).unwrap().0),
    };
    let theirs = match theirs {
        Concatenation::Single(part) => vec![part],
        Concatenation::Concatenated(parts) => parts,
    };
    let ours = measure(text);
    assert_eq!((ours.encoding, ours.segments as usize), (encoding, theirs.len()), "{text:?}");
    assert_eq!(octets(text, encoding), theirs, "{text:?}");
}

/// Whether it cut a surrogate pair in two. Then its octets are cut again by the rule: a pair that does not fit goes
/// into the next segment.
fn agrees_with_smpp_codec(text: &str) -> bool {
    assert!(MessageSplitter::split(text.to_owned(), EncodingType::Gsm7Bit, SplitMode::Udh).is_err(), "{text:?}");
    let (mut theirs, _) = MessageSplitter::split(text.to_owned(), EncodingType::Ucs2, SplitMode::Udh).unwrap();
    if theirs.len() > 1 {
        theirs.iter_mut().for_each(|part| drop(part.drain(..UCS2_OCTETS.1)));
    }
    let is_second_half = |octet: u8| (0xDC..=0xDF).contains(&octet);
    let cuts_a_pair = theirs.iter().any(|part| is_second_half(part[0]));
    if cuts_a_pair {
        let mut rest = theirs.concat();
        theirs.clear();
        while !rest.is_empty() {
            let mut end = rest.len().min(UCS2_OCTETS.0 - UCS2_OCTETS.1);
            if rest.get(end).is_some_and(|octet| is_second_half(*octet)) {
                end -= 2;
            }
            theirs.push(rest.drain(..end).collect());
        }
    }
    let ours = measure(text);
    assert_eq!((ours.encoding, ours.segments as usize), (Encoding::Ucs2, theirs.len()), "{text:?}");
    assert_eq!(octets(text, Encoding::Ucs2), theirs, "{text:?}");
    cuts_a_pair
}

#[test]
fn a_hundred_thousand_texts_have_the_encoding_and_the_segments_that_sms_splitter_gives_them() {
    let mut kinds: BTreeMap<_, usize> = BTreeMap::new();
    let mut escape_or_surrogate_pairs_at_a_boundary = [0, 0];
    for text in ALL.iter().filter(|text| !text.is_empty()) {
        let (encoding, parts) = agrees_with_sms_splitter(text);
        *kinds.entry((encoding.as_str(), parts.len().min(4))).or_default() += 1;
        // Only a pair that had no room leaves a part short.
        let (which, full) = if encoding == Encoding::Gsm7 { (0, 153) } else { (1, 134) };
        if parts.iter().rev().skip(1).any(|units| *units < full) {
            escape_or_surrogate_pairs_at_a_boundary[which] += 1;
        }
    }
    assert_eq!(kinds.values().sum::<usize>(), TEXTS - EMPTY_TEXTS);
    // One, two, three, and more segments in either encoding, all of them often enough to mean something.
    assert!(kinds.len() == 8 && kinds.values().all(|texts| *texts >= 1_000), "{kinds:?}");
    assert!(
        escape_or_surrogate_pairs_at_a_boundary.iter().all(|texts| *texts >= 4_000),
        "{escape_or_surrogate_pairs_at_a_boundary:?}"
    );
}

#[test]
fn a_hundred_thousand_texts_have_the_encoding_and_the_segments_that_smpp_libraries_give_them() {
    let (mut by_rusmpp, mut with_form_feed, mut by_smpp_codec, mut with_cut_pair) = (0, 0, 0, 0);
    for text in ALL.iter().filter(|text| !text.is_empty()) {
        if text.chars().any(|character| character.len_utf16() == 2) {
            with_cut_pair += usize::from(agrees_with_smpp_codec(text));
            by_smpp_codec += 1;
        } else if text.contains('\u{C}') {
            let with_circumflex = text.replace('\u{C}', "^");
            assert_eq!(measure(text), measure(&with_circumflex), "{text:?}");
            agrees_with_rusmpp(&with_circumflex);
            with_form_feed += 1;
        } else {
            agrees_with_rusmpp(text);
            by_rusmpp += 1;
        }
    }
    assert_eq!(by_rusmpp + with_form_feed + by_smpp_codec, TEXTS - EMPTY_TEXTS);
    assert!(by_rusmpp > TEXTS / 2 && by_smpp_codec > TEXTS / 10, "{by_rusmpp} and {by_smpp_codec}");
    assert!(with_form_feed < TEXTS / 4 && with_cut_pair < TEXTS / 10, "{with_form_feed} and {with_cut_pair}");
}

#[test]
fn every_character_of_the_basic_plane_is_where_both_have_it() {
    let mut compared = 0;
    for character in ('\0'..='\u{FFFF}').filter(|character| *character != '\u{C}') {
        let text = character.to_string();
        agrees_with_sms_splitter(&text);
        agrees_with_rusmpp(&text);
        compared += 1;
    }
    assert_eq!(compared, 0x1_0000 - 0x800 - 1);
    assert_eq!(agrees_with_sms_splitter("\u{C}"), (Encoding::Gsm7, vec![2]));
}
