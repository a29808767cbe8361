//! What can go wrong with the database, sorted by what a caller can do about it.

use deadpool_postgres::PoolError;
use tokio_postgres::error::SqlState;

/// An error of the database. Never carries a connection string.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// The server is out of reach, restarting, full, or did not answer: try again. A statement that was under way may have
    /// taken effect.
    #[error("the database is out of reach: {0}")]
    Unavailable(String),
    /// A lock was not to be had in time, or the transaction met another one: nothing happened, try again.
    #[error("the database is busy: {0}")]
    Busy(String),
    /// The server refused the statement.
    #[error("{message}{}", hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default())]
    Refused {
        /// SQLSTATE.
        code: String,
        /// The server's message.
        message: String,
        /// The server's hint.
        hint: Option<String>,
    },
    /// Our objects are not in this database, or the role may not use them.
    #[error("{0}; run `ecar-sms install` in this database, and see `ecar-sms doctor`")]
    NotInstalled(String),
    /// An answer that this program does not understand.
    #[error("unexpected answer of the database: {0}")]
    Unexpected(String),
}

impl DbError {
    /// Whether waiting may help.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }

    /// The SQLSTATE, when the server refused the statement.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { code, .. } => Some(code),
            Self::Unavailable(_) | Self::Busy(_) | Self::NotInstalled(_) | Self::Unexpected(_) => None,
        }
    }

    pub(super) fn from_pool(error: PoolError) -> Self {
        match error {
            // Refused while connecting, for whatever reason: no statement was run.
            PoolError::Backend(error) => match Self::from(error) {
                Self::Refused { message, .. } => Self::Unavailable(message),
                error @ (Self::Unavailable(_) | Self::Busy(_) | Self::NotInstalled(_) | Self::Unexpected(_)) => error,
            },
            error @ (PoolError::Timeout(_)
            | PoolError::Closed
            | PoolError::NoRuntimeSpecified
            | PoolError::PostCreateHook(_)) => Self::Unavailable(error.to_string()),
        }
    }
}

impl From<tokio_postgres::Error> for DbError {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(server) = error.as_db_error() else {
            // No answer of the server: the connection broke, or could not be made. The cause is the useful part.
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            return Self::Unavailable(cause.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}")));
        };
        let message = server.message().to_owned();
        let code = server.code();
        let unavailable = [
            SqlState::ADMIN_SHUTDOWN,
            SqlState::CRASH_SHUTDOWN,
            SqlState::CANNOT_CONNECT_NOW,
            SqlState::TOO_MANY_CONNECTIONS,
            SqlState::READ_ONLY_SQL_TRANSACTION,
            SqlState::DISK_FULL,
            SqlState::OUT_OF_MEMORY,
            SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
            SqlState::INVALID_PASSWORD,
            SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
            SqlState::INVALID_CATALOG_NAME,
        ];
        let busy = [
            SqlState::LOCK_NOT_AVAILABLE,
            SqlState::T_R_DEADLOCK_DETECTED,
            SqlState::T_R_SERIALIZATION_FAILURE,
            SqlState::QUERY_CANCELED,
        ];
        let missing = [
            SqlState::UNDEFINED_TABLE,
            SqlState::UNDEFINED_FUNCTION,
            SqlState::UNDEFINED_COLUMN,
            SqlState::INSUFFICIENT_PRIVILEGE,
            SqlState::INVALID_SCHEMA_NAME,
        ];
        if unavailable.contains(code) || code.code().starts_with("08") {
            Self::Unavailable(message)
        } else if busy.contains(code) {
            Self::Busy(message)
        } else if missing.contains(code) {
            Self::NotInstalled(message)
        } else {
            Self::Refused { code: code.code().to_owned(), message, hint: server.hint().map(ToOwned::to_owned) }
        }
    }
}
