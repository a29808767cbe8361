//! What the links of the simulated message centre share: the desk, the mail, and counters.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Notify, broadcast};

use super::mail::{Letter, Mail};
use crate::gateway::desk::Desk;

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
    pub(super) binds: AtomicU64,
    pub(super) refused_binds: AtomicU64,
    pub(super) bound: AtomicU64,
    pub(super) unbinds: AtomicU64,
    pub(super) taken: AtomicU64,
    pub(super) repeated: AtomicU64,
}

/// What the links share.
#[derive(Debug)]
pub(in crate::gateway) struct Centre {
    pub(super) desk: Arc<Desk>,
    pub(super) mail: Mail,
    pub(super) cut: broadcast::Sender<()>,
    pub(super) counters: Counters,
}

impl Centre {
    pub(in crate::gateway) fn new(desk: Arc<Desk>) -> Arc<Self> {
        let (cut, _) = broadcast::channel(1);
        Arc::new(Self { desk, mail: Mail::new(Notify::new()), cut, counters: Counters::default() })
    }

    /// A customer's text, to be sent to the client.
    pub(in crate::gateway) fn reply(&self, from: &str, text: &str) {
        self.mail.post(Letter::reply(from, text));
    }

    /// Cuts every link without a word.
    pub(in crate::gateway) fn cut(&self) {
        // An error means that there is none.
        let _ = self.cut.send(());
    }

    pub(in crate::gateway) fn stats(&self) -> SmppStats {
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
