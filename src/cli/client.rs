//! A client of the control socket.

use std::path::PathBuf;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::net::UnixStream;

use super::exit::{Exit, Failure};

/// Longest wait for an answer: longer than the longest wait for a result that the socket allows.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(90);

/// Largest answer, in bytes: a thousand messages with long texts.
const ANSWER_LIMIT_BYTES: usize = 16 * 1024 * 1024;

/// Talks to one daemon.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// For the daemon at this socket.
    pub fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// Asks, and reads the answer as `T`.
    ///
    /// # Errors
    /// A [`Failure`] with the code for "out of reach", "try again" or "failed", and the daemon's sentence.
    pub async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<T, Failure> {
        let (status, bytes) = tokio::time::timeout(ANSWER_TIMEOUT, self.exchange(method, path, body))
            .await
            .map_err(|_| self.out_of_reach("it did not answer in time"))??;
        if status.is_success() {
            return serde_json::from_slice(&bytes).map_err(|error| {
                Failure::failed(anyhow::anyhow!(
                    "the daemon's answer is not understood: {error}; is it another version?"
                ))
            });
        }
        let problem: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let sentence = problem["detail"].as_str().unwrap_or("the daemon gave no reason").to_owned();
        let exit = match status {
            StatusCode::SERVICE_UNAVAILABLE => Exit::OutOfReach,
            _ => Exit::Failed,
        };
        Err(Failure::new(exit, anyhow::anyhow!("{sentence}")))
    }

    async fn exchange(&self, method: Method, path: &str, body: Option<&Value>) -> Result<(StatusCode, Bytes), Failure> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| {
            let mend = if error.kind() == std::io::ErrorKind::PermissionDenied {
                "; your account must be in the group ecar-sms, or be root"
            } else {
                "; is the daemon running? systemctl status ecar-sms"
            };
            self.out_of_reach(&format!("{error}{mend}"))
        })?;
        let broken = |error: hyper::Error| self.out_of_reach(&error.to_string());
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // Ends with the connection; its error is the request's error too.
        let driver = tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "localhost")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body.map(|body| Bytes::from(body.to_string())).unwrap_or_default()))
            .map_err(Failure::failed)?;
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        let bytes = Limited::new(response.into_body(), ANSWER_LIMIT_BYTES)
            .collect()
            .await
            .map_err(|error| self.out_of_reach(&error.to_string()))?
            .to_bytes();
        driver.abort();
        Ok((status, bytes))
    }

    fn out_of_reach(&self, why: &str) -> Failure {
        Failure::new(
            Exit::OutOfReach,
            anyhow::anyhow!("the daemon cannot be reached at {}: {why}", self.socket.display()),
        )
    }
}
