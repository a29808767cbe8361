//! The simulated Twilio: documented requests and errors, signed receipts and replies, and what a script spoils.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;

use super::vendors::{Answered, Push, Receiver, basic, form, http, reply};
use super::*;

const SID: &str = "ACaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const MESSAGES: &str = "/twilio/2010-04-01/Accounts/ACaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/Messages.json";
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

async fn post(gateway: &Gateway, fields: &[(&str, &str)]) -> Answered {
    let authorization = basic(SID, "t0ken");
    http(gateway, "POST", MESSAGES, &[("authorization", &authorization), FORM], &form(fields)).await
}

async fn get(gateway: &Gateway, path: &str) -> Answered {
    http(gateway, "GET", path, &[("authorization", &basic(SID, "t0ken"))], "").await
}

const HELLO: [(&str, &str); 3] = [("To", "+21620000001"), ("From", "ECAR"), ("Body", "Hi there")];

async fn hello_to(gateway: &Gateway, callback: &str) -> Answered {
    let mut fields = HELLO.to_vec();
    fields.push(("StatusCallback", callback));
    post(gateway, &fields).await
}

/// Whether a push is signed with this token, computed here as Twilio's page describes it.
fn is_signed(push: &Push, url: &str, token: &str) -> bool {
    let fields: String = push.form().iter().map(|(name, value)| format!("{name}{value}")).collect();
    let mac = Hmac::<Sha1>::new_from_slice(token.as_bytes()).unwrap().chain_update(format!("{url}{fields}"));
    push.header("x-twilio-signature") == BASE64.encode(mac.finalize().into_bytes())
}

#[tokio::test]
async fn a_message_is_created_as_the_document_shows_and_stands_on_the_record() {
    let gateway = gateway("").await;
    let answer = post(&gateway, &HELLO).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    let body = answer.json();
    let sid = body["sid"].as_str().unwrap();
    assert!(sid.len() == 34 && sid.starts_with("SM") && sid[2..].bytes().all(|b| b.is_ascii_hexdigit()), "{sid}");
    for (key, value) in [
        ("status", json!("queued")),
        ("num_segments", json!("1")),
        ("error_code", Value::Null),
        ("price", Value::Null),
        ("direction", json!("outbound-api")),
        ("account_sid", json!(SID)),
        ("to", json!("+21620000001")),
        ("uri", json!(format!("/2010-04-01/Accounts/{SID}/Messages/{sid}.json"))),
    ] {
        assert_eq!(body[key], value, "{key}");
    }
    let (_, all) = call(&gateway, "GET", "/messages", "").await;
    assert_eq!(
        (&all[0]["phone"], &all[0]["message"], &all[0]["sender_id"]),
        (&json!("+21620000001"), &json!("Hi there"), &json!("ECAR"))
    );
    assert_eq!((&all[0]["answer"], &all[0]["accepted"], &all[0]["id"]), (&json!("201"), &json!(true), &json!(sid)));
    assert_eq!(all[0]["body"]["Body"], "Hi there");
    assert_eq!(gateway.stats().totals.taken, 1);
    let arabic = "مرحبا ".repeat(12);
    let body =
        post(&gateway, &[("To", "+21620000001"), ("MessagingServiceSid", "MG1"), ("Body", &arabic)]).await.json();
    assert_eq!(
        (&body["status"], &body["num_segments"], &body["from"]),
        (&json!("accepted"), &json!("0"), &Value::Null)
    );
    let body = post(&gateway, &[("To", "+21620000001"), ("From", "ECAR"), ("Body", &arabic)]).await.json();
    assert_eq!(body["num_segments"], "2");
}

