//! `/v1/contacts` and `/v1/optouts`: language, consent and opt-outs by number.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tracing::info;

use super::desk::Desk;
use super::peer::Peer;
use super::problem::Problem;
use super::request::{parse, part};
use crate::message::phone::{self, Countries, Refusal};
use crate::outbox::contacts::{self, ContactChange, ContactRecord};

/// Entries of a list in one request.
pub const IMPORT_CHUNK: usize = 5_000;

/// Largest body of such a request, in bytes.
const IMPORT_LIMIT_BYTES: usize = 2 * 1024 * 1024;

/// Opt-outs listed when nobody says how many.
const LIST_DEFAULT: i64 = 100;

/// The routes.
pub(super) fn router() -> Router<Arc<Desk>> {
    Router::new()
        .route("/v1/contacts/{phone}", get(show).put(change))
        .route("/v1/contacts/import", post(import_languages).layer(DefaultBodyLimit::max(IMPORT_LIMIT_BYTES)))
        .route("/v1/optouts", get(list))
        .route("/v1/optouts/import", post(import).layer(DefaultBodyLimit::max(IMPORT_LIMIT_BYTES)))
        .route("/v1/optouts/imported", post(imported))
}

async fn show(
    State(desk): State<Arc<Desk>>,
    phone: Result<Path<String>, PathRejection>,
) -> Result<Json<ContactRecord>, Problem> {
    let number = named(phone)?;
    Ok(Json(contacts::show(&desk.vitals.database, &number).await?))
}

async fn change(
    State(desk): State<Arc<Desk>>,
    Extension(peer): Extension<Peer>,
    phone: Result<Path<String>, PathRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<ContactRecord>, Problem> {
    let number = named(phone)?;
    let changed: ContactChange = parse(body)?;
    contacts::change(&desk.vitals.database, &number, &changed, peer.name()).await?;
    info!(by = peer.name(), opt_out = changed.opt_out, lang = changed.lang, "contact changed");
    Ok(Json(contacts::show(&desk.vitals.database, &number).await?))
}

/// The number as it is stored, however it was written. A country that is not texted today may be tomorrow.
fn number(text: &str) -> Result<String, Refusal> {
    phone::normalise(text, &Countries::everywhere()).map(|normalised| normalised.number.as_str().to_owned())
}

fn named(phone: Result<Path<String>, PathRejection>) -> Result<String, Problem> {
    number(&part(phone)?).map_err(|refusal| Problem::refused(refusal.to_string()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    limit: Option<i64>,
}

async fn list(
    State(desk): State<Arc<Desk>>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<Vec<ContactRecord>>, Problem> {
    let Query(query) = query.map_err(|error| Problem::bad_request(error.body_text()))?;
    Ok(Json(contacts::opted_out(&desk.vitals.database, query.limit.unwrap_or(LIST_DEFAULT)).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ImportBody {
    scope: String,
    source: String,
    phones: Vec<String>,
}

/// What became of one part of a list.
#[derive(Debug, Serialize, Deserialize)]
pub struct Imported {
    /// Numbers of which something changed.
    pub added: i64,
    /// Entries that are no numbers: their index in the request, and why.
    pub bad: Vec<(usize, String)>,
}

/// A part of a list: what is no number is named and hinders nobody.
async fn import(
    State(desk): State<Arc<Desk>>,
    Extension(peer): Extension<Peer>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Imported>, Problem> {
    let ImportBody { scope, source, phones } = parse(body)?;
    if phones.len() > IMPORT_CHUNK {
        return Err(Problem::refused(format!("at most {IMPORT_CHUNK} numbers in one request")));
    }
    let mut numbers = Vec::with_capacity(phones.len());
    let mut bad = Vec::new();
    for (index, phone) in phones.iter().enumerate() {
        match number(phone) {
            Ok(number) => numbers.push(number),
            Err(refusal) => bad.push((index, refusal.to_string())),
        }
    }
    let how = format!("list {source}");
    let added = contacts::add(&desk.vitals.database, &numbers, &scope, &how, peer.name()).await?;
    Ok(Json(Imported { added, bad }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LanguagesBody {
    phones: Vec<String>,
    langs: Vec<String>,
}

/// Languages of many numbers, one for each; the last one of a number counts.
async fn import_languages(
    State(desk): State<Arc<Desk>>,
    Extension(peer): Extension<Peer>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Imported>, Problem> {
    let LanguagesBody { phones, langs } = parse(body)?;
    if phones.len() > IMPORT_CHUNK || phones.len() != langs.len() {
        return Err(Problem::refused(format!("at most {IMPORT_CHUNK} numbers in one request, each with a language")));
    }
    let mut languages = BTreeMap::new();
    let mut bad = Vec::new();
    for (index, (phone, lang)) in phones.iter().zip(langs).enumerate() {
        let is_code = (2..=3).contains(&lang.len()) && lang.bytes().all(|byte| byte.is_ascii_lowercase());
        match number(phone) {
            Ok(number) if is_code => drop(languages.insert(number, lang)),
            Ok(_) => bad.push((index, "the language is no code of two or three small letters, such as fr".to_owned())),
            Err(refusal) => bad.push((index, refusal.to_string())),
        }
    }
    let added = contacts::set_languages(&desk.vitals.database, &languages, peer.name()).await?;
    Ok(Json(Imported { added, bad }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ImportedBody {
    source: String,
    entries: i64,
    added: i64,
    bad: i64,
}

async fn imported(
    State(desk): State<Arc<Desk>>,
    Extension(peer): Extension<Peer>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let ImportedBody { source, entries, added, bad } = parse(body)?;
    contacts::imported(&desk.vitals.database, &source, entries, added, bad, peer.name()).await?;
    info!(source, entries, added, bad, by = peer.name(), "list of opt-outs taken over");
    Ok(Json(json!({ "entries": entries, "added": added, "bad": bad })).into_response())
}
