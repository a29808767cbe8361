//! Octets of the link: frames in, PDUs out.
//!
//! What we say is built and written by the library's types. What the centre says is cut into frames by its length and read a
//! frame at a time, so that one which cannot be understood costs nothing but itself: the library refuses a whole PDU for one
//! octet that is out of place, and centres do misplace octets.

use bytes::{Buf as _, Bytes, BytesMut};
use rusmpp::pdus::SubmitSm;
use rusmpp::tokio_codec::CommandCodec;
use rusmpp::types::{AnyOctetString, COctetString, EmptyOrFullCOctetString, OctetString};
use rusmpp::values::{DataCoding, EsmClass, Npi, RegisteredDelivery, ServiceType, Ton};
use rusmpp::{Command, CommandId, CommandStatus, Pdu};
use tokio_util::codec::{Encoder as _, LengthDelimitedCodec};

use super::config::SmppConfig;
use super::parts::Part;

/// Octets before the body.
const HEADER_OCTETS: usize = 16;
/// Largest PDU taken, in octets: a `message_payload` of 64 KiB with its surroundings.
const PDU_LIMIT_OCTETS: usize = 66 * 1024;
/// SMPP 3.4.
const INTERFACE_VERSION: u8 = 0x34;

/// `command_id`s that are told apart (SMPP 3.4, section 5.1.2.1).
pub(super) mod id {
    pub(in super::super) const GENERIC_NACK: u32 = 0x8000_0000;
    pub(in super::super) const SUBMIT_SM_RESP: u32 = 0x8000_0004;
    pub(in super::super) const DELIVER_SM: u32 = 0x0000_0005;
    pub(in super::super) const UNBIND: u32 = 0x0000_0006;
    pub(in super::super) const UNBIND_RESP: u32 = 0x8000_0006;
    pub(in super::super) const BIND_TRANSCEIVER_RESP: u32 = 0x8000_0009;
    pub(in super::super) const OUTBIND: u32 = 0x0000_000B;
    pub(in super::super) const ENQUIRE_LINK: u32 = 0x0000_0015;
    pub(in super::super) const ALERT_NOTIFICATION: u32 = 0x0000_0102;
    /// The bit of every response.
    pub(in super::super) const RESPONSE: u32 = 0x8000_0000;
}

/// Statuses that we answer with.
pub(super) mod answer {
    pub(in super::super) const OK: u32 = 0;
    /// Invalid command id.
    pub(in super::super) const NOT_KNOWN: u32 = 0x03;
    /// Temporary error: the centre is to repeat it.
    pub(in super::super) const AGAIN: u32 = 0x64;
    /// Permanent error: the centre is not to repeat it.
    pub(in super::super) const NEVER: u32 = 0x65;
}

/// A PDU that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) id: u32,
    pub(super) status: u32,
    pub(super) sequence: u32,
    pub(super) body: Bytes,
}

impl Frame {
    /// Reads a frame with its length. `None` when it is shorter than a header.
    pub(super) fn read(octets: BytesMut) -> Option<Self> {
        if octets.len() < HEADER_OCTETS {
            return None;
        }
        let mut octets = octets.freeze();
        octets.advance(4);
        let (id, status, sequence) = (octets.get_u32(), octets.get_u32(), octets.get_u32());
        Some(Self { id, status, sequence, body: octets })
    }

    /// The first string of the body, as in `submit_sm_resp`: the message id. Empty when there is none.
    pub(super) fn first_string(&self) -> String {
        super::incoming::ascii(&self.body)
    }
}

/// Cuts octets into frames.
pub(super) fn frames() -> LengthDelimitedCodec {
    // The length counts itself, and stays in the frame.
    LengthDelimitedCodec::builder()
        .length_field_length(4)
        .length_adjustment(0)
        .num_skip(0)
        .max_frame_length(PDU_LIMIT_OCTETS)
        .new_codec()
}

/// `bind_transceiver`. Written as octets: the library's type refuses a password of more than 8 characters, and many centres give out longer ones.
pub(super) fn bind(config: &SmppConfig, sequence: u32) -> BytesMut {
    let mut body = Vec::new();
    for text in [config.system_id.as_str(), config.password(), config.system_type.as_str()] {
        body.extend(text.as_bytes());
        body.push(0);
    }
    // No kind and no range of addresses: the centre knows ours.
    body.extend([INTERFACE_VERSION, 0, 0, 0]);
    let body = AnyOctetString::from_vec(body);
    written(CommandStatus::EsmeRok, sequence, Pdu::Other { command_id: CommandId::BindTransceiver, body })
}

