//! The simulated WinSMS: numbered errors within 200, JSON or a query for an answer.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::vendors::{Answered, form, http};
use super::*;

const HELLO: [(&str, &str); 6] = [
    ("action", "send-sms"),
    ("api_key", "k3y=="),
    ("to", "21620000001"),
    ("from", "ECAR"),
    ("sms", "Bonjour"),
    ("response", "json"),
];

async fn get(gateway: &Gateway, fields: &[(&str, &str)]) -> Answered {
    http(gateway, "GET", &format!("/winsms/sms/sms/api?{}", form(fields)), &[], "").await
}

fn with<'a>(name: &'a str, value: &'a str) -> Vec<(&'a str, &'a str)> {
    let mut fields: Vec<_> = HELLO.into_iter().filter(|(known, _)| *known != name).collect();
    fields.push((name, value));
    fields
}

#[tokio::test]
async fn a_message_has_a_reference_in_json_or_in_a_query() {
    let gateway = gateway("").await;
    let body = get(&gateway, &HELLO).await.json();
    assert_eq!((&body["code"], &body["message"]), (&json!("ok"), &json!("Successfully Send")));
    assert_eq!(gateway.received()[0].id().as_deref(), body["reference"].as_str());
    assert_eq!(gateway.received()[0].phone, "+21620000001");
    let plain = get(&gateway, &HELLO[..5]).await;
    let fields: std::collections::BTreeMap<_, _> = url::form_urlencoded::parse(plain.text.as_bytes()).collect();
    assert_eq!((&*fields["code"], &*fields["message"]), ("ok", "Successfully Send"));
    get(&gateway, &with("to", "21620000002,21620000003")).await;
    assert_eq!(gateway.count(), 4);
    let reference = body["reference"].as_str().unwrap();
    let path = format!("/winsms/sms/sms/api/verifSms?api_key=k&ref={reference}");
    assert_eq!(http(&gateway, "GET", &path, &[], "").await.json()["status"], "Delivered");
}

#[tokio::test]
async fn what_winsms_refuses_has_its_number() {
    let gateway = gateway("key = \"k3y==\"\n[[rule]]\ncode = 105").await;
    let many = vec!["21620000001"; 101].join(",");
    for (name, value, code) in [
        ("action", "send", "101"),
        ("api_key", "other", "102"),
        ("api_key", "", "102"),
        ("to", "", "103"),
        ("to", "2000", "103"),
        ("to", many.as_str(), "113"),
        ("from", "", "888"),
        ("from", "Much too long", "106"),
        ("sms", "", "100"),
        ("unicode", "yes", "107"),
        ("text", "x", "100"),
        ("response", "json", "105"),
    ] {
        let answer = get(&gateway, &with(name, value)).await;
        assert_eq!((answer.status, &answer.json()["code"]), (200, &json!(code)), "{name}={value}: {}", answer.text);
    }
    assert_eq!(gateway.stats().totals.taken, 0);
}

#[tokio::test]
async fn the_balance_is_told() {
    let gateway = gateway("[vendor.winsms]\nbalance = 584").await;
    let balance = get(&gateway, &[("action", "check-balance"), ("api_key", "k"), ("response", "json")]).await.json();
    assert_eq!((&balance["balance"], gateway.count()), (&json!(584), 0));
    let refused = get(&gateway, &[("action", "check-balance"), ("api_key", ""), ("response", "json")]).await.json();
    assert_eq!(refused["code"], "102");
}
