//! SMSGate by capcom6, by https://docs.sms-gate.app (webhooks, status tracking, message queue limits) and its OpenAPI description.

use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use sha2::Sha256;

use super::local::{Local, NOW, accepted, check_answers, inquiry, outgoing, provider, push, shown};
use crate::provider::generic::HttpProvider;
use crate::provider::inquiry::{Finding, TakenMessage};
use crate::provider::receipt::PushError;
use crate::provider::vendor::{Vendor, VendorConfig};

const PASSWORD: &str = "passw0rd-of-the-app";
const SIGNING_KEY: &str = "hVnT3k-signing";
const REFERENCE: &str = "ecar-123-1-69a56f00";

fn capcom6(url: &str) -> HttpProvider {
    provider(
        "capcom6",
        VendorConfig {
            account: Some("A1B2C3".into()),
            api_key: Some(PASSWORD.into()),
            base_url: Some(format!("{url}/3rdparty/v1")),
            push_token: Some("0123456789abcdef".into()),
            signature_secret: Some(SIGNING_KEY.into()),
            ..VendorConfig::default()
        },
    )
}

fn state(state: &str) -> String {
    format!(
        r#"{{"id":"{REFERENCE}","deviceId":"PyDmBQZZXYmyxMwED8Fzy","state":"{state}","isHashed":false,"isEncrypted":false,"recipients":[{{"phoneNumber":"+21620000123","state":"{state}","error":null}}],"states":{{}}}}"#
    )
}

#[tokio::test]
async fn a_message_carries_our_reference_as_its_id_and_a_time_to_live() {
    let local = Local::answering(202, &state("Pending")).await;
    let capcom6 = capcom6(&local.url);
    assert_eq!(capcom6.send(&outgoing("Votre \"Clio\" est prete")).await, accepted(REFERENCE));
    let asked = local.only();
    assert_eq!(asked.line, "POST /3rdparty/v1/messages");
    // base64 of "A1B2C3:passw0rd-of-the-app"
    assert_eq!(asked.header("authorization"), "Basic QTFCMkMzOnBhc3N3MHJkLW9mLXRoZS1hcHA=");
    assert_eq!(asked.header("content-type"), "application/json");
    assert_eq!(
        asked.body,
        concat!(
            r#"{"id":"ecar-123-1-69a56f00","textMessage":{"text":"Votre \"Clio\" est prete"},"phoneNumbers":["+21620000123"],"#,
            r#""ttl":43200,"withDeliveryReport":true}"#
        )
    );
    assert!(!capcom6.config().deduplicates, "an id is unique for each phone only");
}

#[test]
fn pushes_without_the_signing_key_are_refused_at_start_unless_they_are_not_signed() {
    let written = VendorConfig {
        account: Some("A1B2C3".into()),
        api_key: Some(PASSWORD.into()),
        push_token: Some("0123456789abcdef".into()),
        ..VendorConfig::default()
    };
    let configure = |written| Vendor::named("capcom6").unwrap().configure(written);
    let error = configure(written.clone()).err().unwrap();
    assert_eq!(error.key, "signature_secret");
    assert!(configure(VendorConfig { signed: Some(false), ..written.clone() }).is_ok());
    assert!(configure(VendorConfig { push_token: None, ..written }).is_ok());
}

