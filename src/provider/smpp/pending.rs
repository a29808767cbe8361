//! What was written and is not answered yet, by sequence number.
//!
//! At most a window of them. One that is not answered in time is told so, and keeps its place in the window: the centre
//! may still be at it. When nothing but such are left, the link is of no use any more.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::debug;

use super::order::Answer;
use super::wire::{Frame, id};

struct One {
    due: Instant,
    /// None once it was told that no answer came.
    asker: Option<oneshot::Sender<Answer>>,
}

/// See the module.
pub(super) struct Pending {
    window: usize,
    timeout: Duration,
    ones: BTreeMap<u32, One>,
}

impl Pending {
    pub(super) fn new(window: usize, timeout: Duration) -> Self {
        Self { window, timeout, ones: BTreeMap::new() }
    }

    /// Nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.ones.values().all(|one| one.asker.is_none())
    }

    pub(super) fn has_room(&self) -> bool {
        self.ones.len() < self.window
    }

    pub(super) fn enter(&mut self, sequence: u32, asker: oneshot::Sender<Answer>) {
        self.ones.insert(sequence, One { due: Instant::now() + self.timeout, asker: Some(asker) });
    }

    /// When the next one is told that no answer came; now, when nobody waits.
    pub(super) fn due(&self) -> Instant {
        let waiting = self.ones.values().filter(|one| one.asker.is_some()).map(|one| one.due);
        waiting.min().unwrap_or_else(Instant::now)
    }

    /// Tells those whose time is up.
    ///
    /// # Errors
    /// The whole window is full of such.
    pub(super) fn expire(&mut self) -> Result<(), String> {
        let now = Instant::now();
        for one in self.ones.values_mut().filter(|one| one.due <= now) {
            tell(one.asker.take(), Answer::Lost(format!("no answer within {:?}", self.timeout)));
        }
        if !self.has_room() && self.is_empty() {
            return Err("the centre answers no submission any more".to_owned());
        }
        Ok(())
    }

    /// A response came.
    pub(super) fn answered(&mut self, frame: Frame) {
        let Some(one) = self.ones.remove(&frame.sequence) else {
            debug!(sequence = frame.sequence, "an answer to nothing that was asked");
            return;
        };
        let answer = match (frame.id, frame.status) {
            (id::SUBMIT_SM_RESP, 0) => Answer::Response(0, frame.first_string()),
            (id::SUBMIT_SM_RESP | id::GENERIC_NACK, status) if status != 0 => Answer::Response(status, String::new()),
            // Neither taken nor refused.
            _ => Answer::Lost("the answer makes no sense".to_owned()),
        };
        tell(one.asker, answer);
    }

    /// The link is lost.
    pub(super) fn lose(&mut self, problem: &str) {
        for one in std::mem::take(&mut self.ones).into_values() {
            tell(one.asker, Answer::Lost(problem.to_owned()));
        }
    }
}

/// Whoever asked may have left.
fn tell(asker: Option<oneshot::Sender<Answer>>, answer: Answer) {
    if let Some(asker) = asker {
        let _ = asker.send(answer);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn frame(id: u32, status: u32, sequence: u32, body: &'static [u8]) -> Frame {
        Frame { id, status, sequence, body: Bytes::from_static(body) }
    }

    #[tokio::test]
    async fn an_answer_finds_its_asker_and_makes_room() {
        let mut pending = Pending::new(1, Duration::from_secs(5));
        let (sender, receiver) = oneshot::channel();
        pending.enter(7, sender);
        assert!(!pending.has_room());
        pending.answered(frame(id::SUBMIT_SM_RESP, 0, 8, b"x\0"));
        assert!(!pending.has_room());
        pending.answered(frame(id::SUBMIT_SM_RESP, 0, 7, b"A7\0"));
        assert!(pending.has_room() && pending.is_empty());
        assert_eq!(receiver.await.unwrap(), Answer::Response(0, "A7".into()));
    }

    #[tokio::test]
    async fn an_answer_without_a_body_is_an_answer_and_a_nack_without_status_is_none() {
        let mut pending = Pending::new(2, Duration::from_secs(5));
        let ((one, first), (other, second)) = (oneshot::channel(), oneshot::channel());
        pending.enter(1, one);
        pending.enter(2, other);
        pending.answered(frame(id::SUBMIT_SM_RESP, 0x58, 1, b""));
        pending.answered(frame(id::GENERIC_NACK, 0, 2, b""));
        assert_eq!(first.await.unwrap(), Answer::Response(0x58, String::new()));
        assert!(matches!(second.await.unwrap(), Answer::Lost(_)));
    }

    #[tokio::test]
    async fn what_is_not_answered_in_time_keeps_its_place_until_the_window_is_full_of_it() {
        let mut pending = Pending::new(2, Duration::ZERO);
        let (sender, receiver) = oneshot::channel();
        pending.enter(1, sender);
        pending.expire().unwrap();
        assert!(matches!(receiver.await.unwrap(), Answer::Lost(_)));
        assert!(pending.is_empty() && pending.has_room());
        let (sender, _receiver) = oneshot::channel();
        pending.enter(2, sender);
        assert!(!pending.has_room());
        assert!(pending.expire().is_err());
    }

    #[tokio::test]
    async fn a_lost_link_tells_everybody() {
        let mut pending = Pending::new(2, Duration::from_secs(5));
        let (sender, receiver) = oneshot::channel();
        pending.enter(1, sender);
        pending.lose("cut");
        assert_eq!(receiver.await.unwrap(), Answer::Lost("cut".into()));
    }
}
