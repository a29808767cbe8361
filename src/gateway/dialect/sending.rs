//! One message on its way through a simulated vendor: what its request said, and what became of it.
//!
//! Owns no shape of any vendor: a dialect fills in a [`Sending`], the desk makes a [`Stamp`] of it, which stays on the record
//! beside the message. Pure.

use jiff::Timestamp;

use super::vendor::Vendor;

/// What a request says of one message, as far as it could be read; what is missing is empty.
#[derive(Debug, Clone, Default)]
pub(in crate::gateway) struct Sending {
    /// In E.164 where it is a number, else as written.
    pub(in crate::gateway) phone: String,
    /// As a handset would show it.
    pub(in crate::gateway) text: String,
    pub(in crate::gateway) sender: String,
    /// The client's own reference.
    pub(in crate::gateway) reference: Option<String>,
    /// The id that the client chose, where the vendor lets it.
    pub(in crate::gateway) id: Option<String>,
    /// The vendor's name for the account, where pushes repeat it.
    pub(in crate::gateway) account: String,
    /// Where receipts are wanted.
    pub(in crate::gateway) callback: Option<String>,
    /// What else receipts and look-ups repeat, by the dialect's own names.
    pub(in crate::gateway) notes: Vec<(&'static str, String)>,
}

/// What a vendor knows of a message that it was given.
#[derive(Debug, Clone)]
pub(in crate::gateway) struct Stamp {
    pub(in crate::gateway) vendor: Vendor,
    /// The vendor's id.
    pub(in crate::gateway) id: String,
    pub(in crate::gateway) account: String,
    pub(in crate::gateway) callback: Option<String>,
    pub(in crate::gateway) notes: Vec<(&'static str, String)>,
    /// Whether it reaches its customer.
    pub(in crate::gateway) delivered: bool,
    /// The vendor's code in its receipt, when the script says one.
    pub(in crate::gateway) code: Option<String>,
    /// When its last state is reached.
    pub(in crate::gateway) due: Timestamp,
}

impl Stamp {
    pub(in crate::gateway) fn note(&self, name: &str) -> Option<&str> {
        self.notes.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// The state at a time.
    pub(in crate::gateway) fn state(&self, now: Timestamp) -> Step {
        match (now >= self.due, self.delivered) {
            (false, _) => Step::Sent,
            (true, true) => Step::Delivered,
            (true, false) => Step::Undelivered,
        }
    }

    pub(in crate::gateway) fn kept_bytes(&self) -> usize {
        let notes: usize = self.notes.iter().map(|(_, value)| value.len()).sum();
        self.id.len() + self.account.len() + self.callback.as_deref().map_or(0, str::len) + notes
    }
}

/// A state of a message that a vendor tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gateway) enum Step {
    /// With the operator.
    Sent,
    Delivered,
    Undelivered,
}

impl Step {
    /// What a forged receipt says instead.
    pub(in crate::gateway) fn contrary(self) -> Step {
        match self {
            Step::Sent | Step::Undelivered => Step::Delivered,
            Step::Delivered => Step::Undelivered,
        }
    }
}

/// A phone number as vendors write it without a plus, in E.164; what is none stays as it is.
pub(in crate::gateway) fn e164(number: &str) -> String {
    let digits = number.trim().trim_start_matches('+');
    if is_number(digits) { format!("+{digits}") } else { number.to_owned() }
}

/// Whether these are the digits of an international number: 8 to 15, no leading zero (E.164).
pub(in crate::gateway) fn is_number(digits: &str) -> bool {
    (8..=15).contains(&digits.len()) && !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether this is a sender name as all vendors take it: 1 to 11 letters, digits and spaces, at least one letter.
pub(in crate::gateway) fn is_sender_name(sender: &str) -> bool {
    (1..=11).contains(&sender.len())
        && sender.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b' ')
        && sender.bytes().any(|byte| byte.is_ascii_alphabetic())
}
