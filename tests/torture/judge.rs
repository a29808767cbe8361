//! The judge: what the gateway took is compared with what was enqueued and with what the database says.
//!
//! Every message carries a mark of its own, `#17`, in its text, so that it is known again wherever it turns up. Lost is what
//! was enqueued for certain, was not taken by the gateway, and stands nowhere as in doubt or held; or what the record calls
//! sent although the gateway never took it. Twice is what the gateway took more than once. Whether an insert whose
//! connection broke took place nobody knows before: the database tells.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use ecar_sms::gateway::{Gateway, Received};

use crate::load::Enqueued;
use crate::support::session;

/// Messages whose story is told when something is wrong, at most.
const STORIES: usize = 5;

/// What a message reads, so that the judge knows it again: `#17`.
pub fn mark(number: u64) -> String {
    format!("#{number}")
}

/// The number of the mark in a text.
pub fn number_in(text: &str) -> Option<u64> {
    let digits: String = text.split_once('#')?.1.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// One message as the database has it.
#[derive(Debug, Clone)]
struct Stands {
    id: i64,
    status: String,
}

/// The counts of one fault.
#[derive(Debug, Default)]
pub struct Count {
    pub enqueued: usize,
    /// Different messages that the gateway took.
    pub received: usize,
    pub lost: BTreeSet<u64>,
    /// Number, and how often beyond the first time.
    pub twice: BTreeMap<u64, usize>,
    /// Messages that stand as unknown.
    pub in_doubt: usize,
    /// Still queued or being sent at the end.
    pub left: BTreeSet<u64>,
    /// In the record more than once, or not as sent or unknown although the gateway took them.
    pub misrecorded: BTreeSet<u64>,
}

impl Count {
    /// How many texts customers got too many.
    pub fn times_twice(&self) -> usize {
        self.twice.values().sum()
    }

    /// The numbers of messages whose story should be told.
    fn suspects(&self) -> Vec<u64> {
        let all = self.lost.iter().chain(self.twice.keys()).chain(&self.left).chain(&self.misrecorded);
        all.copied().collect::<BTreeSet<_>>().into_iter().take(STORIES).collect()
    }
}

/// How often the gateway took each message.
pub fn taken(gateway: &Gateway) -> BTreeMap<u64, usize> {
    let mut taken = BTreeMap::new();
    for received in gateway.received().iter().filter(|it| it.taken) {
        *taken.entry(number_of(received)).or_default() += 1;
    }
    taken
}

fn number_of(received: &Received) -> u64 {
    number_in(&received.message).unwrap_or_else(|| panic!("no message of ours: {:?}", received.message))
}

/// Judges. `url` is where the database can be read in peace.
pub async fn judge(url: &str, gateway: &Gateway, enqueued: &Enqueued) -> Count {
    let stands = read(url).await;
    let taken = taken(gateway);
    let mut count = Count { received: taken.len(), ..Count::default() };
    let every: BTreeSet<u64> = enqueued.certain.iter().chain(stands.keys()).copied().collect();
    count.enqueued = every.len();
    for number in every {
        let times = taken.get(&number).copied().unwrap_or_default();
        let rows = stands.get(&number).map(Vec::as_slice).unwrap_or_default();
        if times > 1 {
            count.twice.insert(number, times - 1);
        }
        if rows.iter().any(|row| row.status == "unknown") {
            count.in_doubt += 1;
        }
        match rows {
            [row] if ["queued", "sending"].contains(&row.status.as_str()) => {
                count.left.insert(number);
            }
            [row] if times == 0 && !["unknown", "held"].contains(&row.status.as_str()) => {
                count.lost.insert(number);
            }
            [row] if times > 0 && !["unknown", "sent", "delivered"].contains(&row.status.as_str()) => {
                count.misrecorded.insert(number);
            }
            [_] => {}
            [] if times == 0 => {
                count.lost.insert(number);
            }
            _ => {
                count.misrecorded.insert(number);
            }
        }
    }
    // What the gateway took and nobody enqueued can only come from a broken test.
    for number in taken.keys().filter(|it| !stands.contains_key(it) && !enqueued.certain.contains(it)) {
        count.misrecorded.insert(*number);
    }
    count
}

/// All messages in the database, by their number. A service's number is its mark.
async fn read(url: &str) -> BTreeMap<u64, Vec<Stands>> {
    let rows = session(url)
        .await
        .texts("SELECT id, coalesce(source_id::text, substring(body from '#([0-9]+)')), status FROM sms_message")
        .await
        .unwrap();
    let mut stands: BTreeMap<u64, Vec<Stands>> = BTreeMap::new();
    for row in rows {
        let [Some(id), Some(number), Some(status)] = row.as_slice() else { panic!("no message of ours: {row:?}") };
        let stand = Stands { id: id.parse().unwrap(), status: status.clone() };
        stands.entry(number.parse().unwrap()).or_default().push(stand);
    }
    stands
}

/// The stories of the first messages with which something is wrong, from every table, and from the gateway.
pub async fn stories(url: &str, gateway: &Gateway, count: &Count) -> String {
    let stands = read(url).await;
    let session = session(url).await;
    let received = gateway.received();
    let mut told = String::new();
    for number in count.suspects() {
        let _ = writeln!(told, "  message {}:", mark(number));
        for it in received.iter().filter(|it| number_in(&it.message) == Some(number)) {
            let reference = it.reference.as_deref().unwrap_or("-");
            let _ = writeln!(
                told,
                "    gateway  | {} | {} | reference {reference} | answered {} | taken {}",
                it.at, it.phone, it.answer, it.taken
            );
        }
        for id in stands.get(&number).into_iter().flatten().map(|row| row.id) {
            for (table, sql) in [
                (
                    "outbox",
                    format!(
                        "SELECT id, state, reason, attempt, failures, next_at, lease_owner, lease_token, lease_until, detail FROM sms_outbox WHERE id = {id}"
                    ),
                ),
                (
                    "history",
                    format!(
                        "SELECT id, status, reason, attempts, created_at, claimed_at, sent_at, settled_at, lease_owner, provider_message_id, detail FROM sms_history WHERE id = {id}"
                    ),
                ),
                (
                    "attempt",
                    format!(
                        "SELECT attempt, started_at, ended_at, outcome, provider_message_id, lease_owner, detail FROM sms_attempt WHERE message_id = {id} ORDER BY attempt"
                    ),
                ),
                (
                    "event",
                    format!("SELECT at, what, reason, detail, by FROM sms_event WHERE message_id = {id} ORDER BY id"),
                ),
            ] {
                for row in session.texts(&sql).await.unwrap_or_default() {
                    let row: Vec<_> = row.into_iter().map(|value| value.unwrap_or_else(|| "-".to_owned())).collect();
                    let _ = writeln!(told, "    {table:8} | {}", row.join(" | "));
                }
            }
        }
    }
    told
}
