//! Infobip: https://www.infobip.com/docs/api/channels/sms,
//! https://www.infobip.com/docs/essentials/api-essentials/response-status-and-error-codes

use secrecy::SecretString;

use super::super::{Vendor, VendorConfig};
use super::support::{Answer, Gateway, KEY, PUSH_URL, every_answer_is_judged, inquiry, made, outgoing, pushing, read};
use crate::message::encoding::Encoding;
use crate::message::outcome::Outcome;
use crate::provider::generic::GenericConfig;
use crate::provider::inquiry::{Finding, TakenMessage};
use crate::provider::receipt::{DeliveryStatus, Pushed, Receipt, Reply};

const NOW: &str = "2026-03-02T11:03:04Z";

/// Every general status: group, id, name, what it means in the answer to a send, and in a receipt.
const STATUSES: [(u8, u8, &str, &str, DeliveryStatus); 36] = [
    (1, 3, "PENDING_WAITING_DELIVERY", "accepted", DeliveryStatus::Pending),
    (1, 7, "PENDING_ENROUTE", "accepted", DeliveryStatus::Pending),
    (1, 26, "PENDING_ACCEPTED", "accepted", DeliveryStatus::Pending),
    (2, 4, "UNDELIVERABLE_REJECTED_OPERATOR", "rejected", DeliveryStatus::Undelivered),
    (2, 9, "UNDELIVERABLE_NOT_DELIVERED", "rejected", DeliveryStatus::Undelivered),
    (2, 31, "UNDELIVERABLE_NOT_SENT", "rejected", DeliveryStatus::Undelivered),
    (3, 2, "DELIVERED_TO_OPERATOR", "accepted", DeliveryStatus::Pending),
    (3, 5, "DELIVERED_TO_HANDSET", "accepted", DeliveryStatus::Delivered),
    (4, 15, "EXPIRED_EXPIRED", "rejected", DeliveryStatus::Undelivered),
    (4, 29, "EXPIRED_DLR_UNKNOWN", "unknown", DeliveryStatus::Pending),
    (4, 87, "SIGNALS_BLOCKED", "rejected", DeliveryStatus::Undelivered),
    (5, 6, "REJECTED_NETWORK", "rejected", DeliveryStatus::Undelivered),
    (5, 8, "REJECTED_PREFIX_MISSING", "rejected", DeliveryStatus::Undelivered),
    (5, 10, "REJECTED_DND", "rejected", DeliveryStatus::Undelivered),
    (5, 11, "REJECTED_SOURCE", "misconfigured", DeliveryStatus::Undelivered),
    (5, 12, "REJECTED_NOT_ENOUGH_CREDITS", "no_credit", DeliveryStatus::Undelivered),
    (5, 13, "REJECTED_SENDER", "misconfigured", DeliveryStatus::Undelivered),
    (5, 14, "REJECTED_DESTINATION_BLOCKLISTED", "rejected", DeliveryStatus::Undelivered),
    (5, 17, "REJECTED_PREPAID_PACKAGE_EXPIRED", "no_credit", DeliveryStatus::Undelivered),
    (5, 18, "REJECTED_DESTINATION_NOT_REGISTERED", "misconfigured", DeliveryStatus::Undelivered),
    (5, 19, "REJECTED_ROUTE_NOT_AVAILABLE", "misconfigured", DeliveryStatus::Undelivered),
    (5, 20, "REJECTED_FLOODING_FILTER", "temporary_failure", DeliveryStatus::Undelivered),
    (5, 21, "REJECTED_SYSTEM_ERROR", "temporary_failure", DeliveryStatus::Undelivered),
    // Of the second of two requests with one id: it tells nothing of the first.
    (5, 23, "REJECTED_DUPLICATE_MESSAGE_ID", "unknown", DeliveryStatus::Pending),
    (5, 24, "REJECTED_INVALID_UDH", "rejected", DeliveryStatus::Undelivered),
    (5, 25, "REJECTED_MESSAGE_TOO_LONG", "rejected", DeliveryStatus::Undelivered),
    (5, 51, "MISSING_TO", "rejected", DeliveryStatus::Undelivered),
    (5, 52, "REJECTED_DESTINATION", "rejected", DeliveryStatus::Undelivered),
    (5, 87, "SIGNALS_BLOCKED", "rejected", DeliveryStatus::Undelivered),
    (5, 100, "UNDELIVERABLE_REJECTED_PLATFORM", "temporary_failure", DeliveryStatus::Undelivered),
    // Of calls.
    (2, 96, "NO_ANSWER", "rejected", DeliveryStatus::Undelivered),
    (2, 97, "BUSY", "rejected", DeliveryStatus::Undelivered),
    (2, 98, "CANCELLED", "rejected", DeliveryStatus::Undelivered),
    (5, 99, "REJECTED", "rejected", DeliveryStatus::Undelivered),
    // Not documented: the group is what is known of it in an answer; in a receipt it ends nothing.
    (5, 199, "REJECTED_FOR_A_NEW_REASON", "rejected", DeliveryStatus::Pending),
    (4, 198, "EXPIRED_IN_A_NEW_WAY", "unknown", DeliveryStatus::Pending),
];