/// A PDU without a body.
pub(super) fn bare(pdu: Pdu, sequence: u32) -> BytesMut {
    written(CommandStatus::EsmeRok, sequence, pdu)
}

/// `generic_nack`.
pub(super) fn nack(status: u32, sequence: u32) -> BytesMut {
    written(CommandStatus::from(status), sequence, Pdu::GenericNack)
}

/// `deliver_sm_resp`, whose message id is always empty.
pub(super) fn delivered(status: u32, sequence: u32) -> BytesMut {
    let body = AnyOctetString::from_static_slice(b"\0");
    written(CommandStatus::from(status), sequence, Pdu::Other { command_id: CommandId::DeliverSmResp, body })
}

/// `submit_sm` for one part.
///
/// # Errors
/// A value that the standard has no room for; nothing was sent.
pub(super) fn submit(config: &SmppConfig, recipient: &str, part: &Part) -> Result<Pdu, String> {
    let (ton, npi) = config.source_kind();
    let digits = recipient.trim_start_matches('+');
    let cannot = |what: &'static str| move |error| format!("{what} cannot be written: {error}");
    let address = |what, text: &str| COctetString::from_string(text.to_owned()).map_err(cannot(what));
    let service_type = COctetString::from_string(config.service_type.clone()).map_err(cannot("service_type"))?;
    let validity = match config.validity {
        None => EmptyOrFullCOctetString::null(),
        Some(validity) => EmptyOrFullCOctetString::from_string(relative(validity))
            .map_err(|error| format!("validity cannot be written: {error}"))?,
    };
    let text = OctetString::from_slice(&part.short_message).map_err(|error| format!("a part is too long: {error}"))?;
    let submit = SubmitSm::builder()
        .service_type(ServiceType::new(service_type))
        .source_addr_ton(Ton::from(ton))
        .source_addr_npi(Npi::from(npi))
        .source_addr(address("the sender", &config.sender_id)?)
        .dest_addr_ton(Ton::from(config.dest_ton))
        .dest_addr_npi(Npi::from(config.dest_npi))
        .destination_addr(address("the recipient", digits)?)
        .esm_class(EsmClass::from(part.esm_class))
        .validity_period(validity)
        .registered_delivery(RegisteredDelivery::from(u8::from(config.receipts)))
        .data_coding(DataCoding::from(part.data_coding))
        .short_message(text)
        .tlvs(part.tlvs.clone())
        .build();
    Ok(submit.into())
}

/// The octets of a PDU.
pub(super) fn written(status: CommandStatus, sequence: u32, pdu: Pdu) -> BytesMut {
    let mut octets = BytesMut::new();
    // It has no error but those of writing, and memory takes everything.
    let _ = CommandCodec::new().encode(&Command::new(status, sequence, pdu), &mut octets);
    octets
}

