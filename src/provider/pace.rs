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
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// The most messages in one second, both ends included, wherever it begins; they are in order.
    fn most_in_a_second(leaves: &[Instant]) -> usize {
        let within = |at: usize| leaves[at..].iter().take_while(|it| **it - leaves[at] <= SECOND).count();
        (0..leaves.len()).map(within).max().unwrap_or_default()
    }

    /// Messages on their way to a provider that answers, by a clock of its own.
    struct Road<'a> {
        pace: &'a Pace,
        /// When the last one left.
        now: Instant,
        under_way: Vec<(Instant, Turn)>,
        leaves: Vec<Instant>,
        arrivals: Vec<Instant>,
    }

    impl<'a> Road<'a> {
        fn new(pace: &'a Pace, now: Instant) -> Self {
            Self { pace, now, under_way: Vec::new(), leaves: Vec::new(), arrivals: Vec::new() }
        }

        fn turn(&mut self) -> Result<Turn, Duration> {
            let now = self.now;
            for (answered, turn) in self.under_way.extract_if(.., |(answered, _)| *answered <= now) {
                self.pace.answered_at(&turn, true, answered);
            }
            self.pace.turn_at(now)
        }

        /// One comes into line `at`; whoever sleeps wakes up `late`. It arrives after a `way`, and is answered after another `back`.
        fn send(&mut self, at: Instant, late: Duration, way: Duration, back: Duration) {
            self.now = self.now.max(at);
            let turn = loop {
                match self.turn() {
                    Ok(turn) => break turn,
                    Err(wait) => self.now += wait + late,
                }
            };
            self.leaves.push(self.now);
            self.arrivals.push(self.now + way);
            self.under_way.push((self.now + way + back, turn));
        }
    }

    fn ms(ms: usize) -> Duration {
        Duration::from_millis(ms as u64)
    }

    /// When messages of a full outbox leave, if each claim takes so long, the next one begins after it, and sleepers wake up so late.
    fn leaves(
        pace: &Pace,
        messages: usize,
        claim: impl Fn(usize) -> Duration,
        late: impl Fn(usize) -> Duration,
    ) -> Vec<Instant> {
        let mut now = Instant::now();
        let mut road = Road::new(pace, now);
        while road.leaves.len() < messages {
            match pace.take_at(32, now) {
                Ok(taken) => {
                    now += claim(road.leaves.len());
                    for _ in 0..taken {
                        road.send(now, late(road.leaves.len()), ms(1), ms(1));
                    }
                }
                Err(wait) => now += wait,
            }
        }
        road.leaves
    }

    #[test]
    fn no_second_holds_more_than_the_rate_even_when_claims_are_slow_and_fast_in_turn_and_sleepers_wake_late() {
        for rate in [1.0, 5.0, 10.0, 30.0, 100.0, 330.0] {
            for (slow_ms, late_ms) in [(0, 0), (5, 0), (150, 0), (900, 0), (0, 30), (5, 200), (150, 300), (900, 7)] {
                let pace = Pace::new(rate).unwrap();
                let claim = |at: usize| ms(if at.is_multiple_of(7) { slow_ms } else { 1 });
                let late = |at: usize| ms(if at.is_multiple_of(3) { late_ms } else { 0 });
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small")]
                let whole = rate as usize;
                let most = most_in_a_second(&leaves(&pace, whole * 5, claim, late));
                assert!(most <= whole, "{most} in a second at {rate}, claims of {slow_ms} ms, {late_ms} ms late");
            }
        }
    }

    /// Messages that are always there, on ways of these lengths there and back; when they arrived, and the time from first to last.
    fn arrivals(rate: f64, messages: usize, ways: impl Fn(usize) -> (Duration, Duration)) -> (Vec<Instant>, Duration) {
        let pace = Pace::new(rate).unwrap();
        let start = Instant::now();
        let mut road = Road::new(&pace, start);
        for at in 0..messages {
            let (way, back) = ways(at);
            road.send(start, Duration::ZERO, way, back);
        }
        let took = *road.leaves.last().unwrap() - start;
        road.arrivals.sort();
        (road.arrivals, took)
    }

    #[test]
    fn no_second_at_the_provider_holds_more_than_the_rate_though_some_messages_are_long_on_their_way() {
        for rate in [1, 10, 50, 200] {
            for base in [0, 200] {
                // The first of a second is late, the one a second later is not; and all kinds of delays.
                let burst = |at: usize| (ms(base + if at % (2 * rate) == rate { 95 } else { 1 }), ms(1));
                let mixed = |at: usize| (ms(base + at * 37 % 80), ms(1 + at * 11 % 20));
                let most = |ways: &dyn Fn(usize) -> (Duration, Duration)| {
                    most_in_a_second(&arrivals(rate as f64, rate * 20, ways).0)
                };
                assert!(most(&burst) <= rate, "{} in a second at {rate}, {base} ms away", most(&burst));
                assert!(most(&mixed) <= rate, "{} in a second at {rate}, {base} ms away", most(&mixed));
            }
        }
    }

    #[test]
    fn a_provider_that_answers_late_and_steadily_loses_nothing_of_its_rate_and_an_unsteady_one_a_tenth_at_most() {
        for (rate, even) in [(10, 10_250), (50, 10_060)] {
            for answer_ms in [1, 200, 900, 3_000] {
                // As steady as answers are: two milliseconds more or less.
                let (_, took) = arrivals(rate as f64, rate * 10 + 1, |at| (ms(answer_ms + at % 3), ms(0)));
                assert!(took <= ms(even), "{rate} a second with answers after {answer_ms} ms: {took:?}");
            }
            let (_, took) = arrivals(rate as f64, rate * 10 + 1, |at| (ms(200 + at * 37 % 400), ms(0)));
            assert!(took <= ms(even) + SECOND, "{rate} a second with answers after 200 to 600 ms: {took:?}");
        }
    }

    #[test]
    fn a_slow_rate_is_used_up_but_for_a_fortieth_and_a_faster_one_but_for_a_hundredth() {
        // Sleepers wake up a millisecond late even on a quiet machine.
        for (rate, messages, longest_ms) in [(10.0, 101, 10_270), (50.0, 501, 10_100)] {
            let leaves = leaves(&Pace::new(rate).unwrap(), messages, |_| ms(5), |_| ms(1));
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
        let mut road = Road::new(&pace, start);
        for now in (0..50).map(|nth| start + nth * pause) {
            for _ in 0..pace.take_early(50, now, pause).unwrap_or_default() {
                road.send(now, Duration::ZERO, ms(1), ms(1));
            }
        }
        assert!(road.leaves.len() >= 95, "{} in 10 s", road.leaves.len());
        assert!(most_in_a_second(&road.leaves) <= 10);
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
        assert!(pace.turn_at(now).is_ok());
        assert_eq!(pace.turn_at(now).unwrap_err(), SECOND + JITTER.1);
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

    #[tokio::test]
    async fn no_request_waits_longer_for_its_turn_than_its_lease_can_bear_and_then_it_has_none() {
        let pace = Pace::new(0.01).unwrap();
        assert!(pace.turn().await.is_some());
        let begun = Instant::now();
        assert!(pace.turn().await.is_none());
        assert!(begun.elapsed() >= LONGEST_TURN && begun.elapsed() < 2 * LONGEST_TURN, "{:?}", begun.elapsed());
        assert_eq!(pace.locked().left.len(), 1, "it does not count");
    }

    #[tokio::test]
    async fn turns_are_given_in_order_of_arrival_and_whoever_leaves_the_line_is_no_longer_waited_for() {
        let pace = Pace::new(3.0).unwrap();
        pace.share(1);
        assert!(pace.turn().await.is_some());
        let (mut first, mut second) = (Box::pin(pace.turn()), Box::pin(pace.turn()));
        assert!(futures_util::poll!(first.as_mut()).is_pending());
        assert!(futures_util::poll!(second.as_mut()).is_pending());
        assert_eq!(pace.locked().waiting, 2);
        pace.share(3);
        assert!(futures_util::poll!(second.as_mut()).is_pending(), "it is not its turn yet");
        drop(first);
        assert!(second.await.is_some());
        assert_eq!(pace.locked().waiting, 0);
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
