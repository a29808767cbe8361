//! The record of what was received: the evidence against which everybody else's counts are held.
//!
//! Owns the messages and the sums over them; must never know sockets or scripts. A message is entered when its whole
//! body was read, before anything is answered, with the answer that was decided for it (a client that leaves early does
//! not unmake it). Those that were taken can be looked up by reference, and by phone and time. When the record is full nothing more is entered and the client is told 507: an honest judge does not
//! forget.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use jiff::Timestamp;
use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::dialect::sending::Stamp;
use super::dialect::vendor::Vendor;
use super::post::{Post, REDACTED};
use super::rule::Fault;

/// Most messages kept, so that a runaway client cannot take the machine down; about 1 GB at 160 characters each.
pub const MAX_MESSAGES: usize = 2_000_000;
/// Most text kept in all messages, bytes: the same bound for messages of hostile size.
pub const MAX_KEPT_BYTES: usize = 1 << 30;

/// What was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Answer {
    /// An HTTP status, 200 to 599.
    Status(u16),
    /// A scripted fault instead of a well-formed answer.
    Fault(Fault),
}

/// `200`, or the script's word for the fault.
impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answer::Status(status) => f.pad(status.to_string().as_str()),
            Answer::Fault(fault) => f.pad(fault.word()),
        }
    }
}

impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One message that reached the gateway.
///
/// As JSON: every field, and `at_us`, `id`, `body` as the methods of these names give them.
#[derive(Debug, Clone)]
pub struct Received {
    /// Place in the order of arrival, from 1; never used twice by one gateway.
    pub seq: u64,
    /// When its body had been read.
    pub at: Timestamp,
    /// The `phone` field as it came; empty when there was none.
    pub phone: String,
    /// The `message` field as it came; empty when there was none.
    pub message: String,
    /// The `sender_id` field as it came; empty when there was none.
    pub sender_id: String,
    /// Whether the API key was the scripted one; true when the script asks for none. The key itself is never kept.
    pub api_key_ok: bool,
    /// Path it was posted to, without the query.
    pub path: String,
    /// What was answered.
    pub answer: Answer,
    /// Whether the answer was 2xx with JSON: the client knows that it was taken.
    pub accepted: bool,
    /// Whether it was taken for delivery, so that its customer gets a text. Beside the accepted ones these are those
    /// whose client could not learn it (the faults after the whole request was read, an answer without JSON), and, as
    /// the script has it, those answered 5xx.
    pub taken: bool,
    /// The client's own reference, when it gave one.
    pub reference: Option<String>,
    /// Number of the message that was taken with the same reference before, when the script deduplicates: this one was
    /// answered with the id of that one, and no second text reaches anyone.
    pub repeat_of: Option<u64>,
    unusual: Option<Box<str>>,
    /// What the simulated vendor knows of it, when it came in a vendor's dialect.
    stamp: Option<Box<Stamp>>,
}

impl Received {
    pub(super) fn stamp(&self) -> Option<&Stamp> {
        self.stamp.as_deref()
    }

    /// When its body had been read, in microseconds since 1970.
    pub fn at_us(&self) -> i64 {
        self.at.as_microsecond()
    }

    /// The message id answered by the gateway's own 2xx body, or in the vendor's form, and named in receipts; none when it
    /// was not accepted.
    pub fn id(&self) -> Option<String> {
        self.accepted.then(|| match &self.stamp {
            Some(stamp) => stamp.id.clone(),
            None => message_id(self.repeat_of.unwrap_or(self.seq)),
        })
    }

    /// The whole body, an API key in it replaced by `[redacted]`; null when it was not JSON.
    pub fn body(&self) -> Value {
        match &self.unusual {
            // It was written by serde_json itself, so it can be read again.
            Some(body) => serde_json::from_str(body).unwrap_or_default(),
            None => {
                let mut body = json!({
                    "api_key": REDACTED, "sender_id": self.sender_id, "phone": self.phone, "message": self.message
                });
                if let Some(reference) = &self.reference {
                    body["reference"] = json!(reference);
                }
                body
            }
        }
    }