#[tokio::test]
async fn every_documented_answer_has_its_outcome() {
    let pending = state("Pending");
    let full =
        r#"{"error":"QueueLimitExceeded","message":"queue limits exceeded: too many pending messages: 100 / 100"}"#;
    let old = r#"{"error":"QueueLimitExceeded","message":"queue limits exceeded: too old pending message: 2026-03-01T00:00:00Z"}"#;
    let failed = r#"{"message":"queue limits exceeded: too many failed messages"}"#;
    let encoded = "QTFCMkMzOnBhc3N3MHJkLW9mLXRoZS1hcHA=";
    check_answers(
        capcom6,
        &[PASSWORD, encoded],
        &[
            (202, &pending, "accepted"),
            (201, &pending, "accepted"),
            (202, "{}", "unknown"),
            (202, "<html>", "unknown"),
            (400, r#"{"message":"Invalid request"}"#, "rejected"),
            (400, r#"{"message":"failed to select device: record not found"}"#, "misconfigured"),
            (400, r#"{"message":"Can't select device: no devices registered"}"#, "misconfigured"),
            (401, r#"{"message":"Unauthorized"}"#, "misconfigured"),
            (403, r#"{"message":"Forbidden"}"#, "misconfigured"),
            (404, "", "misconfigured"),
            (409, r#"{"message":"Message with the same ID already exists"}"#, "unknown"),
            (422, "{}", "rejected"),
            (429, "", "throttled"),
            (500, r#"{"message":"failed to handle request"}"#, "unknown"),
            (503, full, "throttled"),
            (503, old, "temporary_failure"),
            (503, failed, "temporary_failure"),
            (503, "<html>503</html>", "unknown"),
            (502, "", "unknown"),
        ],
    )
    .await;
}

#[tokio::test]
async fn an_attempt_is_looked_up_by_our_reference() {
    let taken = Finding::Taken(vec![TakenMessage { provider_message_id: Some(REFERENCE.into()) }]);
    for (status, body, expected) in [
        (200, state("Sent"), Some(taken.clone())),
        (200, state("Failed"), Some(taken)),
        (404, r#"{"message":"message not found"}"#.to_owned(), Some(Finding::Absent)),
        // The app itself says nothing more, as a wrong address would.
        (404, String::new(), None),
        (500, r#"{"message":"failed to get message state"}"#.to_owned(), None),
        (401, "{}".to_owned(), None),
    ] {
        let local = Local::answering(status, &body).await;
        let finding = capcom6(&local.url).look_up(&inquiry()).await;
        match expected {
            Some(expected) => assert_eq!(finding, expected, "{status} {body}"),
            None => assert!(matches!(finding, Finding::Unclear { .. }), "{status} {body}: {finding:?}"),
        }
        let asked = local.only();
        assert_eq!(asked.line, format!("GET /3rdparty/v1/messages/{REFERENCE}"));
        assert_eq!(asked.header("authorization"), "Basic QTFCMkMzOnBhc3N3MHJkLW9mLXRoZS1hcHA=");
    }
}

#[tokio::test]
async fn the_state_is_asked_for_one_by_one_and_three_are_final() {
    for (word, expected) in [
        ("Pending", "pending"),
        ("Cancelling", "pending"),
        ("Cancelled", "undelivered"),
        ("Processed", "pending"),
        ("Sent", "pending"),
        ("Delivered", "delivered"),
        ("Failed", "undelivered"),
    ] {
        let body = state(word).replace("\"error\":null", "\"error\":\"RESULT_ERROR_GENERIC_FAILURE\"");
        let local = Local::answering(200, &body).await;
        let capcom6 = capcom6(&local.url);
        assert_eq!(capcom6.poll_batch(), Some(1));
        let receipts = capcom6.ask_receipts(&[REFERENCE]).await.unwrap();
        let [receipt] = &receipts[..] else { panic!("{receipts:?}") };
        assert_eq!((receipt.provider_message_id.as_str(), receipt.status.as_str()), (REFERENCE, expected));
        assert_eq!(receipt.words, format!("{word} RESULT_ERROR_GENERIC_FAILURE"));
        assert_eq!(local.only().line, format!("GET /3rdparty/v1/messages/{REFERENCE}"));
    }
}

/// The headers of a webhook, signed now.
fn signed(key: &str, body: &str, time: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
    mac.update(format!("{body}{time}").as_bytes());
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn event(event: &str, payload: &str) -> String {
    format!(
        r#"{{"deviceId":"ffffffffceb0b1db0000018e937c815b","event":"{event}","id":"Ey6ECgOkVVFjz3CL48B8C","payload":{{{payload}}},"webhookId":"w1"}}"#
    )
}

fn now(later_by_seconds: i64) -> String {
    (NOW.parse::<Timestamp>().unwrap().as_second() + later_by_seconds).to_string()
}

fn read(body: &str) -> Vec<String> {
    let time = now(-3);
    let signature = signed(SIGNING_KEY, body, &time);
    let headers = [("x-signature", signature.as_str()), ("x-timestamp", &time), ("content-type", "application/json")];
    shown(&push(&capcom6("http://127.0.0.1:1"), &headers, body).unwrap())
}

#[test]
fn receipts_are_told_from_replies_by_their_event() {
    let to = r#""phoneNumber":"+21620000123","simNumber":null"#;
    let of = format!(r#""messageId":"{REFERENCE}",{to}"#);
    assert_eq!(
        read(&event("sms:delivered", &format!(r#"{of},"deliveredAt":"2026-03-02T11:59:58.000+01:00""#))),
        [format!("{REFERENCE}|{REFERENCE}|delivered|sms:delivered|2026-03-02T10:59:58Z")]
    );
    assert_eq!(
        read(&event("sms:sent", &format!(r#"{of},"sentAt":"2026-03-02T10:59:50Z""#))),
        [format!("{REFERENCE}|{REFERENCE}|pending|sms:sent|2026-03-02T10:59:50Z")]
    );
    assert_eq!(
        read(&event("sms:failed", &format!(r#"{of},"failedAt":"2026-03-02T10:59:50Z","reason":"Invalid number""#))),
        [format!("{REFERENCE}|{REFERENCE}|undelivered|sms:failed Invalid number|2026-03-02T10:59:50Z")]
    );
    assert_eq!(
        read(&event("sms:cancelled", &format!(r#"{of},"cancelledAt":"2026-03-02T10:59:50Z""#))),
        [format!("{REFERENCE}|{REFERENCE}|undelivered|sms:cancelled|2026-03-02T10:59:50Z")]
    );
    let received = r#""messageId":"abc123","message":"STOP","receivedAt":"2026-03-02T10:59:50Z","#;
    assert_eq!(read(&event("sms:received", &format!("{received}{to}"))), ["+21620000123: STOP"]);
    let newer = format!(r#"{received}"phoneNumber":"20000123","sender":"+21620000123","recipient":null"#);
    assert_eq!(read(&event("sms:received", &newer)), ["+21620000123: STOP"]);
    for other in
        ["system:ping", "app:started", "mms:received", "mms:downloaded", "sms:data-received", "sms:batch:received"]
    {
        let payload = format!(r#"{of},"message":"x","deliveredAt":"2026-03-02T10:59:50Z""#);
        assert!(read(&event(other, &payload)).is_empty(), "{other}");
    }
}

#[test]
fn only_a_good_and_fresh_signature_is_believed() {
    let capcom6 = capcom6("http://127.0.0.1:1");
    let body = event("sms:delivered", &format!(r#""messageId":"{REFERENCE}""#));
    let (fresh, old, future) = (now(-299), now(-301), now(301));
    let good = signed(SIGNING_KEY, &body, &fresh);
    let with = |signature: &str, time: &str| {
        push(&capcom6, &[("x-signature", signature), ("x-timestamp", time)], &body).map(|pushed| pushed.len())
    };
    assert_eq!(with(&good, &fresh), Ok(1));
    assert_eq!(with(&good.to_uppercase(), &fresh), Ok(1));
    let forged = |why| Err(PushError::Forged(why));
    assert_eq!(with(&signed(PASSWORD, &body, &fresh), &fresh), forged("wrong"));
    assert_eq!(with(&signed(SIGNING_KEY, &body, &fresh), &now(-298)), forged("wrong"));
    assert_eq!(with(&signed(SIGNING_KEY, &format!("{body} "), &fresh), &fresh), forged("wrong"));
    assert_eq!(with("", &fresh), forged("wrong"));
    assert_eq!(with(&signed(SIGNING_KEY, &body, &old), &old), forged("too old"));
    assert_eq!(with(&signed(SIGNING_KEY, &body, &future), &future), forged("too old"));
    assert_eq!(push(&capcom6, &[("x-timestamp", &fresh)], &body), Err(PushError::Forged("missing")));
    assert_eq!(push(&capcom6, &[("x-signature", &good)], &body), Err(PushError::Forged("without its time")));
    assert_eq!(with(&signed(SIGNING_KEY, &body, "soon"), "soon"), forged("without a time that can be read"));
}
