//! What daemons that died on this machine left behind, sorted by their journals.
//!
//! A journal whose lock is free belongs to a process that is certainly dead: it will write no further request, so nothing need wait
//! for its leases to run out. Of each row that it held the journal says one of three things:
//!
//! - answered: the answer is recorded, as if the daemon had lived a moment longer;
//! - begun, not answered: in doubt (see [`doubt`](super::doubt));
//! - neither: never written, when the claim promised a journal and the journal is exhaustive; the row is queued again. Otherwise
//!   in doubt.
//!
//! The results go through the settler, fenced by the dead daemon's own tokens. A journal is removed by a later look, once no row of
//! its owner is being sent any more: whatever happens in between, it is simply read again. A daemon of another machine is not seen
//! from here; its rows are taken for lost when their leases run out (see [`rescue`](super::rescue)).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tracing::{info, warn};

use super::lease::{Lease, Rendered, Row};
use super::recall::Memory;
use super::result::Finished;
use super::send::Shared;
use super::stage::{Armed, Claimed, RetryRules};
use crate::db::{Argument, DbError, Row as DatabaseRow, field, statement};
use crate::journal::{self, Key, Leftover};
use crate::message::kind::Kind;
use crate::message::outcome::Outcome;

/// Looks through the journals below one state directory.
pub struct Recovery {
    /// The daemon's parts.
    pub shared: Arc<Shared>,
    /// Where journals are.
    pub state_directory: PathBuf,
    /// The database that this daemon works for.
    pub database: String,
}

/// How many rows went which way.
#[derive(Debug, Default)]
struct Tally {
    answered: usize,
    never_written: usize,
    in_doubt: usize,
}