    fn kept_bytes(&self) -> usize {
        let unusual = self.unusual.as_deref().map_or(0, str::len);
        let reference = self.reference.as_deref().map_or(0, str::len) + self.stamp().map_or(0, Stamp::kept_bytes);
        self.phone.len() + self.message.len() + self.sender_id.len() + self.path.len() + reference + unusual
    }
}

impl Serialize for Received {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Received", 15)?;
        fields.serialize_field("seq", &self.seq)?;
        fields.serialize_field("at", &self.at)?;
        fields.serialize_field("at_us", &self.at_us())?;
        fields.serialize_field("id", &self.id())?;
        fields.serialize_field("phone", &self.phone)?;
        fields.serialize_field("message", &self.message)?;
        fields.serialize_field("sender_id", &self.sender_id)?;
        fields.serialize_field("api_key_ok", &self.api_key_ok)?;
        fields.serialize_field("path", &self.path)?;
        fields.serialize_field("answer", &self.answer)?;
        fields.serialize_field("accepted", &self.accepted)?;
        fields.serialize_field("taken", &self.taken)?;
        fields.serialize_field("reference", &self.reference)?;
        fields.serialize_field("repeat_of", &self.repeat_of)?;
        fields.serialize_field("body", &self.body())?;
        fields.end()
    }
}

/// The id given to the message of this number.
pub(super) fn message_id(seq: u64) -> String {
    format!("sim-{seq:06}")
}

/// What was decided for a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fate {
    pub(super) answer: Answer,
    pub(super) accepted: bool,
    pub(super) taken: bool,
    pub(super) repeat_of: Option<u64>,
}

impl Fate {
    /// Refused with this status: nobody gets a text.
    pub(super) fn refused(status: u16) -> Fate {
        Fate { answer: Answer::Status(status), accepted: false, taken: false, repeat_of: None }
    }

    /// Accepted once before with the same reference.
    pub(super) fn repeat_of(first: &Received) -> Fate {
        Fate { answer: Answer::Status(200), accepted: true, taken: false, repeat_of: Some(first.seq) }
    }
}

/// Sums over the record since the start or the last `DELETE /messages`.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Totals {
    /// Messages received.
    pub received: u64,
    /// Of these, answered 2xx with JSON.
    pub accepted: u64,
    /// Of the received, taken for delivery: so many texts reach customers.
    pub taken: u64,
    /// Different phones among the received. Counted by 64-bit hashes, as `duplicates`: wrong once in ten million full
    /// records.
    pub distinct_phones: usize,
    /// Accepted messages whose phone and text had both been accepted together before. Repeats that were recognised by
    /// their reference (`repeat_of`) are none.
    pub duplicates: u64,
    /// Requests to send by answer, also those that never became a received message (413, 507, `reset_before_read`).
    pub answers: BTreeMap<Answer, u64>,
}

/// The record.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    messages: Vec<Arc<Received>>,
    kept_bytes: usize,
    /// Goes on after a clear, so that no id is given twice.
    last_seq: u64,
    received: u64,
    accepted: u64,
    taken: u64,
    duplicates: u64,
    answers: HashMap<Answer, u64>,
    phones: HashSet<u64>,
    accepted_texts: HashSet<u64>,
    /// Place in `messages` of the first that was taken with a reference.
    taken_references: HashMap<String, usize>,
    /// Place in `messages` of the last that was taken under a vendor's id.
    taken_ids: HashMap<(Vendor, String), usize>,
    /// Places in `messages` of those taken for a phone, by the phone's hash.
    taken_phones: HashMap<u64, Vec<usize>>,
    hasher: RandomState,
}

impl Ledger {
    pub(super) fn is_full(&self) -> bool {
        self.messages.len() >= MAX_MESSAGES || self.kept_bytes >= MAX_KEPT_BYTES
    }

    /// Enters a message with the answer decided for it.
    pub(super) fn enter(&mut self, post: Post, path: &str, api_key_ok: bool, fate: Fate) -> Arc<Received> {
        self.enter_stamped(post, path, api_key_ok, fate, |_| None)
    }

