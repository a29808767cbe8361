//! Vonage: https://developer.vonage.com/en/api/sms, https://developer.vonage.com/en/api-errors/sms

use secrecy::SecretString;

use super::super::{Vendor, VendorConfig};
use super::support::{
    Answer, Gateway, KEY, PUSH_URL, every_answer_is_judged, form, inquiry, made, outgoing, pushing, read,
};
use crate::message::encoding::Encoding;
use crate::message::outcome::Outcome;
use crate::provider::generic::GenericConfig;
use crate::provider::inquiry::Finding;
use crate::provider::receipt::{DeliveryStatus, PushError, Pushed, Receipt, Reply};

/// When the pushes here were signed.
const NOW: &str = "2026-03-02T11:03:04Z";
/// Every documented code but 0.
const CODES: [(&str, &[u8]); 5] = [
    ("no_credit", &[9]),
    ("misconfigured", &[2, 3, 4, 8, 11, 14, 15, 23, 29, 32]),
    ("rejected", &[6, 7, 12, 17, 22, 33]),
    ("throttled", &[1, 10]),
    ("unknown", &[5]),
];

fn config(gateway: &str) -> GenericConfig {
    let written = VendorConfig {
        account: Some("abcd1234".to_owned()),
        api_key: Some(SecretString::from(KEY)),
        base_url: Some(gateway.to_owned()),
        push_token: Some(SecretString::from("0123456789abcdef")),
        signature_secret: Some(SecretString::from("signature-secret-of-vonage")),
        ..VendorConfig::default()
    };
    Vendor::named("vonage").unwrap().configure(written).unwrap()
}

fn taken(id: &str) -> String {
    format!(
        r#"{{"to":"21620000123","message-id":"{id}","status":"0","remaining-balance":"3.14159265","message-price":"0.03330000","network":"60502","client-ref":"ecar-1-1"}}"#
    )
}

