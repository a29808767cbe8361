//! The courier: posts a delivery receipt for each accepted message, some time after, and what simulated vendors push.
//!
//! Owns the queues of what is due. Receipts of the generic protocol leave in the order of acceptance, each when its time has
//! come, several at once; rounds of vendors' letters wait each for its own time, and keep their order within. One that cannot be delivered is logged and forgotten, as providers do, and so is one that finds the queue
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
use super::letter::{Letter, Round};
use super::receipts::Receipts;

/// Receipts that may wait for their time; 20,000 messages a second for five seconds.
const WAITING: usize = 100_000;
/// Rounds that may wait for their time, and as many again that wait for a place.
const ROUNDS: usize = 10_000;
/// Receipts, or rounds, being posted at once.
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

/// Takes errands and rounds; ends with its last sender.
#[derive(Debug)]
pub(super) struct Courier {
    errands: mpsc::Sender<Errand>,
    rounds: mpsc::Sender<Round>,
}

impl Courier {
    /// The courier, and its work, to be run beside the gateway.
    pub(super) fn new() -> (Courier, impl Future<Output = ()> + Send) {
        let (errands, errands_due) = mpsc::channel(WAITING);
        let (rounds, rounds_due) = mpsc::channel(ROUNDS);
        let work = async {
            tokio::join!(work(errands_due), go_round(rounds_due));
        };
        (Courier { errands, rounds }, work)
    }

    pub(super) fn send(&self, errand: Errand) {
        if let Err(mpsc::error::TrySendError::Full(errand)) = self.errands.try_send(errand) {
            tracing::warn!(msg.id = errand.received.seq, "simulated gateway: too many receipts waiting, one dropped");
        }
    }

    pub(super) fn push(&self, round: Round) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.rounds.try_send(round) {
            tracing::warn!("simulated gateway: too many pushes waiting, one dropped");
        }
    }
}

fn client() -> Option<reqwest::Client> {
    // The client needs a cryptography provider to exist, though receipts use none. An error means that there is one
    // already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // Where a receiver would send a push on to is nobody's business here.
    let builder = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).timeout(PATIENCE);
    builder
        .build()
        .inspect_err(|error| tracing::error!(%error, "simulated gateway: no HTTP client, no receipts will be sent"))
        .ok()
}

async fn go_round(mut rounds: mpsc::Receiver<Round>) {
    let Some(first) = rounds.recv().await else { return };
    let Some(client) = client() else { return };
    let places = tokio::sync::Semaphore::new(AT_ONCE);
    let waiting = stream::unfold((Some(first), rounds), |(first, mut rounds)| async move {
        let round = match first {
            Some(round) => round,
            None => rounds.recv().await?,
        };
        Some((round, (None, rounds)))
    });
    waiting
        .for_each_concurrent(ROUNDS, |round| {
            let (client, places) = (&client, &places);
            async move {
                tokio::time::sleep_until(round.due).await;
                // The semaphore is never closed.
                let _place = places.acquire().await;
                let mut answered = None;
                for letter in round.pens.into_iter().filter_map(|pen| pen()) {
                    answered = post(client, letter, round.via.as_ref()).await;
                }
                if let Some(done) = round.done {
                    // Who asked may have left.
                    let _ = done.send(answered);
                }
            }
        })
        .await;
}

/// Posts a letter; the receiver's status, none when it did not answer.
async fn post(client: &reqwest::Client, letter: Letter, via: Option<&url::Url>) -> Option<u16> {
    let mut url = letter.url;
    if let Some(via) = via {
        // These fail only for addresses without a host, which http:// does not allow.
        let _ = url.set_scheme(via.scheme());
        let _ = url.set_host(via.host_str());
        let _ = url.set_port(via.port());
    }
    let mut request = client.request(letter.method, url);
    if !letter.content_type.is_empty() {
        request = request.header(CONTENT_TYPE, letter.content_type).body(letter.body);
    }
    for (name, value) in letter.headers {
        request = request.header(name, value);
    }
    match request.send().await {
        Ok(response) => {
            let status = response.status();
            if !status.is_success() {
                tracing::warn!(status = status.as_u16(), "simulated gateway: a push was refused");
            }
            Some(status.as_u16())
        }
        Err(error) => {
            tracing::warn!(error = %error.without_url(), "simulated gateway: a push was not delivered");
            None
        }
    }
}

async fn work(mut errands: mpsc::Receiver<Errand>) {
    let Some(first) = errands.recv().await else { return };
    let Some(client) = client() else { return };
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
    let Some(url) = &receipts.url else { return };
    let receipt = json!({
        "id": message_id(received.seq),
        "phone": received.phone,
        "status": receipts.status,
        "at": Timestamp::now(),
    });
    let request = client.post(url.0.clone()).header(CONTENT_TYPE, "application/json").body(receipt.to_string());
    let problem = match request.send().await {
        Ok(response) if response.status().is_success() => return,
        Ok(response) => format!("answered {}", response.status().as_u16()),
        Err(error) => error.without_url().to_string(),
    };
    tracing::warn!(msg.id = received.seq, problem, "simulated gateway: a receipt was not delivered");
}
