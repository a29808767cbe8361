//! An HTTP answer as it is judged: read once, then looked at by rules and extractors. Owns no meaning.

use serde_json::Value;

/// What came back.
pub(super) struct Answer {
    pub(super) status: u16,
    /// `Retry-After`, as it came.
    pub(super) retry_after: Option<String>,
    /// `Date`, as it came: a date in `Retry-After` is compared with the clock that wrote it.
    pub(super) date: Option<String>,
    /// The body, or the part of it that was read; what is no UTF-8 is replaced.
    pub(super) body: String,
    /// The body as JSON, when it is JSON.
    pub(super) json: Option<Value>,
    /// Whether the body was read to its end.
    pub(super) complete: bool,
}

impl Answer {
    pub(super) fn new(
        status: u16,
        retry_after: Option<String>,
        date: Option<String>,
        body: &[u8],
        complete: bool,
    ) -> Self {
        let body = String::from_utf8_lossy(body).into_owned();
        // Windows servers like to begin with a byte order mark, which JSON forbids.
        let json = serde_json::from_str(body.trim_start_matches('\u{feff}')).ok();
        Self { status, retry_after, date, body, json, complete }
    }

    #[cfg(test)]
    pub(super) fn of(status: u16, body: &str) -> Self {
        Self::new(status, None, None, body.as_bytes(), true)
    }
}
