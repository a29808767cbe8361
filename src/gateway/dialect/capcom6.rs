//! The Android gateway of capcom6 (SMS Gateway for Android, <https://docs.sms-gate.app>), as the app on the telephone and as its
//! server speak.
//!
//! Owns its JSON, its states and webhooks. Both path prefixes are there: none (the app) and `/3rdparty/v1` (the server). An id
//! that is taken is answered 409. Webhooks go to `push_url`; registering them over the interface is not simulated.

use std::collections::HashSet;

use hyper::{Method, StatusCode};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::books::Books;
use super::call::{Call, strange_key, text_at};
use super::sending::{Sending, Step, e164, is_number};
use super::sign;
use super::speech::{Dialect, Inbound, News, Refusal, Reply, Route, Sight, Taken};
use super::vendor::Vendor;
use crate::gateway::account::Account;
use crate::gateway::ledger::Ledger;
use crate::gateway::letter::Letter;

/// Most numbers in one request that are read.
const MAX_NUMBERS: usize = 100;
/// Longest id of the client, characters.
const MAX_ID_CHARS: usize = 36;
/// Messages in a list.
const LISTED: usize = 50;
/// The telephone.
const DEVICE: &str = "5ec0de000000000000001";
/// The state of a message that was taken back; as a script's code it is played.
const CANCELLED: &str = "Cancelled";
/// Keys of a request to send.
const KEYS: [&str; 12] = [
    "id",
    "deviceId",
    "message",
    "textMessage",
    "phoneNumbers",
    "simNumber",
    "ttl",
    "validUntil",
    "withDeliveryReport",
    "priority",
    "isEncrypted",
    "scheduleAt",
];

pub(super) struct Capcom6;

/// A path without the server's prefix.
fn local(path: &str) -> &str {
    path.strip_prefix("/3rdparty/v1").unwrap_or(path)
}

fn time(at: Timestamp) -> String {
    let zone = TimeZone::get("Africa/Tunis").unwrap_or(TimeZone::UTC);
    at.to_zoned(zone).strftime("%Y-%m-%dT%H:%M:%S.%3f%:z").to_string()
}

/// A message, as it is at its creation (no time) or later.
fn resource(taken: &[Taken<'_>], id: &str, now: Option<Timestamp>) -> Value {
    let Some(first) = taken.first() else { return Value::Null };
    let word = |taken: &Taken<'_>| match now.map(|now| taken.stamp.state(now)) {
        None => "Pending",
        Some(Step::Sent) if cancelled(taken) => "Pending",
        Some(Step::Sent) => "Sent",
        Some(Step::Delivered) if taken.stamp.note("silent").is_some() => "Sent",
        Some(Step::Delivered) => "Delivered",
        Some(Step::Undelivered) if cancelled(taken) => CANCELLED,
        Some(Step::Undelivered) => "Failed",
    };
    let recipients: Vec<Value> = taken
        .iter()
        .map(|taken| {
            let state = word(taken);
            let mut recipient = json!({"phoneNumber": taken.message.phone, "state": state});
            if state == "Failed" {
                recipient["error"] = json!(reason(taken));
            }
            recipient
        })
        .collect();
    let mut states = json!({"Pending": time(first.message.at)});
    if now.is_some() {
        if !cancelled(first) {
            states["Sent"] = json!(time(first.message.at));
        }
        states[word(first)] = json!(time(first.stamp.due));
    }
    json!({
        "id": id,
        "deviceId": DEVICE,
        "state": word(first),
        "isHashed": false,
        "isEncrypted": false,
        "recipients": recipients,
        "states": states,
        "createdAt": time(first.message.at),
    })
}

/// Why a message failed: the scripted code, or what Android says most often.
fn reason(taken: &Taken<'_>) -> String {
    taken.stamp.code.clone().unwrap_or_else(|| "RESULT_ERROR_GENERIC_FAILURE".to_owned())
}

/// Whether somebody takes it back before the telephone sends it.
fn cancelled(taken: &Taken<'_>) -> bool {
    taken.stamp.code.as_deref() == Some(CANCELLED)
}

impl Dialect for Capcom6 {
    fn vendor(&self) -> Vendor {
        Vendor::Capcom6
    }

    fn route(&self, method: &Method, path: &str) -> Route {
        match (local(path), method) {
            ("/messages" | "/message", &Method::POST) => Route::Send,
            ("/messages" | "/message" | "/health", &Method::GET) => Route::Ask,
            (path, &Method::GET) if path.starts_with("/messages/") || path.starts_with("/message/") => Route::Ask,
            _ => Route::Nowhere,
        }
    }

