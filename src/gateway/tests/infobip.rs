//! The simulated Infobip: statuses, violations, reports once and logs always.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::vendors::{Answered, Receiver, http, reply};
use super::*;

const KEY: [(&str, &str); 2] = [("authorization", "App k3y"), ("content-type", "application/json")];

async fn post(gateway: &Gateway, body: &Value) -> Answered {
    http(gateway, "POST", "/infobip/sms/3/messages", &KEY, &body.to_string()).await
}

async fn get(gateway: &Gateway, path: &str) -> Value {
    http(gateway, "GET", &format!("/infobip{path}"), &KEY, "").await.json()
}

fn hello() -> Value {
    json!({"messages": [{
        "sender": "ECAR",
        "destinations": [{"to": "21620000001", "messageId": "ecar-1-1"}],
        "content": {"text": "This is a sample message"},
    }]})
}

#[tokio::test]
async fn a_message_is_pending_under_the_clients_id_or_one_of_the_vendors() {
    let gateway = gateway("").await;
    let answer = post(&gateway, &hello()).await;
    let body = answer.json();
    let message = &body["messages"][0];
    assert_eq!(
        (answer.status, &message["messageId"], &message["destination"]),
        (200, &json!("ecar-1-1"), &json!("21620000001"))
    );
    assert_eq!((&message["status"]["groupId"], &message["status"]["id"]), (&json!(1), &json!(26)));
    assert!(message.get("details").is_none() && body["bulkId"].is_string(), "{body}");
    let mut two = hello();
    two["messages"][0]["destinations"] = json!([{"to": "21620000002"}, {"to": "21620000003"}]);
    two["options"] = json!({"includeSmsCountInResponse": true, "schedule": {"bulkId": "b1"}});
    two["messages"][0]["content"]["text"] = json!("x".repeat(161));
    let body = post(&gateway, &two).await.json();
    assert_eq!((&body["bulkId"], &body["messages"][1]["details"]["messageCount"]), (&json!("b1"), &json!(2)));
    let phones: Vec<_> = gateway.received().iter().map(|message| message.phone.clone()).collect();
    assert_eq!(phones, ["+21620000001", "+21620000002", "+21620000003"]);
    assert_eq!(gateway.received()[0].reference.as_deref(), Some("ecar-1-1"));
}

#[tokio::test]
async fn what_infobip_refuses_names_the_property() {
    let gateway = gateway("").await;
    for (pointer, value, property) in [
        ("/messages", json!([]), "messages"),
        ("/messages/0/content/text", json!(""), "messages.content.text"),
        ("/messages/0/destinations", json!([]), "messages.destinations"),
        ("/messages/0/destinations/0/to", json!("abc"), "messages.destinations.to"),
        ("/messages/0/destinations/0/messageId", json!("x".repeat(201)), "messages.destinations.messageId"),
        ("/messages/0/content", json!({"text": "x", "txt": "x"}), "messages[0].content.txt"),
        ("/messages/0/sender", json!(7), "messages.sender"),
    ] {
        let mut body = hello();
        *body.pointer_mut(pointer).unwrap() = value;
        let answer = post(&gateway, &body).await;
        assert_eq!((answer.status, &answer.json()["errorCode"]), (400, &json!("E400")), "{pointer}");
        assert_eq!(answer.json()["violations"][0]["property"], property, "{}", answer.text);
    }
    let answer = http(&gateway, "POST", "/infobip/sms/3/messages", &[], &hello().to_string()).await;
    assert_eq!((answer.status, &answer.json()["errorCode"]), (401, &json!("E401")));
    assert_eq!((gateway.count(), gateway.stats().totals.taken), (8, 0));
}

#[tokio::test]
async fn a_rule_names_a_status_of_one_message_or_an_error_of_the_whole_request() {
    let gateway = gateway("[[rule]]\ntimes = 1\ncode = 12\n[[rule]]\ncode = \"E429\"").await;
    let answer = post(&gateway, &hello()).await;
    let status = &answer.json()["messages"][0]["status"];
    assert_eq!(
        (answer.status, &status["groupName"], &status["name"]),
        (200, &json!("REJECTED"), &json!("REJECTED_NOT_ENOUGH_CREDITS"))
    );
    let answer = post(&gateway, &hello()).await;
    assert_eq!((answer.status, &answer.json()["errorCode"]), (429, &json!("E429")));
    assert_eq!(gateway.stats().totals.taken, 0);
}

