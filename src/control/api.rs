//! `/v1`: messages, settings, pause and reload, health and metrics.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{StatusCode, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Extension, Json, Router};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::oneshot;
use tracing::info;

use super::desk::{Desk, wait_for_rest};
use super::garage_api;
use super::peer::Peer;
use super::people;
use super::plain;
use super::problem::Problem;
use super::providers;
use super::request::{BODY_LIMIT_BYTES, parse, part};
use super::texts;
use crate::message::kind::Kind;
use crate::message::phone::{self, Countries};
use crate::outbox::bulk::{self, BulkAction, Selection};
use crate::outbox::settings;
use crate::outbox::staff::{self, Action, Filter, Message, Request};

/// Messages listed when nobody says how many.
const LIST_DEFAULT: i64 = 50;

/// Longest wait for a result in one request.
const WAIT_LIMIT: Duration = Duration::from_secs(60);

/// The whole API.
pub fn router(desk: Arc<Desk>) -> Router {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/messages", get(list).post(create))
        .route("/v1/messages/release", post(release_many))
        .route("/v1/messages/cancel", post(cancel_many))
        .route("/v1/messages/{id}", get(show))
        .route("/v1/messages/{id}/{action}", post(act))
        .route("/v1/settings", get(list_settings))
        .route("/v1/settings/{name}", put(set))
        .route("/v1/pause", post(pause))
        .route("/v1/resume", post(resume))
        .route("/v1/reload", post(reload))
        .route("/healthz", get(healthz))
        .route("/metrics", get(metrics))
        .merge(garage_api::router())
        .merge(texts::router())
        .merge(people::router())
        .merge(providers::router())
        .fallback(async || Problem::not_found("there is nothing here; see GET /v1/status"))
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this method is not allowed here")
        })
        .layer(DefaultBodyLimit::max(BODY_LIMIT_BYTES))
        .layer(map_response(plain::printable))
        .with_state(desk)
}

async fn status(State(desk): State<Arc<Desk>>) -> Response {
    Json(desk.vitals.status().await).into_response()
}

async fn healthz(State(desk): State<Arc<Desk>>) -> Response {
    let problems = desk.vitals.problems();
    if problems.is_empty() {
        return (StatusCode::OK, "ok\n").into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, problems.join("\n") + "\n").into_response()
}

async fn metrics(State(desk): State<Arc<Desk>>) -> Result<Response, Problem> {
    let text = desk
        .vitals
        .metrics()
        .await
        .map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    status: Option<String>,
    phone: Option<String>,
    kind: Option<String>,
    since: Option<String>,
    before: Option<i64>,
    limit: Option<i64>,
}

