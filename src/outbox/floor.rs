//! Below which id no claim needs to look.
//!
//! Rows settle and leave; their dead index entries stay until vacuum, and for as long as an old snapshot is held open.
//! A claim that started at the beginning of the index would walk them all. A cursor of "id above the last one seen"
//! would lose rows that commit late, because the order of ids is not the order of commits.
//!
//! So the floor rises only over ids of transactions known to be over. Each look at the outbox reads the highest id given
//! out so far and the snapshot's bounds. An id belongs to a transaction that had a number when the id was given out, or
//! got one a moment later; a mark therefore pairs the ids of one look with the upper bound of the *next* look, at least
//! [`SETTLE`] later. Once the lower bound of running transactions has passed it, every one of these ids has committed or
//! never will. While a transaction stays open the floor stands still, and claims use [`Floor::high`], the highest id
//! claimed, with a look from the safe floor now and then.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long after an id was given out its transaction surely has a number: the two are microseconds apart.
const SETTLE: Duration = Duration::from_millis(500);

/// How often a busy claimer looks from the safe floor, so that a late commit waits no longer than this.
const SWEEP_EVERY: Duration = Duration::from_millis(500);

/// A sweep may take this share of the time: while a held transaction keeps the floor down, sweeps get dearer and rarer.
const SWEEP_SHARE: u32 = 50;

/// How often it is looked for rows below the floor, whatever the bookkeeping says: a row that was locked while the claim passed it
/// (by a session of staff, or by a daemon whose claim then failed) lies there unseen. The look runs beside the claims, for it
/// may read the whole outbox.
const LOOK_BACK_EVERY: Duration = Duration::from_secs(30);

/// These looks may take this share of the time, however large the table has become.
const LOOK_BACK_SHARE: u32 = 100;

/// Marks kept while a transaction stays open; beyond it the newest is replaced.
const MARKS_LIMIT: usize = 64;

/// What one look at the outbox saw.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// Highest id given out.
    pub last_id: i64,
    /// Every transaction below this number is over.
    pub xmin: i64,
    /// No transaction at or above this number had begun.
    pub xmax: i64,
    /// The highest id claimed in this look, 0 for none.
    pub claimed: i64,
    /// Whether it claimed as much as it was allowed to.
    pub full: bool,
    /// How long the look took.
    pub took: Duration,
}

/// The claimer's bookkeeping.
#[derive(Debug)]
pub struct Floor {
    safe: i64,
    high: i64,
    /// The ids of a look, waiting for the upper bound of a later one.
    open: Option<(i64, Instant)>,
    /// Ids, and the transaction number that must be over before they are below the floor.
    marks: VecDeque<(i64, i64)>,
    busy: bool,
    swept: Instant,
    sweep_cost: Duration,
    looked_back: Instant,
    look_back_cost: Duration,
}

impl Floor {
    /// A floor that knows nothing: the first look starts at the beginning.
    pub fn new(now: Instant) -> Self {
        Self::from(0, now)
    }

    /// A floor that another daemon, or an earlier start, has found: every id up to it belonged to a transaction that was over, and was looked at.
    /// What lies below all the same is found by the look below, half a minute later as ever: it may read all that waits.
    pub fn from(safe: i64, now: Instant) -> Self {
        Self {
            safe,
            high: safe,
            open: None,
            marks: VecDeque::new(),
            busy: false,
            swept: now,
            sweep_cost: Duration::ZERO,
            looked_back: now,
            look_back_cost: Duration::ZERO,
        }
    }

    /// The highest id below which nothing needs to be looked at.
    pub fn safe(&self) -> i64 {
        self.safe
    }

    /// Ids above this are to be looked at now.
    pub fn start(&self, now: Instant) -> i64 {
        let sweep_due = now.duration_since(self.swept) >= SWEEP_EVERY.max(self.sweep_cost * SWEEP_SHARE);
        if self.busy && !sweep_due { self.high } else { self.safe }
    }

    /// Whether it is time to look below the floor, and up to which id.
    pub fn look_back_due(&self, now: Instant) -> Option<i64> {
        let due = LOOK_BACK_EVERY.max(self.look_back_cost * LOOK_BACK_SHARE);
        (now.duration_since(self.looked_back) >= due).then_some(self.high.max(self.safe))
    }

    /// The look below the floor is over; the next claim begins at the row that it found.
    pub fn looked_back(&mut self, left: Option<i64>, took: Duration, now: Instant) {
        (self.looked_back, self.look_back_cost) = (now, took);
        if let Some(id) = left {
            self.safe = self.safe.min(id - 1);
            self.high = self.high.min(id - 1);
        }
    }

