//! What a provider pushes: delivery receipts and replies, found in its requests by JSON paths.
//!
//! Owns the shapes `receipts` and `replies` of the configuration and how they are read. Nothing is believed before its signature was checked ([`signature`](super::signature)). A word of the provider
//! that no list names is `pending`, which never ends a message: new words come without notice.

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use serde::Deserialize;
use serde_json::Value;
use serde_json_path::JsonPath;

use super::GenericError;
use super::detail::Redactor;
use super::extract::{first_value, json_path, scalar_text};
use super::parameters::Parameters;
use super::rule::{JsonConfig, JsonTest, Scalar};
use super::signature::{Signature, SignatureConfig};
use crate::provider::receipt::{DeliveryStatus, Push, PushError, Pushed, RECEIPTS_LIMIT, Receipt, Reply};

/// Longest word and error kept of a receipt, in characters, each.
const WORD_LIMIT_CHARS: usize = 100;

/// How pushed delivery receipts are read. Unknown keys are errors. Paths are JSON paths (RFC 9535), from each item.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceiptsConfig {
    /// JSON path of the receipts in the body, for example `$.results[*]`. Default: the body is one, or a list of them.
    #[serde(default)]
    pub items: Option<String>,
    /// What must hold for an item to be a receipt, where others come to the same URL. Default: that it has a status.
    #[serde(default)]
    pub when: Option<JsonConfig>,
    /// Where the provider's id of the message is.
    #[serde(default)]
    pub id: Option<String>,
    /// Where our reference of the attempt is.
    #[serde(default)]
    pub reference: Option<String>,
    /// Where the status is.
    pub status: String,
    /// Statuses that mean: it is on the handset. Compared as text, without regard to upper and lower case.
    pub delivered: Vec<Scalar>,
    /// Statuses that mean: it will never be.
    pub undelivered: Vec<Scalar>,
    /// Where a further word or code is, for staff.
    #[serde(default)]
    pub error: Option<String>,
    /// Where the time is: RFC 3339, RFC 2822, or seconds since 1970.
    #[serde(default)]
    pub at: Option<String>,
}

/// How replies of customers are read. Unknown keys are errors.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RepliesConfig {
    /// JSON path of the replies in the body. Default: the body is one, or a list of them.
    #[serde(default)]
    pub items: Option<String>,
    /// What must hold for an item to be a reply. Default: that it has a number and a text.
    #[serde(default)]
    pub when: Option<JsonConfig>,
    /// Where the number of the customer is.
    pub from: String,
    /// Where the text is.
    pub text: String,
}

/// Reads receipts, pushed or asked for.
pub(super) struct ReceiptReader {
    items: Option<JsonPath>,
    when: Option<JsonTest>,
    id: Option<JsonPath>,
    reference: Option<JsonPath>,
    status: JsonPath,
    delivered: Vec<String>,
    undelivered: Vec<String>,
    error: Option<JsonPath>,
    at: Option<JsonPath>,
}

impl ReceiptReader {
    /// Checks what the configuration says under `key`.
    pub(super) fn new(key: &str, config: &ReceiptsConfig) -> Result<Self, GenericError> {
        let path = |name: &str, path: &Option<String>| {
            path.as_ref().map(|path| json_path(&format!("{key}.{name}"), path)).transpose()
        };
        let words = |list: &[Scalar]| list.iter().map(|word| word.text().to_lowercase()).collect();
        Ok(Self {
            items: path("items", &config.items)?,
            when: when(key, config.when.as_ref())?,
            id: path("id", &config.id)?,
            reference: path("reference", &config.reference)?,
            status: json_path(&format!("{key}.status"), &config.status)?,
            delivered: words(&config.delivered),
            undelivered: words(&config.undelivered),
            error: path("error", &config.error)?,
            at: path("at", &config.at)?,
        })
    }

    /// The receipts in `body`. Items that are none (no status, nothing to find the message by) are left out. `asked`: the id of the message that
    /// the body is about, where it does not say so itself.
    pub(super) fn read(&self, body: &Value, asked: Option<&str>, redactor: &Redactor) -> Vec<Receipt> {
        items(self.items.as_ref(), body, self.when.as_ref())
            .filter_map(|item| self.read_one(item, asked, redactor))
            .collect()
    }

    fn read_one(&self, item: &Value, asked: Option<&str>, redactor: &Redactor) -> Option<Receipt> {
        let find = |path: &Option<JsonPath>| first_value(std::slice::from_ref(path.as_ref()?), item);
        let word = self.status.query(item).all().into_iter().find_map(scalar_text)?;
        let id = find(&self.id).or_else(|| asked.map(str::to_owned)).and_then(|id| redactor.id(&id));
        let reference = find(&self.reference).and_then(|reference| redactor.id(&reference));
        if id.is_none() && reference.is_none() {
            return None;
        }
        let status = match word.to_lowercase() {
            word if self.delivered.contains(&word) => DeliveryStatus::Delivered,
            word if self.undelivered.contains(&word) => DeliveryStatus::Undelivered,
            _ => DeliveryStatus::Pending,
        };
        let short = |text: &str| -> String { redactor.detail(text).chars().take(WORD_LIMIT_CHARS).collect() };
        let words = match find(&self.error).map(|error| short(&error)).filter(|error| !error.is_empty()) {
            Some(error) => format!("{} {error}", short(&word)),
            None => short(&word),
        };
        let at = find(&self.at).and_then(|text| moment(&text));
        Some(Receipt { provider_message_id: id.unwrap_or_default(), reference, status, words, at })
    }
}

