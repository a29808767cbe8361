//! Whether this database may be sent from: the original yes, a copy no, or only to numbers named in the configuration.
//!
//! The database says what it is ([`check`]); the daemon asks before its first claim, every [`CHECK_EVERY`], at every look
//! while it is a copy, and as soon as a claim was answered by another `sms_outbox` than the one it knows. What that claim
//! took goes back unsent. Not known yet counts as a copy. See docs/adr/0009-identity.md.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::{error, info};

use crate::db::{Database, DbError, field, statement};
use crate::garage::missed::Missed;

/// How often the identity is asked for again. A table that was swapped is noticed by the claim itself; this finds a renamed
/// database.
const CHECK_EVERY: Duration = Duration::from_secs(30);

/// What to do in a copy.
pub const COPY_MEND: &str = "if it has taken the place of the original, run `ecar-sms adopt` with the rights of its owner; to try things out on a copy, set [sending] test_recipients";

/// Which database this is, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Identity {
    Unknown,
    Original { oid: i64 },
    Copy { oid: i64, differs: String },
}

#[derive(Debug)]
struct State {
    identity: Identity,
    checked: Option<Instant>,
    missed: Vec<Missed>,
}

/// What guards the sending, shared by the claimer, the senders, the housekeeper and the status.
#[derive(Debug)]
pub struct Guards {
    test_recipients: Vec<String>,
    state: Mutex<State>,
}

impl Guards {
    /// Nothing is known yet. `test_recipients` in E.164.
    pub fn new(test_recipients: Vec<String>) -> Self {
        let state = State { identity: Identity::Unknown, checked: None, missed: Vec::new() };
        Self { test_recipients, state: Mutex::new(state) }
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the database is to be asked again.
    pub fn is_due(&self, now: Instant) -> bool {
        let state = self.locked();
        match (&state.identity, state.checked) {
            (Identity::Original { .. }, Some(checked)) => now.saturating_duration_since(checked) >= CHECK_EVERY,
            (Identity::Original { .. }, None) | (Identity::Unknown | Identity::Copy { .. }, _) => true,
        }
    }

    /// Whether anything may be claimed.
    pub fn may_claim(&self) -> bool {
        match self.locked().identity {
            Identity::Original { .. } => true,
            Identity::Copy { .. } => !self.test_recipients.is_empty(),
            Identity::Unknown => false,
        }
    }

    /// Whether this number may be texted from this database.
    pub fn may_text(&self, number: &str) -> bool {
        match self.locked().identity {
            Identity::Original { .. } => true,
            Identity::Copy { .. } => self.test_recipients.iter().any(|known| known == number),
            Identity::Unknown => false,
        }
    }

    /// Whether the outbox that answered is the one last checked. Otherwise nothing is known any more.
    pub fn knows(&self, outbox_oid: i64) -> bool {
        let mut state = self.locked();
        let known = match state.identity {
            Identity::Original { oid } | Identity::Copy { oid, .. } => oid == outbox_oid,
            Identity::Unknown => false,
        };
        if !known {
            state.identity = Identity::Unknown;
        }
        known
    }

    /// What is wrong with this database, in a sentence; none in the original.
    pub fn copy(&self) -> Option<String> {
        match &self.locked().identity {
            Identity::Copy { differs, .. } => Some(self.sentence(differs)),
            Identity::Original { .. } | Identity::Unknown => None,
        }
    }

    fn sentence(&self, differs: &str) -> String {
        let what = match self.test_recipients.len() {
            0 => "nothing is sent".to_owned(),
            numbers => format!("only the {numbers} numbers of [sending] test_recipients are texted"),
        };
        format!("this database is a copy: {differs}; {what}; {COPY_MEND}")
    }

    /// What an operator should see although nothing is wrong.
    pub fn note(&self) -> Option<String> {
        let original = matches!(self.locked().identity, Identity::Original { .. });
        (original && !self.test_recipients.is_empty()).then(|| {
            "[sending] test_recipients has no effect here: this is the database that ecar-sms was installed in"
                .to_owned()
        })
    }

    /// Remembers the events without a message; true when they are others than before.
    pub fn missed(&self, missed: Vec<Missed>) -> bool {
        let mut state = self.locked();
        let news = state.missed != missed;
        state.missed = missed;
        news
    }

    /// The events without a message, as last seen: the first `most`, and how many there are.
    pub fn missed_events(&self, most: usize) -> (Vec<Missed>, usize) {
        let state = self.locked();
        (state.missed.iter().take(most).cloned().collect(), state.missed.len())
    }

    fn learn(&self, oid: i64, differs: Option<String>, now: Instant) {
        let fresh = match differs {
            None => Identity::Original { oid },
            Some(differs) => Identity::Copy { oid, differs },
        };
        let mut state = self.locked();
        state.checked = Some(now);
        if state.identity == fresh {
            return;
        }
        let before = std::mem::replace(&mut state.identity, fresh.clone());
        drop(state);
        match (before, fresh) {
            (_, Identity::Copy { differs, .. }) => error!("{}", self.sentence(&differs)),
            (Identity::Copy { .. }, Identity::Original { .. }) => {
                info!("this database was adopted; messages go out again, those that waited in it are held");
            }
            (Identity::Unknown | Identity::Original { .. }, Identity::Original { .. } | Identity::Unknown)
            | (Identity::Copy { .. }, Identity::Unknown) => {}
        }
    }
}

/// Asks the database which one it is.
///
/// # Errors
/// [`DbError`]; what was known before stays.
pub async fn check(database: &Database, guards: &Guards) -> Result<(), DbError> {
    let row = database.query_one(&statement::IDENTITY, &[]).await?;
    guards.learn(field(&row, "outbox_oid")?, field(&row, "differs")?, Instant::now());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_goes_out_before_the_database_is_known_and_after_its_outbox_has_changed() {
        let guards = Guards::new(Vec::new());
        assert!(!guards.may_claim() && !guards.may_text("+21620000001"));
        guards.learn(7, None, Instant::now());
        assert!(guards.may_claim() && guards.knows(7) && guards.may_text("+21620000001"));
        assert!(!guards.is_due(Instant::now()));
        assert!(!guards.knows(8));
        assert!(!guards.may_claim() && guards.is_due(Instant::now()));
    }

    #[test]
    fn a_copy_texts_nobody_but_the_numbers_named() {
        let guards = Guards::new(vec!["+21620000001".to_owned()]);
        guards.learn(7, Some("it is named \"b\"".to_owned()), Instant::now());
        assert!(guards.may_claim() && guards.may_text("+21620000001") && !guards.may_text("+21620000002"));
        assert!(guards.copy().is_some_and(|said| said.contains("only the 1 numbers") && said.contains("adopt")));
        let guards = Guards::new(Vec::new());
        guards.learn(7, Some("it is named \"b\"".to_owned()), Instant::now());
        assert!(!guards.may_claim() && !guards.may_text("+21620000001") && guards.is_due(Instant::now()));
    }
}
