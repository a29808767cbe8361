//! The message as a provider gets it: rendered, normalised, counted, with its time allowance.
//!
//! Owns the shape and nothing else. It is made by `outbox` after every policy has been applied; a provider neither
//! changes it nor decides whether it should be sent.

use std::time::Duration;

use crate::message::encoding::Encoding;
use crate::message::outcome::Outcome;

/// Characters of the text, or digits of the number, in a row that give them away.
const TELLING_CHARS: usize = 8;

/// A message ready to be sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Our id for this attempt, for example `ecar-123-1`: at most 40 characters of `[a-z0-9-]` (the shortest limit
    /// among the vendors is Vonage's `client-ref`, 40).
    pub reference: String,
    /// The phone number in E.164 form with its plus, for example `+21620000123`.
    pub recipient: String,
    /// The final text.
    pub text: String,
    /// The alphabet the text needs (3GPP TS 23.038).
    pub encoding: Encoding,
    /// Segments the text takes, from 1.
    pub segments: u32,
    /// Total time allowed for the attempt, from the call to the outcome.
    pub deadline: Duration,
}

impl Outgoing {
    /// The recipient with all but its last two digits hidden, for logs.
    pub fn masked_recipient(&self) -> String {
        let shown_from = self.recipient.chars().count().saturating_sub(2);
        self.recipient.chars().enumerate().map(|(at, c)| if at >= shown_from || c == '+' { c } else { '*' }).collect()
    }

    /// The outcome for logs and the status: where the provider repeats the number or a part of the text, its words are
    /// left out. Staff find them in the record of the message.
    pub fn discreet(&self, outcome: &Outcome) -> Outcome {
        let mut shown = outcome.clone();
        if let Some(detail) = shown.detail_mut().filter(|detail| self.is_told_by(detail)) {
            let head =
                detail.split(':').next().filter(|head| !self.is_told_by(head)).unwrap_or("the provider answered");
            *detail = format!("{head} (its words name the customer; see ecar-sms show)");
        }
        shown
    }

    fn is_told_by(&self, words: &str) -> bool {
        let digits: Vec<char> = words.chars().filter(char::is_ascii_digit).collect();
        let number: Vec<char> = self.recipient.chars().filter(char::is_ascii_digit).collect();
        let number = &number[number.len().saturating_sub(TELLING_CHARS)..];
        let text: Vec<char> = self.text.trim().chars().collect();
        let words: Vec<char> = words.chars().collect();
        let holds =
            |all: &[char], part: &[char]| !part.is_empty() && all.windows(part.len()).any(|window| window == part);
        holds(&digits, number) || text.windows(TELLING_CHARS.min(text.len()).max(1)).any(|part| holds(&words, part))
    }
}

/// Neither the number nor the text: a debug line must not leak what logs may not show.
impl std::fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outgoing")
            .field("reference", &self.reference)
            .field("recipient", &self.masked_recipient())
            .field("segments", &self.segments)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outgoing() -> Outgoing {
        Outgoing {
            reference: "ecar-1-1".into(),
            recipient: "+21620000123".into(),
            text: "Votre voiture attend".into(),
            encoding: Encoding::Gsm7,
            segments: 1,
            deadline: Duration::from_secs(20),
        }
    }

    #[test]
    fn only_the_last_two_digits_are_shown() {
        assert_eq!(outgoing().masked_recipient(), "+*********23");
    }

    #[test]
    fn what_a_provider_repeats_of_the_message_is_left_out() {
        let shown =
            |detail: &str| outgoing().discreet(&Outcome::Rejected { detail: detail.into() }).detail().to_owned();
        assert_eq!(shown("HTTP 400: blocked"), "HTTP 400: blocked");
        assert!(shown("HTTP 400: +216 20-000-123 is blocked").starts_with("HTTP 400 ("));
        assert!(!shown("20000123: no").contains("20000123"));
        assert!(!shown("HTTP 400: spam: ...oiture attend").contains("attend"));
        let empty = Outgoing { text: String::new(), recipient: String::new(), ..outgoing() };
        assert_eq!(empty.discreet(&Outcome::Unknown { detail: "x".into() }).detail(), "x");
    }

    #[test]
    fn debug_shows_neither_number_nor_text() {
        let shown = format!("{:?}", outgoing());
        assert!(!shown.contains("21620000") && !shown.contains("voiture"), "{shown}");
    }
}
