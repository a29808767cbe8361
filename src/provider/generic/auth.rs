//! Proving who we are: the credentials that go beside the message.
//!
//! Owns the headers of `auth` and the OAuth 2 token with its life: fetched by the first request that needs it while the
//! others wait, kept until shortly before it expires, and fetched anew once when a request is refused with 401. A token
//! that cannot be had is a failure before the message: nothing was sent. The secrets are in sensitive headers, which
//! no debug output shows.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Client, Method, Request, Url};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use super::GenericError;
use super::answer::Answer;
use super::config::{AuthConfig, GenericConfig};
use super::detail::Redactor;
use super::judge::retry_after;
use super::shape::{header_name, parse_url};
use super::template::form_plus;
use super::transport::{Exchange, exchange};
use crate::message::outcome::Outcome;

/// A token is renewed so long before it expires, so that it does not expire on its way.
const RENEW_BEFORE: Duration = Duration::from_secs(60);
/// Life of a token whose answer does not tell (RFC 6749 only recommends that it does).
const DEFAULT_LIFE: Duration = Duration::from_secs(300);
/// Longest life believed: the longest documented one (Orange, v2) is 90 days.
const LIFE_LIMIT: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// Bytes of a token answer that are read: a signed token with many claims is below 16 KiB.
const TOKEN_ANSWER_BYTES: usize = 64 * 1024;

/// A token as a request carries it.
#[derive(Clone)]
pub(super) struct Token {
    /// Which token it is, to tell a refused one from its successor.
    pub(super) number: u64,
    header: HeaderValue,
    value: SecretString,
}

/// Adds credentials to requests.
pub(super) enum Authorizer {
    /// Nothing to add: none needed, or a template or the query holds it.
    Nothing,
    /// The same header for every request.
    Header(HeaderName, HeaderValue),
    /// A token.
    OAuth2(Box<TokenSource>),
}

impl Authorizer {
    /// Checks `auth`, and tells `redactor` the secrets it makes of the key.
    pub(super) fn new(config: &GenericConfig, client: &Client, redactor: &mut Redactor) -> Result<Self, GenericError> {
        let secret = || config.api_key.as_ref().map(|key| key.expose_secret()).ok_or(GenericError::MissingSecret);
        match &config.auth {
            AuthConfig::None {} | AuthConfig::Query { .. } => Ok(Self::Nothing),
            AuthConfig::Basic { username } => {
                let header = basic(client, username, secret()?)?;
                hide_basic(&header, redactor);
                Ok(Self::Header(AUTHORIZATION, header))
            }
            AuthConfig::Bearer {} => Ok(Self::Header(AUTHORIZATION, sensitive(&format!("Bearer {}", secret()?))?)),
            AuthConfig::Header { name, prefix } => {
                let name = header_name("auth.name", name)?;
                Ok(Self::Header(name, sensitive(&format!("{prefix}{}", secret()?))?))
            }
            AuthConfig::OAuth2 { token_url, client_id, scope } => {
                let url = parse_url(token_url).map_err(|problem| GenericError::key("auth.token_url", problem))?;
                let credentials = basic(client, client_id, secret()?)?;
                hide_basic(&credentials, redactor);
                let mut form = "grant_type=client_credentials".to_owned();
                if let Some(scope) = scope {
                    form = format!("{form}&scope={}", form_plus(scope));
                }
                Ok(Self::OAuth2(Box::new(TokenSource {
                    client: client.clone(),
                    url,
                    credentials,
                    form,
                    redactor: redactor.clone(),
                    kept: Mutex::new(Kept::default()),
                })))
            }
        }
    }

    /// Adds the credentials. `refused` is the number of a token that was answered with 401.
    ///
    /// # Errors
    /// The outcome of a message that could not be sent for want of a token.
    pub(super) async fn authorize(
        &self,
        request: &mut Request,
        refused: Option<u64>,
        deadline: Instant,
    ) -> Result<Option<Token>, Outcome> {
        match self {
            Self::Nothing => Ok(None),
            Self::Header(name, value) => {
                request.headers_mut().insert(name.clone(), value.clone());
                Ok(None)
            }
            Self::OAuth2(source) => {
                let waited = timeout_at(deadline, source.token(refused, deadline)).await;
                let late = Outcome::TemporaryFailure { detail: "no OAuth 2 token in time".to_owned() };
                let token = waited.unwrap_or(Err(late))?;
                request.headers_mut().insert(AUTHORIZATION, token.header.clone());
                Ok(Some(token))
            }
        }
    }
}

impl Token {
    /// A redactor that hides this token too.
    pub(super) fn hidden_by(&self, redactor: &Redactor) -> Redactor {
        let mut redactor = redactor.clone();
        redactor.hide(self.value.expose_secret());
        redactor
    }
}

