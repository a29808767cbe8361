//! The bodies of answers. Owns their shapes and lengths; none is held in memory beyond a chunk.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt as _};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

use super::ledger::Received;
use super::rule::MAX_DELAY;

/// Any body.
pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// One chunk of a huge body, bytes.
const CHUNK_BYTES: usize = 62_500;
/// A huge body is this many chunks: 100 MB, more than a client should ever take into memory for an answer.
const HUGE_CHUNKS: usize = 1_600;
/// An endless body sends one byte this often: fast enough that no idle time-out ends it.
const DRIP: Duration = Duration::from_millis(100);
/// Messages in one chunk of a listing.
const LISTED_AT_ONCE: usize = 500;

pub(super) fn json(status: StatusCode, value: &Value) -> Response<Body> {
    whole(status, "application/json", Bytes::from(value.to_string()))
}

/// The gateway's own word of refusal: `{"error": "a sentence"}`.
pub(super) fn error(status: StatusCode, sentence: &str) -> Response<Body> {
    json(status, &json!({ "error": sentence }))
}

pub(super) fn whole(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Body> {
    with_body(status, content_type, Full::new(body).boxed_unsync())
}

/// 200 and 100 MB of spaces: a legal beginning of JSON, so that only a limit on its length protects the client.
pub(super) fn huge() -> Response<Body> {
    static SPACES: [u8; CHUNK_BYTES] = [b' '; CHUNK_BYTES];
    streamed(stream::repeat(Bytes::from_static(&SPACES)).take(HUGE_CHUNKS))
}

/// 200 and one space after the other, for [`MAX_DELAY`].
pub(super) fn endless() -> Response<Body> {
    let drips = MAX_DELAY.as_millis() / DRIP.as_millis();
    let drops = stream::unfold(0, move |sent| async move {
        if sent >= drips {
            return None;
        }
        tokio::time::sleep(DRIP).await;
        Some((Bytes::from_static(b" "), sent + 1))
    });
    streamed(drops)
}

/// 200 and a JSON array of messages.
pub(super) fn listing(messages: Vec<Arc<Received>>) -> Response<Body> {
    let chunks = stream::unfold((messages, 0), |(messages, done)| async move {
        if done > messages.len() {
            return None;
        }
        let upto = messages.len().min(done + LISTED_AT_ONCE);
        let mut chunk = String::from(if done == 0 { "[" } else { "" });
        for (place, message) in messages[done..upto].iter().enumerate() {
            if done + place > 0 {
                chunk.push_str(",\n");
            }
            // Numbers and texts only: there is nothing in a message that JSON could not hold.
            chunk.push_str(&serde_json::to_string(&**message).unwrap_or_default());
        }
        if upto == messages.len() {
            chunk.push_str("]\n");
            return Some((Bytes::from(chunk), (messages, usize::MAX)));
        }
        Some((Bytes::from(chunk), (messages, upto)))
    });
    streamed(chunks)
}

fn streamed(chunks: impl Stream<Item = Bytes> + Send + 'static) -> Response<Body> {
    let frames = StreamBody::new(chunks.map(|chunk| Ok(Frame::data(chunk))));
    with_body(StatusCode::OK, "application/json", frames.boxed_unsync())
}

fn with_body(status: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
