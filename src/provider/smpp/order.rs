//! What is asked of a session: one `submit_sm` each, and what came of it.
//!
//! Whoever asks may stop waiting at any moment. Whether the PDU can have left by then is decided by one word that both
//! sides set, each only when the other has not: the session before it writes, the asker when it gives up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use rusmpp::Pdu;
use tokio::sync::oneshot;

const OPEN: u8 = 0;
const TAKEN: u8 = 1;
const WITHDRAWN: u8 = 2;

/// What came of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// The centre answered: status and message id.
    Response(u32, String),
    /// Nothing was written.
    NotSent(String),
    /// It was written, in whole or in part, and no answer came.
    Lost(String),
}

/// A `submit_sm` to be written.
pub(super) struct Order {
    pub(super) pdu: Pdu,
    pub(super) answer: oneshot::Sender<Answer>,
    word: Arc<AtomicU8>,
}

/// The asker's side.
pub(super) struct Receipt {
    pub(super) answer: oneshot::Receiver<Answer>,
    word: Arc<AtomicU8>,
}

impl Order {
    pub(super) fn new(pdu: Pdu) -> (Self, Receipt) {
        let word = Arc::new(AtomicU8::new(OPEN));
        let (sender, receiver) = oneshot::channel();
        (Self { pdu, answer: sender, word: Arc::clone(&word) }, Receipt { answer: receiver, word })
    }

    /// Before anything of it is written. False when the asker has left: nothing may be written then.
    pub(super) fn take(&self) -> bool {
        self.word.compare_exchange(OPEN, TAKEN, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

impl Receipt {
    /// The asker leaves. True when nothing was written, and nothing will be.
    pub(super) fn withdraw(&self) -> bool {
        self.word.compare_exchange(OPEN, WITHDRAWN, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// An asker that is dropped has left.
impl Drop for Receipt {
    fn drop(&mut self) {
        self.withdraw();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_either_taken_or_withdrawn() {
        let (order, receipt) = Order::new(Pdu::EnquireLink);
        assert!(order.take());
        assert!(!receipt.withdraw());
        let (order, receipt) = Order::new(Pdu::EnquireLink);
        assert!(receipt.withdraw());
        assert!(!order.take());
        let (order, receipt) = Order::new(Pdu::EnquireLink);
        drop(receipt);
        assert!(!order.take());
    }
}
