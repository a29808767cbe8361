//! A claimed row, stage by stage. The stages are the only way to change a row: each is consumed by the next, and each
//! ends in a [`Finished`] that carries the lease to the settler, so nobody can forget the fence.
//!
//! ```text
//! Claimed --ready--> Ready --arm--> Armed --answered--> Finished
//!    |                  |
//!    +------------------+--- skip, expire, hold, defer, give back --> Finished
//! ```

use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::message::encoding::Encoding;
use crate::message::kind::Kind;
use crate::message::outcome::Outcome;
use crate::message::reason::Reason;

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
    /// Failures so far.
    pub failures: i32,
    /// What the last look at the source saw.
    pub observed: Option<String>,
    /// How old the message is.
    pub age: Duration,
}

/// A row of ours, nothing decided yet.
#[derive(Debug)]
pub struct Claimed {
    /// The fence.
    pub lease: Lease,
    /// The row.
    pub row: Row,
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
}

/// A message with its text, not yet allowed to leave.
#[derive(Debug)]
pub struct Ready {
    claimed: Claimed,
    /// What would be sent.
    pub rendered: Rendered,
}

/// A message whose lease covers the whole attempt: the request may be written.
#[derive(Debug)]
pub struct Armed {
    ready: Ready,
}

/// When to try again.
#[derive(Debug, Clone)]
pub struct RetryRules {
    /// Pause after the first failure.
    pub first: Duration,
    /// Longest pause.
    pub longest: Duration,
    /// Failures after which the message is given up.
    pub max_failures: i32,
    /// How long a message in doubt waits for proof.
    pub unknown_wait: Duration,
}

/// Longest pause that a provider can ask for. Beyond it the provider is asked again.
const RETRY_AFTER_LIMIT: Duration = Duration::from_secs(3600);

/// Pause of a message that met a provider which can send nothing at all: the circuit keeps it from being claimed too soon.
const STOPPED_PAUSE: Duration = Duration::from_secs(1);

impl RetryRules {
    /// Exponential with jitter: half to whole of `first * 2^failures`, bounded by `longest`.
    pub fn pause(&self, failures: i32) -> Duration {
        let exponent = u32::try_from(failures.clamp(0, 20)).unwrap_or(0);
        let full = self.first.saturating_mul(2_u32.saturating_pow(exponent)).min(self.longest);
        full.mul_f64(rand::random_range(0.5..=1.0))
    }
}

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
    /// `sent`, `failed`, `skipped` or `expired`.
    pub status: &'static str,
    /// Why, when it was not sent.
    pub reason: Option<Reason>,
    /// The why in a sentence.
    pub detail: Option<String>,
    /// The text, when there is one.
    pub rendered: Option<Rendered>,
    /// The provider, when one was asked.
    pub provider: Option<String>,
    /// The provider's id.
    pub provider_message_id: Option<String>,
    /// Segments by the provider's count.
    pub charged_segments: Option<u32>,
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
    /// Whether this counts as a failure.
    pub failed: bool,
    /// The attempt, when a request was made.
    pub attempt: Option<AttemptRecord>,
}

/// The record of a request that did not settle its message.
#[derive(Debug)]
pub struct AttemptRecord {
    /// The provider asked.
    pub provider: String,
    /// The outcome's word.
    pub outcome: &'static str,
    /// What was sent.
    pub rendered: Rendered,
}

impl Finished {
    /// The fence of the row.
    pub fn lease(&self) -> &Lease {
        match self {
            Self::Settled(settlement) => &settlement.lease,
            Self::Postponed(postponement) => &postponement.lease,
        }
    }
}

impl Claimed {
    /// Not to be sent.
    pub fn skip(self, reason: Reason, detail: Option<String>) -> Finished {
        self.settle("skipped", reason, detail)
    }

    /// Too late.
    pub fn expire(self, reason: Reason, detail: Option<String>) -> Finished {
        self.settle("expired", reason, detail)
    }

    /// Given up without a request.
    pub fn fail(self, reason: Reason, detail: Option<String>) -> Finished {
        self.settle("failed", reason, detail)
    }

    /// Waits for staff.
    pub fn hold(self, reason: Reason, detail: Option<String>) -> Finished {
        self.postpone("held", None, reason, detail, None)
    }

    /// Looked at again after `wait`.
    pub fn defer(self, wait: Duration, reason: Reason, detail: Option<String>, observed: Option<String>) -> Finished {
        self.postpone("queued", Some(wait), reason, detail, observed)
    }

