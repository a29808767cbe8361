//! One connection: HTTP while all goes well, the bare socket for what HTTP cannot say.
//!
//! Owns the socket. hyper serves it with keep-alive; when the answer to a message is a hang-up, the service fails with
//! it, hyper stops without writing a byte, and the socket is taken back to be reset or closed. A client's own
//! misbehaviour ends its connection and nothing else.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::control::{Control, wrong_method};
use super::desk::Desk;
use super::dialect;
use super::exchange::{self, HangUp};
use super::reply::Body;
use super::rule::MAX_DELAY;
use super::smpp::Centre;
use super::visit;

/// Most headers in a request; clients send about ten.
const MAX_HEADERS: usize = 64;
/// Largest head of a request, bytes.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Longest wait for a client to take the last bytes before a close.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Serves a connection to its end.
pub(super) async fn serve(desk: Arc<Desk>, centre: Arc<Centre>, stream: TcpStream) {
    let _connected = desk.connected();
    // It fails on a connection that is already gone, which the next read will say.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| route(&desk, &centre, request));
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // An idle connection is kept longer than any client keeps it: a close that crosses a request would be a fault
        // of ours.
        .header_read_timeout(MAX_DELAY)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let Err(error) = (&mut connection).await else { return };
    match error.source().and_then(|source| source.downcast_ref::<HangUp>()) {
        Some(HangUp::Reset) => reset(connection.into_parts().io.into_inner()),
        Some(HangUp::Close(words)) => close(connection.into_parts().io.into_inner(), words).await,
        None => tracing::debug!(%error, "simulated gateway: a connection broke"),
    }
}

async fn route(desk: &Desk, centre: &Centre, request: Request<Incoming>) -> Result<Response<Body>, HangUp> {
    match Control::of(request.uri().path()) {
        Some(control) => Ok(control.answer(desk, centre, request).await),
        None if request.uri().path().starts_with(dialect::MOUNT) => visit::answer(desk, request).await,
        None if request.method() == Method::POST => exchange::send(desk, request).await,
        None => Ok(wrong_method("POST")),
    }
}

/// With no time to linger, the close that follows sends RST.
fn reset(stream: TcpStream) {
    if let Err(error) = SockRef::from(&stream).set_linger(Some(Duration::ZERO)) {
        tracing::warn!(%error, "simulated gateway: a connection was closed instead of reset");
    }
}

async fn close(mut stream: TcpStream, words: &[u8]) {
    let farewell = async {
        stream.write_all(words).await?;
        stream.shutdown().await
    };
    // Whether the client still listens is its own affair.
    let _ = tokio::time::timeout(LAST_WORDS, farewell).await;
}
