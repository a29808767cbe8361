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
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use jiff::Timestamp;
use subtle::ConstantTimeEq as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, error, info, warn};

use super::intake::Intake;
use crate::db::DbError;
use crate::provider::receipt::{Push, PushError, Pushed, Receipt};
use crate::provider::{Provider, Providers};

/// Largest body, bytes: a thousand receipts of Infobip have some 600 kB.
const BODY_LIMIT_BYTES: usize = 1024 * 1024;

/// Connections at once; the next one waits in the system's queue.
const CONNECTIONS_LIMIT: usize = 256;

/// Requests a second of one provider: ten times what its messages can cause, and nothing that fills the database.
const REQUESTS_PER_SECOND: NonZeroU32 = NonZeroU32::new(1_000).expect("it is not zero");

/// Time allowed for the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Time allowed for a whole connection.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(120);

/// Time that open requests get to end once the daemon stops.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// After an error of accept (out of descriptors, say), how long before the next try.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

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
        let slots = Arc::new(Semaphore::new(CONNECTIONS_LIMIT));
        let connections = TaskTracker::new();
        loop {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { break };
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let connection = serve_connection(stream, router.clone(), stop.clone());
                    connections.spawn(async move {
                        connection.await;
                        drop(slot);
                    });
                }
                Err(error) => {
                    warn!(error = %error, "the listener for receipts could not accept a caller");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        connections.close();
        connections.wait().await;
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

async fn serve_connection(stream: TcpStream, router: Router, stop: CancellationToken) {
    let service = TowerToHyperService::new(router);
    let mut connection = std::pin::pin!(
        hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service)
    );
    let ended = tokio::time::timeout(CONNECTION_TIMEOUT, async {
        tokio::select! {
            ended = connection.as_mut() => ended,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                tokio::time::timeout(STOP_GRACE, connection).await.unwrap_or(Ok(()))
            }
        }
    });
    if let Ok(Err(error)) = ended.await {
        debug!(error = %error, "a caller of the listener for receipts went wrong");
    }
}