/// A time from now, as the standard writes it: `YYMMDDhhmmss000R` (SMPP 3.4, section 7.1.1). Whole months are not used: they differ.
fn relative(time: std::time::Duration) -> String {
    let seconds = time.as_secs();
    let (days, hours) = (seconds / 86_400, seconds / 3_600 % 24);
    format!("0000{days:02}{hours:02}{:02}{:02}000R", seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use rusmpp::pdus::BindTransceiver;
    use rusmpp::values::InterfaceVersion;
    use smpp_codec::pdus::SubmitSmRequest;
    use tokio_util::codec::Decoder as _;

    use super::*;
    use crate::provider::smpp::config::LongText;
    use crate::provider::smpp::parts;

    fn config(more: &str) -> SmppConfig {
        let least = "host = \"smsc.example\"\nsystem_id = \"ecar\"\nsender_id = \"ECAR\"\npassword = \"s3cret\"\n";
        toml::from_str(&format!("{least}{more}")).unwrap()
    }

    fn decoded(mut octets: BytesMut) -> Command {
        CommandCodec::new().decode(&mut octets).unwrap().unwrap()
    }

    #[test]
    fn a_bind_says_who_we_are_in_the_standards_form() {
        let command = decoded(bind(&config("system_type = \"SMPP\""), 1));
        let Some(Pdu::BindTransceiver(BindTransceiver { system_id, password, system_type, interface_version, .. })) =
            command.pdu()
        else {
            unreachable!("{command:?}")
        };
        assert_eq!((system_id.as_str(), password.as_str(), system_type.as_str()), ("ecar", "s3cret", "SMPP"));
        assert_eq!(*interface_version, InterfaceVersion::Smpp3_4);
    }

    #[test]
    fn a_long_password_is_written_whole() {
        let long = SmppConfig { password: Some("a-password-of-24-letters".to_owned().into()), ..config("") };
        let octets = bind(&long, 1);
        assert!(octets.windows(25).any(|window| window == b"a-password-of-24-letters\0"));
        assert_eq!(Frame::read(octets.clone()).unwrap().id, 9);
        assert_eq!(u32::from_be_bytes(octets[..4].try_into().unwrap()) as usize, octets.len());
    }

    /// Against another library, which shares no code with ours.
    #[test]
    fn another_codec_reads_the_submission_as_it_was_meant() {
        let config = config("validity = \"26h 3m 4s\"\nservice_type = \"CMT\"");
        for (long, text) in [
            (LongText::Udh8, "Bonjour Sami".to_owned()),
            (LongText::Udh8, "a€".repeat(150)),
            (LongText::Udh16, "سيارة".repeat(40)),
            (LongText::Sar, "a".repeat(400)),
            (LongText::Payload, "a".repeat(400)),
        ] {
            let (parts, _) = parts::cut(&text, long, 0, 0x0102).unwrap();
            for part in &parts {
                let pdu = submit(&config, "+21620000123", part).unwrap();
                let octets = written(CommandStatus::EsmeRok, 7, pdu);
                let theirs = SubmitSmRequest::decode(&octets).unwrap();
                assert_eq!((theirs.source_addr.as_str(), theirs.dest_addr.as_str()), ("ECAR", "21620000123"));
                assert_eq!((theirs.source_addr_ton as u8, theirs.source_addr_npi as u8), (5, 0));
                assert_eq!((theirs.dest_addr_ton as u8, theirs.dest_addr_npi as u8), (1, 1));
                assert_eq!((theirs.esm_class, theirs.data_coding), (part.esm_class, part.data_coding));
                assert_eq!((theirs.registered_delivery, theirs.sequence_number), (1, 7));
                assert_eq!(theirs.validity_period, "000001020304000R");
                assert_eq!(theirs.service_type, "CMT");
                assert_eq!(theirs.short_message, part.short_message);
                assert_eq!(theirs.optional_params.len(), part.tlvs.len());
            }
        }
    }

    #[test]
    fn answers_are_what_the_library_reads() {
        let command = decoded(delivered(answer::AGAIN, 9));
        assert_eq!(
            (command.id(), u32::from(command.status()), command.sequence_number()),
            (CommandId::DeliverSmResp, 0x64, 9)
        );
        let command = decoded(nack(answer::NOT_KNOWN, 9));
        assert_eq!((command.id(), u32::from(command.status())), (CommandId::GenericNack, 3));
        assert_eq!(decoded(bare(Pdu::EnquireLinkResp, 4)).id(), CommandId::EnquireLinkResp);
    }

    #[test]
    fn frames_end_where_the_next_begins_and_short_ones_are_none() {
        let two = [delivered(answer::OK, 1), bare(Pdu::EnquireLink, 2)].concat();
        let mut octets = BytesMut::from(&two[..]);
        let mut codec = frames();
        let mut next = || codec.decode(&mut octets).unwrap().map(|frame| Frame::read(frame).unwrap());
        assert_eq!(next().map(|frame| (frame.id, frame.sequence, frame.body.len())), Some((0x8000_0005, 1, 1)));
        assert_eq!(next().map(|frame| (frame.id, frame.sequence, frame.body.len())), Some((id::ENQUIRE_LINK, 2, 0)));
        assert_eq!(next(), None);
        for short in [0_u32, 3, 15] {
            let mut octets = BytesMut::from(&[&short.to_be_bytes()[..], &[0; 12]].concat()[..]);
            assert_eq!(frames().decode(&mut octets).unwrap().and_then(Frame::read), None);
        }
        let mut long = BytesMut::from(&u32::MAX.to_be_bytes()[..]);
        assert!(frames().decode(&mut long).is_err());
    }

    #[test]
    fn a_number_that_does_not_fit_is_refused_before_anything_is_sent() {
        let (parts, _) = parts::cut("a", LongText::Udh8, 0, 0).unwrap();
        assert!(submit(&config(""), &"1".repeat(21), &parts[0]).is_err());
    }

    #[test]
    fn relative_times_have_days_and_less() {
        assert_eq!(relative(Duration::from_secs(60)), "000000000100000R");
        assert_eq!(relative(Duration::from_secs(30 * 86_400)), "000030000000000R");
    }

    proptest! {
        #[test]
        fn any_octets_are_cut_into_frames_or_refused_without_a_panic(octets in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut left = BytesMut::from(&octets[..]);
            let mut codec = frames();
            while let Ok(Some(frame)) = codec.decode(&mut left) {
                if let Some(frame) = Frame::read(frame) {
                    prop_assert!(frame.first_string().len() <= 600);
                }
            }
        }
    }
}
