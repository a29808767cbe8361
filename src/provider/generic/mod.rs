//! The generic HTTP provider: one adapter for the many gateways that differ only in names.
//!
//! Owns the way of one message over HTTP: the templates of the configuration make a request, the request goes out once,
//! rules judge the answer, and the result is one [`Outcome`]. It knows no queue, keeps no message, never repeats a send
//! and never follows a redirect. Rate and concurrency are in its configuration for others to apply.
//!
//! | step | file | when it fails |
//! |---|---|---|
//! | render and build | `shape`, `subject`, `template`, `request`, `json_tree` | nothing was sent: rejected or misconfigured |
//! | authorize | `auth` | nothing was sent: temporary, throttled or misconfigured |
//! | exchange | `transport` | no connection: temporary; anything later: unknown |
//! | judge | `judge`, `answer`, `rule`, `extract` | an answer that is not understood: unknown |
//!
//! A look-up takes the same way with templates and rules of its own (`lookup`) and ends in a `Finding`; whatever fails on
//! it is unclear. A 401 to a request with an OAuth 2 token is the one answer after which the request is made again, once, with a new
//! token: it was refused before it was looked at. Every text of the provider passes `detail`, which takes out control
//! characters and secrets.

mod account;
mod answer;
mod auth;
mod config;
mod detail;
mod extract;
mod field;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod json_tree;
mod judge;
mod lookup;
mod parameters;
mod pushes;
mod request;
mod rule;
mod shape;
mod signature;
mod subject;
mod template;
mod transport;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::Client;
use secrecy::ExposeSecret;
use tokio::time::Instant;

pub use config::{
    AuthConfig, BalanceConfig, BodyKind, GenericConfig, LookupBy, LookupConfig, Method, NumberStyle, Otherwise,
    PollConfig,
};
pub use extract::ExtractorConfig;
pub use field::{FieldConfig, FieldEncoding, JsonType, TemplateText};
pub use pushes::{ReceiptsConfig, RepliesConfig};
pub use rule::{JsonConfig, LookupVerdict, RuleConfig, Scalar, StatusConfig, StatusRange, Verdict};

pub use signature::{MacEncoding, SignatureConfig};

use self::account::{Balance, Poll};
use self::auth::Authorizer;
use self::detail::Redactor;
use self::judge::Judge;
use self::lookup::Lookup;
use self::pushes::Pushes;
use self::request::{BuildError, RequestMaker};
use self::subject::Subject;
use self::template::RenderError;
use self::transport::{Exchange, exchange};
use super::inquiry::{DEFAULT_ABSENT_AFTER, Finding, Inquiry};
use super::outgoing::Outgoing;
use super::receipt::{Push, PushError, Pushed, Receipt};
use crate::message::outcome::Outcome;

/// Longest total time-out: a lease must cover it, and a lease of hours would be of no use.
const TOTAL_TIMEOUT_LIMIT: Duration = Duration::from_secs(60);
/// Most requests at once: beyond it sockets run out before gateways do.
const CONCURRENCY_LIMIT: usize = 1024;
/// Shortest last part of the path at which pushes come: 62 to the power of 16 cannot be tried out.
const PUSH_TOKEN_CHARS: usize = 16;
/// Largest answer that may be configured, in bytes: `concurrency` of them are held in memory.
const MAX_BODY_BYTES_LIMIT: usize = 1024 * 1024;

/// Why a provider cannot be made from its configuration. Never quotes a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GenericError {
    /// The value of a key is wrong.
    #[error("{key}: {problem}")]
    Key {
        /// The key, with its path, for example `match[2].json.path`.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
    /// `auth` or a template uses the key, and there is none.
    #[error("api_key: is used by `auth` or a template, and is missing")]
    MissingSecret,
    /// The HTTP client cannot be made.
    #[error("the HTTP client cannot be made: {0}")]
    Client(String),
}