    /// Enters a message with what its vendor knows of it, made from its number.
    pub(super) fn enter_stamped(
        &mut self,
        post: Post,
        path: &str,
        api_key_ok: bool,
        fate: Fate,
        stamp: impl FnOnce(u64) -> Option<Box<Stamp>>,
    ) -> Arc<Received> {
        self.last_seq += 1;
        let received = Arc::new(Received {
            seq: self.last_seq,
            at: Timestamp::now(),
            phone: post.phone,
            message: post.message,
            sender_id: post.sender_id,
            api_key_ok,
            path: path.to_owned(),
            answer: fate.answer,
            accepted: fate.accepted,
            taken: fate.taken,
            reference: post.reference,
            repeat_of: fate.repeat_of,
            unusual: post.unusual,
            stamp: stamp(self.last_seq),
        });
        self.received += 1;
        self.kept_bytes += received.kept_bytes();
        let phone = self.hasher.hash_one(&received.phone);
        self.phones.insert(phone);
        if fate.accepted {
            self.accepted += 1;
            if fate.repeat_of.is_none() {
                let new = self.accepted_texts.insert(self.hasher.hash_one((&received.phone, &received.message)));
                self.duplicates += u64::from(!new);
            }
        }
        if fate.taken {
            self.taken += 1;
            let place = self.messages.len();
            self.taken_phones.entry(phone).or_default().push(place);
            if let Some(reference) = &received.reference {
                self.taken_references.entry(reference.clone()).or_insert(place);
            }
            if let Some(stamp) = received.stamp() {
                self.taken_ids.insert((stamp.vendor, stamp.id.clone()), place);
            }
        }
        self.count(fate.answer);
        self.messages.push(Arc::clone(&received));
        received
    }

    /// Counts an answer to something that is not entered.
    pub(super) fn count(&mut self, answer: Answer) {
        *self.answers.entry(answer).or_default() += 1;
    }

    pub(super) fn messages(&self) -> &[Arc<Received>] {
        &self.messages
    }

    /// The first message that was taken with this reference.
    pub(super) fn taken_with(&self, reference: &str) -> Option<&Arc<Received>> {
        self.taken_references.get(reference).and_then(|place| self.messages.get(*place))
    }

    /// The last message that was taken by this vendor under this id.
    pub(super) fn taken_as(&self, vendor: Vendor, id: &str) -> Option<&Arc<Received>> {
        self.taken_ids.get(&(vendor, id.to_owned())).and_then(|place| self.messages.get(*place))
    }

    /// Those taken by this vendor, the newest first.
    pub(super) fn taken_by(&self, vendor: Vendor) -> impl Iterator<Item = &Arc<Received>> {
        self.messages
            .iter()
            .rev()
            .filter(move |message| message.taken && message.stamp().is_some_and(|stamp| stamp.vendor == vendor))
    }

    /// The messages taken for this phone since then, in order of arrival.
    pub(super) fn taken_for(&self, phone: &str, since: Timestamp) -> Vec<Arc<Received>> {
        let places = self.taken_phones.get(&self.hasher.hash_one(phone)).map(Vec::as_slice).unwrap_or_default();
        // The clock may have been set back meanwhile, so their times need not be in order.
        let messages = places.iter().filter_map(|place| self.messages.get(*place));
        messages.filter(|message| message.phone == phone && message.at >= since).map(Arc::clone).collect()
    }