async fn list(
    State(desk): State<Arc<Desk>>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<Vec<Message>>, Problem> {
    let Query(query) = query.map_err(|error| Problem::bad_request(error.body_text()))?;
    let limit = query.limit.unwrap_or(LIST_DEFAULT);
    if limit < 1 {
        return Err(Problem::refused("limit is a number from 1"));
    }
    if let Some(status) = query.status.as_deref().filter(|text| !text.is_empty())
        && !staff::STATUSES.contains(&status)
    {
        return Err(Problem::refused(format!("unknown status; allowed: {}", staff::STATUSES.join(", "))));
    }
    if let Some(kind) = &query.kind {
        kind.parse::<Kind>().map_err(|error| Problem::refused(error.to_string()))?;
    }
    let filter = Filter {
        status: query.status.filter(|text| !text.is_empty()),
        phones: query.phone.map(|text| as_recorded(&text, &desk.countries)),
        kind: query.kind,
        since: query.since.as_deref().map(duration).transpose()?,
        before: query.before,
        limit,
    };
    Ok(Json(staff::list(&desk.vitals.database, &filter).await?))
}

/// A number as it may stand in the records, however staff write it: in E.164, or as written while it is not yet known.
fn as_recorded(text: &str, countries: &Countries) -> Vec<String> {
    // In a query string an unescaped plus is a space.
    let number = phone::normalise(text, countries).ok().map(|it| it.number.as_str().to_owned());
    number.into_iter().chain([text.trim().to_owned()]).collect()
}

fn duration(text: &str) -> Result<Duration, Problem> {
    humantime::parse_duration(text)
        .map_err(|error| Problem::refused(format!("\"{text}\" is no duration ({error}); write for example 30s or 2h")))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WaitQuery {
    wait: Option<String>,
}

async fn show(
    State(desk): State<Arc<Desk>>,
    id: Result<Path<String>, PathRejection>,
    query: Result<Query<WaitQuery>, QueryRejection>,
) -> Result<Json<Message>, Problem> {
    let Query(query) = query.map_err(|error| Problem::bad_request(error.body_text()))?;
    let id = message_id(&part(id)?)?;
    if let Some(wait) = query.wait.as_deref().map(duration).transpose()? {
        wait_for_rest(&desk, id, wait.min(WAIT_LIMIT)).await?;
    }
    Ok(Json(staff::show_with_story(&desk.vitals.database, id).await?))
}

fn message_id(text: &str) -> Result<i64, Problem> {
    text.parse().map_err(|_| {
        Problem::not_found(format!("there is no message \"{}\"", text.chars().take(40).collect::<String>()))
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateBody {
    kind: String,
    source_id: Option<i64>,
    recipient: Option<String>,
    body: Option<String>,
    lang: Option<String>,
    not_before: Option<String>,
}

async fn create(
    State(desk): State<Arc<Desk>>,
    Extension(peer): Extension<Peer>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let body: CreateBody = parse(body)?;
    let kind = body.kind.parse::<Kind>().map_err(|error| Problem::refused(error.to_string()))?;
    let not_before = body.not_before.as_deref().map(|text| text.parse::<Timestamp>()).transpose().map_err(|error| {
        Problem::refused(format!("not_before: {error}; write for example 2026-12-01T08:00:00+01:00"))
    })?;
    let request = Request {
        kind,
        source_id: body.source_id,
        recipient: body.recipient,
        body: body.body,
        lang: body.lang,
        not_before,
    };
    let id = staff::enqueue(&desk.vitals.database, &request, peer.name()).await?;
    info!(msg.id = id, msg.kind = %kind, by = peer.name(), "message asked for");
    Ok((StatusCode::ACCEPTED, Json(json!({ "id": id }))).into_response())
}

async fn act(
    State(desk): State<Arc<Desk>>,
    Extension(peer): Extension<Peer>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Json<Message>, Problem> {
    let (id, action) = part(path)?;
    let action = match action.as_str() {
        "resend" => Action::Resend,
        "cancel" => Action::Cancel,
        "release" => Action::Release,
        _ => return Err(Problem::not_found("allowed: resend, cancel, release")),
    };
    let id = message_id(&id)?;
    let shown = staff::act(&desk.vitals.database, action, id, peer.name()).await?;
    info!(msg.id = id, action = ?action, by = peer.name(), "staff acted");
    Ok(Json(staff::show(&desk.vitals.database, shown).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BulkBody {
    kind: Option<String>,
    reason: Option<String>,
    since: Option<String>,
    until: Option<String>,
    #[serde(default)]
    all: bool,
}

async fn release_many(
    State(desk): State<Arc<Desk>>,
    Extension(peer): Extension<Peer>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    many(&desk, &peer, BulkAction::Release, parse(body)?).await
}

async fn cancel_many(
    State(desk): State<Arc<Desk>>,
    Extension(peer): Extension<Peer>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    many(&desk, &peer, BulkAction::Cancel, parse(body)?).await
}

async fn many(desk: &Desk, peer: &Peer, action: BulkAction, body: BulkBody) -> Result<Response, Problem> {
    if let Some(kind) = &body.kind {
        kind.parse::<Kind>().map_err(|error| Problem::refused(error.to_string()))?;
    }
    let selection = Selection {
        kind: body.kind,
        reason: body.reason,
        since: body.since.as_deref().map(duration).transpose()?,
        until: body.until.as_deref().map(duration).transpose()?,
        all: body.all,
    };
    let messages = bulk::act(&desk.vitals.database, action, &selection, peer.name()).await?;
    info!(messages, action = ?action, selection = ?selection, by = peer.name(), "staff acted on many messages");
    Ok(Json(json!({ "messages": messages })).into_response())
}

async fn list_settings(State(desk): State<Arc<Desk>>) -> Result<Json<Vec<settings::SettingRow>>, Problem> {
    Ok(Json(settings::list(&desk.vitals.database).await.map_err(staff::StaffError::from)?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetBody {
    value: String,
}

async fn set(
    State(desk): State<Arc<Desk>>,
    Extension(peer): Extension<Peer>,
    name: Result<Path<String>, PathRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let body: SetBody = parse(body)?;
    change(&desk, &peer, &part(name)?, &body.value).await
}

async fn pause(State(desk): State<Arc<Desk>>, Extension(peer): Extension<Peer>) -> Result<Response, Problem> {
    change(&desk, &peer, "paused", "true").await
}

async fn resume(State(desk): State<Arc<Desk>>, Extension(peer): Extension<Peer>) -> Result<Response, Problem> {
    change(&desk, &peer, "paused", "false").await
}

async fn change(desk: &Desk, peer: &Peer, name: &str, value: &str) -> Result<Response, Problem> {
    let stored = staff::set(&desk.vitals.database, name, value, peer.name()).await?;
    info!(setting = name, value = stored, by = peer.name(), "setting changed");
    Ok(Json(json!({ "name": name, "value": stored })).into_response())
}

async fn reload(State(desk): State<Arc<Desk>>) -> Result<Response, Problem> {
    let (answer, answered) = oneshot::channel();
    let gone = || Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the daemon is stopping");
    desk.reload.send(answer).await.map_err(|_| gone())?;
    match answered.await.map_err(|_| gone())? {
        Ok(said) => Ok(Json(json!({ "detail": said })).into_response()),
        Err(problem) => Err(Problem::refused(problem)),
    }
}
