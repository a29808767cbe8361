//! Counters and gauges in Prometheus' text format.
//!
//! Written from everywhere, read by the control socket. Labels are words of ours (kinds, statuses, outcomes, provider
//! names), never texts or numbers of people, so that their number stays small.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// How far back the rate of the status looks, in seconds.
const RATE_SECONDS: u64 = 60;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Settled {
    kind: String,
    status: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Attempt {
    provider: String,
    outcome: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    state: String,
}

/// How many messages were accepted lately, second by second.
#[derive(Debug, Default)]
struct Lately {
    /// Second since the first look, and how many were accepted in it; the newest last.
    seconds: VecDeque<(u64, u64)>,
}

impl Lately {
    fn forget(&mut self, second: u64) {
        while self.seconds.front().is_some_and(|(then, _)| *then + RATE_SECONDS <= second) {
            self.seconds.pop_front();
        }
    }

    fn add(&mut self, second: u64) {
        self.forget(second);
        match self.seconds.back_mut() {
            Some((then, count)) if *then == second => *count += 1,
            _ => self.seconds.push_back((second, 1)),
        }
    }

    fn count(&mut self, second: u64) -> u64 {
        self.forget(second);
        self.seconds.iter().map(|(_, count)| count).sum()
    }
}

/// All metrics of the daemon.
#[derive(Debug)]
pub struct Metrics {
    started: Instant,
    lately: Mutex<Lately>,
    registry: Registry,
    settled: Family<Settled, Counter>,
    attempts: Family<Attempt, Counter>,
    queue: Family<State, Gauge>,
    oldest_due: Gauge,
    provider_seconds: Histogram,
    claims: Counter,
    rescued: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("ecar_sms");
        let settled = Family::<Settled, Counter>::default();
        let attempts = Family::<Attempt, Counter>::default();
        let queue = Family::<State, Gauge>::default();
        let oldest_due = Gauge::default();
        // 1 ms to about 33 s, which covers the longest attempt.
        let provider_seconds = Histogram::new(exponential_buckets(0.001, 2.0, 16));
        let claims = Counter::default();
        let rescued = Counter::default();
        registry.register("messages_settled", "Messages settled, by kind and status", settled.clone());
        registry.register("attempts", "Requests made, by provider and outcome", attempts.clone());
        registry.register("queue_messages", "Messages in the outbox, by state", queue.clone());
        registry.register_with_unit(
            "oldest_due",
            "Age of the oldest message that is due",
            Unit::Seconds,
            oldest_due.clone(),
        );
        registry.register_with_unit(
            "provider_answer",
            "Time from request to outcome",
            Unit::Seconds,
            provider_seconds.clone(),
        );
        registry.register("claims", "Claim statements run", claims.clone());
        registry.register("rescued_messages", "Messages of dead daemons found", rescued.clone());
        let (started, lately) = (Instant::now(), Mutex::default());
        Self { started, lately, registry, settled, attempts, queue, oldest_due, provider_seconds, claims, rescued }
    }
}

impl Metrics {
    /// A message was settled.
    pub fn settled(&self, kind: &str, status: &str) {
        self.settled.get_or_create(&Settled { kind: kind.to_owned(), status: status.to_owned() }).inc();
    }

    /// Messages that providers took within the last minute.
    pub fn accepted_last_minute(&self) -> u64 {
        self.lately().count(self.started.elapsed().as_secs())
    }

    fn lately(&self) -> MutexGuard<'_, Lately> {
        self.lately.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A provider took a message.
    pub fn accepted(&self) {
        self.lately().add(self.started.elapsed().as_secs());
    }

    /// A request was answered, or not.
    pub fn attempt(&self, provider: &str, outcome: &str, seconds: f64) {
        self.attempts.get_or_create(&Attempt { provider: provider.to_owned(), outcome: outcome.to_owned() }).inc();
        self.provider_seconds.observe(seconds);
    }

    /// A claim was made.
    pub fn claim(&self) {
        self.claims.inc();
    }

    /// Messages of a dead daemon were found.
    pub fn rescued(&self, messages: u64) {
        self.rescued.inc_by(messages);
    }

    /// The outbox as it was counted just now.
    pub fn queue(&self, state: &str, messages: i64) {
        self.queue.get_or_create(&State { state: state.to_owned() }).set(messages);
    }

    /// Age of the oldest message that is due, in whole seconds.
    pub fn oldest_due(&self, seconds: i64) {
        self.oldest_due.set(seconds);
    }

    /// The text for `GET /metrics`.
    ///
    /// # Errors
    /// When formatting fails, which only a failing allocator can cause.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_minute() {
        let mut lately = Lately::default();
        for second in [0, 0, 1, 30, 59] {
            lately.add(second);
        }
        assert_eq!(lately.count(59), 5);
        assert_eq!(lately.count(60), 3);
        assert_eq!(lately.count(118), 1);
        assert_eq!(lately.count(1_000), 0);
    }
}
