//! Twilio's Messages resource (<https://www.twilio.com/docs/messaging/api/message-resource>).
//!
//! Owns Twilio's paths, fields, codes and pushes. Stricter than Twilio in one thing: a field that Twilio would ignore is refused,
//! for it is a mistake of the client's.

use hyper::{Method, StatusCode};
use jiff::tz::TimeZone;
use jiff::{Timestamp, civil};
use serde_json::{Value, json};

use super::books::Books;
use super::call::{Call, field, stranger};
use super::sending::{Sending, Step, e164, is_number, is_sender_name};
use super::sign;
use super::speech::{Dialect, Inbound, News, Refusal, Reply, Route, Sight, Taken};
use super::vendor::Vendor;
use crate::gateway::account::Account;
use crate::gateway::letter::Letter;
use crate::message::encoding::measure;

/// Longest text, characters.
const MAX_BODY_CHARS: usize = 1_600;
/// Longest validity, seconds: ten hours.
const MAX_VALIDITY_S: u32 = 36_000;
/// Messages on a page: what Twilio gives when nobody asks, and the most it gives.
const PAGE: (usize, usize) = (50, 1_000);
/// Fields of a request to send.
const FIELDS: [&str; 22] = [
    "To",
    "From",
    "MessagingServiceSid",
    "Body",
    "MediaUrl",
    "ContentSid",
    "ContentVariables",
    "StatusCallback",
    "ApplicationSid",
    "ValidityPeriod",
    "SmartEncoded",
    "ScheduleType",
    "SendAt",
    "SendAsMms",
    "ShortenUrls",
    "ContentRetention",
    "AddressRetention",
    "Attempt",
    "RiskCheck",
    "ProvideFeedback",
    "ForceDelivery",
    "MaxPrice",
];

pub(super) struct Twilio;

/// What a path names, after the account.
enum Place<'a> {
    Messages,
    Message(&'a str),
    Balance,
}

/// The account and the place of a path.
fn place(path: &str) -> Option<(&str, Place<'_>)> {
    let (account, rest) = path.strip_prefix("/2010-04-01/Accounts/")?.split_once('/')?;
    let known = account.starts_with("AC") && account.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let place = match rest {
        "Messages.json" => Place::Messages,
        "Balance.json" => Place::Balance,
        _ => Place::Message(rest.strip_prefix("Messages/")?.strip_suffix(".json")?),
    };
    known.then_some((account, place))
}

fn status_of(code: &str) -> StatusCode {
    match code {
        "20003" => StatusCode::UNAUTHORIZED,
        "20403" | "20005" => StatusCode::FORBIDDEN,
        "20404" => StatusCode::NOT_FOUND,
        "20004" | "20405" => StatusCode::METHOD_NOT_ALLOWED,
        "20429" | "14107" => StatusCode::TOO_MANY_REQUESTS,
        "20500" => StatusCode::INTERNAL_SERVER_ERROR,
        "20503" => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_REQUEST,
    }
}

fn error(code: &str, status: StatusCode, what: &str) -> Reply {
    let number = code.parse::<u32>().map_or_else(|_| json!(code), |number| json!(number));
    let body = json!({
        "code": number,
        "message": what,
        "more_info": format!("https://www.twilio.com/docs/errors/{code}"),
        "status": status.as_u16(),
    });
    Reply::json(status, &body)
}

/// A time as RFC 2822 has it.
fn rfc2822(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%a, %d %b %Y %H:%M:%S +0000").to_string()
}

