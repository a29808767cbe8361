//! Tells several completed services of one customer in one text, where the setting `service_completed.join` says so.
//!
//! A completed service waits that long for others ([`policy`](crate::message::policy)). When the first of a customer is about to go out, the
//! database ties the others to it in one statement: they are settled as `joined`, and the message carries their services from then on,
//! so that a kill at any moment neither forgets one nor tells it twice. Only messages that would be sent are joined, each way.
//!
//! Two of one customer may be about to go out in the same moment, in two claims or two daemons. A message that has waited for others therefore
//! says in the database that it goes out now, one at a time for each customer (`sms_join`), and until it has said so another may
//! take it along: the first to speak tells both, and the other learns that it was taken. One that is just being claimed is locked, and waited for.

use std::collections::HashMap;

use jiff::Timestamp;
use tracing::{info, warn};

use super::ledger::Ledger;
use super::prepare::{Informed, Preparer, unavailable};
use super::result::Finished;
use super::settings::Settings;
use crate::db::{Database, DbError, field, statement};
use crate::garage::facts;
use crate::message::facts::Facts;
use crate::message::kind::Kind;
use crate::message::policy::Decision;

/// Joins what can be joined. Returns the messages that are left to send, and those that go back because the database could not be
/// asked: without its word they might be told twice.
pub(super) async fn join(
    preparer: &Preparer,
    ledger: &Ledger,
    rows: Vec<Informed>,
    settings: &Settings,
    now: Timestamp,
) -> (Vec<Informed>, Vec<Finished>) {
    let mut alone = Vec::new();
    let mut customers: HashMap<String, Vec<Informed>> = HashMap::new();
    for informed in with_joined(preparer, rows).await {
        let number = may_join(&informed, settings).then(|| preparer.number(&informed));
        match number {
            Some(Ok(number)) if preparer.decide(&informed, settings, now) == Decision::Send => {
                customers.entry(number.number.as_str().to_owned()).or_default().push(informed);
            }
            _ => alone.push(informed),
        }
    }
    let Some(token) = customers.values().flatten().next().map(|informed| informed.claimed().lease.token) else {
        return (alone, Vec::new());
    };
    let mut waiting = waiting(preparer, settings, token).await.unwrap_or_else(|error| {
        warn!(error = %error, "which services could be told together cannot be read; those that still wait are told later");
        HashMap::new()
    });
    let (mut left, mut finished) = (Vec::new(), Vec::new());
    for (customer, claimed) in customers {
        let mut others: Vec<Other> = claimed.into_iter().map(|informed| Other::Claimed(Box::new(informed))).collect();
        others.extend(waiting.remove(&customer).unwrap_or_default());
        while let Some(first) = others.iter().position(|other| matches!(other, Other::Claimed(_))) {
            let Other::Claimed(mut head) = others.remove(first) else { break };
            let id = head.claimed().lease.id;
            match tie(&preparer.database, id, token, &customer, &others).await {
                Ok(Some(taken)) => {
                    for other in others.extract_if(.., |other| taken.contains(&other.id())) {
                        info!(msg.id = other.id(), joined = id, "message joined: it is told together with {id}");
                        if matches!(other, Other::Claimed(_)) {
                            ledger.settled(token);
                        }
                        head.tell(other.into_facts());
                    }
                    left.push(*head);
                }
                // Told together with one of another claim, which says so.
                Ok(None) => ledger.settled(token),
                Err(error) => {
                    warn!(error = %error, msg.id = id, "whether a service is told together with others cannot be said; it waits");
                    finished.push(unavailable(head.into_claimed(), &error));
                }
            }
        }
    }
    left.append(&mut alone);
    (left, finished)
}

/// A service that may be told in the text of another.
enum Other {
    /// Of the same claim.
    Claimed(Box<Informed>),
    /// It waits, or is looked at by another claim.
    Waiting(i64, Facts),
}

impl Other {
    fn id(&self) -> i64 {
        match self {
            Self::Claimed(informed) => informed.claimed().lease.id,
            Self::Waiting(id, _) => *id,
        }
    }

    fn into_facts(self) -> Option<Facts> {
        match self {
            Self::Claimed(informed) => informed.into_facts(),
            Self::Waiting(_, facts) => Some(facts),
        }
    }
}

/// Which of the others the message `id` tells as well; `None`: it was itself taken along by one of another claim.
async fn tie(
    database: &Database,
    id: i64,
    token: i64,
    customer: &str,
    others: &[Other],
) -> Result<Option<Vec<i64>>, DbError> {
    let others: Vec<i64> = others.iter().map(Other::id).collect();
    let arguments: [crate::db::Argument<'_>; 4] =
        [("id", &id), ("token", &token), ("customer", &customer), ("others", &others)];
    field(&database.query_one(&statement::JOIN, &arguments).await?, "taken")
}

/// Events alone: what a person asks for is told as asked. One that has waited for others is asked about also when the setting was switched off
/// meanwhile: a claim that does not know of that may be about to take it.
fn may_join(informed: &Informed, settings: &Settings) -> bool {
    let row = &informed.claimed().row;
    row.kind == Kind::ServiceCompleted
        && !row.by_hand
        && row.doubt.is_none()
        && informed.facts().is_some()
        && (row.joining || !settings.rules.join.is_zero())
}

/// Messages that were joined to others before, by a claim that came to nothing, still tell them.
async fn with_joined(preparer: &Preparer, mut rows: Vec<Informed>) -> Vec<Informed> {
    for informed in &mut rows {
        let sources: Vec<(Kind, i64)> =
            informed.claimed().row.joined.iter().map(|id| (Kind::ServiceCompleted, *id)).collect();
        if sources.is_empty() {
            continue;
        }
        match facts::read(&preparer.database, &sources).await {
            Ok(facts) => informed.tell(facts.into_iter().flatten().filter(|facts| facts.state == "completed")),
            Err(error) => warn!(error = %error, "the services that a message also tells of cannot be read"),
        }
    }
    rows
}

/// Services that wait for others, by customer.
async fn waiting(preparer: &Preparer, settings: &Settings, token: i64) -> Result<HashMap<String, Vec<Other>>, DbError> {
    let within_ms = i64::try_from(settings.rules.join.as_millis()).unwrap_or(i64::MAX / 2);
    let arguments: [crate::db::Argument<'_>; 2] = [("within_ms", &within_ms), ("token", &token)];
    let rows = preparer.database.query(&statement::JOINING, &arguments).await?;
    let found = rows
        .iter()
        .map(|row| Ok((field(row, "id")?, field(row, "source_id")?)))
        .collect::<Result<Vec<(i64, i64)>, DbError>>()?;
    let mut waiting: HashMap<String, Vec<Other>> = HashMap::new();
    if found.is_empty() {
        return Ok(waiting);
    }
    let sources: Vec<(Kind, i64)> = found.iter().map(|(_, source)| (Kind::ServiceCompleted, *source)).collect();
    let facts = facts::read(&preparer.database, &sources).await?;
    for ((id, _), facts) in found.into_iter().zip(facts) {
        if let Some(facts) = facts
            && facts.state == "completed"
            && let Ok(number) = preparer.number_of(&facts)
        {
            waiting.entry(number.number.as_str().to_owned()).or_default().push(Other::Waiting(id, facts));
        }
    }
    Ok(waiting)
}
