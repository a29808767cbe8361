//! Messages per second of one provider.
//!
//! A rate of 10 means that no second, wherever it begins, holds more than ten messages, all daemons together: so providers count, or
//! more kindly. Each daemon has whole messages of it, which the fleet deals out, and the messages of a second take a little
//! longer than a second ([`JITTER`]), because their ways to the provider differ.
//!
//! It is kept twice. The claimer takes from it before it claims, because a claim is an attempt, and gives back what a short claim left
//! over: otherwise a daemon that polls an empty outbox would use the rate up for nothing. That makes it even, after the generic cell
//! rate algorithm (ITU-T I.371): the next message is due a gap after the last one, and may come [`BURST`] too early. A quiet hour is
//! not followed by a flood. Between a claim and its requests lie questions to the database, which take longer at times; so each request
//! [waits for its turn](Pace::turn) once more, in order of arrival: until the message so many places before it has left, really and not by plan,
//! for a second.
//!
//! The provider counts a message somewhere between its departure and its answer. What an answer took beyond the shortest one may all have lain
//! before that, on a machine that is busy or a connection that was opened first: the message keeps its place for so much longer, up to
//! [`LATE_LIMIT`]. So two messages are a second apart at the provider too, as long as no way is shorter than the shortest one known.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Messages may be taken so much too early: a claim that comes a little late, as every one does, is made up for, and a fast rate is
/// fed in batches. Short enough that the rate looks even to the provider.
const BURST: Duration = Duration::from_millis(20);

/// By so much may the way to the provider differ between two messages: a quarter of the gap between two, at least and at most. One
/// message too many matters the more, the lower the rate is. It costs a fortieth of a rate up to 10, and a two-hundredth from 50 on.
const JITTER: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(25));

/// The longest that a message is taken to have been late on its way. Where answers take unevenly long, which looks the same, a rate loses at
/// most a tenth by it.
const LATE_LIMIT: Duration = Duration::from_millis(100);

/// The shortest time to an answer is that of the last one to two such times: after that a way that has become longer is known.
const SHORTEST_OF: Duration = Duration::from_secs(30);

/// The longest that a request waits for its turn: a claimed message has a lease, which must not end meanwhile. Then it goes back.
const LONGEST_TURN: Duration = Duration::from_secs(2);

/// The longest that a start holds the first message back: what another process sent a moment ago is not known here.
const LONGEST_START: Duration = Duration::from_secs(1);

/// Messages of one second that are counted one by one, and so the highest rate, 32 bytes each.
const MESSAGES_LIMIT: u32 = 100_000;

/// How long to wait for a rate of which no part is ours, before looking again.
const NOTHING_OURS: Duration = Duration::from_secs(1);

/// A rate, or a share of one.
#[derive(Debug)]
pub struct Pace {
    /// So many messages ...
    messages: u32,
    /// ... in this time: a second, or a little more where the rate is no whole number; and [`JITTER`].
    within: Duration,
    /// So much of a delay on the way the margin has room for: half of it, the rest is for what is measured badly.
    covered: Duration,
    /// The claimer alone takes from it, and each request looks at it a few times, so nobody waits for the lock.
    clock: Mutex<Clock>,
    /// Held by the first of those that wait for their turn; the others have it in order of arrival.
    line: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Clock {
    /// So many of the messages are ours.
    share: u32,
    /// When the next message is due to be taken.
    next_take: Instant,
    /// The last messages, the newest last: as many as are ours.
    left: VecDeque<Place>,
    /// The number of the next message.
    next: u64,
    /// The shortest time from departure to answer, now and before, each as far as it is known; and since when now is.
    shortest: [Option<Duration>; 2],
    shortest_since: Instant,
    /// Messages that wait for their turn.
    waiting: u32,
}

impl Clock {
    fn shortest(&self) -> Option<Duration> {
        self.shortest.iter().flatten().min().copied()
    }
}

/// A message that counts.
#[derive(Debug)]
struct Place {
    left: Instant,
    answered: Option<Instant>,
}

/// A message's turn: it counts from now on.
#[derive(Debug)]
#[must_use = "the rate is used by it"]
pub struct Turn {
    number: u64,
    left: Instant,
}

/// One that waits for its turn, until it is dropped.
struct InLine<'a>(&'a Pace);

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        self.0.locked().waiting -= 1;
    }
}

impl Pace {
    /// `rate` messages per second, above 0; `None` when that is no rate.
    pub fn new(rate: f64) -> Option<Self> {
        Self::since(rate, Instant::now())
    }

    fn since(rate: f64, now: Instant) -> Option<Self> {
        if !rate.is_finite() || rate <= 0.0 {
            return None;
        }
        let whole = rate.floor().clamp(1.0, f64::from(MESSAGES_LIMIT));
        let jitter = Duration::try_from_secs_f64(0.25 / rate).ok()?.clamp(JITTER.0, JITTER.1);
        let within = Duration::try_from_secs_f64(whole / rate).ok()?.saturating_add(jitter);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
        let messages = whole as u32;
        let first = now + (within / messages).min(LONGEST_START) + BURST;
        let clock = Clock {
            share: messages,
            next_take: first,
            left: VecDeque::new(),
            next: 0,
            shortest: [None; 2],
            shortest_since: now,
            waiting: 0,
        };
        let (clock, line) = (Mutex::new(clock), tokio::sync::Mutex::new(()));
        Some(Self { messages, within, covered: jitter / 2, clock, line })
    }

