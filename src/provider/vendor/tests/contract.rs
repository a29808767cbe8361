//! Our requests against the shapes that the vendors publish, written down here by hand: the fields of each, their kinds and limits.
//!
//! Stricter than the vendors' own documents in one thing: a field that is in none of them is an error, because a vendor passes over it in
//! silence. Only what our descriptions could ever send is written down; a field that is missing here is looked up there first.
//!
//! - Infobip 3.210.0: `/sms/3/messages`, `/sms/3/logs`, `/account/1/balance` (3.245.1)
//! - SMSGate (capcom6): `/messages`, `/messages/{id}` of the app's own description
//! - Vonage SMS 1.5.1, Account 1.0.4 of 2026; Twilio 1.55.0 and the one in its command line's library 8.3.2

use secrecy::SecretString;
use serde_json::{Map, Value, json};

use super::super::{Vendor, VendorConfig};
use super::support::{Gateway, KEY, PUSH_URL, Seen, inquiry, made, outgoing, pushing};
use crate::message::encoding::Encoding;
use crate::provider::generic::{GenericConfig, HttpProvider};

/// The longest reference that a message will ever have.
const REFERENCE: &str = "ecar-9223372036854775807-99-ffffffff";

/// What may stand in a place.
enum Shape {
    /// A text of so many characters.
    Text(usize, usize),
    /// A text of so many digits and nothing else.
    Digits(usize, usize),
    /// One of these texts.
    Word(&'static [&'static str]),
    /// A whole number from this one on.
    Number(i64),
    Truth,
    /// So many of the same.
    List(usize, usize, &'static Shape),
    /// Fields: name, whether it must be there, what it is.
    Fields(&'static [(&'static str, bool, Shape)]),
}

use Shape::{Digits, Fields, List, Number, Text, Truth, Word};

const ANY: Shape = Text(0, usize::MAX);

const INFOBIP_SEND: Shape = Fields(&[
    ("messages", true, List(1, usize::MAX, &INFOBIP_MESSAGE)),
    ("options", false, Fields(&[("includeSmsCountInResponse", false, Truth)])),
]);

const INFOBIP_MESSAGE: Shape = Fields(&[
    ("sender", false, ANY),
    (
        "destinations",
        true,
        List(1, usize::MAX, &Fields(&[("to", true, Text(0, 64)), ("messageId", false, Text(0, 200))])),
    ),
    ("content", true, Fields(&[("text", true, ANY)])),
    (
        "options",
        false,
        Fields(&[(
            "validityPeriod",
            false,
            Fields(&[("amount", true, Number(0)), ("timeUnit", false, Word(&["SECONDS", "MINUTES", "HOURS"]))]),
        )]),
    ),
    (
        "webhooks",
        false,
        Fields(&[
            (
                "delivery",
                false,
                Fields(&[("url", false, ANY), ("intermediateReport", false, Truth), ("notify", false, Truth)]),
            ),
            ("contentType", false, Word(&["application/json", "application/xml"])),
            ("callbackData", false, Text(0, 4_000)),
        ]),
    ),
]);

/// `messageId` is a list, its members parted by commas, and 2,048 characters long at most.
const INFOBIP_LOGS: Shape = Fields(&[("messageId", false, Text(0, 2_048)), ("limit", false, Digits(1, 4))]);

const CAPCOM6_SEND: Shape = Fields(&[
    ("id", false, Text(0, 36)),
    ("deviceId", false, Text(0, 21)),
    ("textMessage", true, Fields(&[("text", true, Text(1, 65_535))])),
    ("phoneNumbers", true, List(1, 100, &Text(1, 512))),
    ("simNumber", false, Number(1)),
    ("ttl", false, Number(5)),
    ("withDeliveryReport", false, Truth),
    ("priority", false, Number(-128)),
]);

const VONAGE_SEND: Shape = Fields(&[
    ("from", true, ANY),
    ("to", true, Digits(7, 15)),
    ("text", true, ANY),
    ("type", false, Word(&["text", "binary", "unicode"])),
    ("client-ref", false, Text(0, 40)),
    ("callback", false, Text(0, 100)),
]);

