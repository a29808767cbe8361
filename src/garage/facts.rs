//! Reads the facts of a batch of messages in one call.
//!
//! A lock on the garage's tables (their weekly VACUUM FULL) fails the call within a moment, as [`DbError::Busy`]; the
//! messages are then looked at again later, while those that need no facts go on.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::db::{Database, DbError, Fields, Json, statement};
use crate::message::facts::Facts;
use crate::message::kind::Kind;

/// The facts of each `(kind, source id)`, in the order asked; `None` where the source is gone.
///
/// # Errors
/// [`DbError`]; nothing is known about any of them then.
pub async fn read(database: &Database, sources: &[(Kind, i64)]) -> Result<Vec<Option<Facts>>, DbError> {
    let kinds: Vec<&str> = sources.iter().map(|(kind, _)| kind.as_str()).collect();
    let ids: Vec<i64> = sources.iter().map(|(_, id)| *id).collect();
    let rows = database.query(&statement::FACTS, &[("kinds", &kinds), ("source_ids", &ids)]).await?;
    if rows.len() != sources.len() {
        return Err(DbError::Unexpected(format!("facts of {} sources were asked, {} came", sources.len(), rows.len())));
    }
    let mut facts: Vec<Option<Facts>> = sources.iter().map(|_| None).collect();
    let mut answered = vec![false; sources.len()];
    for row in &rows {
        let mut fields = Fields::of(row);
        let ord: i32 = fields.read("ord")?;
        let place =
            usize::try_from(ord).ok().and_then(|ord| ord.checked_sub(1)).filter(|at| answered.get(*at) == Some(&false));
        let Some(at) = place else {
            return Err(DbError::Unexpected(format!("source {ord} of {} was answered", sources.len())));
        };
        answered[at] = true;
        if fields.read("found")? {
            facts[at] = Some(read_one(&mut fields)?);
        }
    }
    Ok(facts)
}

/// In the order of the statement's columns.
fn read_one(fields: &mut Fields<'_>) -> Result<Facts, DbError> {
    let phone = fields.read::<Option<String>>("phone")?.unwrap_or_default();
    let state = fields.read::<Option<String>>("state")?.unwrap_or_default();
    let at = fields.read::<Option<Timestamp>>("at")?;
    let amount = fields.read("amount")?;
    let Json(values) = fields.read::<Json<BTreeMap<String, Option<String>>>>("facts")?;
    let values = values.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    Ok(Facts { phone, state, at, amount, values })
}
