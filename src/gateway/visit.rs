//! One request to a simulated vendor, from its head to its answer.
//!
//! Owns the order of things, which is that of the generic protocol: body read, messages entered, then the latency, then the act
//! of the script; and what is pushed when. Receipts come for every message that was taken, also where the client could not
//! learn it. What a vendor says is its dialect's.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{HeaderValue, LOCATION};
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};
use url::Url;

use super::control::wrong_method;
use super::desk::{Desk, Heard, Played};
use super::dialect;
use super::dialect::call::Call;
use super::dialect::sending::Step;
use super::dialect::speech::{Dialect, News, Refusal, Reply, Route, Taken};
use super::dialect::vendor::Vendor;
use super::director::Act;
use super::exchange::{HangUp, misbehave};
use super::ledger::{Answer, Received};
use super::letter::{Pen, Round};
use super::post::{self, MAX_BODY_BYTES, Unread};
use super::reply::{self, Body};
use super::rule::{Action, Fault, MAX_DELAY};

/// Longest wait for receipts that come before the answer.
const EARLY_PATIENCE: Duration = Duration::from_secs(10);

/// Answers a request to a path below `/vendor/`.
pub(super) async fn answer(desk: &Desk, request: Request<Incoming>) -> Result<Response<Body>, HangUp> {
    let (head, body) = request.into_parts();
    let Some((vendor, prefix)) = dialect::mounted(head.uri.path()) else {
        let names: Vec<_> = Vendor::ALL.iter().map(|vendor| vendor.name()).collect();
        return Ok(reply::error(StatusCode::NOT_FOUND, &format!("The vendors are {}.", names.join(", "))));
    };
    let dialect = dialect::of(vendor);
    let call = |body: &Bytes| Call::new(head.method.clone(), &head.uri, prefix, head.headers.clone(), body);
    let route = dialect.route(&head.method, head.uri.path().strip_prefix(prefix).unwrap_or_default());
    match route {
        Route::Nowhere if matches!(head.method, Method::GET | Method::POST) => {
            Ok(written(dialect.trouble(&call(&Bytes::new()), StatusCode::NOT_FOUND)))
        }
        Route::Nowhere => Ok(wrong_method("GET, POST")),
        Route::Send if !dialect.asks(&call(&Bytes::new())) => {
            let _answering = desk.answering();
            if let Some(delay) = desk.before_read() {
                desk.count(Answer::Fault(Fault::ResetBeforeRead));
                sleep(delay).await;
                return Err(HangUp::Reset);
            }
            match read(body).await? {
                Ok(body) => send(desk, dialect, &call(&body)).await,
                Err(too_large) => {
                    desk.count(Answer::Status(413));
                    Ok(too_large)
                }
            }
        }
        Route::Send | Route::Ask => match read(body).await? {
            Ok(body) => Ok(written(desk.ask(dialect, &call(&body)))),
            Err(too_large) => Ok(too_large),
        },
    }
}

/// The body, or the answer that it is too large.
async fn read(body: Incoming) -> Result<Result<Bytes, Response<Body>>, HangUp> {
    match timeout(MAX_DELAY, post::read(body, MAX_BODY_BYTES)).await.unwrap_or(Err(Unread::Broken)) {
        Ok(body) => Ok(Ok(body)),
        Err(Unread::TooLarge) => Ok(Err(reply::error(StatusCode::PAYLOAD_TOO_LARGE, "The body is larger than 1 MiB."))),
        Err(Unread::Broken) => Err(HangUp::Close(b"")),
    }
}

async fn send(desk: &Desk, dialect: &'static dyn Dialect, call: &Call) -> Result<Response<Body>, HangUp> {
    let played = match desk.hear(dialect, call) {
        Heard::Played(played) => played,
        Heard::Refused(reply) => return Ok(written(reply)),
        Heard::Full => {
            return Ok(reply::error(StatusCode::INSUFFICIENT_STORAGE, "The record is full: DELETE /messages."));
        }
    };
    let delay = played.cue.delay;
    if played.plan.early {
        let (done, told) = oneshot::channel();
        push(desk, dialect, &played, Instant::now(), Some(done));
        // The courier drops it when it has no place: then nothing comes early.
        let _ = timeout(EARLY_PATIENCE, told).await;
        sleep(delay).await;
    } else {
        if !delay.is_zero() {
            sleep(delay).await;
        }
        push(desk, dialect, &played, Instant::now() + played.plan.after, None);
    }
    perform(dialect, call, &played).await
}

