//! The simulated vendors: what all of them have in common, and the helpers of their tests.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use proptest::prelude::*;
use sha2::Sha256;
use tokio::sync::mpsc;

use super::*;
use crate::gateway::dialect::call::Call;
use crate::gateway::dialect::vendor::Vendor;

/// What a receiver was pushed.
pub(super) struct Push {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl Push {
    pub(super) fn form(&self) -> BTreeMap<String, String> {
        url::form_urlencoded::parse(self.body.as_bytes()).into_owned().collect()
    }

    pub(super) fn query(&self) -> BTreeMap<String, String> {
        url::form_urlencoded::parse(self.uri.query().unwrap_or_default().as_bytes()).into_owned().collect()
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name}")).to_str().unwrap()
    }
}

/// A program that vendors push to.
pub(super) struct Receiver {
    addr: SocketAddr,
    pushes: mpsc::UnboundedReceiver<Push>,
}

impl Receiver {
    pub(super) async fn start() -> Receiver {
        Receiver::answering(StatusCode::NO_CONTENT).await
    }

    pub(super) async fn answering(status: StatusCode) -> Receiver {
        let (sender, pushes) = mpsc::unbounded_channel();
        let take = async move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| {
            let body = String::from_utf8(body.to_vec()).unwrap();
            let _ = sender.send(Push { method, uri, headers, body });
            status
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(take)).await });
        Receiver { addr, pushes }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    pub(super) async fn next(&mut self) -> Push {
        timeout(DEADLINE, self.pushes.recv()).await.expect("nothing was pushed").unwrap()
    }

    /// Whether something was pushed already.
    pub(super) fn has_some(&mut self) -> bool {
        !self.pushes.is_empty()
    }
}

/// An answer of a vendor.
pub(super) struct Answered {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

impl Answered {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {}", self.text))
    }
}

/// A request to `/vendor/...`.
pub(super) async fn http(
    gateway: &Gateway,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answered {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().timeout(DEADLINE).build().unwrap();
    let url = format!("http://{}/vendor{path}", gateway.addr());
    let mut request = client.request(method.parse().unwrap(), url).body(body.to_owned());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Answered { status, headers, text: response.text().await.unwrap() }
}

pub(super) fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64.encode(format!("{user}:{password}")))
}