    /// The text is made.
    pub fn ready(self, rendered: Rendered) -> Ready {
        Ready { claimed: self, rendered }
    }

    fn settle(self, status: &'static str, reason: Reason, detail: Option<String>) -> Finished {
        Finished::Settled(Box::new(Settlement {
            lease: self.lease,
            kind: self.row.kind,
            status,
            reason: Some(reason),
            detail,
            rendered: None,
            provider: None,
            provider_message_id: None,
            charged_segments: None,
            outcome: None,
        }))
    }

    fn postpone(
        self,
        state: &'static str,
        wait: Option<Duration>,
        reason: Reason,
        detail: Option<String>,
        observed: Option<String>,
    ) -> Finished {
        Finished::Postponed(Box::new(Postponement {
            lease: self.lease,
            kind: self.row.kind,
            state,
            wait,
            reason,
            detail,
            observed,
            failed: false,
            attempt: None,
        }))
    }
}

impl Ready {
    /// Allows the request, when what is left of the lease covers `needed`, the longest that the attempt may take.
    ///
    /// # Errors
    /// The row, on its way back to the queue, unsent.
    pub fn arm(self, now: Instant, needed: Duration) -> Result<Armed, Finished> {
        if self.claimed.lease.ends.saturating_duration_since(now) >= needed {
            Ok(Armed { ready: self })
        } else {
            Err(self.give_back())
        }
    }

    /// Back to the queue, unsent.
    pub fn give_back(self) -> Finished {
        self.claimed.defer(Duration::ZERO, Reason::NotStarted, None, None)
    }
}

impl Armed {
    /// A name for this attempt that the provider may keep: at most 40 characters, never used twice.
    pub fn reference(&self) -> String {
        format!("ecar-{}-{}", self.ready.claimed.lease.id, self.ready.claimed.lease.attempt)
    }

    /// The row's id.
    pub fn id(&self) -> i64 {
        self.ready.claimed.lease.id
    }

    /// What is sent.
    pub fn rendered(&self) -> &Rendered {
        &self.ready.rendered
    }

    /// The attempt is over. A failure that met an outage (the provider's circuit is open) says nothing about the message and
    /// does not count against it.
    pub fn answered(self, outcome: Outcome, provider: &str, outage: bool, rules: &RetryRules) -> Finished {
        let Ready { claimed: Claimed { lease, row }, rendered } = self.ready;
        let word = outcome.word();
        let detail = Some(outcome.detail().to_owned()).filter(|detail| !detail.is_empty());
        let settled = |status, reason, provider_message_id, charged_segments, lease, rendered, detail| {
            Finished::Settled(Box::new(Settlement {
                lease,
                kind: row.kind,
                status,
                reason,
                detail,
                rendered: Some(rendered),
                provider: Some(provider.to_owned()),
                provider_message_id,
                charged_segments,
                outcome: Some(word),
            }))
        };
        let (state, wait, reason, failed) = match outcome {
            Outcome::Accepted { provider_message_id, segments } => {
                return settled("sent", None, provider_message_id, segments, lease, rendered, None);
            }
            Outcome::Rejected { .. } => {
                return settled("failed", Some(Reason::Rejected), None, None, lease, rendered, detail);
            }
            Outcome::TemporaryFailure { .. } if !outage && row.failures + 1 >= rules.max_failures => {
                return settled("failed", Some(Reason::TooManyAttempts), None, None, lease, rendered, detail);
            }
            Outcome::TemporaryFailure { .. } => {
                ("queued", rules.pause(row.failures), Reason::TemporaryFailure, !outage)
            }
            Outcome::Throttled { retry_after, .. } => {
                let wait = retry_after.unwrap_or_else(|| rules.pause(row.failures)).min(RETRY_AFTER_LIMIT);
                ("queued", wait, Reason::Throttled, false)
            }
            Outcome::Misconfigured { .. } => ("queued", STOPPED_PAUSE, Reason::Misconfigured, false),
            Outcome::NoCredit { .. } => ("queued", STOPPED_PAUSE, Reason::NoCredit, false),
            Outcome::Unknown { .. } => ("unknown", rules.unknown_wait, Reason::Unknown, false),
        };
        Finished::Postponed(Box::new(Postponement {
            lease,
            kind: row.kind,
            state,
            wait: Some(wait),
            reason,
            detail,
            observed: None,
            failed,
            attempt: Some(AttemptRecord { provider: provider.to_owned(), outcome: word, rendered }),
        }))
    }
}
