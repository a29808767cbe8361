//! The simulated Vonage: an answer and a receipt for each segment, errors within 200, three ways to push.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;

use super::vendors::{Answered, Receiver, form, hmac_hex, http, reply};
use super::*;

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const HELLO: [(&str, &str); 5] = [
    ("api_key", "abcd1234"),
    ("api_secret", "abcdef0123456789"),
    ("from", "AcmeInc"),
    ("to", "21620000001"),
    ("text", "Hello World!"),
];

async fn post(gateway: &Gateway, fields: &[(&str, &str)]) -> Answered {
    http(gateway, "POST", "/vonage/sms/json", &[FORM], &form(fields)).await
}

fn with<'a>(name: &'a str, value: &'a str) -> Vec<(&'a str, &'a str)> {
    let mut fields: Vec<_> = HELLO.into_iter().filter(|(known, _)| *known != name).collect();
    if !value.is_empty() {
        fields.push((name, value));
    }
    fields
}

/// The signature as Vonage's guide describes it, computed here.
fn signature(fields: &BTreeMap<String, String>, secret: &str) -> String {
    let text: String = fields
        .iter()
        .filter(|(name, _)| *name != "sig")
        .map(|(name, value)| format!("&{name}={}", value.replace(['&', '='], "_")))
        .collect();
    hmac_hex(secret, &text)
}

#[tokio::test]
async fn a_message_has_an_id_for_each_segment() {
    let gateway = gateway("").await;
    let mut fields = HELLO.to_vec();
    fields.push(("client-ref", "ecar-1-1"));
    let body = post(&gateway, &fields).await.json();
    let message = &body["messages"][0];
    assert_eq!(
        (&body["message-count"], &message["status"], &message["to"]),
        (&json!("1"), &json!("0"), &json!("21620000001"))
    );
    assert_eq!((message["client-ref"].as_str(), message["message-id"].as_str().unwrap().len()), (Some("ecar-1-1"), 16));
    let received = &gateway.received()[0];
    assert_eq!((received.phone.as_str(), received.reference.as_deref()), ("+21620000001", Some("ecar-1-1")));
    assert_eq!(received.id().as_deref(), message["message-id"].as_str());
    let long = "x".repeat(161);
    let body = post(&gateway, &with("text", &long)).await.json();
    let ids: Vec<_> = body["messages"].as_array().unwrap().iter().map(|part| part["message-id"].clone()).collect();
    assert!(body["message-count"] == "2" && ids.len() == 2 && ids[0] != ids[1], "{body}");
    let query = http(&gateway, "GET", &format!("/vonage/sms/json?{}", form(&HELLO)), &[], "").await;
    assert_eq!(query.json()["messages"][0]["status"], "0");
}

#[tokio::test]
async fn a_text_that_is_not_declared_unicode_reaches_the_handset_with_question_marks() {
    let gateway = gateway("").await;
    post(&gateway, &with("text", "Prête! 😀")).await;
    let mut fields = with("text", "Prête! 😀");
    fields.push(("type", "unicode"));
    post(&gateway, &fields).await;
    let texts: Vec<_> = gateway.received().iter().map(|message| message.message.clone()).collect();
    assert_eq!(texts, ["Pr?te! ?", "Prête! 😀"]);
}

#[tokio::test]
async fn what_vonage_refuses_is_answered_200_with_a_status() {
    let gateway = gateway("").await;
    let (long, reference, far) = ("x".repeat(3_201), "r".repeat(41), format!("https://x/{}", "r".repeat(91)));
    for (name, value, status) in [
        ("to", "", "2"),
        ("text", "", "2"),
        ("api_key", "", "2"),
        ("api_secret", "", "2"),
        ("to", "+21620000001", "3"),
        ("type", "binary", "3"),
        ("ttl", "19999", "3"),
        ("client-ref", reference.as_str(), "3"),
        ("client_ref", "x", "3"),
        ("text", long.as_str(), "12"),
        ("from", "Twelve chars", "15"),
        ("callback", "nowhere", "23"),
        ("callback", far.as_str(), "23"),
        ("sig", "00", "32"),
    ] {
        let answer = post(&gateway, &with(name, value)).await;
        let message = answer.json()["messages"][0].clone();
        assert_eq!((answer.status, &message["status"]), (200, &json!(status)), "{name}: {}", answer.text);
        assert!(message["error-text"].is_string() && message["message-id"].is_null());
    }
    assert_eq!((gateway.count(), gateway.stats().totals.taken), (14, 0));
    gateway.set_script(Script::parse("key = \"right\"\n[[rule]]\ncode = 9").unwrap());
    assert_eq!(post(&gateway, &HELLO).await.json()["messages"][0]["status"], "4");
    assert_eq!(post(&gateway, &with("api_secret", "right")).await.json()["messages"][0]["status"], "9");
    assert_eq!(gateway.stats().totals.taken, 0);
}

