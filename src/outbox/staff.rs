//! What staff ask of the outbox: look, send, again, not at all, let go. One function a question; the database decides
//! what is allowed, so that plain SQL, the socket and the command line cannot differ.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::db::{Database, DbError, Row, field, statement};
use crate::message::kind::Kind;

/// Messages listed at most.
pub const LIST_LIMIT: i64 = 1_000;

/// The words of `sms_message.status`.
pub const STATUSES: [&str; 11] = [
    "queued",
    "sending",
    "sent",
    "delivered",
    "undelivered",
    "failed",
    "skipped",
    "cancelled",
    "expired",
    "held",
    "unknown",
];

/// SQLSTATE of "there is no such message".
const NO_DATA_FOUND: &str = "P0002";

/// SQLSTATE of "its state does not allow this".
const NOT_IN_PREREQUISITE_STATE: &str = "55000";

/// Class of SQLSTATE of "this value is refused": data exceptions and integrity violations.
const BAD_VALUE_CLASSES: [&str; 2] = ["22", "23"];

/// Why a question was not answered, sorted by what the asker can do.
#[derive(Debug, thiserror::Error)]
pub enum StaffError {
    /// There is no such message, setting or source.
    #[error("{0}")]
    NotFound(String),
    /// Its state does not allow it.
    #[error("{0}")]
    Conflict(String),
    /// A value is refused.
    #[error("{0}")]
    Refused(String),
    /// The database cannot be asked.
    #[error(transparent)]
    Database(DbError),
}

impl From<DbError> for StaffError {
    fn from(error: DbError) -> Self {
        let shown = error.to_string().trim_start_matches("ecar-sms: ").to_owned();
        match error.code() {
            Some(NO_DATA_FOUND) => Self::NotFound(shown),
            Some(NOT_IN_PREREQUISITE_STATE) => Self::Conflict(shown),
            Some(code) if BAD_VALUE_CLASSES.iter().any(|class| code.starts_with(class)) => Self::Refused(shown),
            _ => Self::Database(error),
        }
    }
}

/// One message, as `sms_message` shows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields are those of the view, documented there")]
pub struct Message {
    pub id: i64,
    pub kind: String,
    pub source_id: Option<i64>,
    pub recipient: Option<String>,
    pub lang: Option<String>,
    pub body: Option<String>,
    pub status: String,
    pub reason: Option<String>,
    pub encoding: Option<String>,
    pub segments: Option<i32>,
    pub provider: Option<String>,
    pub provider_message_id: Option<String>,
    pub attempts: i32,
    pub requested_by: Option<String>,
    pub resend_of: Option<i64>,
    pub created_at: Timestamp,
    pub not_before: Option<Timestamp>,
    pub sent_at: Option<Timestamp>,
    pub delivered_at: Option<Timestamp>,
    pub detail: Option<String>,
    pub next_at: Option<Timestamp>,
    pub settled_at: Option<Timestamp>,
    #[serde(default)]
    pub template_version: Option<i32>,
    /// The why: every decision, attempt and receipt, in order. Only where one message was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub story: Vec<Step>,
}

/// One step of a message's story.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Step {
    /// When.
    pub at: Timestamp,
    /// What happened.
    pub what: String,
    /// The why in a sentence.
    pub detail: Option<String>,
    /// Who asked.
    pub by: Option<String>,
}

impl Message {
    fn read(row: &Row) -> Result<Self, DbError> {
        Ok(Self {
            id: field(row, "id")?,
            kind: field(row, "kind")?,
            source_id: field(row, "source_id")?,
            recipient: field(row, "recipient")?,
            lang: field(row, "lang")?,
            body: field(row, "body")?,
            status: field(row, "status")?,
            reason: field(row, "reason")?,
            encoding: field(row, "encoding")?,
            segments: field(row, "segments")?,
            provider: field(row, "provider")?,
            provider_message_id: field(row, "provider_message_id")?,
            attempts: field(row, "attempts")?,
            requested_by: field(row, "requested_by")?,
            resend_of: field(row, "resend_of")?,
            created_at: field(row, "created_at")?,
            not_before: field(row, "not_before")?,
            sent_at: field(row, "sent_at")?,
            delivered_at: field(row, "delivered_at")?,
            detail: field(row, "detail")?,
            next_at: field(row, "next_at")?,
            settled_at: field(row, "settled_at")?,
            template_version: field(row, "template_version")?,
            story: Vec::new(),
        })
    }

