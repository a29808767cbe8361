//! The answers, errors and pushes that the vendors' OpenAPI documents give as examples, and what each must lead to. Word for word, but for the phone numbers
//! and for fields of ours that no rule looks at.
//!
//! Twilio's document has no example of an error, Infobip's none of a balance, and SMSGate's has them field by field; what L2T, WinSMS and Orange show in their
//! pages (they publish no such document) stands in their own tests.

use secrecy::SecretString;

use super::super::{Vendor, VendorConfig};
use super::support::{Gateway, KEY, PUSH_URL, inquiry, made, outgoing, pushing, read};
use crate::message::encoding::Encoding;
use crate::provider::generic::HttpProvider;
use crate::provider::inquiry::{Finding, TakenMessage};
use crate::provider::receipt::{Pushed, Receipt};

/// When the pushes here come.
const NOW: &str = "2020-01-01T12:00:00Z";
const JSON: (&str, &str) = ("content-type", "application/json");

/// A documented answer to a message: status, body, the word of its outcome, and the id and segments of an accepted one.
type Sent = (u16, &'static str, &'static str, Option<(&'static str, Option<u32>)>);

fn provider(vendor: &str, account: Option<&str>, gateway: &Gateway, pushed: bool) -> HttpProvider {
    let written = VendorConfig {
        account: account.map(str::to_owned),
        api_key: Some(SecretString::from(KEY)),
        base_url: Some(gateway.url.clone()),
        push_token: pushed.then(|| SecretString::from("0123456789abcdef")),
        // The examples are not signed.
        signed: pushed.then_some(false).filter(|_| vendor == "vonage"),
        ..VendorConfig::default()
    };
    let config = Vendor::named(vendor).unwrap().configure(written).unwrap();
    if pushed { pushing(vendor, config) } else { made(vendor, config) }
}

async fn sends(gateway: &Gateway, provider: &HttpProvider, cases: &[Sent]) {
    for (status, body, word, accepted) in cases {
        gateway.answers(*status, body);
        let outcome = provider.send(&outgoing("Bonjour", Encoding::Gsm7)).await;
        gateway.only_request();
        assert_eq!(outcome.word(), *word, "{status} {body}: {outcome:?}");
        let crate::message::outcome::Outcome::Accepted { provider_message_id, segments } = outcome else {
            assert_eq!(*accepted, None, "{status} {body}");
            continue;
        };
        assert_eq!(provider_message_id.as_deref().map(|id| (id, segments)), *accepted, "{body}");
    }
}

/// What the balance is read as, with each refusal of its own.
async fn balances(gateway: &Gateway, provider: &HttpProvider, cases: &[(u16, &str, Option<f64>)]) {
    for (status, body, expected) in cases {
        gateway.answers(*status, body);
        assert_eq!(provider.ask_balance().await.ok(), *expected, "{status} {body}");
        gateway.only_request();
    }
}

fn told(receipts: &[Receipt]) -> Vec<(&str, &str, &str, Option<String>)> {
    let told = |it: &Receipt| it.at.map(|at| at.to_string());
    receipts.iter().map(|it| (&*it.provider_message_id, it.status.as_str(), &*it.words, told(it))).collect()
}

fn receipts(pushed: Vec<Pushed>) -> Vec<Receipt> {
    let receipt = |it| if let Pushed::Receipt(receipt) = it { Some(receipt) } else { None };
    pushed.into_iter().filter_map(receipt).collect()
}

fn taken(id: &str) -> Finding {
    Finding::Taken(vec![TakenMessage { provider_message_id: Some(id.to_owned()) }])
}

const TWILIO_FETCHED: &str = r#"{"account_sid": "ACaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "api_version": "2010-04-01", "body": "testing",
    "date_created": "Fri, 24 May 2019 17:18:27 +0000", "date_sent": "Fri, 24 May 2019 17:18:28 +0000",
    "date_updated": "Fri, 24 May 2019 17:18:28 +0000", "direction": "outbound-api", "error_code": 30007,
    "error_message": "Carrier violation", "from": "+21620000999", "messaging_service_sid": "MGaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "num_media": "0", "num_segments": "1", "price": "-0.00750", "price_unit": "USD", "sid": "SMb7c0a2ce80504485a6f653a7110836f5",
    "status": "sent", "to": "+21620000123"}"#;

const TWILIO_PAGE: &str = r#"{"end": 1, "next_page_uri": "/2010-04-01/Accounts/ACaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/Messages.json?To=%2B21620000123&PageSize=2&Page=1&PageToken=PAMMc26223853f8c46b4ab7dfaa6abba0a26",
    "page": 0, "page_size": 2, "previous_page_uri": null, "messages": [
    {"account_sid": "ACaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "body": "testing", "date_sent": "Fri, 24 May 2019 17:44:50 +0000",
     "direction": "outbound-api", "error_code": null, "num_segments": "1", "sid": "SMded05904ccb347238880ca9264e8fe1c", "status": "sent"},
    {"account_sid": "ACaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "body": "look mom I have media!", "date_sent": "Fri, 24 May 2019 17:44:49 +0000",
     "direction": "inbound", "error_code": 30004, "num_segments": "1", "sid": "MMc26223853f8c46b4ab7dfaa6abba0a26", "status": "received"}], "start": 0}"#;

