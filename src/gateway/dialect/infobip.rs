//! Infobip's SMS API, version 3 (<https://www.infobip.com/docs/api/channels/sms>).
//!
//! Owns Infobip's JSON, its statuses and error codes. A code of a script is a status id (`12`: no credit), which is answered 200
//! with a rejected message, or an error of the whole request (`E429`). Keys that are not in the documents are refused.

use hyper::{Method, StatusCode};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::books::Books;
use super::call::{Call, field, strange_key, stranger, text_at};
use super::sending::{Sending, Step, e164, is_number};
use super::speech::{Dialect, Inbound, News, Refusal, Reply, Route, Sight, Taken};
use super::vendor::Vendor;
use crate::gateway::account::Account;
use crate::gateway::letter::Letter;
use crate::message::encoding::measure;

/// Most messages and destinations in one request that are read.
const MAX_MESSAGES: usize = 100;
/// Longest id that the client may choose, characters.
const MAX_ID_CHARS: usize = 200;
/// Longest data for the callback, characters.
const MAX_DATA_CHARS: usize = 4_000;
/// Rows of a look-up: when nobody asks, and at most.
const ROWS: (usize, usize) = (50, 1_000);
/// The operator of every customer: Ooredoo in Tunisia.
const MCC_MNC: &str = "60503";

pub(super) struct Infobip;

/// A status: its group, id, name and description.
fn status(id: u32) -> Value {
    let (group, group_name, name, description) = match id {
        3 => (1, "PENDING", "PENDING_WAITING_DELIVERY", "Message sent, waiting for delivery report"),
        7 => (1, "PENDING", "PENDING_ENROUTE", "Message sent to next instance"),
        26 => (1, "PENDING", "PENDING_ACCEPTED", "Message sent to next instance"),
        4 => (2, "UNDELIVERABLE", "UNDELIVERABLE_REJECTED_OPERATOR", "Message rejected by operator"),
        9 => (2, "UNDELIVERABLE", "UNDELIVERABLE_NOT_DELIVERED", "Message sent not delivered"),
        31 => (2, "UNDELIVERABLE", "UNDELIVERABLE_NOT_SENT", "Message not sent"),
        2 => (3, "DELIVERED", "DELIVERED_TO_OPERATOR", "Message delivered to operator"),
        5 => (3, "DELIVERED", "DELIVERED_TO_HANDSET", "Message delivered to handset"),
        15 => (4, "EXPIRED", "EXPIRED_EXPIRED", "Message expired"),
        29 => (4, "EXPIRED", "EXPIRED_DLR_UNKNOWN", "Unknown Reason"),
        6 => (5, "REJECTED", "REJECTED_NETWORK", "Network is forbidden"),
        8 => (5, "REJECTED", "REJECTED_PREFIX_MISSING", "Number prefix missing"),
        10 => (5, "REJECTED", "REJECTED_DND", "Destination on DND list"),
        11 => (5, "REJECTED", "REJECTED_SOURCE", "Invalid Source address"),
        12 => (5, "REJECTED", "REJECTED_NOT_ENOUGH_CREDITS", "Not enough credits"),
        13 => (5, "REJECTED", "REJECTED_SENDER", "By Sender"),
        14 => (5, "REJECTED", "REJECTED_DESTINATION", "By Destination"),
        17 => (5, "REJECTED", "REJECTED_PREPAID_PACKAGE_EXPIRED", "Prepaid package expired"),
        18 => (5, "REJECTED", "REJECTED_DESTINATION_NOT_REGISTERED", "Destination not registered"),
        _ => (5, "REJECTED", "REJECTED_SYSTEM_ERROR", "System Error"),
    };
    json!({"groupId": group, "groupName": group_name, "id": id, "name": name, "description": description})
}