impl GenericError {
    fn key(key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Key { key: key.into(), problem: problem.into() }
    }

    /// For problems that quote a template, where the key may stand.
    fn without_secrets(self, redactor: &Redactor) -> Self {
        match self {
            Self::Key { key, problem } => Self::Key { key, problem: redactor.detail(&problem) },
            Self::MissingSecret | Self::Client(_) => self,
        }
    }
}

/// A provider that speaks HTTP as its configuration says.
pub struct HttpProvider {
    name: String,
    config: GenericConfig,
    client: Client,
    maker: RequestMaker,
    authorizer: Authorizer,
    judge: Judge,
    lookup: Option<Lookup>,
    pushes: Option<Pushes>,
    poll: Option<Poll>,
    balance: Option<Balance>,
    redactor: Redactor,
}

impl HttpProvider {
    /// Makes the provider called `name`. `tls` is used for `https` only; it may trust nobody when the URL is `http`.
    ///
    /// # Errors
    /// See [`GenericError`]: all of the configuration is checked here, so that no message meets a mistake first.
    pub fn new(name: String, config: GenericConfig, tls: rustls::ClientConfig) -> Result<Self, GenericError> {
        check_limits(&config)?;
        let mut redactor = Redactor::default();
        if let Some(key) = &config.api_key {
            redactor.hide(key.expose_secret());
        }
        if let Some(token) = &config.push_token {
            redactor.hide(token.expose_secret());
        }
        let client = transport::client(&config, tls)?;
        let hide = |error: GenericError| error.without_secrets(&redactor);
        let maker = RequestMaker::of_messages(&config).map_err(hide)?;
        if config.deduplicates {
            lookup::check_carries_reference(&maker, "deduplicates")?;
        }
        let lookup = config.lookup.as_ref().map(|lookup| Lookup::new(&config, lookup, &maker)).transpose();
        let lookup = lookup.map_err(hide)?;
        let poll = config.poll.as_ref().map(|poll| Poll::new(&config, poll)).transpose().map_err(hide)?;
        let balance =
            config.balance.as_ref().map(|balance| Balance::new(&config, balance)).transpose().map_err(hide)?;
        let key = config.api_key.as_ref().map(ExposeSecret::expose_secret);
        let pushes = Pushes::new(config.receipts.as_ref(), config.replies.as_ref(), &config.signature, key)?;
        check_push_token(&config)?;
        let authorizer = Authorizer::new(&config, &client, &mut redactor)?;
        let judge = Judge::new(&config)?;
        Ok(Self { name, config, client, maker, authorizer, judge, lookup, pushes, poll, balance, redactor })
    }

    /// The provider's name in the configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The configuration, for those who apply rate and concurrency.
    pub fn config(&self) -> &GenericConfig {
        &self.config
    }

    /// Sends one message, once. Returns within the shorter of `outgoing.deadline` and `total_timeout`.
    ///
    /// Give it more time than `connect_timeout`: when the whole time is over during the connect, the outcome is unknown.
    /// Dropping the future leaves the outcome unknown too.
    pub async fn send(&self, outgoing: &Outgoing) -> Outcome {
        let deadline = Instant::now() + self.config.total_timeout.min(outgoing.deadline);
        match self.attempt(outgoing, deadline).await {
            Ok(outcome) | Err(outcome) => outcome,
        }
    }

    /// `Err` is the outcome of a message that did not get as far as the exchange.
    async fn attempt(&self, outgoing: &Outgoing, deadline: Instant) -> Result<Outcome, Outcome> {
        if let Some(limit) = self.config.max_segments.filter(|limit| outgoing.segments > *limit) {
            let detail = format!("{} segments, this provider takes {limit}", outgoing.segments);
            return Err(Outcome::Rejected { detail });
        }
        let (exchange, redactor) = self.converse(&self.maker, Subject::Message(outgoing), deadline).await?;
        Ok(match exchange {
            Exchange::NotSent(problem) => Outcome::TemporaryFailure { detail: redactor.detail(&problem) },
            Exchange::Unknown(problem) => Outcome::Unknown { detail: redactor.detail(&problem) },
            Exchange::Answered(answer) => self.judge.judge(&answer, Timestamp::now(), &redactor),
        })
    }

