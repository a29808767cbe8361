//! What a centre sends by itself: `deliver_sm`, read and told apart.
//!
//! Pure, and lenient where the field is: strings of any octets and any length, parameters that are cut off or lack their last NUL. A
//! `deliver_sm` is a receipt when its `esm_class` says so, or when it names the message it is about in a parameter; never by its text alone, which a customer
//! could have written.

use crate::message::encoding;
use crate::provider::receipt::{Pushed, Reply};

use super::config::IdForm;
use super::report;

/// Bits of `esm_class` that tell what it is (SMPP 3.4, section 5.2.12).
const TYPE_BITS: u8 = 0b0011_1100;
/// A receipt of the centre.
const RECEIPT: u8 = 0b0000_0100;
/// An intermediate notification.
const INTERMEDIATE: u8 = 0b0010_0000;
/// A user data header stands before the text.
const HAS_HEADER: u8 = 0b0100_0000;

/// International number.
const INTERNATIONAL: u8 = 1;

/// Tags of optional parameters (SMPP 3.4, section 5.3.2).
const MESSAGE_PAYLOAD: u16 = 0x0424;
pub(super) const RECEIPTED_MESSAGE_ID: u16 = 0x001E;
pub(super) const MESSAGE_STATE: u16 = 0x0427;
pub(super) const NETWORK_ERROR_CODE: u16 = 0x0423;

/// Longest number and text of a reply, in characters: what is longer comes from no handset.
const REPLY_LIMITS: (usize, usize) = (20, 2_000);

/// A `deliver_sm` in its parts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Incoming<'a> {
    source_ton: u8,
    source: &'a [u8],
    esm_class: u8,
    data_coding: u8,
    octets: &'a [u8],
    parameters: Vec<(u16, &'a [u8])>,
}

impl<'a> Incoming<'a> {
    /// Reads the body. `None` when it ends before its text does.
    pub(super) fn read(body: &'a [u8]) -> Option<Self> {
        let mut rest = Rest(body);
        rest.string()?; // service_type
        let source_ton = rest.octet()?;
        rest.octet()?; // source_addr_npi
        let source = rest.string()?;
        rest.octets(2)?; // dest_addr_ton, dest_addr_npi
        rest.string()?; // destination_addr
        let esm_class = rest.octet()?;
        rest.octets(2)?; // protocol_id, priority_flag
        rest.string()?; // schedule_delivery_time
        rest.string()?; // validity_period
        rest.octets(2)?; // registered_delivery, replace_if_present_flag
        let data_coding = rest.octet()?;
        rest.octet()?; // sm_default_msg_id
        let length = rest.octet()?;
        let short_message = rest.octets(usize::from(length))?;
        let mut parameters = Vec::new();
        while let Some(parameter) = rest.parameter() {
            parameters.push(parameter);
        }
        let mut incoming = Self { source_ton, source, esm_class, data_coding, octets: short_message, parameters };
        if let Some(payload) = incoming.parameter(MESSAGE_PAYLOAD).filter(|_| short_message.is_empty()) {
            incoming.octets = payload;
        }
        Some(incoming)
    }

    /// What it tells; `None` when it is to be taken and says nothing to us (an acknowledgement of a handset, an empty text).
    pub(super) fn pushed(&self, receipt_ids: IdForm) -> Option<Pushed> {
        match self.esm_class & TYPE_BITS {
            RECEIPT | INTERMEDIATE => self.receipt(receipt_ids),
            0 if self.parameter(RECEIPTED_MESSAGE_ID).is_some() => self.receipt(receipt_ids),
            0 => self.reply(),
            _ => None,
        }
    }

    fn receipt(&self, ids: IdForm) -> Option<Pushed> {
        // Its words are plain letters and digits: read as GSM-7, an underscore would be another character.
        let text = if self.data_coding == 8 { ucs2(self.octets) } else { ascii(self.octets) };
        let parameters = report::Parameters {
            id: self.parameter(RECEIPTED_MESSAGE_ID).map(ascii),
            state: self.parameter(MESSAGE_STATE).and_then(|value| value.first().copied()),
            network_error: self.parameter(NETWORK_ERROR_CODE).and_then(|value| value.try_into().ok()),
        };
        report::read(&text, &parameters, ids).map(Pushed::Receipt)
    }

    fn reply(&self) -> Option<Pushed> {
        let octets = if self.esm_class & HAS_HEADER == 0 {
            self.octets
        } else {
            self.octets.get(usize::from(*self.octets.first()?) + 1..)?
        };
        let text = match self.data_coding {
            0 => encoding::decode_gsm7(octets),
            3 => octets.iter().copied().map(char::from).collect(),
            8 => ucs2(octets),
            _ => String::from_utf8_lossy(octets).into_owned(),
        };
        // A NUL is nothing that the database could keep.
        let text: String = text.chars().filter(|c| *c != '\0').take(REPLY_LIMITS.1).collect();
        let from: String = ascii(self.source).chars().filter(|c| !c.is_control()).take(REPLY_LIMITS.0).collect();
        if text.trim().is_empty() || from.is_empty() {
            return None;
        }
        let bare = self.source_ton == INTERNATIONAL && from.starts_with(|c: char| c.is_ascii_digit());
        Some(Pushed::Reply(Reply { from: if bare { format!("+{from}") } else { from }, text }))
    }

    fn parameter(&self, tag: u16) -> Option<&'a [u8]> {
        self.parameters.iter().find(|(known, _)| *known == tag).map(|(_, value)| *value)
    }
}

