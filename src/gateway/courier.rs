//! The courier: posts a delivery receipt for each accepted message, some time after.
//!
//! Owns the queue of receipts due. Receipts leave in the order of acceptance, each when its time has come, several at
//! once; one that cannot be delivered is logged and forgotten, as providers do, and so is one that finds the queue
//! full. No failure here touches the answering of messages.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use hyper::header::CONTENT_TYPE;
use jiff::Timestamp;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::ledger::{Received, message_id};
use super::script::Receipts;

/// Receipts that may wait for their time; 20,000 messages a second for five seconds.
const WAITING: usize = 100_000;
/// Receipts being posted at once.
const AT_ONCE: usize = 32;
/// Longest wait for the receiver of a receipt.
const PATIENCE: Duration = Duration::from_secs(10);

/// A receipt to be posted.
#[derive(Debug)]
pub(super) struct Errand {
    due: Instant,
    received: Arc<Received>,
    receipts: Arc<Receipts>,
}

impl Errand {
    pub(super) fn new(received: Arc<Received>, receipts: Arc<Receipts>) -> Errand {
        Errand { due: Instant::now() + receipts.after.0, received, receipts }
    }
}

/// Takes errands; ends with its last sender.
#[derive(Debug)]
pub(super) struct Courier(mpsc::Sender<Errand>);

impl Courier {
    /// The courier, and its work, to be run beside the gateway.
    pub(super) fn new() -> (Courier, impl Future<Output = ()> + Send) {
        let (sender, errands) = mpsc::channel(WAITING);
        (Courier(sender), work(errands))
    }

    pub(super) fn send(&self, errand: Errand) {
        if let Err(mpsc::error::TrySendError::Full(errand)) = self.0.try_send(errand) {
            tracing::warn!(msg.id = errand.received.seq, "simulated gateway: too many receipts waiting, one dropped");
        }
    }
}

async fn work(mut errands: mpsc::Receiver<Errand>) {
    let Some(first) = errands.recv().await else { return };
    // The client needs a cryptography provider to exist, though receipts use none. An error means that there is one
    // already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = match reqwest::Client::builder().no_proxy().timeout(PATIENCE).build() {
        Ok(client) => client,
        Err(error) => return tracing::error!(%error, "simulated gateway: no HTTP client, no receipts will be sent"),
    };
    let due = stream::unfold((Some(first), errands), |(first, mut errands)| async move {
        let errand = match first {
            Some(errand) => errand,
            None => errands.recv().await?,
        };
        tokio::time::sleep_until(errand.due).await;
        Some((errand, (None, errands)))
    });
    due.for_each_concurrent(AT_ONCE, |errand| deliver(&client, errand)).await;
}

async fn deliver(client: &reqwest::Client, errand: Errand) {
    let Errand { received, receipts, .. } = errand;
    let receipt = json!({
        "id": message_id(received.seq),
        "phone": received.phone,
        "status": receipts.status,
        "at": Timestamp::now(),
    });
    let request =
        client.post(receipts.url.0.clone()).header(CONTENT_TYPE, "application/json").body(receipt.to_string());
    let problem = match request.send().await {
        Ok(response) if response.status().is_success() => return,
        Ok(response) => format!("answered {}", response.status().as_u16()),
        Err(error) => error.without_url().to_string(),
    };
    tracing::warn!(msg.id = received.seq, problem, "simulated gateway: a receipt was not delivered");
}
