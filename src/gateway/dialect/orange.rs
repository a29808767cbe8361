//! Orange's SMS API for Africa and the Middle East, 2.0 (<https://developer.orange.com/apis/sms/getting-started>).
//!
//! Owns its OAuth tokens, its JSON in the manner of OMA's, its two shapes of errors. Receipts and replies go to the address that
//! Orange registers for an account, without a signature. Assumed, for want of a document: the texts of the errors but that
//! of code 42, and which code stands for an empty bundle.

use std::time::Instant;

use hyper::{Method, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::books::{Books, Standing};
use super::call::{Call, field, strange_key, stranger, text_at};
use super::sending::{Sending, Step, e164, is_number};
use super::speech::{Dialect, Inbound, News, Refusal, Reply, Route, Sight, Taken};
use super::vendor::Vendor;
use crate::gateway::account::Account;
use crate::gateway::letter::Letter;

/// Longest sender name, characters.
const MAX_SENDER_CHARS: usize = 11;

pub(super) struct Orange;

/// The sender's address in the path of a send, decoded: `tel:+216...`.
fn sender_address(path: &str) -> Option<String> {
    let encoded = path.strip_prefix("/smsmessaging/v1/outbound/")?.strip_suffix("/requests")?;
    percent_decode_str(encoded).decode_utf8().ok().map(|decoded| decoded.into_owned())
}

/// The part of the request that holds everything.
fn request(call: &Call) -> &Value {
    call.json.get("outboundSMSMessageRequest").unwrap_or(&Value::Null)
}

fn status_of(code: &str) -> StatusCode {
    match code {
        "40" | "41" | "42" => StatusCode::UNAUTHORIZED,
        "50" | "51" | "52" | "53" => StatusCode::FORBIDDEN,
        "60" | "61" => StatusCode::NOT_FOUND,
        "29" => StatusCode::TOO_MANY_REQUESTS,
        "1" => StatusCode::INTERNAL_SERVER_ERROR,
        "5" => StatusCode::SERVICE_UNAVAILABLE,
        _ if code.starts_with("POL") => StatusCode::FORBIDDEN,
        _ => StatusCode::BAD_REQUEST,
    }
}

/// What is said beside the message of a numbered error; only that of 42 stands in a document.
fn description(code: u32) -> &'static str {
    match code {
        40 => "The requested service needs credentials, but none were provided.",
        41 => "The requested service needs credentials, and the ones provided were invalid.",
        42 => "The requested service needs credentials, and the ones provided were out-of-date.",
        _ => "The request was refused.",
    }
}

fn refuse_token(error: &str, what: &str, status: StatusCode) -> Reply {
    Reply::json(status, &json!({"error": error, "error_description": what}))
}

impl Dialect for Orange {
    fn vendor(&self) -> Vendor {
        Vendor::Orange
    }

    fn route(&self, method: &Method, path: &str) -> Route {
        match (path, method) {
            ("/oauth/v3/token", &Method::POST) => Route::Ask,
            ("/sms/admin/v1/contracts", &Method::GET) => Route::Ask,
            (path, &Method::POST) if sender_address(path).is_some() => Route::Send,
            _ => Route::Nowhere,
        }
    }

    fn admit(&self, call: &Call, _account: &Account, books: &Books) -> Result<String, Refusal> {
        if !call.has_authorization() {
            return Err(Refusal::new(40, "Missing credentials"));
        }
        let token = call.authorization("Bearer").ok_or_else(|| Refusal::new(41, "Invalid credentials"))?;
        match books.standing(token) {
            Standing::Valid => Ok(token.to_owned()),
            Standing::Expired => Err(Refusal::new(42, "Expired credentials")),
            Standing::Unknown => Err(Refusal::new(41, "Invalid credentials")),
        }
    }

    fn read(&self, call: &Call) -> Vec<Sending> {
        let request = request(call);
        let sender = sender_address(&call.path).unwrap_or_default();
        let address = text_at(request, "/address").unwrap_or_default();
        vec![Sending {
            phone: address.strip_prefix("tel:").map_or(address.clone(), e164),
            text: text_at(request, "/outboundSMSTextMessage/message").unwrap_or_default(),
            sender: text_at(request, "/senderName").unwrap_or_else(|| sender.trim_start_matches("tel:").to_owned()),
            account: sender,
            ..Sending::default()
        }]
    }