#[tokio::test]
async fn a_receipt_has_what_the_message_gave_for_it() {
    let mut receiver = Receiver::start().await;
    let gateway = gateway("[receipts]\nundelivered = 1.0\ncode = 4").await;
    let mut body = hello();
    body["messages"][0]["webhooks"] =
        json!({"delivery": {"url": receiver.url("/r"), "intermediateReport": true}, "callbackData": "d4ta"});
    post(&gateway, &body).await;
    for (id, permanent) in [(2, false), (4, true)] {
        let push = receiver.next().await.json();
        let report = &push["results"][0];
        assert_eq!((&report["messageId"], &report["callbackData"]), (&json!("ecar-1-1"), &json!("d4ta")));
        assert_eq!(
            (&report["status"]["id"], &report["error"]["permanent"]),
            (&json!(id), &json!(permanent)),
            "{report}"
        );
        assert_eq!((&report["to"], &report["messageCount"]), (&json!("21620000001"), &json!(1)));
    }
}

#[tokio::test]
async fn a_forged_receipt_has_an_id_that_was_never_given() {
    let mut receiver = Receiver::start().await;
    let gateway = gateway(&format!("push_url = \"{}\"\n[receipts]\nforged = 1.0", receiver.url("/r"))).await;
    post(&gateway, &hello()).await;
    let ids = [receiver.next().await, receiver.next().await].map(|push| push.json()["results"][0]["messageId"].clone());
    assert_eq!(ids, [json!("ecar-1-1f"), json!("ecar-1-1")]);
}

#[tokio::test]
async fn reports_are_read_once_and_only_of_what_is_done_and_logs_as_often_as_one_likes() {
    let gateway = gateway("[receipts]\nafter = \"1h\"").await;
    post(&gateway, &hello()).await;
    assert_eq!(get(&gateway, "/sms/3/reports").await, json!({"results": []}));
    let log = get(&gateway, "/sms/3/logs?messageId=ecar-1-1").await;
    assert_eq!(
        (&log["results"][0]["destination"], &log["results"][0]["status"]["id"]),
        (&json!("21620000001"), &json!(2))
    );
    gateway.clear();
    gateway.set_script(Script::parse("").unwrap());
    post(&gateway, &hello()).await;
    for count in [1, 0] {
        assert_eq!(get(&gateway, "/sms/3/reports").await["results"].as_array().unwrap().len(), count);
    }
    let at = gateway.received()[0].at.strftime("%Y-%m-%dT%H:%M:%S.000%%2B0000").to_string();
    for (query, count) in [
        ("to=21620000001".to_owned(), 1),
        ("to=21620000009".to_owned(), 0),
        (format!("to=21620000001&sentSince={at}"), 1),
        ("sentSince=2099-01-01T00:00:00.000%2B0000".to_owned(), 0),
        ("bulkId=other".to_owned(), 0),
    ] {
        let log = get(&gateway, &format!("/sms/3/logs?{query}")).await;
        assert_eq!(log["results"].as_array().unwrap().len(), count, "{query}: {log}");
    }
    for wrong in ["sentSince=soon", "reference=x"] {
        assert_eq!(get(&gateway, &format!("/sms/3/logs?{wrong}")).await["errorCode"], "E400");
    }
    assert_eq!(get(&gateway, "/account/1/balance").await, json!({"balance": 100.0, "currency": "EUR"}));
}

#[tokio::test]
async fn a_reply_is_one_result() {
    let mut receiver = Receiver::start().await;
    let gateway = gateway(&format!("push_url = \"{}\"", receiver.url("/in"))).await;
    let text = json!({"provider": "infobip", "from": "+21620000001", "text": "Stop"});
    assert_eq!(reply(&gateway, &text).await.0, 200);
    let push = receiver.next().await.json();
    let result = &push["results"][0];
    assert_eq!(
        (&result["from"], &result["text"], &result["keyword"]),
        (&json!("21620000001"), &json!("Stop"), &json!("STOP"))
    );
}