fn error_of(step: Step) -> Value {
    match step {
        Step::Sent | Step::Delivered => json!({"groupId": 0, "groupName": "OK", "id": 0, "name": "NO_ERROR",
            "description": "No Error", "permanent": false}),
        Step::Undelivered => {
            json!({"groupId": 1, "groupName": "HANDSET_ERRORS", "id": 1, "name": "EC_UNKNOWN_SUBSCRIBER",
            "description": "Unknown Subscriber", "permanent": true})
        }
    }
}

fn status_of(taken: &Taken<'_>, step: Step) -> Value {
    status(match step {
        Step::Sent => 2,
        Step::Delivered => 5,
        Step::Undelivered => taken.stamp.code.as_deref().and_then(|code| code.parse().ok()).unwrap_or(9),
    })
}

fn problem(code: &str, status: StatusCode, what: &str, violations: &Value) -> Reply {
    let body = json!({
        "errorCode": code,
        "description": what,
        "action": "Check the request against the API documentation and try again.",
        "violations": violations,
        "resources": [{"name": "API documentation", "url": "https://www.infobip.com/docs/api"}],
    });
    Reply::json(status, &body)
}

/// A time as Infobip writes it.
fn time(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%S.%3f+0000").to_string()
}

/// A row of reports (`to`), and of logs (`destination` and the text).
fn row(taken: &Taken<'_>, id: &str, step: Step, log: bool) -> Value {
    let (message, stamp) = (taken.message, taken.stamp);
    let mut row = json!({
        "bulkId": stamp.note("bulk"),
        "messageId": id,
        "sender": message.sender_id,
        "sentAt": time(message.at),
        "doneAt": time(if step == Step::Sent { message.at } else { stamp.due }),
        "messageCount": taken.segments(),
        "price": {"pricePerMessage": 0.03, "currency": "EUR"},
        "status": status_of(taken, step),
        "error": error_of(step),
        "platform": {},
        "mccMnc": MCC_MNC,
    });
    let destination = message.phone.trim_start_matches('+');
    if log {
        row["destination"] = json!(destination);
        row["content"] = json!({"text": message.message});
    } else {
        row["to"] = json!(destination);
    }
    if let Some(data) = stamp.note("data") {
        row["callbackData"] = json!(data);
    }
    row
}

/// Where a key stands that no document has.
fn strange(body: &Value) -> Option<String> {
    let options = ["validityPeriod", "deliveryTimeWindow", "campaignReferenceId", "regional", "flash", "platform"];
    let within = |value: Option<&Value>, path: &str, known: &[&str]| {
        value.and_then(|value| strange_key(value, known)).map(|key| format!("{path}{key}"))
    };
    within(Some(body), "", &["messages", "options"])
        .or_else(|| {
            within(
                body.get("options"),
                "options.",
                &["schedule", "tracking", "includeSmsCountInResponse", "conversionTracking"],
            )
        })
        .or_else(|| {
            let messages = body.get("messages").and_then(Value::as_array)?.iter().take(MAX_MESSAGES);
            messages.enumerate().find_map(|(place, message)| {
                let path = format!("messages[{place}].");
                within(Some(message), &path, &["sender", "destinations", "content", "options", "webhooks"])
                    .or_else(|| {
                        within(
                            message.get("content"),
                            &format!("{path}content."),
                            &["text", "transliteration", "language"],
                        )
                    })
                    .or_else(|| within(message.get("options"), &format!("{path}options."), &options))
                    .or_else(|| {
                        within(
                            message.get("webhooks"),
                            &format!("{path}webhooks."),
                            &["delivery", "contentType", "callbackData"],
                        )
                    })
                    .or_else(|| {
                        within(
                            message.pointer("/webhooks/delivery"),
                            &format!("{path}webhooks.delivery."),
                            &["url", "intermediateReport", "notify"],
                        )
                    })
                    .or_else(|| {
                        let destinations = message.get("destinations").and_then(Value::as_array)?.iter();
                        destinations.take(MAX_MESSAGES).find_map(|one| {
                            within(Some(one), &format!("{path}destinations."), &["to", "messageId", "networkId"])
                        })
                    })
            })
        })
}

