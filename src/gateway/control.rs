//! The gateway's own HTTP interface, for tests and people: what was received, and what to do wrong next.
//!
//! Owns the paths `/messages`, `/lookup`, `/replies`, `/stats`, `/script` and `/healthz`; no message can be posted to them. Never changes
//! anything on a request it does not understand wholly: that is 400 or 405, with a sentence.

use hyper::body::Incoming;
use hyper::header::{ALLOW, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Uri};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::desk::{Desk, Found, Question};
use super::inbox;
use super::ledger::{Received, message_id};
use super::post::{self, MAX_BODY_BYTES, Unread};
use super::reply::{self, Body};
use super::script::Script;
use super::smpp::Centre;

/// A control path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Control {
    Messages,
    Lookup,
    Replies,
    Stats,
    Script,
    Health,
}

impl Control {
    /// None for every path that messages may be posted to.
    pub(super) fn of(path: &str) -> Option<Control> {
        match path {
            "/messages" => Some(Control::Messages),
            "/lookup" => Some(Control::Lookup),
            "/replies" => Some(Control::Replies),
            "/stats" => Some(Control::Stats),
            "/script" => Some(Control::Script),
            "/healthz" => Some(Control::Health),
            _ => None,
        }
    }

    fn methods(self) -> &'static str {
        match self {
            Control::Messages => "GET, DELETE",
            Control::Lookup | Control::Stats | Control::Health => "GET",
            Control::Replies => "POST",
            Control::Script => "PUT",
        }
    }

    /// Answers a request to this path.
    pub(super) async fn answer(self, desk: &Desk, centre: &Centre, request: Request<Incoming>) -> Response<Body> {
        let method = request.method().clone();
        if !self.methods().split(", ").any(|allowed| allowed == method.as_str()) {
            return wrong_method(self.methods());
        }
        match self {
            Control::Messages if method == Method::DELETE => {
                desk.clear();
                reply::json(StatusCode::OK, &json!({"messages": 0}))
            }
            Control::Messages => list(desk, request.uri()),
            Control::Lookup => look_up(desk, request.uri()),
            Control::Replies => inbox::answer(desk, centre, request.into_body()).await,
            Control::Stats => reply::json(StatusCode::OK, &json!(desk.stats())),
            Control::Script => replace(desk, request.into_body()).await,
            Control::Health => reply::json(StatusCode::OK, &json!({"status": "ok"})),
        }
    }
}

/// 405 with the methods that exist.
pub(super) fn wrong_method(allowed: &'static str) -> Response<Body> {
    let mut response = reply::error(StatusCode::METHOD_NOT_ALLOWED, &format!("Only {allowed} here."));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

fn list(desk: &Desk, uri: &Uri) -> Response<Body> {
    let (mut phone, mut since_seq) = (None, 0);
    for (name, value) in url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
        match (&*name, value.parse::<u64>()) {
            ("phone", _) => phone = Some(with_plus(&value)),
            ("since_seq", Ok(seq)) => since_seq = seq,
            _ => {
                return reply::error(StatusCode::BAD_REQUEST, "The query is ?phone= and ?since_seq= (a number) only.");
            }
        }
    }
    let mut messages = desk.messages();
    messages.retain(|message| message.seq > since_seq && phone.as_ref().is_none_or(|phone| message.phone == *phone));
    reply::listing(messages)
}

/// A phone from a query: a plus sign that nobody escaped has become a space.
fn with_plus(value: &str) -> String {
    value.strip_prefix(' ').map_or(value.to_owned(), |rest| format!("+{rest}"))
}

/// What the gateway knows of a message, as a provider would tell its client.
fn look_up(desk: &Desk, uri: &Uri) -> Response<Body> {
    let (mut reference, mut phone, mut key) = (None, None, None);
    let mut since = Ok(Timestamp::MIN);
    for (name, value) in url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
        match &*name {
            "reference" => reference = Some(value.into_owned()),
            "phone" => phone = Some(with_plus(&value)),
            "since" => since = value.parse(),
            "api_key" => key = Some(value.into_owned()),
            // Providers ignore what they do not know.
            _ => {}
        }
    }
    let question = match (&reference, &phone, since) {
        (Some(reference), None, _) => Question::Reference(reference),
        (None, Some(phone), Ok(since)) => Question::Recipient(phone, since),
        (None, Some(_), Err(_)) => {
            return reply::error(StatusCode::BAD_REQUEST, "since is a time such as 2026-03-02T11:03:04Z.");
        }
        (Some(_), Some(_), _) | (None, None, _) => {
            return reply::error(StatusCode::BAD_REQUEST, "Ask with ?reference= or with ?phone= and ?since=.");
        }
    };
    let taken = match desk.look_up(&question, key.as_deref()) {
        Found::Taken(taken) => taken,
        Found::NotOffered => return reply::error(StatusCode::NOT_IMPLEMENTED, "The script offers no such look-up."),
        Found::WrongKey => return reply::error(StatusCode::UNAUTHORIZED, "The api_key is wrong."),
    };
    match (question, taken.first()) {
        (Question::Recipient(..), _) => {
            let messages: Vec<_> = taken.iter().map(|message| described(message)).collect();
            reply::json(StatusCode::OK, &json!({ "messages": messages }))
        }
        (Question::Reference(_), Some(message)) => {
            let id = message_id(message.seq);
            reply::json(StatusCode::OK, &json!({"id": id, "status": "accepted", "reference": message.reference}))
        }
        (Question::Reference(_), None) => {
            reply::error(StatusCode::NOT_FOUND, "No message was taken with this reference.")
        }
    }
}

fn described(message: &Received) -> Value {
    json!({
        "id": message_id(message.seq),
        "phone": message.phone,
        "message": message.message,
        "reference": message.reference,
        "at": message.at,
    })
}

async fn replace(desk: &Desk, body: Incoming) -> Response<Body> {
    let body = match post::read(body, MAX_BODY_BYTES).await {
        Ok(body) => body,
        Err(Unread::TooLarge) => {
            return reply::error(StatusCode::PAYLOAD_TOO_LARGE, "The script is larger than 1 MiB.");
        }
        Err(Unread::Broken) => return reply::error(StatusCode::BAD_REQUEST, "The script ended early."),
    };
    let Ok(text) = std::str::from_utf8(&body) else {
        return reply::error(StatusCode::BAD_REQUEST, "The script is not UTF-8.");
    };
    match Script::parse(text) {
        Ok(script) => {
            let rules = script.rules.len();
            desk.set_script(script);
            reply::json(StatusCode::OK, &json!({ "rules": rules }))
        }
        Err(error) => reply::error(StatusCode::BAD_REQUEST, &error.to_string()),
    }
}