    fn check(&self, call: &Call, sendings: &[Sending]) -> Result<(), Refusal> {
        let invalid = |part: &str| Err(Refusal::new("SVC0002", part));
        let request = request(call);
        if !request.is_object() {
            return invalid("outboundSMSMessageRequest");
        }
        let known = ["address", "senderAddress", "senderName", "outboundSMSTextMessage"];
        let strange = strange_key(&call.json, &["outboundSMSMessageRequest"])
            .or(strange_key(request, &known))
            .or(request.get("outboundSMSTextMessage").and_then(|text| strange_key(text, &["message"])));
        if let Some(key) = strange {
            return invalid(key);
        }
        let address = text_at(request, "/address").unwrap_or_default();
        if !address.strip_prefix("tel:+").is_some_and(is_number) {
            return Err(Refusal::new("SVC0004", "address"));
        }
        let path = sender_address(&call.path).unwrap_or_default();
        let sender = path.strip_prefix("tel:").map(|number| number.trim_start_matches('+'));
        let short = |number: &str| (3..=8).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit());
        if !sender.is_some_and(|number| is_number(number) || short(number))
            || text_at(request, "/senderAddress").as_deref() != Some(path.as_str())
        {
            return invalid("senderAddress");
        }
        let name = request.get("senderName");
        if name.is_some_and(|name| !name.as_str().is_some_and(|n| (1..=MAX_SENDER_CHARS).contains(&n.chars().count())))
        {
            return invalid("senderName");
        }
        if sendings.first().is_none_or(|sending| sending.text.is_empty()) {
            return invalid("outboundSMSTextMessage.message");
        }
        Ok(())
    }

    fn id(&self, seq: u64, _sending: &Sending) -> String {
        format!("5ec0de00-0000-4000-8000-{:012x}", seq & 0xFFFF_FFFF_FFFF)
    }

    fn success(&self) -> StatusCode {
        StatusCode::CREATED
    }

    fn accepted(&self, call: &Call, taken: &[Taken<'_>], _account: &Account) -> Reply {
        let Some(taken) = taken.first() else { return Reply::json(StatusCode::CREATED, &json!({})) };
        let (sender, id) = (&taken.stamp.account, &taken.stamp.id);
        let resource = format!("https://api.orange.com/smsmessaging/v1/outbound/{sender}/requests/{id}");
        let mut answer = json!({
            "address": [format!("tel:{}", taken.message.phone)],
            "senderAddress": taken.stamp.account,
            "outboundSMSTextMessage": {"message": taken.message.message},
            "resourceURL": resource,
        });
        if let Some(name) = text_at(request(call), "/senderName") {
            answer["senderName"] = json!(name);
        }
        let body = json!({"outboundSMSMessageRequest": answer});
        Reply { location: Some(resource), ..Reply::json(StatusCode::CREATED, &body) }
    }

    fn refused(&self, _call: &Call, refusal: &Refusal) -> Reply {
        let status = status_of(&refusal.code);
        let body = match refusal.code.parse::<u32>() {
            Ok(code) => json!({"code": code, "message": refusal.what, "description": description(code)}),
            Err(_) => {
                let (kind, text) = if refusal.code.starts_with("POL") {
                    ("policyException", "A policy error occurred. Error code is %1")
                } else {
                    ("serviceException", "Invalid input value for message part %1")
                };
                json!({"requestError": {kind: {"messageId": refusal.code, "text": text, "variables": [refusal.what]}}})
            }
        };
        Reply::json(status, &body)
    }

    fn trouble(&self, _call: &Call, status: StatusCode) -> Reply {
        let what = status.canonical_reason().unwrap_or("Error");
        Reply::json(status, &json!({"code": status.as_u16(), "message": what, "description": what}))
    }

    fn ask(&self, call: &Call, sight: &mut Sight<'_>) -> Reply {
        if call.path == "/oauth/v3/token" {
            return token(call, sight);
        }
        if let Err(refusal) = self.admit(call, sight.account, sight.books) {
            return self.refused(call, &refusal);
        }
        let contract = json!({
            "id": "5ec0de0000000000",
            "type": "SELFSERVICE",
            "country": field(&call.query, "country").unwrap_or("TUN"),
            "offerName": "SMS_OCB",
            "availableUnits": sight.account.units(),
            "requestedUnits": 0,
            "status": "ACTIVE",
            "creationDate": "2026-01-01T00:00:00.000Z",
            "lastUpdateDate": sight.now,
            "expirationDate": "2099-12-31T23:59:59.000Z",
        });
        Reply::json(StatusCode::OK, &json!([contract]))
    }

    fn tells_sent(&self, _taken: &Taken<'_>) -> bool {
        true
    }

    fn receipt(&self, news: &News<'_>) -> Option<Letter> {
        let status = match news.step {
            Step::Sent => "DeliveredToNetwork",
            Step::Delivered => "DeliveredToTerminal",
            Step::Undelivered => "DeliveryImpossible",
        };
        let info = json!({"address": format!("tel:{}", news.taken.message.phone), "deliveryStatus": status});
        let body = json!({"deliveryInfoNotification": {"callbackData": news.id, "deliveryInfo": info}});
        Some(Letter::json(news.url, body.to_string()))
    }

    fn inbound(&self, inbound: &Inbound<'_>) -> Option<Letter> {
        let message = json!({
            "dateTime": jiff::Timestamp::now(),
            "destinationAddress": format!("tel:{}", inbound.to.trim_start_matches("tel:")),
            "messageId": format!("5ec0de00-0000-4000-9000-{:012x}", inbound.seq & 0xFFFF_FFFF_FFFF),
            "message": inbound.text,
            "senderAddress": format!("tel:{}", inbound.from),
        });
        let body = json!({"inboundSMSMessageNotification": {"callbackData": "", "inboundSMSMessage": message}});
        Some(Letter::json(inbound.url, body.to_string()))
    }
}

/// A new token for client id and secret (RFC 6749, 4.4).
fn token(call: &Call, sight: &mut Sight<'_>) -> Reply {
    let admitted = call.basic().is_some_and(|(id, secret)| !id.is_empty() && sight.account.admits(&secret));
    if !admitted {
        let what = "The requested service needs credentials, but the ones provided were invalid.";
        return refuse_token("invalid_client", what, StatusCode::UNAUTHORIZED);
    }
    if field(&call.form, "grant_type") != Some("client_credentials") {
        return refuse_token(
            "unsupported_grant_type",
            "grant_type must be client_credentials.",
            StatusCode::BAD_REQUEST,
        );
    }
    if let Some(strange) = stranger(&call.form, &["grant_type", "scope"]) {
        return refuse_token("invalid_request", &format!("Unknown parameter {strange:?}."), StatusCode::BAD_REQUEST);
    }
    let life = sight.account.token_life();
    // An hour at most is added.
    let token = sight.books.issue(Instant::now() + life);
    // The document shows the seconds as text.
    let body = json!({"token_type": "Bearer", "access_token": token, "expires_in": life.as_secs().to_string()});
    Reply::json(StatusCode::OK, &body)
}