    /// Whether it can be asked what became of a message.
    pub fn can_look_up(&self) -> bool {
        self.lookup.is_some()
    }

    /// How long after its end an attempt may still be missing where look-ups find it.
    pub fn absent_after(&self) -> Duration {
        self.config.lookup.as_ref().map_or(DEFAULT_ABSENT_AFTER, |lookup| lookup.absent_after)
    }

    /// Asks what became of an attempt. Returns within the shorter of `inquiry.deadline` and `total_timeout`; dropping
    /// the future harms nothing.
    pub async fn look_up(&self, inquiry: &Inquiry) -> Finding {
        let Some(lookup) = &self.lookup else {
            return Finding::unclear("this provider has no look-up: set `lookup` in its configuration");
        };
        if let Some(obstacle) = lookup.obstacle(inquiry) {
            return Finding::unclear(obstacle);
        }
        let deadline = Instant::now() + self.config.total_timeout.min(inquiry.deadline);
        match self.converse(&lookup.maker, Subject::Inquiry(inquiry), deadline).await {
            Ok((Exchange::Answered(answer), redactor)) => lookup.judge(&answer, inquiry, &redactor),
            Ok((Exchange::NotSent(problem) | Exchange::Unknown(problem), redactor)) => {
                Finding::unclear(redactor.detail(&format!("the look-up was not answered: {problem}")))
            }
            Err(outcome) => Finding::unclear(format!("the look-up could not be made: {}", outcome.detail())),
        }
    }

    /// What a provider has pushed. Nothing is believed before its signature was checked.
    ///
    /// # Errors
    /// [`PushError`].
    pub fn read_push(&self, push: &Push<'_>) -> Result<Vec<Pushed>, PushError> {
        self.pushes.as_ref().ok_or(PushError::NotConfigured)?.read(push, &self.redactor)
    }

    /// How many messages may be asked about at once; `None`: receipts cannot be asked for.
    pub fn poll_batch(&self) -> Option<usize> {
        self.poll.as_ref().map(|poll| poll.batch)
    }

    /// Asks for the receipts of messages, by the provider's ids: at most [`poll_batch`](Self::poll_batch) of them.
    ///
    /// # Errors
    /// Why there is no answer, in a sentence without secrets.
    pub async fn ask_receipts(&self, ids: &[&str]) -> Result<Vec<Receipt>, String> {
        let Some(poll) = &self.poll else { return Err("this provider cannot be asked for receipts".to_owned()) };
        let deadline = Instant::now() + self.config.total_timeout;
        let joined = ids.join(&poll.separator);
        let (answer, redactor) = self.ask(&poll.maker, Subject::Ids(&joined), deadline).await?;
        poll.read(&answer, ids, &redactor).map_err(|problem| redactor.detail(&problem))
    }

    /// Asks what is left of the credit, in the unit of the configuration.
    ///
    /// # Errors
    /// Why there is no answer, in a sentence without secrets.
    pub async fn ask_balance(&self) -> Result<f64, String> {
        let Some(balance) = &self.balance else { return Err("this provider cannot be asked what is left".to_owned()) };
        let deadline = Instant::now() + self.config.total_timeout;
        let (answer, redactor) = self.ask(&balance.maker, Subject::Account, deadline).await?;
        balance.read(&answer).ok_or_else(|| redactor.detail(&format!("HTTP {}: {}", answer.status, answer.body)))
    }