#[tokio::test]
async fn a_signed_request_is_taken_when_its_signature_is_right() {
    let gateway = gateway("secret = \"s1gn\"").await;
    let mut fields: BTreeMap<String, String> =
        with("api_secret", "").into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    fields.insert("timestamp".to_owned(), "1461605396".to_owned());
    for (secret, status) in [("s1gn", "0"), ("other", "14")] {
        fields.insert("sig".to_owned(), signature(&fields, secret));
        let pairs: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(post(&gateway, &pairs).await.json()["messages"][0]["status"], status);
    }
}

#[tokio::test]
async fn each_segment_has_its_receipts_signed_in_the_way_the_account_wants() {
    let mut receiver = Receiver::start().await;
    let gateway = gateway("").await;
    for push_as in ["json", "form", "get"] {
        let script =
            format!("[receipts]\nintermediate = false\n[vendor.vonage]\nsecret = \"s1gn\"\npush_as = \"{push_as}\"");
        gateway.set_script(Script::parse(&script).unwrap());
        let (long, url) = ("x".repeat(161), receiver.url("/dlr"));
        let mut fields = with("text", &long);
        fields.extend([("callback", url.as_str()), ("client-ref", "a=b&c")]);
        let body = post(&gateway, &fields).await.json();
        for part in 0..2 {
            let push = receiver.next().await;
            let fields = match push_as {
                "json" => serde_json::from_str(&push.body).unwrap(),
                "form" => push.form(),
                _ => push.query(),
            };
            assert_eq!(push.method == "GET", push_as == "get");
            assert!(fields["sig"].eq_ignore_ascii_case(&signature(&fields, "s1gn")), "{fields:?}");
            assert_eq!(json!(fields["messageId"]), body["messages"][part]["message-id"]);
            assert_eq!((fields["status"].as_str(), fields["err-code"].as_str()), ("delivered", "0"));
            assert_eq!((fields["msisdn"].as_str(), fields["client-ref"].as_str()), ("21620000001", "a=b&c"));
            assert_eq!((fields["to"].as_str(), fields["scts"].len()), ("AcmeInc", 10));
        }
    }
}

#[tokio::test]
async fn ids_of_receipts_can_be_decimal_and_the_account_has_a_default_address() {
    let mut receiver = Receiver::start().await;
    let script = format!(
        "push_url = \"{}\"\n[receipts]\nids = \"decimal\"\nundelivered = 1.0\ncode = 6\nintermediate = false",
        receiver.url("/dlr")
    );
    let gateway = gateway(&script).await;
    let id = post(&gateway, &HELLO).await.json()["messages"][0]["message-id"].as_str().unwrap().to_owned();
    let push = receiver.next().await.json();
    assert_eq!(push["messageId"], u64::from_str_radix(&id, 16).unwrap().to_string());
    assert_eq!((&push["status"], &push["err-code"]), (&json!("failed"), &json!("6")));
}

#[tokio::test]
async fn a_reply_has_its_keyword_and_the_balance_is_told() {
    let mut receiver = Receiver::start().await;
    let gateway = gateway(&format!("[vendor.vonage]\nbalance = 3.5\npush_url = \"{}\"", receiver.url("/in"))).await;
    let mut fields = HELLO.to_vec();
    fields.push(("status-report-req", "0"));
    post(&gateway, &fields).await;
    let text = json!({"provider": "vonage", "from": "+21620000001", "text": "stop merci", "to": "21620000000"});
    assert_eq!(reply(&gateway, &text).await.0, 200);
    let push = receiver.next().await;
    let fields: BTreeMap<String, String> = serde_json::from_str(&push.body).unwrap();
    assert!(fields["sig"].eq_ignore_ascii_case(&signature(&fields, "abcdef0123456789")));
    assert_eq!((fields["keyword"].as_str(), fields["text"].as_str()), ("STOP", "stop merci"));
    assert_eq!((fields["msisdn"].as_str(), fields["api-key"].as_str()), ("21620000001", "abcd1234"));
    let path = "/vonage/account/get-balance?api_key=abcd1234&api_secret=x";
    assert_eq!(http(&gateway, "GET", path, &[], "").await.json(), json!({"value": 3.5, "autoReload": false}));
    assert_eq!(http(&gateway, "GET", "/vonage/account/get-balance", &[], "").await.status, 401);
}