#[tokio::test]
async fn what_twilio_refuses_has_its_code_and_reaches_nobody() {
    let gateway = gateway("").await;
    let long = "x".repeat(1_601);
    for (change, value, code) in [
        ("To", "", 21604),
        ("From", "", 21603),
        ("Body", "", 21602),
        ("Body", long.as_str(), 21617),
        ("To", "20000001", 21211),
        ("From", "Much too long a name", 21212),
        ("StatusCallback", "nowhere", 21609),
        ("ValidityPeriod", "36001", 21616),
        ("StatusCallBack", "http://127.0.0.1/", 20001),
    ] {
        let mut fields: Vec<_> = HELLO.into_iter().filter(|(name, _)| *name != change).collect();
        fields.push((change, value));
        let answer = post(&gateway, &fields).await;
        assert_eq!((answer.status, &answer.json()["code"]), (400, &json!(code)), "{change}: {}", answer.text);
        assert_eq!(answer.json()["status"], 400);
        assert!(answer.json()["more_info"].as_str().unwrap().ends_with(&code.to_string()));
    }
    let totals = gateway.stats().totals;
    assert_eq!((totals.received, totals.taken, totals.accepted), (9, 0, 0));
}

#[tokio::test]
async fn only_the_scripted_token_is_let_in_and_it_is_kept_nowhere() {
    let gateway = gateway("key = \"t0ken\"").await;
    assert_eq!(post(&gateway, &HELLO).await.status, 201);
    let with = |header: String| {
        let gateway = &gateway;
        async move { http(gateway, "POST", MESSAGES, &[("authorization", &header), FORM], &form(&HELLO)).await }
    };
    assert_eq!(with(basic("SK1", "t0ken")).await.status, 201);
    for wrong in [basic(SID, "other"), basic("ACother", "t0ken"), "Bearer t0ken".to_owned()] {
        let answer = with(wrong).await;
        assert_eq!((answer.status, &answer.json()["code"]), (401, &json!(20003)));
    }
    assert_eq!(gateway.received().iter().filter(|message| message.api_key_ok).count(), 2);
    assert!(!call(&gateway, "GET", "/messages", "").await.1.to_string().contains("t0ken"));
}

#[tokio::test]
async fn receipts_are_pushed_to_the_callback_signed_with_the_token() {
    let gateway = gateway("").await;
    let mut receiver = Receiver::start().await;
    let url = receiver.url("/twilio/status?msg=7&part=1");
    let sid = hello_to(&gateway, &url).await.json()["sid"].clone();
    for status in ["sent", "delivered"] {
        let push = receiver.next().await;
        assert!(is_signed(&push, &url, "t0ken") && !is_signed(&push, &url, "other"), "{}", push.body);
        let form = push.form();
        assert_eq!((push.method.as_str(), push.uri.to_string().as_str()), ("POST", "/twilio/status?msg=7&part=1"));
        assert_eq!((form["MessageStatus"].as_str(), json!(form["MessageSid"])), (status, sid.clone()));
        assert_eq!((form["AccountSid"].as_str(), form["To"].as_str()), (SID, "+21620000001"));
    }
}

#[tokio::test]
async fn the_script_decides_how_many_receipts_come_and_in_which_order() {
    let mut receiver = Receiver::start().await;
    let gateway = gateway("secret = \"s\"").await;
    for (script, expected) in [
        ("undelivered = 1.0\ncode = 30005", vec!["sent", "undelivered"]),
        ("disorder = 1.0", vec!["delivered", "sent"]),
        ("twice = 1.0\nintermediate = false", vec!["delivered", "delivered"]),
        ("forged = 1.0\nintermediate = false", vec!["undelivered", "delivered"]),
    ] {
        gateway.set_script(Script::parse(&format!("secret = \"s\"\n[receipts]\n{script}")).unwrap());
        let url = receiver.url("/x");
        hello_to(&gateway, &url).await;
        for (place, status) in expected.into_iter().enumerate() {
            let push = receiver.next().await;
            assert_eq!(push.form()["MessageStatus"], status, "{script}");
            let forged = script.starts_with("forged") && place == 0;
            assert_eq!(is_signed(&push, &url, "s"), !forged, "{script}");
            if status == "undelivered" && !forged {
                assert_eq!(push.form()["ErrorCode"], "30005");
            }
        }
        assert!(!receiver.has_some(), "{script}: one more");
    }
}