const TWILIO_SEND: Shape =
    Fields(&[("To", true, ANY), ("From", false, ANY), ("Body", false, ANY), ("StatusCallback", false, ANY)]);

const TWILIO_LIST: Shape = Fields(&[
    ("To", false, ANY),
    ("From", false, ANY),
    ("DateSent", false, ANY),
    ("DateSent<", false, ANY),
    ("DateSent>", false, ANY),
    ("PageSize", false, Digits(1, 4)),
]);

const NOTHING: Shape = Fields(&[]);

/// Where `value` is not of this shape, and why.
fn misfit(shape: &Shape, value: &Value) -> Option<String> {
    let text = |low: usize, high: usize| value.as_str().is_some_and(|it| (low..=high).contains(&it.chars().count()));
    let fits = match shape {
        Text(low, high) => text(*low, *high),
        Digits(low, high) => {
            text(*low, *high) && value.as_str().is_some_and(|it| it.bytes().all(|b| b.is_ascii_digit()))
        }
        Word(words) => value.as_str().is_some_and(|it| words.contains(&it)),
        Number(low) => value.as_i64().is_some_and(|it| it >= *low),
        Truth => value.is_boolean(),
        List(low, high, member) => {
            let Some(list) = value.as_array() else { return Some(format!(": {value} is no list")) };
            let wrong =
                list.iter().enumerate().find_map(|(at, it)| misfit(member, it).map(|why| format!("/{at}{why}")));
            if wrong.is_some() {
                return wrong;
            }
            (*low..=*high).contains(&list.len())
        }
        Fields(known) => {
            let Some(fields) = value.as_object() else { return Some(format!(": {value} is no object")) };
            if let Some(strange) = fields.keys().find(|name| !known.iter().any(|(it, ..)| it == name)) {
                return Some(format!("/{strange}: no such field"));
            }
            return known.iter().find_map(|(name, needed, shape)| match fields.get(*name) {
                Some(value) => misfit(shape, value).map(|why| format!("/{name}{why}")),
                None => needed.then(|| format!("/{name}: is missing")),
            });
        }
    };
    (!fits).then(|| format!(": {value} does not fit"))
}

fn pairs<'a>(pairs: impl IntoIterator<Item = (&'a String, &'a String)>) -> Value {
    Value::Object(pairs.into_iter().map(|(name, value)| (name.clone(), json!(value))).collect::<Map<_, _>>())
}

/// Whether a request is the operation that the document has: method, path, query, body and the proof of who asks, which stands nowhere else.
fn check(seen: &Seen, (method, path): (&str, &str), query: &Shape, body: Option<&Shape>, proof: &str) {
    assert_eq!((seen.method.as_str(), seen.path.as_str()), (method, path));
    assert_eq!(misfit(query, &pairs(&seen.query)), None, "{seen:?}");
    assert!(seen.header("authorization").starts_with(proof), "{seen:?}");
    for part in seen.query.values().chain([&seen.path, &seen.body]) {
        // Its first characters, which no encoding changes.
        assert!(!part.contains(&KEY[..10]), "{seen:?}");
    }
    let Some(shape) = body else {
        assert_eq!(seen.body, "");
        return;
    };
    let content = match seen.header("content-type") {
        "application/json" => serde_json::from_str(&seen.body).unwrap(),
        "application/x-www-form-urlencoded" => {
            let form = seen.form();
            let content = pairs(form.iter().map(|(name, value)| (name, value)));
            assert_eq!(content.as_object().unwrap().len(), form.len(), "a name stands twice: {seen:?}");
            content
        }
        other => panic!("{other}"),
    };
    assert_eq!(misfit(shape, &content), None, "{content}");
}

