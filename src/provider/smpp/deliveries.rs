//! What came from the centre and is being written to the database: each is answered when it is there, and not before.

use std::pin::Pin;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};
use tracing::debug;

use super::config::IdForm;
use super::incoming::Incoming;
use super::wire::{Frame, answer};
use crate::provider::receipt::Delivery;

/// Most that are being written at once; a centre that sends more is told to repeat it.
const AT_ONCE: usize = 256;

/// How long the database may take. Centres wait for some ten seconds and more.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

type Waiting = Pin<Box<dyn Future<Output = (u32, u32)> + Send>>;

/// See the module.
pub(super) struct Deliveries {
    provider: String,
    ids: IdForm,
    sender: mpsc::Sender<Delivery>,
    waiting: FuturesUnordered<Waiting>,
}

impl Deliveries {
    pub(super) fn new(provider: String, ids: IdForm, sender: mpsc::Sender<Delivery>) -> Self {
        Self { provider, ids, sender, waiting: FuturesUnordered::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Hands on what came. The status to answer with at once, or `None` when [`next`](Self::next) will tell.
    pub(super) fn take(&mut self, frame: &Frame) -> Option<u32> {
        let Some(incoming) = Incoming::read(&frame.body) else {
            debug!(provider = self.provider, "a deliver_sm cannot be read");
            return Some(answer::NEVER);
        };
        let Some(pushed) = incoming.pushed(self.ids) else {
            debug!(provider = self.provider, "a deliver_sm says nothing to us");
            return Some(answer::OK);
        };
        if self.waiting.len() >= AT_ONCE {
            return Some(answer::AGAIN);
        }
        let (taken, written) = oneshot::channel();
        let delivery = Delivery { provider: self.provider.clone(), pushed, taken };
        if self.sender.try_send(delivery).is_err() {
            return Some(answer::AGAIN);
        }
        let sequence = frame.sequence;
        self.waiting.push(Box::pin(async move {
            let written = tokio::time::timeout(WRITE_TIMEOUT, written).await;
            let status = if matches!(written, Ok(Ok(true))) { answer::OK } else { answer::AGAIN };
            (sequence, status)
        }));
        None
    }

    /// The next that was written, or was not: its sequence number and the status to answer with.
    pub(super) async fn next(&mut self) -> (u32, u32) {
        match self.waiting.next().await {
            Some(answered) => answered,
            None => std::future::pending().await,
        }
    }

    /// The link is lost: the centre repeats what was not answered, and the database knows what it has already.
    pub(super) fn forget(&mut self) {
        self.waiting.clear();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn frame(sequence: u32, body: &'static [u8]) -> Frame {
        Frame { id: 5, status: 0, sequence, body: Bytes::from_static(body) }
    }

    const RECEIPT: &[u8] = b"\0\x01\x01216\0\x05\0ECAR\0\x04\0\0\0\0\0\0\0\0\x11id:7 stat:DELIVRD";

    #[tokio::test]
    async fn it_is_answered_ok_when_it_is_written_and_temporary_otherwise() {
        let (sender, mut receiver) = mpsc::channel(8);
        let mut deliveries = Deliveries::new("c".into(), IdForm::AsIs, sender);
        for (sequence, done, status) in
            [(1, Some(true), answer::OK), (2, Some(false), answer::AGAIN), (3, None, answer::AGAIN)]
        {
            assert_eq!(deliveries.take(&frame(sequence, RECEIPT)), None);
            let Delivery { taken, .. } = receiver.recv().await.unwrap();
            match done {
                Some(done) => taken.send(done).unwrap(),
                None => drop(taken),
            }
            assert_eq!(deliveries.next().await, (sequence, status));
        }
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_not_to_be_repeated_and_what_finds_no_room_is() {
        let (sender, receiver) = mpsc::channel(1);
        let mut deliveries = Deliveries::new("c".into(), IdForm::AsIs, sender);
        assert_eq!(deliveries.take(&frame(1, b"\0\x01")), Some(answer::NEVER));
        assert_eq!(deliveries.take(&frame(2, RECEIPT)), None);
        assert_eq!(deliveries.take(&frame(3, RECEIPT)), Some(answer::AGAIN));
        drop(receiver);
        assert_eq!(deliveries.take(&frame(4, RECEIPT)), Some(answer::AGAIN));
    }
}