    fn admit(&self, call: &Call, account: &Account, _books: &Books) -> Result<String, Refusal> {
        let refusal = || Refusal::new(401, "Unauthorized");
        let bearer = call.authorization("Bearer").map(str::to_owned);
        let key = call.basic().map(|(_, password)| password).or(bearer).ok_or_else(refusal)?;
        if account.admits(&key) { Ok(key) } else { Err(refusal()) }
    }

    fn read(&self, call: &Call) -> Vec<Sending> {
        let body = &call.json;
        let id = text_at(body, "/id").filter(|id| !id.is_empty());
        let silent = body.get("withDeliveryReport") == Some(&Value::Bool(false));
        let message = Sending {
            text: text_at(body, "/textMessage/text").or_else(|| text_at(body, "/message")).unwrap_or_default(),
            reference: id.clone(),
            id,
            notes: if silent { vec![("silent", String::new())] } else { Vec::new() },
            ..Sending::default()
        };
        let numbers = body.get("phoneNumbers").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let sendings: Vec<_> = numbers
            .iter()
            .take(MAX_NUMBERS)
            .map(|number| Sending { phone: number.as_str().map(e164).unwrap_or_default(), ..message.clone() })
            .collect();
        if sendings.is_empty() { vec![message] } else { sendings }
    }

    fn check(&self, call: &Call, sendings: &[Sending]) -> Result<(), Refusal> {
        let refuse = |what: &str| Err(Refusal::new(400, what));
        let body = &call.json;
        if !body.is_object() {
            return refuse("invalid JSON");
        }
        if let Some(key) =
            strange_key(body, &KEYS).or(body.get("textMessage").and_then(|message| strange_key(message, &["text"])))
        {
            return refuse(&format!("unknown field {key:?}"));
        }
        if body.get("textMessage").is_some() == body.get("message").is_some() {
            return refuse("must specify exactly one of: textMessage, dataMessage, or message");
        }
        let numbers = body.get("phoneNumbers").and_then(Value::as_array);
        let valid = |number: &Value| number.as_str().and_then(|n| n.strip_prefix('+')).is_some_and(is_number);
        match numbers {
            None => return refuse("phoneNumbers is required"),
            Some(numbers) if numbers.is_empty() || numbers.len() > MAX_NUMBERS => {
                return refuse("phoneNumbers: 1 to 100");
            }
            Some(numbers) => {
                if let Some(number) = numbers.iter().find(|number| !valid(number)) {
                    return refuse(&format!("invalid phone number {number}"));
                }
                let unique: HashSet<_> = numbers.iter().filter_map(Value::as_str).collect();
                if unique.len() < numbers.len() {
                    return refuse("phone numbers must be unique");
                }
            }
        }
        if sendings.first().is_none_or(|sending| sending.text.is_empty()) {
            return refuse("text is required");
        }
        if sendings.iter().any(|sending| sending.id.as_ref().is_some_and(|id| id.chars().count() > MAX_ID_CHARS)) {
            return refuse("id: at most 36 characters");
        }
        if body.get("ttl").is_some() && body.get("validUntil").is_some() {
            return refuse("ttl and validUntil are mutually exclusive");
        }
        let within = |key: &str, low: i64, high: i64| {
            body.get(key).is_none_or(|value| value.as_i64().is_some_and(|number| (low..=high).contains(&number)))
        };
        if !within("simNumber", 1, 3) || !within("priority", -128, 127) || !within("ttl", 5, i64::MAX) {
            return refuse("simNumber, priority or ttl is out of range");
        }
        let flag = |key: &str| body.get(key).is_none_or(Value::is_boolean);
        if !flag("withDeliveryReport") || !flag("isEncrypted") {
            return refuse("withDeliveryReport and isEncrypted are true or false");
        }
        Ok(())
    }

    fn recheck(&self, sendings: &[Sending], ledger: &Ledger) -> Result<(), Refusal> {
        let id = sendings.first().and_then(|sending| sending.id.as_deref());
        match id.and_then(|id| ledger.taken_as(Vendor::Capcom6, id)) {
            Some(_) => Err(Refusal::new(409, "message with the same ID already exists")),
            None => Ok(()),
        }
    }

    fn id(&self, seq: u64, sending: &Sending) -> String {
        sending.id.clone().unwrap_or_else(|| format!("sim{seq:018}"))
    }