fn config(vendor: &str, account: Option<&str>, gateway: &Gateway) -> GenericConfig {
    let written = VendorConfig {
        account: account.map(str::to_owned),
        api_key: Some(SecretString::from(KEY)),
        base_url: Some(gateway.url.clone()),
        push_token: Some(SecretString::from("0123456789abcdef")),
        signature_secret: ["capcom6", "vonage"].contains(&vendor).then(|| SecretString::from("signing-key")),
        ..VendorConfig::default()
    };
    Vendor::named(vendor).unwrap().configure(written).unwrap()
}

/// Sends texts of both encodings with the longest reference, with an address for receipts and without.
async fn sent(vendor: &str, config: &GenericConfig, gateway: &Gateway) -> Vec<Seen> {
    let mut seen = Vec::new();
    for provider in [made(vendor, config.clone()), pushing(vendor, config.clone())] {
        for (text, encoding) in [("Votre Kia \"A&B=C+D?\" [12 €]", Encoding::Gsm7), ("سيارتكم جاهزة", Encoding::Ucs2)]
        {
            let mut message = outgoing(text, encoding);
            REFERENCE.clone_into(&mut message.reference);
            gateway.answers(200, "{}");
            provider.send(&message).await;
            seen.push(gateway.only_request());
        }
    }
    seen
}

/// What is asked about messages, and what is left.
async fn asked(provider: &HttpProvider, gateway: &Gateway) -> (Seen, Option<Seen>, Option<Seen>) {
    let mut about = inquiry("Bonjour");
    REFERENCE.clone_into(&mut about.reference);
    gateway.answers(200, "{}");
    provider.look_up(&about).await;
    let look_up = gateway.only_request();
    let mut poll = None;
    if let Some(batch) = provider.poll_batch() {
        gateway.answers(200, "{}");
        provider.ask_receipts(&vec![REFERENCE; batch]).await.unwrap();
        poll = Some(gateway.only_request());
    }
    gateway.answers(200, "{}");
    provider.ask_balance().await.unwrap_err();
    (look_up, poll, Some(gateway.only_request()))
}

#[tokio::test]
async fn infobips_requests_are_of_the_shape_that_it_publishes() {
    let gateway = Gateway::start().await;
    let config = config("infobip", None, &gateway);
    let sent = sent("infobip", &config, &gateway).await;
    assert!(sent[2].body.contains(PUSH_URL) && sent[0].body.contains(REFERENCE));
    for seen in &sent {
        check(seen, ("POST", "/sms/3/messages"), &NOTHING, Some(&INFOBIP_SEND), "App ");
    }
    let (look_up, poll, balance) = asked(&made("infobip", config), &gateway).await;
    let poll = poll.unwrap();
    assert_eq!(poll.query["messageId"].split(',').count(), 40);
    for seen in [&look_up, &poll] {
        check(seen, ("GET", "/sms/3/logs"), &INFOBIP_LOGS, None, "App ");
    }
    let balance = balance.unwrap();
    check(&balance, ("GET", "/account/1/balance"), &NOTHING, None, "App ");
    // Every answer is there as XML too.
    for seen in sent.iter().chain([&look_up, &poll, &balance]) {
        assert_eq!(seen.header("accept"), "application/json", "{seen:?}");
    }
}

#[tokio::test]
async fn capcom6s_requests_are_of_the_shape_that_it_publishes() {
    let gateway = Gateway::start().await;
    let config = config("capcom6", Some("A1B2C3"), &gateway);
    for seen in sent("capcom6", &config, &gateway).await {
        check(&seen, ("POST", "/messages"), &NOTHING, Some(&CAPCOM6_SEND), "Basic ");
    }
    let provider = made("capcom6", config);
    let path = format!("/messages/{REFERENCE}");
    gateway.answers(200, "{}");
    let mut about = inquiry("Bonjour");
    REFERENCE.clone_into(&mut about.reference);
    provider.look_up(&about).await;
    check(&gateway.only_request(), ("GET", &path), &NOTHING, None, "Basic ");
    gateway.answers(200, "{}");
    provider.ask_receipts(&[REFERENCE]).await.unwrap();
    check(&gateway.only_request(), ("GET", &path), &NOTHING, None, "Basic ");
}

