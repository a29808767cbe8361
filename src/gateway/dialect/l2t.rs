//! The interface of L2T, TunisieSMS and their resellers: one path, `fct` says what is wanted.
//!
//! Owns both versions of it: `/Api/Api.aspx` answers XML and always 200; `/api/v1/sms` answers JSON, or XML when asked. No push:
//! receipts are asked for with `fct=dlr`. Assumed, for want of a document: which codes are HTTP statuses too (400, 401 and 500,
//! in version 1), the code of a malformed date (400), and how long a text may be.

use hyper::{Method, StatusCode};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::books::Books;
use super::call::{Call, field, stranger};
use super::sending::{Sending, Step, e164, is_number, is_sender_name};
use super::speech::{Dialect, Refusal, Reply, Route, Sight, Taken};
use super::vendor::Vendor;
use crate::gateway::account::Account;
use crate::message::encoding::measure;

/// Most numbers in one request, and ids in one look-up, that are read.
const MAX_NUMBERS: usize = 100;
/// Longest text, segments.
const MAX_SEGMENTS: u32 = 10;
/// The zone of `date` and `heure`, and of `dlr_date`.
const ZONE: &str = "Africa/Tunis";
/// Fields of all functions.
const FIELDS: [&str; 9] = ["fct", "key", "mobile", "sms", "sender", "date", "heure", "content-type", "msg_id"];

pub(super) struct L2t;

fn is_old(path: &str) -> bool {
    path.to_ascii_lowercase().ends_with("/api.aspx")
}

fn wants_xml(call: &Call) -> bool {
    match field(&call.query, "content-type") {
        Some(format) => format.eq_ignore_ascii_case("xml"),
        None => is_old(&call.path),
    }
}

fn words(code: &str) -> (&'static str, &'static str) {
    match code {
        "401" => ("invalid_key", "invalid key"),
        "402" => ("insufficient_credit", "insufficient credit"),
        "420" => ("quota_exceeded", "daily quota exceeded"),
        "430" => ("missing_text", "message text is missing"),
        "431" => ("missing_destination", "destination is missing"),
        "440" => ("message_too_long", "message is too long"),
        "441" => ("destination_refused", "destination is not allowed"),
        "442" => ("sender_refused", "sender is not allowed"),
        "500" => ("server_error", "internal server error"),
        _ => ("missing_parameter", "missing or invalid parameter"),
    }
}

/// The numbers of a request.
fn numbers(call: &Call) -> impl Iterator<Item = &str> {
    let mobile = field(&call.query, "mobile").unwrap_or_default();
    mobile.split([';', ',']).map(str::trim).filter(|number| !number.is_empty()).take(MAX_NUMBERS)
}

