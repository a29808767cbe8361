//! From a claimed row to a text and a number, or to the reason why there is none.
//!
//! Facts are read for a batch at once, and what is on record of its numbers. A lock on the garage's tables sends the batch back for a
//! moment; any other error of the call is asked again row by row, so that one poisoned row never takes the others with it. What is
//! then done with a message is for [`policy`] to say.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tracing::{info, warn};

use super::contacts;
use super::guards::Guards;
use super::lease::{Rendered, Row};
use super::result::Finished;
use super::settings::Settings;
use super::stage::{Claimed, Ready};
use crate::db::{Database, DbError};
use crate::garage::facts;
use crate::message::facts::{Facts, clean};
use crate::message::fit::{self, EncodingPolicy};
use crate::message::phone::{self, Countries, Normalised, Refusal};
use crate::message::policy::{self, Case, Contact, Decision, Recipient, Source, Subject};
use crate::message::reason::Reason;

/// Pause of rows whose facts could not be read just now.
const FACTS_PAUSE: Duration = Duration::from_secs(2);

/// What preparing needs to know. One for the life of the daemon; settings come with each batch.
pub struct Preparer {
    /// The database.
    pub database: Database,
    /// Countries that may be texted.
    pub countries: Countries,
    /// The garage's zone.
    pub zone: TimeZone,
    /// Longest text, in segments.
    pub max_segments: u32,
    /// Whom a copy may text.
    pub guards: Arc<Guards>,
}

/// A row with what is known about its source and its recipient.
#[derive(Debug)]
pub struct Informed {
    claimed: Claimed,
    facts: Option<Facts>,
    /// Further services told in the same text.
    others: Vec<Facts>,
    contact: Contact,
}

impl Informed {
    fn new(claimed: Claimed, facts: Option<Facts>) -> Self {
        Self { claimed, facts, others: Vec::new(), contact: Contact::default() }
    }

    /// The row.
    pub fn claimed(&self) -> &Claimed {
        &self.claimed
    }

    /// The row, without its facts.
    pub fn into_claimed(self) -> Claimed {
        self.claimed
    }

    /// What the garage says of the source.
    pub(super) fn facts(&self) -> Option<&Facts> {
        self.facts.as_ref()
    }

    /// The language on record of the customer.
    pub(super) fn contact_lang(&self) -> Option<&str> {
        self.contact.lang.as_deref()
    }

    pub(super) fn into_facts(self) -> Option<Facts> {
        self.facts
    }

    /// Tells further services in the same text.
    pub(super) fn tell(&mut self, others: impl IntoIterator<Item = Facts>) {
        self.others.extend(others);
    }

    /// The number, as the garage or the row has it.
    fn written(&self) -> &str {
        match &self.facts {
            Some(facts) => &facts.phone,
            None => self.claimed.row.recipient.as_deref().unwrap_or_default(),
        }
    }
}

impl Preparer {
    /// Reads the facts of rows that speak of a source. Rows whose facts cannot be had are finished at once.
    pub async fn inform(&self, rows: Vec<Claimed>) -> (Vec<Informed>, Vec<Finished>) {
        let sources: Vec<_> =
            rows.iter().map(|claimed| (claimed.row.kind, claimed.row.source_id.unwrap_or_default())).collect();
        match facts::read(&self.database, &sources).await {
            Ok(facts) => (
                rows.into_iter().zip(facts).map(|(claimed, facts)| Informed::new(claimed, facts)).collect(),
                Vec::new(),
            ),
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
            Ok(mut facts) => Ok(Informed::new(claimed, facts.pop().flatten())),
            Err(error @ (DbError::Unavailable(_) | DbError::Busy(_) | DbError::NotInstalled(_))) => {
                Err(unavailable(claimed, &error))
            }
            Err(error @ (DbError::Refused { .. } | DbError::Unexpected(_))) => Err(unreadable(claimed, &error)),
        }
    }

    /// A row that carries its own number and text.
    pub fn plain(claimed: Claimed) -> Informed {
        Informed::new(claimed, None)
    }

    /// Reads what is on record of the numbers of a batch. Nothing may go out without it: a customer may want no messages.
    ///
    /// # Errors
    /// All rows, on their way back to the queue, when it cannot be had.
    pub async fn acquaint(&self, mut rows: Vec<Informed>) -> Result<Vec<Informed>, Vec<Finished>> {
        let numbers: Vec<Option<String>> = rows
            .iter()
            .map(|informed| self.number(informed).ok().map(|normalised| normalised.number.as_str().to_owned()))
            .collect();
        let asked: Vec<&str> = numbers.iter().flatten().map(String::as_str).collect();
        if asked.is_empty() {
            return Ok(rows);
        }
        let known: HashMap<String, Contact> = match contacts::of(&self.database, &asked).await {
            Ok(known) => known,
            Err(error) => {
                warn!(error = %error, messages = rows.len(), "what customers want cannot be read just now; these messages wait");
                return Err(rows.into_iter().map(|row| unavailable(row.claimed, &error)).collect());
            }
        };
        for (informed, number) in rows.iter_mut().zip(numbers) {
            if let Some(contact) = number.and_then(|number| known.get(&number)) {
                informed.contact = contact.clone();
            }
        }
        Ok(rows)
    }

    /// The number that a row goes to, in E.164.
    ///
    /// # Errors
    /// Why it cannot be texted.
    pub fn number(&self, informed: &Informed) -> Result<Normalised, Refusal> {
        phone::normalise(informed.written(), &self.countries)
    }

    /// The same of facts alone.
    ///
    /// # Errors
    /// Why it cannot be texted.
    pub(super) fn number_of(&self, facts: &Facts) -> Result<Normalised, Refusal> {
        phone::normalise(&facts.phone, &self.countries)
    }

