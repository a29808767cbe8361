//! A server that records requests and answers by script, and the questions that are asked of every description.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::IntoResponse;
use jiff::Timestamp;
use secrecy::SecretString;

use crate::message::encoding::Encoding;
use crate::message::outcome::Outcome;
use crate::provider::generic::{GenericConfig, HttpProvider};
use crate::provider::inquiry::Inquiry;
use crate::provider::outgoing::Outgoing;
use crate::provider::receipt::{Push, PushError, Pushed};

/// The key of every provider here; it has the characters that URLs and headers treat differently.
pub(super) const KEY: &str = "auth-token/of==vendor";
/// Where receipts come.
pub(super) const PUSH_URL: &str = "https://sms.garage.example/receipts/vendor/0123456789abcdef";

/// A request as it came.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) method: Method,
    pub(super) path: String,
    /// The pairs of the query, decoded.
    pub(super) query: BTreeMap<String, String>,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl Seen {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name} in {self:?}")).to_str().unwrap()
    }

    /// The pairs of a form, in order.
    pub(super) fn form(&self) -> Vec<(String, String)> {
        url::form_urlencoded::parse(self.body.as_bytes()).into_owned().collect()
    }
}

type Script = Arc<Mutex<VecDeque<(u16, String)>>>;

/// The server.
pub(super) struct Gateway {
    pub(super) url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    script: Script,
}

impl Gateway {
    pub(super) async fn start() -> Self {
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let script: Script = Arc::default();
        let (records, answers) = (seen.clone(), script.clone());
        let app =
            axum::Router::new().fallback(move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| async move {
                let query = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
                records.lock().unwrap().push(Seen {
                    method,
                    path: uri.path().to_owned(),
                    query: query.into_owned().collect(),
                    headers,
                    body: String::from_utf8(body.to_vec()).unwrap(),
                });
                let (status, body) = answers.lock().unwrap().pop_front().expect("a request that nobody scripted");
                (StatusCode::from_u16(status).unwrap(), body).into_response()
            });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, seen, script }
    }

    pub(super) fn answers(&self, status: u16, body: &str) {
        self.script.lock().unwrap().push_back((status, body.to_owned()));
    }

    /// The one request since the last look.
    pub(super) fn only_request(&self) -> Seen {
        let mut seen = std::mem::take(&mut *self.seen.lock().unwrap());
        assert_eq!(seen.len(), 1, "{seen:#?}");
        seen.remove(0)
    }
}

/// A provider of this configuration.
pub(super) fn made(name: &str, config: GenericConfig) -> HttpProvider {
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    HttpProvider::new(name.to_owned(), config, tls).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The same, told where receipts come.
pub(super) fn pushing(name: &str, mut config: GenericConfig) -> HttpProvider {
    config.push_url = Some(SecretString::from(PUSH_URL));
    made(name, config)
}

pub(super) fn outgoing(text: &str, encoding: Encoding) -> Outgoing {
    Outgoing {
        reference: "ecar-1-1".to_owned(),
        recipient: "+21620000123".to_owned(),
        text: text.to_owned(),
        encoding,
        segments: 1,
        deadline: Duration::from_secs(20),
    }
}

pub(super) fn inquiry(text: &str) -> Inquiry {
    Inquiry {
        reference: "ecar-1-1".to_owned(),
        recipient: Some("+21620000123".to_owned()),
        text: Some(text.to_owned()),
        since: "2026-03-02T23:59:04Z".parse().unwrap(),
        deadline: Duration::from_secs(20),
    }
}

/// A documented answer: status, body, and the word of its outcome.
pub(super) type Answer = (u16, String, &'static str);

async fn word(gateway: &Gateway, provider: &HttpProvider, answer: &Answer) -> Outcome {
    gateway.answers(answer.0, &answer.1);
    let outcome = provider.send(&outgoing("Bonjour", Encoding::Gsm7)).await;
    gateway.only_request();
    outcome
}

/// Every answer has its outcome, no rule is there in vain, and no answer brings a secret back.
pub(super) async fn every_answer_is_judged(gateway: &Gateway, config: &GenericConfig, answers: &[Answer]) {
    let provider = made("vendor", config.clone());
    for answer in answers {
        assert_eq!(word(gateway, &provider, answer).await.word(), answer.2, "{answer:?}");
    }
    for answer in answers.iter().filter(|(_, body, word)| body.starts_with('{') && *word != "accepted") {
        let echoing = answer.1.replacen('{', &format!("{{\"echo\":\"{KEY}\","), 1).replace(",}", "}");
        let outcome = word(gateway, &provider, &(answer.0, echoing, answer.2)).await;
        assert_eq!(outcome.word(), answer.2);
        assert!(outcome.detail().contains("[redacted]"), "{outcome:?}");
        assert!(!outcome.detail().contains("auth-token"), "{outcome:?}");
    }
    for (at, rule) in config.rules.iter().enumerate() {
        let mut without = config.clone();
        without.rules.remove(at);
        let provider = made("vendor", without);
        let mut decides = false;
        for answer in answers {
            decides |= word(gateway, &provider, answer).await.word() != answer.2;
        }
        assert!(decides, "no documented answer is judged by rule {at}: {rule:?}");
    }
}

/// What a push says.
pub(super) fn read(
    provider: &HttpProvider,
    (method, url): (&str, &str),
    headers: &[(&str, &str)],
    body: &str,
    now: &str,
) -> Result<Vec<Pushed>, PushError> {
    let header = |name: &str| headers.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    let now: Timestamp = now.parse().unwrap();
    provider.read_push(&Push { method, url, header: &header, body: body.as_bytes(), now })
}

/// A form's body.
pub(super) fn form(pairs: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}
