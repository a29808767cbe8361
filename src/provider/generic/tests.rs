//! The provider against a gateway of bare sockets, which can misbehave in ways no HTTP library would.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use secrecy::SecretString;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::message::encoding::Encoding;

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
