//! Twilio: https://www.twilio.com/docs/messaging/api/message-resource, https://www.twilio.com/docs/api/errors

use secrecy::SecretString;

use super::super::{Vendor, VendorConfig};
use super::support::{
    Answer, Gateway, KEY, PUSH_URL, every_answer_is_judged, form, inquiry, made, outgoing, pushing, read,
};
use crate::message::encoding::Encoding;
use crate::message::outcome::Outcome;
use crate::provider::generic::GenericConfig;
use crate::provider::inquiry::{Finding, TakenMessage};
use crate::provider::receipt::{DeliveryStatus, PushError, Pushed, Receipt, Reply};

const ACCOUNT: &str = "AC00000000000000000000000000000000";
const SID: &str = "SMaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const MESSAGES: &str = "/2010-04-01/Accounts/AC00000000000000000000000000000000/Messages.json";
const NOW: &str = "2026-03-02T11:03:04Z";

fn config(gateway: &str) -> GenericConfig {
    let written = VendorConfig {
        account: Some(ACCOUNT.to_owned()),
        api_key: Some(SecretString::from(KEY)),
        base_url: Some(gateway.to_owned()),
        push_token: Some(SecretString::from("0123456789abcdef")),
        ..VendorConfig::default()
    };
    Vendor::named("twilio").unwrap().configure(written).unwrap()
}

fn message(sid: &str, body: &str, status: &str, error: &str) -> String {
    format!(
        r#"{{"account_sid":"{ACCOUNT}","api_version":"2010-04-01","body":"{body}","date_created":"Mon, 02 Mar 2026 11:03:04 +0000",
        "date_sent":null,"date_updated":"Mon, 02 Mar 2026 11:03:09 +0000","direction":"outbound-api","error_code":{error},
        "error_message":null,"from":"ECAR","num_media":"0","num_segments":"2","price":null,"price_unit":null,
        "messaging_service_sid":null,"sid":"{sid}","status":"{status}","to":"+21620000123"}}"#
    )
}

fn refusal(status: u16, code: u32, word: &'static str) -> Answer {
    let body = format!(
        r#"{{"code":{code},"message":"...","more_info":"https://www.twilio.com/docs/errors/{code}","status":{status}}}"#
    );
    (status, body, word)
}

fn answers() -> Vec<Answer> {
    let mut answers = vec![(201, message(SID, "Bonjour", "queued", "null"), "accepted")];
    for (word, codes) in [
        ("no_credit", &[10001, 20005][..]),
        (
            "misconfigured",
            &[
                20003, 20004, 20006, 20008, 20403, 20404, 21212, 21267, 21401, 21408, 21601, 21603, 21606, 21607,
                21608, 21609, 21657, 21659, 21660, 21661, 70051, 572_002, 572_005,
            ],
        ),
        (
            "rejected",
            &[21211, 21217, 21265, 21266, 21602, 21604, 21605, 21610, 21612, 21614, 21617, 21619, 21635, 21658],
        ),
        ("throttled", &[20429, 21611, 14107, 60728, 63017, 63038]),
        // A code that no page tells of decides nothing.
        ("unknown", &[21999, 2121, 212_110]),
    ] {
        answers.extend(codes.iter().map(|code| refusal(400, *code, word)));
    }
    answers.extend([
        refusal(401, 20003, "misconfigured"),
        refusal(403, 20403, "misconfigured"),
        refusal(404, 20404, "misconfigured"),
        refusal(429, 20429, "throttled"),
        refusal(500, 20500, "unknown"),
        refusal(503, 20503, "unknown"),
        // A code counts in a refusal only.
        refusal(500, 21211, "unknown"),
        (401, "Unauthorized".to_owned(), "misconfigured"),
        (403, "<html>".to_owned(), "misconfigured"),
        (404, "<html>".to_owned(), "misconfigured"),
        (429, "Too Many Requests".to_owned(), "throttled"),
        (502, "<html>".to_owned(), "unknown"),
        (201, "{}".to_owned(), "unknown"),
        (200, message(SID, "Bonjour", "queued", "null"), "unknown"),
        (201, "<html>".to_owned(), "unknown"),
    ]);
    answers
}

