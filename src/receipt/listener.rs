//! The HTTP listener for what providers push: `/receipts/<provider>/<token>`, by GET or POST.
//!
//! It is the one part of the daemon that strangers can reach, so it does little and believes less: the path is one that nobody can guess, the vendor's signature is
//! checked where there is one, bodies, connections and requests a second are limited, and nothing is answered but a status. A wrong token and an unknown
//! provider look the same. What cannot be written now is answered 503: vendors repeat.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::routing::get;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use jiff::Timestamp;
use subtle::ConstantTimeEq as _;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::intake::Intake;
use crate::db::DbError;
use crate::provider::receipt::{Push, PushError, Pushed, Receipt};
use crate::provider::{Provider, Providers};
use crate::serve::serve;

/// Largest body, bytes: a thousand receipts of Infobip have some 600 kB.
const BODY_LIMIT_BYTES: usize = 1024 * 1024;

/// Connections at once; the next one waits in the system's queue.
const CONNECTIONS_LIMIT: usize = 256;

/// Requests a second of one provider: ten times what its messages can cause, and nothing that fills the database.
const REQUESTS_PER_SECOND: NonZeroU32 = NonZeroU32::new(1_000).expect("it is not zero");

/// How long until an address that was not free is tried again.
const BIND_PAUSE: Duration = Duration::from_secs(10);

/// What the handlers need.
pub struct Listener {
    /// Who may push.
    pub providers: watch::Receiver<Providers>,
    /// Where it goes.
    pub intake: Arc<Intake>,
    /// How providers reach us, without a slash at its end: some sign it.
    pub public_url: String,
    /// Requests a second, by provider.
    limits: Mutex<HashMap<String, Arc<DefaultDirectRateLimiter>>>,
}

impl Listener {
    /// A listener that has taken nothing yet.
    pub fn new(providers: watch::Receiver<Providers>, intake: Arc<Intake>, public_url: String) -> Self {
        Self { providers, intake, public_url, limits: Mutex::default() }
    }

    /// Takes requests at `listener` until `stop`.
    async fn serve(self, listener: TcpListener, stop: CancellationToken) {
        let router = Router::new()
            .route("/receipts/{provider}/{token}", get(take).post(take))
            .layer(DefaultBodyLimit::max(BODY_LIMIT_BYTES))
            .with_state(Arc::new(self));
        serve("the listener for receipts", CONNECTIONS_LIMIT, &listener, stop, |_| router.clone()).await;
    }

    /// The provider of a path, when its token is the right one.
    fn provider(&self, name: &str, token: &str) -> Option<Arc<Provider>> {
        let providers = self.providers.borrow().clone();
        let provider = providers.iter().find(|provider| provider.name() == name)?;
        let right = provider.push_token()?;
        bool::from(right.as_bytes().ct_eq(token.as_bytes())).then(|| Arc::clone(provider))
    }

    fn limit(&self, provider: &str) -> Arc<DefaultDirectRateLimiter> {
        let mut limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        let limit = limits
            .entry(provider.to_owned())
            .or_insert_with(|| Arc::new(RateLimiter::direct(Quota::per_second(REQUESTS_PER_SECOND))));
        Arc::clone(limit)
    }

    async fn enter(&self, provider: &str, pushed: Vec<Pushed>) -> Result<(), DbError> {
        let mut receipts: Vec<Receipt> = Vec::with_capacity(pushed.len());
        for one in pushed {
            match one {
                Pushed::Receipt(receipt) => receipts.push(receipt),
                Pushed::Reply(reply) => match self.intake.reply(provider, &reply).await {
                    // A number that is none is not the provider's to repeat.
                    Err(error @ DbError::Refused { .. }) => warn!(provider, error = %error, "a reply is left out"),
                    entered => entered?,
                },
            }
        }
        self.intake.receipts(provider, &receipts).await
    }
}

/// Takes requests at `address` until `stop`. An address that cannot be had is tried again: messages go out all the same.
pub async fn run(listener: Listener, address: SocketAddr, stop: CancellationToken) {
    let bound = loop {
        match TcpListener::bind(address).await {
            Ok(bound) => break bound,
            Err(error) => {
                error!(%address, %error, "receipts cannot be taken ([receipts] listen); it is tried again");
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(BIND_PAUSE) => {}
                }
            }
        }
    };
    info!(address = %bound.local_addr().unwrap_or(address), "receipts are taken");
    listener.serve(bound, stop).await;
}

async fn take(
    State(listener): State<Arc<Listener>>,
    Path((name, token)): Path<(String, String)>,
    uri: Uri,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let Some(provider) = listener.provider(&name, &token) else { return StatusCode::NOT_FOUND };
    if listener.limit(&name).check().is_err() {
        return StatusCode::TOO_MANY_REQUESTS;
    }
    let url = format!("{}{}", listener.public_url, uri.path_and_query().map_or("", |path| path.as_str()));
    let pushed = match read(&provider, &method, &url, &headers, &body) {
        Ok(pushed) => pushed,
        Err(PushError::Forged(what)) => {
            warn!(provider = name, "a push is not believed: its signature is {what}");
            return StatusCode::FORBIDDEN;
        }
        Err(PushError::Malformed(problem)) => {
            warn!(provider = name, problem, "a push cannot be read");
            return StatusCode::BAD_REQUEST;
        }
        Err(PushError::NotConfigured) => return StatusCode::NOT_FOUND,
    };
    match listener.enter(&name, pushed).await {
        Ok(()) => StatusCode::OK,
        Err(error) => {
            warn!(provider = name, error = %error, "what was pushed cannot be written now; the provider is told to repeat it");
            StatusCode::SERVICE_UNAVAILABLE
        }
    }
}

fn read(
    provider: &Provider,
    method: &Method,
    url: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Vec<Pushed>, PushError> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    provider.read_push(&Push { method: method.as_str(), url, header: &header, body, now: Timestamp::now() })
}
