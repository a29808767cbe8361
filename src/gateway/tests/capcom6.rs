//! The simulated Android gateway of capcom6: states, ids of the client, signed webhooks.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::vendors::{Answered, Push, Receiver, basic, hmac_hex, http, reply};
use super::*;

async fn post(gateway: &Gateway, prefix: &str, body: &Value) -> Answered {
    let authorization = basic("user", "p4ss");
    let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
    http(gateway, "POST", &format!("/capcom6{prefix}"), &headers, &body.to_string()).await
}

async fn get(gateway: &Gateway, path: &str) -> Answered {
    http(gateway, "GET", &format!("/capcom6{path}"), &[("authorization", &basic("user", "p4ss"))], "").await
}

fn hello() -> Value {
    json!({"textMessage": {"text": "Your OTP is 1234"}, "phoneNumbers": ["+21620000001"], "simNumber": 1, "ttl": 3600,
        "withDeliveryReport": true, "priority": 100})
}

/// Whether a webhook is signed with this key, as the documentation describes it, computed here.
fn is_signed(push: &Push, key: &str) -> bool {
    push.header("x-signature") == hmac_hex(key, &format!("{}{}", push.body, push.header("x-timestamp")))
}

#[tokio::test]
async fn a_message_is_pending_on_either_path_and_its_state_is_asked_for_by_id() {
    let gateway = gateway("").await;
    for (prefix, message) in [
        ("/messages", hello()),
        ("/3rdparty/v1/messages", hello()),
        ("/message", {
            let mut old = hello();
            old.as_object_mut().unwrap().remove("textMessage");
            old["message"] = json!("old");
            old
        }),
    ] {
        let answer = post(&gateway, prefix, &message).await;
        let body = answer.json();
        assert_eq!((answer.status, &body["state"]), (202, &json!("Pending")), "{}", answer.text);
        assert_eq!(body["recipients"], json!([{"phoneNumber": "+21620000001", "state": "Pending"}]));
        let id = body["id"].as_str().unwrap();
        assert!(id.len() == 21 && answer.headers["location"].to_str().unwrap().ends_with(id));
        assert_eq!(get(&gateway, &format!("{prefix}/{id}")).await.json()["state"], "Delivered");
    }
    assert_eq!(get(&gateway, "/messages/nobody").await.status, 404);
    assert_eq!(get(&gateway, "/messages").await.json().as_array().unwrap().len(), 3);
    assert_eq!(http(&gateway, "GET", "/capcom6/messages/x", &[], "").await.status, 401);
    gateway.set_script(Script::parse("[receipts]\nundelivered = 1.0").unwrap());
    let id = post(&gateway, "/messages", &hello()).await.json()["id"].as_str().unwrap().to_owned();
    let body = get(&gateway, &format!("/messages/{id}")).await.json();
    assert_eq!(
        (&body["state"], &body["recipients"][0]["error"]),
        (&json!("Failed"), &json!("RESULT_ERROR_GENERIC_FAILURE"))
    );
    gateway.set_script(Script::parse("[receipts]\nundelivered = 1.0\ncode = \"Cancelled\"").unwrap());
    let id = post(&gateway, "/messages", &hello()).await.json()["id"].as_str().unwrap().to_owned();
    let body = get(&gateway, &format!("/messages/{id}")).await.json();
    assert_eq!(
        (&body["state"], &body["states"]["Sent"], body["recipients"][0].get("error")),
        (&json!("Cancelled"), &Value::Null, None)
    );
}

#[tokio::test]
async fn an_id_of_the_clients_is_kept_and_taken_once() {
    let gateway = gateway("").await;
    let mut body = hello();
    body["id"] = json!("ecar-1-1");
    assert_eq!(post(&gateway, "/messages", &body).await.json()["id"], "ecar-1-1");
    let again = post(&gateway, "/messages", &body).await;
    assert_eq!((again.status, again.json()["message"].is_string()), (409, true));
    assert_eq!((gateway.count(), gateway.stats().totals.taken), (2, 1));
    assert_eq!(gateway.received()[0].reference.as_deref(), Some("ecar-1-1"));
}

#[tokio::test]
async fn what_the_app_refuses_is_answered_400_or_401() {
    let gateway = gateway("").await;
    for (key, value) in [
        ("phoneNumbers", json!([])),
        ("phoneNumbers", json!(["20000001"])),
        ("phoneNumbers", json!(["+21620000001", "+21620000001"])),
        ("textMessage", json!({"text": ""})),
        ("textMessage", json!({"txt": "x"})),
        ("message", json!("both")),
        ("validUntil", json!("2026-12-31T23:59:59Z")),
        ("simNumber", json!(4)),
        ("priority", json!(128)),
        ("id", json!("x".repeat(37))),
        ("withDeliveryReport", json!("yes")),
        ("to", json!("x")),
    ] {
        let mut body = hello();
        body[key] = value;
        let answer = post(&gateway, "/messages", &body).await;
        assert!(answer.status == 400 && answer.json()["message"].is_string(), "{key}: {}", answer.text);
    }
    assert_eq!(post(&gateway, "/messages", &json!("x")).await.status, 400);
    assert_eq!(http(&gateway, "POST", "/capcom6/messages", &[], &hello().to_string()).await.status, 401);
    assert_eq!(gateway.stats().totals.taken, 0);
}

#[tokio::test]
async fn webhooks_are_signed_with_the_scripted_key() {
    let mut receiver = Receiver::start().await;
    let script = |more: &str| format!("secret = \"s1gn\"\npush_url = \"{}\"\n{more}", receiver.url("/hook"));
    let undelivered = script("[receipts]\nundelivered = 1.0\ncode = \"NO_SERVICE\"");
    let gateway = gateway(&script("")).await;
    for (events, state) in [(["sms:sent", "sms:delivered"], "deliveredAt"), (["sms:sent", "sms:failed"], "failedAt")] {
        let id = post(&gateway, "/messages", &hello()).await.json()["id"].clone();
        for event in events {
            let push = receiver.next().await;
            assert!(is_signed(&push, "s1gn") && !is_signed(&push, "p4ss"));
            let body = push.json();
            assert_eq!((&body["event"], &body["payload"]["messageId"]), (&json!(event), &id));
            assert_eq!(body["payload"]["recipient"], "+21620000001");
            assert_eq!(body["payload"][state].is_string(), event != "sms:sent", "{body}");
            assert!(event != "sms:failed" || body["payload"]["reason"] == "NO_SERVICE");
        }
        gateway.set_script(Script::parse(&undelivered).unwrap());
    }
    gateway.set_script(Script::parse(&undelivered.replace("NO_SERVICE", "Cancelled")).unwrap());
    let id = post(&gateway, "/messages", &hello()).await.json()["id"].clone();
    let body = receiver.next().await.json();
    assert_eq!((&body["event"], &body["payload"]["messageId"]), (&json!("sms:cancelled"), &id));
    assert!(body["payload"]["cancelledAt"].is_string() && body["payload"].get("failedAt").is_none(), "{body}");
    assert_eq!(reply(&gateway, &json!({"provider": "capcom6", "from": "+21620000001", "text": "STOP"})).await.0, 200);
    let push = receiver.next().await;
    assert!(is_signed(&push, "s1gn"));
    assert_eq!((&push.json()["event"], &push.json()["payload"]["message"]), (&json!("sms:received"), &json!("STOP")));
    assert_eq!(push.json()["payload"]["sender"], "+21620000001");
}
