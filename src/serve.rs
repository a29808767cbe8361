//! Serves HTTP/1.1 on a listener of any kind, within limits: so many connections at once, so long for the head of a request, so long for a connection.
//!
//! Owns no route and no address. When told to stop it takes no more connections and gives the open ones a moment to end.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

/// Time allowed for the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Time allowed for a whole connection: longer than the longest wait for a result.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(120);

/// Time that open requests get to end once the daemon has stopped: all results are recorded by then, so whoever waits for
/// one has been told.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// After an error of accept (out of descriptors, say), how long before the next try.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where connections come from.
pub trait Listener: Send + Sync {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + Sync + 'static;

    /// The next one.
    fn next(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn next(&self) -> io::Result<TcpStream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

impl Listener for UnixListener {
    type Stream = UnixStream;

    async fn next(&self) -> io::Result<UnixStream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

/// Serves until `stop`, at most `at_once` connections at one time; the next one waits in the system's queue. `what` is served, for the logs.
pub async fn serve<L: Listener>(
    what: &'static str,
    at_once: usize,
    listener: &L,
    stop: CancellationToken,
    router: impl Fn(&L::Stream) -> Router + Send,
) {
    let slots = Arc::new(Semaphore::new(at_once));
    let connections = TaskTracker::new();
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { break };
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.next() => accepted,
        };
        match accepted {
            Ok(stream) => {
                let connection = converse(what, router(&stream), stream, stop.clone());
                connections.spawn(async move {
                    connection.await;
                    drop(slot);
                });
            }
            Err(error) => {
                warn!(error = %error, "{what} could not accept a caller");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    connections.close();
    connections.wait().await;
}

async fn converse<S>(what: &'static str, router: Router, stream: S, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
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
        debug!(error = %error, "a caller of {what} went wrong");
    }
}
