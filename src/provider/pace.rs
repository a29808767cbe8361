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
//! [waits for its turn](Pace::turn) once more, which is when as many messages as a second may hold have left for a second.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Messages may be taken so much too early: a claim that comes a little late, as every one does, is made up for, and a fast rate is
/// fed in batches. Short enough that the rate looks even to the provider.
const BURST: Duration = Duration::from_millis(20);

/// By so much may the way to the provider differ between two messages: a quarter of the gap between two, at least and at most. One
/// message too many matters the more, the lower the rate is. It costs a fortieth of a rate up to 10, and a two-hundredth from 50 on.
const JITTER: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(25));

/// The longest that a request waits for its turn: a claimed message has a lease, which must not end meanwhile.
const LONGEST_TURN: Duration = Duration::from_secs(2);

/// The longest that a start holds the first message back: what another process sent a moment ago is not known here.
const LONGEST_START: Duration = Duration::from_secs(1);

/// Messages of one second that are counted one by one, and so the highest rate, 16 bytes each.
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
    /// The claimer alone takes from it, and each request looks at it once, so nobody waits for the lock.
    clock: Mutex<Clock>,
}

#[derive(Debug)]
struct Clock {
    /// So many of the messages are ours.
    share: u32,
    /// When the next message is due to be taken.
    next_take: Instant,
    /// When the last messages left or will, the newest last: as many as are ours.
    left: VecDeque<Instant>,
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
        let clock = Clock { share: messages, next_take: first, left: VecDeque::new() };
        Some(Self { messages, within, clock: Mutex::new(clock) })
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

