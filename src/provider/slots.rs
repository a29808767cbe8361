//! Requests at once of one provider, and the messages that wait for their turn.
//!
//! A message comes with a [`Ticket`]: it waits, is seated when a slot is free, and leaves when its ticket is dropped. Those that are
//! urgent are seated first. The claimer
//! looks at the whole load, waiting and seated, and at how fast messages leave: at full speed it claims some ahead, so
//! that a slot never stands empty for as long as a claim takes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// How long answers are counted for one measure of the speed.
const MEASURE_EVERY: Duration = Duration::from_millis(20);

/// Beyond this an older measure says nothing about now.
const MEASURE_STALE: Duration = Duration::from_secs(1);

/// The slots of one provider.
#[derive(Debug)]
pub struct Slots {
    state: Mutex<State>,
    /// A slot was freed: one of those who wait to be seated looks again.
    freed: Notify,
    /// The same for those who are urgent.
    freed_for_urgent: Notify,
    /// The load fell to where somebody wants it.
    relieved: Notify,
}

#[derive(Debug)]
struct State {
    limit: usize,
    seated: usize,
    waiting: usize,
    /// Of those that wait.
    urgent: usize,
    /// The load at which `relieved` is told.
    wanted: Option<usize>,
    /// Messages that left a slot, ever.
    left: u64,
    measured: Option<(Instant, u64)>,
    per_second: f64,
}

/// A message's place: waiting until it is seated. Dropped when its provider has answered, or it goes back unsent.
#[derive(Debug)]
pub struct Ticket {
    slots: Arc<Slots>,
    seated: bool,
    urgent: bool,
}

