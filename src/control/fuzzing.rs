//! What must hold of requests on the control socket for any input; the fuzz targets run it for hours, the tests for a
//! moment (docs/FUZZING.md). A property that does not hold panics.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32};

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use axum::{Extension, Router};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;
use tokio::sync::{broadcast, mpsc, watch};

use super::api;
use super::desk::Desk;
use super::peer::Peer;
use super::status::Vitals;
use crate::db::listener::Hearing;
use crate::db::{Database, Target};
use crate::journal::Journal;
use crate::message::facts::turns_text;
use crate::message::phone::Countries;
use crate::metrics::Metrics;
use crate::outbox::guards::Guards;
use crate::outbox::pulse::Pulse;
use crate::outbox::settings::Settings;

/// Longest answer read, in bytes; far above any that a desk without a database gives.
const ANSWER_LIMIT_BYTES: usize = 1024 * 1024;

/// Beginnings for [`request`]: method and target in the first line, then the body.
pub const SEEDS: &[&str] = &[
    "GET /v1/status\n",
    "GET /v1/messages?status=held&phone=%2B21620000001&kind=custom&since=2h&before=9&limit=50\n",
    "GET /v1/messages/1?wait=10s\n",
    "POST /v1/messages\n{\"kind\":\"custom\",\"recipient\":\"20 000 001\",\"body\":\"Bonjour\",\"not_before\":\"2026-12-01T08:00:00+01:00\"}",
    "POST /v1/messages\n{\"kind\":\"service_completed\",\"source_id\":42}",
    "POST /v1/messages/7/resend\n",
    "PUT /v1/settings/service_completed.delay\n{\"value\":\"5min\"}",
    "POST /v1/pause\n",
    "POST /v1/reload\n",
    "PUT /v1/templates/service_completed/fr\n{\"body\":\"Bonjour {{ first_name }}\",\"encoding\":\"fit\"}",
    "POST /v1/templates/invoice_created/ar/preview\n{\"source_id\":7,\"limit\":1}",
    "PUT /v1/contacts/20%20000%20001\n{\"lang\":\"ar\",\"opt_out\":\"marketing\",\"consent\":{\"given\":true,\"how\":\"form\"}}",
    "POST /v1/optouts/import\n{\"scope\":\"all\",\"source\":\"85300\",\"phones\":[\"20 000 001\",\"x\"]}",
    "GET /healthz\n",
    "GET /metrics\n",
    "POST /api/services/42/send_sms_notification/\n",
    "DELETE /v1/messages/%ff/%00?wait=%ff\n",
    "GET /v1/messages?\u{97}=1\n",
];

/// The API with everything behind it but a database.
fn router() -> Option<Router> {
    let target = Target::parse("host=/nonexistent dbname=none").ok()?;
    let (recorded, _) = broadcast::channel(1);
    let (reload, _) = mpsc::channel(1);
    let vitals = Vitals {
        database: Database::new(&target, 1).ok()?,
        started_at: Timestamp::UNIX_EPOCH,
        owner: Arc::new(AtomicI32::new(1)),
        pulse: Arc::new(Pulse::default()),
        guards: Arc::new(Guards::new(Vec::new())),
        journal: Arc::new(Journal::none()),
        results_blocked: Arc::new(AtomicBool::new(false)),
        providers: watch::channel(Arc::default()).1,
        settings: watch::channel(Arc::new(Settings::unknown())).1,
        hearing: watch::channel(Hearing::Polling("no database".to_owned())).1,
        metrics: Arc::new(Metrics::default()),
        zone: "Africa/Tunis".to_owned(),
    };
    let peer = Peer::of(&UnixStream::pair().ok()?.0);
    let desk = Desk { vitals, countries: Countries::default(), zone: TimeZone::UTC, recorded, reload };
    Some(api::router(Arc::new(desk)).layer(Extension(peer)))
}

thread_local! {
    /// Made once, because an input takes less time than a desk.
    static DESK: (Runtime, Router) = {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let made = runtime.ok().and_then(|runtime| {
            let router = runtime.block_on(async { router() })?;
            Some((runtime, router))
        });
        match made {
            Some(made) => made,
            None => panic!("the desk without a database cannot be made"),
        }
    };
}

/// Every request has an answer: refused with a sentence in JSON, or 503 for want of a database; 500 never, but where the
/// garage's own endpoint has always said so.
pub fn request(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == b'\n');
    let first = String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    let body = parts.next().unwrap_or_default().to_vec();
    let (method, target) = first.split_once(' ').unwrap_or(("GET", &first));
    let Ok(request) = Request::builder().method(method).uri(target).body(Body::from(body)) else { return };
    DESK.with(|(runtime, router)| runtime.block_on(answered(router.clone(), &first, request)));
}

async fn answered(router: Router, first: &str, request: Request<Body>) {
    let garage = request.uri().path().starts_with("/api/");
    let head = *request.method() == axum::http::Method::HEAD;
    let Ok(answer) = TowerToHyperService::new(router).call(request).await;
    let status = answer.status();
    assert!(status != StatusCode::INTERNAL_SERVER_ERROR || garage, "{first:?} was answered {status}");
    let kind = answer.headers().get(header::CONTENT_TYPE).cloned();
    let text = to_bytes(answer.into_body(), ANSWER_LIMIT_BYTES).await.unwrap_or_default();
    let Ok(text) = std::str::from_utf8(&text) else { panic!("{first:?} was answered in no UTF-8") };
    assert!(!text.chars().any(|c| (c.is_control() && c != '\n') || turns_text(c)), "{first:?} was answered {text:?}");
    if (status.is_client_error() || status.is_server_error()) && !garage && !first.contains("healthz") {
        assert!(kind.is_some_and(|kind| kind == "application/problem+json"), "{first:?}: {status} {text}");
        let problem: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
        assert!(head || problem["detail"].as_str().is_some_and(|said| !said.is_empty()), "{first:?}: {text}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_property_holds_for_the_beginnings_of_the_fuzz_targets() {
        SEEDS.iter().for_each(|seed| request(seed.as_bytes()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_request_is_answered_with_a_sentence(
            target in "(GET|POST|PUT|HEAD|OPTIONS) /(v1/|api/)?[a-z/%0-9.?=&+]{0,40}",
            body in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            request(&[format!("{target}\n").as_bytes(), &body].concat());
        }

        #[test]
        fn any_body_of_a_message_is_taken_or_refused(
            kind in "custom|service_completed|\\PC{0,5}", text in any::<String>(), id in any::<i64>(), time in "\\PC{0,30}",
        ) {
            let body = serde_json::json!({ "kind": kind, "body": text, "source_id": id, "not_before": time });
            request(format!("POST /v1/messages\n{body}").as_bytes());
        }
    }
}