fn config(gateway: &str) -> GenericConfig {
    let written = VendorConfig {
        api_key: Some(SecretString::from(KEY)),
        base_url: Some(format!("{gateway}/")),
        push_token: Some(SecretString::from("0123456789abcdef")),
        ..VendorConfig::default()
    };
    Vendor::named("infobip").unwrap().configure(written).unwrap()
}

fn status(group: u8, id: u8, name: &str) -> String {
    let word = ["OK", "PENDING", "UNDELIVERABLE", "DELIVERED", "EXPIRED", "REJECTED"][usize::from(group)];
    format!(r#"{{"groupId":{group},"groupName":"{word}","id":{id},"name":"{name}","description":"..."}}"#)
}

fn answer(status: &str) -> String {
    format!(
        r#"{{"bulkId":"2034072219640523072","messages":[{{"messageId":"ecar-1-1","status":{status},"destination":"21620000123","details":{{"messageCount":2}}}}]}}"#
    )
}

/// One result of the logs, of a report that is fetched, and of one that is pushed: they have these fields in common.
fn report(id: &str, status: &str, error: &str) -> String {
    format!(
        r#"{{"bulkId":"BULK-ID-123-xyz","price":{{"pricePerMessage":0.01,"currency":"EUR"}},"status":{status},
        "error":{{"groupId":0,"groupName":"OK","id":0,"name":"{error}","description":"...","permanent":false}},"messageId":"{id}",
        "to":"21620000123","sender":"ECAR","sentAt":"2026-03-02T12:03:00.000+0100","doneAt":"2026-03-02T12:03:04.000+0100",
        "messageCount":1,"content":{{"text":"Bonjour"}},"mccMnc":"60502"}}"#
    )
}

