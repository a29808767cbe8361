//! A text as the parts that are submitted: octets, header and optional parameters of each.
//!
//! Pure. Where a text is cut is decided by [`encoding`]; no escape pair and no surrogate pair ends up in two parts. The number that tells the parts of one text
//! from those of another comes from the message's reference.

use rusmpp::tlvs::MessageSubmissionRequestTlvValue as Tlv;
use rusmpp::types::AnyOctetString;
use rusmpp::values::MessagePayload;

use super::config::LongText;
use crate::message::encoding::{self, Encoding, HeaderBits};

/// Most parts that a header can number.
pub(super) const PARTS_LIMIT: usize = 255;

/// Most octets of a `message_payload` (SMPP 3.4, section 5.3.2.32).
const PAYLOAD_LIMIT_OCTETS: usize = 64 * 1024 - 1;

/// `data_coding` of UCS-2 (SMPP 3.4, section 5.2.19).
const UCS2: u8 = 8;

/// The bit of `esm_class` that announces a user data header (SMPP 3.4, section 5.2.12).
const HAS_HEADER: u8 = 0x40;

/// One `submit_sm`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) esm_class: u8,
    pub(super) data_coding: u8,
    pub(super) short_message: Vec<u8>,
    pub(super) tlvs: Vec<Tlv>,
}

/// Cuts a text. Returns the parts and the segments they are charged as; none when it is too long.
pub(super) fn cut(text: &str, long: LongText, gsm7: u8, number: u16) -> Option<(Vec<Part>, u32)> {
    let measure = encoding::measure(text);
    let data_coding = match measure.encoding {
        Encoding::Gsm7 => gsm7,
        Encoding::Ucs2 => UCS2,
    };
    let plain = |short_message| Part { esm_class: 0, data_coding, short_message, tlvs: Vec::new() };
    if measure.segments <= 1 {
        return Some((vec![plain(octets(text, measure.encoding))], 1));
    }
    if long == LongText::Payload {
        let payload = octets(text, measure.encoding);
        if payload.len() > PAYLOAD_LIMIT_OCTETS {
            return None;
        }
        let payload = Tlv::MessagePayload(MessagePayload::new(AnyOctetString::from_vec(payload)));
        return Some((vec![Part { tlvs: vec![payload], ..plain(Vec::new()) }], measure.segments));
    }
    // The reference of the sar parameters has 16 bits, so the centre may have to make the longer header.
    let bits = match long {
        LongText::Udh8 | LongText::Payload => HeaderBits::Eight,
        LongText::Udh16 | LongText::Sar => HeaderBits::Sixteen,
    };
    let pieces = encoding::segments_with(text, bits);
    let total = u8::try_from(pieces.len()).ok()?;
    let [high, low] = number.to_be_bytes();
    let parts = (1..=total).zip(pieces).map(|(place, piece)| {
        let text = octets(piece, measure.encoding);
        match long {
            LongText::Udh8 | LongText::Payload => {
                Part { esm_class: HAS_HEADER, ..plain([&[5, 0, 3, low, total, place], text.as_slice()].concat()) }
            }
            LongText::Udh16 => {
                Part { esm_class: HAS_HEADER, ..plain([&[6, 8, 4, high, low, total, place], text.as_slice()].concat()) }
            }
            LongText::Sar => {
                let tlvs = vec![Tlv::SarMsgRefNum(number), Tlv::SarTotalSegments(total), Tlv::SarSegmentSeqnum(place)];
                Part { tlvs, ..plain(text) }
            }
        }
    });
    Some((parts.collect(), u32::from(total)))
}

/// The number of a message for its parts, from its reference `ecar-<message>-<attempt>-...`: neighbours differ, and so
/// do attempts of one message, so that a handset never joins parts of two.
pub(super) fn number(reference: &str) -> u16 {
    let mut numbers = reference.split('-').filter_map(|word| word.parse::<u64>().ok());
    let (message, attempt) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    let [.., high, low] = message.wrapping_add(attempt.wrapping_mul(97)).to_be_bytes();
    u16::from_be_bytes([high, low])
}