    pub(super) fn totals(&self) -> Totals {
        Totals {
            received: self.received,
            accepted: self.accepted,
            taken: self.taken,
            distinct_phones: self.phones.len(),
            duplicates: self.duplicates,
            answers: self.answers.iter().map(|(answer, count)| (*answer, *count)).collect(),
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Ledger { last_seq: self.last_seq, ..Ledger::default() };
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn enter(ledger: &mut Ledger, phone: &str, message: &str, answer: Answer) -> Arc<Received> {
        let post = Post { phone: phone.into(), message: message.into(), sender_id: "ECAR".into(), ..Post::default() };
        let accepted = answer == Answer::Status(200);
        ledger.enter(post, "/v1/messages", true, Fate { answer, accepted, taken: accepted, repeat_of: None })
    }

    #[test]
    fn duplicates_are_same_phone_and_same_text_accepted_again() {
        let mut ledger = Ledger::default();
        let ok = Answer::Status(200);
        enter(&mut ledger, "+21620000001", "a", Answer::Status(503));
        enter(&mut ledger, "+21620000001", "a", ok);
        enter(&mut ledger, "+21620000001", "b", ok);
        enter(&mut ledger, "+21620000002", "a", ok);
        assert_eq!(ledger.totals().duplicates, 0);
        enter(&mut ledger, "+21620000001", "a", ok);
        let totals = ledger.totals();
        assert_eq!((totals.received, totals.accepted, totals.duplicates, totals.distinct_phones), (5, 4, 1, 2));
        assert_eq!(serde_json::to_value(&totals.answers).unwrap(), json!({"200": 4, "503": 1}));
    }

    #[test]
    fn what_was_taken_is_found_by_reference_and_by_phone_and_time() {
        let mut ledger = Ledger::default();
        let mut enter = |phone: &str, reference: &str, taken| {
            let post = Post { phone: phone.into(), reference: Some(reference.into()), ..Post::default() };
            ledger.enter(post, "/", true, Fate { taken, ..Fate::refused(503) }).seq
        };
        enter("+21620000001", "a", false);
        let first = enter("+21620000001", "a", true);
        enter("+21620000001", "a", true);
        enter("+21620000002", "b", true);
        assert_eq!(ledger.taken_with("a").unwrap().seq, first);
        assert!(ledger.taken_with("c").is_none());
        let since = ledger.taken_with("a").unwrap().at;
        assert_eq!(ledger.taken_for("+21620000001", since).len(), 2);
        assert!(ledger.taken_for("+21620000001", since + Duration::from_secs(60)).is_empty());
        assert!(ledger.taken_for("+21620000003", since).is_empty());
        assert_eq!(ledger.totals().taken, 3);
        ledger.clear();
        assert!(ledger.taken_with("a").is_none() && ledger.taken_for("+21620000001", since).is_empty());
    }

    #[test]
    fn a_repeat_has_the_id_of_the_first_and_is_no_duplicate() {
        let mut ledger = Ledger::default();
        let first = enter(&mut ledger, "+21620000001", "a", Answer::Status(200));
        let post = Post { phone: "+21620000001".into(), message: "a".into(), ..Post::default() };
        let repeat = ledger.enter(post, "/", true, Fate::repeat_of(&first));
        assert_eq!((repeat.id(), repeat.repeat_of, repeat.taken), (first.id(), Some(first.seq), false));
        let totals = ledger.totals();
        assert_eq!((totals.accepted, totals.taken, totals.duplicates), (2, 1, 0));
    }

    #[test]
    fn a_clear_forgets_everything_but_the_numbers_given() {
        let mut ledger = Ledger::default();
        let ok = Answer::Status(200);
        assert_eq!(enter(&mut ledger, "p", "a", ok).id().unwrap(), "sim-000001");
        ledger.clear();
        assert!(ledger.messages().is_empty());
        let again = enter(&mut ledger, "p", "a", ok);
        assert_eq!(again.id().unwrap(), "sim-000002");
        assert_eq!(ledger.totals().duplicates, 0);
    }

    #[test]
    fn the_json_of_a_message_has_the_body_rebuilt_and_no_key() {
        let mut ledger = Ledger::default();
        let received = enter(&mut ledger, "+21620000001", "a", Answer::Fault(Fault::Silence));
        let json = serde_json::to_value(&*received).unwrap();
        assert_eq!(json["answer"], "silence");
        assert_eq!(json["id"], Value::Null);
        assert_eq!(json["at_us"], received.at.as_microsecond());
        let body = json!({"api_key": REDACTED, "sender_id": "ECAR", "phone": "+21620000001", "message": "a"});
        assert_eq!(json["body"], body);
    }
}
