//! What was posted: reads a request's body within its limits and finds the message in it.
//!
//! Owns the shape `{"api_key","sender_id","phone","message"}`, with an optional `reference` of the client's own. Whatever comes becomes a [`Post`]: what cannot be used
//! carries the complaint that is answered 400, beside the parts that could be read. The API key leaves this file only
//! to be compared; what is kept of a body has it redacted.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Incoming};
use serde_json::Value;

/// Largest body taken, bytes. A text of ten segments is 3 kB of JSON.
pub(super) const MAX_BODY_BYTES: usize = 1 << 20;
/// Largest body read to its end only to be refused, bytes: a client still writing would see a reset, not the 413.
const MAX_DRAIN_BYTES: usize = 16 << 20;

/// What stands in the record instead of an API key.
pub(super) const REDACTED: &str = "[redacted]";

/// Why a body could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unread {
    /// More than the limit.
    TooLarge,
    /// The client left before its end.
    Broken,
}

/// Reads a whole body of at most `limit` bytes.
pub(super) async fn read(mut body: Incoming, limit: usize) -> Result<Bytes, Unread> {
    let mut whole = BytesMut::new();
    let mut seen = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Unread::Broken)?.into_data() else { continue };
        seen += data.len();
        if seen > MAX_DRAIN_BYTES {
            return Err(Unread::TooLarge);
        }
        if seen > limit {
            whole = BytesMut::new();
        } else if whole.is_empty() && body.is_end_stream() {
            return Ok(data);
        } else {
            whole.extend_from_slice(&data);
        }
    }
    if seen > limit { Err(Unread::TooLarge) } else { Ok(whole.freeze()) }
}

/// A message as it was posted. Parts that were missing or not text are empty.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Post {
    pub(super) key: Option<String>,
    pub(super) sender_id: String,
    pub(super) phone: String,
    pub(super) message: String,
    /// The client's own reference; none when it was missing, `null` or empty.
    pub(super) reference: Option<String>,
    /// The body as JSON with its key redacted, unless it is the usual texts; `null` when it was not JSON.
    pub(super) unusual: Option<Box<str>>,
    /// Why it cannot be used: a sentence for the client.
    pub(super) complaint: Option<String>,
}

impl Post {
    pub(super) fn parse(body: &[u8]) -> Post {
        let mut value: Value = match serde_json::from_slice(body) {
            Ok(value) => value,
            Err(error) => return Post::unusable(&Value::Null, format!("The body is not JSON: {error}.")),
        };
        let Some(fields) = value.as_object_mut() else {
            return Post::unusable(&value, "The body is not a JSON object.".to_owned());
        };
        let mut complaint = None;
        let mut text = |name: &str| match fields.get(name) {
            Some(Value::String(text)) => Some(text.clone()),
            Some(_) => {
                complaint.get_or_insert_with(|| format!("The field {name} is not a text."));
                None
            }
            None => {
                complaint.get_or_insert_with(|| format!("The field {name} is missing."));
                None
            }
        };
        let (key, sender_id, phone, message) = (text("api_key"), text("sender_id"), text("phone"), text("message"));
        let reference = match fields.get("reference") {
            None | Some(Value::Null) => None,
            Some(Value::String(reference)) => Some(reference.clone()).filter(|reference| !reference.is_empty()),
            Some(_) => {
                complaint.get_or_insert_with(|| "The field reference is not a text.".to_owned());
                None
            }
        };
        let usual = complaint.is_none() && fields.len() == 4 + usize::from(reference.is_some());
        if let Some(key) = fields.get_mut("api_key") {
            *key = Value::from(REDACTED);
        }
        Post {
            key,
            sender_id: sender_id.unwrap_or_default(),
            phone: phone.unwrap_or_default(),
            message: message.unwrap_or_default(),
            reference,
            unusual: (!usual).then(|| value.to_string().into()),
            complaint,
        }
    }

    fn unusable(body: &Value, complaint: String) -> Post {
        Post { unusual: Some(body.to_string().into()), complaint: Some(complaint), ..Post::default() }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn parse(value: &Value) -> Post {
        Post::parse(value.to_string().as_bytes())
    }

    #[test]
    fn the_usual_four_texts_are_taken_and_no_body_is_kept() {
        let post = parse(&json!({"api_key": "k", "sender_id": "ECAR", "phone": "+21620000001", "message": "Bonjour"}));
        assert_eq!(
            post,
            Post {
                key: Some("k".into()),
                sender_id: "ECAR".into(),
                phone: "+21620000001".into(),
                message: "Bonjour".into(),
                reference: None,
                unusual: None,
                complaint: None
            }
        );
    }

    #[test]
    fn a_reference_is_usual_when_it_is_a_text() {
        let with = |reference: Value| {
            parse(&json!({"api_key": "k", "sender_id": "E", "phone": "p", "message": "m", "reference": reference}))
        };
        let post = with(json!("ecar-1-1"));
        assert_eq!((post.reference.as_deref(), &post.unusual, &post.complaint), (Some("ecar-1-1"), &None, &None));
        for none in [json!(null), json!("")] {
            let post = with(none);
            assert!(post.reference.is_none() && post.complaint.is_none() && post.unusual.is_some());
        }
        assert!(with(json!(7)).complaint.unwrap().contains("reference is not a text"));
    }

    #[test]
    fn an_extra_field_is_kept_with_the_key_redacted() {
        let post = parse(&json!({"api_key": "k", "sender_id": "E", "phone": "p", "message": "m", "ref": 7}));
        assert_eq!(post.complaint, None);
        let body: Value = serde_json::from_str(&post.unusual.unwrap()).unwrap();
        assert_eq!(body, json!({"api_key": REDACTED, "sender_id": "E", "phone": "p", "message": "m", "ref": 7}));
    }

    #[test]
    fn a_body_that_cannot_be_used_says_why_and_keeps_what_could_be_read() {
        for (body, word) in [
            ("{", "not JSON"),
            ("[]", "not a JSON object"),
            ("null", "not a JSON object"),
            (r#"{"sender_id":"E","phone":"p","message":"m"}"#, "api_key is missing"),
            (r#"{"api_key":7,"sender_id":"E","phone":"p","message":"m"}"#, "api_key is not a text"),
            (r#"{"api_key":"k","sender_id":"E","phone":"p","message":null}"#, "message is not a text"),
        ] {
            let post = Post::parse(body.as_bytes());
            assert!(post.complaint.as_deref().unwrap().contains(word), "{body}: {:?}", post.complaint);
            assert!(post.unusual.is_some(), "{body}");
            if body.contains("phone") {
                assert_eq!(post.phone, "p");
            }
        }
    }

    proptest! {
        #[test]
        fn a_key_of_any_type_is_never_kept(key in prop_oneof![
            Just(json!("s3cret")), Just(json!(["s3cret"])), Just(json!({"s3cret": "s3cret"}))
        ], phone in ".{0,20}", extra in any::<bool>()) {
            let mut body = json!({"api_key": key, "sender_id": "E", "phone": phone});
            if extra {
                body["more"] = json!(1);
            }
            let kept = parse(&body).unusual.unwrap();
            prop_assert!(!kept.contains("s3cret"));
            prop_assert_eq!(&serde_json::from_str::<Value>(&kept).unwrap()["phone"], &body["phone"]);
        }

        #[test]
        fn any_bytes_are_taken_or_complained_about(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Post::parse(&body).complaint.is_some());
        }
    }
}