/// The token in use.
#[derive(Default)]
struct Kept {
    token: Option<(Token, Instant)>,
    /// Tokens issued so far.
    issued: u64,
}

/// Where tokens come from (RFC 6749, section 4.4).
pub(super) struct TokenSource {
    client: Client,
    url: Url,
    credentials: HeaderValue,
    form: String,
    redactor: Redactor,
    /// Locked while a token is fetched: the others wait for it instead of fetching their own. A fetch that is given up
    /// unlocks it, and the next in line tries with its own deadline.
    kept: Mutex<Kept>,
}

impl TokenSource {
    async fn token(&self, refused: Option<u64>, deadline: Instant) -> Result<Token, Outcome> {
        let mut kept = self.kept.lock().await;
        if let Some((token, renew_at)) = &kept.token
            && Instant::now() < *renew_at
            && Some(token.number) != refused
        {
            return Ok(token.clone());
        }
        let answer = self.fetch(deadline).await?;
        let (value, life) = read_token(&answer).ok_or_else(|| self.refusal(&answer))?;
        let header = sensitive(&format!("Bearer {}", value.expose_secret())).map_err(|_| self.refusal(&answer))?;
        kept.issued += 1;
        let token = Token { number: kept.issued, header, value };
        // A token that lives less than the margin serves the one request that fetched it.
        kept.token = Some((token.clone(), Instant::now() + life.saturating_sub(RENEW_BEFORE)));
        Ok(token)
    }

    async fn fetch(&self, deadline: Instant) -> Result<Answer, Outcome> {
        let mut request = Request::new(Method::POST, self.url.clone());
        request.headers_mut().insert(AUTHORIZATION, self.credentials.clone());
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        *request.body_mut() = Some(self.form.clone().into());
        match exchange(&self.client, request, deadline, TOKEN_ANSWER_BYTES).await {
            Exchange::Answered(answer) => Ok(answer),
            // Unlike a message, a token may be asked for twice.
            Exchange::NotSent(problem) | Exchange::Unknown(problem) => {
                let detail = self.redactor.detail(&format!("OAuth 2 token: {problem}"));
                Err(Outcome::TemporaryFailure { detail })
            }
        }
    }

    /// What an answer without a token means for the message.
    fn refusal(&self, answer: &Answer) -> Outcome {
        let status = answer.status;
        // The body of a success is not quoted: it may hold a token in a shape we did not understand.
        let said = if (200..300).contains(&status) { "an answer without a usable token" } else { answer.body.as_str() };
        let detail = self.redactor.detail(&format!("OAuth 2 token: HTTP {status}: {said}"));
        match status {
            429 => {
                let wait = answer.retry_after.as_deref();
                let retry_after = wait.and_then(|text| retry_after(text, answer.date.as_deref(), Timestamp::now()));
                Outcome::Throttled { retry_after, detail }
            }
            408 => Outcome::TemporaryFailure { detail },
            300..=499 => Outcome::Misconfigured { detail },
            _ => Outcome::TemporaryFailure { detail },
        }
    }
}

/// The token and its life (RFC 6749, section 5.1). Some servers write the seconds as a string.
fn read_token(answer: &Answer) -> Option<(SecretString, Duration)> {
    let json = answer.json.as_ref().filter(|_| (200..300).contains(&answer.status))?;
    let value = json.get("access_token").and_then(Value::as_str).filter(|value| !value.is_empty())?;
    let seconds = json.get("expires_in").and_then(|life| match life {
        Value::String(text) => text.trim().parse().ok(),
        Value::Number(number) => number.as_u64(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    });
    let life = seconds.map_or(DEFAULT_LIFE, Duration::from_secs).min(LIFE_LIMIT);
    Some((SecretString::from(value), life))
}

/// The header of HTTP Basic, as the HTTP library writes it (RFC 7617).
fn basic(client: &Client, username: &str, password: &str) -> Result<HeaderValue, GenericError> {
    if username.contains(':') {
        return Err(GenericError::key("auth", "a user name cannot hold a colon (RFC 7617)"));
    }
    let unsent = client.get("http://localhost/").basic_auth(username, Some(password)).build();
    unsent
        .ok()
        .and_then(|request| request.headers().get(AUTHORIZATION).cloned())
        .ok_or_else(|| GenericError::key("auth", "cannot be written as a header"))
}

/// The base64 text of a Basic header is as good as the password.
fn hide_basic(header: &HeaderValue, redactor: &mut Redactor) {
    if let Some((_, encoded)) = header.to_str().ok().and_then(|text| text.split_once(' ')) {
        redactor.hide(encoded);
    }
}

fn sensitive(text: &str) -> Result<HeaderValue, GenericError> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| GenericError::key("api_key", "has characters that a header cannot hold"))?;
    value.set_sensitive(true);
    Ok(value)
}
