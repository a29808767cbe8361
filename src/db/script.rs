//! Ad-hoc SQL, for the demo, the doctor and tests: what is written for one occasion and is no statement file.
//!
//! The daemon's own work never comes through here. A session is one connection of its own; several statements in one text are
//! one transaction unless they say otherwise. Values come back as PostgreSQL writes them (simple query protocol), so no
//! types need to be known. An error leaves the session usable, a broken connection does not mend itself.

use std::time::Duration;

use tokio_postgres::{Client, SimpleQueryMessage};

use super::{DbError, Target};

/// How long one text may take. Creating a database from a template on a slow disk is the slowest thing asked for.
pub const SCRIPT_TIMEOUT: Duration = Duration::from_secs(60);

/// One connection. Dropping it closes the connection.
#[derive(Debug)]
pub struct Session {
    client: Client,
}

impl Session {
    /// Connects.
    ///
    /// # Errors
    /// [`DbError::Unavailable`] when the server is out of reach or does not let us in.
    pub async fn connect(target: &Target) -> Result<Self, DbError> {
        let connecting = target.config().connect(target.tls());
        let (client, connection) = within(connecting).await?;
        // Ends by itself when the client is dropped; its error is the client's error too.
        tokio::spawn(connection);
        Ok(Self { client })
    }

    /// Runs statements whose answers nobody needs.
    ///
    /// # Errors
    /// [`DbError`]; after [`DbError::Unavailable`] the statements may or may not have taken effect.
    pub async fn batch(&self, sql: &str) -> Result<(), DbError> {
        within(self.client.batch_execute(sql)).await
    }

    /// All rows of all statements, every value as text, NULL as none.
    ///
    /// # Errors
    /// [`DbError`], as for [`batch`](Self::batch).
    pub async fn texts(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>, DbError> {
        let mut rows = Vec::new();
        for message in within(self.client.simple_query(sql)).await? {
            if let SimpleQueryMessage::Row(row) = message {
                rows.push((0..row.len()).map(|column| row.get(column).map(str::to_owned)).collect());
            }
        }
        Ok(rows)
    }
}

async fn within<T>(work: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, DbError> {
    match tokio::time::timeout(SCRIPT_TIMEOUT, work).await {
        Ok(result) => result.map_err(DbError::from),
        Err(_) => Err(DbError::Unavailable(format!("no answer within {SCRIPT_TIMEOUT:?}"))),
    }
}
