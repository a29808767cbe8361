//! The record of messages that were sent to try a provider: they cost money and reach people, so they stand in the history as all others.

use std::time::Duration;

use super::staff::StaffError;
use crate::db::{Database, field, statement};
use crate::message::outcome::Outcome;
use crate::provider::outgoing::Outgoing;

/// A message that was sent to try a provider.
#[derive(Debug)]
pub struct Record<'a> {
    /// What was sent.
    pub outgoing: &'a Outgoing,
    /// What came of it.
    pub outcome: &'a Outcome,
    /// By whom it was carried.
    pub provider: &'a str,
    /// Who asked for it.
    pub by: &'a str,
    /// When the provider is to be asked for its receipt; zero: it tells by itself; `None`: it does not tell.
    pub awaits: Option<Duration>,
}

/// Enters it into the history; returns its number.
///
/// # Errors
/// [`StaffError`].
pub async fn record(database: &Database, record: &Record<'_>) -> Result<i64, StaffError> {
    let Record { outgoing, outcome, provider, by, awaits } = record;
    let (status, id) = match outcome {
        Outcome::Accepted { provider_message_id, .. } => ("sent", provider_message_id.as_deref()),
        Outcome::Unknown { .. } => ("unknown", None),
        Outcome::Rejected { .. }
        | Outcome::Throttled { .. }
        | Outcome::TemporaryFailure { .. }
        | Outcome::Misconfigured { .. }
        | Outcome::NoCredit { .. } => ("failed", None),
    };
    let detail = Some(outcome.detail()).filter(|detail| !detail.is_empty());
    let segments = i32::try_from(outgoing.segments).unwrap_or(i32::MAX);
    let awaits_s = awaits.map(|wait| i32::try_from(wait.as_secs()).unwrap_or(i32::MAX));
    let row = database
        .query_one(
            &statement::TRIAL,
            &[
                ("recipient", &outgoing.recipient),
                ("body", &outgoing.text),
                ("encoding", &outgoing.encoding.as_str()),
                ("segments", &segments),
                ("provider", provider),
                ("provider_message_id", &id),
                ("status", &status),
                ("detail", &detail),
                ("requested_by", by),
                ("awaits_s", &awaits_s),
            ],
        )
        .await?;
    Ok(field(&row, "id")?)
}
