//! The gateway's own HTTP interface, for tests and people: what was received, and what to do wrong next.
//!
//! Owns the paths `/messages`, `/stats`, `/script` and `/healthz`; no message can be posted to them. Never changes
//! anything on a request it does not understand wholly: that is 400 or 405, with a sentence.

use hyper::body::Incoming;
use hyper::header::{ALLOW, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Uri};
use serde_json::json;

use super::desk::Desk;
use super::post::{self, MAX_BODY_BYTES, Unread};
use super::reply::{self, Body};
use super::script::Script;

/// A control path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Control {
    Messages,
    Stats,
    Script,
    Health,
}

impl Control {
    /// None for every path that messages may be posted to.
    pub(super) fn of(path: &str) -> Option<Control> {
        match path {
            "/messages" => Some(Control::Messages),
            "/stats" => Some(Control::Stats),
            "/script" => Some(Control::Script),
            "/healthz" => Some(Control::Health),
            _ => None,
        }
    }

    fn methods(self) -> &'static str {
        match self {
            Control::Messages => "GET, DELETE",
            Control::Stats | Control::Health => "GET",
            Control::Script => "PUT",
        }
    }

    /// Answers a request to this path.
    pub(super) async fn answer(self, desk: &Desk, request: Request<Incoming>) -> Response<Body> {
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
            // A plus sign that nobody escaped has become a space.
            ("phone", _) => phone = Some(value.strip_prefix(' ').map_or(value.to_string(), |rest| format!("+{rest}"))),
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
