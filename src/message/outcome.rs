//! What became of one attempt to hand a message to a provider.
//!
//! The whole program rests on one distinction: *was anything sent?* A provider adapter answers it and nothing else;
//! what follows (settle, retry, wait, ask staff) is decided in `outbox`. When an adapter cannot tell, the answer is
//! [`Outcome::Unknown`], never a guess.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Longest `detail` kept, in characters: enough for a provider's sentence, too little for a page of HTML.
pub const DETAIL_LIMIT_CHARS: usize = 300;

/// The outcome of one attempt. Every adapter answers with one of these; there is no other way to report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The provider took the message.
    Accepted {
        /// The provider's own id for the message, when it gave one.
        provider_message_id: Option<String>,
        /// Segments the provider says it will charge.
        segments: Option<u32>,
    },
    /// Refused for good: the same request would be refused again. Nothing was sent.
    Rejected {
        /// What the provider said, for staff.
        detail: String,
    },
    /// Refused for now because of our rate. Nothing was sent.
    Throttled {
        /// How long the provider asked us to wait.
        retry_after: Option<Duration>,
        /// What the provider said, for staff.
        detail: String,
    },
    /// Nothing was sent, for certain (DNS, connect, TLS, or the provider says so); worth another try.
    TemporaryFailure {
        /// What happened, for staff.
        detail: String,
    },
    /// Credentials or configuration are wrong: no message can pass until somebody acts. Nothing was sent.
    Misconfigured {
        /// What the provider said, for operators.
        detail: String,
    },
    /// The account is empty: no message can pass until somebody pays. Nothing was sent.
    NoCredit {
        /// What the provider said, for operators.
        detail: String,
    },
    /// The message may have been sent. Never repeated blindly, never handed to another provider.
    Unknown {
        /// What was seen, for staff.
        detail: String,
    },
}

impl Outcome {
    /// The word written to `sms_attempt.outcome`, logs and metrics.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Accepted { .. } => "accepted",
            Self::Rejected { .. } => "rejected",
            Self::Throttled { .. } => "throttled",
            Self::TemporaryFailure { .. } => "temporary_failure",
            Self::Misconfigured { .. } => "misconfigured",
            Self::NoCredit { .. } => "no_credit",
            Self::Unknown { .. } => "unknown",
        }
    }

    /// Whether nothing was sent, for certain.
    pub fn is_unsent(&self) -> bool {
        match self {
            Self::Accepted { .. } | Self::Unknown { .. } => false,
            Self::Rejected { .. }
            | Self::Throttled { .. }
            | Self::TemporaryFailure { .. }
            | Self::Misconfigured { .. }
            | Self::NoCredit { .. } => true,
        }
    }

    /// What the provider said, to be changed; none for an accepted message.
    pub fn detail_mut(&mut self) -> Option<&mut String> {
        match self {
            Self::Accepted { .. } => None,
            Self::Rejected { detail }
            | Self::Throttled { detail, .. }
            | Self::TemporaryFailure { detail }
            | Self::Misconfigured { detail }
            | Self::NoCredit { detail }
            | Self::Unknown { detail } => Some(detail),
        }
    }

    /// What the provider said, or an empty string for an accepted message.
    pub fn detail(&self) -> &str {
        match self {
            Self::Accepted { .. } => "",
            Self::Rejected { detail }
            | Self::Throttled { detail, .. }
            | Self::TemporaryFailure { detail }
            | Self::Misconfigured { detail }
            | Self::NoCredit { detail }
            | Self::Unknown { detail } => detail,
        }
    }
}
