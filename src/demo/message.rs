//! A message as the demo looks at it: through the view `sms_message`, as staff do.

use anyhow::{Context as _, Result};

use crate::db::script::Session;

/// Messages read at once, newest first: more than a day at the demo's garage has.
const READ_LIMIT: usize = 500;

/// One row of `sms_message`.
#[derive(Debug, Clone)]
pub struct Message {
    /// Its id.
    pub id: i64,
    /// Number in E.164 form, once known.
    pub recipient: Option<String>,
    /// The text, once rendered.
    pub body: Option<String>,
    /// The status word.
    pub status: String,
    /// One word why.
    pub reason: Option<String>,
    /// A sentence why.
    pub detail: Option<String>,
    /// Segments charged; 0 while unknown.
    pub segments: u64,
    /// Requests made.
    pub attempts: u32,
    /// The gateway's id.
    pub provider_message_id: Option<String>,
    /// When the event was recorded, in microseconds since 1970.
    pub created_at_us: i64,
}

impl Message {
    /// Whether the daemon is through with it; staff may still act.
    pub fn is_settled(&self) -> bool {
        !matches!(self.status.as_str(), "queued" | "sending")
    }

    /// Whether the gateway took it.
    pub fn was_sent(&self) -> bool {
        matches!(self.status.as_str(), "sent" | "delivered" | "undelivered")
    }
}

/// Messages with an id above `after`, oldest first; the newest ones when there are too many.
///
/// # Errors
/// The database's, or an answer that the view would not give.
pub async fn after(session: &Session, after: i64) -> Result<Vec<Message>> {
    let sql = format!(
        "SELECT id, recipient, body, status, reason, detail, coalesce(segments, 0), attempts, provider_message_id, \
         (extract(epoch FROM created_at) * 1000000)::bigint FROM sms_message WHERE id > {after} ORDER BY id DESC LIMIT {READ_LIMIT}"
    );
    let rows = session.texts(&sql).await.context("reading sms_message")?;
    rows.into_iter().rev().map(read).collect()
}

fn read(row: Vec<Option<String>>) -> Result<Message> {
    let [id, recipient, body, status, reason, detail, segments, attempts, provider_message_id, created_at_us] =
        <[Option<String>; 10]>::try_from(row).ok().context("sms_message has other columns than expected")?;
    let number = |text: Option<String>| text.context("sms_message: a number is missing");
    Ok(Message {
        id: number(id)?.parse()?,
        recipient,
        body,
        status: status.context("sms_message: a status is missing")?,
        reason,
        detail,
        segments: number(segments)?.parse()?,
        attempts: number(attempts)?.parse()?,
        provider_message_id,
        created_at_us: number(created_at_us)?.parse()?,
    })
}