/// The resource, as it is at its creation (no time) or later.
fn resource(taken: &Taken<'_>, id: &str, now: Option<Timestamp>) -> Value {
    let (message, stamp) = (taken.message, taken.stamp);
    let service = stamp.note("service");
    let sent = now.is_some();
    let status = match now.map(|now| stamp.state(now)) {
        None if service.is_some() => "accepted",
        None => "queued",
        Some(Step::Sent) => "sent",
        Some(Step::Delivered) => "delivered",
        Some(Step::Undelivered) => "undelivered",
    };
    let code = if status == "undelivered" { json!(code(taken)) } else { Value::Null };
    // A service chooses its sender later, and nothing can be counted before.
    let segments = if service.is_some() && !sent { 0 } else { taken.segments() };
    let account = &stamp.account;
    let uri = format!("/2010-04-01/Accounts/{account}/Messages/{id}.json");
    json!({
        "account_sid": account,
        "api_version": "2010-04-01",
        "body": message.message,
        "date_created": rfc2822(message.at),
        "date_sent": sent.then(|| rfc2822(message.at)),
        "date_updated": rfc2822(message.at),
        "direction": "outbound-api",
        "error_code": code,
        "error_message": null,
        "from": if message.sender_id.is_empty() { Value::Null } else { json!(message.sender_id) },
        "messaging_service_sid": service,
        "num_media": "0",
        "num_segments": segments.to_string(),
        "price": null,
        "price_unit": "USD",
        "sid": id,
        "status": status,
        "subresource_uris": {"media": uri.replace(".json", "/Media.json")},
        "to": message.phone,
        "uri": uri,
    })
}

/// The code of an undelivered message: the scripted one, or that of a handset that cannot be reached.
fn code(taken: &Taken<'_>) -> u32 {
    taken.stamp.code.as_deref().and_then(|code| code.parse().ok()).unwrap_or(30_003)
}

impl Dialect for Twilio {
    fn vendor(&self) -> Vendor {
        Vendor::Twilio
    }

    fn route(&self, method: &Method, path: &str) -> Route {
        match (place(path), method) {
            (Some((_, Place::Messages)), &Method::POST) => Route::Send,
            (Some(_), &Method::GET) => Route::Ask,
            _ => Route::Nowhere,
        }
    }

    fn admit(&self, call: &Call, account: &Account, _books: &Books) -> Result<String, Refusal> {
        let refusal = Refusal::new(20003, "Authenticate");
        let (user, password) = call.basic().ok_or_else(|| refusal.clone())?;
        let own = place(&call.path).is_some_and(|(sid, _)| sid == user) || user.starts_with("SK");
        if own && account.admits(&password) { Ok(password) } else { Err(refusal) }
    }

    fn read(&self, call: &Call) -> Vec<Sending> {
        let get = |name: &str| field(&call.form, name).map(str::to_owned);
        let service = get("MessagingServiceSid").map(|sid| ("service", sid));
        vec![Sending {
            phone: get("To").unwrap_or_default(),
            text: get("Body").unwrap_or_default(),
            sender: get("From").unwrap_or_default(),
            account: place(&call.path).map(|(sid, _)| sid.to_owned()).unwrap_or_default(),
            callback: get("StatusCallback"),
            notes: service.into_iter().collect(),
            ..Sending::default()
        }]
    }

    fn check(&self, call: &Call, sendings: &[Sending]) -> Result<(), Refusal> {
        let refuse = |code: u32, what: &str| Err(Refusal::new(code, what));
        let Some(sending) = sendings.first() else { return refuse(21604, "A 'To' phone number is required.") };
        let present = |name: &str| field(&call.form, name).is_some_and(|value| !value.is_empty());
        if let Some(strange) = call.query.first().map(|(name, _)| name.as_str()).or(stranger(&call.form, &FIELDS)) {
            return refuse(20001, &format!("Unknown parameter {strange:?} (Twilio would ignore it)."));
        }
        if !present("To") {
            return refuse(21604, "A 'To' phone number is required.");
        }
        if !present("From") && !present("MessagingServiceSid") {
            return refuse(21603, "A 'From' phone number is required.");
        }
        if !present("Body") && !present("MediaUrl") && !present("ContentSid") {
            return refuse(21602, "Message body is required.");
        }
        if sending.text.chars().count() > MAX_BODY_CHARS {
            return refuse(21617, "The concatenated message body exceeds the 1600 character limit.");
        }
        if !sending.phone.strip_prefix('+').is_some_and(is_number) {
            return refuse(21211, &format!("Invalid 'To' Phone Number: {}", sending.phone));
        }
        let from = sending.sender.as_str();
        let short_code = (3..=6).contains(&from.len()) && from.bytes().all(|byte| byte.is_ascii_digit());
        if present("From") && !is_sender_name(from) && !from.strip_prefix('+').is_some_and(is_number) && !short_code {
            return refuse(21212, &format!("Invalid From Number (caller ID): {from}"));
        }
        if sending.notes.iter().any(|(_, sid)| !sid.starts_with("MG")) {
            return refuse(21701, "The Messaging Service Sid is invalid.");
        }
        let callback = sending.callback.as_deref().map(url::Url::parse);
        if callback.is_some_and(|url| !url.is_ok_and(|url| matches!(url.scheme(), "http" | "https"))) {
            return refuse(21609, "The 'StatusCallback' URL is not valid.");
        }
        let validity = field(&call.form, "ValidityPeriod").map(str::parse::<u32>);
        if validity.is_some_and(|validity| !validity.is_ok_and(|seconds| (1..=MAX_VALIDITY_S).contains(&seconds))) {
            return refuse(21616, "The ValidityPeriod is between 1 and 36000 seconds.");
        }
        Ok(())
    }

