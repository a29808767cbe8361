//! What a dialect is: the questions that the gateway asks of each vendor's file.
//!
//! Owns the words between the gateway and the dialects; holds no state and does no I/O. A dialect answers any request with a
//! [`Reply`], whatever is in it.

use std::sync::Arc;

use hyper::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};
use url::Url;

use super::books::Books;
use super::call::Call;
use super::sending::{Sending, Stamp, Step};
use super::vendor::Vendor;
use crate::gateway::account::Account;
use crate::gateway::ledger::{Ledger, Received};
use crate::gateway::letter::Letter;
use crate::gateway::receipts::Ids;
use crate::message::encoding::measure;

/// What a path is to a vendor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gateway) enum Route {
    /// Messages are sent here.
    Send,
    /// Something is asked here.
    Ask,
    /// Nothing is here for this method.
    Nowhere,
}

/// A vendor's error: its code, and a sentence for the client.
#[derive(Debug, Clone)]
pub(in crate::gateway) struct Refusal {
    pub(in crate::gateway) code: String,
    pub(in crate::gateway) what: String,
}

impl Refusal {
    pub(in crate::gateway) fn new(code: impl ToString, what: impl Into<String>) -> Refusal {
        Refusal { code: code.to_string(), what: what.into() }
    }

    /// One that a script wants.
    pub(in crate::gateway) fn scripted(code: &str) -> Refusal {
        Refusal::new(code, "Scripted error")
    }
}

/// An answer.
#[derive(Debug)]
pub(in crate::gateway) struct Reply {
    pub(in crate::gateway) status: StatusCode,
    pub(in crate::gateway) content_type: &'static str,
    pub(in crate::gateway) body: String,
    /// `Location`, where the vendor gives one.
    pub(in crate::gateway) location: Option<String>,
}

impl Reply {
    pub(in crate::gateway) fn json(status: StatusCode, body: &Value) -> Reply {
        Reply { status, content_type: "application/json", body: body.to_string(), location: None }
    }

    pub(in crate::gateway) fn text(content_type: &'static str, body: String) -> Reply {
        Reply { status: StatusCode::OK, content_type, body, location: None }
    }
}

/// A message that was taken, with its stamp.
#[derive(Debug, Clone, Copy)]
pub(in crate::gateway) struct Taken<'a> {
    pub(in crate::gateway) message: &'a Received,
    pub(in crate::gateway) stamp: &'a Stamp,
}

impl<'a> Taken<'a> {
    /// None for a message that no vendor took.
    pub(in crate::gateway) fn of(message: &'a Arc<Received>) -> Option<Taken<'a>> {
        message.stamp().map(|stamp| Taken { message, stamp })
    }

    /// Segments charged, at least one.
    pub(in crate::gateway) fn segments(&self) -> u32 {
        measure(&self.message.message).segments.max(1)
    }
}

/// What a look-up may see.
#[derive(Debug)]
pub(in crate::gateway) struct Sight<'a> {
    pub(in crate::gateway) ledger: &'a Ledger,
    pub(in crate::gateway) books: &'a mut Books,
    pub(in crate::gateway) account: &'a Account,
    pub(in crate::gateway) now: Timestamp,
    pub(in crate::gateway) ids: Ids,
}

/// One receipt to be pushed.
#[derive(Debug, Clone, Copy)]
pub(in crate::gateway) struct News<'a> {
    pub(in crate::gateway) taken: Taken<'a>,
    /// The id, of the message or of its segment, as receipts write it.
    pub(in crate::gateway) id: &'a str,
    pub(in crate::gateway) step: Step,
    pub(in crate::gateway) url: &'a Url,
    /// What it is signed with.
    pub(in crate::gateway) secret: &'a str,
    pub(in crate::gateway) account: &'a Account,
}

/// A customer's reply to be pushed.
#[derive(Debug, Clone, Copy)]
pub(in crate::gateway) struct Inbound<'a> {
    /// Number of the reply, from 1.
    pub(in crate::gateway) seq: u64,
    pub(in crate::gateway) from: &'a str,
    pub(in crate::gateway) to: &'a str,
    pub(in crate::gateway) text: &'a str,
    /// The vendor's name for the account that sent last.
    pub(in crate::gateway) account_name: &'a str,
    pub(in crate::gateway) url: &'a Url,
    pub(in crate::gateway) secret: &'a str,
    pub(in crate::gateway) account: &'a Account,
}

/// A vendor's way to speak.
pub(in crate::gateway) trait Dialect: Sync {
    fn vendor(&self) -> Vendor;

    /// What a path, after `/vendor/NAME`, is for.
    fn route(&self, method: &Method, path: &str) -> Route;

    /// Whether a request to a path of [`Route::Send`] asks for something instead.
    fn asks(&self, _call: &Call) -> bool {
        false
    }

    /// The credentials of a request.
    ///
    /// # Errors
    /// They are missing, not of the vendor's form, or not those of the account.
    fn admit(&self, call: &Call, account: &Account, books: &Books) -> Result<String, Refusal>;

    /// What a request to send says, as far as it can be read: at least one message.
    fn read(&self, call: &Call) -> Vec<Sending>;

    /// What is wrong with a request to send.
    ///
    /// # Errors
    /// The vendor would not take it, or would not understand a part of it.
    fn check(&self, call: &Call, sendings: &[Sending]) -> Result<(), Refusal>;

    /// What is wrong with a request to send, seen what was sent before: nothing, for most.
    ///
    /// # Errors
    /// The vendor would not take it again.
    fn recheck(&self, _sendings: &[Sending], _ledger: &Ledger) -> Result<(), Refusal> {
        Ok(())
    }

    /// The id of the message of this number.
    fn id(&self, seq: u64, sending: &Sending) -> String;

    /// The status of success.
    fn success(&self) -> StatusCode {
        StatusCode::OK
    }

    /// The answer that these were taken; at least one.
    fn accepted(&self, call: &Call, taken: &[Taken<'_>], account: &Account) -> Reply;

    /// The answer that something is wrong.
    fn refused(&self, call: &Call, refusal: &Refusal) -> Reply;

    /// The answer of an HTTP status that is no success, with a body such as the vendor has.
    fn trouble(&self, _call: &Call, status: StatusCode) -> Reply {
        Reply::json(status, &json!({"error": status.canonical_reason().unwrap_or("Scripted error")}))
    }

    /// The answer to a question.
    fn ask(&self, call: &Call, sight: &mut Sight<'_>) -> Reply;

    /// Whether the states before the last are told for this message.
    fn tells_sent(&self, _taken: &Taken<'_>) -> bool {
        false
    }

    /// Whether each segment has an id and receipts of its own.
    fn by_part(&self) -> bool {
        false
    }

    /// The id of a segment, from 0.
    fn part_id(&self, id: &str, _part: u32) -> String {
        id.to_owned()
    }

    /// Whether pushes are signed. Where they are not, a forged one has an id that was never given.
    fn signs(&self) -> bool {
        false
    }

    /// A receipt; none where the vendor pushes none, or none was wanted.
    fn receipt(&self, _news: &News<'_>) -> Option<Letter> {
        None
    }

    /// A reply of a customer; none where the vendor pushes none.
    fn inbound(&self, _inbound: &Inbound<'_>) -> Option<Letter> {
        None
    }
}
