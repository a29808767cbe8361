//! Vonage's SMS API (<https://developer.vonage.com/en/api/sms>).
//!
//! Owns Vonage's fields, statuses and pushes. It answers 200 to everything, with a status for each segment; each segment has an
//! id and a receipt of its own. A text outside of the GSM alphabet that is sent without `type=unicode` reaches the handset
//! with question marks, and is so on the record. A field that is not known is refused.

use std::fmt::Write as _;

use hyper::{Method, StatusCode};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use super::books::Books;
use super::call::{Call, Fields, field, stranger};
use super::sending::{Sending, Step, e164};
use super::sign;
use super::speech::{Dialect, Inbound, News, Refusal, Reply, Route, Sight, Taken};
use super::vendor::Vendor;
use crate::gateway::account::{Account, PushAs};
use crate::gateway::letter::Letter;
use crate::message::encoding::{Encoding, forces_ucs2, measure};

/// Longest text, characters.
const MAX_TEXT_CHARS: usize = 3_200;
/// Longest reference of the client, characters.
const MAX_REFERENCE_CHARS: usize = 40;
/// Longest callback address, characters.
const MAX_CALLBACK_CHARS: usize = 100;
/// Shortest and longest time to live, ms.
const TTL_MS: std::ops::RangeInclusive<u64> = 20_000..=604_800_000;
/// The operator of every customer: Ooredoo in Tunisia.
const NETWORK: &str = "60503";
/// Price of a segment.
const PRICE: &str = "0.03330000";
/// Fields of a request to send.
const FIELDS: [&str; 27] = [
    "api_key",
    "api_secret",
    "sig",
    "timestamp",
    "from",
    "to",
    "text",
    "type",
    "ttl",
    "status-report-req",
    "callback",
    "message-class",
    "vcard",
    "vcal",
    "body",
    "udh",
    "protocol-id",
    "title",
    "url",
    "validity",
    "client-ref",
    "account-ref",
    "entity-id",
    "content-id",
    "trusted-recipient",
    "trusted-number",
    "pool-id",
];

pub(super) struct Vonage;

/// The fields of a request, in its query or its form.
fn fields(call: &Call) -> &Fields {
    if call.method == Method::POST && !call.form.is_empty() { &call.form } else { &call.query }
}

fn get<'a>(call: &'a Call, name: &str) -> Option<&'a str> {
    field(fields(call), name).filter(|value| !value.is_empty())
}

/// The ids of one message: its first segment's, and the others'.
fn part_id(id: &str, part: u32) -> String {
    let number = u64::from_str_radix(id, 16).unwrap_or_default();
    format!("{:016X}", number + u64::from(part))
}

/// A time as pushes write it.
fn clock(at: Timestamp, format: &str) -> String {
    at.to_zoned(TimeZone::UTC).strftime(format).to_string()
}

impl Dialect for Vonage {
    fn vendor(&self) -> Vendor {
        Vendor::Vonage
    }

    fn route(&self, method: &Method, path: &str) -> Route {
        match (path, method) {
            ("/sms/json", &Method::POST | &Method::GET) => Route::Send,
            ("/account/get-balance", &Method::GET) => Route::Ask,
            _ => Route::Nowhere,
        }
    }

    fn admit(&self, call: &Call, account: &Account, _books: &Books) -> Result<String, Refusal> {
        let missing = |name: &str| Refusal::new(2, format!("Missing {name}"));
        let bad = || Refusal::new(4, "Bad Credentials");
        if let Some((_, secret)) = call.basic() {
            return if account.admits(&secret) { Ok(secret) } else { Err(bad()) };
        }
        get(call, "api_key").ok_or_else(|| missing("api_key"))?;
        match (get(call, "api_secret"), get(call, "sig")) {
            (Some(_), Some(_)) => Err(Refusal::new(32, "Signature And API Secret Disallowed")),
            (Some(secret), None) if account.admits(secret) => Ok(secret.to_owned()),
            (Some(_), None) => Err(bad()),
            (None, Some(sig)) => {
                get(call, "timestamp").ok_or_else(|| missing("timestamp"))?;
                let Some(secret) = account.scripted_secret() else {
                    return Err(Refusal::new(14, "Invalid Signature: the script says no secret to check it with"));
                };
                let good = sign::vonage(secret, fields(call)).eq_ignore_ascii_case(sig);
                if good { Ok(secret.to_owned()) } else { Err(Refusal::new(14, "Invalid Signature")) }
            }
            (None, None) => Err(missing("api_secret")),
        }
    }

