//! Exit codes, and errors that know theirs.

use std::process::ExitCode;

use crate::config::ConfigError;
use crate::control::server::SocketError;
use crate::db::DbError;
use crate::db::install::InstallError;

/// The exit codes of every command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Failed.
    Failed = 1,
    /// Wrong usage.
    Usage = 2,
    /// Bad configuration (`EX_USAGE` of sysexits; the service is not restarted on it).
    BadConfiguration = 64,
    /// The daemon or the database is out of reach (`EX_UNAVAILABLE`).
    OutOfReach = 69,
    /// Try again later (`EX_TEMPFAIL`).
    TryAgain = 75,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error with its exit code.
#[derive(Debug)]
pub struct Failure {
    /// The code.
    pub exit: Exit,
    /// What went wrong.
    pub error: anyhow::Error,
}

impl Failure {
    /// With this code.
    pub fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self { exit, error: error.into() }
    }

    /// A plain failure.
    pub fn failed(error: impl Into<anyhow::Error>) -> Self {
        Self::new(Exit::Failed, error)
    }

    /// Wrong usage that only showed after parsing.
    pub fn usage(problem: impl std::fmt::Display) -> Self {
        Self::new(Exit::Usage, anyhow::anyhow!("{problem}"))
    }

    /// The code that the daemon's error deserves: a bad configuration is not worth a restart, anything else is.
    pub fn of_daemon(error: anyhow::Error) -> Self {
        let exit = if error.chain().any(|cause| cause.is::<ConfigError>()) {
            Exit::BadConfiguration
        } else if error.chain().any(|cause| matches!(cause.downcast_ref(), Some(SocketError::InUse(_)))) {
            Exit::TryAgain
        } else {
            Exit::Failed
        };
        Self { exit, error }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::new(Exit::BadConfiguration, error)
    }
}

impl From<DbError> for Failure {
    fn from(error: DbError) -> Self {
        let exit = match &error {
            DbError::Unavailable(_) => Exit::OutOfReach,
            DbError::Busy(_) => Exit::TryAgain,
            DbError::Refused { .. } | DbError::NotInstalled(_) | DbError::Unexpected(_) => Exit::Failed,
        };
        Self::new(exit, error)
    }
}

impl From<InstallError> for Failure {
    fn from(error: InstallError) -> Self {
        match error {
            InstallError::Database(error) => error.into(),
            InstallError::Locked(_) => Self::new(Exit::TryAgain, error),
            InstallError::NotTheGarage { .. }
            | InstallError::NoSuchRole(_)
            | InstallError::TooOld(_)
            | InstallError::Damaged(_)
            | InstallError::MayNotAdopt(_)
            | InstallError::Strangers(_)
            | InstallError::Newer(_) => Self::failed(error),
        }
    }
}