    fn locked(&self) -> MutexGuard<'_, Clock> {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Between two of our messages; `None`: nothing of the rate is ours.
    fn gap(&self, clock: &Clock) -> Option<Duration> {
        self.within.checked_div(clock.share)
    }

    /// Messages of one second, of a rate below one a second 1: what daemons deal out among themselves.
    pub fn messages(&self) -> usize {
        usize::try_from(self.messages).unwrap_or(usize::MAX)
    }

    /// From now on so many of [`messages`](Self::messages) are ours.
    pub fn share(&self, messages: usize) {
        self.locked().share = u32::try_from(messages).unwrap_or(u32::MAX).min(self.messages);
    }

    /// Takes up to `wanted` messages, at most what may leave now. When there are none: how long until the next.
    pub fn take(&self, wanted: usize) -> Result<usize, Duration> {
        self.take_at(wanted, Instant::now())
    }

    /// The same for whoever comes again only after a `pause`: what may leave until then, at [`its turn`](Self::turn).
    pub fn take_until(&self, wanted: usize, pause: Duration) -> Result<usize, Duration> {
        self.take_early(wanted, Instant::now(), BURST.max(pause))
    }

    fn take_at(&self, wanted: usize, now: Instant) -> Result<usize, Duration> {
        self.take_early(wanted, now, BURST)
    }

    /// Messages may be taken so much before they are due.
    fn take_early(&self, wanted: usize, now: Instant, most: Duration) -> Result<usize, Duration> {
        let mut clock = self.locked();
        let Some(gap) = self.gap(&clock) else { return Err(NOTHING_OURS) };
        let mut taken = 0;
        while taken < wanted {
            let early = clock.next_take.saturating_duration_since(now);
            if early > most {
                return if taken > 0 { Ok(taken) } else { Err(early - most) };
            }
            clock.next_take = clock.next_take.max(now) + gap;
            taken += 1;
        }
        Ok(taken)
    }

    /// Gives back what was taken and not used.
    pub fn give_back(&self, messages: usize) {
        let mut clock = self.locked();
        let Some(gap) = self.gap(&clock) else { return };
        let unused = gap.saturating_mul(u32::try_from(messages).unwrap_or(u32::MAX));
        // What lies in the past is as good as now.
        clock.next_take = clock.next_take.checked_sub(unused).unwrap_or_else(Instant::now);
    }

    /// Waits until a message may leave, which it is then taken to do. Hardly ever is there anything to wait for. `None`: its turn does not come
    /// within 2 s.
    pub async fn turn(&self) -> Option<Turn> {
        tokio::time::timeout(LONGEST_TURN, self.in_line()).await.ok()
    }

    async fn in_line(&self) -> Turn {
        let _waiting = self.stand_in_line();
        let _first = self.line.lock().await;
        loop {
            match self.turn_at(Instant::now()) {
                Ok(turn) => return turn,
                Err(wait) => tokio::time::sleep(wait).await,
            }
        }
    }

    fn stand_in_line(&self) -> InLine<'_> {
        self.locked().waiting += 1;
        InLine(self)
    }

    /// The turn of the first in line, if it has come; otherwise how long to wait before looking again.
    fn turn_at(&self, now: Instant) -> Result<Turn, Duration> {
        let mut clock = self.locked();
        // One that was claimed when a part of the rate was ours goes when no part is.
        let share = usize::try_from(clock.share).unwrap_or(usize::MAX).max(1);
        while clock.left.len() > share {
            clock.left.pop_front();
        }
        if clock.left.len() == share
            && let Some(oldest) = clock.left.front()
        {
            let free = self.counts_until(oldest, clock.shortest(), now);
            if free > now {
                // The claims do not go on while something waits for its turn.
                let others = self.gap(&clock).unwrap_or_default().saturating_mul(clock.waiting.saturating_sub(1));
                clock.next_take = clock.next_take.max(free + others + BURST);
                return Err(free - now);
            }
            clock.left.pop_front();
        }
        clock.left.push_back(Place { left: now, answered: None });
        clock.next += 1;
        Ok(Turn { number: clock.next - 1, left: now })
    }

    /// Until when a message counts, as far as is known now.
    fn counts_until(&self, place: &Place, shortest: Option<Duration>, now: Instant) -> Instant {
        let took = place.answered.unwrap_or(now).saturating_duration_since(place.left);
        let late = shortest.map_or(Duration::ZERO, |shortest| took.saturating_sub(shortest)).min(LATE_LIMIT);
        place.left + self.within + late.saturating_sub(self.covered)
    }

    /// A message has been answered; `taken`: accepted, so that the answer says how long one takes at least.
    pub fn answered(&self, turn: &Turn, taken: bool) {
        self.answered_at(turn, taken, Instant::now());
    }

    fn answered_at(&self, turn: &Turn, taken: bool, now: Instant) {
        let mut clock = self.locked();
        if taken {
            let took = now.saturating_duration_since(turn.left);
            if now.saturating_duration_since(clock.shortest_since) > SHORTEST_OF {
                clock.shortest = [None, clock.shortest[0]];
                clock.shortest_since = now;
            }
            clock.shortest[0] = Some(clock.shortest[0].map_or(took, |shortest| shortest.min(took)));
        }
        // Numbered from the newest: those that no longer count are gone.
        let back = usize::try_from(clock.next - turn.number).unwrap_or(usize::MAX);
        if let Some(at) = clock.left.len().checked_sub(back)
            && let Some(place) = clock.left.get_mut(at)
        {
            place.answered = Some(now);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
