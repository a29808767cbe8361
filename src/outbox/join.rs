//! Tells several completed services of one customer in one text, where the setting `service_completed.join` says so.
//!
//! A completed service waits that long for others ([`policy`](crate::message::policy)). When the first of a customer is about to go out, the
//! database ties the others to it in one statement: they are settled as `joined`, and the message carries their services from then on,
//! so that a kill at any moment neither forgets one nor tells it twice. Only messages that would be sent are joined, each way.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use jiff::Timestamp;
use tracing::{info, warn};

use super::ledger::Ledger;
use super::prepare::{Informed, Preparer};
use super::settings::Settings;
use crate::db::{DbError, field, statement};
use crate::garage::facts;
use crate::message::facts::Facts;
use crate::message::kind::Kind;
use crate::message::policy::Decision;

/// Joins what can be joined; returns the messages that are left to send. When the database cannot be asked they go out one by one.
pub(super) async fn join(
    preparer: &Preparer,
    ledger: &Ledger,
    rows: Vec<Informed>,
    settings: &Settings,
    now: Timestamp,
) -> Vec<Informed> {
    let rows = with_joined(preparer, rows).await;
    if settings.rules.join.is_zero() || !rows.iter().any(may_join) {
        return rows;
    }
    let waiting = match waiting(preparer, settings).await {
        Ok(waiting) => waiting,
        Err(error) => {
            warn!(error = %error, "which services could be told together cannot be read; each is told alone");
            return rows;
        }
    };
    let mut left: Vec<Informed> = Vec::with_capacity(rows.len());
    // Where in `left` the message of a number is.
    let mut heads: HashMap<String, usize> = HashMap::new();
    let mut others: HashMap<String, Vec<(i64, Facts, Option<Informed>)>> = HashMap::new();
    for informed in rows {
        let number = preparer.number(&informed).ok().map(|number| number.number.as_str().to_owned());
        let sends = may_join(&informed) && preparer.decide(&informed, settings, now) == Decision::Send;
        match (number, informed.facts().cloned()) {
            (Some(number), Some(facts)) if sends => {
                if let Entry::Vacant(head) = heads.entry(number.clone()) {
                    head.insert(left.len());
                    left.push(informed);
                } else {
                    let id = informed.claimed().lease.id;
                    others.entry(number).or_default().push((id, facts, Some(informed)));
                }
            }
            _ => left.push(informed),
        }
    }
    for (id, facts) in waiting {
        if facts.state == "completed"
            && let Ok(number) = preparer.number_of(&facts)
            && heads.contains_key(number.number.as_str())
        {
            others.entry(number.number.as_str().to_owned()).or_default().push((id, facts, None));
        }
    }
    for (number, others) in others {
        let Some(head) = heads.get(&number).and_then(|head| left.get(*head)) else { continue };
        let (id, token) = (head.claimed().lease.id, head.claimed().lease.token);
        let ids: Vec<i64> = others.iter().map(|(id, _, _)| *id).collect();
        let arguments: [crate::db::Argument<'_>; 3] = [("id", &id), ("token", &token), ("others", &ids)];
        let taken: Result<Vec<i64>, DbError> = match preparer.database.query(&statement::JOIN, &arguments).await {
            Ok(rows) => rows.iter().map(|row| field(row, "id")).collect(),
            Err(error) => Err(error),
        };
        let taken = taken.unwrap_or_else(|error| {
            warn!(error = %error, msg.id = id, "services could not be told together; each is told alone");
            Vec::new()
        });
        let mut told = Vec::new();
        for (other, facts, claimed) in others {
            if taken.contains(&other) {
                info!(msg.id = other, joined = id, "message joined: it is told together with {id}");
                told.push(facts);
                if claimed.is_some() {
                    ledger.settled(token);
                }
            } else if let Some(informed) = claimed {
                left.push(informed);
            }
        }
        if let Some(head) = heads.get(&number).and_then(|head| left.get_mut(*head)) {
            head.tell(told);
        }
    }
    left
}

/// Events alone: what a person asks for is told as asked.
fn may_join(informed: &Informed) -> bool {
    let row = &informed.claimed().row;
    row.kind == Kind::ServiceCompleted && !row.by_hand && row.doubt.is_none()
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

/// Services that wait for others, with their facts.
async fn waiting(preparer: &Preparer, settings: &Settings) -> Result<Vec<(i64, Facts)>, DbError> {
    let within_ms = i64::try_from(settings.rules.join.as_millis()).unwrap_or(i64::MAX / 2);
    let rows = preparer.database.query(&statement::JOINING, &[("within_ms", &within_ms)]).await?;
    let found = rows
        .iter()
        .map(|row| Ok((field(row, "id")?, field(row, "source_id")?)))
        .collect::<Result<Vec<(i64, i64)>, DbError>>()?;
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let sources: Vec<(Kind, i64)> = found.iter().map(|(_, source)| (Kind::ServiceCompleted, *source)).collect();
    let facts = facts::read(&preparer.database, &sources).await?;
    Ok(found.into_iter().zip(facts).filter_map(|((id, _), facts)| Some((id, facts?))).collect())
}
