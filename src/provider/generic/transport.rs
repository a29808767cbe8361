//! One exchange over HTTP: a request goes out, an answer or a reason comes back.
//!
//! Owns the client and the one question this whole adapter turns on: could the message have left? It never repeats a
//! request, never follows a redirect, and reads no more of an answer than it may.
//!
//! Nothing was sent when no connection came about (look-up, TCP, TLS, connect time-out). Everything after that is
//! unknown: time-out, reset, end before the answer, an answer that is no HTTP.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use reqwest::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};
use reqwest::{Client, Proxy, Request, Response};
use secrecy::ExposeSecret;
use tokio::time::{Instant, timeout_at};

use super::GenericError;
use super::answer::Answer;
use super::config::GenericConfig;
use crate::crash;

/// How long an idle connection is kept. Gateways close theirs after 5 s at the earliest; using one while it is being
/// closed would make a message unknown for nothing.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(3);

/// How an exchange ended.
pub(super) enum Exchange {
    /// The server answered.
    Answered(Answer),
    /// No connection came about: nothing was sent.
    NotSent(String),
    /// The request, or a part of it, may have arrived.
    Unknown(String),
}

/// The client of one provider.
pub(super) fn client(config: &GenericConfig, tls: rustls::ClientConfig) -> Result<Client, GenericError> {
    let mut builder = Client::builder()
        .user_agent(concat!("ecar-sms/", env!("CARGO_PKG_VERSION")))
        .tls_backend_preconfigured(tls)
        .http1_only()
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .no_proxy()
        // This switches reqwest's own retries off. Below it, hyper-util still takes another connection when a pooled
        // one turns out closed, but only for a request that hyper hands back whole because it never began to write
        // it: nothing can have left, so that repetition is safe.
        .retry(reqwest::retry::never())
        .connect_timeout(config.connect_timeout)
        .pool_idle_timeout(POOL_IDLE_TIMEOUT)
        .pool_max_idle_per_host(config.concurrency)
        .tcp_nodelay(true);
    if let Some(proxy) = &config.proxy {
        // The error would quote the URL, which may hold a password.
        let proxy = Proxy::all(proxy.expose_secret()).map_err(|_| GenericError::key("proxy", "no URL of a proxy"))?;
        builder = builder.proxy(proxy);
    }
    builder.build().map_err(|e| GenericError::Client(chain(&e.without_url())))
}

/// Sends `request` once and reads at most `max_body_bytes` of the answer, all until `deadline`.
pub(super) async fn exchange(client: &Client, request: Request, deadline: Instant, max_body_bytes: usize) -> Exchange {
    if Instant::now() >= deadline {
        return Exchange::NotSent("no time left to send".to_owned());
    }
    let request = if crash::is_armed(crash::MID_REQUEST) { cut_short(request) } else { request };
    match timeout_at(deadline, client.execute(request)).await {
        Err(_) => Exchange::Unknown("no answer in time".to_owned()),
        Ok(Err(error)) => {
            let not_sent = error.is_connect() || error.is_builder();
            let problem = chain(&error.without_url());
            if not_sent { Exchange::NotSent(problem) } else { Exchange::Unknown(problem) }
        }
        Ok(Ok(response)) => Exchange::Answered(read(response, deadline, max_body_bytes).await),
    }
}

/// A request whose body ends the process when half of it is written; for fault tests.
fn cut_short(mut request: Request) -> Request {
    let whole = request.body().and_then(reqwest::Body::as_bytes).unwrap_or_default().to_vec();
    let half = Bytes::from(whole[..whole.len() / 2].to_vec());
    let rest = Bytes::from(whole[whole.len() / 2..].to_vec());
    let halves = stream::iter([half]).chain(stream::once(async move {
        // The first half is written when the stream is asked for more, but for what the kernel has yet to take.
        tokio::time::sleep(Duration::from_millis(20)).await;
        crash::point(crash::MID_REQUEST);
        rest
    }));
    *request.body_mut() = Some(reqwest::Body::wrap_stream(halves.map(Ok::<_, std::io::Error>)));
    request
}

async fn read(mut response: Response, deadline: Instant, max_body_bytes: usize) -> Answer {
    let status = response.status().as_u16();
    let retry_after = header(response.headers(), &RETRY_AFTER);
    let date = header(response.headers(), &DATE);
    let mut body = Vec::new();
    let complete = loop {
        match timeout_at(deadline, response.chunk()).await {
            Ok(Ok(Some(chunk))) => {
                let room = max_body_bytes - body.len();
                body.extend_from_slice(&chunk[..chunk.len().min(room)]);
                if chunk.len() > room {
                    break false;
                }
            }
            Ok(Ok(None)) => break true,
            // The status came whole; it is judged with what there is of the body.
            Ok(Err(_)) | Err(_) => break false,
        }
    };
    Answer::new(status, retry_after, date, &body, complete)
}

fn header(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// An error with its causes: reqwest's own text says only that something failed.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
