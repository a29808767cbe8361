//! WinSMS (winsmspro.com) and the gateways of the same family: `action` says what is wanted.
//!
//! Owns its query, its numbered errors and its two forms of answers: JSON with `response=json`, else the same written as a query.
//! Every answer is 200. No push. Assumed, for want of a document: the answer to a status look-up (`verifSms`), the code of a
//! missing text (100), and that numbers may have a plus.

use hyper::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::books::Books;
use super::call::{Call, field, stranger};
use super::sending::{Sending, Step, e164, is_number};
use super::speech::{Dialect, Refusal, Reply, Route, Sight, Taken};
use super::vendor::Vendor;
use crate::gateway::account::Account;

/// Most numbers in one request.
const MAX_NUMBERS: usize = 100;
/// Longest sender, characters.
const MAX_SENDER_CHARS: usize = 11;
/// Fields of all actions.
const FIELDS: [&str; 9] = ["action", "api_key", "to", "from", "sms", "response", "unicode", "schedule", "ref"];

pub(super) struct Winsms;

fn numbers(call: &Call) -> impl Iterator<Item = &str> {
    let to = field(&call.query, "to").unwrap_or_default();
    to.split(',').map(str::trim).filter(|number| !number.is_empty())
}

fn words(code: &str) -> &'static str {
    match code {
        "100" => "Bad gateway requested",
        "101" => "Wrong action",
        "102" => "Authentication Failed",
        "103" => "Invalid phone number",
        "104" => "Phone coverage not active",
        "105" => "Insufficient balance",
        "106" => "Invalid Sender ID",
        "107" => "Invalid SMS Type",
        "108" => "SMS Gateway not active",
        "109" => "Invalid Schedule Time",
        "111" => "SMS contain spam word. Wait for approval",
        "112" => "Number is blacklisted",
        "113" => "Maximum allowed numbers exceeded",
        "555" => "Licence ended",
        "888" => "No Sender ID",
        _ => "Error",
    }
}

/// An object, in the form that the request wants.
fn say(call: &Call, body: Value) -> Reply {
    if field(&call.query, "response") == Some("json") {
        return Reply::json(StatusCode::OK, &body);
    }
    let fields = body.as_object().cloned().unwrap_or_else(Map::new);
    let pairs = fields.iter().map(|(name, value)| (name, value.as_str().map_or(value.to_string(), str::to_owned)));
    let text = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    Reply::text("text/html; charset=UTF-8", text)
}

fn error(call: &Call, refusal: &Refusal) -> Reply {
    say(call, json!({"code": refusal.code, "message": words(&refusal.code)}))
}

impl Dialect for Winsms {
    fn vendor(&self) -> Vendor {
        Vendor::Winsms
    }

    fn route(&self, method: &Method, path: &str) -> Route {
        match (path, method) {
            ("/sms/sms/api", &Method::GET | &Method::POST) => Route::Send,
            ("/sms/sms/api/verifSms", &Method::GET) => Route::Ask,
            _ => Route::Nowhere,
        }
    }

    fn asks(&self, call: &Call) -> bool {
        field(&call.query, "action") == Some("check-balance")
    }

    fn admit(&self, call: &Call, account: &Account, _books: &Books) -> Result<String, Refusal> {
        // A plus in a key that was not escaped has become a space; the vendor takes both.
        let key = field(&call.query, "api_key").unwrap_or_default().replace(' ', "+");
        if account.admits(&key) { Ok(key) } else { Err(Refusal::new(102, "api_key")) }
    }

    fn read(&self, call: &Call) -> Vec<Sending> {
        let get = |name: &str| field(&call.query, name).unwrap_or_default().to_owned();
        let message = Sending { text: get("sms"), sender: get("from"), ..Sending::default() };
        let sendings: Vec<_> =
            numbers(call).take(MAX_NUMBERS).map(|number| Sending { phone: e164(number), ..message.clone() }).collect();
        if sendings.is_empty() { vec![message] } else { sendings }
    }

    fn check(&self, call: &Call, sendings: &[Sending]) -> Result<(), Refusal> {
        let refuse = |code: u32, what: &str| Err(Refusal::new(code, what));
        let get = |name: &str| field(&call.query, name).filter(|value| !value.is_empty());
        if get("action") != Some("send-sms") {
            return refuse(101, "action");
        }
        if let Some(strange) = stranger(&call.query, &FIELDS).or(call.form.first().map(|(name, _)| name.as_str())) {
            return refuse(100, strange);
        }
        let valid = |sending: &Sending| sending.phone.strip_prefix('+').is_some_and(is_number);
        if get("to").is_none() || !sendings.iter().all(valid) {
            return refuse(103, "to");
        }
        if numbers(call).count() > MAX_NUMBERS {
            return refuse(113, "to");
        }
        let Some(from) = get("from") else { return refuse(888, "from") };
        let fits =
            from.len() <= MAX_SENDER_CHARS && from.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b' ');
        if !fits {
            return refuse(106, "from");
        }
        if get("sms").is_none() {
            return refuse(100, "sms");
        }
        if get("unicode").is_some_and(|unicode| !matches!(unicode, "0" | "1")) {
            return refuse(107, "unicode");
        }
        Ok(())
    }

    fn id(&self, seq: u64, _sending: &Sending) -> String {
        (4_500_000 + seq).to_string()
    }

    fn accepted(&self, call: &Call, taken: &[Taken<'_>], account: &Account) -> Reply {
        let body = json!({
            "code": "ok",
            "message": "Successfully Send",
            "balance": account.units(),
            "user": "ECAR",
            "licence": "2099-12-31",
            "reference": taken.first().map(|taken| taken.stamp.id.clone()),
        });
        say(call, body)
    }

    fn refused(&self, call: &Call, refusal: &Refusal) -> Reply {
        error(call, refusal)
    }

    fn ask(&self, call: &Call, sight: &mut Sight<'_>) -> Reply {
        if let Err(refusal) = self.admit(call, sight.account, sight.books) {
            return error(call, &refusal);
        }
        if self.asks(call) {
            return say(call, json!({"balance": sight.account.units(), "user": "ECAR", "country": "Tunisia"}));
        }
        let id = field(&call.query, "ref").unwrap_or_default();
        let Some(taken) = sight.ledger.taken_as(Vendor::Winsms, id).and_then(Taken::of) else {
            return error(call, &Refusal::new(100, "ref"));
        };
        let word = match taken.stamp.state(sight.now) {
            Step::Sent => "Sent",
            Step::Delivered => "Delivered",
            Step::Undelivered => "Undelivered",
        };
        let body = json!({"code": "ok", "reference": sight.ids.write(&taken.stamp.id), "status": word});
        Reply::json(StatusCode::OK, &body)
    }
}
