//! What this process remembers of its own recent attempts, in case the database forgets.
//!
//! A standby that was promoted may lack the last transactions of the old primary (asynchronous replication): a message that was sent
//! stands in the outbox as if it had never been claimed. The same after a backup was restored under a running daemon. An attempt that
//! is under way, accepted or in doubt is therefore remembered by id *and* time of creation, because ids may be given twice; a claim
//! that brings such a message back does not send it again.
//!
//! Bounded: the oldest are forgotten. Other daemons and other starts remember nothing; see docs/SECURITY.md for what is left.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::message::outcome::Outcome;

/// Attempts remembered: a few seconds at full speed, hours of a garage's day, about 3 MB.
const LIMIT: usize = 20_000;

/// What is known of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Memory {
    /// Its request is being written or its answer awaited.
    UnderWay,
    /// The provider took the message.
    Accepted {
        /// Which provider.
        provider: String,
        /// Its id for the message.
        provider_message_id: Option<String>,
    },
    /// It may have been sent.
    Doubt {
        /// Which provider.
        provider: String,
        /// The attempt whose reference the provider may know.
        attempt: i32,
    },
}

impl Memory {
    /// What is worth remembering of an attempt: nothing when nothing was sent, a doubt while there is no outcome.
    pub fn of(outcome: Option<&Outcome>, provider: &str, attempt: i32) -> Option<Self> {
        let provider = provider.to_owned();
        match outcome {
            Some(Outcome::Accepted { provider_message_id, .. }) => {
                Some(Self::Accepted { provider, provider_message_id: provider_message_id.clone() })
            }
            Some(Outcome::Unknown { .. }) | None => Some(Self::Doubt { provider, attempt }),
            Some(
                Outcome::Rejected { .. }
                | Outcome::Throttled { .. }
                | Outcome::TemporaryFailure { .. }
                | Outcome::Misconfigured { .. }
                | Outcome::NoCredit { .. },
            ) => None,
        }
    }
}

#[derive(Debug)]
struct Remembered {
    created_us: i64,
    attempt: i32,
    memory: Memory,
}

/// The memory. Written by the senders, read before a message is sent.
#[derive(Debug, Default)]
pub struct Recall {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    by_id: HashMap<i64, Remembered>,
    order: VecDeque<(i64, i64)>,
}

impl Recall {
    fn locked(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers this of an attempt, in the place of what was known of the message.
    pub fn remember(&self, id: i64, created_us: i64, attempt: i32, memory: Memory) {
        let mut inner = self.locked();
        if inner.by_id.insert(id, Remembered { created_us, attempt, memory }).is_none() {
            inner.order.push_back((id, created_us));
        }
        while inner.order.len() > LIMIT {
            if let Some((oldest, created_us)) = inner.order.pop_front()
                && inner.by_id.get(&oldest).is_some_and(|it| it.created_us == created_us)
            {
                inner.by_id.remove(&oldest);
            }
        }
    }

    /// Nothing was sent: there is nothing to remember.
    pub fn forget(&self, id: i64) {
        self.locked().by_id.remove(&id);
    }

    /// What is known that the database does not know, of the message as it was just claimed for this attempt.
    pub fn of(&self, id: i64, created_us: i64, attempt: i32) -> Option<Memory> {
        let inner = self.locked();
        let known = inner.by_id.get(&id).filter(|known| known.created_us == created_us)?;
        match &known.memory {
            // An accepted message is settled and never claimed again.
            Memory::Accepted { .. } => Some(known.memory.clone()),
            // In the database's own course the next attempt has a higher number.
            Memory::UnderWay | Memory::Doubt { .. } if attempt <= known.attempt => Some(known.memory.clone()),
            Memory::UnderWay | Memory::Doubt { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted() -> Memory {
        Memory::Accepted { provider: "gateway".to_owned(), provider_message_id: Some("7".to_owned()) }
    }

    fn doubt() -> Memory {
        Memory::Doubt { provider: "gateway".to_owned(), attempt: 1 }
    }

    #[test]
    fn an_accepted_message_that_comes_back_is_known_whatever_its_attempt() {
        let recall = Recall::default();
        recall.remember(1, 100, 1, accepted());
        assert_eq!(recall.of(1, 100, 1), Some(accepted()));
        assert_eq!(recall.of(1, 100, 2), Some(accepted()));
        assert_eq!(recall.of(1, 200, 1), None, "another message with the same id");
    }

    #[test]
    fn a_doubt_that_was_cleared_up_in_the_database_is_no_obstacle() {
        let recall = Recall::default();
        recall.remember(1, 100, 1, doubt());
        assert_eq!(recall.of(1, 100, 1), Some(doubt()));
        assert_eq!(recall.of(1, 100, 2), None, "the database counts on from the doubtful attempt");
        recall.forget(1);
        assert_eq!(recall.of(1, 100, 1), None);
    }

    #[test]
    fn the_oldest_are_forgotten_and_the_rest_is_not() {
        let recall = Recall::default();
        for id in 0..(LIMIT as i64 + 10) {
            recall.remember(id, 100, 1, accepted());
        }
        assert_eq!(recall.of(9, 100, 1), None);
        assert_eq!(recall.of(10, 100, 1), Some(accepted()));
        assert_eq!(recall.locked().by_id.len(), LIMIT);
    }
}