impl Dialect for Infobip {
    fn vendor(&self) -> Vendor {
        Vendor::Infobip
    }

    fn route(&self, method: &Method, path: &str) -> Route {
        match (path, method) {
            ("/sms/3/messages", &Method::POST) => Route::Send,
            ("/sms/3/logs" | "/sms/3/reports" | "/account/1/balance", &Method::GET) => Route::Ask,
            ("/sms/1/preview", &Method::POST) => Route::Ask,
            _ => Route::Nowhere,
        }
    }

    fn admit(&self, call: &Call, account: &Account, _books: &Books) -> Result<String, Refusal> {
        let refusal =
            || Refusal::new("E401", "The request lacks valid authentication credentials for the requested resource.");
        let given = ["App", "Bearer", "IBSSO"].iter().find_map(|scheme| call.authorization(scheme).map(str::to_owned));
        let key = given.or_else(|| call.basic().map(|(_, password)| password)).ok_or_else(refusal)?;
        if account.admits(&key) { Ok(key) } else { Err(refusal()) }
    }

    fn read(&self, call: &Call) -> Vec<Sending> {
        let bulk = text_at(&call.json, "/options/schedule/bulkId")
            .unwrap_or_else(|| format!("{:032x}", rand::random::<u128>()));
        let messages = call.json.get("messages").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let mut sendings = Vec::new();
        for message in messages {
            let destinations =
                message.get("destinations").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            for destination in destinations {
                if sendings.len() == MAX_MESSAGES {
                    break;
                }
                let mut notes = vec![("bulk", bulk.clone())];
                if let Some(data) = text_at(message, "/webhooks/callbackData") {
                    notes.push(("data", data));
                }
                if message.pointer("/webhooks/delivery/intermediateReport") == Some(&Value::Bool(true)) {
                    notes.push(("intermediate", String::new()));
                }
                if message.pointer("/webhooks/delivery/notify") == Some(&Value::Bool(false)) {
                    notes.push(("silent", String::new()));
                }
                let id = text_at(destination, "/messageId").filter(|id| !id.is_empty());
                sendings.push(Sending {
                    phone: text_at(destination, "/to").map(|to| e164(&to)).unwrap_or_default(),
                    text: text_at(message, "/content/text").unwrap_or_default(),
                    sender: text_at(message, "/sender").unwrap_or_default(),
                    reference: id.clone(),
                    id,
                    callback: text_at(message, "/webhooks/delivery/url"),
                    notes,
                    ..Sending::default()
                });
            }
        }
        if sendings.is_empty() {
            sendings.push(Sending::default());
        }
        sendings
    }

    fn check(&self, call: &Call, sendings: &[Sending]) -> Result<(), Refusal> {
        let violation = |property: &str, what: &str| Err(Refusal::new("E400", format!("{property}: {what}")));
        let Some(messages) = call.json.get("messages").and_then(Value::as_array).filter(|list| !list.is_empty()) else {
            return violation("messages", "must not be empty");
        };
        if let Some(key) = strange(&call.json) {
            return violation(&key, "unknown property");
        }
        for message in messages {
            if message.get("destinations").and_then(Value::as_array).is_none_or(Vec::is_empty) {
                return violation("messages.destinations", "must not be empty");
            }
            if message.get("sender").is_some_and(|sender| !sender.is_string()) {
                return violation("messages.sender", "must be a string");
            }
        }
        if sendings.len() == MAX_MESSAGES {
            return violation("messages", "too many for this simulator");
        }
        for sending in sendings {
            if sending.text.is_empty() {
                return violation("messages.content.text", "must not be blank");
            }
            if sending.phone.is_empty() || sending.phone.len() > 64 {
                return violation("messages.destinations.to", "size must be between 1 and 64");
            }
            if !is_number(sending.phone.trim_start_matches('+')) {
                return violation("messages.destinations.to", "must be a number in international format");
            }
            if sending.id.as_ref().is_some_and(|id| id.chars().count() > MAX_ID_CHARS) {
                return violation("messages.destinations.messageId", "size must be between 0 and 200");
            }
            let data = sending.notes.iter().find(|(name, _)| *name == "data");
            if data.is_some_and(|(_, data)| data.chars().count() > MAX_DATA_CHARS) {
                return violation("messages.webhooks.callbackData", "size must be between 0 and 4000");
            }
            if sending.callback.as_ref().is_some_and(|callback| url::Url::parse(callback).is_err()) {
                return violation("messages.webhooks.delivery.url", "must be a URL");
            }
        }
        Ok(())
    }

