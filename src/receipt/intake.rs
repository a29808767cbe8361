//! The one way of receipts and replies into the database.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tracing::{debug, info};

use crate::db::{Database, DbError, field, statement};
use crate::provider::receipt::{DeliveryStatus, Receipt, Reply};

/// How long after a receipt that fitted no message its message is looked for every second: an answer comes long before.
const EAGER_FOR: Duration = Duration::from_secs(300);

/// Enters what comes.
pub struct Intake {
    database: Database,
    /// When the last receipt came that fitted no message.
    orphaned: Mutex<Option<Instant>>,
}

impl Intake {
    /// Into this database.
    pub fn new(database: Database) -> Self {
        Self { database, orphaned: Mutex::new(None) }
    }

    /// Enters receipts of one provider.
    ///
    /// # Errors
    /// [`DbError`]: none of them is entered.
    pub async fn receipts(&self, provider: &str, receipts: &[Receipt]) -> Result<(), DbError> {
        if receipts.is_empty() {
            return Ok(());
        }
        let ids: Vec<&str> = receipts.iter().map(|receipt| receipt.provider_message_id.as_str()).collect();
        let statuses: Vec<&str> = receipts.iter().map(|receipt| receipt.status.as_str()).collect();
        let references: Vec<Option<&str>> = receipts.iter().map(|receipt| receipt.reference.as_deref()).collect();
        let times: Vec<Option<Timestamp>> = receipts.iter().map(|receipt| receipt.at).collect();
        let words: Vec<&str> = receipts.iter().map(|receipt| receipt.words.as_str()).collect();
        let row = self
            .database
            .query_one(
                &statement::RECEIPTS,
                &[
                    ("provider", &provider),
                    ("ids", &ids),
                    ("statuses", &statuses),
                    ("references", &references),
                    ("reported_at", &times),
                    ("raws", &words),
                ],
            )
            .await?;
        let orphans: i64 = field(&row, "orphans")?;
        if orphans > 0 {
            *self.orphaned.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
        let delivered = receipts.iter().filter(|receipt| receipt.status == DeliveryStatus::Delivered).count();
        debug!(provider, receipts = receipts.len(), delivered, orphans, "receipts entered");
        Ok(())
    }

    /// Enters what a customer sent back.
    ///
    /// # Errors
    /// [`DbError`]; a number that is none is one that the database refuses.
    pub async fn reply(&self, provider: &str, reply: &Reply) -> Result<(), DbError> {
        let arguments: [crate::db::Argument<'_>; 3] =
            [("phone", &reply.from), ("body", &reply.text), ("provider", &provider)];
        let row = self.database.query_one(&statement::REPLY, &arguments).await?;
        if let Some(doing) = field::<Option<String>>(&row, "doing")? {
            info!(provider, doing, "a customer replied: {doing}");
        }
        Ok(())
    }

    /// Whether a receipt came a short while ago whose message was not known.
    pub(super) fn is_eager(&self, now: Instant) -> bool {
        let orphaned = *self.orphaned.lock().unwrap_or_else(PoisonError::into_inner);
        orphaned.is_some_and(|at| now.saturating_duration_since(at) < EAGER_FOR)
    }

    /// Receipts that came before the answer find their messages.
    ///
    /// # Errors
    /// [`DbError`].
    pub(super) async fn match_early(&self) -> Result<(), DbError> {
        let matched: i64 = field(&self.database.query_one(&statement::MATCH, &[]).await?, "matched")?;
        if matched > 0 {
            debug!(matched, "receipts that came before the answer have found their messages");
        }
        Ok(())
    }

    /// Of which messages nobody tells any more.
    ///
    /// # Errors
    /// [`DbError`].
    pub(super) async fn forget(&self) -> Result<(), DbError> {
        let messages: i64 = field(&self.database.query_one(&statement::FORGET, &[]).await?, "messages")?;
        if messages > 0 {
            info!(messages, "nobody told within three days whether these messages arrived; they stay as sent");
        }
        Ok(())
    }
}
