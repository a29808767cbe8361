//! Orange SMS Africa and Middle East 2.0, by https://developer.orange.com/apis/sms/getting-started.

use super::local::{Local, accepted, check_answers, outgoing, provider, push, shown};
use crate::provider::generic::HttpProvider;
use crate::provider::receipt::PushError;
use crate::provider::vendor::VendorConfig;

const SECRET: &str = "s3cret+/of=the.app";
const TOKEN: &str = "i6m2iIcY0SodWSe0ToKen";
const SENT: &str = r#"{"outboundSMSMessageRequest":{"address":["tel:+21620000123"],"senderAddress":"tel:+2160000","outboundSMSTextMessage":{"message":"Bonjour"},"resourceURL":"https://api.orange.com/smsmessaging/v1/outbound/tel:+2160000/requests/9f2a1b7c-0d3e-4c55"}}"#;

fn orange(url: &str) -> HttpProvider {
    orange_with(url, VendorConfig { sender_id: Some("Garage Ali".into()), ..VendorConfig::default() })
}

fn orange_with(url: &str, config: VendorConfig) -> HttpProvider {
    provider(
        "orange",
        VendorConfig {
            account: Some("cL1entId".into()),
            api_key: Some(SECRET.into()),
            base_url: Some(url.into()),
            push_token: Some("0123456789abcdef".into()),
            ..config
        },
    )
}

