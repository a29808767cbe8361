//! The question what became of an attempt whose outcome is unknown, and the provider's answer.
//!
//! Owns both shapes and nothing else. The caller asks once the attempt can no longer be under way, asks again while the
//! answer is [`Unclear`](Finding::Unclear), and believes [`Absent`](Finding::Absent) only when the provider has had the
//! time to enter the message where look-ups find it.

use std::time::Duration;

use jiff::Timestamp;

/// How long after its end an attempt may still be missing where look-ups find it, unless the provider's configuration
/// says otherwise. No vendor promises a time; a minute is far beyond any delay between a gateway and its own record.
pub const DEFAULT_ABSENT_AFTER: Duration = Duration::from_secs(60);

/// What is asked about an attempt whose outcome is unknown.
#[derive(Clone, PartialEq, Eq)]
pub struct Inquiry {
    /// Our reference of the attempt, as in [`Outgoing::reference`](super::outgoing::Outgoing::reference).
    pub reference: String,
    /// The recipient in E.164 form with its plus, when it is known: without the journal it may not be. Needed where a
    /// provider is asked by recipient and time.
    pub recipient: Option<String>,
    /// The final text, when it is known. Needed where a provider is asked by recipient and time.
    pub text: Option<String>,
    /// When the attempt began at the earliest.
    pub since: Timestamp,
    /// Total time allowed for the inquiry, from the call to the finding.
    pub deadline: Duration,
}

/// What the provider knows of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// It took messages that fit: one for a reference; for recipient and time all whose text is the same. Never empty.
    Taken(Vec<TakenMessage>),
    /// It knows of none. To be believed only when the attempt can have ended
    /// [`absent_after`](super::Provider::absent_after) ago or longer: the caller sees to that.
    Absent,
    /// It could not be asked, or its answer is not understood: ask again later.
    Unclear {
        /// Why, in a sentence without secrets.
        detail: String,
    },
}

/// A message that the provider took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenMessage {
    /// The provider's id of it, when it gave one.
    pub provider_message_id: Option<String>,
}

impl Finding {
    /// [`Finding::Unclear`] for this reason.
    pub fn unclear(detail: impl Into<String>) -> Self {
        Self::Unclear { detail: detail.into() }
    }
}

/// Neither the number nor the text: a debug line must not leak what logs may not show.
impl std::fmt::Debug for Inquiry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inquiry")
            .field("reference", &self.reference)
            .field("recipient", &self.recipient.as_ref().map(|_| "[hidden]"))
            .field("text", &self.text.as_ref().map(|_| "[hidden]"))
            .field("since", &self.since)
            .field("deadline", &self.deadline)
            .finish()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_neither_number_nor_text() {
        let inquiry = Inquiry {
            reference: "ecar-1-1".into(),
            recipient: Some("+21620000123".into()),
            text: Some("Votre voiture attend".into()),
            since: Timestamp::UNIX_EPOCH,
            deadline: Duration::from_secs(5),
        };
        let shown = format!("{inquiry:?}");
        assert!(!shown.contains("20000123") && !shown.contains("voiture"), "{shown}");
        assert!(shown.contains("ecar-1-1"), "{shown}");
    }
}