    fn read(&self, call: &Call) -> Vec<Sending> {
        let text = get(call, "text").unwrap_or_default();
        let text = if get(call, "type") == Some("unicode") || measure(text).encoding == Encoding::Gsm7 {
            text.to_owned()
        } else {
            let outside: Vec<usize> = forces_ucs2(text).map(|(place, _)| place).collect();
            let shown = text.chars().enumerate();
            shown.map(|(place, c)| if outside.binary_search(&place).is_ok() { '?' } else { c }).collect()
        };
        let mut notes = Vec::new();
        if matches!(get(call, "status-report-req"), Some("0" | "false")) {
            notes.push(("silent", String::new()));
        }
        if let Some(reference) = get(call, "account-ref") {
            notes.push(("account-ref", reference.to_owned()));
        }
        vec![Sending {
            phone: get(call, "to").map(e164).unwrap_or_default(),
            text,
            sender: get(call, "from").unwrap_or_default().to_owned(),
            reference: get(call, "client-ref").map(str::to_owned),
            account: get(call, "api_key").map(str::to_owned).or(call.basic().map(|basic| basic.0)).unwrap_or_default(),
            callback: get(call, "callback").map(str::to_owned),
            notes,
            ..Sending::default()
        }]
    }

    fn check(&self, call: &Call, _sendings: &[Sending]) -> Result<(), Refusal> {
        if let Some(strange) = stranger(&call.query, &FIELDS).or(stranger(&call.form, &FIELDS)) {
            return Err(Refusal::new(3, format!("Unknown param {strange:?} (Vonage would ignore it)")));
        }
        for name in ["to", "from", "text"] {
            get(call, name).ok_or_else(|| Refusal::new(2, format!("Missing {name} param")))?;
        }
        let invalid = |name: &str| Err(Refusal::new(3, format!("Invalid {name} param")));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if !get(call, "to").is_some_and(|to| (7..=15).contains(&to.len()) && digits(to)) {
            return invalid("to");
        }
        let from = get(call, "from").unwrap_or_default();
        let longest = if digits(from) { 15 } else { 11 };
        if from.len() > longest || !from.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b' ') {
            return Err(Refusal::new(15, "Illegal Sender Address - rejected"));
        }
        if !matches!(get(call, "type"), None | Some("text" | "unicode")) {
            return invalid("type");
        }
        if get(call, "text").unwrap_or_default().chars().count() > MAX_TEXT_CHARS {
            return Err(Refusal::new(12, "Message Too Long"));
        }
        if get(call, "client-ref").is_some_and(|reference| reference.chars().count() > MAX_REFERENCE_CHARS) {
            return invalid("client-ref");
        }
        if get(call, "ttl").is_some_and(|ttl| !ttl.parse().is_ok_and(|ttl| TTL_MS.contains(&ttl))) {
            return invalid("ttl");
        }
        let callback = get(call, "callback");
        if callback.is_some_and(|url| url.chars().count() > MAX_CALLBACK_CHARS || url::Url::parse(url).is_err()) {
            return Err(Refusal::new(23, "Invalid Callback URL"));
        }
        Ok(())
    }

    fn id(&self, seq: u64, _sending: &Sending) -> String {
        // Room for 65,536 segments; a text has 255 at most.
        format!("0A{:010X}0000", seq & 0xFF_FFFF_FFFF)
    }

    fn accepted(&self, _call: &Call, taken: &[Taken<'_>], account: &Account) -> Reply {
        let Some(taken) = taken.first() else { return Reply::json(StatusCode::OK, &json!({})) };
        let parts = taken.segments();
        let messages: Vec<Value> = (0..parts)
            .map(|part| {
                let mut message = json!({
                    "to": taken.message.phone.trim_start_matches('+'),
                    "message-id": part_id(&taken.stamp.id, part),
                    "status": "0",
                    "remaining-balance": format!("{:.8}", account.balance()),
                    "message-price": PRICE,
                    "network": NETWORK,
                });
                if let Some(reference) = &taken.message.reference {
                    message["client-ref"] = json!(reference);
                }
                if let Some(reference) = taken.stamp.note("account-ref") {
                    message["account-ref"] = json!(reference);
                }
                message
            })
            .collect();
        Reply::json(StatusCode::OK, &json!({"message-count": parts.to_string(), "messages": messages}))
    }

    fn refused(&self, call: &Call, refusal: &Refusal) -> Reply {
        if call.path == "/account/get-balance" {
            let body = json!({"error-code": "401", "error-code-label": "authentication failed"});
            return Reply::json(StatusCode::UNAUTHORIZED, &body);
        }
        let message = json!({"status": refusal.code, "error-text": refusal.what});
        Reply::json(StatusCode::OK, &json!({"message-count": "1", "messages": [message]}))
    }

    fn ask(&self, call: &Call, sight: &mut Sight<'_>) -> Reply {
        match self.admit(call, sight.account, sight.books) {
            Ok(_) => Reply::json(StatusCode::OK, &json!({"value": sight.account.balance(), "autoReload": false})),
            Err(refusal) => self.refused(call, &refusal),
        }
    }

    fn tells_sent(&self, _taken: &Taken<'_>) -> bool {
        true
    }

    fn by_part(&self) -> bool {
        true
    }

    fn part_id(&self, id: &str, part: u32) -> String {
        part_id(id, part)
    }

    fn signs(&self) -> bool {
        true
    }

    fn receipt(&self, news: &News<'_>) -> Option<Letter> {
        let (message, stamp) = (news.taken.message, news.taken.stamp);
        if stamp.note("silent").is_some() {
            return None;
        }
        let (status, code) = match news.step {
            Step::Sent => ("accepted", "0"),
            Step::Delivered => ("delivered", "0"),
            // 1: unknown; the script may say another.
            Step::Undelivered => ("failed", stamp.code.as_deref().unwrap_or("1")),
        };
        let now = Timestamp::now();
        let mut fields = vec![
            ("msisdn", message.phone.trim_start_matches('+').to_owned()),
            ("to", message.sender_id.clone()),
            ("network-code", NETWORK.to_owned()),
            ("messageId", news.id.to_owned()),
            ("price", PRICE.to_owned()),
            ("status", status.to_owned()),
            ("scts", clock(now, "%y%m%d%H%M")),
            ("err-code", code.to_owned()),
            ("api-key", stamp.account.clone()),
            ("message-timestamp", clock(now, "%Y-%m-%d %H:%M:%S")),
        ];
        if let Some(reference) = &message.reference {
            fields.push(("client-ref", reference.clone()));
        }
        Some(signed(news.url, fields, news.secret, news.account.push_as(), now))
    }

    fn inbound(&self, inbound: &Inbound<'_>) -> Option<Letter> {
        let now = Timestamp::now();
        let unicode = measure(inbound.text).encoding == Encoding::Ucs2;
        let fields = vec![
            ("api-key", inbound.account_name.to_owned()),
            ("msisdn", inbound.from.trim_start_matches('+').to_owned()),
            ("to", inbound.to.trim_start_matches('+').to_owned()),
            ("messageId", format!("0B{:014X}", inbound.seq)),
            ("text", inbound.text.to_owned()),
            ("type", if unicode { "unicode" } else { "text" }.to_owned()),
            ("keyword", inbound.text.split_whitespace().next().unwrap_or_default().to_uppercase()),
            ("message-timestamp", clock(now, "%Y-%m-%d %H:%M:%S")),
        ];
        Some(signed(inbound.url, fields, inbound.secret, inbound.account.push_as(), now))
    }
}

fn signed(url: &url::Url, fields: Vec<(&str, String)>, secret: &str, push_as: PushAs, now: Timestamp) -> Letter {
    let mut fields: Vec<_> = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let mut nonce = String::new();
    // Writing to a String cannot fail.
    let _ = write!(nonce, "{:032x}", rand::random::<u128>());
    fields.push(("timestamp".to_owned(), now.as_second().to_string()));
    fields.push(("nonce".to_owned(), nonce));
    let sig = sign::vonage(secret, &fields);
    fields.push(("sig".to_owned(), sig));
    match push_as {
        PushAs::Form => Letter::form(url, &fields),
        PushAs::Json => {
            let object: Map<String, Value> = fields.into_iter().map(|(name, value)| (name, json!(value))).collect();
            Letter::json(url, Value::Object(object).to_string())
        }
        PushAs::Get => {
            let mut url = url.clone();
            url.query_pairs_mut().extend_pairs(&fields);
            Letter { method: Method::GET, content_type: "", ..Letter::json(&url, String::new()) }
        }
    }
}
