//! The provider against a gateway of bare sockets, which can misbehave in ways no HTTP library would.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod answers;
mod config;
mod lookups;
mod mistakes;
mod oauth;
mod pushes;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use secrecy::SecretString;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::gateway as simulator;
use crate::message::encoding::Encoding;
use crate::provider::Provider;
use crate::provider::inquiry::TakenMessage;
use lookups::{by_recipient, by_reference, inquiry, is_unclear, taken};

/// Secret used throughout; it has the characters that one real vendor wants unencoded.
const KEY: &str = "top/secret==";
/// A text that tries to leave every kind of field.
const HOSTILE: &str = "a\"b'c\\d\n\r&phone=1&x=<!--]]></m>{{ api_key }}{% x %}\u{1F600}+%41#é";

/// What a connection does after its request has been read.
enum Reply {
    /// Writes this and closes.
    Bytes(String),
    /// Closes with a reset.
    Reset,
    /// Writes this, then nothing until the client goes.
    Stall(String),
    /// Writes this head, then 100 MB.
    Flood(String),
}

/// A gateway that answers one request a connection, from a script.
struct Gateway {
    url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Gateway {
    async fn start(mut script: impl FnMut(usize, &str) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/send", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = requests.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let Some(request) = read_request(&mut stream).await else { continue };
                let number = {
                    let mut seen = seen.lock().unwrap();
                    seen.push(request.clone());
                    seen.len() - 1
                };
                let reply = script(number, &request);
                tokio::spawn(perform(stream, reply));
            }
        });
        Self { url, requests }
    }

    async fn answering(answer: &str) -> Self {
        let answer = answer.to_owned();
        Self::start(move |_, _| Reply::Bytes(answer.clone())).await
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    fn only_request(&self) -> String {
        let mut requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:#?}");
        requests.remove(0)
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, _)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length: ").and_then(|n| n.parse().ok()))
                .unwrap_or(0);
            if bytes.len() >= head.len() + 4 + length {
                return Some(text);
            }
        }
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(n) => bytes.extend_from_slice(&buffer[..n]),
        }
    }
}

async fn perform(mut stream: TcpStream, reply: Reply) {
    match reply {
        Reply::Bytes(bytes) => {
            let _ = stream.write_all(bytes.as_bytes()).await;
        }
        Reply::Reset => reset(stream),
        Reply::Stall(head) => {
            let _ = stream.write_all(head.as_bytes()).await;
            let mut buffer = [0; 64];
            while matches!(stream.read(&mut buffer).await, Ok(n) if n > 0) {}
        }
        Reply::Flood(head) => {
            let _ = stream.write_all(head.as_bytes()).await;
            let chunk = vec![b'x'; 1 << 20];
            for _ in 0..100 {
                if stream.write_all(&chunk).await.is_err() {
                    return;
                }
            }
        }
    }
}

fn reset(stream: TcpStream) {
    let socket = socket2::SockRef::from(&stream);
    socket.set_linger(Some(Duration::ZERO)).unwrap();
}