fn refused(code: &str) -> String {
    format!(r#"{{"status":"{code}","error-text":"..."}}"#)
}

fn parts(parts: &[String]) -> String {
    format!(r#"{{"message-count":"{}","messages":[{}]}}"#, parts.len(), parts.join(","))
}

fn answers() -> Vec<Answer> {
    let ok = |body: String, word| (200, body, word);
    let mut answers = vec![
        ok(parts(&[taken("0A0000000123ABCD1")]), "accepted"),
        ok(parts(&[taken("0A0000000123ABCD1"), taken("0A0000000123ABCD2")]), "accepted"),
    ];
    for (word, codes) in CODES {
        for code in codes {
            let code = code.to_string();
            answers.push(ok(parts(&[refused(&code)]), word));
            answers.push(ok(parts(&[refused(&code), refused(&code)]), word));
            // Partly taken, in either order: a part of it goes out, so it is never sent again.
            answers.push(ok(parts(&[taken("0A1"), refused(&code)]), "unknown"));
            answers.push(ok(parts(&[refused(&code), taken("0A1")]), "unknown"));
            answers.push(ok(parts(&[refused(&code), refused("5")]), "unknown"));
            answers.push(ok(parts(&[refused(&code), refused("77")]), "unknown"));
        }
    }
    answers.extend([
        // Parts refused for several reasons: nothing was sent, and what concerns all messages comes first.
        ok(parts(&[refused("1"), refused("9")]), "no_credit"),
        ok(parts(&[refused("12"), refused("4")]), "misconfigured"),
        ok(parts(&[refused("1"), refused("7")]), "rejected"),
        // Codes that are not documented, and answers that are none.
        ok(parts(&[refused("13")]), "unknown"),
        ok(parts(&[refused("00")]), "unknown"),
        ok(parts(&[refused("")]), "unknown"),
        ok(parts(&[]), "unknown"),
        ok(r#"{"message-count":"1","messages":[{"error-text":"..."}]}"#.to_owned(), "unknown"),
        ok(r#"{"message-count":"1","messages":[{"status":0}]}"#.to_owned(), "unknown"),
        ok(r#"{"message-count":"1"}"#.to_owned(), "unknown"),
        ok("<html>".to_owned(), "unknown"),
        (401, r#"{"error-code":"401","error-code-label":"authentication failed"}"#.to_owned(), "misconfigured"),
        (403, r#"{"title":"You do not have enough credit"}"#.to_owned(), "misconfigured"),
        (429, String::new(), "throttled"),
        (500, String::new(), "unknown"),
        (503, parts(&[refused("1")]), "unknown"),
        (202, parts(&[taken("0A1")]), "unknown"),
    ]);
    answers
}

#[tokio::test]
async fn the_request_is_the_documented_form() {
    let gateway = Gateway::start().await;
    let provider = pushing("vonage", config(&gateway.url));
    for (text, encoding, kind) in [
        ("Bonjour & merci", Encoding::Gsm7, "text"),
        ("\u{645}\u{631}\u{62d}\u{628}\u{627}", Encoding::Ucs2, "unicode"),
    ] {
        gateway.answers(200, &parts(&[taken("0A0000000123ABCD1"), taken("0A0000000123ABCD2")]));
        let outcome = provider.send(&outgoing(text, encoding)).await;
        let id = Some("0A0000000123ABCD1 0A0000000123ABCD2".to_owned());
        assert_eq!(outcome, Outcome::Accepted { provider_message_id: id, segments: Some(2) });
        let request = gateway.only_request();
        assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/sms/json"));
        assert!(request.query.is_empty(), "{request:?}");
        assert_eq!(request.header("content-type"), "application/x-www-form-urlencoded");
        // base64 of account:key
        assert_eq!(request.header("authorization"), "Basic YWJjZDEyMzQ6YXV0aC10b2tlbi9vZj09dmVuZG9y");
        let expected = [
            ("from", "ECAR"),
            ("to", "21620000123"),
            ("text", text),
            ("type", kind),
            ("client-ref", "ecar-1-1"),
            ("callback", PUSH_URL),
        ];
        assert_eq!(request.form(), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
    gateway.answers(200, &parts(&[taken("0A0000000123ABCD1")]));
    made("vonage", config(&gateway.url)).send(&outgoing("Bonjour", Encoding::Gsm7)).await;
    assert!(gateway.only_request().form().iter().all(|(name, _)| name != "callback"));
}

#[tokio::test]
async fn every_documented_code_and_every_mixture_of_parts_is_judged() {
    let gateway = Gateway::start().await;
    every_answer_is_judged(&gateway, &config(&gateway.url), &answers()).await;
}

#[tokio::test]
async fn the_balance_is_asked_for_without_the_secret_in_the_url() {
    let gateway = Gateway::start().await;
    let provider = made("vonage", config(&gateway.url));
    gateway.answers(200, r#"{ "value": 10.17127500, "autoReload": false }"#);
    assert_eq!(provider.ask_balance().await, Ok(10.171_275));
    let request = gateway.only_request();
    assert_eq!((request.method.as_str(), request.path.as_str()), ("GET", "/account/get-balance"));
    assert!(request.query.is_empty(), "{request:?}");
    assert!(request.header("authorization").starts_with("Basic "));
    gateway.answers(401, r#"{"error-code":"401","error-code-label":"authentication failed"}"#);
    assert!(provider.ask_balance().await.is_err());
}

#[tokio::test]
async fn it_cannot_be_asked_about_messages() {
    let provider = made("vonage", config("https://rest.nexmo.com"));
    assert_eq!((provider.can_look_up(), provider.poll_batch()), (false, None));
    assert!(matches!(provider.look_up(&inquiry("Bonjour")).await, Finding::Unclear { .. }));
}

/// The pairs of a delivery receipt. The signatures here were made by another program.
const RECEIPT: [(&str, &str); 13] = [
    ("msisdn", "21620000123"),
    ("to", "ECAR"),
    ("network-code", "60502"),
    ("messageId", "0A0000001234567B"),
    ("price", "0.03330000"),
    ("status", "delivered"),
    ("scts", "2603021103"),
    ("err-code", "0"),
    ("api-key", "abcd1234"),
    ("client-ref", "ecar-1-1"),
    ("message-timestamp", "2026-03-02 11:03:04"),
    ("timestamp", "1772449384"),
    ("nonce", "ec11dd3e-1e7f-4db5-9467-82b02cd223b9"),
];
const RECEIPT_SIG: &str = "9DB86867E1D5B4A0DAFCC4DFE60FA95EC10615537E79DFE19FE8904963BC20B3";
const JSON: (&str, &str) = ("content-type", "application/json");
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

fn json(pairs: &[(&str, &str)]) -> String {
    let members = pairs.iter().map(|(name, value)| ((*name).to_owned(), serde_json::Value::from(*value)));
    serde_json::Value::Object(members.collect()).to_string()
}

fn with<'a>(pairs: &[(&'a str, &'a str)], name: &'a str, value: &'a str) -> Vec<(&'a str, &'a str)> {
    pairs.iter().copied().filter(|(known, _)| *known != name).chain([(name, value)]).collect()
}

#[test]
fn a_receipt_comes_in_each_of_the_three_documented_ways() {
    let provider = pushing("vonage", config("https://rest.nexmo.com"));
    let receipt = Receipt {
        provider_message_id: "0A0000001234567B".to_owned(),
        reference: Some("ecar-1-1".to_owned()),
        status: DeliveryStatus::Delivered,
        words: "delivered 0".to_owned(),
        at: Some(NOW.parse().unwrap()),
    };
    let expected = Ok(vec![Pushed::Receipt(receipt)]);
    let signed = with(&RECEIPT, "sig", RECEIPT_SIG);
    assert_eq!(read(&provider, ("POST", PUSH_URL), &[JSON], &json(&signed), NOW), expected);
    assert_eq!(read(&provider, ("POST", PUSH_URL), &[FORM], &form(&signed), NOW), expected);
    let url = format!("{PUSH_URL}?{}", form(&signed));
    assert_eq!(read(&provider, ("GET", &url), &[], "", NOW), expected);
}

#[test]
fn a_receipt_is_believed_with_its_signature_and_in_time_only() {
    let provider = pushing("vonage", config("https://rest.nexmo.com"));
    let refused = |pairs: &[(&str, &str)], now: &str| {
        read(&provider, ("POST", PUSH_URL), &[JSON], &json(pairs), now).unwrap_err()
    };
    let signed = with(&RECEIPT, "sig", RECEIPT_SIG);
    assert_eq!(refused(&RECEIPT, NOW), PushError::Forged("missing"));
    assert_eq!(refused(&with(&signed, "status", "failed"), NOW), PushError::Forged("wrong"));
    assert_eq!(refused(&with(&RECEIPT, "sig", "00"), NOW), PushError::Forged("wrong"));
    assert_eq!(refused(&signed, "2026-03-02T11:08:05Z"), PushError::Forged("too old"));
    assert_eq!(refused(&with(&signed, "timestamp", "soon"), NOW), PushError::Forged("without a time that can be read"));
}

#[test]
fn every_documented_status_of_a_receipt_is_known() {
    let mut unsigned = config("https://rest.nexmo.com");
    unsigned.signature = crate::provider::generic::SignatureConfig::default();
    let provider = pushing("vonage", unsigned);
    for (status, expected) in [
        ("delivered", DeliveryStatus::Delivered),
        ("expired", DeliveryStatus::Undelivered),
        ("failed", DeliveryStatus::Undelivered),
        ("rejected", DeliveryStatus::Undelivered),
        ("deleted", DeliveryStatus::Undelivered),
        ("accepted", DeliveryStatus::Pending),
        ("buffered", DeliveryStatus::Pending),
        ("unknown", DeliveryStatus::Pending),
    ] {
        let body = json(&with(&RECEIPT, "status", status));
        let pushed = read(&provider, ("POST", PUSH_URL), &[JSON], &body, NOW).unwrap();
        assert!(matches!(&pushed[..], [Pushed::Receipt(it)] if it.status == expected), "{status}: {pushed:?}");
    }
}

#[test]
fn an_inbound_message_is_a_reply_and_no_receipt() {
    let provider = pushing("vonage", config("https://rest.nexmo.com"));
    // `&` and `=` of the text are signed as `_`.
    let inbound = [
        ("msisdn", "21620000123"),
        ("to", "21620000999"),
        ("messageId", "0A0000000123ABCD1"),
        ("text", "STOP a=b & c"),
        ("type", "text"),
        ("keyword", "STOP"),
        ("api-key", "abcd1234"),
        ("message-timestamp", "2026-03-02 11:03:04"),
        ("timestamp", "1772449384"),
        ("nonce", "aaaaaaaa-bbbb-cccc-dddd-0123456789ab"),
        ("sig", "47EAF2DA77C08D943DAEC24CAF701B0739FF6E8C11E2D65160A50E9ED3566C7E"),
    ];
    let reply = Reply { from: "21620000123".to_owned(), text: "STOP a=b & c".to_owned() };
    let expected = Ok(vec![Pushed::Reply(reply)]);
    assert_eq!(read(&provider, ("POST", PUSH_URL), &[JSON], &json(&inbound), NOW), expected);
    let forged = json(&with(&inbound, "text", "START"));
    assert_eq!(read(&provider, ("POST", PUSH_URL), &[JSON], &forged, NOW), Err(PushError::Forged("wrong")));
}