/// Reads what is pushed.
pub(super) struct Pushes {
    signature: Signature,
    receipts: Option<ReceiptReader>,
    replies: Option<ReplyReader>,
}

struct ReplyReader {
    items: Option<JsonPath>,
    when: Option<JsonTest>,
    from: JsonPath,
    text: JsonPath,
}

impl Pushes {
    /// Checks what the configuration says about pushes; `None`: nothing is pushed.
    pub(super) fn new(
        receipts: Option<&ReceiptsConfig>,
        replies: Option<&RepliesConfig>,
        signature: &SignatureConfig,
        api_key: Option<&str>,
    ) -> Result<Option<Self>, GenericError> {
        if receipts.is_none() && replies.is_none() {
            return Ok(None);
        }
        let receipts = receipts.map(|config| ReceiptReader::new("receipts", config)).transpose()?;
        if receipts.as_ref().is_some_and(|reader| reader.id.is_none() && reader.reference.is_none()) {
            return Err(GenericError::key("receipts", "needs `id` or `reference`: by one of them a message is found"));
        }
        let replies = match replies {
            None => None,
            Some(config) => Some(ReplyReader {
                items: config.items.as_ref().map(|path| json_path("replies.items", path)).transpose()?,
                when: when("replies", config.when.as_ref())?,
                from: json_path("replies.from", &config.from)?,
                text: json_path("replies.text", &config.text)?,
            }),
        };
        Ok(Some(Self { signature: Signature::new(signature, api_key)?, receipts, replies }))
    }

    /// What a push says. Empty when it speaks of nothing that is known here: that is answered as a success, or the provider would repeat it.
    pub(super) fn read(&self, push: &Push<'_>, redactor: &Redactor) -> Result<Vec<Pushed>, PushError> {
        let parameters = Parameters::of(push)?;
        self.signature.check(push, &parameters)?;
        let mut pushed = Vec::new();
        if let Some(reader) = &self.receipts {
            pushed.extend(reader.read(&parameters.json, None, redactor).into_iter().map(Pushed::Receipt));
        }
        if let Some(reader) = &self.replies {
            for item in items(reader.items.as_ref(), &parameters.json, reader.when.as_ref()) {
                let find = |path: &JsonPath| first_value(std::slice::from_ref(path), item);
                if let (Some(from), Some(text)) = (find(&reader.from), find(&reader.text)) {
                    pushed.push(Pushed::Reply(Reply { from, text }));
                }
            }
        }
        if pushed.len() > RECEIPTS_LIMIT {
            return Err(PushError::Malformed(format!("more than {RECEIPTS_LIMIT} receipts in one request")));
        }
        Ok(pushed)
    }
}

/// The items that a path finds, or the body itself, or those of the list that it is: those for which `when` holds.
fn items<'a>(path: Option<&JsonPath>, body: &'a Value, when: Option<&JsonTest>) -> impl Iterator<Item = &'a Value> {
    let found = match (path, body) {
        (Some(path), body) => path.query(body).all(),
        (None, Value::Array(items)) => items.iter().collect(),
        (None, body) => vec![body],
    };
    found.into_iter().filter(move |item| when.is_none_or(|when| when.holds(Some(item))))
}

/// What the configuration says about items under `key`.
fn when(key: &str, config: Option<&JsonConfig>) -> Result<Option<JsonTest>, GenericError> {
    config.map(|config| JsonTest::new(&format!("{key}.when"), config)).transpose()
}

/// A time as providers write it: RFC 3339, with an offset as `+0000` too, RFC 2822, or seconds or milliseconds since 1970.
fn moment(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(number) = text.parse::<i64>() {
        let in_ms = number.unsigned_abs() > 100_000_000_000;
        return if in_ms { Timestamp::from_millisecond(number).ok() } else { Timestamp::from_second(number).ok() };
    }
    let compact = || jiff::fmt::strtime::parse("%Y-%m-%dT%H:%M:%S%.f%z", text).ok()?.to_timestamp().ok();
    // A wrong weekday is no reason to ignore a time.
    let parser = rfc2822::DateTimeParser::new().relaxed_weekday(true);
    text.parse().ok().or_else(compact).or_else(|| parser.parse_timestamp(text).ok())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_every_form_that_a_vendor_documents() {
        let expected: Timestamp = "2026-03-02T11:03:04Z".parse().unwrap();
        for text in [
            "2026-03-02T11:03:04Z",
            "2026-03-02T12:03:04+01:00",
            "2026-03-02T12:03:04.000+0100",
            "Mon, 02 Mar 2026 11:03:04 +0000",
            "Tue, 2 Mar 2026 12:03:04 +0100",
            " 1772449384 ",
            "1772449384000",
        ] {
            assert_eq!(moment(text), Some(expected), "{text}");
        }
        for text in ["", "yesterday", "2026-03-02 11:03:04", "2026-03-02", "99999999999999999999"] {
            assert_eq!(moment(text), None, "{text}");
        }
    }
}
