//! Reads the facts of a batch of messages in one call.
//!
//! A lock on the garage's tables (their weekly VACUUM FULL) fails the call within a moment, as [`DbError::Busy`]; the
//! messages are then looked at again later, while those that need no facts go on.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::db::{Database, DbError, Json, field, statement};
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
    rows.iter()
        .map(|row| {
            if !field::<bool>(row, "found")? {
                return Ok(None);
            }
            let Json(values) = field::<Json<BTreeMap<String, Option<String>>>>(row, "facts")?;
            Ok(Some(Facts {
                phone: field::<Option<String>>(row, "phone")?.unwrap_or_default(),
                state: field::<Option<String>>(row, "state")?.unwrap_or_default(),
                at: field::<Option<Timestamp>>(row, "at")?,
                amount: field(row, "amount")?,
                values: values.into_iter().filter_map(|(name, value)| Some((name, value?))).collect(),
            }))
        })
        .collect()
}
