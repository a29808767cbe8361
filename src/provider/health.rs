//! How well a provider does its work, as a factor of its weight: from the outcomes of its last attempts, and from how soon its messages arrive.
//!
//! Both drift back by themselves: old outcomes count less with every minute, and a provider always keeps a twentieth of its weight, to show that
//! it works again.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::message::outcome::Outcome;

/// In this time an outcome loses half of its say.
const HALF_LIFE: Duration = Duration::from_secs(60);

/// Outcomes that the good name of a provider weighs as much as: one failure among few is bad luck.
const GOOD_NAME: f64 = 5.0;

/// The least part of its weight that a provider keeps.
const LEAST: f64 = 0.05;

/// A request that is not answered for this long, while no other one is either, means that the provider hangs. Above what a gateway takes for an answer, and
/// short enough for traffic to have moved within five seconds.
const STALLED_AFTER: Duration = Duration::from_secs(4);

/// The health of one provider.
#[derive(Debug, Default)]
pub struct Health {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    good: f64,
    bad: f64,
    counted: Option<Instant>,
    /// The part of messages that arrive in time; unknown where nobody tells.
    on_time: Option<f64>,
    under_way: usize,
    /// When the last answer came, or the first of the requests under way began.
    quiet_since: Option<Instant>,
}

impl Inner {
    fn fade(&mut self, now: Instant) {
        if let Some(counted) = self.counted {
            let lives = now.saturating_duration_since(counted).as_secs_f64() / HALF_LIFE.as_secs_f64();
            let left = 0.5_f64.powf(lives);
            self.good *= left;
            self.bad *= left;
        }
        self.counted = Some(now);
    }
}

impl Health {
    fn locked(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request begins.
    pub fn begin(&self, now: Instant) -> UnderWay<'_> {
        let mut inner = self.locked();
        if inner.under_way == 0 {
            inner.quiet_since = Some(now);
        }
        inner.under_way += 1;
        UnderWay { health: self }
    }

    fn learn(&self, outcome: &Outcome, now: Instant) {
        let mut inner = self.locked();
        inner.fade(now);
        match outcome {
            Outcome::Accepted { .. } | Outcome::Rejected { .. } => inner.good += 1.0,
            Outcome::Throttled { .. }
            | Outcome::TemporaryFailure { .. }
            | Outcome::Misconfigured { .. }
            | Outcome::NoCredit { .. }
            | Outcome::Unknown { .. } => inner.bad += 1.0,
        }
        // A time-out is no answer.
        if !matches!(outcome, Outcome::Unknown { .. }) {
            inner.quiet_since = Some(now);
        }
    }

    /// Which part of the messages of the last minutes arrived in time; `None`: too few to say.
    pub fn arrivals(&self, on_time: Option<f64>) {
        self.locked().on_time = on_time.map(|part| part.clamp(0.0, 1.0));
    }

    /// The factor of its weight, from 0.05 to 1.
    pub fn factor(&self, now: Instant) -> f64 {
        let mut inner = self.locked();
        inner.fade(now);
        let outcomes = (inner.good + GOOD_NAME) / (inner.good + inner.bad + GOOD_NAME);
        (outcomes * inner.on_time.unwrap_or(1.0)).clamp(LEAST, 1.0)
    }

    /// Whether it has stopped answering.
    pub fn is_stalled(&self, now: Instant) -> bool {
        let inner = self.locked();
        inner.under_way > 0
            && inner.quiet_since.is_some_and(|since| now.saturating_duration_since(since) >= STALLED_AFTER)
    }
}

/// A request under way; dropped when it has ended, however it did.
#[derive(Debug)]
pub struct UnderWay<'a> {
    health: &'a Health,
}

impl UnderWay<'_> {
    /// It has ended like this.
    pub fn ended(self, outcome: &Outcome, now: Instant) {
        self.health.learn(outcome, now);
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut inner = self.health.locked();
        inner.under_way = inner.under_way.saturating_sub(1);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn accepted() -> Outcome {
        Outcome::Accepted { provider_message_id: None, segments: None }
    }

    fn failed() -> Outcome {
        Outcome::TemporaryFailure { detail: "busy".into() }
    }

    fn close(one: f64, other: f64) -> bool {
        (one - other).abs() < 0.01
    }

    #[test]
    fn failures_lower_the_factor_and_time_raises_it_again() {
        let (health, start) = (Health::default(), Instant::now());
        assert!(close(health.factor(start), 1.0));
        for _ in 0..45 {
            health.begin(start).ended(&failed(), start);
        }
        assert!(close(health.factor(start), 0.1));
        assert!(health.factor(start + 3 * HALF_LIFE) > 0.4);
        assert!(health.factor(start + 10 * HALF_LIFE) > 0.95);
    }

    #[test]
    fn one_failure_is_bad_luck_and_a_hopeless_provider_keeps_a_twentieth() {
        let (health, now) = (Health::default(), Instant::now());
        health.begin(now).ended(&failed(), now);
        assert!(health.factor(now) > 0.8);
        for _ in 0..10_000 {
            health.begin(now).ended(&failed(), now);
        }
        assert!(close(health.factor(now), LEAST));
    }

    #[test]
    fn late_arrivals_lower_the_factor() {
        let (health, now) = (Health::default(), Instant::now());
        health.arrivals(Some(0.25));
        assert!(close(health.factor(now), 0.25));
        health.arrivals(None);
        assert!(close(health.factor(now), 1.0));
    }

    #[test]
    fn a_provider_hangs_when_no_request_under_way_is_answered_for_long() {
        let (health, start) = (Health::default(), Instant::now());
        let later = |seconds| start + Duration::from_secs(seconds);
        assert!(!health.is_stalled(later(100)), "nothing is asked of it");
        let (first, second) = (health.begin(start), health.begin(later(1)));
        assert!(!health.is_stalled(later(3)));
        assert!(health.is_stalled(later(4)));
        first.ended(&accepted(), later(4));
        assert!(!health.is_stalled(later(7)), "it answers again");
        assert!(health.is_stalled(later(8)));
        second.ended(&Outcome::Unknown { detail: "time".into() }, later(8));
        assert!(!health.is_stalled(later(9)), "nothing is under way");
        // A time-out among others is no sign of life.
        let (first, _second) = (health.begin(later(10)), health.begin(later(10)));
        first.ended(&Outcome::Unknown { detail: "time".into() }, later(14));
        assert!(health.is_stalled(later(14)));
    }
}
