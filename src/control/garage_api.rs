//! The garage application's own manual endpoints, answered as it answers them, for clients that already call them:
//! `POST /api/services/{id}/send_sms_notification/` and the same for invoices.
//!
//! They wait for the result for up to [`RESULT_WAIT`]. The bodies are the application's, so they are not problem+json.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::{Extension, Json, Router};
use serde_json::json;
use tracing::info;

use super::desk::{Desk, wait_for_rest};
use super::peer::Peer;
use crate::message::kind::Kind;
use crate::message::reason::Reason;
use crate::outbox::staff::{self, Message, Request, StaffError};

/// How long a caller waits for the result.
const RESULT_WAIT: Duration = Duration::from_secs(10);

/// The two routes.
pub(super) fn router() -> Router<Arc<Desk>> {
    Router::new()
        .route("/api/services/{id}/send_sms_notification/", any(service))
        .route("/api/invoices/{id}/send_sms_notification/", any(invoice))
}

async fn service(
    state: State<Arc<Desk>>,
    peer: Extension<Peer>,
    id: Result<Path<i64>, PathRejection>,
    method: Method,
) -> Response {
    notify(state.0, &peer.0, Kind::ServiceCompleted, "Service", id.ok().map(|id| id.0), &method).await
}

async fn invoice(
    state: State<Arc<Desk>>,
    peer: Extension<Peer>,
    id: Result<Path<i64>, PathRejection>,
    method: Method,
) -> Response {
    notify(state.0, &peer.0, Kind::InvoiceCreated, "Invoice", id.ok().map(|id| id.0), &method).await
}

async fn notify(
    desk: Arc<Desk>,
    peer: &Peer,
    kind: Kind,
    model: &str,
    source_id: Option<i64>,
    method: &Method,
) -> Response {
    if method != Method::POST {
        let mut response = answer(StatusCode::METHOD_NOT_ALLOWED, &format!("Méthode « {method} » non autorisée."));
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST, OPTIONS"));
        return response;
    }
    let missing = || answer(StatusCode::NOT_FOUND, &format!("No {model} matches the given query."));
    // What is no number is no id of a row either.
    let Some(source_id) = source_id else { return missing() };
    let database = &desk.vitals.database;
    match staff::source_exists(database, kind, source_id).await {
        Ok(true) => {}
        Ok(false) => return missing(),
        Err(error) => return failed(&error.to_string()),
    }
    if desk.vitals.providers.borrow().is_empty() {
        return failed("SMS API key not configured");
    }
    let request =
        Request { kind, source_id: Some(source_id), recipient: None, body: None, lang: None, not_before: None };
    let id = match staff::enqueue(database, &request, peer.name()).await {
        Ok(id) => id,
        Err(StaffError::NotFound(said) | StaffError::Conflict(said) | StaffError::Refused(said)) => {
            return failed(&said);
        }
        Err(StaffError::Database(error)) => return failed(&error.to_string()),
    };
    info!(msg.id = id, msg.kind = %kind, by = peer.name(), "message asked for");
    match wait_for_rest(&desk, id, RESULT_WAIT).await {
        Ok(message) => result(&message),
        Err(problem) => problem.into_response(),
    }
}

fn result(message: &Message) -> Response {
    let why = || message.detail.clone().or_else(|| message.reason.clone()).unwrap_or_else(|| message.status.clone());
    match message.status.as_str() {
        "sent" | "delivered" => answer(StatusCode::OK, "SMS notification sent successfully"),
        "skipped" if message.reason.as_deref() == Some(Reason::NoPhone.as_str()) => {
            answer(StatusCode::BAD_REQUEST, "SMS notification skipped: No phone number available")
        }
        "skipped" => answer(StatusCode::BAD_REQUEST, &format!("SMS notification skipped: {}", why())),
        "failed" | "expired" | "cancelled" | "undelivered" => failed(&why()),
        _ => answer(StatusCode::ACCEPTED, "SMS notification queued"),
    }
}

fn failed(why: &str) -> Response {
    answer(StatusCode::INTERNAL_SERVER_ERROR, &format!("Failed to send SMS notification: {why}"))
}

fn answer(status: StatusCode, detail: &str) -> Response {
    (status, Json(json!({ "detail": detail }))).into_response()
}
