//! What is due to be sent to the client: receipts and replies, each until it is taken.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusmpp::pdus::{DeliverSm, SubmitSm};
use rusmpp::types::{COctetString, OctetString};
use rusmpp::values::{DataCoding, EsmClass, Npi, Ton};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::message::encoding::{self, Encoding};

/// Pause before one that was refused is sent again.
const AGAIN: Duration = Duration::from_millis(200);

/// A `deliver_sm` to be sent.
#[derive(Debug, Clone)]
pub(super) struct Letter {
    due: Instant,
    pub(super) pdu: DeliverSm,
}

impl Letter {
    /// A receipt for a submission, in the usual text.
    pub(super) fn receipt(submit: &SubmitSm, id: &str, stat: &str, after: Duration) -> Self {
        let delivered = u8::from(stat == "DELIVRD");
        let text = format!(
            "id:{id} sub:001 dlvrd:00{delivered} submit date:2601011200 done date:2601011201 stat:{stat} err:000 text:"
        );
        let pdu = DeliverSm::builder()
            .source_addr_ton(submit.dest_addr_ton)
            .source_addr_npi(submit.dest_addr_npi)
            .source_addr(submit.destination_addr.clone())
            .dest_addr_ton(submit.source_addr_ton)
            .dest_addr_npi(submit.source_addr_npi)
            .destination_addr(submit.source_addr.clone())
            .esm_class(EsmClass::from(0x04))
            // It is shorter than 255 octets, so it fits.
            .short_message(OctetString::from_vec(text.into_bytes()).unwrap_or_default())
            .build();
        Self { due: Instant::now() + after, pdu }
    }

    /// A customer's text, from a number with or without its plus.
    pub(super) fn reply(from: &str, text: &str) -> Self {
        let (octets, coding) = match encoding::measure(text).encoding {
            Encoding::Gsm7 => (encoding::encode_gsm7(text).unwrap_or_default(), 0),
            Encoding::Ucs2 => (encoding::encode_ucs2(text), 8),
        };
        let pdu = DeliverSm::builder()
            .source_addr_ton(Ton::International)
            .source_addr_npi(Npi::Isdn)
            .source_addr(COctetString::from_string(from.trim_start_matches('+').to_owned()).unwrap_or_default())
            .esm_class(EsmClass::from(0))
            .data_coding(DataCoding::from(coding))
            .short_message(OctetString::from_vec(octets).unwrap_or_default())
            .build();
        Self { due: Instant::now(), pdu }
    }
}

/// The queue.
#[derive(Debug)]
pub(super) struct Mail {
    letters: Mutex<VecDeque<Letter>>,
    more: Notify,
}

impl Mail {
    pub(super) fn new(more: Notify) -> Self {
        Self { letters: Mutex::default(), more }
    }

    pub(super) fn len(&self) -> u64 {
        self.lock().len() as u64
    }

    pub(super) fn post(&self, letter: Letter) {
        self.lock().push_back(letter);
        self.more.notify_one();
    }

    /// Back into the queue.
    pub(super) fn again(&self, letter: Letter) {
        self.post(Letter { due: Instant::now() + AGAIN, ..letter });
    }

    /// The next one that is due. May be dropped while it waits.
    pub(super) async fn next(&self) -> Letter {
        loop {
            let more = self.more.notified();
            let due = {
                let mut letters = self.lock();
                let now = Instant::now();
                let first = letters.iter().enumerate().min_by_key(|(_, letter)| letter.due);
                match first.map(|(place, letter)| (place, letter.due)) {
                    Some((place, due)) if due <= now => match letters.remove(place) {
                        Some(letter) => return letter,
                        None => None,
                    },
                    Some((_, due)) => Some(due),
                    None => None,
                }
            };
            match due {
                Some(due) => tokio::select! {
                    () = more => {}
                    () = sleep_until(due) => {}
                },
                None => more.await,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Letter>> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