fn results(results: &[String]) -> String {
    format!(r#"{{"results":[{}],"cursor":{{}}}}"#, results.join(","))
}

fn api_error(code: &str) -> String {
    format!(r#"{{"errorCode":"{code}","description":"...","action":"...","violations":[],"resources":[]}}"#)
}

fn answers() -> Vec<Answer> {
    let mut answers: Vec<Answer> =
        STATUSES.iter().map(|(group, id, name, word, _)| (200, answer(&status(*group, *id, name)), *word)).collect();
    let accepted = r#"{"groupId":0,"groupName":"ACCEPTED","id":0,"name":"MESSAGE_ACCEPTED"}"#;
    answers.extend([
        (200, answer(accepted), "accepted"),
        (400, api_error("E400"), "rejected"),
        (401, api_error("E401"), "misconfigured"),
        (403, api_error("E403"), "misconfigured"),
        (404, api_error("E404"), "misconfigured"),
        (429, api_error("E429"), "throttled"),
        (500, api_error("E500"), "unknown"),
        (502, "<html>".to_owned(), "unknown"),
        (200, "{}".to_owned(), "unknown"),
        (200, r#"{"messages":[]}"#.to_owned(), "unknown"),
        (200, answer("{}"), "unknown"),
        (200, "<html>".to_owned(), "unknown"),
        (202, answer(&status(1, 26, "PENDING_ACCEPTED")), "unknown"),
        (500, answer(&status(5, 12, "REJECTED_NOT_ENOUGH_CREDITS")), "unknown"),
    ]);
    answers
}

#[tokio::test]
async fn the_request_is_the_documented_body() {
    let gateway = Gateway::start().await;
    let ok = answer(&status(1, 26, "PENDING_ACCEPTED"));
    let webhooks = serde_json::json!({ "delivery": { "url": PUSH_URL }, "contentType": "application/json" });
    for (provider, webhooks) in
        [(pushing("infobip", config(&gateway.url)), Some(webhooks)), (made("infobip", config(&gateway.url)), None)]
    {
        gateway.answers(200, &ok);
        let outcome = provider.send(&outgoing("Prête \"lavée\"", Encoding::Ucs2)).await;
        let id = Some("ecar-1-1".to_owned());
        assert_eq!(outcome, Outcome::Accepted { provider_message_id: id, segments: Some(2) });
        let request = gateway.only_request();
        assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/sms/3/messages"));
        assert_eq!(request.header("authorization"), format!("App {KEY}"));
        assert_eq!(
            (request.header("content-type"), request.header("accept")),
            ("application/json", "application/json")
        );
        let mut message = serde_json::json!({
            "sender": "ECAR",
            "destinations": [{ "to": "21620000123", "messageId": "ecar-1-1" }],
            "content": { "text": "Prête \"lavée\"" },
        });
        if let Some(webhooks) = webhooks {
            message["webhooks"] = webhooks;
        }
        let expected = serde_json::json!({ "messages": [message], "options": { "includeSmsCountInResponse": true } });
        assert_eq!(serde_json::from_str::<serde_json::Value>(&request.body).unwrap(), expected);
    }
}

#[tokio::test]
async fn every_documented_status_means_what_its_page_says() {
    let gateway = Gateway::start().await;
    every_answer_is_judged(&gateway, &config(&gateway.url), &answers()).await;
}

#[tokio::test]
async fn an_attempt_in_doubt_is_looked_for_by_our_reference() {
    let gateway = Gateway::start().await;
    let provider = made("infobip", config(&gateway.url));
    let found = report("ecar-1-1", &status(5, 12, "REJECTED_NOT_ENOUGH_CREDITS"), "EC_NOT_ENOUGH_CREDITS");
    let taken = Finding::Taken(vec![TakenMessage { provider_message_id: Some("ecar-1-1".to_owned()) }]);
    gateway.answers(200, &results(&[found]));
    assert_eq!(provider.look_up(&inquiry("Bonjour")).await, taken);
    let request = gateway.only_request();
    assert_eq!((request.method.as_str(), request.path.as_str()), ("GET", "/sms/3/logs"));
    assert_eq!(request.query, [("messageId".to_owned(), "ecar-1-1".to_owned())].into());
    assert_eq!(request.header("authorization"), format!("App {KEY}"));

    for (status, body, absent) in [
        (200, results(&[]), true),
        (200, "{ \"results\" : [ ] }".to_owned(), true),
        (200, "{}".to_owned(), false),
        (200, r#"{"results":null}"#.to_owned(), false),
        (200, r#"{"results":[{}]}"#.to_owned(), false),
        (200, "<html>\"results\":[]".to_owned(), false),
        (404, api_error("E404"), false),
        (401, api_error("E401"), false),
        (429, api_error("E429"), false),
        (500, results(&[]), false),
    ] {
        gateway.answers(status, &body);
        let finding = provider.look_up(&inquiry("Bonjour")).await;
        gateway.only_request();
        assert_eq!(finding == Finding::Absent, absent, "{status} {body}: {finding:?}");
        assert!(absent || matches!(finding, Finding::Unclear { .. }), "{status} {body}: {finding:?}");
    }
}

#[tokio::test]
async fn receipts_are_asked_for_in_the_logs_many_at_once() {
    let gateway = Gateway::start().await;
    let provider = made("infobip", config(&gateway.url));
    assert_eq!(provider.poll_batch(), Some(40));
    let one = report("ecar-1-1", &status(3, 5, "DELIVERED_TO_HANDSET"), "NO_ERROR");
    let two = report("ecar-2-1", &status(2, 9, "UNDELIVERABLE_NOT_DELIVERED"), "EC_ABSENT_SUBSCRIBER");
    gateway.answers(200, &results(&[two, one]));
    let receipts = provider.ask_receipts(&["ecar-1-1", "ecar-2-1"]).await.unwrap();
    let request = gateway.only_request();
    assert_eq!((request.method.as_str(), request.path.as_str()), ("GET", "/sms/3/logs"));
    assert_eq!(request.query, [("messageId".to_owned(), "ecar-1-1,ecar-2-1".to_owned())].into());
    let told: Vec<_> =
        receipts.iter().map(|it| (it.provider_message_id.as_str(), it.status, it.words.as_str())).collect();
    assert_eq!(
        told,
        [
            ("ecar-2-1", DeliveryStatus::Undelivered, "UNDELIVERABLE_NOT_DELIVERED EC_ABSENT_SUBSCRIBER"),
            ("ecar-1-1", DeliveryStatus::Delivered, "DELIVERED_TO_HANDSET NO_ERROR"),
        ]
    );
    gateway.answers(200, &results(&[]));
    assert_eq!(provider.ask_receipts(&["ecar-1-1"]).await, Ok(Vec::new()));
    gateway.only_request();
    gateway.answers(429, &api_error("E429"));
    assert!(provider.ask_receipts(&["ecar-1-1"]).await.is_err());
}

#[tokio::test]
async fn the_balance_is_a_number_in_the_answer() {
    let gateway = Gateway::start().await;
    let provider = made("infobip", config(&gateway.url));
    gateway.answers(200, r#"{"balance":47.79134,"currency":"EUR"}"#);
    assert_eq!(provider.ask_balance().await, Ok(47.79134));
    let request = gateway.only_request();
    assert_eq!((request.path.as_str(), request.header("accept")), ("/account/1/balance", "application/json"));
    let refused =
        r#"{"requestError":{"serviceException":{"messageId":"UNAUTHORIZED","text":"Invalid login details"}}}"#;
    gateway.answers(401, refused);
    assert!(provider.ask_balance().await.is_err());
}

#[test]
fn every_documented_status_of_a_pushed_report_is_known() {
    let provider = pushing("infobip", config("https://x.api.infobip.com"));
    for (group, id, name, _, expected) in STATUSES {
        let body = results(&[report("ecar-1-1", &status(group, id, name), "NO_ERROR")]);
        let receipt = Receipt {
            provider_message_id: "ecar-1-1".to_owned(),
            reference: Some("ecar-1-1".to_owned()),
            status: expected,
            words: format!("{name} NO_ERROR"),
            at: Some(NOW.parse().unwrap()),
        };
        let headers = [("content-type", "application/json")];
        let pushed = read(&provider, ("POST", PUSH_URL), &headers, &body, NOW);
        assert_eq!(pushed, Ok(vec![Pushed::Receipt(receipt)]));
    }
}

#[test]
fn an_inbound_message_is_a_reply_and_no_receipt() {
    let provider = pushing("infobip", config("https://x.api.infobip.com"));
    let body = r#"{"results":[{"messageId":"817790313235066447","from":"21620000123","to":"21620000999",
        "text":"QUIZ Correct answer is Paris","cleanText":"Correct answer is Paris","keyword":"QUIZ",
        "receivedAt":"2026-03-02T11:03:04.000+0000","smsCount":1,"price":{"pricePerMessage":0,"currency":"EUR"},
        "callbackData":"callbackData"}],"messageCount":1,"pendingMessageCount":0}"#;
    let headers = [("content-type", "application/json")];
    let reply = Reply { from: "21620000123".to_owned(), text: "QUIZ Correct answer is Paris".to_owned() };
    assert_eq!(read(&provider, ("POST", PUSH_URL), &headers, body, NOW), Ok(vec![Pushed::Reply(reply)]));
}
