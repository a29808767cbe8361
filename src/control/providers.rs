//! `/v1/providers`: who carries messages, how well, with how much credit; and a trial of one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tracing::info;

use super::desk::Desk;
use super::peer::Peer;
use super::problem::Problem;
use super::request::{parse, part};
use super::status::ProviderStatus;
use crate::message::encoding;
use crate::message::phone;
use crate::outbox::contacts;
use crate::outbox::trial::{self, Record};
use crate::provider::Provider;
use crate::provider::credit::{self, Level};
use crate::provider::outgoing::Outgoing;

/// Time allowed to reach a provider's port.
const REACH_LIMIT: Duration = Duration::from_secs(5);

/// Longest text of a trial, in characters: one segment.
const TEXT_LIMIT_CHARS: usize = 160;

/// The text of a trial when none is given.
const TEXT: &str = "ecar-sms: ceci est un essai.";

/// The routes.
pub(super) fn router() -> Router<Arc<Desk>> {
    Router::new().route("/v1/providers", get(list)).route("/v1/providers/{name}/test", post(test))
}

async fn list(State(desk): State<Arc<Desk>>) -> Json<Vec<ProviderStatus>> {
    Json(desk.vitals.providers())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TestBody {
    /// Whom to send a real message; none: nothing is sent.
    to: Option<String>,
    text: Option<String>,
}

/// What a trial found.
#[derive(Debug, Serialize, Deserialize)]
pub struct Trial {
    /// Whether it is as it should be.
    pub ok: bool,
    /// What was done and seen, a sentence each.
    pub steps: Vec<String>,
}

async fn test(
    State(desk): State<Arc<Desk>>,
    Extension(peer): Extension<Peer>,
    path: Result<Path<String>, PathRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Trial>, Problem> {
    let name = part(path)?;
    let TestBody { to, text } = parse(body)?;
    let providers = desk.vitals.providers.borrow().clone();
    let provider = providers
        .iter()
        .find(|provider| provider.name() == name)
        .ok_or_else(|| Problem::not_found("there is no such provider; see ecar-sms provider list"))?;
    let mut trial = Trial { ok: true, steps: Vec::new() };
    reach(provider, &mut trial).await;
    look_at_link(provider, &mut trial);
    ask_balance(provider, &mut trial).await;
    if let Some(to) = to {
        if text.as_ref().is_some_and(|text| text.chars().count() > TEXT_LIMIT_CHARS) {
            return Err(Problem::refused(format!("the text of a trial has at most {TEXT_LIMIT_CHARS} characters")));
        }
        let number = phone::normalise(&to, &desk.countries).map_err(|refusal| Problem::refused(refusal.to_string()))?;
        if let Some(copy) = desk.vitals.guards.copy() {
            return Err(Problem::refused(format!("nothing is sent: {copy}")));
        }
        let contact = contacts::show(&desk.vitals.database, number.number.as_str()).await?;
        if contact.opted_out.as_deref() == Some("all") {
            let to = number.number.as_str();
            return Err(Problem::refused(format!("{to} has opted out of all messages; try a number of your own")));
        }
        info!(provider.name = name, by = peer.name(), "a trial message is sent");
        let text = text.unwrap_or_else(|| TEXT.to_owned());
        send(&desk, provider, Wanted { to: number.number.as_str(), text: &text, by: peer.name() }, &mut trial).await?;
    }
    Ok(Json(trial))
}

async fn reach(provider: &Provider, trial: &mut Trial) {
    let Some((host, port)) = provider.endpoint() else { return };
    let begun = Instant::now();
    match tokio::time::timeout(REACH_LIMIT, TcpStream::connect((host.as_str(), port))).await {
        Ok(Ok(_)) => trial.steps.push(format!("{host}:{port} answers ({} ms)", begun.elapsed().as_millis())),
        Ok(Err(error)) => {
            trial.ok = false;
            trial.steps.push(format!("{host}:{port}: {error}"));
        }
        Err(_) => {
            trial.ok = false;
            trial.steps.push(format!("{host}:{port} does not answer within {} s", REACH_LIMIT.as_secs()));
        }
    }
}

/// Where a link is kept, whether it stands, which it does only with the right password.
fn look_at_link(provider: &Provider, trial: &mut Trial) {
    if !provider.keeps_link() {
        return;
    }
    match provider.link_problem() {
        None => trial.steps.push("the credentials are taken; the link stands".to_owned()),
        Some(problem) => {
            trial.ok = false;
            trial.steps.push(format!("there is no link: {problem}"));
        }
    }
}

async fn ask_balance(provider: &Provider, trial: &mut Trial) {
    if provider.balance_every().is_none() {
        if !provider.keeps_link() {
            let words = "it cannot be asked for its balance, so the credentials are only tried by sending (--to)";
            trial.steps.push(words.to_owned());
        }
        return;
    }
    match provider.ask_balance().await {
        Ok(balance) => {
            let (level, _) = provider.credit().learned(balance, provider.balance_low(), Instant::now());
            let shown = credit::amount(balance, provider.balance_unit());
            if level == Level::Empty {
                trial.ok = false;
                trial.steps.push(format!("the credentials are taken, and the account is empty: {shown}; fill it"));
            } else {
                trial.steps.push(format!("the credentials are taken; the balance is {shown}"));
            }
        }
        Err(problem) => {
            trial.ok = false;
            trial.steps.push(format!("the balance cannot be read: {problem}"));
        }
    }
}

/// The message of a trial.
struct Wanted<'a> {
    to: &'a str,
    text: &'a str,
    by: &'a str,
}

/// Sends it, and enters it into the history as any other message.
async fn send(desk: &Desk, provider: &Provider, wanted: Wanted<'_>, trial: &mut Trial) -> Result<(), Problem> {
    let Wanted { to, text, by } = wanted;
    let measure = encoding::measure(text);
    let outgoing = Outgoing {
        reference: format!("ecar-test-{:x}", Timestamp::now().as_millisecond()),
        recipient: to.to_owned(),
        text: text.to_owned(),
        encoding: measure.encoding,
        segments: measure.segments,
        deadline: provider.timeout(),
    };
    let Some(clearance) = provider.clearance().await else {
        trial.ok = false;
        trial.steps.push("no message was sent: the rate has no room for one yet; try again later".to_owned());
        return Ok(());
    };
    let outcome = provider.send(&outgoing, clearance).await;
    let shown = outgoing.discreet(&outcome);
    trial.ok &= outcome.word() == "accepted";
    let awaits = provider.awaits_receipts();
    let entry = Record { outgoing: &outgoing, outcome: &outcome, provider: provider.name(), by, awaits };
    let id = trial::record(&desk.vitals.database, &entry).await?;
    let detail = if shown.detail().is_empty() { String::new() } else { format!(": {}", shown.detail()) };
    trial.steps.push(format!("message {id} to {to}: {}{detail}", outcome.word()));
    Ok(())
}
