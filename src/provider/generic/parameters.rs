//! What a push carries, in one shape: a query and a form become one JSON object of texts, so that the same paths read all three kinds.

use serde_json::{Map, Value};

use crate::provider::receipt::{Push, PushError};

/// What a push carries, in one shape.
pub(super) struct Parameters {
    /// The pairs of a form, as some signatures want them; of the query alone when there is no form.
    pub(super) pairs: Vec<(String, String)>,
    /// The body as JSON; a form, and a query, as one object of texts.
    pub(super) json: Value,
}

impl Parameters {
    pub(super) fn of(push: &Push<'_>) -> Result<Self, PushError> {
        let query = push.url.split_once('?').map_or("", |(_, query)| query);
        let content_type = (push.header)("content-type").unwrap_or_default().to_ascii_lowercase();
        let decode =
            |text: &[u8]| -> Vec<(String, String)> { url::form_urlencoded::parse(text).into_owned().collect() };
        if push.body.is_empty() {
            let pairs = decode(query.as_bytes());
            return Ok(Self { json: object(&pairs), pairs });
        }
        if content_type.starts_with("application/x-www-form-urlencoded") {
            let pairs = decode(push.body);
            return Ok(Self { json: object(&pairs), pairs });
        }
        let json = serde_json::from_slice(push.body).map_err(|error| {
            PushError::Malformed(format!(
                "the body is neither a form nor JSON: line {}, column {}",
                error.line(),
                error.column()
            ))
        })?;
        Ok(Self { pairs: decode(query.as_bytes()), json })
    }
}

fn object(pairs: &[(String, String)]) -> Value {
    Value::Object(pairs.iter().map(|(name, value)| (name.clone(), Value::String(value.clone()))).collect::<Map<_, _>>())
}
