//! The lines of a journal.

use serde::{Deserialize, Serialize};

use crate::message::outcome::Outcome;

/// One line, as it is read.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[cfg_attr(test, derive(Serialize))]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// The first of a segment.
    Head(Head),
    /// A request is about to be written.
    Begun(Begun),
    /// Its answer was read, or the time for one is over.
    Answered(Answered),
}

/// One line, as it is written.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Written<'a> {
    Head(&'a Head),
    Begun(&'a Begun),
    Answered(&'a Answered),
}

/// Whose journal this is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Version of the format.
    pub format: u32,
    /// The database that the owner number belongs to.
    pub database: String,
    /// The owner number of that start of the daemon.
    pub owner: i32,
    /// The machine's boot; see proc(5), `random/boot_id`.
    pub boot: String,
}

/// Which claim of which message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Key {
    /// The message.
    pub id: i64,
    /// The token of the claim.
    pub token: i64,
}

/// A request about to be written: all that a record of it needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Begun {
    /// Which claim.
    pub key: Key,
    /// Attempt, from 1.
    pub attempt: i32,
    /// When the message was created, in microseconds since 1970: an id alone may be given twice by a restored database.
    pub created_us: i64,
    /// Who is asked.
    pub provider: String,
    /// E.164.
    pub recipient: String,
    /// The language, when it is known.
    pub lang: Option<String>,
    /// The text.
    pub body: String,
    /// `gsm7` or `ucs2`.
    pub encoding: String,
    /// Segments by our count.
    pub segments: u32,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answered {
    /// Which claim.
    pub key: Key,
    /// The outcome.
    pub outcome: Outcome,
}
