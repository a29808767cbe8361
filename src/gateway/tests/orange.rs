//! The simulated Orange: tokens that expire, a sender in the path, receipts to the registered address.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::vendors::{Answered, Receiver, basic, http, reply};
use super::*;

const SEND: &str = "/orange/smsmessaging/v1/outbound/tel%3A%2B21620000000/requests";

async fn token(gateway: &Gateway) -> String {
    let answer = ask_token(gateway, "s3cret", "grant_type=client_credentials").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.json()["token_type"], "Bearer");
    answer.json()["access_token"].as_str().unwrap().to_owned()
}

async fn ask_token(gateway: &Gateway, secret: &str, body: &str) -> Answered {
    let headers =
        [("authorization", basic("client", secret)), ("content-type", "application/x-www-form-urlencoded".to_owned())];
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    http(gateway, "POST", "/orange/oauth/v3/token", &headers, body).await
}

async fn post(gateway: &Gateway, token: &str, body: &Value) -> Answered {
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    http(gateway, "POST", SEND, &headers, &body.to_string()).await
}

fn hello() -> Value {
    json!({"outboundSMSMessageRequest": {
        "address": "tel:+21620000001",
        "senderAddress": "tel:+21620000000",
        "senderName": "ECAR",
        "outboundSMSTextMessage": {"message": "Hello!"},
    }})
}

#[tokio::test]
async fn a_token_opens_the_door_for_as_long_as_it_lives() {
    let gateway = gateway("[vendor.orange]\nkey = \"s3cret\"").await;
    let answer = ask_token(&gateway, "other", "grant_type=client_credentials").await;
    assert_eq!((answer.status, &answer.json()["error"]), (401, &json!("invalid_client")));
    let answer = ask_token(&gateway, "s3cret", "grant_type=password").await;
    assert_eq!((answer.status, &answer.json()["error"]), (400, &json!("unsupported_grant_type")));
    let good = token(&gateway).await;
    assert_eq!(post(&gateway, &good, &hello()).await.status, 201);
    let answer = post(&gateway, "made-up", &hello()).await;
    assert_eq!((answer.status, &answer.json()["code"]), (401, &json!(41)));
    let answer = http(&gateway, "POST", SEND, &[], &hello().to_string()).await;
    assert_eq!((answer.status, &answer.json()["code"]), (401, &json!(40)));
    gateway.set_script(Script::parse("[vendor.orange]\ntoken_life = \"0s\"").unwrap());
    assert_eq!(post(&gateway, &good, &hello()).await.status, 201, "a token lives as long as it was told");
    let dead = token(&gateway).await;
    let answer = post(&gateway, &dead, &hello()).await;
    assert_eq!((answer.status, &answer.json()["code"]), (401, &json!(42)));
    assert_eq!(gateway.stats().totals.taken, 2);
    assert_eq!(gateway.count(), 5, "tokens are no messages");
}

#[tokio::test]
async fn a_message_is_created_with_a_resource_whose_last_part_is_its_id() {
    let gateway = gateway("").await;
    let answer = post(&gateway, &token(&gateway).await, &hello()).await;
    let body = answer.json();
    let request = &body["outboundSMSMessageRequest"];
    let resource = request["resourceURL"].as_str().unwrap();
    assert_eq!((&request["address"], &request["senderName"]), (&json!(["tel:+21620000001"]), &json!("ECAR")));
    assert!(resource.starts_with("https://api.orange.com/smsmessaging/v1/outbound/tel:+21620000000/requests/"));
    assert_eq!(answer.headers["location"], resource);
    let received = &gateway.received()[0];
    assert_eq!(received.id().as_deref(), resource.rsplit('/').next());
    assert_eq!((received.phone.as_str(), received.sender_id.as_str()), ("+21620000001", "ECAR"));
}

#[tokio::test]
async fn what_orange_refuses_is_a_service_or_policy_exception() {
    let gateway = gateway("[[rule]]\ncode = \"POL0001\"").await;
    let token = token(&gateway).await;
    for (pointer, value, id, variable) in [
        ("/outboundSMSMessageRequest", json!(null), "SVC0002", "outboundSMSMessageRequest"),
        ("/outboundSMSMessageRequest/address", json!("tel:20000001"), "SVC0004", "address"),
        ("/outboundSMSMessageRequest/senderAddress", json!("tel:+21620000009"), "SVC0002", "senderAddress"),
        ("/outboundSMSMessageRequest/senderName", json!("Much too long"), "SVC0002", "senderName"),
        ("/outboundSMSMessageRequest/outboundSMSTextMessage", json!({"text": "x"}), "SVC0002", "text"),
    ] {
        let mut body = hello();
        *body.pointer_mut(pointer).unwrap() = value;
        let answer = post(&gateway, &token, &body).await;
        let exception = &answer.json()["requestError"]["serviceException"];
        assert_eq!((answer.status, &exception["messageId"]), (400, &json!(id)), "{pointer}: {}", answer.text);
        assert_eq!(exception["variables"], json!([variable]));
    }
    let answer = post(&gateway, &token, &hello()).await;
    assert_eq!(
        (answer.status, &answer.json()["requestError"]["policyException"]["messageId"]),
        (403, &json!("POL0001"))
    );
    assert_eq!((gateway.count(), gateway.stats().totals.taken), (6, 0));
}

#[tokio::test]
async fn receipts_and_replies_go_to_the_registered_address() {
    let mut receiver = Receiver::start().await;
    let gateway = gateway(&format!("push_url = \"{}\"", receiver.url("/orange"))).await;
    post(&gateway, &token(&gateway).await, &hello()).await;
    let id = gateway.received()[0].id().unwrap();
    for status in ["DeliveredToNetwork", "DeliveredToTerminal"] {
        let push = receiver.next().await.json();
        let info = json!({"address": "tel:+21620000001", "deliveryStatus": status});
        assert_eq!(push, json!({"deliveryInfoNotification": {"callbackData": id, "deliveryInfo": info}}));
    }
    assert_eq!(reply(&gateway, &json!({"provider": "orange", "from": "+21620000001", "text": "STOP"})).await.0, 200);
    let push = receiver.next().await.json();
    let message = &push["inboundSMSMessageNotification"]["inboundSMSMessage"];
    assert_eq!((&message["senderAddress"], &message["message"]), (&json!("tel:+21620000001"), &json!("STOP")));
}

#[tokio::test]
async fn contracts_tell_the_units_left() {
    let gateway = gateway("[vendor.orange]\nbalance = 12.7").await;
    let bearer = format!("Bearer {}", token(&gateway).await);
    let answer = http(&gateway, "GET", "/orange/sms/admin/v1/contracts", &[("authorization", &bearer)], "").await;
    assert_eq!((&answer.json()[0]["availableUnits"], &answer.json()[0]["status"]), (&json!(12), &json!("ACTIVE")));
    assert_eq!(http(&gateway, "GET", "/orange/sms/admin/v1/contracts", &[], "").await.status, 401);
}