#[tokio::test]
async fn twilios_examples_lead_to_what_they_say() {
    let gateway = Gateway::start().await;
    let twilio = provider("twilio", Some("ACaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), &gateway, false);
    let sid = "SMaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    sends(
        &gateway,
        &twilio,
        &[
            (
                201,
                r#"{"account_sid": "ACaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "api_version": "2010-04-01", "body": "Hello! 👍",
                "date_created": "Thu, 24 Aug 2023 05:01:45 +0000", "date_sent": "Thu, 24 Aug 2023 05:01:45 +0000",
                "direction": "outbound-api", "error_code": null, "error_message": null, "from": "+21620000999", "num_media": "0",
                "num_segments": "1", "price": null, "price_unit": null, "messaging_service_sid": "MGaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                "sid": "SMaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "status": "queued", "to": "+21620000123"}"#,
                "accepted",
                Some((sid, Some(1))),
            ),
            // createScheduledMessageSms: no sender and no segment yet.
            (
                201,
                r#"{"account_sid": "ACaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "body": "Hello! 👍", "date_sent": null, "direction": "outbound-api",
                "error_code": null, "from": null, "messaging_service_sid": "MGaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "num_segments": "0",
                "sid": "SMaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "status": "queued", "to": "+21620000123"}"#,
                "accepted",
                Some((sid, None)),
            ),
        ],
    )
    .await;
    gateway.answers(200, TWILIO_FETCHED);
    let asked = twilio.ask_receipts(&["SMb7c0a2ce80504485a6f653a7110836f5"]).await.unwrap();
    gateway.only_request();
    let at = Some("2019-05-24T17:18:28Z".to_owned());
    // Sent is not the end, whatever the code says.
    assert_eq!(told(&asked), [("SMb7c0a2ce80504485a6f653a7110836f5", "pending", "sent 30007", at)]);
    let (before, link) = TWILIO_PAGE.split_once("\"/2010").unwrap();
    let last_page = format!("{before}null{}", link.split_once('"').unwrap().1);
    for (text, body, expected) in [
        // Others with this text may be on the next page.
        ("testing", TWILIO_PAGE, None),
        ("Bonjour", TWILIO_PAGE, None),
        ("testing", &last_page, Some(taken("SMded05904ccb347238880ca9264e8fe1c"))),
        ("Bonjour", &last_page, Some(Finding::Absent)),
        (
            "Bonjour",
            r#"{"end": 0, "next_page_uri": null, "page": 0, "page_size": 25, "previous_page_uri": null, "messages": [], "start": 0}"#,
            Some(Finding::Absent),
        ),
    ] {
        gateway.answers(200, body);
        let finding = twilio.look_up(&inquiry(text)).await;
        gateway.only_request();
        match expected {
            Some(expected) => assert_eq!(finding, expected, "{text} {body}"),
            None => assert!(matches!(finding, Finding::Unclear { .. }), "{text} {body}: {finding:?}"),
        }
    }
    let balance = r#"{"account_sid": "ACaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "balance": "0.05", "currency": "USD"}"#;
    balances(&gateway, &twilio, &[(200, balance, Some(0.05))]).await;
}