    /// Whether nothing more will happen to it by itself: settled, or waiting for somebody.
    pub fn is_at_rest(&self) -> bool {
        !matches!(self.status.as_str(), "queued" | "sending")
    }
}

/// Which messages to list.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// A status word.
    pub status: Option<String>,
    /// Spellings of one number: in E.164, and as it was written, for messages whose number is not normalised yet.
    pub phones: Option<Vec<String>>,
    /// A kind.
    pub kind: Option<String>,
    /// Created within this time.
    pub since: Option<Duration>,
    /// With an id below this.
    pub before: Option<i64>,
    /// At most this many; capped at [`LIST_LIMIT`].
    pub limit: i64,
}

/// Messages, newest first.
///
/// # Errors
/// [`StaffError::Database`].
pub async fn list(database: &Database, filter: &Filter) -> Result<Vec<Message>, StaffError> {
    let since = filter.since.and_then(|age| Timestamp::now().checked_sub(age).ok());
    let limit = filter.limit.clamp(1, LIST_LIMIT);
    let rows = database
        .query(
            &statement::LIST,
            &[
                ("status", &filter.status),
                ("phones", &filter.phones),
                ("kind", &filter.kind),
                ("since", &since),
                ("before", &filter.before),
                ("at_most", &limit),
            ],
        )
        .await?;
    Ok(rows.iter().map(Message::read).collect::<Result<_, _>>()?)
}

/// One message, without its story.
///
/// # Errors
/// [`StaffError::NotFound`], [`StaffError::Database`].
pub async fn show(database: &Database, id: i64) -> Result<Message, StaffError> {
    match database.query_opt(&statement::SHOW, &[("id", &id)]).await? {
        Some(row) => Ok(Message::read(&row)?),
        None => Err(StaffError::NotFound(format!("there is no message {id}"))),
    }
}

/// One message with its story.
///
/// # Errors
/// [`StaffError::NotFound`], [`StaffError::Database`].
pub async fn show_with_story(database: &Database, id: i64) -> Result<Message, StaffError> {
    let mut message = show(database, id).await?;
    let rows = database.query(&statement::STORY, &[("id", &id)]).await?;
    message.story = rows
        .iter()
        .map(|row| {
            Ok(Step {
                at: field(row, "at")?,
                what: field(row, "what")?,
                detail: field::<Option<String>>(row, "detail")?.filter(|detail| !detail.is_empty()),
                by: field(row, "by")?,
            })
        })
        .collect::<Result<_, DbError>>()?;
    Ok(message)
}

/// A message asked for by hand.
#[derive(Debug, Clone)]
pub struct Request {
    /// What it is about.
    pub kind: Kind,
    /// The service or invoice.
    pub source_id: Option<i64>,
    /// The number, for a free text.
    pub recipient: Option<String>,
    /// The text, for a free text.
    pub body: Option<String>,
    /// The language.
    pub lang: Option<String>,
    /// Not before this time.
    pub not_before: Option<Timestamp>,
}

/// Enqueues; returns the new id.
///
/// # Errors
/// [`StaffError::Refused`] when the row is not a message, [`StaffError::Database`].
pub async fn enqueue(database: &Database, request: &Request, by: &str) -> Result<i64, StaffError> {
    let row = database
        .query_one(
            &statement::ENQUEUE,
            &[
                ("kind", &request.kind.as_str()),
                ("source_id", &request.source_id),
                ("recipient", &request.recipient),
                ("body", &request.body),
                ("lang", &request.lang),
                ("not_before", &request.not_before),
                ("by", &by),
            ],
        )
        .await?;
    Ok(field(&row, "id")?)
}

/// Whether the garage has this source.
///
/// # Errors
/// [`StaffError::Database`].
pub async fn source_exists(database: &Database, kind: Kind, source_id: i64) -> Result<bool, StaffError> {
    let row = database.query_one(&statement::EXISTS, &[("kind", &kind.as_str()), ("source_id", &source_id)]).await?;
    Ok(field(&row, "found")?)
}

