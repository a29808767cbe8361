//! What comes back after a message was taken: delivery receipts, and replies of customers. Pushed by the provider, or asked for.
//!
//! Owns the shapes and nothing else. An adapter reads them out of what came; `receipt` decides what becomes of them. A word that an adapter does
//! not know is [`Pending`](DeliveryStatus::Pending): only what says so is final.

use jiff::Timestamp;
use tokio::sync::oneshot;

/// Most receipts in one push or one answer: Infobip's documented limit is 1,000.
pub const RECEIPTS_LIMIT: usize = 1_000;

/// Longest raw record kept of one receipt, in characters.
pub const RAW_LIMIT_CHARS: usize = 4_000;

/// What a receipt says of a message, or of one part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryStatus {
    /// It is on the handset. Final.
    Delivered,
    /// It will never be. Final.
    Undelivered,
    /// Not decided yet, or not understood.
    Pending,
}

impl DeliveryStatus {
    /// The word written to `sms_receipt.status`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Undelivered => "undelivered",
            Self::Pending => "pending",
        }
    }
}

/// One delivery receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The provider's id of the message, as it wrote it. Empty when it names only our reference.
    pub provider_message_id: String,
    /// Our reference of the attempt, where the provider repeats it.
    pub reference: Option<String>,
    /// What it says.
    pub status: DeliveryStatus,
    /// The provider's own word and error code, for staff; without secrets, and short.
    pub words: String,
    /// When that happened, by the provider's clock.
    pub at: Option<Timestamp>,
}

/// A text that a customer sent back.
#[derive(Clone, PartialEq, Eq)]
pub struct Reply {
    /// Who sent it, as the provider writes numbers.
    pub from: String,
    /// What he wrote.
    pub text: String,
}

/// Neither the number nor the text: a debug line must not leak what logs may not show.
impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reply").finish_non_exhaustive()
    }
}

/// What a provider pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pushed {
    /// A delivery receipt.
    Receipt(Receipt),
    /// A customer's text.
    Reply(Reply),
}

/// What came over a provider's own link, which is answered once it is written.
#[derive(Debug)]
pub struct Delivery {
    /// The provider's name.
    pub provider: String,
    /// What came.
    pub pushed: Pushed,
    /// Told true when it is written. Told false, or dropped: the provider is asked to repeat it.
    pub taken: oneshot::Sender<bool>,
}

/// A request that came to the listener for a provider, read to its end.
#[derive(Clone, Copy)]
pub struct Push<'a> {
    /// `GET` or `POST`.
    pub method: &'a str,
    /// The whole URL as the provider was given it, query included: Twilio signs it.
    pub url: &'a str,
    /// Looks a header up by its name in lower case; the first one when it came several times.
    pub header: &'a dyn Fn(&str) -> Option<&'a str>,
    /// The body, as it came.
    pub body: &'a [u8],
    /// The clock, for signatures that grow old.
    pub now: Timestamp,
}

/// Why a push is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// The signature is missing, wrong or too old. Nothing of it is believed.
    #[error("the signature is {0}")]
    Forged(&'static str),
    /// It cannot be read: a sentence without secrets.
    #[error("{0}")]
    Malformed(String),
    /// This provider pushes nothing.
    #[error("this provider is not configured to push receipts")]
    NotConfigured,
}