const VONAGE_401: &str = r#"{"type":"https://developer.vonage.com/api-errors/#unathorized","title":"You did not provide correct credentials.",
    "detail":"Check that you're using the correct credentials, and that your account has this feature enabled","instance":"bf0ca0bf927b3b52e3cb03217e1a1ddf"}"#;
const VONAGE_ERROR: &str = r#"{"type":"https://developer.vonage.com/api-errors","title":"An error occurred","detail":"More details about what went wrong",
    "instance":"bf0ca0bf927b3b52e3cb03217e1a1ddf"}"#;

#[tokio::test]
async fn vonages_examples_lead_to_what_they_say() {
    let gateway = Gateway::start().await;
    let vonage = provider("vonage", Some("abcd1234"), &gateway, false);
    sends(
        &gateway,
        &vonage,
        &[
            (
                200,
                r#"{"message-count":"1","messages":[{"to":"21620000123","message-id":"aaaaaaaa-bbbb-cccc-dddd-0123456789ab","status":"0",
                "remaining-balance":"3.14159265","message-price":"0.03330000","network":"12345","client-ref":"my-personal-reference",
                "account-ref":"customer1234"}]}"#,
                "accepted",
                Some(("aaaaaaaa-bbbb-cccc-dddd-0123456789ab", Some(1))),
            ),
            (
                200,
                r#"{"message-count":"1","messages":[{"status":"2","error-text":"Missing to param"}]}"#,
                "misconfigured",
                None,
            ),
            (401, VONAGE_401, "misconfigured", None),
            (429, VONAGE_ERROR, "throttled", None),
            (500, VONAGE_ERROR, "unknown", None),
        ],
    )
    .await;
    let told_of = [
        (200, r#"{"value":10.28,"autoReload":false}"#, Some(10.28)),
        (401, VONAGE_401, None),
        (429, VONAGE_ERROR, None),
        (500, VONAGE_ERROR, None),
    ];
    balances(&gateway, &vonage, &told_of).await;

    let vonage = provider("vonage", Some("abcd1234"), &gateway, true);
    let receipt = r#"{"msisdn":"21620000123","to":"AcmeInc","network-code":"12345","messageId":"0A0000001234567B","price":"0.03330000",
        "status":"delivered","scts":"2001011400","err-code":"0","api-key":"abcd1234","message-timestamp":"2020-01-01 12:00:00",
        "client-ref":"my-personal-reference"}"#;
    let pushed = receipts(read(&vonage, ("POST", PUSH_URL), &[JSON], receipt, NOW).unwrap());
    assert_eq!(told(&pushed), [("0A0000001234567B", "delivered", "delivered 0", None)]);
    assert_eq!(pushed[0].reference.as_deref(), Some("my-personal-reference"));
    let inbound = r#"{"api-key":"abcd1234","msisdn":"21620000124","to":"21620000123","messageId":"aaaaaaaa-bbbb-cccc-dddd-0123456789ab",
        "text":"Hello world","type":"text","keyword":"HELLO","message-timestamp":"2020-01-01 12:00:00","timestamp":"1578787200",
        "nonce":"aaaaaaaa-bbbb-cccc-dddd-0123456789ab","concat":"true","concat-ref":"1","concat-total":"3","concat-part":"2"}"#;
    let pushed = read(&vonage, ("POST", PUSH_URL), &[JSON], inbound, NOW).unwrap();
    assert!(matches!(&pushed[..], [Pushed::Reply(it)] if it.from == "21620000124" && it.text == "Hello world"));
}