async fn perform(dialect: &dyn Dialect, call: &Call, played: &Played) -> Result<Response<Body>, HangUp> {
    let accepted = || {
        let taken: Vec<_> = played.messages.iter().filter_map(Taken::of).collect();
        dialect.accepted(call, &taken, &played.account)
    };
    match &played.cue.act {
        Act::Accept => Ok(written(accepted())),
        Act::Error(status) => Ok(written(dialect.trouble(call, *status))),
        Act::Rule(rule) => {
            let (mut response, headers) = match &rule.action {
                Action::Fault(fault) => return misbehave(*fault).await,
                Action::Refuse { code, status, headers } => (written(refusal(dialect, call, code, *status)), headers),
                Action::Answer { status, body: Some(body), headers, .. } => {
                    (reply::whole(*status, "application/json", Bytes::clone(body)), headers)
                }
                Action::Answer { status, body: None, headers, .. } if status.is_success() => {
                    (written(Reply { status: *status, ..accepted() }), headers)
                }
                Action::Answer { status, body: None, headers, .. } => {
                    (written(dialect.trouble(call, *status)), headers)
                }
            };
            response.headers_mut().extend(headers.clone());
            Ok(response)
        }
    }
}

/// A scripted error in the vendor's shape.
pub(super) fn refusal(dialect: &dyn Dialect, call: &Call, code: &str, status: Option<StatusCode>) -> Reply {
    let reply = dialect.refused(call, &Refusal::scripted(code));
    Reply { status: status.unwrap_or(reply.status), ..reply }
}

fn written(reply: Reply) -> Response<Body> {
    let mut response = reply::whole(reply.status, reply.content_type, Bytes::from(reply.body));
    if let Some(location) = reply.location.and_then(|location| HeaderValue::try_from(location).ok()) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

/// Hands the receipts of what was taken to the courier.
fn push(
    desk: &Desk,
    dialect: &'static dyn Dialect,
    played: &Played,
    due: Instant,
    done: Option<oneshot::Sender<Option<u16>>>,
) {
    if played.plan.lost {
        return;
    }
    let pens: Vec<Pen> = played.messages.iter().flat_map(|message| pens(dialect, played, message)).collect();
    if !pens.is_empty() {
        desk.push(Round { due, pens, via: played.receipts.via.as_ref().map(|via| via.0.clone()), done });
    }
}

/// The receipts of one message, in the order in which they are pushed.
fn pens(dialect: &'static dyn Dialect, played: &Played, message: &Arc<Received>) -> Vec<Pen> {
    let plan = &played.plan;
    let Some(taken) = Taken::of(message).filter(|_| message.taken) else { return Vec::new() };
    let Some(url) = address(taken, played) else { return Vec::new() };
    let last = if taken.stamp.delivered { Step::Delivered } else { Step::Undelivered };
    let mut steps = vec![last];
    if plan.intermediate && dialect.tells_sent(&taken) {
        steps.insert(0, Step::Sent);
    }
    if plan.disorder {
        steps.reverse();
    }
    if plan.twice {
        steps.push(last);
    }
    let secret = played.account.secret(&played.key).to_owned();
    let parts = if dialect.by_part() { taken.segments() } else { 1 };
    let mut pens = Vec::new();
    for part in 0..parts {
        let id = played.receipts.ids.write(&dialect.part_id(&taken.stamp.id, part));
        let mut pen = |id: String, step, secret: String| {
            let (message, account, url) = (Arc::clone(message), Arc::clone(&played.account), url.clone());
            pens.push(Box::new(move || {
                let (taken, account) = (Taken::of(&message)?, &*account);
                dialect.receipt(&News { taken, id: &id, step, url: &url, secret: &secret, account })
            }) as Pen);
        };
        if plan.forged {
            // Who forges knows an id or the secret, but not both.
            let (id, secret) =
                if dialect.signs() { (id.clone(), "forged") } else { (format!("{id}f"), secret.as_str()) };
            pen(id, last.contrary(), secret.to_owned());
        }
        for step in &steps {
            pen(id.clone(), *step, secret.clone());
        }
    }
    pens
}

/// Where the receipts of a message go. An address that a client names is only called on this machine or a private network:
/// nothing that is tried here may reach outside.
fn address(taken: Taken<'_>, played: &Played) -> Option<Url> {
    let Some(named) = &taken.stamp.callback else { return played.account.push_url().cloned() };
    let url = Url::parse(named).ok()?;
    if played.receipts.via.is_some() || (url.scheme() == "http" && is_near(&url)) {
        return Some(url);
    }
    tracing::warn!(
        msg.id = taken.message.seq,
        "simulated gateway: no receipt is pushed to an address outside; set via in [receipts]"
    );
    None
}

fn is_near(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback() || ip.is_unique_local(),
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}