/// What can be asked for one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// A new message like it.
    Resend,
    /// Not at all.
    Cancel,
    /// Let it go.
    Release,
}

/// Acts; returns the id of the message to look at (the new one, for a resend).
///
/// # Errors
/// [`StaffError::NotFound`], [`StaffError::Conflict`], [`StaffError::Database`].
pub async fn act(database: &Database, action: Action, id: i64, by: &str) -> Result<i64, StaffError> {
    let statement = match action {
        Action::Resend => &statement::RESEND,
        Action::Cancel => &statement::CANCEL,
        Action::Release => &statement::RELEASE,
    };
    let row = database.query_one(statement, &[("id", &id), ("by", &by)]).await?;
    Ok(field(&row, "id")?)
}

/// Changes a setting; returns the value as stored.
///
/// # Errors
/// [`StaffError::NotFound`], [`StaffError::Refused`], [`StaffError::Database`].
pub async fn set(database: &Database, name: &str, value: &str, by: &str) -> Result<String, StaffError> {
    let row = database.query_one(&statement::SET, &[("name", &name), ("value", &value), ("by", &by)]).await?;
    Ok(field(&row, "value")?)
}

/// The outbox at a glance.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it; see sql/staff/queue.sql")]
pub struct Queue {
    pub due: i64,
    pub scheduled: i64,
    pub sending: i64,
    pub held: i64,
    pub unknown: i64,
    pub bulk: i64,
    pub counts_are_capped: bool,
    pub oldest_due_s: Option<f64>,
}

/// Counts the outbox.
///
/// # Errors
/// [`StaffError::Database`].
pub async fn queue(database: &Database) -> Result<Queue, StaffError> {
    let row = database.query_one(&statement::QUEUE, &[]).await?;
    Ok(Queue {
        due: field(&row, "due")?,
        scheduled: field(&row, "scheduled")?,
        sending: field(&row, "sending")?,
        held: field(&row, "held")?,
        unknown: field(&row, "unknown")?,
        bulk: field(&row, "bulk")?,
        counts_are_capped: field(&row, "counts_are_capped")?,
        oldest_due_s: field(&row, "oldest_due_s")?,
    })
}

/// What is held for staff, one line a reason.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Held {
    /// The reason's word; empty when there is none.
    pub reason: String,
    /// How many.
    pub messages: i64,
}

/// Counts what is held.
///
/// # Errors
/// [`StaffError::Database`].
pub async fn held(database: &Database) -> Result<Vec<Held>, StaffError> {
    let rows = database.query(&statement::HELD, &[]).await?;
    let read = |row: &Row| Ok::<_, DbError>(Held { reason: field(row, "reason")?, messages: field(row, "messages")? });
    Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
}

/// What was settled today, one line a status.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Today {
    /// The status word.
    pub status: String,
    /// How many.
    pub messages: i64,
    /// Their segments.
    pub segments: i64,
}

/// Counts today, in the zone named.
///
/// # Errors
/// [`StaffError::Database`].
pub async fn today(database: &Database, zone: &str) -> Result<Vec<Today>, StaffError> {
    let rows = database.query(&statement::TODAY, &[("zone", &zone)]).await?;
    let read = |row: &Row| {
        Ok::<_, DbError>(Today {
            status: field(row, "status")?,
            messages: field(row, "messages")?,
            segments: field(row, "segments")?,
        })
    };
    Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
}

/// A daemon alive on this database.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Owner {
    /// Its number.
    pub owner: i32,
    /// Its host.
    pub host: String,
    /// Its process.
    pub pid: i32,
    /// Its version.
    pub version: String,
    /// Since when.
    pub started_at: Timestamp,
}

/// Daemons whose liveness lock is held.
///
/// # Errors
/// [`StaffError::Database`].
pub async fn owners(database: &Database) -> Result<Vec<Owner>, StaffError> {
    let rows = database.query(&statement::OWNERS, &[]).await?;
    let read = |row: &Row| {
        Ok::<_, DbError>(Owner {
            owner: field(row, "owner")?,
            host: field(row, "host")?,
            pid: field(row, "pid")?,
            version: field(row, "version")?,
            started_at: field(row, "started_at")?,
        })
    };
    Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
}
