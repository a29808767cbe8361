//! JSON that can be printed: staff read answers of the socket with curl, and texts of customers and providers must not drive
//! their terminal. JSON escapes control characters below U+0020 only; here the others and direction marks are, too.

use std::fmt::Write as _;

use axum::body::{Body, to_bytes};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use crate::message::facts::turns_text;

/// Largest answer, in bytes: above a thousand messages of the longest text, with the story of each.
const ANSWER_LIMIT_BYTES: usize = 64 * 1024 * 1024;

/// Escapes what JSON does not.
pub(super) async fn printable(response: Response) -> Response {
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.starts_with("application/json") && !kind.starts_with("application/problem+json") {
        return response;
    }
    let (mut head, body) = response.into_parts();
    match to_bytes(body, ANSWER_LIMIT_BYTES).await {
        Ok(body) => {
            // Its length may be another now; hyper writes it from the body.
            head.headers.remove(header::CONTENT_LENGTH);
            Response::from_parts(head, Body::from(escaped(&String::from_utf8_lossy(&body))))
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Such characters stand inside of strings alone in compact JSON, and below U+10000.
fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_control() || turns_text(c) {
            // Writing to a string cannot fail.
            let _ = write!(text, "\\u{:04x}", u32::from(c));
        } else {
            text.push(c);
        }
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_drives_a_terminal_is_escaped_and_reads_back() {
        // Found by fuzzing: a C1 control in the name of an unknown parameter came back as it was.
        let said = serde_json::json!({ "detail": "a\u{97}b\u{9b}31m\u{7f}\u{202e}\n\u{61c}é" });
        let text = escaped(&said.to_string());
        assert!(!text.chars().any(|c| c.is_control() || turns_text(c)), "{text:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), said);
    }
}