#[tokio::test]
async fn vonages_requests_are_of_the_shape_that_it_publishes() {
    let gateway = Gateway::start().await;
    let config = config("vonage", Some("abcd1234"), &gateway);
    for seen in sent("vonage", &config, &gateway).await {
        check(&seen, ("POST", "/sms/json"), &NOTHING, Some(&VONAGE_SEND), "Basic ");
    }
    gateway.answers(200, "{}");
    made("vonage", config).ask_balance().await.unwrap_err();
    let balance = gateway.only_request();
    // The mirrored document of 2022 has key and secret in the query; the one that Vonage publishes now has them here.
    check(&balance, ("GET", "/account/get-balance"), &NOTHING, None, "Basic ");
    assert_eq!(balance.header("accept"), "application/json");
}

#[tokio::test]
async fn twilios_requests_are_of_the_shape_that_it_publishes() {
    const ACCOUNT: &str = "AC00000000000000000000000000000000";
    let gateway = Gateway::start().await;
    let config = config("twilio", Some(ACCOUNT), &gateway);
    let path = format!("/2010-04-01/Accounts/{ACCOUNT}");
    for seen in sent("twilio", &config, &gateway).await {
        check(&seen, ("POST", &format!("{path}/Messages.json")), &NOTHING, Some(&TWILIO_SEND), "Basic ");
    }
    let (list, _, balance) = asked(&made("twilio", config), &gateway).await;
    check(&list, ("GET", &format!("{path}/Messages.json")), &TWILIO_LIST, None, "Basic ");
    check(&balance.unwrap(), ("GET", &format!("{path}/Balance.json")), &NOTHING, None, "Basic ");
}

#[test]
fn a_request_of_another_shape_is_seen() {
    let good = json!({ "messages": [{ "sender": "ECAR", "destinations": [{ "to": "21620000123", "messageId": "x" }],
        "content": { "text": "Bonjour" }, "webhooks": { "delivery": { "url": "https://x" }, "contentType": "application/json" } }] });
    assert_eq!(misfit(&INFOBIP_SEND, &good), None);
    for (place, value, expected) in [
        ("/messages/0/sender", json!(7), "/messages/0/sender: 7 does not fit"),
        ("/messages/0/destinations", json!([]), "/messages/0/destinations: [] does not fit"),
        ("/messages/0/destinations/0", json!({}), "/messages/0/destinations/0/to: is missing"),
        ("/messages/0/content", json!({ "txt": "x" }), "/messages/0/content/txt: no such field"),
        (
            "/messages/0/webhooks/delivery",
            json!("https://x"),
            "/messages/0/webhooks/delivery: \"https://x\" is no object",
        ),
        ("/messages/0/webhooks/contentType", json!("json"), "/messages/0/webhooks/contentType: \"json\" does not fit"),
        ("/messages", json!({}), "/messages: {} is no list"),
    ] {
        let mut body = good.clone();
        *body.pointer_mut(place).unwrap() = value;
        assert_eq!(misfit(&INFOBIP_SEND, &body).as_deref(), Some(expected));
    }
    let long = json!({ "id": "x".repeat(37), "textMessage": { "text": "x" }, "phoneNumbers": ["+21620000123"] });
    assert!(misfit(&CAPCOM6_SEND, &long).unwrap().starts_with("/id: "));
    let vonage = |to: &str, callback: &str| json!({ "from": "ECAR", "to": to, "text": "x", "callback": callback });
    assert_eq!(misfit(&VONAGE_SEND, &vonage("21620000123", PUSH_URL)), None);
    assert!(misfit(&VONAGE_SEND, &vonage("+21620000123", PUSH_URL)).unwrap().starts_with("/to: "));
    assert!(misfit(&VONAGE_SEND, &vonage("21620000123", &"x".repeat(101))).unwrap().starts_with("/callback: "));
    let secret = json!({ "api_secret": KEY, "from": "ECAR", "to": "21620000123", "text": "x" });
    assert_eq!(misfit(&VONAGE_SEND, &secret).as_deref(), Some("/api_secret: no such field"));
}
