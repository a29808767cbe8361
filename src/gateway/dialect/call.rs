//! A request to a simulated vendor, read once: its path, fields, JSON and credentials.
//!
//! Owns what HTTP and its encodings mean; no vendor's words. Whatever cannot be read is absent, and the dialect says what that
//! means. Every number of fields is bounded.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap};
use hyper::{Method, Uri};
use serde_json::{Map, Value};

use crate::gateway::post::REDACTED;

/// Most fields of a query or form that are read; no vendor has 60.
const MAX_FIELDS: usize = 256;
/// Fields that hold a secret, of all vendors.
const SECRETS: [&str; 4] = ["api_key", "api_secret", "sig", "key"];

/// Names and values in the order of the request.
pub(in crate::gateway) type Fields = Vec<(String, String)>;

/// A request.
#[derive(Debug)]
pub(in crate::gateway) struct Call {
    pub(in crate::gateway) method: Method,
    /// After `/vendor/NAME`, as it came.
    pub(in crate::gateway) path: String,
    /// The whole path.
    pub(in crate::gateway) full_path: String,
    /// Of the query.
    pub(in crate::gateway) query: Fields,
    /// Of a form in the body; none without its content type.
    pub(in crate::gateway) form: Fields,
    /// The body, where it is JSON; `null` elsewhere.
    pub(in crate::gateway) json: Value,
    headers: HeaderMap,
}

impl Call {
    pub(in crate::gateway) fn new(method: Method, uri: &Uri, prefix: &str, headers: HeaderMap, body: &Bytes) -> Call {
        let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let is_form = content_type.starts_with("application/x-www-form-urlencoded");
        Call {
            method,
            path: uri.path().strip_prefix(prefix).unwrap_or_default().to_owned(),
            full_path: uri.path().to_owned(),
            query: fields(uri.query().unwrap_or_default().as_bytes()),
            form: if is_form { fields(body) } else { Fields::new() },
            json: if is_form { Value::Null } else { serde_json::from_slice(body).unwrap_or_default() },
            headers,
        }
    }

    /// The credentials of `Authorization: SCHEME credentials`.
    pub(in crate::gateway) fn authorization(&self, scheme: &str) -> Option<&str> {
        let header = self.headers.get(AUTHORIZATION)?.to_str().ok()?;
        let (found, credentials) = header.split_once(' ')?;
        found.eq_ignore_ascii_case(scheme).then(|| credentials.trim())
    }

    pub(in crate::gateway) fn has_authorization(&self) -> bool {
        self.headers.contains_key(AUTHORIZATION)
    }

    /// User and password of HTTP Basic (RFC 7617).
    pub(in crate::gateway) fn basic(&self) -> Option<(String, String)> {
        let decoded = BASE64.decode(self.authorization("Basic")?).ok()?;
        let (user, password) = String::from_utf8(decoded).ok()?.split_once(':').map(|(u, p)| (u.into(), p.into()))?;
        Some((user, password))
    }

    /// What of the request stays on the record: its fields or its JSON, without secrets.
    pub(in crate::gateway) fn kept(&self) -> Value {
        if !self.json.is_null() {
            return self.json.clone();
        }
        let mut kept = Map::new();
        for (name, value) in self.query.iter().chain(&self.form) {
            let value = if SECRETS.contains(&name.to_ascii_lowercase().as_str()) { REDACTED } else { value.as_str() };
            kept.insert(name.clone(), Value::from(value));
        }
        Value::Object(kept)
    }
}

/// The value of the first field of this name.
pub(in crate::gateway) fn field<'a>(fields: &'a Fields, name: &str) -> Option<&'a str> {
    fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

/// The first field that is none of these.
pub(in crate::gateway) fn stranger<'a>(fields: &'a Fields, known: &[&str]) -> Option<&'a str> {
    fields.iter().map(|(name, _)| name.as_str()).find(|name| !known.contains(name))
}

/// The first key of an object that is none of these; what is no object has none.
pub(in crate::gateway) fn strange_key<'a>(value: &'a Value, known: &[&str]) -> Option<&'a str> {
    value.as_object()?.keys().map(String::as_str).find(|key| !known.contains(key))
}

/// The text at a key, where there is one.
pub(in crate::gateway) fn text_at(value: &Value, pointer: &str) -> Option<String> {
    value.pointer(pointer).and_then(Value::as_str).map(str::to_owned)
}

fn fields(encoded: &[u8]) -> Fields {
    url::form_urlencoded::parse(encoded)
        .take(MAX_FIELDS)
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect()
}