fn xml(what: &str) -> String {
    what.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Whether a text is numbers of these lengths with separators between: `01/02/2026`, `08:30`.
fn is_written(text: &str, separator: char, lengths: &[usize]) -> bool {
    let parts: Vec<&str> = text.split(separator).collect();
    parts.len() == lengths.len()
        && parts
            .iter()
            .zip(lengths)
            .all(|(part, length)| part.len() == *length && part.bytes().all(|byte| byte.is_ascii_digit()))
}

impl Dialect for L2t {
    fn vendor(&self) -> Vendor {
        Vendor::L2t
    }

    fn route(&self, method: &Method, path: &str) -> Route {
        // Which function is wanted is in the query: `asks` reads it.
        if *method == Method::GET && (is_old(path) || path.ends_with("/api/v1/sms")) {
            Route::Send
        } else {
            Route::Nowhere
        }
    }

    fn asks(&self, call: &Call) -> bool {
        field(&call.query, "fct").is_some_and(|function| matches!(function, "dlr" | "balance" | "sender"))
    }

    fn admit(&self, call: &Call, account: &Account, _books: &Books) -> Result<String, Refusal> {
        // A plus in a key that was not escaped has become a space; the vendor takes both.
        let key = field(&call.query, "key").filter(|key| !key.is_empty()).map(|key| key.replace(' ', "+"));
        let key = key.ok_or_else(|| Refusal::new(401, "key"))?;
        if account.admits(&key) { Ok(key) } else { Err(Refusal::new(401, "key")) }
    }

    fn read(&self, call: &Call) -> Vec<Sending> {
        let get = |name: &str| field(&call.query, name).unwrap_or_default().to_owned();
        let message = Sending { text: get("sms"), sender: get("sender"), ..Sending::default() };
        let sendings: Vec<_> = numbers(call).map(|number| Sending { phone: e164(number), ..message.clone() }).collect();
        if sendings.is_empty() { vec![message] } else { sendings }
    }

    fn check(&self, call: &Call, sendings: &[Sending]) -> Result<(), Refusal> {
        let refuse = |code: u32, what: &str| Err(Refusal::new(code, what));
        let get = |name: &str| field(&call.query, name).filter(|value| !value.is_empty());
        if let Some(strange) = stranger(&call.query, &FIELDS) {
            return refuse(400, strange);
        }
        if get("fct") != Some("sms") {
            return refuse(400, "fct");
        }
        let Some(text) = get("sms") else { return refuse(430, "sms") };
        if get("mobile").is_none() {
            return refuse(431, "mobile");
        }
        let Some(sender) = get("sender") else { return refuse(400, "sender") };
        if sendings.iter().any(|sending| !sending.phone.strip_prefix('+').is_some_and(is_number))
            || numbers(call).any(|number| number.starts_with('+'))
        {
            return refuse(441, "mobile");
        }
        if !is_sender_name(sender) {
            return refuse(442, "sender");
        }
        if measure(text).segments > MAX_SEGMENTS {
            return refuse(440, "sms");
        }
        if get("date").is_some_and(|date| !is_written(date, '/', &[2, 2, 4])) {
            return refuse(400, "date");
        }
        if get("heure").is_some_and(|hour| !is_written(hour, ':', &[2, 2]) && !is_written(hour, ':', &[2, 2, 2])) {
            return refuse(400, "heure");
        }
        Ok(())
    }

    fn id(&self, seq: u64, _sending: &Sending) -> String {
        (710_000_000 + seq).to_string()
    }

    fn accepted(&self, call: &Call, taken: &[Taken<'_>], _account: &Account) -> Reply {
        if wants_xml(call) {
            let statuses: String = taken
                .iter()
                .map(|taken| {
                    format!(
                        "<status><status_code>200</status_code><status_msg>Message enregistre</status_msg>\
                         <message_id>{}</message_id></status>",
                        taken.stamp.id
                    )
                })
                .collect();
            return Reply::text("text/xml; charset=utf-8", format!("<response>{statuses}</response>"));
        }
        let data = |taken: &Taken<'_>| {
            json!({
                "message_id": number(&taken.stamp.id),
                "msisdn": taken.message.phone.trim_start_matches('+'),
                "ref": reference(taken),
            })
        };
        let data = match taken {
            [one] => data(one),
            several => several.iter().map(data).collect(),
        };
        // The status is a text here, and a number in the answers to `dlr` and `balance`.
        let body = json!({"success": true, "message": "the message is saved in the queue", "code": "message_queued",
            "status": "200", "data": data});
        Reply::json(StatusCode::OK, &body)
    }

    fn refused(&self, call: &Call, refusal: &Refusal) -> Reply {
        let (word, text) = words(&refusal.code);
        let what = format!("{text}: {}", refusal.what);
        if wants_xml(call) {
            let body = format!(
                "<response><status><status_code>{}</status_code><status_msg>{}</status_msg></status></response>",
                xml(&refusal.code),
                xml(&what)
            );
            return Reply::text("text/xml; charset=utf-8", body);
        }
        let status = match refusal.code.as_str() {
            "400" => StatusCode::BAD_REQUEST,
            "401" => StatusCode::UNAUTHORIZED,
            "500" => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::OK,
        };
        Reply::json(status, &json!({"success": false, "message": what, "code": word, "status": number(&refusal.code)}))
    }

    fn trouble(&self, _call: &Call, status: StatusCode) -> Reply {
        let what = status.canonical_reason().unwrap_or("Error");
        Reply::json(status, &json!({"success": false, "message": what, "status": status.as_u16()}))
    }

    fn ask(&self, call: &Call, sight: &mut Sight<'_>) -> Reply {
        if let Err(refusal) = self.admit(call, sight.account, sight.books) {
            return self.refused(call, &refusal);
        }
        if let Some(strange) = stranger(&call.query, &FIELDS) {
            return self.refused(call, &Refusal::new(400, strange));
        }
        match field(&call.query, "fct") {
            Some("balance") if wants_xml(call) => {
                let body = format!("<response><solde>{}</solde></response>", sight.account.balance());
                Reply::text("text/xml; charset=utf-8", body)
            }
            Some("balance") => {
                let data = json!({"id_client": 123, "balance": sight.account.balance()});
                success("Account balance", "balance_success", &data)
            }
            Some("sender") => {
                success("Account list sender authorized", "sender_success", &json!([{"sender": "ECAR", "total_mt": 0}]))
            }
            _ => dlr(call, sight).unwrap_or_else(|refusal| self.refused(call, &refusal)),
        }
    }
}

fn success(message: &str, code: &str, data: &Value) -> Reply {
    let body = json!({"success": true, "message": message, "code": code, "status": 200, "data": data});
    Reply::json(StatusCode::OK, &body)
}

fn number(text: &str) -> Value {
    text.parse::<u64>().map_or_else(|_| json!(text), |number| json!(number))
}

fn reference(taken: &Taken<'_>) -> String {
    format!("r{:06x}", taken.message.seq)
}

fn dlr(call: &Call, sight: &Sight<'_>) -> Result<Reply, Refusal> {
    let ids = field(&call.query, "msg_id").filter(|ids| !ids.is_empty()).ok_or_else(|| Refusal::new(400, "msg_id"))?;
    let found: Vec<_> = ids
        .split(';')
        .take(MAX_NUMBERS)
        .filter_map(|id| sight.ledger.taken_as(Vendor::L2t, id.trim()).and_then(Taken::of))
        .map(|taken| {
            let word = match taken.stamp.state(sight.now) {
                Step::Sent => "UNKNOWN",
                Step::Delivered => "DELIVERED",
                // The script may name another of the words.
                Step::Undelivered => match taken.stamp.code.as_deref() {
                    Some("EXPIRED") => "EXPIRED",
                    Some("REJECTED") => "REJECTED",
                    _ => "UNDELIVERED",
                },
            };
            (taken, sight.ids.write(&taken.stamp.id), word)
        })
        .collect();
    if wants_xml(call) {
        let rows: String = found
            .iter()
            .map(|(taken, id, word)| {
                format!(
                    "<message><message_id>{id}</message_id><acknowledgement>{word}</acknowledgement><date>{}</date></message>",
                    local(taken.stamp.due, "%d/%m/%Y %H:%M:%S")
                )
            })
            .collect();
        return Ok(Reply::text("text/xml; charset=utf-8", format!("<Acknowledgement>{rows}</Acknowledgement>")));
    }
    let rows: Vec<Value> = found
        .iter()
        .map(|(taken, id, word)| {
            let at = local(taken.stamp.due, "%Y-%m-%d %H:%M:%S");
            json!({"message_id": number(id), "dlr": word, "dlr_date": at, "ref": reference(taken)})
        })
        .collect();
    Ok(success("dlr response", "dlr_success", &json!(rows)))
}

fn local(at: Timestamp, format: &str) -> String {
    let zone = TimeZone::get(ZONE).unwrap_or(TimeZone::UTC);
    at.to_zoned(zone).strftime(format).to_string()
}
