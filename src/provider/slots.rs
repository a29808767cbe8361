//! Requests at once of one provider, and the messages that wait for their turn.
//!
//! A message comes with a [`Ticket`]: it waits, is seated when a slot is free, and leaves when its ticket is dropped, or handed over to the
//! next one. Those that are urgent are seated first. The claimer looks at the whole load, waiting and seated, and at how fast messages leave: at full speed it claims some ahead, so
//! that a slot never stands empty for as long as a claim takes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

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

impl State {
    /// Whether the load has fallen to where somebody wants it; says so once.
    fn is_relieved(&mut self) -> bool {
        let relieved = self.wanted.is_some_and(|wanted| self.seated + self.waiting <= wanted);
        if relieved {
            self.wanted = None;
        }
        relieved
    }
}

/// A message's place: waiting until it is seated. Dropped when its provider has answered, or it goes back unsent.
#[derive(Debug)]
pub struct Ticket {
    slots: Arc<Slots>,
    place: Place,
    urgent: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Waiting,
    Seated,
    /// Its slot is the next one's.
    Left,
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
        (0..messages).map(|_| Ticket { slots: Arc::clone(self), place: Place::Waiting, urgent }).collect()
    }

    /// Becomes ready when a slot may have become free, from this call on.
    pub fn freed(&self, urgent: bool) -> Notified<'_> {
        if urgent { self.freed_for_urgent.notified() } else { self.freed.notified() }
    }

    /// Seats as many of these, which came together, as there are free slots, from the first on. How many.
    pub fn seat<'a>(&self, tickets: impl ExactSizeIterator<Item = &'a mut Ticket>) -> usize {
        let waiting = tickets.len();
        let mut tickets = tickets.peekable();
        let Some(urgent) = tickets.peek().map(|ticket| ticket.urgent) else { return 0 };
        let mut state = self.locked();
        let free = state.limit.saturating_sub(state.seated);
        // The urgent ones first; they are told of every slot that becomes free while they wait.
        let seated = if urgent || state.urgent == 0 { free.min(waiting) } else { 0 };
        state.seated += seated;
        state.waiting -= seated;
        if urgent {
            state.urgent -= seated;
        }
        tickets.take(seated).for_each(|ticket| ticket.place = Place::Seated);
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

    /// Its message has been answered, and this one that waits takes the slot, unless an urgent one is before it or there are fewer slots
    /// now: then the slot becomes free.
    pub fn hand_over(mut self, next: &mut Ticket) -> bool {
        let slots = Arc::clone(&self.slots);
        let mut state = slots.locked();
        if state.seated > state.limit || (state.urgent > 0 && !next.urgent) {
            return false;
        }
        (self.place, next.place) = (Place::Left, Place::Seated);
        state.left += 1;
        state.waiting -= 1;
        if next.urgent {
            state.urgent -= 1;
        }
        if state.is_relieved() {
            slots.relieved.notify_one();
        }
        true
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.slots.locked();
        match self.place {
            Place::Left => return,
            Place::Seated => {
                state.seated -= 1;
                state.left += 1;
            }
            Place::Waiting => {
                state.waiting -= 1;
                if self.urgent {
                    state.urgent -= 1;
                }
            }
        }
        let relieved = state.is_relieved();
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

    /// Waits until some are seated; how many.
    async fn seated(slots: &Slots, tickets: &mut [Ticket]) -> usize {
        loop {
            let freed = slots.freed(tickets[0].is_urgent());
            let seated = slots.seat(tickets.iter_mut());
            if seated > 0 {
                return seated;
            }
            freed.await;
        }
    }

    #[tokio::test]
    async fn no_more_are_seated_than_there_are_slots_and_the_next_follow_as_they_leave() {
        let slots = Slots::new(2);
        let mut first = slots.enter(3, false);
        assert_eq!((slots.load(), slots.seated()), (3, 0));
        assert_eq!(seated(&slots, &mut first).await, 2);
        let mut last = first.split_off(2);
        {
            let mut seat = std::pin::pin!(seated(&slots, &mut last));
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
        assert_eq!(seated(&slots, &mut first).await, 1);
        let mut second = first.split_off(1);
        let mut urgent = slots.enter(1, true);
        let mut seat = Box::pin(seated(&slots, &mut second));
        let mut urgent_seat = Box::pin(seated(&slots, &mut urgent));
        assert!(futures_util::poll!(seat.as_mut()).is_pending());
        assert!(futures_util::poll!(urgent_seat.as_mut()).is_pending());
        drop(first);
        assert!(futures_util::poll!(seat.as_mut()).is_pending(), "it stands back");
        assert_eq!(urgent_seat.await, 1);
        drop(urgent);
        assert_eq!(seat.await, 1, "its turn");
    }

    #[tokio::test]
    async fn who_has_been_answered_hands_the_slot_over_but_not_past_somebody_urgent_nor_above_the_limit() {
        let slots = Slots::new(1);
        let mut tickets = slots.enter(4, false);
        assert_eq!(seated(&slots, &mut tickets).await, 1);
        let mut next = tickets.split_off(1);
        let first = tickets.remove(0);
        let mut relief = std::pin::pin!(slots.relieved(3));
        assert!(futures_util::poll!(relief.as_mut()).is_pending());
        assert!(first.hand_over(&mut next[0]));
        relief.await;
        assert_eq!((slots.load(), slots.seated()), (3, 1));
        let mut urgent = slots.enter(1, true);
        let second = next.remove(0);
        assert!(!second.hand_over(&mut next[0]));
        assert_eq!(seated(&slots, &mut urgent).await, 1, "the slot is free for the urgent one");
        slots.resize(0);
        assert!(!urgent.remove(0).hand_over(&mut next[0]));
        assert_eq!((slots.load(), slots.seated()), (2, 0));
        drop(next);
        assert_eq!(slots.load(), 0);
    }

    #[tokio::test]
    async fn a_smaller_limit_holds_once_those_above_it_have_left() {
        let slots = Slots::new(3);
        let mut first = slots.enter(3, false);
        assert_eq!(seated(&slots, &mut first).await, 3);
        slots.resize(1);
        let mut next = slots.enter(1, false);
        let mut seat = std::pin::pin!(seated(&slots, &mut next));
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
        seated(&slots, &mut tickets).await;
        drop(tickets);
        let measured = slots.per_second(start + Duration::from_secs(2));
        assert!((measured - 50.0).abs() < 0.1, "{measured}");
    }
}