    /// Learns from a look that began at `start`.
    pub fn learn(&mut self, start: i64, look: Look, now: Instant) {
        if look.last_id < self.high || look.last_id < self.safe {
            // The sequence went back: a restore. Nothing known before holds.
            *self = Self::new(now);
            return;
        }
        if start <= self.safe {
            self.swept = now;
            self.sweep_cost = look.took;
        }
        self.busy = look.full;
        self.high = self.high.max(look.claimed);
        // Only a look from the floor has seen what committed late; one that began above it may have passed it by.
        let from_floor = start <= self.safe;
        while let Some((ids, over)) = self.marks.front().copied().filter(|_| from_floor) {
            if look.xmin < over {
                break;
            }
            self.marks.pop_front();
            // A full look from here may have left rows behind; the floor follows the claims, never overtakes them.
            self.safe = self.safe.max(if look.full { ids.min(self.high) } else { ids });
        }
        match self.open {
            Some((ids, seen)) if now.duration_since(seen) >= SETTLE => {
                if self.marks.len() >= MARKS_LIMIT {
                    self.marks.pop_back();
                }
                self.marks.push_back((ids, look.xmax));
                self.open = Some((look.last_id, now));
            }
            Some(_) => {}
            None => self.open = Some((look.last_id, now)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(last_id: i64, xmin: i64, xmax: i64) -> Look {
        Look { last_id, xmin, xmax, claimed: 0, full: false, took: Duration::from_millis(1) }
    }

    /// Looks once a second, and returns where the next one would start.
    fn run(floor: &mut Floor, mut now: Instant, looks: &[Look]) -> i64 {
        for look in looks {
            let start = floor.start(now);
            floor.learn(start, *look, now);
            now += Duration::from_secs(1);
        }
        floor.start(now)
    }

    #[test]
    fn the_floor_rises_over_ids_whose_transactions_are_over() {
        let now = Instant::now();
        let mut floor = Floor::new(now);
        assert_eq!(run(&mut floor, now, &[look(100, 50, 50), look(120, 60, 60), look(120, 60, 60)]), 100);
    }

    #[test]
    fn an_open_transaction_holds_the_floor_down() {
        let now = Instant::now();
        let mut floor = Floor::new(now);
        // Transaction 55 stays open: it may hold an id up to 120.
        let looks = [look(100, 50, 50), look(120, 55, 60), look(500, 55, 90), look(900, 55, 120)];
        assert_eq!(run(&mut floor, now, &looks), 0);
        // It ends: everything marked before 120 may go below the floor.
        assert_eq!(run(&mut floor, now + Duration::from_secs(5), &[look(900, 121, 121)]), 500);
    }

    #[test]
    fn a_sequence_that_went_back_starts_everything_again() {
        let now = Instant::now();
        let mut floor = Floor::new(now);
        run(&mut floor, now, &[look(100, 50, 50), look(120, 60, 60), look(120, 60, 60)]);
        assert_eq!(run(&mut floor, now + Duration::from_secs(5), &[look(3, 70, 70)]), 0);
    }

    #[test]
    fn a_busy_claimer_continues_above_what_it_claimed_and_sweeps_now_and_then() {
        let now = Instant::now();
        let mut floor = Floor::new(now);
        let busy = |claimed| Look { claimed, full: true, ..look(1000, 10, 10) };
        floor.learn(0, busy(32), now);
        assert_eq!(floor.start(now + Duration::from_millis(1)), 32);
        assert_eq!(floor.start(now + SWEEP_EVERY), 0);
    }

    #[test]
    fn rows_left_behind_by_full_looks_never_fall_below_the_floor() {
        let now = Instant::now();
        let mut floor = Floor::new(now);
        let mut at = now;
        for claimed in [10, 20, 30, 40, 50] {
            let start = floor.start(at);
            floor.learn(start, Look { claimed, full: true, ..look(1000, 10_000, 10_000) }, at);
            at += Duration::from_secs(1);
            assert!(floor.safe <= claimed);
        }
    }

    #[test]
    fn a_look_from_above_does_not_lift_the_floor_over_what_has_committed_late() {
        let now = Instant::now();
        let mut floor = Floor::new(now);
        let busy = |claimed, xmin, xmax| Look { claimed, full: true, ..look(1000, xmin, xmax) };
        // Transaction 55 holds an id below those that are claimed meanwhile.
        floor.learn(0, busy(100, 55, 60), now);
        floor.learn(0, busy(200, 55, 70), now + SETTLE);
        // It commits, and the next look begins above it.
        let start = floor.start(now + SETTLE + Duration::from_millis(10));
        assert_eq!(start, 200);
        floor.learn(start, busy(300, 90, 90), now + SETTLE + Duration::from_millis(10));
        // The next one from the floor still finds it, and then the floor rises.
        let sweep = now + SETTLE + SWEEP_EVERY;
        assert_eq!(floor.start(sweep), 0);
        floor.learn(0, busy(400, 95, 95), sweep);
        assert_eq!(floor.safe, 400);
    }

    #[test]
    fn a_row_left_behind_is_claimed_next_however_busy_the_claimer_is() {
        let now = Instant::now();
        let mut floor = Floor::new(now);
        let later = now + LOOK_BACK_EVERY;
        run(&mut floor, now, &[look(100, 50, 50), look(120, 60, 60), look(120, 60, 60)]);
        assert_eq!(floor.look_back_due(now), None);
        assert_eq!(floor.look_back_due(later), Some(100));
        floor.looked_back(Some(40), Duration::from_millis(5), later);
        assert_eq!((floor.start(later), floor.look_back_due(later)), (39, None));
        floor.busy = true;
        assert_eq!(floor.start(later), 39);
    }

    #[test]
    fn a_floor_from_before_holds_until_the_sequence_contradicts_it_and_is_looked_below_in_time() {
        let now = Instant::now();
        let mut floor = Floor::from(1_000, now);
        assert_eq!((floor.start(now), floor.look_back_due(now)), (1_000, None));
        assert_eq!(floor.look_back_due(now + LOOK_BACK_EVERY), Some(1_000));
        floor.looked_back(Some(40), Duration::from_millis(5), now);
        assert_eq!((floor.start(now), floor.look_back_due(now)), (39, None));
        let mut floor = Floor::from(1_000, now);
        floor.learn(1_000, look(3, 70, 70), now);
        assert_eq!(floor.start(now), 0);
    }

    #[test]
    fn dear_looks_back_are_rare() {
        let now = Instant::now();
        let mut floor = Floor::new(now);
        floor.looked_back(None, Duration::from_secs(1), now);
        assert_eq!(floor.look_back_due(now + LOOK_BACK_EVERY), None);
        assert_eq!(floor.look_back_due(now + Duration::from_secs(100)), Some(0));
    }
}
