//! Why a configuration is refused: the place and the problem, never the value, which may be a secret.

use std::fmt;

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path}: {problem}")]
    File {
        /// The path.
        path: String,
        /// Why not.
        problem: String,
    },
    /// The file is wrong somewhere.
    #[error("{path}, line {line}: {problem}")]
    Line {
        /// The path.
        path: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// An environment variable or a key is wrong.
    #[error("{name}: {problem}")]
    Value {
        /// The variable, or the key with its section.
        name: String,
        /// What is wrong, and what would be right.
        problem: String,
    },
}

/// A variable or key that is wrong.
pub(super) fn wrong(name: &str, problem: impl fmt::Display) -> ConfigError {
    ConfigError::Value { name: name.to_owned(), problem: problem.to_string() }
}
