//! What customers answer: `POST /replies` makes a simulated vendor push a text, as if a customer had sent it.
//!
//! Owns the shape `{"provider","from","text"}`, with an optional `to` (else the sender that was used last) and `url` (else the
//! account's `push_url`). Answers when the push was: 200 with the receiver's status, 502 when it did not answer. A reply over SMPP
//! (`"provider": "smpp"`) has no address to go to and waits for whoever is bound: 202. Refuses what it does not understand wholly.

use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Response, StatusCode};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::account::PushUrl;
use super::desk::Desk;
use super::dialect;
use super::dialect::sending::is_number;
use super::dialect::speech::Inbound;
use super::dialect::vendor::Vendor;
use super::letter::Round;
use super::post::{self, MAX_BODY_BYTES};
use super::reply::{self, Body};
use super::smpp::Centre;

/// Longest text of a reply, characters: ten segments.
const MAX_TEXT_CHARS: usize = 1_600;
/// Longest text of a reply over SMPP, characters: 254 octets of UCS-2 in one `short_message`.
const MAX_SMPP_CHARS: usize = 127;
/// Most receipts and replies that wait for somebody to be bound.
const MAX_SMPP_WAITING: u64 = 1_000;
/// Longest number or name of the receiver, bytes.
const MAX_TO_BYTES: usize = 64;
/// Longest wait for the receiver of the push, more than the courier's own.
const PATIENCE: Duration = Duration::from_secs(15);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    provider: Carrier,
    from: String,
    text: String,
    to: Option<String>,
    url: Option<PushUrl>,
}

/// Who carries a reply.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
enum Carrier {
    Vendor(Vendor),
    Smpp,
}

impl TryFrom<String> for Carrier {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        if name == "smpp" {
            return Ok(Carrier::Smpp);
        }
        let known = || Vendor::ALL.map(Vendor::name).join(", ");
        Vendor::named(&name).map(Carrier::Vendor).ok_or_else(|| format!("provider is one of {}, smpp", known()))
    }
}

/// Answers a request with a reply to be pushed.
pub(super) async fn answer(desk: &Desk, centre: &Centre, body: Incoming) -> Response<Body> {
    let refuse = |what: &str| reply::error(StatusCode::BAD_REQUEST, what);
    let Ok(body) = post::read(body, MAX_BODY_BYTES).await else {
        return reply::error(StatusCode::PAYLOAD_TOO_LARGE, "The reply is larger than 1 MiB, or ended early.");
    };
    let written: Written = match serde_json::from_slice(&body) {
        Ok(written) => written,
        Err(error) => return refuse(&format!("The reply is not as it should be: {error}.")),
    };
    if !written.from.strip_prefix('+').is_some_and(is_number) {
        return refuse("The field from is a number such as +21620000001.");
    }
    if written.text.chars().count() > MAX_TEXT_CHARS || written.to.as_ref().is_some_and(|to| to.len() > MAX_TO_BYTES) {
        return refuse("A text has at most 1600 characters, and to at most 64.");
    }
    let Carrier::Vendor(vendor) = written.provider else {
        if written.text.chars().count() > MAX_SMPP_CHARS || centre.stats().waiting >= MAX_SMPP_WAITING {
            return refuse("A text over SMPP has at most 127 characters, and 1000 wait at most.");
        }
        centre.reply(&written.from, &written.text);
        return reply::json(StatusCode::ACCEPTED, &json!({ "waits": "for whoever is bound" }));
    };
    let (seq, seen, account, receipts) = desk.replying(vendor);
    let Some(url) = written.url.as_ref().map(|url| &url.0).or(account.push_url()) else {
        return reply::error(
            StatusCode::CONFLICT,
            "The script says no push_url for this vendor, nor the reply an url.",
        );
    };
    let letter = dialect::of(vendor).inbound(&Inbound {
        seq,
        from: &written.from,
        to: written.to.as_deref().unwrap_or(&seen.sender),
        text: &written.text,
        account_name: &seen.account,
        url,
        secret: account.secret(&seen.key),
        account: &account,
    });
    let Some(letter) = letter else {
        return reply::error(StatusCode::NOT_IMPLEMENTED, "This vendor pushes no replies.");
    };
    let (done, told) = oneshot::channel();
    let via = receipts.via.as_ref().map(|via| via.0.clone());
    desk.push(Round { due: Instant::now(), pens: vec![Box::new(|| Some(letter))], via, done: Some(done) });
    match timeout(PATIENCE, told).await {
        Ok(Ok(Some(status))) => reply::json(StatusCode::OK, &json!({ "status": status })),
        Ok(_) | Err(_) => reply::error(StatusCode::BAD_GATEWAY, "The receiver of the push did not answer."),
    }
}