#[tokio::test]
async fn an_early_receipt_comes_before_the_answer_and_a_lost_one_never() {
    let mut receiver = Receiver::start().await;
    let gateway = gateway("[receipts]\nearly = 1.0\nafter = \"1h\"").await;
    hello_to(&gateway, &receiver.url("/x")).await;
    assert!(receiver.has_some());
    receiver.next().await;
    receiver.next().await;
    gateway.set_script(Script::parse("[receipts]\nearly = 1.0\nlost = 1.0").unwrap());
    hello_to(&gateway, &receiver.url("/lost")).await;
    gateway.set_script(Script::parse("").unwrap());
    hello_to(&gateway, &receiver.url("/after")).await;
    assert_eq!(receiver.next().await.uri.path(), "/after");
}

#[tokio::test]
async fn receipts_wait_as_long_as_the_script_says_and_the_state_with_them() {
    let receiver = Receiver::start().await;
    let gateway = gateway("[receipts]\nafter = \"1h\"").await;
    let sid = hello_to(&gateway, &receiver.url("/x")).await.json()["sid"].as_str().unwrap().to_owned();
    let path = MESSAGES.replace(".json", &format!("/{sid}.json"));
    assert_eq!(get(&gateway, &path).await.json()["status"], "sent");
    gateway.set_script(Script::parse("[receipts]\nundelivered = 1.0").unwrap());
    let sid = hello_to(&gateway, &receiver.url("/x")).await.json()["sid"].as_str().unwrap().to_owned();
    let body = get(&gateway, &MESSAGES.replace(".json", &format!("/{sid}.json"))).await.json();
    assert_eq!((&body["status"], &body["error_code"]), (&json!("undelivered"), &json!(30003)));
}

#[tokio::test]
async fn no_receipt_is_pushed_outside_unless_the_script_says_where() {
    let mut receiver = Receiver::start().await;
    let gateway = gateway("").await;
    hello_to(&gateway, "https://garage.example/twilio").await;
    // Reaches the receiver, though it is no address of this machine's: it would be seen.
    hello_to(&gateway, &receiver.url("/outside").replace("127.0.0.1", "0.0.0.0")).await;
    hello_to(&gateway, &receiver.url("/near")).await;
    assert_eq!(receiver.next().await.uri.path(), "/near");
    let via = format!("[receipts]\nintermediate = false\nvia = \"{}\"", receiver.url("/"));
    receiver.next().await;
    gateway.set_script(Script::parse(&via).unwrap());
    hello_to(&gateway, "https://garage.example/twilio?a=b").await;
    let push = receiver.next().await;
    assert_eq!(push.uri.to_string(), "/twilio?a=b");
    assert!(is_signed(&push, "https://garage.example/twilio?a=b", "t0ken"));
}

#[tokio::test]
async fn a_rule_names_an_error_of_twilios_and_nothing_is_taken() {
    let gateway = gateway("[[rule]]\nphone = \"+21620000001\"\ncode = 21610\n[[rule]]\ncode = 20429\nheaders = { \"Retry-After\" = \"2\" }").await;
    let answer = post(&gateway, &HELLO).await;
    assert_eq!((answer.status, &answer.json()["code"]), (400, &json!(21610)));
    let answer = post(&gateway, &[("To", "+21620000002"), ("From", "ECAR"), ("Body", "x")]).await;
    assert_eq!((answer.status, &answer.json()["code"]), (429, &json!(20429)));
    assert_eq!(answer.headers["retry-after"], "2");
    assert_eq!(send(&gateway, "+21620000001", "x").await.0, 400);
    assert_eq!((answers(&gateway), gateway.stats().totals.taken), (["400", "429", "400"].map(str::to_owned).into(), 0));
    gateway.set_script(Script::parse("[[rule]]\nstatus = 503").unwrap());
    let answer = post(&gateway, &HELLO).await;
    assert_eq!((answer.status, &answer.json()["code"]), (503, &json!(20503)));
}