fn with_token(status: u16, body: &str) -> impl Fn(&super::local::Asked) -> (u16, String) + Send + Sync + 'static {
    let body = body.to_owned();
    move |asked| match asked.line.as_str() {
        "POST /oauth/v3/token" => {
            (200, format!(r#"{{"token_type":"Bearer","access_token":"{TOKEN}","expires_in":3600}}"#))
        }
        _ => (status, body.clone()),
    }
}

#[tokio::test]
async fn a_message_goes_out_with_a_token_and_its_id_is_the_end_of_the_resource() {
    let local = Local::scripted(with_token(201, SENT)).await;
    let orange = orange(&format!("{}/", local.url));
    assert_eq!(orange.send(&outgoing("Votre \"Clio\" est prete")).await, accepted("9f2a1b7c-0d3e-4c55"));
    let [token, sent] = local.asked().try_into().unwrap();
    assert_eq!(token.line, "POST /oauth/v3/token");
    // base64 of "cL1entId:s3cret+/of=the.app"
    assert_eq!(token.header("authorization"), "Basic Y0wxZW50SWQ6czNjcmV0Ky9vZj10aGUuYXBw");
    assert_eq!(token.header("content-type"), "application/x-www-form-urlencoded");
    assert_eq!(token.body, "grant_type=client_credentials");
    assert_eq!(sent.line, "POST /smsmessaging/v1/outbound/tel%3A%2B2160000/requests");
    assert_eq!(sent.header("authorization"), format!("Bearer {TOKEN}"));
    assert_eq!(sent.header("content-type"), "application/json");
    assert_eq!(sent.header("accept"), "application/json");
    assert_eq!(
        sent.body,
        concat!(
            r#"{"outboundSMSMessageRequest":{"address":"tel:+21620000123","senderAddress":"tel:+2160000","senderName":"Garage Ali","#,
            r#""outboundSMSTextMessage":{"message":"Votre \"Clio\" est prete"}}}"#
        )
    );
    assert_eq!(orange.config().rate, Some(5.0));
}

#[tokio::test]
async fn a_sender_address_of_ones_own_stands_in_path_and_body_and_no_sender_name_is_none() {
    let escaped = SENT.replace('/', "\\/");
    let local = Local::scripted(with_token(201, &escaped)).await;
    let config = VendorConfig { sender_address: Some("21620000001".into()), ..VendorConfig::default() };
    let outcome = orange_with(&local.url, config).send(&outgoing("Bonjour")).await;
    assert_eq!(outcome, accepted("9f2a1b7c-0d3e-4c55"), "an id is found where slashes are escaped too");
    let sent = local.asked().remove(1);
    assert_eq!(sent.line, "POST /smsmessaging/v1/outbound/tel%3A%2B21620000001/requests");
    assert_eq!(
        sent.body,
        r#"{"outboundSMSMessageRequest":{"address":"tel:+21620000123","senderAddress":"tel:+21620000001","outboundSMSTextMessage":{"message":"Bonjour"}}}"#
    );
}

#[tokio::test]
async fn a_token_that_has_expired_is_renewed_once() {
    let local = Local::scripted(|asked| match asked.line.as_str() {
        "POST /oauth/v3/token" => (200, format!(r#"{{"access_token":"{TOKEN}","expires_in":"3600"}}"#)),
        _ => (401, r#"{"code":42,"message":"Expired credentials","description":"The credentials are expired"}"#.into()),
    })
    .await;
    let outcome = orange(&local.url).send(&outgoing("Bonjour")).await;
    assert_eq!(outcome.word(), "misconfigured");
    let lines: Vec<bool> = local.asked().iter().map(|asked| asked.line == "POST /oauth/v3/token").collect();
    assert_eq!(lines, [true, false, true, false]);
}

fn exception(kind: &str, id: &str, text: &str, variables: &str) -> String {
    format!(r#"{{"requestError":{{"{kind}":{{"messageId":"{id}","text":"{text}","variables":[{variables}]}}}}}}"#)
}

#[tokio::test]
async fn every_documented_answer_has_its_outcome() {
    let service = |id: &str, variables: &str| exception("serviceException", id, "Invalid input value %1", variables);
    let policy = |id: &str, variables: &str| exception("policyException", id, "A policy error occurred", variables);
    let cases = [
        (201, SENT.to_owned(), "accepted"),
        (201, "{}".to_owned(), "unknown"),
        (201, "<html>".to_owned(), "unknown"),
        (200, "{}".to_owned(), "unknown"),
        (400, service("SVC0001", r#""x""#), "unknown"),
        (400, service("SVC0002", r#""address""#), "rejected"),
        (400, service("SVC0002", r#""senderAddress""#), "misconfigured"),
        (400, service("SVC0003", r#""senderName""#), "misconfigured"),
        (400, service("SVC0003", r#""message""#), "rejected"),
        (400, service("SVC0002", "").replace("[]", r#""senderAddress""#), "misconfigured"),
        (403, service("SVC0001", r#""x""#), "unknown"),
        (400, service("SVC0004", r#""tel:+21620000123""#), "rejected"),
        (400, service("SVC0280", r#""1024""#), "rejected"),
        (
            403,
            exception("serviceException", "SVC0280", "Message too long. Maximum length is %1", "\"1024\""),
            "rejected",
        ),
        (409, service("SVC0005", r#""1""#), "unknown"),
        (503, service("SVC1000", ""), "unknown"),
        (403, policy("POL0001", r#""Expired contract""#), "no_credit"),
        (403, policy("POL0001", r#""not enough units""#), "no_credit"),
        (403, policy("POL0001", r#""x""#), "misconfigured"),
        (403, policy("POL0002", r#""tel:+21620000123""#), "rejected"),
        (403, policy("POL0003", r#""1""#), "misconfigured"),
        (400, r#"{"code":22,"message":"Invalid body"}"#.to_owned(), "misconfigured"),
        (400, "{}".to_owned(), "unknown"),
        (401, r#"{"code":41,"message":"Invalid credentials"}"#.to_owned(), "misconfigured"),
        (402, "{}".to_owned(), "no_credit"),
        (403, r#"{"code":50,"message":"Access denied"}"#.to_owned(), "misconfigured"),
        (403, r#"{"code":53,"message":"Too many requests"}"#.to_owned(), "throttled"),
        (429, r#"{"code":53,"message":"Too many requests"}"#.to_owned(), "throttled"),
        (404, r#"{"code":60,"message":"Resource not found"}"#.to_owned(), "misconfigured"),
        (405, r#"{"code":61}"#.to_owned(), "misconfigured"),
        (406, String::new(), "misconfigured"),
        (415, String::new(), "misconfigured"),
        (302, String::new(), "misconfigured"),
        (408, String::new(), "unknown"),
        (413, String::new(), "rejected"),
        (500, r#"{"code":1,"message":"Internal error"}"#.to_owned(), "unknown"),
        (502, "<html>".to_owned(), "unknown"),
        (503, r#"{"code":5,"message":"The service is temporarily unavailable"}"#.to_owned(), "unknown"),
    ];
    for (status, body, expected) in cases {
        let echo = format!("{body} {SECRET} {TOKEN}");
        for (body, is_echo) in [(body, false), (echo, true)] {
            let local = Local::scripted(with_token(status, &body)).await;
            let outcome = orange(&local.url).send(&outgoing("Bonjour")).await;
            if !is_echo {
                assert_eq!(outcome.word(), expected, "{status} {body}: {outcome:?}");
            }
            assert!(!outcome.detail().contains(SECRET) && !outcome.detail().contains(TOKEN), "{outcome:?}");
        }
    }
}

#[tokio::test]
async fn without_a_token_nothing_is_sent_and_nothing_told() {
    let refusal = r#"{"error":"invalid_client","error_description":"The requested client is unknown"}"#;
    check_answers(orange, &[SECRET], &[(401, refusal, "misconfigured"), (500, "", "temporary_failure")]).await;
}

fn delivery(status: &str) -> String {
    format!(
        r#"{{"deliveryInfoNotification":{{"callbackData":"9f2a1b7c-0d3e-4c55","deliveryInfo":{{"address":"tel:+21620000123","deliveryStatus":"{status}"}}}}}}"#
    )
}

#[test]
fn a_receipt_names_the_id_of_the_answer_and_only_two_words_are_final() {
    let orange = orange("http://127.0.0.1:1");
    for (word, status) in [
        ("DeliveredToTerminal", "delivered"),
        ("DeliveryImpossible", "undelivered"),
        ("DeliveredToNetwork", "pending"),
        ("DeliveryUncertain", "pending"),
        ("MessageWaiting", "pending"),
        ("SomethingNew", "pending"),
    ] {
        let pushed = push(&orange, &[], &delivery(word)).unwrap();
        assert_eq!(shown(&pushed), [format!("9f2a1b7c-0d3e-4c55||{status}|{word}|")]);
    }
    let listed = delivery("DeliveredToTerminal").replace(r#"{"address""#, r#"[{"address""#).replace("}}}", "}]}}");
    assert_eq!(shown(&push(&orange, &[], &listed).unwrap()).len(), 1, "a list of one is one: {listed}");
    let unnamed = delivery("DeliveredToTerminal").replace("callbackData", "other");
    assert!(push(&orange, &[], &unnamed).unwrap().is_empty());
    assert!(matches!(push(&orange, &[], "{"), Err(PushError::Malformed(_))));
}

#[test]
fn a_reply_comes_as_a_notification_of_its_own() {
    let body = r#"{"inboundSMSMessageNotification":{"callbackData":"","inboundSMSMessage":{"dateTime":"2026-03-02T10:59:00Z","destinationAddress":"tel:+2160000","messageId":"m1","message":"STOP","senderAddress":"tel:+21620000123"}}}"#;
    let pushed = push(&orange("http://127.0.0.1:1"), &[], body).unwrap();
    assert_eq!(shown(&pushed), ["tel:+21620000123: STOP"]);
}

#[tokio::test]
async fn the_balance_is_that_of_the_first_contract_in_force() {
    for (body, expected) in [
        (
            r#"[{"id":"a","country":"TUN","status":"EXPIRED","availableUnits":90,"expirationDate":"2025-01-01T00:00:00Z"},
                {"id":"b","country":"TUN","offerName":"SMS_OCB","status":"ACTIVE","availableUnits":4870}]"#,
            Some(4870.0),
        ),
        (
            r#"{"partnerContracts":{"contracts":[{"contract":"OSMS","serviceContracts":[{"service":"SMS_OCB","availableUnits":82}]}]}}"#,
            Some(82.0),
        ),
        (r#"[{"status":"ACTIVE","availableUnits":0}]"#, Some(0.0)),
        (r#"[{"status":"EXPIRED","availableUnits":90}]"#, None),
        ("[]", None),
    ] {
        let local = Local::scripted(with_token(200, body)).await;
        let left = orange(&local.url).ask_balance().await;
        assert_eq!(left.clone().ok(), expected, "{body}");
        let asked = local.asked().remove(1);
        assert_eq!(asked.line, "GET /sms/admin/v1/contracts");
        assert_eq!(asked.header("authorization"), format!("Bearer {TOKEN}"));
    }
}