impl Slots {
    /// `limit` requests at once.
    pub fn new(limit: usize) -> Arc<Self> {
        let state =
            State { limit, seated: 0, waiting: 0, urgent: 0, wanted: None, left: 0, measured: None, per_second: 0.0 };
        Arc::new(Self {
            state: Mutex::new(state),
            freed: Notify::new(),
            freed_for_urgent: Notify::new(),
            relieved: Notify::new(),
        })
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on `limit` requests at once. Those above it that are under way end first.
    pub fn resize(&self, limit: usize) {
        let mut state = self.locked();
        if limit != state.limit {
            state.limit = limit;
            self.tell(state);
        }
    }

    /// Tells whoever is next that there may be a free slot.
    fn tell(&self, state: MutexGuard<'_, State>) {
        let (waiting, urgent) = (state.waiting, state.urgent);
        drop(state);
        if urgent > 0 {
            self.freed_for_urgent.notify_one();
        } else if waiting > 0 {
            self.freed.notify_one();
        }
    }

    /// Requests at once.
    pub fn limit(&self) -> usize {
        self.locked().limit
    }

    /// Requests under way.
    pub fn seated(&self) -> usize {
        self.locked().seated
    }

    /// Messages here, waiting ones among them.
    pub fn load(&self) -> usize {
        let state = self.locked();
        state.seated + state.waiting
    }

    /// So many messages have come, all of them urgent or none.
    pub fn enter(self: &Arc<Self>, messages: usize, urgent: bool) -> Vec<Ticket> {
        let mut state = self.locked();
        state.waiting += messages;
        if urgent {
            state.urgent += messages;
        }
        drop(state);
        (0..messages).map(|_| Ticket { slots: Arc::clone(self), seated: false, urgent }).collect()
    }

    /// Waits for a free slot, then seats as many of these, which came together, as there are slots, from the first on. How many.
    pub async fn seat(&self, tickets: &mut [Ticket]) -> usize {
        let Some(Ticket { urgent, .. }) = tickets.first() else { return 0 };
        let freed = if *urgent { &self.freed_for_urgent } else { &self.freed };
        loop {
            let freed = freed.notified();
            let seated = self.seat_now(tickets);
            if seated > 0 {
                return seated;
            }
            freed.await;
        }
    }

    fn seat_now(&self, tickets: &mut [Ticket]) -> usize {
        let urgent = tickets.first().is_some_and(|ticket| ticket.urgent);
        let mut state = self.locked();
        let free = state.limit.saturating_sub(state.seated);
        // The urgent ones first; they are told of every slot that becomes free while they wait.
        let seated = if urgent || state.urgent == 0 { free.min(tickets.len()) } else { 0 };
        state.seated += seated;
        state.waiting -= seated;
        if urgent {
            state.urgent -= seated;
        }
        for ticket in &mut tickets[..seated] {
            ticket.seated = true;
        }
        if free > seated {
            self.tell(state);
        }
        seated
    }

    /// Waits until the load is at most this.
    pub async fn relieved(&self, load: usize) {
        loop {
            let relieved = self.relieved.notified();
            {
                let mut state = self.locked();
                if state.seated + state.waiting <= load {
                    state.wanted = None;
                    return;
                }
                state.wanted = Some(load);
            }
            relieved.await;
        }
    }

    /// Messages that leave in a second, measured lately. 0: too few to say.
    pub fn per_second(&self, now: Instant) -> f64 {
        let mut state = self.locked();
        let Some((then, left)) = state.measured else {
            state.measured = Some((now, state.left));
            return 0.0;
        };
        let passed = now.saturating_duration_since(then);
        if passed >= MEASURE_EVERY {
            #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
            let measure = (state.left - left) as f64 / passed.as_secs_f64();
            state.per_second = if passed > MEASURE_STALE { measure } else { (state.per_second + measure) / 2.0 };
            state.measured = Some((now, state.left));
        }
        state.per_second
    }
}

impl Ticket {
    /// Whether it is seated before those that are not.
    pub fn is_urgent(&self) -> bool {
        self.urgent
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.slots.locked();
        if self.seated {
            state.seated -= 1;
            state.left += 1;
        } else {
            state.waiting -= 1;
            if self.urgent {
                state.urgent -= 1;
            }
        }
        let relieved = state.wanted.is_some_and(|wanted| state.seated + state.waiting <= wanted);
        if relieved {
            state.wanted = None;
        }
        // Also when it was only waiting: others may have stood back for it.
        self.slots.tell(state);
        if relieved {
            self.slots.relieved.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_more_are_seated_than_there_are_slots_and_the_next_follow_as_they_leave() {
        let slots = Slots::new(2);
        let mut first = slots.enter(3, false);
        assert_eq!((slots.load(), slots.seated()), (3, 0));
        assert_eq!(slots.seat(&mut first).await, 2);
        let mut last = first.split_off(2);
        {
            let mut seat = std::pin::pin!(slots.seat(&mut last));
            assert!(futures_util::poll!(seat.as_mut()).is_pending(), "both slots are taken");
            first.pop();
            assert_eq!(seat.await, 1);
        }
        assert_eq!((slots.load(), slots.seated()), (2, 2));
        drop((first, last));
        assert_eq!((slots.load(), slots.seated()), (0, 0));
    }

    #[tokio::test]
    async fn who_is_urgent_is_seated_before_those_who_came_earlier() {
        let slots = Slots::new(1);
        let mut first = slots.enter(2, false);
        assert_eq!(slots.seat(&mut first).await, 1);
        let mut second = first.split_off(1);
        let mut urgent = slots.enter(1, true);
        let mut seat = Box::pin(slots.seat(&mut second));
        let mut urgent_seat = Box::pin(slots.seat(&mut urgent));
        assert!(futures_util::poll!(seat.as_mut()).is_pending());
        assert!(futures_util::poll!(urgent_seat.as_mut()).is_pending());
        drop(first);
        assert!(futures_util::poll!(seat.as_mut()).is_pending(), "it stands back");
        assert_eq!(urgent_seat.await, 1);
        drop(urgent);
        assert_eq!(seat.await, 1, "its turn");
    }

    #[tokio::test]
    async fn a_smaller_limit_holds_once_those_above_it_have_left() {
        let slots = Slots::new(3);
        let mut first = slots.enter(3, false);
        assert_eq!(slots.seat(&mut first).await, 3);
        slots.resize(1);
        let mut next = slots.enter(1, false);
        let mut seat = std::pin::pin!(slots.seat(&mut next));
        first.truncate(1);
        assert!(futures_util::poll!(seat.as_mut()).is_pending(), "one is under way, which is all there may be");
        first.clear();
        assert_eq!(seat.await, 1);
    }

    #[tokio::test]
    async fn whoever_waits_for_relief_hears_of_it_when_the_load_has_fallen_far_enough() {
        let slots = Slots::new(1);
        let mut tickets = slots.enter(3, false);
        let mut relief = std::pin::pin!(slots.relieved(1));
        assert!(futures_util::poll!(relief.as_mut()).is_pending());
        tickets.pop();
        assert!(futures_util::poll!(relief.as_mut()).is_pending(), "two are still here");
        tickets.pop();
        relief.await;
    }

    #[tokio::test]
    async fn the_speed_is_what_left_within_the_time() {
        let (slots, start) = (Slots::new(100), Instant::now());
        assert!(slots.per_second(start) < 0.1);
        let mut tickets = slots.enter(100, false);
        slots.seat(&mut tickets).await;
        drop(tickets);
        let measured = slots.per_second(start + Duration::from_secs(2));
        assert!((measured - 50.0).abs() < 0.1, "{measured}");
    }
}