fn http(status: u16, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

fn tls() -> rustls::ClientConfig {
    rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
}

fn outgoing(text: &str) -> Outgoing {
    Outgoing {
        reference: "ecar-123-1".into(),
        recipient: "+21620000123".into(),
        text: text.into(),
        encoding: if text.is_ascii() { Encoding::Gsm7 } else { Encoding::Ucs2 },
        segments: 1,
        deadline: Duration::from_secs(10),
    }
}

fn garage(url: &str) -> HttpProvider {
    let config = GenericConfig::garage_default(url, SecretString::from(KEY), "ECAR".into(), 4, None);
    HttpProvider::new("garage".into(), config, tls()).unwrap()
}

fn configured(text: &str) -> HttpProvider {
    try_configured(text).unwrap()
}

fn try_configured(text: &str) -> Result<HttpProvider, GenericError> {
    HttpProvider::new("test".into(), toml::from_str(&format!("api_key = '{KEY}'\n{text}")).unwrap(), tls())
}

async fn outcome_of(answer: &str) -> Outcome {
    let gateway = Gateway::answering(answer).await;
    garage(&gateway.url).send(&outgoing("Bonjour")).await
}

fn accepted(id: &str) -> Outcome {
    Outcome::Accepted { provider_message_id: Some(id.into()), segments: None }
}

// ---- what is sent

#[tokio::test]
async fn the_garage_protocol_is_four_keys_in_order_and_a_json_success_accepts() {
    let gateway = Gateway::answering(&http(202, "", r#"{"id":"m1"}"#)).await;
    assert_eq!(garage(&gateway.url).send(&outgoing(HOSTILE)).await, accepted("m1"));
    let request = gateway.only_request();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /send HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("content-type: application/json\r\n"), "{head}");
    let text = serde_json::to_string(HOSTILE).unwrap();
    assert_eq!(body, format!(r#"{{"api_key":"{KEY}","sender_id":"ECAR","phone":"+21620000123","message":{text}}}"#));
}

#[tokio::test]
async fn a_hostile_text_stays_in_its_form_field() {
    let gateway = Gateway::answering(&http(200, "", "{}")).await;
    let provider = configured(&format!(
        "url = '{}'\nbody = 'form'\nnumber_style = 'digits'\n\
         fields = [{{ name = 'to', value = '{{{{ phone }}}}' }}, {{ name = 'te xt', value = '{{{{ message }}}}' }}]",
        gateway.url
    ));
    assert_eq!(provider.send(&outgoing(HOSTILE)).await.word(), "accepted");
    let request = gateway.only_request();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("content-type: application/x-www-form-urlencoded"), "{head}");
    let pairs: Vec<_> = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    assert_eq!(pairs, [("to".into(), "21620000123".into()), ("te xt".into(), HOSTILE.into())]);
}

#[tokio::test]
async fn a_hostile_text_stays_in_its_xml_element() {
    let gateway = Gateway::answering(&http(200, "", "{}")).await;
    let provider = configured(&format!(
        "url = '{}'\nbody = 'xml'\nbody_text = '<r><to>{{{{ phone }}}}</to><m>{{{{ message }}}}</m></r>'",
        gateway.url
    ));
    assert_eq!(provider.send(&outgoing(HOSTILE)).await.word(), "accepted");
    let request = gateway.only_request();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("content-type: text/xml; charset=utf-8"), "{head}");
    assert_eq!(
        body,
        "<r><to>+21620000123</to><m>a&quot;b&#39;c\\d&#10;&#13;&amp;phone=1&amp;x=&lt;!--]]&gt;&lt;/m&gt;\
         {{ api_key }}{% x %}\u{1F600}+%41#é</m></r>"
    );
}

#[tokio::test]
async fn a_get_carries_the_key_unencoded_and_the_text_encoded() {
    let gateway = Gateway::answering(&http(200, "", "{}")).await;
    let provider = configured(&format!(
        "url = '{}?fct=sms'\nmethod = 'GET'\nbody = 'none'\nnumber_style = '00'\n\
         query = [{{ name = 'key', value = '{{{{ api_key }}}}', encoding = 'raw' }},\
         {{ name = 'mobile', value = '{{{{ phone }}}}' }},\
         {{ name = 'sms', value = '{{{{ message }}}}', encoding = 'form-plus' }},\
         {{ name = 'hex', value = '{{{{ message }}}}', encoding = 'ucs2-hex' }}]",
        gateway.url
    ));
    assert_eq!(provider.send(&outgoing("a b&c=#'é")).await.word(), "accepted");
    let request = gateway.only_request();
    let expected = "GET /send?fct=sms&key=top/secret==&mobile=0021620000123&sms=a+b%26c%3D%23%27%C3%A9\
                    &hex=00610020006200260063003D0023002700E9 HTTP/1.1\r\n";
    assert!(request.starts_with(expected), "{request}");
}

#[tokio::test]
async fn every_kind_of_auth_is_written_where_it_belongs() {
    for (auth, expected) in [
        ("{ type = 'basic', username = 'AC1' }", "authorization: Basic QUMxOnRvcC9zZWNyZXQ9PQ==\r\n"),
        ("{ type = 'bearer' }", "authorization: Bearer top/secret==\r\n"),
        ("{ type = 'header', name = 'X-Key', prefix = 'App ' }", "x-key: App top/secret==\r\n"),
        ("{ type = 'query', name = 'k' }", "POST /send?k=top%2Fsecret%3D%3D HTTP/1.1\r\n"),
        ("{ type = 'query', name = 'k', encoding = 'raw' }", "POST /send?k=top/secret== HTTP/1.1\r\n"),
    ] {
        let gateway = Gateway::answering(&http(200, "", "{}")).await;
        let provider = configured(&format!("url = '{}'\nauth = {auth}", gateway.url));
        assert_eq!(provider.send(&outgoing("x")).await.word(), "accepted");
        assert!(gateway.only_request().contains(expected), "{auth}: {}", gateway.only_request());
    }
}

#[tokio::test]
async fn templates_reach_headers_nested_json_and_the_path() {
    let gateway = Gateway::answering(&http(200, "", "{}")).await;
    let provider = configured(&format!(
        r#"
        url = "{}/tel:{{{{ phone }}}}/requests"
        headers = {{ X-Reference = "{{{{ reference }}}}" }}
        fields = [
            {{ name = "/messages/0/destinations/0/to", value = "{{{{ phone }}}}" }},
            {{ name = "/messages/0/text", value = "{{{{ message }}}}" }},
            {{ name = "unicode", value = "{{{{ unicode }}}}", type = "boolean" }},
            {{ name = "parts", value = "{{{{ segments }}}}", type = "number" }},
        ]"#,
        gateway.url
    ));
    assert_eq!(provider.send(&outgoing("é")).await.word(), "accepted");
    let request = gateway.only_request();
    assert!(request.starts_with("POST /send/tel:%2B21620000123/requests HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("x-reference: ecar-123-1\r\n"), "{request}");
    let body = r#"{"messages":[{"destinations":[{"to":"+21620000123"}],"text":"é"}],"unicode":true,"parts":1}"#;
    assert!(request.ends_with(&format!("\r\n\r\n{body}")), "{request}");
}

#[tokio::test]
async fn what_cannot_be_written_is_rejected_without_a_request() {
    let gateway = Gateway::answering(&http(200, "", "{}")).await;
    let field = |rest: &str| format!("url = '{}'\nmax_segments = 2\n{rest}", gateway.url);
    let hex = configured(&field("fields = [{ name = 'm', value = '{{ message }}', encoding = 'gsm7-hex' }]"));
    assert_eq!(hex.send(&outgoing("م")).await.word(), "rejected");
    let national = configured(&field("number_style = 'national'\nfields = [{ name = 'p', value = '{{ phone }}' }]"));
    for recipient in ["+33600000000", "20000123", "+216200001\r\n", ""] {
        let abroad = Outgoing { recipient: recipient.into(), ..outgoing("x") };
        assert_eq!(national.send(&abroad).await.word(), "rejected", "{recipient:?}");
    }
    let header = configured(&field("headers = { X-Text = '{{ message }}' }"));
    assert_eq!(header.send(&outgoing("a\r\nHost: evil")).await.word(), "rejected");
    assert_eq!(header.send(&Outgoing { segments: 3, ..outgoing("x") }).await.word(), "rejected");
    assert!(gateway.requests().is_empty());
}

// ---- what happens on the way

#[tokio::test]
async fn nothing_was_sent_when_no_connection_came_about() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let refused = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    for url in [refused.as_str(), "http://no-such-host.invalid/"] {
        let outcome = garage(url).send(&outgoing("x")).await;
        assert_eq!(outcome.word(), "temporary_failure", "{outcome:?}");
        assert!(!outcome.detail().is_empty());
    }
}

#[tokio::test]
async fn a_failed_tls_handshake_sent_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    assert_eq!(garage(&url).send(&outgoing("x")).await.word(), "temporary_failure");
}

#[tokio::test]
async fn a_silent_tls_handshake_ends_with_the_connect_timeout_and_sent_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let provider = configured(&format!("url = '{url}'\nconnect_timeout = '100ms'"));
    assert_eq!(provider.send(&outgoing("x")).await.word(), "temporary_failure");
    drop(listener);
}

// ---- look-ups at the simulated gateway

async fn simulated(script: &str) -> simulator::Gateway {
    let script = simulator::Script::parse(script).unwrap();
    simulator::Gateway::start((std::net::Ipv4Addr::LOCALHOST, 0).into(), script).await.unwrap()
}

/// A provider for the simulated gateway, as the documentation configures it.
fn provider_of(gateway: &simulator::Gateway, lookup: &str) -> HttpProvider {
    let (send, ask) = (gateway.url(), format!("http://{}/lookup", gateway.addr()));
    let fields = ["api_key", "sender_id", "phone", "message", "reference"]
        .map(|name| format!("{{ name = '{name}', value = '{{{{ {name} }}}}' }}"))
        .join(", ");
    let lookup = match lookup {
        "reference" => {
            format!("by = 'reference'\nurl = '{ask}?reference={{{{ reference }}}}&api_key={{{{ api_key }}}}'")
        }
        _ => format!(
            "by = 'recipient'\nurl = '{ask}?phone={{{{ phone }}}}&since={{{{ since }}}}'\n\
             items = '$.messages[*]'\ntext = '$.message'"
        ),
    };
    configured(&format!("url = '{send}'\nfields = [{fields}]\n[lookup]\n{lookup}"))
}

#[tokio::test]
async fn what_the_simulated_gateway_took_without_telling_is_found_both_ways_and_what_it_refused_by_none() {
    let gateway = simulated(&format!(
        "api_key = \"{KEY}\"\n[[rule]]\ntimes = 1\nfault = \"reset_after_read\"\n[[rule]]\nstatus = 502"
    ))
    .await;
    let since = Timestamp::now();
    let send = |reference: &str| Outgoing { reference: reference.into(), ..outgoing("Bonjour") };
    let ask = |reference: &str| Inquiry { reference: reference.into(), since, ..inquiry() };
    let (by_reference, by_recipient) = (provider_of(&gateway, "reference"), provider_of(&gateway, "recipient"));
    assert_eq!(by_reference.send(&send("ecar-1-1")).await.word(), "unknown");
    assert_eq!(by_reference.send(&send("ecar-2-1")).await.word(), "unknown");
    assert_eq!(by_reference.look_up(&ask("ecar-1-1")).await, taken(&[Some("sim-000001")]));
    assert_eq!(by_reference.look_up(&ask("ecar-2-1")).await, Finding::Absent);
    assert_eq!(by_recipient.look_up(&ask("ecar-1-1")).await, taken(&[Some("sim-000001")]));
    let later = Inquiry { since: Timestamp::now(), ..ask("ecar-1-1") };
    assert_eq!(by_recipient.look_up(&later).await, Finding::Absent);
    let other = Inquiry { text: Some("Bonsoir".into()), ..ask("ecar-1-1") };
    assert_eq!(by_recipient.look_up(&other).await, Finding::Absent);
    assert_eq!(gateway.count(), 2, "a look-up sends nothing");
}

#[tokio::test]
async fn a_simulated_gateway_that_is_told_not_to_answers_no_look_up() {
    let gateway = simulated("lookup = []").await;
    for by in ["reference", "recipient"] {
        let finding = provider_of(&gateway, by).look_up(&inquiry()).await;
        assert!(is_unclear(&finding), "{finding:?}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn sending_again_with_the_same_reference_to_a_gateway_that_deduplicates_takes_one_text() {
    let gateway = simulated("deduplicate = true\n[[rule]]\ntimes = 1\nfault = \"truncated\"").await;
    let provider = provider_of(&gateway, "reference");
    assert_eq!(provider.send(&outgoing("Bonjour")).await.word(), "unknown");
    assert_eq!(provider.send(&outgoing("Bonjour")).await, accepted("sim-000001"));
    assert_eq!(gateway.stats().totals.taken, 1);
}

proptest! {
    #[test]
    fn no_answer_to_a_look_up_panics_and_half_of_one_means_nothing(
        status: u16, body in prop_oneof![any::<Vec<u8>>(), json_like().prop_map(String::into_bytes)], complete: bool,
    ) {
        let answer = answer::Answer::new(status, None, None, &body, complete);
        for provider in [by_reference("http://x/"), by_recipient("http://x/")] {
            let finding = provider.lookup.as_ref().unwrap().judge(&answer, &inquiry(), &provider.redactor);
            prop_assert!(complete || is_unclear(&finding));
            prop_assert!(finding != Finding::Taken(Vec::new()));
            prop_assert!(finding != Finding::Absent || answer.json.is_some());
        }
    }
}

/// Texts near what a provider would answer.
fn json_like() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        Just("null".to_owned()),
        Just("7".to_owned()),
        Just("\"Bonjour\"".to_owned()),
        Just("{\"message\":\"Bonjour\"}".to_owned()),
        Just("{\"id\":[]}".to_owned()),
    ];
    ("id|messages|message", prop::collection::vec(value, 0..4))
        .prop_map(|(key, values)| format!("{{\"{key}\":[{}]}}", values.join(",")))
}

#[test]
fn the_documented_examples_are_providers() {
    let page = include_str!("../../../docs/CONFIGURATION.md");
    let blocks = page.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let mut asked = 0;
    for block in blocks.filter(|block| block.contains("[provider.generic]")) {
        let table: toml::Table = toml::from_str(block).unwrap();
        let config: GenericConfig = table["provider"][0]["generic"].clone().try_into().unwrap();
        let provider = HttpProvider::new("x".into(), config, tls()).unwrap_or_else(|error| panic!("{error}\n{block}"));
        asked += usize::from(provider.can_look_up());
    }
    assert_eq!(asked, 2, "two of the examples show look-ups");
}

#[test]
fn the_documented_rules_tell_a_known_reference_from_an_unknown_one() {
    let page = include_str!("../../../docs/CONFIGURATION.md");
    let block = page.split("```toml\n").find(|block| block.contains("asked-example")).unwrap();
    let table: toml::Table = toml::from_str(block.split("```").next().unwrap()).unwrap();
    let config: GenericConfig = table["provider"][0]["generic"].clone().try_into().unwrap();
    let provider = HttpProvider::new("x".into(), config, tls()).unwrap();
    let judge = |body: &str| {
        provider.lookup.as_ref().unwrap().judge(&answer::Answer::of(200, body), &inquiry(), &provider.redactor)
    };
    assert_eq!(judge(r#"{"count":1,"messages":[{"sid":"9f"}]}"#), taken(&[Some("9f")]));
    assert_eq!(judge(r#"{"count":0,"messages":[]}"#), Finding::Absent);
    assert!(is_unclear(&judge(r#"{"error":"try later"}"#)));
}