pub(super) fn form(fields: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

/// HMAC-SHA256 in lower-case hexadecimal.
pub(super) fn hmac_hex(secret: &str, text: &str) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap().chain_update(text).finalize();
    mac.into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Makes a customer answer; status and answer of the gateway.
pub(super) async fn reply(gateway: &Gateway, reply: &Value) -> (u16, Value) {
    call(gateway, "POST", "/replies", &reply.to_string()).await
}

#[tokio::test]
async fn what_no_vendor_has_is_not_found_in_the_vendors_shape() {
    let gateway = gateway("").await;
    for (path, key) in [
        ("/twilio/2010-04-01/Accounts/AC1/Calls.json", "code"),
        ("/infobip/sms/2/text/advanced", "errorCode"),
        ("/orange/smsmessaging/v1/inbound", "description"),
        ("/l2t/other", "success"),
        ("/capcom6/devices", "message"),
        ("/nobody/x", "error"),
    ] {
        let answer = http(&gateway, "POST", path, &[], "{}").await;
        assert!(answer.status == 404 && !answer.json()[key].is_null(), "{path}: {} {}", answer.status, answer.text);
    }
    let answer = http(&gateway, "PUT", "/twilio/2010-04-01/Accounts/AC1/Messages.json", &[], "").await;
    assert_eq!(answer.status, 405);
    assert_eq!(gateway.count(), 0);
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_and_counted() {
    let gateway = gateway("").await;
    let answer = http(&gateway, "POST", "/infobip/sms/3/messages", &[], &" ".repeat(MAX_BODY + 1)).await;
    assert_eq!((answer.status, gateway.count()), (413, 0));
    assert_eq!(gateway.stats().totals.answers.values().sum::<u64>(), 1);
}

/// One MiB.
const MAX_BODY: usize = 1 << 20;

#[tokio::test]
async fn a_reply_that_cannot_be_pushed_is_refused_with_a_sentence() {
    let gateway = gateway("push_url = \"http://127.0.0.1:1/nobody\"").await;
    let good = json!({"provider": "twilio", "from": "+21620000001", "text": "STOP"});
    for (change, value, status) in [
        ("provider", json!("nobody"), 400),
        ("from", json!("20000001"), 400),
        ("text", json!(7), 400),
        ("text", json!("x".repeat(1_601)), 400),
        ("url", json!("https://example.org/"), 400),
        ("surprise", json!(1), 400),
        ("provider", json!("l2t"), 501),
        ("text", json!("STOP"), 502),
    ] {
        let mut reply = good.clone();
        reply[change] = value;
        let (answered, sentence) = super::vendors::reply(&gateway, &reply).await;
        assert!(answered == status && sentence["error"].is_string(), "{reply}: {answered} {sentence}");
    }
    assert_eq!(call(&gateway, "GET", "/replies", "").await.0, 405);
    gateway.set_script(Script::parse("").unwrap());
    assert_eq!(reply(&gateway, &good).await.0, 409);
}

#[tokio::test]
async fn faults_befall_vendors_as_they_befall_the_generic_protocol() {
    let gateway = gateway("").await;
    let path = "/vendor/l2t/Api/Api.aspx?fct=sms&key=k&mobile=21620000001&sms=x&sender=E";
    for (word, taken) in [
        ("reset_after_read", 1),
        ("close_after_read", 1),
        ("garbage", 1),
        ("no_json", 1),
        ("redirect", 0),
        ("reset_before_read", 0),
    ] {
        gateway.clear();
        gateway.set_script(Script::parse(&fault(word)).unwrap());
        let (seen, _) = raw(&gateway, &request("GET", path, "")).await;
        assert!(!seen.contains("status_code"), "{word}: {seen}");
        let totals = gateway.stats().totals;
        assert_eq!((totals.taken, totals.accepted), (taken, 0), "{word}");
        assert_eq!(totals.answers.keys().map(ToString::to_string).collect::<Vec<_>>(), [word]);
        assert_eq!(gateway.count(), usize::from(word != "reset_before_read"), "{word}");
    }
}

#[tokio::test]
async fn the_dice_answer_in_the_vendors_shape_and_what_they_take_has_its_receipt() {
    let mut receiver = Receiver::start().await;
    let script = format!("error_rate = 1.0\nerror_takes = true\npush_url = \"{}\"", receiver.url("/r"));
    let gateway = gateway(&script).await;
    let body = json!({"messages": [{"destinations": [{"to": "21620000001"}], "content": {"text": "x"}}]}).to_string();
    let answer = http(&gateway, "POST", "/infobip/sms/3/messages", &[("authorization", "App k")], &body).await;
    assert_eq!((answer.status, &answer.json()["errorCode"]), (503, &json!("E503")));
    let report = receiver.next().await.json()["results"][0].clone();
    assert_eq!((&report["to"], &report["status"]["name"]), (&json!("21620000001"), &json!("DELIVERED_TO_HANDSET")));
    assert_eq!((gateway.stats().totals.taken, gateway.stats().totals.accepted), (1, 0));
}

/// Requests that reach every branch of every dialect, to be spoilt.
const SEEDS: [(&str, &str, &str, &str); 9] = [
    ("POST", "/vendor/twilio/2010-04-01/Accounts/AC1/Messages.json", "", "To=%2B21620000001&From=ECAR&Body=x"),
    (
        "GET",
        "/vendor/twilio/2010-04-01/Accounts/AC1/Messages.json",
        "DateSent%3E=2026-03-02&To=%2B21620000001&Page=2",
        "",
    ),
    ("POST", "/vendor/vonage/sms/json", "", "api_key=k&api_secret=s&to=21620000001&from=ECAR&text=x&ttl=20000"),
    (
        "POST",
        "/vendor/infobip/sms/3/messages",
        "",
        r#"{"messages":[{"sender":"E","destinations":[{"to":"21620000001"}],"content":{"text":"x"}}]}"#,
    ),
    ("GET", "/vendor/infobip/sms/3/logs", "sentSince=2026-03-02T11:03:04.000%2B0000&limit=2&to=21620000001", ""),
    (
        "POST",
        "/vendor/orange/smsmessaging/v1/outbound/tel%3A%2B21620000000/requests",
        "",
        r#"{"outboundSMSMessageRequest":{"address":"tel:+21620000001","outboundSMSTextMessage":{"message":"x"}}}"#,
    ),
    (
        "GET",
        "/vendor/l2t/api/v1/sms",
        "fct=sms&key=k&mobile=21620000001&sms=x&sender=E&date=01/02/2026&heure=08:30",
        "",
    ),
    ("GET", "/vendor/winsms/sms/sms/api", "action=send-sms&api_key=k&to=21620000001&from=E&sms=x&unicode=1", ""),
    ("POST", "/vendor/capcom6/messages", "", r#"{"textMessage":{"text":"x"},"phoneNumbers":["+21620000001"],"ttl":9}"#),
];

proptest! {
    #[test]
    fn no_request_upsets_a_vendor_and_none_is_taken_without_an_answer(
        seed in prop::sample::select(&SEEDS[..]),
        at in any::<prop::sample::Index>(),
        put in prop_oneof!["[a-zA-Z0-9+%&=;:/,.\"\\[\\]{}-]{0,9}", "\\PC{0,3}"],
        credentials in prop::sample::select(&["Basic QUMxOnM=", "App k", "Bearer x", "Basic %", ""][..]),
        in_body in any::<bool>(),
    ) {
        let (method, path, query, body) = seed;
        let spoil = |text: &str| {
            let at = at.index(text.len() + 1);
            format!("{}{put}{}", &text[..at], &text[at..])
        };
        let (query, body) = if in_body { (query.to_owned(), spoil(body)) } else { (spoil(query), body.to_owned()) };
        let Ok(uri) = format!("{path}?{query}").parse::<Uri>() else { return Ok(()) };
        let mut headers = HeaderMap::new();
        let kind = if body.starts_with('{') { "application/json" } else { "application/x-www-form-urlencoded" };
        headers.insert("content-type", kind.parse().unwrap());
        headers.insert("authorization", credentials.parse().unwrap());
        let (vendor, prefix) = dialect::mounted(path).unwrap();
        let call = Call::new(method.parse().unwrap(), &uri, prefix, headers, &Bytes::from(body));
        let desk = Desk::new(Script::default(), Courier::new().0);
        let dialect = dialect::of(vendor);
        let reply = desk.ask(dialect, &call);
        prop_assert!(reply.status.as_u16() >= 200);
        for code in ["1", "12", "E429", "SVC0001", "POL0001", "99999999999999999999", "é"] {
            let reply = crate::gateway::visit::refusal(dialect, &call, code, None);
            prop_assert!(reply.status.as_u16() >= 200);
        }
        let taken = match desk.hear(dialect, &call) {
            crate::gateway::desk::Heard::Played(played) => played.messages.len(),
            crate::gateway::desk::Heard::Refused(_) | crate::gateway::desk::Heard::Full => 0,
        };
        prop_assert_eq!(usize::try_from(desk.stats().totals.taken).unwrap(), taken);
        prop_assert!(desk.message_count() >= 1);
        prop_assert!(desk.messages().iter().all(|message| message.stamp().is_some() == message.taken));
    }
}

#[test]
fn every_script_on_the_page_for_users_is_read() {
    let page = include_str!("../../../docs/SIMULATOR.md");
    let blocks = page.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let scripts: Vec<_> = blocks.filter(|block| !block.contains("[[provider]]")).collect();
    assert_eq!(scripts.len(), 4);
    for script in scripts {
        Script::parse(script).unwrap_or_else(|error| panic!("{error} in\n{script}"));
    }
}

#[test]
fn every_vendor_is_mounted_under_its_name() {
    for vendor in Vendor::ALL {
        let path = format!("/vendor/{}/x", vendor.name());
        assert_eq!(dialect::mounted(&path), Some((vendor, path.trim_end_matches("/x"))));
        assert_eq!(dialect::of(vendor).vendor(), vendor);
    }
    assert_eq!(dialect::mounted("/vendor/twiliox/x"), None);
}
