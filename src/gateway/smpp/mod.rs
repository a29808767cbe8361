//! The gateway as a message centre: SMPP 3.4 at an address of its own, on the same record and under the same script.
//!
//! Every `submit_sm` is a message on the record, under the path `/smpp`; a part of a long text under `/smpp?ref=R&part=P&of=N`. Rules, dice and latency act as
//! they do over HTTP, a status being answered as the `command_status` that means the same; a fault cuts the link, but for `silence`. What is due to be sent
//! to the client (receipts, replies) waits while nobody is bound, and is sent again until it is taken, as centres do.

mod mail;
mod session;
mod text;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore, broadcast};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::desk::Desk;
use mail::{Letter, Mail};

/// Most links at one time; the next waits in the system's queue.
const MAX_LINKS: usize = 64;

/// What happened, since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SmppStats {
    /// Binds that were taken.
    pub binds: u64,
    /// Binds that were refused.
    pub refused_binds: u64,
    /// Links bound now.
    pub bound: u64,
    /// Unbinds that came.
    pub unbinds: u64,
    /// Receipts and replies that the client took.
    pub taken: u64,
    /// How often the client refused one for now, or left without an answer.
    pub repeated: u64,
    /// Receipts and replies that wait.
    pub waiting: u64,
}

/// Counters behind [`SmppStats`].
#[derive(Debug, Default)]
pub(super) struct Counters {
    binds: AtomicU64,
    refused_binds: AtomicU64,
    bound: AtomicU64,
    unbinds: AtomicU64,
    taken: AtomicU64,
    repeated: AtomicU64,
}

/// What the links share.
#[derive(Debug)]
pub(super) struct Centre {
    desk: Arc<Desk>,
    mail: Mail,
    cut: broadcast::Sender<()>,
    counters: Counters,
}

impl Centre {
    pub(super) fn new(desk: Arc<Desk>) -> Arc<Self> {
        let (cut, _) = broadcast::channel(1);
        Arc::new(Self { desk, mail: Mail::new(Notify::new()), cut, counters: Counters::default() })
    }

    /// Takes links at `address` until `stop`.
    pub(super) async fn listen(
        self: &Arc<Self>,
        address: SocketAddr,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> io::Result<SocketAddr> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let doors = accept(listener, Arc::clone(self), tasks.clone(), stop.clone());
        tasks.spawn(stop.clone().run_until_cancelled_owned(doors));
        Ok(address)
    }

    /// A customer's text, to be sent to the client.
    pub(super) fn reply(&self, from: &str, text: &str) {
        self.mail.post(Letter::reply(from, text));
    }

    /// Cuts every link without a word.
    pub(super) fn cut(&self) {
        // An error means that there is none.
        let _ = self.cut.send(());
    }

    pub(super) fn stats(&self) -> SmppStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        SmppStats {
            binds: read(&self.counters.binds),
            refused_binds: read(&self.counters.refused_binds),
            bound: read(&self.counters.bound),
            unbinds: read(&self.counters.unbinds),
            taken: read(&self.counters.taken),
            repeated: read(&self.counters.repeated),
            waiting: self.mail.len(),
        }
    }
}

async fn accept(listener: TcpListener, centre: Arc<Centre>, tasks: TaskTracker, stop: CancellationToken) {
    let seats = Arc::new(Semaphore::new(MAX_LINKS));
    // The semaphore is never closed, so the loop ends only with its task.
    while let Ok(seat) = Arc::clone(&seats).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                let serving = session::serve(Arc::clone(&centre), stream);
                let serving = async move {
                    serving.await;
                    drop(seat);
                };
                tasks.spawn(stop.clone().run_until_cancelled_owned(serving));
            }
            Err(error) => {
                tracing::warn!(%error, "simulated message centre: a link could not be taken");
                tokio::time::sleep(super::ACCEPT_PAUSE).await;
            }
        }
    }
}
