//! The results of claimed rows, on their way to the settler. They are made by the stages of [`stage`](super::stage) alone, and carry
//! the lease with them.

use std::time::Duration;

use super::lease::{Lease, Rendered};
use crate::message::kind::Kind;
use crate::message::reason::Reason;

/// A result on its way to the settler.
#[derive(Debug)]
pub enum Finished {
    /// Leaves the outbox.
    Settled(Box<Settlement>),
    /// Goes back to the outbox.
    Postponed(Box<Postponement>),
}

/// A final result.
#[derive(Debug)]
pub struct Settlement {
    /// The fence.
    pub lease: Lease,
    /// What it was about.
    pub kind: Kind,
    /// `sent`, `failed`, `skipped`, `expired`, or `unknown` where an earlier attempt may have been sent.
    pub status: &'static str,
    /// Why, when it was not sent.
    pub reason: Option<Reason>,
    /// The why in a sentence.
    pub detail: Option<String>,
    /// The number in E.164, when it is known although there is no text.
    pub recipient: Option<String>,
    /// The text, when there is one.
    pub rendered: Option<Rendered>,
    /// The provider, when one was asked.
    pub provider: Option<String>,
    /// The provider's id.
    pub provider_message_id: Option<String>,
    /// Segments by the provider's count.
    pub charged_segments: Option<u32>,
    /// When the provider is first asked for a delivery receipt; zero: it tells by itself; `None`: nobody tells.
    pub awaits: Option<Duration>,
    /// The outcome's word, when a request was made.
    pub outcome: Option<&'static str>,
}

/// A message that goes back.
#[derive(Debug)]
pub struct Postponement {
    /// The fence.
    pub lease: Lease,
    /// What it was about.
    pub kind: Kind,
    /// `queued`, `held` or `unknown`.
    pub state: &'static str,
    /// When to look again; `None`: when somebody acts.
    pub wait: Option<Duration>,
    /// Why.
    pub reason: Reason,
    /// The why in a sentence.
    pub detail: Option<String>,
    /// What was seen.
    pub observed: Option<String>,
    /// The version of the hours by which it waits ([`Settings::hours_version`](super::settings::Settings)), when it waits for an hour.
    pub hours: Option<i64>,
    /// Whether this counts as a failure.
    pub failed: bool,
    /// The attempt, when a request was made.
    pub attempt: Option<AttemptRecord>,
    /// An earlier attempt in doubt that the database does not know of, and who was asked in it.
    pub doubt: Option<(i32, String)>,
}

/// The record of a request that did not settle its message.
#[derive(Debug)]
pub struct AttemptRecord {
    /// The provider asked, when it is known.
    pub provider: Option<String>,
    /// The outcome's word.
    pub outcome: &'static str,
    /// What was sent, when it is known.
    pub rendered: Option<Rendered>,
}

impl Finished {
    /// Keeps the number, in E.164, of a message that is settled without a text.
    #[must_use]
    pub(super) fn to(mut self, number: &str) -> Self {
        if let Self::Settled(settlement) = &mut self {
            settlement.recipient = Some(number.to_owned());
        }
        self
    }

    /// Keeps by which version of the hours a message waits.
    #[must_use]
    pub(super) fn by_hours(mut self, version: i64) -> Self {
        if let Self::Postponed(postponement) = &mut self {
            postponement.hours = Some(version);
        }
        self
    }

    /// The fence of the row.
    pub fn lease(&self) -> &Lease {
        match self {
            Self::Settled(settlement) => &settlement.lease,
            Self::Postponed(postponement) => &postponement.lease,
        }
    }
}
