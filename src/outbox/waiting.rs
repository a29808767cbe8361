//! Rows of one batch that wait for a slot of their provider.
//!
//! They leave from the front, in two ways. The batch seats as many as there are free slots; and a sender whose message has been answered takes the
//! next one along on its own slot, which at full speed is nearly all of them: no task is woken and none is made for it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::prepare::Informed;
use crate::provider::slots::{Slots, Ticket};

/// A row, and its place at the provider.
pub(super) type Seat = (Informed, Ticket);

/// The rows of a batch that have no slot yet.
pub(super) struct Waiting {
    slots: Arc<Slots>,
    rows: Mutex<VecDeque<Seat>>,
    /// The last one was taken along.
    emptied: Notify,
}

impl Waiting {
    /// These rows, each with its ticket. All tickets are urgent or none is.
    pub(super) fn new(slots: &Arc<Slots>, rows: Vec<Informed>, tickets: Vec<Ticket>) -> Arc<Self> {
        let rows = Mutex::new(rows.into_iter().zip(tickets).collect());
        Arc::new(Self { slots: Arc::clone(slots), rows, emptied: Notify::new() })
    }

    fn locked(&self) -> MutexGuard<'_, VecDeque<Seat>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for free slots and takes as many rows as there are; none when no row is left.
    pub(super) async fn seat(&self) -> Vec<Seat> {
        loop {
            let urgent = self.locked().front().is_some_and(|(_, ticket)| ticket.is_urgent());
            let (freed, emptied) = (self.slots.freed(urgent), self.emptied.notified());
            {
                let mut rows = self.locked();
                if rows.is_empty() {
                    return Vec::new();
                }
                let seated = self.slots.seat(rows.iter_mut().map(|(_, ticket)| ticket));
                if seated > 0 {
                    return rows.drain(..seated).collect();
                }
            }
            tokio::select! {
                () = freed => {}
                () = emptied => {}
            }
        }
    }

    /// The next row, on the slot of one that has been answered. None when there is none, or somebody else is to have the slot.
    pub(super) fn succeed(&self, answered: Ticket) -> Option<Seat> {
        let mut rows = self.locked();
        if !answered.hand_over(&mut rows.front_mut()?.1) {
            return None;
        }
        let next = rows.pop_front();
        if rows.is_empty() {
            self.emptied.notify_one();
        }
        next
    }

    /// Whatever is left; it no longer waits.
    pub(super) fn give_up(&self) -> Vec<Informed> {
        self.locked().drain(..).map(|(informed, _)| informed).collect()
    }
}