fn octets(text: &str, alphabet: Encoding) -> Vec<u8> {
    match alphabet {
        // The measure has found the whole text in the alphabet.
        Encoding::Gsm7 => encoding::encode_gsm7(text).unwrap_or_default(),
        Encoding::Ucs2 => encoding::encode_ucs2(text),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [LongText; 4] = [LongText::Udh8, LongText::Udh16, LongText::Sar, LongText::Payload];

    fn header(part: &Part) -> usize {
        if part.esm_class == HAS_HEADER { usize::from(part.short_message[0]) + 1 } else { 0 }
    }

    /// The text that a handset shows.
    fn joined(parts: &[Part]) -> String {
        let whole: Vec<u8> = parts
            .iter()
            .flat_map(|part| match part.tlvs.first() {
                Some(Tlv::MessagePayload(payload)) => payload.value.to_vec(),
                _ => part.short_message[header(part)..].to_vec(),
            })
            .collect();
        if parts[0].data_coding == UCS2 {
            let units: Vec<u16> = whole.chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
            String::from_utf16(&units).unwrap()
        } else {
            encoding::decode_gsm7(&whole)
        }
    }

    #[test]
    fn a_short_text_is_one_part_without_header_in_every_way() {
        for long in ALL {
            let (parts, segments) = cut("Prix 5€ [ok]", long, 0, 7).unwrap();
            let expected = Part {
                esm_class: 0,
                data_coding: 0,
                short_message: b"Prix 5\x1Be \x1B<ok\x1B>".to_vec(),
                tlvs: vec![],
            };
            assert_eq!((parts, segments), (vec![expected], 1));
        }
        assert_eq!(cut("a", LongText::Udh8, 1, 0).unwrap().0[0].data_coding, 1);
        let (parts, _) = cut("سيارة", LongText::Udh8, 1, 0).unwrap();
        assert_eq!((parts[0].data_coding, parts[0].short_message.len()), (8, 10));
    }

    #[test]
    fn a_header_of_eight_bits_leaves_153_and_67_one_of_sixteen_152_and_66() {
        let gsm7 = "a".repeat(306);
        let (parts, segments) = cut(&gsm7, LongText::Udh8, 0, 0x1234).unwrap();
        assert_eq!((parts.len(), segments), (2, 2));
        assert_eq!(parts[0].short_message[..6], [5, 0, 3, 0x34, 2, 1]);
        assert_eq!(parts[1].short_message[..6], [5, 0, 3, 0x34, 2, 2]);
        assert_eq!(parts[0].short_message.len(), 159);
        let (parts, segments) = cut(&gsm7, LongText::Udh16, 0, 0x1234).unwrap();
        assert_eq!((parts.len(), segments), (3, 3));
        assert_eq!(parts[2].short_message[..7], [6, 8, 4, 0x12, 0x34, 3, 3]);
        assert_eq!(parts[0].short_message.len(), 7 + 152);
        let ucs2 = "ê".repeat(134);
        assert_eq!(cut(&ucs2, LongText::Udh8, 0, 0).unwrap().1, 2);
        assert_eq!(cut(&ucs2, LongText::Udh16, 0, 0).unwrap().1, 3);
    }

    #[test]
    fn the_other_ways_carry_no_header() {
        let text = "a".repeat(200);
        let (parts, segments) = cut(&text, LongText::Sar, 0, 9).unwrap();
        assert_eq!((parts.len(), segments, parts[1].esm_class), (2, 2, 0));
        assert_eq!(parts[1].tlvs, [Tlv::SarMsgRefNum(9), Tlv::SarTotalSegments(2), Tlv::SarSegmentSeqnum(2)]);
        let (parts, segments) = cut(&text, LongText::Payload, 0, 9).unwrap();
        assert_eq!((parts.len(), segments), (1, 2));
        assert!(parts[0].short_message.is_empty() && matches!(parts[0].tlvs[..], [Tlv::MessagePayload(_)]));
    }

    #[test]
    fn a_text_beyond_255_parts_is_not_cut() {
        let text = "a".repeat(153 * 255);
        assert_eq!(cut(&text, LongText::Udh8, 0, 0).unwrap().0.len(), PARTS_LIMIT);
        assert!(cut(&format!("{text}a"), LongText::Udh8, 0, 0).is_none());
        assert!(cut(&"a".repeat(70_000), LongText::Payload, 0, 0).is_none());
    }

    #[test]
    fn neighbours_and_attempts_have_numbers_of_their_own() {
        assert_ne!(number("ecar-7-1-abc"), number("ecar-8-1-abc"));
        assert_ne!(number("ecar-7-1-abc") & 0xFF, number("ecar-7-2-abc") & 0xFF);
        assert_eq!(number("nothing"), 0);
        assert_eq!(number("ecar-99999999999999999999-1"), number("x-1"));
    }

    proptest! {
        #[test]
        fn any_text_comes_out_as_it_went_in_and_no_pair_is_cut(
            text in "[a-z€\\[\\]éà🚗س]{0,700}", long in 0_usize..4, count in any::<u16>()
        ) {
            let (parts, segments) = cut(&text, ALL[long], 0, count).unwrap();
            prop_assert_eq!(joined(&parts), text);
            prop_assert!(segments >= 1);
            for part in &parts {
                prop_assert!(part.short_message.len() <= 160);
                let text = &part.short_message[header(part)..];
                if part.data_coding == UCS2 {
                    prop_assert!(part.short_message.len() <= 140);
                    let last = text.chunks(2).last().map_or(0, |pair| pair[0]);
                    prop_assert!(!(0xD8..0xDC).contains(&last), "a surrogate pair is cut");
                } else {
                    prop_assert!(text.last() != Some(&0x1B), "an escape pair is cut");
                }
            }
        }
    }
}