    fn id(&self, seq: u64, _sending: &Sending) -> String {
        format!("SM5ec0de0000000000{seq:016x}")
    }

    fn success(&self) -> StatusCode {
        StatusCode::CREATED
    }

    fn accepted(&self, _call: &Call, taken: &[Taken<'_>], _account: &Account) -> Reply {
        let body = taken.first().map(|taken| resource(taken, &taken.stamp.id, None)).unwrap_or_default();
        Reply::json(StatusCode::CREATED, &body)
    }

    fn refused(&self, _call: &Call, refusal: &Refusal) -> Reply {
        error(&refusal.code, status_of(&refusal.code), &refusal.what)
    }

    fn trouble(&self, _call: &Call, status: StatusCode) -> Reply {
        error(&format!("20{}", status.as_u16()), status, status.canonical_reason().unwrap_or("Error"))
    }

    fn ask(&self, call: &Call, sight: &mut Sight<'_>) -> Reply {
        if let Err(refusal) = self.admit(call, sight.account, sight.books) {
            return self.refused(call, &refusal);
        }
        let missing =
            || error("20404", StatusCode::NOT_FOUND, &format!("The requested resource {} was not found", call.path));
        match place(&call.path) {
            None => missing(),
            Some((account, Place::Balance)) => Reply::json(
                StatusCode::OK,
                &json!({"account_sid": account, "balance": format!("{:.2}", sight.account.balance()), "currency": "USD"}),
            ),
            Some((account, Place::Message(sid))) => {
                let found = sight.ledger.taken_as(Vendor::Twilio, sid).and_then(Taken::of);
                found
                    .filter(|taken| taken.stamp.account == account)
                    .map_or_else(missing, |taken| Reply::json(StatusCode::OK, &resource(&taken, sid, Some(sight.now))))
            }
            Some((account, Place::Messages)) => list(call, account, sight),
        }
    }

    fn tells_sent(&self, _taken: &Taken<'_>) -> bool {
        true
    }

    fn signs(&self) -> bool {
        true
    }

    fn receipt(&self, news: &News<'_>) -> Option<Letter> {
        let (message, stamp) = (news.taken.message, news.taken.stamp);
        let status = match news.step {
            Step::Sent => "sent",
            Step::Delivered => "delivered",
            Step::Undelivered => "undelivered",
        };
        let mut fields = vec![
            ("MessageSid", news.id.to_owned()),
            ("SmsSid", news.id.to_owned()),
            ("MessageStatus", status.to_owned()),
            ("SmsStatus", status.to_owned()),
            ("To", message.phone.clone()),
            ("From", message.sender_id.clone()),
            ("AccountSid", stamp.account.clone()),
            ("ApiVersion", "2010-04-01".to_owned()),
        ];
        if let Some(service) = stamp.note("service") {
            fields.push(("MessagingServiceSid", service.to_owned()));
        }
        if news.step == Step::Undelivered {
            fields.push(("ErrorCode", code(&news.taken).to_string()));
        }
        Some(signed(news.url, fields, news.secret))
    }

    fn inbound(&self, inbound: &Inbound<'_>) -> Option<Letter> {
        let sid = format!("SM5ec0de0000000001{:016x}", inbound.seq);
        let fields = vec![
            ("MessageSid", sid.clone()),
            ("SmsSid", sid.clone()),
            ("SmsMessageSid", sid),
            ("SmsStatus", "received".to_owned()),
            ("AccountSid", inbound.account_name.to_owned()),
            ("From", inbound.from.to_owned()),
            ("To", inbound.to.to_owned()),
            ("Body", inbound.text.to_owned()),
            ("FromCountry", "TN".to_owned()),
            ("NumMedia", "0".to_owned()),
            ("NumSegments", measure(inbound.text).segments.max(1).to_string()),
            ("ApiVersion", "2010-04-01".to_owned()),
        ];
        Some(signed(inbound.url, fields, inbound.secret))
    }
}

fn signed(url: &url::Url, fields: Vec<(&str, String)>, secret: &str) -> Letter {
    let fields: Vec<_> = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let signature = sign::twilio(secret, url.as_str(), &fields);
    Letter { headers: vec![("X-Twilio-Signature", signature)], ..Letter::form(url, &fields) }
}

/// The messages of an account, the newest first, by `To`, `From` and `DateSent` with `<` or `>` (inclusive).
fn list(call: &Call, account: &str, sight: &Sight<'_>) -> Reply {
    let (mut to, mut from, mut size, mut page) = (None, None, PAGE.0, 0);
    let (mut since, mut until) = (Timestamp::MIN, Timestamp::MAX);
    for (name, value) in &call.query {
        let day = || day(value);
        match name.as_str() {
            "To" => to = Some(e164(value)),
            "From" => from = Some(value.as_str()),
            "PageSize" => size = value.parse().unwrap_or(PAGE.0).clamp(1, PAGE.1),
            "Page" => page = value.parse().unwrap_or(0_usize),
            "PageToken" => {}
            "DateSent" | "DateSent>" | "DateSent<" => match day() {
                Some((begin, end)) => {
                    since = if name == "DateSent<" { since } else { begin };
                    until = if name == "DateSent>" { until } else { end };
                }
                None => return error("20001", StatusCode::BAD_REQUEST, "DateSent is a date such as 2026-03-02."),
            },
            _ => return error("20001", StatusCode::BAD_REQUEST, &format!("Unknown parameter {name:?}.")),
        }
    }
    let all = sight.ledger.taken_by(Vendor::Twilio).filter_map(Taken::of).filter(|taken| {
        let message = taken.message;
        taken.stamp.account == account
            && to.as_ref().is_none_or(|to| message.phone == *to)
            && from.is_none_or(|from| message.sender_id == from)
            && (since..until).contains(&message.at)
    });
    let mut shown: Vec<Value> = all
        .skip(page.saturating_mul(size))
        .take(size + 1)
        .map(|taken| resource(&taken, &taken.stamp.id, Some(sight.now)))
        .collect();
    let more = shown.len() > size;
    shown.truncate(size);
    let path = format!("/2010-04-01/Accounts/{account}/Messages.json");
    let uri = |page: usize| {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(call.query.iter().filter(|(name, _)| name != "Page" && name != "PageSize"));
        query.append_pair("PageSize", &size.to_string()).append_pair("Page", &page.to_string());
        format!("{path}?{}", query.finish())
    };
    let start = page.saturating_mul(size);
    let body = json!({
        "start": start,
        "end": (start + shown.len()).saturating_sub(1),
        "page": page,
        "page_size": size,
        "first_page_uri": uri(0),
        "previous_page_uri": page.checked_sub(1).map(uri),
        "next_page_uri": more.then(|| uri(page + 1)),
        "uri": uri(page),
        "messages": shown,
    });
    Reply::json(StatusCode::OK, &body)
}

/// A day in UTC, from its begin to that of the next; of a time, itself twice.
fn day(value: &str) -> Option<(Timestamp, Timestamp)> {
    if let Ok(time) = value.parse::<Timestamp>() {
        return Some((time, time));
    }
    let date: civil::Date = value.parse().ok()?;
    let begin = |date: civil::Date| date.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp());
    Some((begin(date)?, begin(date.tomorrow().ok()?)?))
}
