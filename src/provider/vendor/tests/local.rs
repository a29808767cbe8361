//! A server on this machine in the place of a vendor, and the messages that are sent to it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use jiff::Timestamp;
use tokio::net::TcpListener;

use crate::message::encoding::Encoding;
use crate::message::outcome::Outcome;
use crate::provider::generic::HttpProvider;
use crate::provider::inquiry::Inquiry;
use crate::provider::outgoing::Outgoing;
use crate::provider::receipt::{DeliveryStatus, Push, PushError, Pushed};
use crate::provider::vendor::{Vendor, VendorConfig};

/// When pushes come.
pub(super) const NOW: &str = "2026-03-02T11:00:00Z";

/// A request as it came.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// Method, and path with query, byte for byte.
    pub(super) line: String,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl Asked {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

type Script = Arc<dyn Fn(&Asked) -> (u16, String) + Send + Sync>;

/// A vendor's server. It lives as long as the test's runtime.
pub(super) struct Local {
    pub(super) url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Local {
    /// One that answers as `script` says.
    pub(super) async fn scripted(script: impl Fn(&Asked) -> (u16, String) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let script: Script = Arc::new(script);
        let router = Router::new().fallback(answer).with_state((script, asked.clone()));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, asked }
    }

    /// One that says the same to everybody.
    pub(super) async fn answering(status: u16, body: &str) -> Self {
        let body = body.to_owned();
        Self::scripted(move |_| (status, body.clone())).await
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// The one request that came.
    pub(super) fn only(&self) -> Asked {
        let mut asked = self.asked();
        assert_eq!(asked.len(), 1, "{asked:#?}");
        asked.remove(0)
    }
}

async fn answer(
    State((script, asked)): State<(Script, Arc<Mutex<Vec<Asked>>>)>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, String) {
    let body = String::from_utf8(body.to_vec()).unwrap();
    let request = Asked { line: format!("{method} {}", uri.path_and_query().unwrap()), headers, body };
    let (status, body) = script(&request);
    asked.lock().unwrap().push(request);
    (StatusCode::from_u16(status).unwrap(), body)
}

/// Nobody is trusted: all of it is plain HTTP.
pub(super) fn tls() -> rustls::ClientConfig {
    rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
}

/// The provider as an operator configures it.
pub(super) fn provider(name: &str, written: VendorConfig) -> HttpProvider {
    let config = Vendor::named(name).unwrap().configure(written).unwrap();
    HttpProvider::new(name.to_owned(), config, tls()).unwrap()
}

pub(super) fn outgoing(text: &str) -> Outgoing {
    Outgoing {
        reference: "ecar-123-1-69a56f00".into(),
        recipient: "+21620000123".into(),
        text: text.into(),
        encoding: if text.is_ascii() { Encoding::Gsm7 } else { Encoding::Ucs2 },
        segments: 1,
        deadline: Duration::from_secs(10),
    }
}

pub(super) fn inquiry() -> Inquiry {
    Inquiry {
        reference: "ecar-123-1-69a56f00".into(),
        recipient: Some("+21620000123".into()),
        text: Some("Bonjour".into()),
        since: "2026-03-02T10:00:00Z".parse().unwrap(),
        deadline: Duration::from_secs(10),
    }
}

pub(super) fn accepted(id: &str) -> Outcome {
    Outcome::Accepted { provider_message_id: Some(id.into()), segments: None }
}

/// Sends to a server that gives each of these answers, and compares the outcome's word. No detail may hold one of `secrets`.
pub(super) async fn check_answers(make: impl Fn(&str) -> HttpProvider, secrets: &[&str], cases: &[(u16, &str, &str)]) {
    for (status, body, expected) in cases {
        // A vendor that repeats what it was sent.
        let echo = format!(" {}", secrets.join(" "));
        let local = Local::answering(*status, body).await;
        let outcome = make(&local.url).send(&outgoing("Bonjour")).await;
        assert_eq!(outcome.word(), *expected, "{status} {body}: {outcome:?}");
        let local = Local::answering(*status, &format!("{body}{echo}")).await;
        let echoed = make(&local.url).send(&outgoing("Bonjour")).await;
        for secret in secrets {
            assert!(!format!("{outcome:?} {echoed:?}").contains(secret), "{status} {body}: {echoed:?}");
        }
    }
}

/// What a push of `body` with these headers says.
pub(super) fn push(provider: &HttpProvider, headers: &[(&str, &str)], body: &str) -> Result<Vec<Pushed>, PushError> {
    let header = |name: &str| headers.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    provider.read_push(&Push {
        method: "POST",
        url: "https://sms.garage.example/receipts/test/0123456789abcdef",
        header: &header,
        body: body.as_bytes(),
        now: NOW.parse().unwrap(),
    })
}

/// Id, reference, status, words and time of each receipt; number and text of each reply.
pub(super) fn shown(pushed: &[Pushed]) -> Vec<String> {
    let one = |pushed: &Pushed| match pushed {
        Pushed::Receipt(receipt) => {
            let status = match receipt.status {
                DeliveryStatus::Delivered => "delivered",
                DeliveryStatus::Undelivered => "undelivered",
                DeliveryStatus::Pending => "pending",
            };
            let at = receipt.at.as_ref().map(Timestamp::to_string).unwrap_or_default();
            let reference = receipt.reference.as_deref().unwrap_or_default();
            format!("{}|{reference}|{status}|{}|{at}", receipt.provider_message_id, receipt.words)
        }
        Pushed::Reply(reply) => format!("{}: {}", reply.from, reply.text),
    };
    pushed.iter().map(one).collect()
}