    /// What to do with a message.
    pub(super) fn decide(&self, informed: &Informed, settings: &Settings, now: Timestamp) -> Decision {
        self.decide_for(informed, &self.number(informed), settings, now)
    }

    fn decide_for(
        &self,
        informed: &Informed,
        number: &Result<Normalised, Refusal>,
        settings: &Settings,
        now: Timestamp,
    ) -> Decision {
        let row = &informed.claimed.row;
        let subject = Subject {
            id: informed.claimed.lease.id,
            kind: row.kind,
            age: row.age,
            by_hand: row.by_hand,
            released: row.released,
            source_at: row.source_at,
            observed: row.observed.clone(),
        };
        let source = match &informed.facts {
            Some(facts) => Source::Is(facts),
            None if row.kind.has_source() => Source::Gone,
            None => Source::None,
        };
        let why = number.as_ref().err().map(ToString::to_string).unwrap_or_default();
        let recipient = match number {
            Ok(_) => Recipient::Is(&informed.contact),
            Err(refusal) => Recipient::Refused(Reason::of_refusal(refusal), &why),
        };
        policy::decide(&Case { subject: &subject, source, recipient, rules: &settings.rules, now, zone: &self.zone })
    }

    /// Decides, normalises, renders.
    ///
    /// # Errors
    /// The finished row, when it is not to be sent now.
    pub fn prepare(&self, informed: Informed, settings: &Settings, now: Timestamp) -> Result<Ready, Finished> {
        let number = self.number(&informed);
        let decision = self.decide_for(&informed, &number, settings, now);
        let to = number.as_ref().ok().map(|number| number.number.as_str().to_owned());
        let Informed { claimed, facts, others, contact } = informed;
        let finished = match (decision, number) {
            (Decision::Send, Ok(number)) => {
                let rendered = self.render(&claimed, facts.as_ref(), &others, &contact, number, settings);
                match rendered {
                    Ok(rendered) => return Ok(claimed.ready(rendered)),
                    Err(Obstacle::Skip(reason, why)) => claimed.skip(reason, Some(why)),
                    Err(Obstacle::Fail(reason, why)) => claimed.fail(reason, Some(why)),
                }
            }
            (Decision::Send, Err(refusal)) => claimed.skip(Reason::of_refusal(&refusal), Some(refusal.to_string())),
            (Decision::Defer { wait, reason, why, observed }, _) => {
                let deferred = claimed.defer(wait, reason, Some(why), observed);
                if reason == Reason::QuietHours { deferred.by_hours(settings.hours_version) } else { deferred }
            }
            (Decision::Hold(reason, why), _) => claimed.hold(reason, Some(why)),
            (Decision::Skip(reason, why), _) => claimed.skip(reason, Some(why)),
            (Decision::Expire(reason, why), _) => claimed.expire(reason, Some(why)),
        };
        note(&finished);
        Err(match to {
            Some(to) => finished.to(&to),
            None => finished,
        })
    }

    fn render(
        &self,
        claimed: &Claimed,
        facts: Option<&Facts>,
        others: &[Facts],
        contact: &Contact,
        number: Normalised,
        settings: &Settings,
    ) -> Result<Rendered, Obstacle> {
        let Row { kind, body, lang, .. } = &claimed.row;
        for remark in &number.notes {
            info!(msg.id = claimed.lease.id, remark = %remark, "the phone number was read with a remark");
        }
        if !self.guards.may_text(number.number.as_str()) {
            let why = "this database is a copy; [sending] test_recipients does not name this number";
            return Err(Obstacle::Skip(Reason::NotATestRecipient, why.to_owned()));
        }
        let usual = settings.rules.kinds.get(kind).map_or(EncodingPolicy::Keep, |rule| rule.encoding);
        let (text, lang, version, encoding) = match facts {
            Some(facts) => {
                let wanted = [lang.as_deref(), contact.lang.as_deref(), Some(settings.default_lang.as_str())];
                let spoken = settings.texts.language(*kind, wanted.into_iter().flatten());
                let text = settings
                    .texts
                    .render(*kind, spoken, facts, others, &self.zone)
                    .map_err(|error| Obstacle::Fail(Reason::TemplateError, error.to_string()))?;
                (text.body, Some(spoken.to_owned()), Some(text.version), text.encoding.unwrap_or(usual))
            }
            // A text of blanks only is refused when the row is inserted; see sms_outbox_check.
            None => (body.clone().unwrap_or_default(), lang.clone(), None, usual),
        };
        let name = facts.and_then(|facts| facts.values.get("first_name")).map(|name| clean(name)).unwrap_or_default();
        let fitted = fit::apply(encoding, &text, &[&name], settings.rules.keep_names)
            .map_err(|error| Obstacle::Fail(Reason::NotGsm7, error.to_string()))?;
        if fitted.measure.segments > self.max_segments {
            let why = format!("{} segments; at most {} are sent", fitted.measure.segments, self.max_segments);
            return Err(Obstacle::Fail(Reason::TooLong, why));
        }
        Ok(Rendered {
            recipient: number.number.as_str().to_owned(),
            lang,
            encoding: fitted.measure.encoding,
            segments: fitted.measure.segments,
            body: fitted.text.into_owned(),
            template_version: version,
        })
    }
}

/// Why there is no text.
enum Obstacle {
    Skip(Reason, String),
    Fail(Reason, String),
}

/// The garage's tables are locked, or the database is away: not the message's fault.
pub(super) fn unavailable(claimed: Claimed, error: &DbError) -> Finished {
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
