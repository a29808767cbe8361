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