#[tokio::test]
async fn the_request_is_the_documented_form() {
    let gateway = Gateway::start().await;
    gateway.answers(201, &message(SID, "x", "queued", "null"));
    let provider = pushing("twilio", config(&gateway.url));
    let outcome = provider.send(&outgoing("Prête & lavée", Encoding::Ucs2)).await;
    assert_eq!(outcome, Outcome::Accepted { provider_message_id: Some(SID.to_owned()), segments: Some(2) });
    let request = gateway.only_request();
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", MESSAGES));
    assert!(request.query.is_empty(), "{request:?}");
    assert_eq!(request.header("content-type"), "application/x-www-form-urlencoded");
    // base64 of account:key
    let basic = "QUMwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDphdXRoLXRva2VuL29mPT12ZW5kb3I=";
    assert_eq!(request.header("authorization"), format!("Basic {basic}"));
    let expected = [("To", "+21620000123"), ("From", "ECAR"), ("Body", "Prête & lavée"), ("StatusCallback", PUSH_URL)];
    assert_eq!(request.form(), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

#[tokio::test]
async fn without_an_address_for_receipts_none_is_given() {
    let gateway = Gateway::start().await;
    gateway.answers(201, &message(SID, "x", "queued", "null"));
    made("twilio", config(&gateway.url)).send(&outgoing("Bonjour", Encoding::Gsm7)).await;
    assert!(gateway.only_request().form().iter().all(|(name, _)| name != "StatusCallback"));
}

#[tokio::test]
async fn every_documented_answer_means_what_its_page_says() {
    let gateway = Gateway::start().await;
    every_answer_is_judged(&gateway, &config(&gateway.url), &answers()).await;
}

#[tokio::test]
async fn an_attempt_in_doubt_is_looked_for_by_recipient_day_and_text() {
    let gateway = Gateway::start().await;
    let provider = made("twilio", config(&gateway.url));
    let list = |messages: &str, next: &str| {
        format!(
            r#"{{"end":1,"page":0,"page_size":50,"next_page_uri":{next},"previous_page_uri":null,"messages":[{messages}]}}"#
        )
    };
    let ours = message(SID, "Bonjour", "failed", "30008");
    let other = message("SMbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", "Facture", "sent", "null");
    let taken = Finding::Taken(vec![TakenMessage { provider_message_id: Some(SID.to_owned()) }]);

    gateway.answers(200, &list(&format!("{other},{ours}"), "null"));
    assert_eq!(provider.look_up(&inquiry("Bonjour")).await, taken);
    let request = gateway.only_request();
    assert_eq!((request.method.as_str(), request.path.as_str()), ("GET", MESSAGES));
    let query = [("DateSent>", "2026-03-02"), ("PageSize", "50"), ("To", "+21620000123")];
    assert_eq!(request.query, query.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    assert!(request.header("authorization").starts_with("Basic "));

    for (status, body, absent) in [
        (200, list("", "null"), true),
        (200, list(&other, "null"), true),
        // What is on the next page nobody knows.
        (200, list(&other, "\"/2010-04-01/Accounts/AC0/Messages.json?Page=1\""), false),
        (200, "{}".to_owned(), false),
        (404, refusal(404, 20404, "").1, false),
        (401, refusal(401, 20003, "").1, false),
        (500, refusal(500, 20500, "").1, false),
    ] {
        gateway.answers(status, &body);
        let found = provider.look_up(&inquiry("Bonjour")).await;
        gateway.only_request();
        assert_eq!(found == Finding::Absent, absent, "{status} {body}: {found:?}");
        assert!(absent || matches!(found, Finding::Unclear { .. }), "{status} {body}: {found:?}");
    }
}

#[tokio::test]
async fn a_receipt_is_asked_for_by_id() {
    let gateway = Gateway::start().await;
    let provider = made("twilio", config(&gateway.url));
    assert_eq!(provider.poll_batch(), Some(1));
    for (status, error, expected, words) in [
        ("delivered", "null", DeliveryStatus::Delivered, "delivered"),
        ("read", "null", DeliveryStatus::Delivered, "read"),
        ("undelivered", "30003", DeliveryStatus::Undelivered, "undelivered 30003"),
        ("failed", "30002", DeliveryStatus::Undelivered, "failed 30002"),
        ("canceled", "null", DeliveryStatus::Undelivered, "canceled"),
        ("accepted", "null", DeliveryStatus::Pending, "accepted"),
        ("queued", "null", DeliveryStatus::Pending, "queued"),
        ("sending", "null", DeliveryStatus::Pending, "sending"),
        ("sent", "null", DeliveryStatus::Pending, "sent"),
        ("partially_delivered", "null", DeliveryStatus::Pending, "partially_delivered"),
    ] {
        gateway.answers(200, &message(SID, "x", status, error));
        let receipt = Receipt {
            provider_message_id: SID.to_owned(),
            reference: None,
            status: expected,
            words: words.to_owned(),
            at: Some("2026-03-02T11:03:09Z".parse().unwrap()),
        };
        assert_eq!(provider.ask_receipts(&[SID]).await, Ok(vec![receipt]));
        assert_eq!(gateway.only_request().path, format!("/2010-04-01/Accounts/{ACCOUNT}/Messages/{SID}.json"));
    }
    gateway.answers(404, &refusal(404, 20404, "").1);
    assert!(provider.ask_receipts(&[SID]).await.is_err());
}

#[tokio::test]
async fn the_balance_is_a_text_in_the_answer() {
    let gateway = Gateway::start().await;
    let provider = made("twilio", config(&gateway.url));
    gateway.answers(200, &format!(r#"{{"account_sid":"{ACCOUNT}","balance":"-0.50","currency":"EUR"}}"#));
    assert_eq!(provider.ask_balance().await, Ok(-0.5));
    assert_eq!(gateway.only_request().path, format!("/2010-04-01/Accounts/{ACCOUNT}/Balance.json"));
    gateway.answers(401, &refusal(401, 20003, "").1);
    assert!(provider.ask_balance().await.is_err());
}

/// The fields of a status callback. The signatures here were made by another program that also reproduces the one of Twilio's own example.
fn callback(status: &str) -> String {
    form(&[
        ("SmsSid", SID),
        ("SmsStatus", status),
        ("MessageStatus", status),
        ("To", "+21620000123"),
        ("MessageSid", SID),
        ("AccountSid", ACCOUNT),
        ("From", "ECAR"),
        ("ApiVersion", "2010-04-01"),
        ("ErrorCode", "30003"),
        ("RawDlrDoneDate", "2603021103"),
    ])
}

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

#[test]
fn a_status_callback_is_believed_with_its_signature_only() {
    let provider = pushing("twilio", config("https://api.twilio.com"));
    let signed = |signature: Option<&str>, body: &str| {
        let headers: Vec<_> = [FORM].into_iter().chain(signature.map(|it| ("x-twilio-signature", it))).collect();
        read(&provider, ("POST", PUSH_URL), &headers, body, NOW)
    };
    let receipt = Receipt {
        provider_message_id: SID.to_owned(),
        reference: None,
        status: DeliveryStatus::Undelivered,
        words: "undelivered 30003".to_owned(),
        at: None,
    };
    let good = "hbBPvmU8fW/jgBmhSCQszrlKyi4=";
    assert_eq!(signed(Some(good), &callback("undelivered")), Ok(vec![Pushed::Receipt(receipt)]));
    assert_eq!(signed(None, &callback("undelivered")), Err(PushError::Forged("missing")));
    assert_eq!(signed(Some(good), &callback("delivered")), Err(PushError::Forged("wrong")));
    assert_eq!(signed(Some("bm90IGl0"), &callback("undelivered")), Err(PushError::Forged("wrong")));
}

#[test]
fn an_incoming_message_is_a_reply_and_no_receipt() {
    let provider = pushing("twilio", config("https://api.twilio.com"));
    let body = form(&[
        ("MessageSid", "SMbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"),
        ("SmsSid", "SMbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"),
        ("SmsMessageSid", "SMbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"),
        ("SmsStatus", "received"),
        ("AccountSid", ACCOUNT),
        ("From", "+21620000123"),
        ("To", "+21620000999"),
        ("Body", "STOP é & co"),
        ("NumMedia", "0"),
        ("NumSegments", "1"),
        ("ApiVersion", "2010-04-01"),
    ]);
    let reply = |text: &str| Ok(vec![Pushed::Reply(Reply { from: "+21620000123".to_owned(), text: text.to_owned() })]);
    let headers = [FORM, ("x-twilio-signature", "sc5YU8yso6zo1ZY5fgDewBFKBXw=")];
    assert_eq!(read(&provider, ("POST", PUSH_URL), &headers, &body, NOW), reply("STOP é & co"));
    // A number may be set to GET: then the URL alone is signed.
    let url = format!("{PUSH_URL}?Body=STOP&From=%2B21620000123");
    let headers = [("x-twilio-signature", "lVl1QJ+dpxMR6pCgQaggnDdAKY0=")];
    assert_eq!(read(&provider, ("GET", &url), &headers, "", NOW), reply("STOP"));
    assert_eq!(read(&provider, ("GET", &url), &[], "", NOW), Err(PushError::Forged("missing")));
}
