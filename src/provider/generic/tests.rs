//! The provider against a gateway of bare sockets, which can misbehave in ways no HTTP library would.

#![allow(clippy::unwrap_used, clippy::expect_used)]

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

#[tokio::test]
async fn a_connection_that_ends_without_an_answer_is_unknown() {
    // Reset before a byte of the request is read.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.readable().await.unwrap();
            reset(stream);
        }
    });
    assert_eq!(garage(&url).send(&outgoing("x")).await.word(), "unknown");

    let gateway = Gateway::start(|number, _| match number {
        0 => Reply::Reset,
        1 => Reply::Bytes(String::new()),
        2 => Reply::Bytes("HTTP/1.1 200 O".into()),
        _ => Reply::Bytes("SMTP 220 hello\r\n\r\n".into()),
    })
    .await;
    let provider = garage(&gateway.url);
    for case in ["reset after reading", "closed", "half a head", "no HTTP"] {
        let outcome = provider.send(&outgoing("x")).await;
        assert_eq!(outcome.word(), "unknown", "{case}: {outcome:?}");
    }
    assert_eq!(gateway.requests().len(), 4, "nothing may be repeated");
}

#[tokio::test]
async fn silence_is_unknown_when_the_time_is_over() {
    let gateway = Gateway::start(|_, _| Reply::Stall(String::new())).await;
    let short = Outgoing { deadline: Duration::from_millis(200), ..outgoing("x") };
    let started = std::time::Instant::now();
    assert_eq!(garage(&gateway.url).send(&short).await.word(), "unknown");
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn without_time_nothing_is_sent() {
    let gateway = Gateway::answering(&http(200, "", "{}")).await;
    let late = Outgoing { deadline: Duration::ZERO, ..outgoing("x") };
    assert_eq!(garage(&gateway.url).send(&late).await.word(), "temporary_failure");
    assert!(gateway.requests().is_empty());
}

#[tokio::test]
async fn a_body_that_stalls_makes_a_success_unknown_and_leaves_a_refusal_one() {
    let gateway = Gateway::start(|number, _| {
        let status = [200, 429, 400][number];
        Reply::Stall(format!("HTTP/1.1 {status} X\r\nContent-Length: 100\r\n\r\n{{\"id\":"))
    })
    .await;
    let provider = garage(&gateway.url);
    for word in ["unknown", "throttled", "rejected"] {
        let short = Outgoing { deadline: Duration::from_millis(300), ..outgoing("x") };
        assert_eq!(provider.send(&short).await.word(), word);
    }
}

#[tokio::test]
async fn a_body_cut_short_makes_a_success_unknown() {
    let cut = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"id\":1}";
    assert_eq!(outcome_of(cut).await.word(), "unknown");
    let cut = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n{\"id\":1}\r\n";
    assert_eq!(outcome_of(cut).await.word(), "unknown");
}

#[tokio::test]
async fn an_endless_body_is_not_read_on() {
    let gateway = Gateway::start(|number, _| {
        let status = if number == 0 { 200 } else { 422 };
        Reply::Flood(format!("HTTP/1.1 {status} X\r\nContent-Length: 104857600\r\n\r\n"))
    })
    .await;
    let provider = garage(&gateway.url);
    for word in ["unknown", "rejected"] {
        let outcome = provider.send(&outgoing("x")).await;
        assert_eq!(outcome.word(), word);
        assert!(outcome.detail().chars().count() <= crate::message::outcome::DETAIL_LIMIT_CHARS);
    }
}

#[tokio::test]
async fn an_answer_is_whole_up_to_the_last_byte_allowed() {
    for (body, word) in [("{\"a\":1}", "accepted"), ("{\"a\":12}", "unknown")] {
        let gateway = Gateway::answering(&http(200, "", body)).await;
        let provider = configured(&format!("url = '{}'\nmax_body_bytes = 7", gateway.url));
        assert_eq!(provider.send(&outgoing("x")).await.word(), word);
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let target = Gateway::answering(&http(200, "", "{}")).await;
    for status in [301, 302, 307, 308] {
        let outcome = outcome_of(&http(status, &format!("Location: {}\r\n", target.url), "")).await;
        assert_eq!(outcome.word(), "misconfigured", "{status}");
    }
    assert!(target.requests().is_empty());
}

#[tokio::test]
async fn statuses_and_retry_after_come_through() {
    assert_eq!(outcome_of(&http(200, "", "<html>ok</html>")).await.word(), "unknown");
    assert_eq!(outcome_of(&http(401, "", "{}")).await.word(), "misconfigured");
    assert_eq!(outcome_of(&http(502, "", "{}")).await.word(), "unknown");
    for headers in
        ["Retry-After: 90\r\n", "Date: Wed, 21 Oct 2015 07:28:00 GMT\r\nRetry-After: Wed, 21 Oct 2015 07:29:30 GMT\r\n"]
    {
        for status in [429, 503] {
            let outcome = outcome_of(&http(status, headers, "slow down")).await;
            let detail = format!("HTTP {status}: slow down");
            assert_eq!(outcome, Outcome::Throttled { retry_after: Some(Duration::from_secs(90)), detail });
        }
    }
}

// ---- OAuth 2

/// A gateway with a token endpoint that numbers its tokens, and a `/send` that takes only tokens of the given number on.
async fn oauth_gateway(valid_from: usize, expires_in: &'static str) -> Gateway {
    let mut issued = 0;
    Gateway::start(move |_, request| {
        if request.starts_with("POST /token") {
            issued += 1;
            return Reply::Bytes(http(
                200,
                "",
                &format!(r#"{{"access_token":"token-{issued}","expires_in":{expires_in}}}"#),
            ));
        }
        let valid = (valid_from..=issued).any(|n| request.contains(&format!("authorization: Bearer token-{n}\r\n")));
        let status = if valid { 200 } else { 401 };
        Reply::Bytes(http(status, "", r#"{"id":1,"echo":"token-1"}"#))
    })
    .await
}

fn oauth(gateway: &Gateway) -> HttpProvider {
    let token_url = gateway.url.replace("/send", "/token");
    configured(&format!(
        "url = '{}'\nauth = {{ type = 'oauth2', token_url = '{token_url}', client_id = 'c', scope = 'a b' }}",
        gateway.url
    ))
}

fn count(gateway: &Gateway, path: &str) -> usize {
    gateway.requests().iter().filter(|r| r.starts_with(&format!("POST {path} "))).count()
}

#[tokio::test]
async fn one_token_serves_many_messages_sent_at_once() {
    let gateway = oauth_gateway(1, "\"3600\"").await;
    let provider = oauth(&gateway);
    let message = outgoing("x");
    let outcomes = futures_util::future::join_all((0..8).map(|_| provider.send(&message))).await;
    assert!(outcomes.iter().all(|outcome| *outcome == accepted("1")), "{outcomes:?}");
    assert_eq!((count(&gateway, "/token"), count(&gateway, "/send")), (1, 8));
    let request = gateway.requests().remove(0);
    // base64 of "c:top/secret=="
    assert!(request.contains("authorization: Basic Yzp0b3Avc2VjcmV0PT0=\r\n"), "{request}");
    assert!(request.ends_with("\r\n\r\ngrant_type=client_credentials&scope=a+b"), "{request}");
}

#[tokio::test]
async fn a_refused_token_is_renewed_once_for_all() {
    let gateway = oauth_gateway(2, "3600").await;
    let provider = oauth(&gateway);
    let message = outgoing("x");
    let outcomes = futures_util::future::join_all((0..4).map(|_| provider.send(&message))).await;
    assert!(outcomes.iter().all(|outcome| outcome.word() == "accepted"), "{outcomes:?}");
    assert_eq!(count(&gateway, "/token"), 2);
}

#[tokio::test]
async fn a_token_refused_twice_is_a_misconfiguration_and_is_not_quoted() {
    let gateway = oauth_gateway(9, "3600").await;
    let outcome = oauth(&gateway).send(&outgoing("x")).await;
    assert_eq!(outcome.word(), "misconfigured");
    assert_eq!((count(&gateway, "/token"), count(&gateway, "/send")), (2, 2));
    let gateway = oauth_gateway(1, "30").await;
    let provider = oauth(&gateway);
    for _ in 0..2 {
        assert_eq!(provider.send(&outgoing("x")).await.word(), "accepted");
    }
    assert_eq!(count(&gateway, "/token"), 2, "a token within a minute of its end is not used again");
}

#[tokio::test]
async fn without_a_token_nothing_is_sent() {
    for (answer, word) in [
        (http(401, "", r#"{"error":"invalid_client"}"#), "misconfigured"),
        (http(400, "", "top/secret=="), "misconfigured"),
        (http(429, "Retry-After: 5\r\n", ""), "throttled"),
        (http(500, "", ""), "temporary_failure"),
        (http(200, "", "<html>"), "temporary_failure"),
        (http(200, "", r#"{"access_token":"a\nb"}"#), "temporary_failure"),
        (String::new(), "temporary_failure"),
    ] {
        let gateway = Gateway::answering(&answer).await;
        let outcome = oauth(&gateway).send(&outgoing("x")).await;
        assert_eq!(outcome.word(), word, "{answer}");
        assert!(!outcome.detail().contains("secret"), "{outcome:?}");
        assert_eq!(count(&gateway, "/send"), 0);
    }
}

#[tokio::test]
async fn a_silent_token_endpoint_does_not_hold_a_message_beyond_its_time() {
    let gateway = Gateway::start(|_, _| Reply::Stall(String::new())).await;
    let provider = oauth(&gateway);
    let short = Outgoing { deadline: Duration::from_millis(200), ..outgoing("x") };
    let (first, second) = tokio::join!(provider.send(&short), provider.send(&short));
    assert_eq!((first.word(), second.word()), ("temporary_failure", "temporary_failure"));
    assert_eq!(count(&gateway, "/send"), 0);
}

// ---- secrets and refusals

#[tokio::test]
async fn an_echoed_secret_reaches_neither_detail_nor_id_nor_debug() {
    for body in [format!("bad key {KEY}"), "bad key top%2Fsecret%3D%3D".into(), r#"{"key":"top\/secret=="}"#.into()] {
        let outcome = outcome_of(&http(401, "", &body)).await;
        assert!(outcome.detail().contains("[redacted]"), "{outcome:?}");
        assert!(!format!("{outcome:?}").contains("secret"), "{outcome:?}");
    }
    let outcome = outcome_of(&http(200, "", &format!(r#"{{"id":"{KEY}"}}"#))).await;
    assert_eq!(outcome, Outcome::Accepted { provider_message_id: None, segments: None });
    let provider = garage("http://127.0.0.1:1/");
    assert!(!format!("{provider:?} {:?}", provider.config()).contains("secret"));
}

#[tokio::test]
async fn an_unreachable_host_does_not_show_a_key_in_its_url() {
    let provider =
        configured("url = 'http://no-such-host.invalid/?k={{ api_key|raw }}'\nauth = { type = 'query', name = 'k' }");
    let outcome = provider.send(&outgoing("x")).await;
    assert!(!outcome.detail().contains("secret") && !outcome.detail().contains("k="), "{outcome:?}");
}

#[test]
fn mistakes_are_refused_at_start_with_their_key() {
    for (text, key) in [
        ("url = 'gateway.example'", "url"),
        ("url = 'ftp://gateway.example/'", "url"),
        ("url = 'http://user:pass@gateway.example/'", "url"),
        ("url = 'http://{{ phone }}.example/'\nproxy = ''\nconcurrency = 0", "concurrency"),
        ("url = 'http://x/{{ nothing }}'", "url"),
        ("url = 'http://x/{{ phone'", "url"),
        ("url = 'http://x/{{ phone|nofilter }}'", "url"),
        ("url = 'http://x/'\nfields = [{ name = 'm', value = '{{ mesage }}' }]", "fields.m"),
        ("url = 'http://x/'\nfields = [{ name = 'm', value = 'x', type = 'number' }]", "fields.m"),
        ("url = 'http://x/'\nfields = [{ name = 'm', value = 'x' }, { name = 'm', value = 'y' }]", "fields.m"),
        ("url = 'http://x/'\nquery = [{ name = 'm', value = '{{ message }}', encoding = 'raw' }]", "query.m"),
        ("url = 'http://x/'\nquery = [{ name = 'm', value = 'a&b', encoding = 'raw' }]", "query.m"),
        ("url = 'http://x/'\nheaders = { 'a b' = 'x' }", "headers.a b"),
        ("url = 'http://x/'\nheaders = { Content-Length = '1' }", "headers.Content-Length"),
        ("url = 'http://x/'\nauth = { type = 'header', name = 'a b' }", "auth.name"),
        ("url = 'http://x/'\nauth = { type = 'basic', username = 'a:b' }", "auth"),
        ("url = 'http://x/'\nauth = { type = 'oauth2', token_url = 'x', client_id = 'c' }", "auth.token_url"),
        ("url = 'http://x/'\nmethod = 'GET'", "body"),
        ("url = 'http://x/'\nbody = 'none'\nfields = [{ name = 'm', value = 'x' }]", "fields"),
        ("url = 'http://x/'\nbody = 'xml'", "body_text"),
        ("url = 'http://x/'\nbody = 'raw'\nbody_text = 'x'\ncontent_type = 'application/json'", "content_type"),
        ("url = 'http://x/'\nid = { json = '$[' }", "id.json"),
        ("url = 'http://x/'\n[[match]]\noutcome = 'accepted'\nbody_regex = '('", "match[0].body_regex"),
        ("url = 'http://x/'\ntotal_timeout = '1h'", "total_timeout"),
        ("url = 'http://x/'\nconnect_timeout = '30s'", "connect_timeout"),
        ("url = 'http://x/'\nrate = 0.0", "rate"),
        ("url = 'http://x/'\nmax_body_bytes = 0", "max_body_bytes"),
        ("url = 'http://x/'\nproxy = 'http://u:top/secret@:::/'", "proxy"),
    ] {
        let error = try_configured(text).err().unwrap_or_else(|| panic!("accepted: {text}")).to_string();
        assert!(error.starts_with(&format!("{key}: ")), "{text}\n{error}");
        assert!(!error.contains("secret"), "{error}");
    }
}

#[test]
fn a_missing_key_is_refused_only_where_it_is_used() {
    let make = |text: &str| HttpProvider::new("x".into(), toml::from_str(text).unwrap(), tls()).err();
    assert_eq!(make("url = 'http://x/'"), None);
    for text in [
        "url = 'http://x/'\nauth = { type = 'bearer' }",
        "url = 'http://x/'\nauth = { type = 'query', name = 'k' }",
        "url = 'http://x/{{ api_key }}'",
        "url = 'http://x/'\nfields = [{ name = 'k', value = '{{ api_key }}' }]",
    ] {
        assert_eq!(make(text), Some(GenericError::MissingSecret), "{text}");
    }
}

#[tokio::test]
async fn a_host_that_depends_on_the_message_is_refused() {
    let provider = configured("url = 'http://h{{ segments }}.invalid/'");
    let other = Outgoing { segments: 2, ..outgoing("x") };
    assert_eq!(provider.send(&other).await.word(), "misconfigured");
}

#[test]
fn a_literal_url_is_no_template() {
    let provider = garage("http://gateway.example/%7B{{ api_key }}?a={%25");
    let url = provider.maker.build(Subject::Message(&outgoing("x"))).unwrap().url().clone();
    assert!(!url.as_str().contains("secret"), "{url}");
}

#[test]
fn a_provider_can_be_shared_between_tasks() {
    fn shared<T: Send + Sync>() {}
    shared::<HttpProvider>();
}

// ---- look-ups

/// A provider that carries our reference, with this look-up of the gateway at `url`.
fn asking(url: &str, lookup: &str) -> HttpProvider {
    configured(&format!(
        "url = '{url}'\nfields = [{{ name = 'reference', value = '{{{{ reference }}}}' }}]\n[lookup]\n{lookup}"
    ))
}

fn by_reference(url: &str) -> HttpProvider {
    asking(url, &format!("by = 'reference'\nurl = '{url}?r={{{{ reference }}}}'"))
}

fn by_recipient(url: &str) -> HttpProvider {
    asking(
        url,
        &format!(
            "by = 'recipient'\nurl = '{url}?to={{{{ phone }}}}&from={{{{ since }}}}'\n\
             items = '$.messages[*]'\ntext = '$.message'"
        ),
    )
}

fn inquiry() -> Inquiry {
    Inquiry {
        reference: "ecar-123-1".into(),
        recipient: Some("+21620000123".into()),
        text: Some("Bonjour".into()),
        since: "2026-03-02T11:03:04.5Z".parse().unwrap(),
        deadline: Duration::from_secs(10),
    }
}

fn taken(ids: &[Option<&str>]) -> Finding {
    let message = |id: &Option<&str>| TakenMessage { provider_message_id: id.map(str::to_owned) };
    Finding::Taken(ids.iter().map(message).collect())
}

fn is_unclear(finding: &Finding) -> bool {
    matches!(finding, Finding::Unclear { detail } if !detail.is_empty())
}

#[tokio::test]
async fn a_look_up_carries_its_variables_encoded_and_the_credentials_of_the_send() {
    let gateway = Gateway::answering(&http(404, "", "{}")).await;
    let provider = configured(&format!(
        "url = '{0}/{{{{ reference }}}}'\nnumber_style = 'digits'\nauth = {{ type = 'bearer' }}\n[lookup]\n\
         by = 'reference'\nmethod = 'POST'\nurl = '{0}?r={{{{ reference }}}}&to={{{{ phone }}}}&at={{{{ since }}}}'\n\
         query = [{{ name = 'u', value = '{{{{ since_unix }}}}' }}, {{ name = 's', value = '{{{{ sender_id }}}}' }}]\n\
         headers = {{ X-Reference = '{{{{ reference }}}}' }}",
        gateway.url
    ));
    assert_eq!(provider.look_up(&Inquiry { reference: "a&b".into(), ..inquiry() }).await, Finding::Absent);
    let request = gateway.only_request();
    let line = "POST /send?r=a%26b&to=21620000123&at=2026-03-02T11%3A03%3A04.5Z&u=1772449384&s=ECAR HTTP/1.1\r\n";
    assert!(request.starts_with(line), "{request}");
    for header in ["authorization: Bearer top/secret==\r\n", "x-reference: a&b\r\n"] {
        assert!(request.contains(header), "{request}");
    }
    assert!(request.ends_with("\r\n\r\n"), "a look-up has no body: {request}");
}

#[tokio::test]
async fn by_reference_an_id_is_taken_a_404_absent_and_everything_else_unclear() {
    for (answer, expected) in [
        (http(200, "", r#"{"id":"m1"}"#), taken(&[Some("m1")])),
        (http(202, "", r#"{"sid":7,"status":"sent"}"#), taken(&[Some("7")])),
        // It is found, and its id is no id that could be kept.
        (http(200, "", &format!(r#"{{"id":"{KEY}"}}"#)), taken(&[None])),
        (http(404, "", r#"{"error":"unknown"}"#), Finding::Absent),
    ] {
        let gateway = Gateway::answering(&answer).await;
        assert_eq!(by_reference(&gateway.url).look_up(&inquiry()).await, expected, "{answer}");
    }
    let huge = format!(r#"{{"id":"m1","x":"{}"}}"#, "x".repeat(70_000));
    for answer in [
        http(200, "", "{}"),
        http(200, "", "[]"),
        http(200, "", r#"{"id":null}"#),
        http(200, "", "<html>It works!</html>"),
        http(200, "", ""),
        http(200, "", &huge),
        http(200, "", &"[".repeat(60_000)),
        http(204, "", ""),
        // From a portal, or from a server that knows no such path.
        http(404, "", "<html>Not Found</html>"),
        http(404, "", ""),
        http(301, "Location: /elsewhere\r\n", "{}"),
        http(400, "", r#"{"id":"m1"}"#),
        http(401, "", "{}"),
        http(410, "", "{}"),
        http(429, "", "{}"),
        http(500, "", r#"{"id":"m1"}"#),
        http(501, "", "{}"),
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"id\":1}".into(),
        "HTTP/1.1 404 X\r\nContent-Length: 100\r\n\r\n{}".into(),
        "SMTP 220 hello\r\n\r\n".into(),
        String::new(),
    ] {
        let gateway = Gateway::answering(&answer).await;
        let finding = by_reference(&gateway.url).look_up(&inquiry()).await;
        assert!(is_unclear(&finding), "{finding:?} for {:.100}", answer);
        assert_eq!(gateway.requests().len(), 1, "no redirect may be followed, nothing repeated");
    }
}

#[tokio::test]
async fn by_recipient_the_same_texts_are_taken_and_only_a_list_can_be_empty() {
    for (body, expected) in [
        (r#"{"messages":[{"id":"a","message":"Bonjour"}]}"#, taken(&[Some("a")])),
        (
            r#"{"messages":[{"id":"a","message":"Bonjour"},{"id":"b","message":"Bonsoir"},{"message":"Bonjour"}]}"#,
            taken(&[Some("a"), None]),
        ),
        // One that cannot be compared does not hide one that is ours.
        (r#"{"messages":[{"id":"a"},{"id":"b","message":"Bonjour"}]}"#, taken(&[Some("b")])),
        (r#"{"messages":[]}"#, Finding::Absent),
        (r#"{"messages":[{"id":"a","message":"bonjour"},{"id":"b","message":"Bonjour "}]}"#, Finding::Absent),
    ] {
        let gateway = Gateway::answering(&http(200, "", body)).await;
        assert_eq!(by_recipient(&gateway.url).look_up(&inquiry()).await, expected, "{body}");
        let line = "GET /send?to=%2B21620000123&from=2026-03-02T11%3A03%3A04.5Z HTTP/1.1\r\n";
        assert!(gateway.only_request().starts_with(line), "{}", gateway.only_request());
    }
    for (status, body) in [
        (200, "{}"),
        (200, "[]"),
        (200, r#"{"error":"try later"}"#),
        (200, r#"{"messages":null}"#),
        (200, r#"{"messages":{"0":{"message":"Bonsoir"}}}"#),
        (200, r#"{"messages":[{"id":"a"}]}"#),
        (200, r#"{"messages":[{"message":["Bonjour"]}]}"#),
        (200, "<html>"),
        (404, r#"{"messages":[]}"#),
        (404, "{}"),
        (500, r#"{"messages":[{"message":"Bonjour"}]}"#),
    ] {
        let gateway = Gateway::answering(&http(status, "", body)).await;
        let finding = by_recipient(&gateway.url).look_up(&inquiry()).await;
        assert!(is_unclear(&finding), "{finding:?} for {status} {body}");
    }
}

#[tokio::test]
async fn rules_judge_a_look_up_first_and_never_half_an_answer() {
    let rules = "match = [{ outcome = 'taken', json = { path = '$.code', equals = 0 } },\
                 { outcome = 'absent', json = { path = '$.code', equals = 7 } },\
                 { outcome = 'unclear', status = 404 }]";
    let one = |url: &str| asking(url, &format!("by = 'reference'\nurl = '{url}?{{{{ reference }}}}'\n{rules}"));
    for (answer, expected) in [
        (http(200, "", r#"{"code":0}"#), Some(taken(&[None]))),
        (http(500, "", r#"{"code":"7"}"#), Some(Finding::Absent)),
        (http(404, "", "{}"), None),
        // No rule matches: what is clear by itself counts.
        (http(200, "", r#"{"id":"m1"}"#), Some(taken(&[Some("m1")]))),
        (http(200, "", r#"{"code":1}"#), None),
        ("HTTP/1.1 500 X\r\nContent-Length: 100\r\n\r\n{\"code\":7}".into(), None),
    ] {
        let gateway = Gateway::answering(&answer).await;
        let finding = one(&gateway.url).look_up(&inquiry()).await;
        assert!(
            expected.as_ref().map_or(is_unclear(&finding), |expected| finding == *expected),
            "{answer}: {finding:?}"
        );
    }
    // By recipient, `taken` says that the answer is the list; the texts still decide.
    let list = |url: &str| {
        let paths = "items = '$.data[*]'\ntext = '$.body'\nid = { json = '$.ref' }";
        asking(url, &format!("by = 'recipient'\nurl = '{url}?{{{{ phone }}}}'\n{paths}\n{rules}"))
    };
    for (body, expected) in [
        (r#"{"code":0,"data":[{"ref":"r","body":"Bonjour"}]}"#, Some(taken(&[Some("r")]))),
        (r#"{"code":0,"data":[{"ref":"r","body":"x"}]}"#, Some(Finding::Absent)),
        (r#"{"code":0}"#, None),
        (r#"{"code":7}"#, Some(Finding::Absent)),
    ] {
        let gateway = Gateway::answering(&http(200, "", body)).await;
        let finding = list(&gateway.url).look_up(&inquiry()).await;
        assert!(expected.as_ref().map_or(is_unclear(&finding), |expected| finding == *expected), "{body}: {finding:?}");
    }
}

#[tokio::test]
async fn a_look_up_without_what_it_needs_is_unclear_and_asks_nobody() {
    let gateway = Gateway::answering(&http(404, "", "{}")).await;
    let forgotten = Inquiry { recipient: None, text: None, ..inquiry() };
    let provider = by_recipient(&gateway.url);
    for (inquiry, word) in [
        (forgotten.clone(), "recipient of the attempt is not known"),
        (Inquiry { text: None, ..inquiry() }, "text of the attempt is not known"),
        (Inquiry { recipient: Some("20000123\r\n".into()), ..inquiry() }, "E.164"),
        (Inquiry { deadline: Duration::ZERO, ..inquiry() }, "no time left"),
    ] {
        let Finding::Unclear { detail } = provider.look_up(&inquiry).await else { panic!("{word}") };
        assert!(detail.contains(word), "{detail}");
    }
    assert!(is_unclear(&garage(&gateway.url).look_up(&inquiry()).await));
    assert!(gateway.requests().is_empty());
    // By reference neither is needed.
    assert_eq!(by_reference(&gateway.url).look_up(&forgotten).await, Finding::Absent);
}

#[tokio::test]
async fn a_gateway_that_hangs_floods_or_is_gone_makes_a_look_up_unclear_in_time() {
    let gateway = Gateway::start(|number, _| match number {
        0 => Reply::Stall(String::new()),
        1 => Reply::Stall("HTTP/1.1 404 X\r\nContent-Length: 100\r\n\r\n{}".into()),
        2 => Reply::Flood("HTTP/1.1 200 X\r\nContent-Length: 104857600\r\n\r\n".into()),
        _ => Reply::Reset,
    })
    .await;
    let provider = by_reference(&gateway.url);
    let started = std::time::Instant::now();
    for _ in 0..4 {
        let short = Inquiry { deadline: Duration::from_millis(300), ..inquiry() };
        assert!(is_unclear(&provider.look_up(&short).await));
    }
    assert!(started.elapsed() < Duration::from_secs(10));
    assert!(is_unclear(&by_reference("http://127.0.0.1:1/").look_up(&inquiry()).await));
}

#[tokio::test]
async fn a_finding_quotes_neither_secrets_nor_what_a_list_says_of_customers() {
    let body = format!(r#"{{"messages":[{{"phone":"+21620000555","said":"Facture {KEY}"}}]}}"#);
    for status in [200, 500] {
        let gateway = Gateway::answering(&http(status, "", &body)).await;
        let shown = format!("{:?}", by_recipient(&gateway.url).look_up(&inquiry()).await);
        assert!(shown.contains(&format!("HTTP {status}")), "{shown}");
        assert!(!shown.contains("Facture") && !shown.contains("20000555") && !shown.contains("secret"), "{shown}");
    }
}

#[tokio::test]
async fn a_look_up_renews_a_refused_token_once() {
    let gateway = oauth_gateway(2, "3600").await;
    let provider = configured(&format!(
        "url = '{0}?{{{{ reference }}}}'\nauth = {{ type = 'oauth2', token_url = '{1}', client_id = 'c' }}\n\
         lookup = {{ by = 'reference', url = '{0}?{{{{ reference }}}}' }}",
        gateway.url,
        gateway.url.replace("/send", "/token"),
    ));
    assert_eq!(provider.look_up(&inquiry()).await, taken(&[Some("1")]));
    assert_eq!(count(&gateway, "/token"), 2);
}

#[test]
fn look_ups_that_cannot_work_are_refused_at_start_with_their_key() {
    let knows = "url = 'http://x/?{{ reference }}'\n[lookup]\n";
    let blind = "url = 'http://x/'\n[lookup]\n";
    let one = "by = 'reference'\nurl = 'http://x/?{{ reference }}'\n";
    let list = "by = 'recipient'\nurl = 'http://x/?{{ phone }}'\n";
    for (text, key) in [
        ("url = 'http://x/'\ndeduplicates = true".to_owned(), "deduplicates"),
        (format!("{blind}{one}"), "lookup.by"),
        (format!("{knows}by = 'reference'\nurl = 'http://x/?{{{{ phone }}}}'"), "lookup.url"),
        (format!("{knows}by = 'recipient'\nurl = 'http://x/?{{{{ reference }}}}'"), "lookup.url"),
        (format!("{knows}by = 'reference'\nurl = 'http://{{{{ reference }}}}.example/'"), "lookup.url"),
        (format!("{knows}by = 'recipient'\nurl = 'http://h{{{{ phone|raw }}}}.example/'"), "lookup.url"),
        (format!("{knows}by = 'reference'\nurl = 'ftp://x/?{{{{ reference }}}}'"), "lookup.url"),
        (format!("{knows}by = 'reference'\nurl = 'http://x/?{{{{ reference }}}}{{{{ message }}}}'"), "lookup.url"),
        (format!("{knows}{one}query = [{{ name = 'm', value = '{{{{ text }}}}' }}]"), "lookup.query.m"),
        (format!("{knows}{one}headers = {{ 'a b' = 'x' }}"), "lookup.headers.a b"),
        (format!("{knows}{one}items = '$[*]'"), "lookup.items"),
        (format!("{knows}{one}text = '$'"), "lookup.text"),
        (format!("{knows}{one}id = {{ json = '$[' }}"), "lookup.id.json"),
        (format!("{knows}{one}match = [{{ outcome = 'absent', status = 42 }}]"), "lookup.match[0].status"),
        (format!("{knows}{one}absent_after = '61m'"), "lookup.absent_after"),
        (format!("{blind}{list}text = '$'"), "lookup.items"),
        (format!("{blind}{list}items = '$.a[*]'"), "lookup.text"),
        (format!("{blind}{list}items = '$.a'\ntext = '$'"), "lookup.items"),
        (format!("{blind}{list}items = '$.[*]'\ntext = '$'"), "lookup.items"),
        (format!("{blind}{list}items = '$[*]'\ntext = '$'\nid = {{ regex = 'x' }}"), "lookup.id"),
    ] {
        let error = try_configured(&text).err().unwrap_or_else(|| panic!("accepted: {text}")).to_string();
        assert!(error.starts_with(&format!("{key}: ")), "{text}\n{error}");
        assert!(!error.contains("secret"), "{error}");
    }
    for text in [
        format!("{knows}{one}absent_after = '0s'"),
        format!(
            "{knows}by = 'reference'\nurl = 'http://x/'\nquery = [{{ name = 'r', value = '{{{{ reference }}}}' }}]"
        ),
        format!("{blind}{list}items = '$[*]'\ntext = '$'"),
        "url = 'http://x/?{{ reference }}'\ndeduplicates = true".to_owned(),
    ] {
        assert!(try_configured(&text).is_ok(), "{text}");
    }
}

#[test]
fn a_provider_says_what_it_can_be_asked() {
    let make = |config: &str| {
        let config = format!("url = 'http://x/?{{{{ reference }}}}'\n{config}");
        Provider::generic("x", toml::from_str(&config).unwrap(), tls()).unwrap()
    };
    let plain = make("");
    assert!(!plain.can_look_up() && !plain.deduplicates());
    assert_eq!(plain.absent_after(), Duration::from_secs(60));
    let able = make(
        "deduplicates = true\n\
         lookup = { by = 'reference', url = 'http://x/?{{ reference }}', absent_after = '2s' }",
    );
    assert!(able.can_look_up() && able.deduplicates());
    assert_eq!(able.absent_after(), Duration::from_secs(2));
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
