//! From a claimed row to a text and a number, or to the reason why there is none.
//!
//! Facts are read for a batch at once. A lock on the garage's tables sends the batch back for a moment; any other error of
//! the call is asked again row by row, so that one poisoned row never takes the others with it.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tracing::{info, warn};

use super::guards::Guards;
use super::lease::{Rendered, Row};
use super::result::Finished;
use super::settings::Settings;
use super::stage::{Claimed, Ready};
use crate::db::{Database, DbError};
use crate::garage::facts;
use crate::message::encoding;
use crate::message::facts::Facts;
use crate::message::phone::{self, Countries};
use crate::message::policy::{self, Decision, Subject};
use crate::message::reason::Reason;
use crate::message::template::{DEFAULT_LANG, Texts};

/// Pause of rows whose facts could not be read just now.
const FACTS_PAUSE: Duration = Duration::from_secs(2);

/// What preparing needs to know. One for the life of the daemon; settings come with each batch.
pub struct Preparer {
    /// The database.
    pub database: Database,
    /// The texts.
    pub texts: Texts,
    /// Countries that may be texted.
    pub countries: Countries,
    /// Longest text, in segments.
    pub max_segments: u32,
    /// Whom a copy may text.
    pub guards: Arc<Guards>,
}

/// A row with what is known about its source.
#[derive(Debug)]
pub struct Informed {
    claimed: Claimed,
    facts: Option<Facts>,
}

impl Informed {
    /// The row.
    pub fn claimed(&self) -> &Claimed {
        &self.claimed
    }

    /// The row, without its facts.
    pub fn into_claimed(self) -> Claimed {
        self.claimed
    }
}

impl Preparer {
    /// Reads the facts of rows that speak of a source. Rows whose facts cannot be had are finished at once.
    pub async fn inform(&self, rows: Vec<Claimed>) -> (Vec<Informed>, Vec<Finished>) {
        let sources: Vec<_> =
            rows.iter().map(|claimed| (claimed.row.kind, claimed.row.source_id.unwrap_or_default())).collect();
        match facts::read(&self.database, &sources).await {
            Ok(facts) => {
                (rows.into_iter().zip(facts).map(|(claimed, facts)| Informed { claimed, facts }).collect(), Vec::new())
            }
            Err(error @ (DbError::Unavailable(_) | DbError::Busy(_) | DbError::NotInstalled(_))) => {
                warn!(error = %error, messages = rows.len(), "the garage's tables cannot be read just now; these messages wait");
                (Vec::new(), rows.into_iter().map(|claimed| unavailable(claimed, &error)).collect())
            }
            Err(error) if rows.len() > 1 => {
                warn!(error = %error, messages = rows.len(), "reading the facts of a batch failed; each is read alone");
                let mut informed = Vec::new();
                let mut finished = Vec::new();
                for claimed in rows {
                    match self.inform_one(claimed).await {
                        Ok(one) => informed.push(one),
                        Err(one) => finished.push(one),
                    }
                }
                (informed, finished)
            }
            Err(error) => (Vec::new(), rows.into_iter().map(|claimed| unreadable(claimed, &error)).collect()),
        }
    }

    async fn inform_one(&self, claimed: Claimed) -> Result<Informed, Finished> {
        let source = (claimed.row.kind, claimed.row.source_id.unwrap_or_default());
        match facts::read(&self.database, &[source]).await {
            Ok(mut facts) => Ok(Informed { claimed, facts: facts.pop().flatten() }),
            Err(error @ (DbError::Unavailable(_) | DbError::Busy(_) | DbError::NotInstalled(_))) => {
                Err(unavailable(claimed, &error))
            }
            Err(error @ (DbError::Refused { .. } | DbError::Unexpected(_))) => Err(unreadable(claimed, &error)),
        }
    }

    /// A row that carries its own number and text.
    pub fn plain(claimed: Claimed) -> Informed {
        Informed { claimed, facts: None }
    }

    /// Decides, renders, normalises.
    ///
    /// # Errors
    /// The finished row, when it is not to be sent now.
    pub fn prepare(&self, informed: Informed, settings: &Arc<Settings>, now: Timestamp) -> Result<Ready, Finished> {
        let Informed { claimed, facts } = informed;
        let claimed = match rule(claimed, facts.as_ref(), settings, now) {
            Ok(claimed) => claimed,
            Err(finished) => {
                note(&finished);
                return Err(finished);
            }
        };
        self.render(claimed, facts.as_ref()).inspect_err(note)
    }