    /// Waits until a message may leave, which it is then taken to do. Hardly ever is there anything to wait for.
    pub async fn turn(&self) {
        let wait = self.turn_at(Instant::now());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    fn turn_at(&self, now: Instant) -> Duration {
        let mut clock = self.locked();
        // One that was claimed when a part of the rate was ours goes when no part is.
        let share = usize::try_from(clock.share).unwrap_or(usize::MAX).max(1);
        while clock.left.len() > share {
            clock.left.pop_front();
        }
        let full = clock.left.front().filter(|_| clock.left.len() == share).copied();
        let turn = full.map_or(now, |oldest| (oldest + self.within).clamp(now, now + LONGEST_TURN));
        if full.is_some() {
            clock.left.pop_front();
        }
        clock.left.push_back(turn);
        // The claims do not go on while something waits for its turn.
        if turn > now {
            clock.next_take = clock.next_take.max(turn + BURST);
        }
        turn - now
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// The most messages in one second, both ends included, wherever it begins; they are in order.
    fn most_in_a_second(leaves: &[Instant]) -> usize {
        let within = |at: usize| leaves[at..].iter().take_while(|it| **it - leaves[at] <= SECOND).count();
        (0..leaves.len()).map(within).max().unwrap_or_default()
    }

    /// When messages of a full outbox leave, if each claim takes so long and the next one begins after it.
    fn leaves(pace: &Pace, messages: usize, claim: impl Fn(usize) -> Duration) -> Vec<Instant> {
        let (mut now, mut leaves) = (Instant::now(), Vec::new());
        while leaves.len() < messages {
            match pace.take_at(32, now) {
                Ok(taken) => {
                    now += claim(leaves.len());
                    for _ in 0..taken {
                        leaves.push(now + pace.turn_at(now));
                    }
                }
                Err(wait) => now += wait,
            }
        }
        leaves.sort();
        leaves
    }

    #[test]
    fn no_second_holds_more_than_the_rate_even_when_claims_are_slow_and_fast_in_turn() {
        for rate in [1.0, 5.0, 10.0, 30.0, 100.0, 330.0] {
            for slow_ms in [0, 5, 150, 900] {
                let pace = Pace::new(rate).unwrap();
                let claim = |at: usize| Duration::from_millis(if at.is_multiple_of(7) { slow_ms } else { 1 });
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small")]
                let whole = rate as usize;
                let most = most_in_a_second(&leaves(&pace, whole * 5, claim));
                assert!(most <= whole, "{most} in a second at a rate of {rate} with claims of {slow_ms} ms");
            }
        }
    }

    #[test]
    fn a_slow_rate_is_used_up_but_for_a_fortieth_and_a_faster_one_but_for_a_hundredth() {
        for (rate, messages, longest_ms) in [(10.0, 101, 10_270), (50.0, 501, 10_100)] {
            let leaves = leaves(&Pace::new(rate).unwrap(), messages, |_| Duration::from_millis(5));
            let took = leaves[messages - 1] - leaves[0];
            assert!(took >= 10 * SECOND && took <= Duration::from_millis(longest_ms), "{rate}: {took:?}");
        }
    }

    #[test]
    fn a_quiet_hour_is_not_followed_by_a_flood() {
        let pace = Pace::new(10.0).unwrap();
        let now = Instant::now() + 3_600 * SECOND;
        pace.give_back(5);
        assert_eq!(pace.take_at(32, now), Ok(1));
        assert!(pace.take_at(32, now).unwrap_err() > Duration::from_millis(80));
    }

    #[test]
    fn a_slow_rate_hands_out_one_and_says_when_the_next_comes() {
        let pace = Pace::new(0.1).unwrap();
        let now = Instant::now() + 20 * SECOND;
        assert_eq!(pace.take_at(32, now), Ok(1));
        let wait = pace.take_at(32, now).unwrap_err();
        assert!(wait > Duration::from_secs(9) && wait <= Duration::from_millis(10_010), "{wait:?}");
    }

    #[test]
    fn a_message_that_is_a_little_late_does_not_make_the_next_one_late() {
        let pace = Pace::new(10.0).unwrap();
        let now = Instant::now() + SECOND;
        assert_eq!(pace.take_at(1, now), Ok(1));
        assert_eq!(pace.take_at(1, now + Duration::from_millis(100)), Ok(1));
        assert_eq!(pace.take_at(1, now + Duration::from_millis(186)), Ok(1));
    }

    #[test]
    fn a_fast_rate_comes_in_batches_of_a_few_milliseconds() {
        assert_eq!(Pace::new(2_000.0).unwrap().take_at(1_000, Instant::now() + SECOND), Ok(40));
    }

    #[test]
    fn whoever_comes_only_now_and_then_gets_what_leaves_meanwhile_and_the_rate_is_used_up() {
        let (pace, pause) = (Pace::new(10.0).unwrap(), Duration::from_millis(200));
        let start = Instant::now() + SECOND;
        let mut leaves = Vec::new();
        for now in (0..50).map(|nth| start + nth * pause) {
            let taken = pace.take_early(50, now, pause).unwrap_or_default();
            leaves.extend((0..taken).map(|_| now + pace.turn_at(now)));
        }
        leaves.sort();
        assert!(leaves.len() >= 95, "{} in 10 s", leaves.len());
        assert!(most_in_a_second(&leaves) <= 10);
    }

    #[test]
    fn what_is_given_back_is_there_again_and_never_more() {
        let pace = Pace::new(0.5).unwrap();
        let now = Instant::now() + SECOND;
        for _ in 0..10 {
            assert_eq!(pace.take_at(32, now), Ok(1));
            pace.give_back(1);
        }
        pace.give_back(500);
        assert_eq!(pace.take_at(32, now), Ok(1));
        assert!(pace.take_at(32, now).is_err());
    }

    #[test]
    fn a_message_that_nobody_took_has_its_turn_like_any_other() {
        let pace = Pace::new(1.0).unwrap();
        let now = Instant::now() + 2 * SECOND;
        assert_eq!(pace.take_at(1, now), Ok(1));
        assert_eq!(pace.turn_at(now), Duration::ZERO);
        assert_eq!(pace.turn_at(now), SECOND + JITTER.1);
        assert!(pace.take_at(1, now + SECOND / 2).is_err());
    }

    #[test]
    fn a_start_goes_on_in_the_gap_of_the_last_process() {
        let now = Instant::now();
        let pace = Pace::since(10.0, now).unwrap();
        assert!(pace.take_at(1, now).unwrap_err() >= Duration::from_millis(100));
        let slow = Pace::since(0.001, now).unwrap();
        assert_eq!(slow.take_at(1, now).unwrap_err(), LONGEST_START);
    }

    #[test]
    fn no_request_waits_longer_for_its_turn_than_its_lease_can_bear() {
        let pace = Pace::new(0.01).unwrap();
        let now = Instant::now() + SECOND;
        assert_eq!(pace.turn_at(now), Duration::ZERO);
        assert_eq!(pace.turn_at(now), LONGEST_TURN);
    }

    #[test]
    fn a_share_is_kept_and_no_share_sends_nothing() {
        let pace = Pace::new(10.0).unwrap();
        assert_eq!(pace.messages(), 10);
        let now = Instant::now() + SECOND;
        pace.share(5);
        assert_eq!(pace.take_at(1_000, now), Ok(1));
        assert!(pace.take_at(1_000, now).unwrap_err() > Duration::from_millis(180));
        pace.share(0);
        assert!(pace.take_at(1, now + 2 * SECOND).is_err());
        pace.share(10);
        assert_eq!(pace.take_at(1_000, now + 2 * SECOND), Ok(1));
    }

    #[test]
    fn nonsense_is_no_rate() {
        assert!(Pace::new(0.0).is_none());
        assert!(Pace::new(-1.0).is_none());
        assert!(Pace::new(f64::NAN).is_none());
    }
}