    /// A question that sends nothing.
    async fn ask(
        &self,
        maker: &RequestMaker,
        subject: Subject<'_>,
        deadline: Instant,
    ) -> Result<(answer::Answer, Cow<'_, Redactor>), String> {
        match self.converse(maker, subject, deadline).await {
            Ok((Exchange::Answered(answer), redactor)) => Ok((answer, redactor)),
            Ok((Exchange::NotSent(problem) | Exchange::Unknown(problem), redactor)) => Err(redactor.detail(&problem)),
            Err(outcome) => Err(outcome.detail().to_owned()),
        }
    }

    /// One exchange with credentials; another one with a new token when the first was answered with 401 to a token.
    /// `Err` is the outcome of a message that did not get as far as that. The redactor hides the token too.
    async fn converse(
        &self,
        maker: &RequestMaker,
        subject: Subject<'_>,
        deadline: Instant,
    ) -> Result<(Exchange, Cow<'_, Redactor>), Outcome> {
        let mut refused = None;
        loop {
            let mut request = maker.build(subject).map_err(|error| self.unbuildable(error))?;
            let token = self.authorizer.authorize(&mut request, refused, deadline).await?;
            let redactor = match &token {
                Some(token) => Cow::Owned(token.hidden_by(&self.redactor)),
                None => Cow::Borrowed(&self.redactor),
            };
            let exchange = exchange(&self.client, request, deadline, self.config.max_body_bytes).await;
            match (token, &exchange) {
                (Some(token), Exchange::Answered(answer)) if answer.status == 401 && refused.is_none() => {
                    refused = Some(token.number);
                }
                _ => return Ok((exchange, redactor)),
            }
        }
    }

    fn unbuildable(&self, BuildError { key, error }: BuildError) -> Outcome {
        let detail = self.redactor.detail(&format!("{key}: {error}"));
        match error {
            RenderError::Message(_) => Outcome::Rejected { detail },
            RenderError::Template(_) => Outcome::Misconfigured { detail },
        }
    }
}

/// The name only: everything else holds secrets or is of no use in a log.
impl std::fmt::Debug for HttpProvider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpProvider").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A path that can be guessed would let anybody tell us that a message arrived.
fn check_push_token(config: &GenericConfig) -> Result<(), GenericError> {
    match &config.push_token {
        Some(token) => {
            let token = token.expose_secret();
            if token.len() < PUSH_TOKEN_CHARS || !token.bytes().all(|b| b.is_ascii_alphanumeric()) {
                let problem = format!("must have at least {PUSH_TOKEN_CHARS} letters or digits");
                return Err(GenericError::key("push_token", problem));
            }
            Ok(())
        }
        // Without one nothing is pushed; presets describe receipts all the same.
        None => Ok(()),
    }
}

fn check_limits(config: &GenericConfig) -> Result<(), GenericError> {
    let total = config.total_timeout;
    if total.is_zero() || total > TOTAL_TIMEOUT_LIMIT {
        return Err(GenericError::key("total_timeout", format!("must be above 0 and at most {TOTAL_TIMEOUT_LIMIT:?}")));
    }
    if config.connect_timeout.is_zero() || config.connect_timeout > total {
        return Err(GenericError::key("connect_timeout", "must be above 0 and at most `total_timeout`"));
    }
    if !(1..=CONCURRENCY_LIMIT).contains(&config.concurrency) {
        return Err(GenericError::key("concurrency", format!("must be from 1 to {CONCURRENCY_LIMIT}")));
    }
    if !(1..=MAX_BODY_BYTES_LIMIT).contains(&config.max_body_bytes) {
        return Err(GenericError::key("max_body_bytes", format!("must be from 1 to {MAX_BODY_BYTES_LIMIT}")));
    }
    if config.max_segments == Some(0) {
        return Err(GenericError::key("max_segments", "must be above 0"));
    }
    if config.rate.is_some_and(|rate| !rate.is_finite() || rate <= 0.0) {
        return Err(GenericError::key("rate", "must be above 0"));
    }
    Ok(())
}