    fn render(&self, claimed: Claimed, facts: Option<&Facts>) -> Result<Ready, Finished> {
        let Row { kind, recipient, body, lang, .. } = &claimed.row;
        let written = facts.map_or_else(|| recipient.clone().unwrap_or_default(), |facts| facts.phone.clone());
        let number = match phone::normalise(&written, &self.countries) {
            Ok(normalised) => {
                for remark in &normalised.notes {
                    info!(msg.id = claimed.lease.id, remark = %remark, "the phone number was read with a remark");
                }
                normalised.number
            }
            Err(refusal) => {
                return Err(claimed.skip(Reason::of_refusal(&refusal), Some(refusal.to_string())));
            }
        };
        if !self.guards.may_text(number.as_str()) {
            let detail = "this database is a copy; [sending] test_recipients does not name this number";
            return Err(claimed.skip(Reason::NotATestRecipient, Some(detail.to_owned())));
        }
        let text = match facts {
            Some(facts) => match self.texts.render(*kind, facts) {
                Ok(text) => text,
                Err(error) => return Err(claimed.fail(Reason::TemplateError, Some(error.to_string()))),
            },
            // A text of blanks only is refused when the row is inserted; see sms_outbox_text.
            None => body.clone().unwrap_or_default(),
        };
        let measure = encoding::measure(&text);
        if measure.segments > self.max_segments {
            let detail = format!("{} segments; at most {} are sent", measure.segments, self.max_segments);
            return Err(claimed.fail(Reason::TooLong, Some(detail)));
        }
        let rendered = Rendered {
            recipient: number.as_str().to_owned(),
            // What the text is in, not what was asked for: there are only French templates yet.
            lang: if facts.is_some() { Some(DEFAULT_LANG.to_owned()) } else { lang.clone() },
            body: text,
            encoding: measure.encoding,
            segments: measure.segments,
        };
        Ok(claimed.ready(rendered))
    }
}

/// Applies the policy. `Ok` only when the message is to be sent now.
fn rule(claimed: Claimed, facts: Option<&Facts>, settings: &Settings, now: Timestamp) -> Result<Claimed, Finished> {
    let subject = Subject {
        kind: claimed.row.kind,
        age: claimed.row.age,
        by_hand: claimed.row.by_hand,
        released: claimed.row.released,
        source_at: claimed.row.source_at,
        observed: claimed.row.observed.clone(),
    };
    let mut decision = policy::decide_before_facts(&subject, &settings.rules);
    if decision == Decision::Send && claimed.row.kind.has_source() {
        decision = policy::decide(&subject, &settings.rules, facts, now);
    }
    match decision {
        Decision::Send => Ok(claimed),
        Decision::Defer { wait, reason, observed } => Err(claimed.defer(wait, reason, None, observed)),
        Decision::Hold(reason) => Err(claimed.hold(reason, None)),
        Decision::Skip(reason) => Err(claimed.skip(reason, None)),
        Decision::Expire(reason) => Err(claimed.expire(reason, None)),
    }
}

/// The garage's tables are locked, or the database is away: not the message's fault.
fn unavailable(claimed: Claimed, error: &DbError) -> Finished {
    claimed.defer(FACTS_PAUSE, Reason::FactsUnavailable, Some(error.to_string()), None)
}

/// This one row's source makes the query fail: staff must look.
fn unreadable(claimed: Claimed, error: &DbError) -> Finished {
    let finished = claimed.fail(Reason::TemplateError, Some(format!("its facts cannot be read: {error}")));
    note(&finished);
    finished
}

/// Every message that is not sent leaves a line, with the reason.
fn note(finished: &Finished) {
    match finished {
        Finished::Settled(it) => info!(
            msg.id = it.lease.id,
            msg.kind = %it.kind,
            reason = it.reason.map_or("", Reason::as_str),
            detail = it.detail.as_deref().unwrap_or_default(),
            "message {}", it.status
        ),
        Finished::Postponed(it) if it.state == "held" => warn!(
            msg.id = it.lease.id,
            msg.kind = %it.kind,
            reason = it.reason.as_str(),
            "message held; staff decide: ecar-sms release or cancel {}", it.lease.id
        ),
        Finished::Postponed(it) => {
            tracing::debug!(msg.id = it.lease.id, reason = it.reason.as_str(), "message deferred")
        }
    }
}
