//! Runs the sessions of providers that keep a link of their own open (SMPP), and writes what comes on them.
//!
//! A receipt or reply is answered to the provider when it is in the database, and refused for now when it cannot be written: the provider repeats it, and the
//! database knows what it has already. After a reload the sessions of new providers are started; those of providers that are gone end by themselves. A session
//! that ends in a panic ends this task, and with it the daemon.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::intake::Intake;
use crate::db::DbError;
use crate::provider::Providers;
use crate::provider::receipt::{Delivery, Pushed, Receipt, Reply};

/// What may wait to be written; beyond it providers are asked to repeat.
const WAITING: usize = 1_024;

/// Most that are written by one statement.
const BATCH: usize = 200;

/// The task.
pub struct Bound {
    /// Whose sessions are run.
    pub providers: watch::Receiver<Providers>,
    /// Where everything goes.
    pub intake: Arc<Intake>,
}

impl Bound {
    /// Works until `stop`; returns when the sessions have ended.
    pub async fn run(mut self, stop: CancellationToken) {
        let (sender, mut deliveries) = mpsc::channel(WAITING);
        let mut sessions = JoinSet::new();
        self.start(&sender, &mut sessions, &stop);
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                changed = self.providers.changed() => match changed {
                    Ok(()) => self.start(&sender, &mut sessions, &stop),
                    Err(_) => break,
                },
                ended = sessions.join_next(), if !sessions.is_empty() => if let Some(Err(panic)) = ended {
                    error!(error = %panic, "a session with a provider ended unexpectedly");
                    return;
                },
                _ = deliveries.recv_many(&mut batch, BATCH) => self.write(std::mem::take(&mut batch)).await,
            }
        }
        // What comes from now on is refused for now, and repeated to the next daemon.
        drop(deliveries);
        while sessions.join_next().await.is_some() {}
    }

    fn start(&mut self, sender: &mpsc::Sender<Delivery>, sessions: &mut JoinSet<()>, stop: &CancellationToken) {
        let providers = self.providers.borrow_and_update().clone();
        for session in providers.iter().filter_map(|provider| provider.session(sender, stop.clone())) {
            sessions.spawn(session);
        }
    }

    async fn write(&self, batch: Vec<Delivery>) {
        let mut receipts: BTreeMap<String, Vec<(Receipt, oneshot::Sender<bool>)>> = BTreeMap::new();
        for Delivery { provider, pushed, taken } in batch {
            match pushed {
                Pushed::Receipt(receipt) => receipts.entry(provider).or_default().push((receipt, taken)),
                Pushed::Reply(reply) => tell(taken, self.write_reply(&provider, &reply).await),
            }
        }
        for (provider, ones) in receipts {
            let (all, takens): (Vec<Receipt>, Vec<oneshot::Sender<bool>>) = ones.into_iter().unzip();
            match self.intake.receipts(&provider, &all).await {
                Err(DbError::Refused { .. }) => {
                    // One of them is at fault; the others are not to be repeated with it for ever.
                    for (receipt, taken) in all.into_iter().zip(takens) {
                        let written = self.intake.receipts(&provider, &[receipt]).await;
                        tell(taken, is_done(&provider, written));
                    }
                }
                written => {
                    let done = is_done(&provider, written);
                    takens.into_iter().for_each(|taken| tell(taken, done));
                }
            }
        }
    }

    async fn write_reply(&self, provider: &str, reply: &Reply) -> bool {
        is_done(provider, self.intake.reply(provider, reply).await)
    }
}

/// Whether it need not be repeated: it is written, or the database will never take it.
fn is_done(provider: &str, written: Result<(), DbError>) -> bool {
    match written {
        Ok(()) => true,
        Err(error @ DbError::Refused { .. }) => {
            warn!(provider, error = %error, "what came over the link is left out");
            true
        }
        Err(error) => {
            warn!(provider, error = %error, "what came over the link cannot be written now; the provider is told to repeat it");
            false
        }
    }
}

/// The session may have ended meanwhile.
fn tell(taken: oneshot::Sender<bool>, done: bool) {
    let _ = taken.send(done);
}
