//! `/v1/templates`: the words of messages.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use serde::Deserialize;
use serde_json::json;
use tracing::info;

use super::desk::Desk;
use super::peer::Peer;
use super::problem::Problem;
use super::request::{parse, part};
use crate::message::fit::EncodingPolicy;
use crate::message::kind::Kind;
use crate::outbox::settings::Settings;
use crate::outbox::staff::StaffError;
use crate::outbox::templates::{self, Draft, Limits, Preview, Pricing, TemplateRecord};

/// Rows that a preview shows when nobody says how many.
const PREVIEW_DEFAULT: i64 = 3;

/// The routes.
pub(super) fn router() -> Router<Arc<Desk>> {
    Router::new()
        .route("/v1/templates", get(list))
        .route("/v1/templates/{kind}/{lang}", get(history).put(set))
        .route("/v1/templates/{kind}/{lang}/preview", post(preview))
}

async fn list(State(desk): State<Arc<Desk>>) -> Result<Json<Vec<TemplateRecord>>, Problem> {
    let texts = templates::in_force(&desk.vitals.database).await.map_err(StaffError::from)?;
    Ok(Json(templates::list(&texts)))
}

async fn history(
    State(desk): State<Arc<Desk>>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Json<Vec<TemplateRecord>>, Problem> {
    let (kind, lang) = named(path)?;
    Ok(Json(templates::history(&desk.vitals.database, kind, &lang).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetBody {
    body: Option<String>,
    encoding: Option<String>,
    #[serde(default)]
    built_in: bool,
}

async fn set(
    State(desk): State<Arc<Desk>>,
    Extension(peer): Extension<Peer>,
    path: Result<Path<(String, String)>, PathRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let (kind, lang) = named(path)?;
    let SetBody { body, encoding, built_in } = parse(body)?;
    if body.is_some() == built_in {
        return Err(Problem::refused("give either the template as body, or built_in: true"));
    }
    let draft = Draft { kind, lang, body, encoding: policy(encoding)? };
    let settings = settings(&desk).await?;
    let limits = limits(&settings, kind);
    let version = templates::set(&desk.vitals.database, &draft, limits, peer.name()).await?;
    info!(template.kind = %kind, template.lang = draft.lang, template.version = version, by = peer.name(), "template saved");
    Ok(Json(json!({ "kind": kind.as_str(), "lang": draft.lang, "version": version })).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PreviewBody {
    body: Option<String>,
    encoding: Option<String>,
    source_id: Option<i64>,
    limit: Option<i64>,
}

/// Without a template of its own: the one in force.
async fn preview(
    State(desk): State<Arc<Desk>>,
    path: Result<Path<(String, String)>, PathRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Preview>, Problem> {
    let (kind, lang) = named(path)?;
    let PreviewBody { body, encoding, source_id, limit } = parse(body)?;
    let settings = settings(&desk).await?;
    let mut draft = Draft { kind, lang, body, encoding: policy(encoding)? };
    if draft.body.is_none()
        && let Some(template) = settings.texts.template(kind, &draft.lang)
    {
        draft.body = Some(template.body.clone());
        draft.encoding = draft.encoding.or(template.encoding);
    }
    let pricing =
        Pricing { zone: &desk.zone, segment_price: settings.segment_price, keep_names: settings.rules.keep_names };
    let (limits, at_most) = (limits(&settings, kind), limit.unwrap_or(PREVIEW_DEFAULT));
    Ok(Json(templates::preview(&desk.vitals.database, &draft, limits, pricing, source_id, at_most).await?))
}

/// As they stand in the database now: the daemon's own copy is read at its next claim.
async fn settings(desk: &Desk) -> Result<Settings, Problem> {
    Ok(Settings::load(&desk.vitals.database).await.map_err(StaffError::from)?)
}

fn limits(settings: &Settings, kind: Kind) -> Limits {
    Limits {
        encoding: settings.rules.kinds.get(&kind).map_or(EncodingPolicy::Keep, |rule| rule.encoding),
        max_segments: settings.template_max_segments,
    }
}

fn named(path: Result<Path<(String, String)>, PathRejection>) -> Result<(Kind, String), Problem> {
    let (kind, lang) = part(path)?;
    let kind = kind.parse::<Kind>().map_err(|error| Problem::refused(error.to_string()))?;
    Ok((kind, lang))
}

fn policy(word: Option<String>) -> Result<Option<EncodingPolicy>, Problem> {
    word.map(|word| word.parse().map_err(|error| Problem::refused(format!("encoding: {error}")))).transpose()
}
