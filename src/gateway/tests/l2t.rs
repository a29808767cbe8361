//! The simulated L2T: two versions of one interface, numbered errors, receipts that are asked for.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::vendors::{Answered, form, http};
use super::*;

const HELLO: [(&str, &str); 5] =
    [("fct", "sms"), ("key", "a/b+c=="), ("mobile", "21620000001"), ("sms", "Bonjour Monde"), ("sender", "MaMarque")];

async fn get(gateway: &Gateway, path: &str, fields: &[(&str, &str)]) -> Answered {
    http(gateway, "GET", &format!("/l2t{path}?{}", form(fields)), &[], "").await
}

async fn v1(gateway: &Gateway, fields: &[(&str, &str)]) -> Answered {
    get(gateway, "/tn/v0/api/v1/sms", fields).await
}

fn with<'a>(name: &'a str, value: &'a str) -> Vec<(&'a str, &'a str)> {
    let mut fields: Vec<_> = HELLO.into_iter().filter(|(known, _)| *known != name).collect();
    fields.push((name, value));
    fields
}

#[tokio::test]
async fn a_message_is_queued_in_json_as_the_document_shows() {
    let gateway = gateway("key = \"a/b+c==\"").await;
    let answer = v1(&gateway, &HELLO).await;
    let body = answer.json();
    // A text when sending, a number elsewhere.
    assert_eq!(
        (&body["success"], &body["code"], &body["status"]),
        (&json!(true), &json!("message_queued"), &json!("200"))
    );
    assert_eq!((&body["data"]["msisdn"], body["data"]["message_id"].is_u64()), (&json!("21620000001"), true));
    let received = &gateway.received()[0];
    assert_eq!((received.phone.as_str(), received.message.as_str()), ("+21620000001", "Bonjour Monde"));
    assert_eq!(received.id(), Some(body["data"]["message_id"].to_string()));
    let unescaped = "/l2t/api/v1/sms?fct=sms&key=a/b+c==&mobile=21620000001&sms=Bonjour+Monde&sender=MaMarque";
    assert_eq!(http(&gateway, "GET", unescaped, &[], "").await.json()["success"], true);
    assert!(!call(&gateway, "GET", "/messages", "").await.1.to_string().contains("a/b"));
    let several = v1(&gateway, &with("mobile", "21620000002;21620000003")).await.json();
    assert_eq!((several["data"].as_array().unwrap().len(), gateway.count()), (2, 4));
}

#[tokio::test]
async fn the_old_path_answers_xml_and_always_200() {
    let gateway = gateway("[[rule]]\ncontains = \"credit\"\ncode = 402").await;
    let answer = get(&gateway, "/Api/Api.aspx", &HELLO).await;
    let id = gateway.received()[0].id().unwrap();
    assert!(
        answer.text.contains("<status_code>200</status_code>") && answer.text.contains(&format!("<message_id>{id}<")),
        "{}",
        answer.text
    );
    for (name, value, code) in [("sms", "", "430"), ("sms", "credit", "402"), ("key", "", "401"), ("<&>", "x", "400")] {
        let answer = get(&gateway, "/client/Api/Api.aspx", &with(name, value)).await;
        assert_eq!(answer.status, 200);
        assert!(answer.text.contains(&format!("<status_code>{code}</status_code>")), "{name}: {}", answer.text);
    }
    let answer = get(&gateway, "/Api/Api.aspx", &[("fct", "dlr"), ("key", "k"), ("msg_id", &id)]).await;
    assert!(answer.text.contains("<acknowledgement>DELIVERED</acknowledgement>"), "{}", answer.text);
}

#[tokio::test]
async fn what_l2t_refuses_has_its_number() {
    let gateway = gateway("key = \"a/b+c==\"").await;
    let long = "x".repeat(1_600);
    for (name, value, status, code) in [
        ("key", "other", 401, 401),
        ("key", "", 401, 401),
        ("sms", "", 200, 430),
        ("mobile", "", 200, 431),
        ("sms", long.as_str(), 200, 440),
        ("mobile", "20000001x", 200, 441),
        ("mobile", "+21620000001", 200, 441),
        ("sender", "Much too long", 200, 442),
        ("sender", "", 400, 400),
        ("date", "2026-02-01", 400, 400),
        ("heure", "8h30", 400, 400),
        ("text", "x", 400, 400),
    ] {
        let answer = v1(&gateway, &with(name, value)).await;
        assert_eq!(
            (answer.status, &answer.json()["status"]),
            (status, &json!(code)),
            "{name}={value}: {}",
            answer.text
        );
        assert_eq!(answer.json()["success"], false);
    }
    assert_eq!((gateway.count(), gateway.stats().totals.taken), (12, 0));
}

#[tokio::test]
async fn receipts_are_asked_for_by_id() {
    let gateway = gateway("[receipts]\nafter = \"1h\"").await;
    let mut ids = Vec::new();
    for script in [
        "[receipts]\nafter = \"1h\"",
        "",
        "[receipts]\nundelivered = 1.0",
        "[receipts]\nundelivered = 1.0\ncode = \"EXPIRED\"",
    ] {
        gateway.set_script(Script::parse(script).unwrap());
        ids.push(v1(&gateway, &HELLO).await.json()["data"]["message_id"].to_string());
    }
    ids.push("1".to_owned());
    let answer = v1(&gateway, &[("fct", "dlr"), ("key", "k"), ("msg_id", &ids.join(";"))]).await.json();
    let words: Vec<_> = answer["data"].as_array().unwrap().iter().map(|row| row["dlr"].as_str().unwrap()).collect();
    assert_eq!((words, &answer["status"]), (vec!["UNKNOWN", "DELIVERED", "UNDELIVERED", "EXPIRED"], &json!(200)));
    assert_eq!(json!(answer["data"][1]["message_id"].to_string()), json!(ids[1]));
    gateway.set_script(Script::parse("[receipts]\nids = \"hex\"").unwrap());
    let hex = v1(&gateway, &[("fct", "dlr"), ("key", "k"), ("msg_id", &ids[1])]).await.json();
    assert_eq!(hex["data"][0]["message_id"], format!("{:X}", ids[1].parse::<u64>().unwrap()));
    assert_eq!(v1(&gateway, &[("fct", "dlr"), ("key", "k")]).await.status, 400);
    let balance = v1(&gateway, &[("fct", "balance"), ("key", "k")]).await.json();
    assert_eq!((&balance["data"]["balance"], gateway.count()), (&json!(100.0), 4));
    assert_eq!(v1(&gateway, &[("fct", "balance"), ("key", "")]).await.status, 401);
}
