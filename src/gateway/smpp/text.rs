//! What a `submit_sm` holds: the text, and which part of a longer one it is. Pure.

use rusmpp::pdus::SubmitSm;
use rusmpp::tlvs::TlvValue;

use crate::message::encoding;

/// A submission as the record has it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) text: String,
    /// Reference, place from 1, number of parts.
    pub(super) part: Option<(u16, u8, u8)>,
}

impl Text {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the library's list of parameters is open")]
    pub(super) fn of(submit: &SubmitSm) -> Self {
        let mut octets: &[u8] = submit.short_message();
        let (mut reference, mut place, mut total) = (None, None, None);
        for value in submit.tlvs().iter().filter_map(|tlv| tlv.value()) {
            match value {
                TlvValue::MessagePayload(payload) if octets.is_empty() => octets = &payload.value,
                TlvValue::SarMsgRefNum(number) => reference = Some(*number),
                TlvValue::SarSegmentSeqnum(number) => place = Some(*number),
                TlvValue::SarTotalSegments(number) => total = Some(*number),
                // Whatever else there is says nothing about the text.
                _ => {}
            }
        }
        let mut part = reference.zip(place).zip(total).map(|((reference, place), total)| (reference, place, total));
        if u8::from(submit.esm_class) & 0x40 != 0
            && let Some((header, rest)) =
                octets.split_first().and_then(|(length, rest)| rest.split_at_checked(usize::from(*length)))
        {
            octets = rest;
            part = match header {
                [0, 3, reference, total, place] => Some((u16::from(*reference), *place, *total)),
                [8, 4, high, low, total, place] => Some((u16::from_be_bytes([*high, *low]), *place, *total)),
                _ => part,
            };
        }
        let text = match u8::from(submit.data_coding) {
            8 => {
                let units = octets.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
                char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
            }
            _ => encoding::decode_gsm7(octets),
        };
        Self { text, part }
    }

    /// Where it stands on the record.
    pub(super) fn path(&self) -> String {
        match self.part {
            None => "/smpp".to_owned(),
            Some((reference, place, total)) => format!("/smpp?ref={reference}&part={place}&of={total}"),
        }
    }
}
