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

use super::lease::{Lease, Rendered, Row, reference};
use super::result::{AttemptRecord, Finished, Postponement, Settlement};
use crate::message::kind::Kind;
use crate::message::outcome::Outcome;
use crate::message::reason::Reason;

/// A row of ours, nothing decided yet.
#[derive(Debug)]
pub struct Claimed {
    /// The fence.
    pub lease: Lease,
    /// The row.
    pub row: Row,
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

/// A message of which nobody knows whether it was sent, as [`doubt`](super::doubt) looks at it.
#[derive(Debug)]
pub struct Doubtful {
    /// The fence: the token of the claim that ended in doubt.
    pub lease: Lease,
    /// What it is about.
    pub kind: Kind,
    /// The attempt in doubt, whose reference the provider may know.
    pub doubt: i32,
    /// When the message was created.
    pub created_at: Timestamp,
    /// When the first attempt in doubt began, by the database's clock.
    pub since: Timestamp,
    /// How long ago the last attempt in doubt began.
    pub waited: Duration,
    /// Attempts in doubt so far.
    pub doubts: i64,
    /// Who was asked, when it is known.
    pub provider: Option<String>,
    /// What was sent, when it is known.
    pub rendered: Option<Rendered>,
    /// A delivery receipt that names the message: provider and its id.
    pub receipt: Option<(String, String)>,
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
    /// When a message in doubt is looked at first.
    pub first_look: Duration,
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

/// The status of a message of which nobody will ever know.
const IN_DOUBT: &str = "unknown";

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

    /// It was sent before, by an attempt that the database has lost.
    pub fn sent_before(self, provider: String, provider_message_id: Option<String>) -> Finished {
        Finished::Settled(Box::new(Settlement {
            lease: self.lease,
            kind: self.row.kind,
            status: "sent",
            reason: None,
            detail: Some("it had been sent before the database lost the record of it".to_owned()),
            recipient: None,
            rendered: None,
            provider: Some(provider),
            provider_message_id,
            charged_segments: None,
            awaits: None,
            outcome: None,
        }))
    }

    /// It may have been sent before, by an attempt that the database has lost.
    pub fn in_doubt_before(self, provider: String, attempt: i32) -> Finished {
        let detail = Some("an attempt that the database has lost may have been sent".to_owned());
        let mut back = self.back("unknown", Some(Duration::ZERO), Reason::Unknown, detail, None);
        back.doubt = Some((attempt, provider));
        Finished::Postponed(back)
    }

    /// The daemon that claimed it died before it wrote the request.
    pub fn never_written(self) -> Finished {
        let detail = Some("the daemon stopped before the request was written".to_owned());
        self.postpone("queued", Some(Duration::ZERO), Reason::NotStarted, detail, None)
    }

    /// The daemon that claimed it died, and nothing tells whether the request was written.
    pub fn lost(self) -> Finished {
        let detail = Some("the daemon stopped while it was being sent".to_owned());
        let attempt = AttemptRecord { provider: None, outcome: "unknown", rendered: None };
        let mut back = self.back("unknown", Some(Duration::ZERO), Reason::Unknown, detail, None);
        back.attempt = Some(attempt);
        Finished::Postponed(back)
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
            status: if self.row.doubt.is_some() { IN_DOUBT } else { status },
            reason: Some(reason),
            detail,
            recipient: None,
            rendered: None,
            provider: None,
            provider_message_id: None,
            charged_segments: None,
            awaits: None,
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
        Finished::Postponed(self.back(state, wait, reason, detail, observed))
    }

    fn back(
        self,
        state: &'static str,
        wait: Option<Duration>,
        reason: Reason,
        detail: Option<String>,
        observed: Option<String>,
    ) -> Box<Postponement> {
        Box::new(Postponement {
            lease: self.lease,
            kind: self.row.kind,
            state,
            wait,
            reason,
            detail,
            observed,
            hours: None,
            failed: false,
            attempt: None,
            doubt: None,
        })
    }
}

impl Ready {
    /// Allows the request, when what is left of the lease covers `needed`, the longest that the attempt may take.
    ///
    /// # Errors
    /// The row, on its way back to the queue, unsent.
    pub fn arm(self, now: Instant, needed: Duration) -> Result<Armed, Finished> {
        if self.claimed.lease.covers(now, needed) { Ok(Armed { ready: self }) } else { Err(self.give_back()) }
    }

    /// Back to the queue, unsent.
    pub fn give_back(self) -> Finished {
        self.claimed.defer(Duration::ZERO, Reason::NotStarted, None, None)
    }
}

impl Armed {
    /// A name for this attempt that the provider may keep: at most 40 characters. A repetition of an attempt in doubt carries
    /// that attempt's name, so that a provider that knows it already does not send twice.
    pub fn reference(&self) -> String {
        let Claimed { lease, row } = &self.ready.claimed;
        reference(lease.id, row.doubt.unwrap_or(lease.attempt), row.created_at)
    }

    /// The fence.
    pub fn lease(&self) -> &Lease {
        &self.ready.claimed.lease
    }

    /// The row.
    pub fn row(&self) -> &Row {
        &self.ready.claimed.row
    }

    /// Stands in the journal now.
    pub fn journaled(&mut self, segment: Option<u32>) {
        self.ready.claimed.lease.segment = segment;
    }

    /// Back to the queue, unsent.
    pub fn give_back(self) -> Finished {
        self.ready.give_back()
    }

    /// An attempt of a daemon that is gone, as its journal tells it: its request may have been written.
    pub fn recovered(lease: Lease, row: Row, rendered: Rendered) -> Self {
        Self { ready: Ready { claimed: Claimed { lease, row }, rendered } }
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
                // An earlier attempt may have been sent: that this one was not is no proof for the message.
                status: if row.doubt.is_some() && status != "sent" { IN_DOUBT } else { status },
                reason,
                detail,
                recipient: None,
                rendered: Some(rendered),
                provider: Some(provider.to_owned()),
                provider_message_id,
                charged_segments,
                awaits: None,
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
            Outcome::Unknown { .. } => ("unknown", rules.first_look, Reason::Unknown, false),
        };
        Finished::Postponed(Box::new(Postponement {
            lease,
            kind: row.kind,
            state,
            wait: Some(wait),
            reason,
            detail,
            observed: None,
            hours: None,
            failed,
            attempt: Some(AttemptRecord {
                provider: Some(provider.to_owned()),
                outcome: word,
                rendered: Some(rendered),
            }),
            doubt: None,
        }))
    }
}

impl Doubtful {
    /// It was sent after all.
    pub fn proved(self, provider: String, provider_message_id: Option<String>, proof: &str) -> Finished {
        Finished::Settled(Box::new(Settlement {
            lease: self.lease,
            kind: self.kind,
            status: "sent",
            reason: None,
            detail: Some(format!("the answer was lost; proof: {proof}")),
            recipient: None,
            rendered: self.rendered,
            provider: Some(provider),
            provider_message_id,
            charged_segments: None,
            awaits: None,
            outcome: Some("accepted"),
        }))
    }
}