/// What was not read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn octets(&mut self, count: usize) -> Option<&'a [u8]> {
        let (octets, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(octets)
    }

    fn octet(&mut self) -> Option<u8> {
        self.octets(1)?.first().copied()
    }

    fn number(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.octets(2)?.try_into().ok()?))
    }

    /// Up to the next NUL, which is left out.
    fn string(&mut self) -> Option<&'a [u8]> {
        let end = self.0.iter().position(|octet| *octet == 0)?;
        let string = self.octets(end)?;
        self.octets(1)?;
        Some(string)
    }

    /// One that is cut off ends the list.
    fn parameter(&mut self) -> Option<(u16, &'a [u8])> {
        let (tag, length) = (self.number()?, self.number()?);
        Some((tag, self.octets(usize::from(length))?))
    }
}

/// A C string anywhere: up to the first NUL, if there is one; what is no ASCII becomes U+FFFD.
pub(super) fn ascii(octets: &[u8]) -> String {
    let end = octets.iter().position(|octet| *octet == 0).unwrap_or(octets.len());
    let character = |octet: &u8| if octet.is_ascii() { char::from(*octet) } else { char::REPLACEMENT_CHARACTER };
    octets.iter().take(end).map(character).collect()
}

fn ucs2(octets: &[u8]) -> String {
    let units = octets.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::provider::receipt::{DeliveryStatus, Receipt};

    fn body(esm_class: u8, data_coding: u8, text: &[u8], parameters: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = b"\0\x01\x0121620000123\0\x05\0ECAR\0".to_vec();
        body.extend([esm_class, 0, 0, 0, 0, 0, 0, data_coding, 0, u8::try_from(text.len()).unwrap()]);
        body.extend(text);
        for (tag, value) in parameters {
            body.extend(tag.to_be_bytes());
            body.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
            body.extend(*value);
        }
        body
    }

    fn pushed(body: &[u8]) -> Option<Pushed> {
        Incoming::read(body).unwrap().pushed(IdForm::AsIs)
    }

    fn reply(body: &[u8]) -> Reply {
        match pushed(body) {
            Some(Pushed::Reply(reply)) => reply,
            other => panic!("{other:?}"),
        }
    }

    fn receipt(body: &[u8]) -> Receipt {
        match pushed(body) {
            Some(Pushed::Receipt(receipt)) => receipt,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_reply_is_read_in_the_alphabet_it_names() {
        let told = reply(&body(0, 0, b"ARR\x1FT 5\x1Be", &[]));
        assert_eq!((told.from.as_str(), told.text.as_str()), ("+21620000123", "ARRÉT 5€"));
        assert_eq!(reply(&body(0, 3, b"ARR\xCAT", &[])).text, "ARRÊT");
        assert_eq!(reply(&body(0, 8, &[6, 0x42, 6, 0x41, 0xD8], &[])).text, "قف");
        assert_eq!(reply(&body(0, 1, b"STOP", &[])).text, "STOP");
        assert_eq!(reply(&body(HAS_HEADER, 0, b"\x05\0\x03\x07\x02\x01STOP", &[])).text, "STOP");
        assert_eq!(reply(&body(0, 0, b"", &[(MESSAGE_PAYLOAD, b"STOP")])).text, "STOP");
    }

    #[test]
    fn a_text_that_looks_like_a_receipt_is_a_reply_unless_the_centre_says_otherwise() {
        let text = b"id:77 stat:DELIVRD";
        assert_eq!(reply(&body(0, 0, text, &[])).text, "id:77 stat:DELIVRD");
        assert_eq!(receipt(&body(RECEIPT, 0, text, &[])).provider_message_id, "77");
        assert_eq!(receipt(&body(INTERMEDIATE, 0, b"id:77 stat:ENROUTE", &[])).status, DeliveryStatus::Pending);
        let told = receipt(&body(0, 0, b"", &[(RECEIPTED_MESSAGE_ID, b"A7"), (MESSAGE_STATE, &[2])]));
        assert_eq!((told.provider_message_id.as_str(), told.status), ("A7", DeliveryStatus::Delivered));
    }

    #[test]
    fn what_says_nothing_to_us_is_taken_and_left() {
        assert_eq!(pushed(&body(0b1000, 0, b"id:77 stat:DELIVRD", &[])), None);
        assert_eq!(pushed(&body(0, 0, b" ", &[])), None);
        assert_eq!(pushed(&body(HAS_HEADER, 0, b"\xFFx", &[])), None);
    }

    #[test]
    fn a_parameter_that_is_cut_off_costs_nothing_but_itself() {
        let mut cut = body(RECEIPT, 0, b"id:5 stat:UNDELIV", &[(MESSAGE_STATE, &[5])]);
        cut.extend([0x04, 0x23, 0, 9, 1]);
        assert_eq!(receipt(&cut).status, DeliveryStatus::Undelivered);
        assert_eq!(Incoming::read(b"\0\x01\x01216"), None);
    }

    proptest! {
        #[test]
        fn any_octets_are_read_or_refused_without_a_panic(octets in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(incoming) = Incoming::read(&octets) {
                let _ = incoming.pushed(IdForm::Hex);
            }
        }

        #[test]
        fn any_text_in_a_well_formed_frame_is_read_and_holds_no_nul(
            esm_class in any::<u8>(), data_coding in any::<u8>(), text in prop::collection::vec(any::<u8>(), 0..200)
        ) {
            let body = body(esm_class, data_coding, &text, &[]);
            match Incoming::read(&body).unwrap().pushed(IdForm::Decimal) {
                Some(Pushed::Reply(reply)) => prop_assert!(!reply.text.contains('\0') && !reply.from.contains('\0')),
                Some(Pushed::Receipt(receipt)) => prop_assert!(!receipt.words.contains('\0')),
                None => {}
            }
        }
    }
}