impl Recovery {
    /// Remembers what the journals say was sent, before anything is claimed: should the database have forgotten (a standby that was
    /// promoted lacks its last moments), these messages are not sent again. And tells the database which daemons are dead, so
    /// that nobody leaves a share of the providers' limits to them.
    pub async fn remember(&self) {
        let Ok(leftovers) = journal::leftovers(&self.state_directory, &self.database) else { return };
        for owner in leftovers.iter().filter_map(Leftover::owner) {
            let dead: [Argument<'_>; 2] = [("owner", &owner), ("floor", &None::<i64>)];
            if let Err(error) = self.shared.database.query(&statement::LEAVE, &dead).await {
                info!(owner, error = %error, "the database could not be told that this daemon is dead; it will notice");
            }
        }
        for log in leftovers.iter().map(|leftover| &leftover.log) {
            for begun in log.begun.values() {
                let outcome = log.answered.get(&begun.key).map(|answered| &answered.outcome);
                if let Some(memory) = Memory::of(outcome, &begun.provider, begun.attempt) {
                    self.shared.recall.remember(begun.key.id, begun.created_us, begun.attempt, memory);
                }
            }
        }
    }

    /// Recovers what there is, and removes the journals that have nothing more to tell. True when messages came to be in doubt.
    ///
    /// # Errors
    /// [`DbError`]: it is tried again at the next turn. A directory that cannot be read is only said.
    pub async fn run(&self) -> Result<bool, DbError> {
        // Results handed over now would wait behind those that cannot be written, and be handed over again.
        if self.shared.settler.blocked() {
            return Ok(false);
        }
        let leftovers = match journal::leftovers(&self.state_directory, &self.database) {
            Ok(leftovers) => leftovers,
            Err(error) => {
                warn!(error = %error, "the journals of earlier runs cannot be looked for");
                return Ok(false);
            }
        };
        let mut doubts = false;
        for leftover in leftovers {
            doubts |= self.recover(leftover).await?;
        }
        Ok(doubts)
    }

    async fn recover(&self, leftover: Leftover) -> Result<bool, DbError> {
        let Some(owner) = leftover.owner() else {
            // It died before it wrote its head, so before any claim.
            remove(leftover);
            return Ok(false);
        };
        let rows = self.shared.database.query(&statement::LEFTOVER, &[("owner", &owner)]).await?;
        let mut tally = Tally::default();
        let mut held = false;
        for row in &rows {
            held |= field::<&str>(row, "state")? == "sending";
            if let Some(finished) = judge(row, &leftover, &mut tally)? {
                self.shared.settler.record(finished).await;
            }
        }
        if tally.answered + tally.never_written + tally.in_doubt > 0 {
            warn!(
                owner,
                answered = tally.answered,
                never_written = tally.never_written,
                in_doubt = tally.in_doubt,
                "an earlier run of the daemon died while sending; its journal says what became of its messages"
            );
        }
        if !held {
            remove(leftover);
        }
        Ok(tally.in_doubt > 0)
    }
}

fn remove(leftover: Leftover) {
    let owner = leftover.owner();
    match leftover.remove() {
        Ok(()) => info!(owner, "the journal of an earlier run has been dealt with"),
        Err(error) => warn!(owner, error = %error, "the journal of an earlier run cannot be removed"),
    }
}

/// What the journal says of one row; none when it knows no more than the database.
fn judge(row: &DatabaseRow, leftover: &Leftover, tally: &mut Tally) -> Result<Option<Finished>, DbError> {
    let id: i64 = field(row, "id")?;
    let Some(token) = field::<Option<i64>>(row, "lease_token")? else { return Ok(None) };
    let kind: &str = field(row, "kind")?;
    let kind: Kind = kind.parse().map_err(|_| DbError::Unexpected(format!("message {id} has kind {kind}")))?;
    let created_at: Timestamp = field(row, "created_at")?;
    let sending = field::<&str>(row, "state")? == "sending";
    let lease = Lease { id, token, attempt: field(row, "attempt")?, ends: Instant::now(), segment: None };
    let claimed_row = Row {
        kind,
        source_id: None,
        recipient: None,
        body: None,
        lang: None,
        by_hand: false,
        released: false,
        source_at: None,
        joined: Vec::new(),
        joining: false,
        failures: field(row, "failures")?,
        observed: None,
        age: Duration::ZERO,
        created_at,
        doubt: field(row, "doubt")?,
        doubt_provider: field(row, "doubt_provider")?,
    };
    let key = Key { id, token };
    let log = &leftover.log;
    // The same id and token with another time of creation is another message: the database was restored in between.
    let begun = log.begun.get(&key).filter(|begun| begun.created_us == created_at.as_microsecond());
    let unanswered = Outcome::Unknown { detail: "the daemon was killed while the request was under way".to_owned() };
    // A failure of the dead daemon's provider says nothing about the message: it does not count against it.
    let rules = RetryRules {
        first: Duration::from_secs(1),
        longest: Duration::from_secs(60),
        max_failures: i32::MAX,
        first_look: Duration::ZERO,
    };
    Ok(match begun {
        Some(begun) => {
            let outcome = match log.answered.get(&key) {
                Some(answered) => answered.outcome.clone(),
                // It stands in the database as in doubt already.
                None if !sending => return Ok(None),
                None => unanswered,
            };
            if matches!(outcome, Outcome::Unknown { .. }) {
                tally.in_doubt += 1;
            } else {
                tally.answered += 1;
            }
            let segments = i32::try_from(begun.segments).ok();
            let mut rendered =
                Rendered::recorded(begun.recipient.clone(), begun.body.clone(), Some(&begun.encoding), segments);
            rendered.lang.clone_from(&begun.lang);
            Some(Armed::recovered(lease, claimed_row, rendered).answered(outcome, &begun.provider, true, &rules))
        }
        None if field(row, "journaled")? && log.is_exhaustive() => {
            tally.never_written += 1;
            Some(Claimed { lease, row: claimed_row }.never_written())
        }
        None if sending => {
            tally.in_doubt += 1;
            Some(Claimed { lease, row: claimed_row }.lost())
        }
        None => None,
    })
}