const INFOBIP_REPORT: &str = r#"{"results":[
    {"bulkId":"BULK-ID-123-xyz","price":{"pricePerMessage":0.01,"currency":"EUR"},"status":{"groupId":3,"groupName":"DELIVERED","id":5,
     "name":"DELIVERED_TO_HANDSET","description":"Message delivered to handset"},"error":{"groupId":0,"groupName":"OK","id":0,"name":"NO_ERROR",
     "description":"No Error","permanent":false},"messageId":"MESSAGE-ID-123-xyz","to":"21620000123","sender":"InfoSMS",
     "sentAt":"2019-11-09T16:00:00.000+0100","doneAt":"2019-11-09T16:00:00.000+0100","messageCount":1,"callbackData":"callbackData",
     "platform":{"entityId":"promotional-traffic-entity","applicationId":"marketing-automation-application"}},
    {"bulkId":"BULK-ID-123-xyz","price":{"pricePerMessage":0.01,"currency":"EUR"},"status":{"groupId":3,"groupName":"DELIVERED","id":5,
     "name":"DELIVERED_TO_HANDSET","description":"Message delivered to handset"},"error":{"groupId":0,"groupName":"OK","id":0,"name":"NO_ERROR",
     "description":"No Error","permanent":false},"messageId":"12db39c3-7822-4e72-a3ec-c87442c0ffc5","to":"21620000124","sender":"InfoSMS",
     "sentAt":"2019-11-09T17:00:00.000+0100","doneAt":"2019-11-09T17:00:00.000+0100","messageCount":1,
     "platform":{"entityId":"promotional-traffic-entity","applicationId":"marketing-automation-application"}}]}"#;

#[tokio::test]
async fn infobips_examples_lead_to_what_they_say() {
    let gateway = Gateway::start().await;
    let infobip = provider("infobip", None, &gateway, false);
    sends(
        &gateway,
        &infobip,
        &[
            (
                200,
                r#"{"bulkId":"2034072219640523072","messages":[{"messageId":"2250be2d4219-3af1-78856-aabe-1362af1edfd2","status":{"groupId":1,
                "groupName":"PENDING","id":26,"name":"PENDING_ACCEPTED","description":"Message sent to next instance"},
                "destination":"21620000123","details":{"messageCount":1}}]}"#,
                "accepted",
                Some(("2250be2d4219-3af1-78856-aabe-1362af1edfd2", Some(1))),
            ),
            (
                400,
                r#"{"errorCode":"E400","description":"Request cannot be processed.","action":"Check the syntax, violations and adjust the request.",
                "violations":[{"property":"property.path","violation":"Violation message."}],"resources":[]}"#,
                "rejected",
                None,
            ),
            (
                401,
                r#"{"errorCode":"E401","description":"The request lacks valid authentication credentials for the requested resource.",
                "action":"Check the resources and adjust authentication credentials.","violations":[],"resources":[{"name":"API Authentication",
                "url":"https://www.infobip.com/docs/essentials/api-authentication"}]}"#,
                "misconfigured",
                None,
            ),
            (
                403,
                r#"{"errorCode":"E403","description":"Insufficient permissions to access the requested resource.",
                "action":"Repeat the request with new or different credentials.","violations":[],"resources":[{"name":"API Scopes",
                "url":"https://www.infobip.com/docs/essentials/api-essentials/api-authorization#api-scopes"}]}"#,
                "misconfigured",
                None,
            ),
            (
                500,
                r#"{"errorCode":"E500","description":"Something went wrong.","action":"Contact the support.","violations":[],"resources":[]}"#,
                "unknown",
                None,
            ),
        ],
    )
    .await;
    // The logs have the fields of a report, and the text beside them.
    let both = [
        ("MESSAGE-ID-123-xyz", "delivered", "DELIVERED_TO_HANDSET NO_ERROR", Some("2019-11-09T15:00:00Z".to_owned())),
        (
            "12db39c3-7822-4e72-a3ec-c87442c0ffc5",
            "delivered",
            "DELIVERED_TO_HANDSET NO_ERROR",
            Some("2019-11-09T16:00:00Z".to_owned()),
        ),
    ];
    gateway.answers(200, INFOBIP_REPORT);
    let asked = infobip.ask_receipts(&["MESSAGE-ID-123-xyz", "12db39c3-7822-4e72-a3ec-c87442c0ffc5"]).await.unwrap();
    gateway.only_request();
    assert_eq!(told(&asked), both);
    let refusals = [
        r#"{"requestError":{"serviceException":{"messageId":"UNAUTHORIZED","text":"Unauthorized"}}}"#,
        r#"{"requestError":{"serviceException":{"messageId":"FORBIDDEN","text":"Forbidden"}}}"#,
        r#"{"requestError":{"serviceException":{"messageId":"GENERAL_ERROR","text":"Something went wrong. Please contact support."}}}"#,
    ];
    let told_of = [(401, refusals[0], None), (403, refusals[1], None), (500, refusals[2], None)];
    balances(&gateway, &infobip, &told_of).await;

    let infobip = provider("infobip", None, &gateway, true);
    let pushed = receipts(read(&infobip, ("POST", PUSH_URL), &[JSON], INFOBIP_REPORT, NOW).unwrap());
    assert_eq!(told(&pushed), both);
}