    fn success(&self) -> StatusCode {
        StatusCode::ACCEPTED
    }

    fn accepted(&self, _call: &Call, taken: &[Taken<'_>], _account: &Account) -> Reply {
        let id = taken.first().map(|taken| taken.stamp.id.as_str()).unwrap_or_default();
        let reply = Reply::json(StatusCode::ACCEPTED, &resource(taken, id, None));
        Reply { location: Some(format!("/3rdparty/v1/messages/{id}")), ..reply }
    }

    fn refused(&self, _call: &Call, refusal: &Refusal) -> Reply {
        let status = refusal.code.parse::<StatusCode>().ok().filter(|status| status.as_u16() >= 400);
        let status = status.unwrap_or(StatusCode::BAD_REQUEST);
        Reply::json(status, &json!({"message": refusal.what}))
    }

    fn trouble(&self, _call: &Call, status: StatusCode) -> Reply {
        Reply::json(status, &json!({"message": status.canonical_reason().unwrap_or("Error")}))
    }

    fn ask(&self, call: &Call, sight: &mut Sight<'_>) -> Reply {
        let path = local(&call.path);
        if path == "/health" {
            return Reply::json(StatusCode::OK, &json!({"status": "pass", "version": "simulated", "checks": {}}));
        }
        if let Err(refusal) = self.admit(call, sight.account, sight.books) {
            return self.refused(call, &refusal);
        }
        let Some(id) = path.strip_prefix("/messages/").or(path.strip_prefix("/message/")) else {
            let all = sight.ledger.taken_by(Vendor::Capcom6).take(LISTED).filter_map(Taken::of);
            let all: Vec<Value> =
                all.map(|taken| resource(&[taken], &sight.ids.write(&taken.stamp.id), Some(sight.now))).collect();
            return Reply::json(StatusCode::OK, &json!(all));
        };
        let id = percent_encoding::percent_decode_str(id).decode_utf8_lossy();
        match sight.ledger.taken_as(Vendor::Capcom6, &id).and_then(Taken::of) {
            Some(taken) => Reply::json(StatusCode::OK, &resource(&[taken], &id, Some(sight.now))),
            None => self.refused(call, &Refusal::new(404, "message not found")),
        }
    }

    fn tells_sent(&self, taken: &Taken<'_>) -> bool {
        !cancelled(taken)
    }

    fn signs(&self) -> bool {
        true
    }

    fn receipt(&self, news: &News<'_>) -> Option<Letter> {
        let mut payload = json!({
            "messageId": news.id,
            "recipient": news.taken.message.phone,
            "phoneNumber": news.taken.message.phone,
            "simNumber": 1,
        });
        let now = time(Timestamp::now());
        let event = match news.step {
            Step::Sent => {
                payload["sentAt"] = json!(now);
                "sms:sent"
            }
            Step::Delivered if news.taken.stamp.note("silent").is_some() => return None,
            Step::Delivered => {
                payload["deliveredAt"] = json!(now);
                "sms:delivered"
            }
            Step::Undelivered if cancelled(&news.taken) => {
                payload["cancelledAt"] = json!(now);
                "sms:cancelled"
            }
            Step::Undelivered => {
                payload["failedAt"] = json!(now);
                payload["reason"] = json!(reason(&news.taken));
                "sms:failed"
            }
        };
        Some(signed(news.url, event, &payload, news.secret))
    }

    fn inbound(&self, inbound: &Inbound<'_>) -> Option<Letter> {
        let payload = json!({
            "messageId": format!("{:08x}", inbound.seq),
            "message": inbound.text,
            "sender": inbound.from,
            "recipient": null,
            "phoneNumber": inbound.from,
            "simNumber": 1,
            "receivedAt": time(Timestamp::now()),
        });
        Some(signed(inbound.url, "sms:received", &payload, inbound.secret))
    }
}

fn signed(url: &url::Url, event: &str, payload: &Value, secret: &str) -> Letter {
    let body = json!({
        "deviceId": DEVICE,
        "event": event,
        "id": format!("{:020x}", rand::random::<u64>()),
        "payload": payload,
        "webhookId": "5ec0de000000000000002",
    });
    let (body, timestamp) = (body.to_string(), Timestamp::now().as_second().to_string());
    let signature = sign::capcom6(secret, &body, &timestamp);
    Letter { headers: vec![("X-Signature", signature), ("X-Timestamp", timestamp)], ..Letter::json(url, body) }
}
