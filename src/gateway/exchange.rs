//! One message from the head of its request to its answer, or to whatever the script wants instead.
//!
//! Owns the order of things: body read, message entered, then the latency, then the act. Nothing after the entry can
//! unmake it. What cannot be said in HTTP is a [`HangUp`]: the error of the HTTP service, which hands the socket over.

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{HeaderValue, LOCATION};
use hyper::{Request, Response, StatusCode};
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::desk::{Desk, Verdict};
use super::director::{Act, ELSEWHERE};
use super::ledger::{Answer, message_id};
use super::post::{self, MAX_BODY_BYTES, Post, Unread};
use super::reply::{self, Body};
use super::rule::{Action, Fault, MAX_DELAY};

/// Ends of a connection that are no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum HangUp {
    /// TCP reset.
    #[error("reset")]
    Reset,
    /// These bytes, if any, then an orderly close.
    #[error("close")]
    Close(&'static [u8]),
}

/// Promises 512 bytes of body and holds 34.
const TRUNCATED: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 512\r\n\r\n\
    {\"id\":\"sim-000000\",\"status\":\"accept";
/// Neither a status line nor anything near one.
const GARBAGE: &[u8] = b"\x00\x01\xfe\xffERR 17 modem offline\r\n\r\n";
/// What a captive portal or a broken proxy answers.
const PAGE: &[u8] = b"<!DOCTYPE html><html><body><h1>It works!</h1></body></html>\n";

/// Answers a request to send.
pub(super) async fn send(desk: &Desk, request: Request<Incoming>) -> Result<Response<Body>, HangUp> {
    let _answering = desk.answering();
    if let Some(delay) = desk.before_read() {
        desk.count(Answer::Fault(Fault::ResetBeforeRead));
        sleep(delay).await;
        return Err(HangUp::Reset);
    }
    let (head, body) = request.into_parts();
    let body = match timeout(MAX_DELAY, post::read(body, MAX_BODY_BYTES)).await.unwrap_or(Err(Unread::Broken)) {
        Ok(body) => body,
        Err(Unread::TooLarge) => {
            desk.count(Answer::Status(413));
            return Ok(reply::error(StatusCode::PAYLOAD_TOO_LARGE, "The body is larger than 1 MiB."));
        }
        Err(Unread::Broken) => return Err(HangUp::Close(b"")),
    };
    match desk.receive(Post::parse(&body), head.uri.path()) {
        Verdict::Play(cue, received) => {
            if !cue.delay.is_zero() {
                sleep(cue.delay).await;
            }
            perform(&cue.act, received.seq).await
        }
        Verdict::Repeat(delay, first) => {
            sleep(delay).await;
            Ok(own(StatusCode::OK, first))
        }
        Verdict::Complain(sentence) => Ok(reply::error(StatusCode::BAD_REQUEST, &sentence)),
        Verdict::WrongKey => Ok(reply::error(StatusCode::UNAUTHORIZED, "The api_key is wrong.")),
        Verdict::Full => Ok(reply::error(StatusCode::INSUFFICIENT_STORAGE, "The record is full: DELETE /messages.")),
    }
}

async fn perform(act: &Act, seq: u64) -> Result<Response<Body>, HangUp> {
    match act {
        Act::Accept => Ok(own(StatusCode::OK, seq)),
        Act::Error(status) => Ok(own(*status, seq)),
        Act::Rule(rule) => match &rule.action {
            Action::Fault(fault) => misbehave(*fault).await,
            Action::Refuse { status, headers, .. } => {
                let mut response = own(status.unwrap_or(StatusCode::BAD_REQUEST), seq);
                response.headers_mut().extend(headers.clone());
                Ok(response)
            }
            Action::Answer { status, body, headers, .. } => {
                let mut response = body.as_ref().map_or_else(
                    || own(*status, seq),
                    |body| reply::whole(*status, "application/json", Bytes::clone(body)),
                );
                response.headers_mut().extend(headers.clone());
                Ok(response)
            }
        },
    }
}

/// The gateway's own answer: an id for 2xx, an error otherwise.
fn own(status: StatusCode, seq: u64) -> Response<Body> {
    if status.is_success() {
        reply::json(status, &json!({"id": message_id(seq), "status": "accepted"}))
    } else {
        reply::error(status, status.canonical_reason().unwrap_or("Scripted error"))
    }
}

pub(super) async fn misbehave(fault: Fault) -> Result<Response<Body>, HangUp> {
    match fault {
        Fault::ResetBeforeRead | Fault::ResetAfterRead => Err(HangUp::Reset),
        Fault::CloseAfterRead => Err(HangUp::Close(b"")),
        Fault::Silence => {
            sleep(MAX_DELAY).await;
            Err(HangUp::Close(b""))
        }
        Fault::Truncated => Err(HangUp::Close(TRUNCATED)),
        Fault::Garbage => Err(HangUp::Close(GARBAGE)),
        Fault::NoJson => Ok(reply::whole(StatusCode::OK, "text/html; charset=utf-8", Bytes::from_static(PAGE))),
        Fault::Huge => Ok(reply::huge()),
        Fault::Endless => Ok(reply::endless()),
        Fault::Redirect => {
            let mut response = reply::error(StatusCode::TEMPORARY_REDIRECT, "Elsewhere.");
            response.headers_mut().insert(LOCATION, HeaderValue::from_static(ELSEWHERE));
            Ok(response)
        }
    }
}