const CAPCOM6_STATE: &str = r#"{"deviceId":"PyDmBQZZXYmyxMwED8Fzy","hashedMessage":{"hash":"1d4b6e3b1b6e3b1b6e3b1b6e3b1b6e3b1b6e3b1b"},
    "id":"PyDmBQZZXYmyxMwED8Fzy","isEncrypted":false,"isHashed":false,"recipients":[{"error":"timeout","phoneNumber":"21620000123",
    "state":"Pending"}],"state":"Pending","states":{},"textMessage":{"text":"Hello World!"},"createdAt":"2020-01-01T00:00:00Z"}"#;

#[tokio::test]
async fn smsgates_examples_lead_to_what_they_say() {
    const ERROR: &str = r#"{"code":0,"data":{},"message":"An error occurred"}"#;
    let gateway = Gateway::start().await;
    let capcom6 = provider("capcom6", Some("A1B2C3"), &gateway, false);
    sends(
        &gateway,
        &capcom6,
        &[
            (202, CAPCOM6_STATE, "accepted", Some(("PyDmBQZZXYmyxMwED8Fzy", None))),
            (400, ERROR, "rejected", None),
            (401, ERROR, "misconfigured", None),
            (403, ERROR, "misconfigured", None),
            (409, r#"{"message":"Message with such ID already exists"}"#, "unknown", None),
            (500, ERROR, "unknown", None),
            (503, r#"{"message":"Queue limits exceeded; ensure device is online"}"#, "temporary_failure", None),
            // A proxy before it may say as much, after it has passed the message on.
            (503, ERROR, "unknown", None),
        ],
    )
    .await;
    gateway.answers(200, CAPCOM6_STATE);
    assert_eq!(capcom6.look_up(&inquiry("Hello World!")).await, taken("PyDmBQZZXYmyxMwED8Fzy"));
    gateway.only_request();
    gateway.answers(200, CAPCOM6_STATE);
    let asked = capcom6.ask_receipts(&["PyDmBQZZXYmyxMwED8Fzy"]).await.unwrap();
    assert_eq!(told(&asked), [("PyDmBQZZXYmyxMwED8Fzy", "pending", "Pending timeout", None)]);
}
