//! A claimed row: the fence around it, what it says, what was made of it. The stages through which it goes stand in
//! [`stage`](super::stage).

use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::message::encoding::{self, Encoding};
use crate::message::kind::Kind;

/// The fence: which claim holds the row. Not `Clone`: there is one for each claimed row, and it ends at the settler.
#[derive(Debug)]
pub struct Lease {
    /// The row.
    pub id: i64,
    /// Owner number and batch counter; every write of a result names it.
    pub token: i64,
    /// The attempt that this claim is, from 1.
    pub attempt: i32,
    /// When another daemon may take the row as lost, by this process's clock.
    pub ends: Instant,
    /// The segment of the journal in which the attempt stands, once it does.
    pub segment: Option<u32>,
}

impl Lease {
    /// Whether what is left of it covers `needed`.
    pub fn covers(&self, now: Instant, needed: Duration) -> bool {
        self.ends.saturating_duration_since(now) >= needed
    }
}

/// What the row says, as claimed.
#[derive(Debug, Clone)]
pub struct Row {
    /// What it is about.
    pub kind: Kind,
    /// The service or invoice.
    pub source_id: Option<i64>,
    /// The number, as written, for kinds without a source.
    pub recipient: Option<String>,
    /// The text, for kinds without a source.
    pub body: Option<String>,
    /// The language asked for.
    pub lang: Option<String>,
    /// A person asked for it.
    pub by_hand: bool,
    /// Staff let it go after it was held.
    pub released: bool,
    /// The appointment's time when the message was made.
    pub source_at: Option<Timestamp>,
    /// Further services told in the same text.
    pub joined: Vec<i64>,
    /// It has waited for others of its customer, and one of them may still take it along.
    pub joining: bool,
    /// Failures so far.
    pub failures: i32,
    /// What the last look at the source saw.
    pub observed: Option<String>,
    /// How old the message is.
    pub age: Duration,
    /// When it was created.
    pub created_at: Timestamp,
    /// The attempt that may have been sent, when one has not been cleared up.
    pub doubt: Option<i32>,
    /// Who was asked in that attempt, when it is known.
    pub doubt_provider: Option<String>,
}

/// The text and where it goes.
#[derive(Debug, Clone)]
pub struct Rendered {
    /// E.164.
    pub recipient: String,
    /// The language of the text, when it is known.
    pub lang: Option<String>,
    /// The text.
    pub body: String,
    /// How it travels.
    pub encoding: Encoding,
    /// Segments by our count.
    pub segments: u32,
    /// The version of the template, when one made it.
    pub template_version: Option<i32>,
}

impl Rendered {
    /// A text as a record has it. A record without a count is counted again.
    pub fn recorded(recipient: String, body: String, encoding: Option<&str>, segments: Option<i32>) -> Self {
        let measure = encoding::measure(&body);
        Self {
            recipient,
            lang: None,
            template_version: None,
            encoding: encoding.and_then(|word| word.parse().ok()).unwrap_or(measure.encoding),
            segments: segments.and_then(|segments| u32::try_from(segments).ok()).unwrap_or(measure.segments),
            body,
        }
    }
}

/// Our name for an attempt; the same in SQL is `sms_reference`. The time is part of it, because a restored database may give
/// an id to another message.
pub fn reference(id: i64, attempt: i32, created_at: Timestamp) -> String {
    format!("ecar-{id}-{attempt}-{:x}", created_at.as_microsecond().div_euclid(1_000_000))
}