#[tokio::test]
async fn a_message_whose_answer_is_lost_is_taken_listed_and_has_its_receipt() {
    let mut receiver = Receiver::start().await;
    let gateway = gateway("[[rule]]\ntimes = 1\nfault = \"truncated\"").await;
    let mut fields = HELLO.to_vec();
    let url = receiver.url("/x");
    fields.push(("StatusCallback", &url));
    let request = format!(
        "POST /vendor{MESSAGES} HTTP/1.1\r\nhost: x\r\nauthorization: {}\r\ncontent-type: {}\r\ncontent-length: {}\r\n\r\n{}",
        basic(SID, "t0ken"),
        FORM.1,
        form(&fields).len(),
        form(&fields)
    );
    assert!(raw(&gateway, request.as_bytes()).await.0.contains("content-length: 512"));
    let sid = receiver.next().await.form()["MessageSid"].clone();
    post(&gateway, &[("To", "+21620000002"), ("From", "ECAR"), ("Body", "y")]).await;
    let today = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
    for query in [
        format!("To=%2B21620000001&DateSent={today}"),
        format!("To=%2B21620000001&DateSent%3E={today}"),
        "To=%2B21620000001".to_owned(),
    ] {
        let page = get(&gateway, &format!("{MESSAGES}?{query}")).await.json();
        let listed = page["messages"].as_array().unwrap();
        assert_eq!(
            (listed.len(), &listed[0]["sid"], &listed[0]["body"]),
            (1, &json!(sid), &json!("Hi there")),
            "{page}"
        );
    }
    let none = get(&gateway, &format!("{MESSAGES}?DateSent%3C=2026-01-01")).await.json();
    assert_eq!((&none["messages"], &none["next_page_uri"]), (&json!([]), &Value::Null));
    let page = get(&gateway, &format!("{MESSAGES}?PageSize=1")).await.json();
    assert_eq!(
        (page["messages"].as_array().unwrap().len(), page["messages"][0]["to"].as_str()),
        (1, Some("+21620000002"))
    );
    let next = get(&gateway, &format!("/twilio{}", page["next_page_uri"].as_str().unwrap())).await.json();
    assert_eq!((&next["messages"][0]["sid"], &next["next_page_uri"]), (&json!(sid), &Value::Null));
    assert_eq!(get(&gateway, &format!("{MESSAGES}?DateSent=soon")).await.status, 400);
    assert_eq!(get(&gateway, &MESSAGES.replace(".json", "/SM0.json")).await.json()["code"], 20404);
    let balance = get(&gateway, &MESSAGES.replace("Messages", "Balance")).await.json();
    assert_eq!((&balance["balance"], &balance["account_sid"]), (&json!("100.00"), &json!(SID)));
}

#[tokio::test]
async fn a_customers_reply_is_pushed_to_the_account_that_sent_last() {
    let mut receiver = Receiver::answering(axum::http::StatusCode::OK).await;
    let url = receiver.url("/inbound");
    let gateway = gateway(&format!("push_url = \"{url}\"")).await;
    post(&gateway, &HELLO).await;
    receiver.next().await;
    receiver.next().await;
    let stop = json!({"provider": "twilio", "from": "+21620000001", "text": "STOP"});
    assert_eq!(reply(&gateway, &stop).await, (200, json!({"status": 200})));
    let push = receiver.next().await;
    assert!(is_signed(&push, &url, "t0ken"));
    let form = push.form();
    assert_eq!((form["Body"].as_str(), form["From"].as_str(), form["To"].as_str()), ("STOP", "+21620000001", "ECAR"));
    assert_eq!((form["AccountSid"].as_str(), form["SmsStatus"].as_str()), (SID, "received"));
}