    fn id(&self, seq: u64, sending: &Sending) -> String {
        sending.id.clone().unwrap_or_else(|| format!("5ec0de0000000000{seq:016x}"))
    }

    fn accepted(&self, call: &Call, taken: &[Taken<'_>], _account: &Account) -> Reply {
        let count = call.json.pointer("/options/includeSmsCountInResponse") == Some(&Value::Bool(true));
        let messages: Vec<Value> = taken
            .iter()
            .map(|taken| {
                let mut message = json!({
                    "messageId": taken.stamp.id,
                    "status": status(26),
                    "destination": taken.message.phone.trim_start_matches('+'),
                });
                if count {
                    message["details"] = json!({"messageCount": taken.segments()});
                }
                message
            })
            .collect();
        let bulk = taken.first().and_then(|taken| taken.stamp.note("bulk"));
        Reply::json(StatusCode::OK, &json!({"bulkId": bulk, "messages": messages}))
    }

    fn refused(&self, call: &Call, refusal: &Refusal) -> Reply {
        if let Ok(id) = refusal.code.parse::<u32>() {
            let messages: Vec<Value> = self
                .read(call)
                .iter()
                .map(|sending| {
                    let id_given = sending.id.clone().unwrap_or_else(|| format!("{:032x}", rand::random::<u128>()));
                    json!({"messageId": id_given, "status": status(id), "destination": sending.phone.trim_start_matches('+')})
                })
                .collect();
            return Reply::json(StatusCode::OK, &json!({"messages": messages}));
        }
        let status = refusal.code.strip_prefix('E').and_then(|status| status.parse::<StatusCode>().ok());
        let status = status.filter(|status| status.as_u16() >= 400).unwrap_or(StatusCode::BAD_REQUEST);
        let violations = match refusal.what.split_once(": ") {
            Some((property, violation)) => json!([{"property": property, "violation": violation}]),
            None => json!([]),
        };
        problem(&refusal.code, status, &refusal.what, &violations)
    }

    fn trouble(&self, _call: &Call, status: StatusCode) -> Reply {
        let what = status.canonical_reason().unwrap_or("Error");
        problem(&format!("E{}", status.as_u16()), status, what, &json!([]))
    }

    fn ask(&self, call: &Call, sight: &mut Sight<'_>) -> Reply {
        if let Err(refusal) = self.admit(call, sight.account, sight.books) {
            return self.refused(call, &refusal);
        }
        match call.path.as_str() {
            "/account/1/balance" => {
                Reply::json(StatusCode::OK, &json!({"balance": sight.account.balance(), "currency": "EUR"}))
            }
            "/sms/1/preview" => {
                let text = text_at(&call.json, "/text").unwrap_or_default();
                let previews = [json!({"textPreview": text, "messageCount": measure(&text).segments,
                    "charactersRemaining": 0, "configuration": {}})];
                Reply::json(StatusCode::OK, &json!({"originalText": text, "previews": previews}))
            }
            path => rows(call, path == "/sms/3/logs", sight).unwrap_or_else(|refusal| self.refused(call, &refusal)),
        }
    }

    fn tells_sent(&self, taken: &Taken<'_>) -> bool {
        taken.stamp.note("intermediate").is_some()
    }

    fn receipt(&self, news: &News<'_>) -> Option<Letter> {
        if news.taken.stamp.note("silent").is_some() {
            return None;
        }
        let body = json!({"results": [row(&news.taken, news.id, news.step, false)]});
        Some(Letter::json(news.url, body.to_string()))
    }

    fn inbound(&self, inbound: &Inbound<'_>) -> Option<Letter> {
        let keyword = inbound.text.split_whitespace().next().unwrap_or_default();
        let result = json!({
            "messageId": format!("5ec0de0000000001{:016x}", inbound.seq),
            "from": inbound.from.trim_start_matches('+'),
            "to": inbound.to.trim_start_matches('+'),
            "text": inbound.text,
            "cleanText": inbound.text,
            "keyword": keyword.to_uppercase(),
            "receivedAt": time(Timestamp::now()),
            "smsCount": measure(inbound.text).segments.max(1),
            "price": {"pricePerMessage": 0.0, "currency": "EUR"},
            "callbackData": "",
        });
        let body = json!({"results": [result], "messageCount": 1, "pendingMessageCount": 0});
        Some(Letter::json(inbound.url, body.to_string()))
    }
}

/// Logs, as often as anybody asks, and reports, each once and only of messages that are done.
fn rows(call: &Call, log: bool, sight: &mut Sight<'_>) -> Result<Reply, Refusal> {
    let known = [
        "messageId",
        "bulkId",
        "to",
        "destination",
        "sender",
        "sentSince",
        "sentUntil",
        "limit",
        "generalStatus",
        "mcc",
        "mnc",
        "useCursor",
        "cursor",
        "entityId",
        "applicationId",
        "campaignReferenceId",
    ];
    if let Some(strange) = stranger(&call.query, &known) {
        return Err(Refusal::new("E400", format!("{strange}: unknown parameter")));
    }
    let get = |name: &str| field(&call.query, name);
    let since = |name: &str, otherwise| match get(name).map(parse_time) {
        None => Ok(otherwise),
        Some(Some(time)) => Ok(time),
        Some(None) => Err(Refusal::new("E400", format!("{name}: must be a time"))),
    };
    let (from, until) = (since("sentSince", Timestamp::MIN)?, since("sentUntil", Timestamp::MAX)?);
    let limit = get("limit").map_or(Ok(ROWS.0), str::parse).unwrap_or(ROWS.0).clamp(1, ROWS.1);
    let to = get("to").or(get("destination")).map(e164);
    let (now, ids) = (sight.now, sight.ids);
    let books = &mut *sight.books;
    let found = sight.ledger.taken_by(Vendor::Infobip).filter_map(Taken::of).filter(|taken| {
        get("messageId").is_none_or(|ids| ids.split(',').any(|id| id == taken.stamp.id))
            && get("bulkId").is_none_or(|bulk| taken.stamp.note("bulk") == Some(bulk))
            && to.as_ref().is_none_or(|to| taken.message.phone == *to)
            && get("sender").is_none_or(|sender| taken.message.sender_id == sender)
            && (from..=until).contains(&taken.message.at)
    });
    let results: Vec<Value> = found
        .filter(|taken| log || (taken.stamp.state(now) != Step::Sent && books.report(taken.message.seq)))
        .take(limit)
        .map(|taken| row(&taken, &ids.write(&taken.stamp.id), taken.stamp.state(now), log))
        .collect();
    Ok(Reply::json(StatusCode::OK, &json!({ "results": results })))
}

/// A time of a query: `2026-03-02T11:03:04.000+0000` or with `Z`; a plus that nobody escaped has become a space.
fn parse_time(value: &str) -> Option<Timestamp> {
    let value = value.replace(' ', "+");
    value.parse().ok().or_else(|| Timestamp::strptime("%Y-%m-%dT%H:%M:%S%.f%z", &value).ok())
}
