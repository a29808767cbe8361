//! Whether a provider may be asked just now.
//!
//! A provider that is down, wants a pause, refuses our credentials or is out of credit opens its circuit: messages wait in
//! the outbox, or take another provider, and burn no attempts. When the pause is over one message tries; its success
//! closes the circuit, its failure doubles the pause.
//!
//! Pure: time comes in as an argument.

use std::time::{Duration, Instant};

use crate::message::outcome::Outcome;

/// Failures in a row (temporary or unknown) that open the circuit: one is bad luck, five are an outage.
const FAILURES_TO_OPEN: u32 = 5;

/// First and longest pause after failures.
const OUTAGE_PAUSE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));

/// First and longest pause after "credentials wrong" and "no credit", which only a person can mend.
const STOPPED_PAUSE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(300));

/// Pause when a provider throttles without saying for how long; the longest that it can ask for.
const THROTTLE_PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3600));

/// How long a probe may go without an answer before another is allowed: longer than any attempt may take.
const PROBE_DEADLINE: Duration = Duration::from_secs(120);

/// What may be sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// As much as fits.
    All,
    /// One message, to see.
    Probe,
    /// Nothing before then.
    Closed(Instant),
}

/// The circuit of one provider.
#[derive(Debug)]
pub struct Circuit {
    state: State,
    failures: u32,
    /// The length of the last pause, doubled by the next failure.
    pause: Duration,
}

#[derive(Debug)]
enum State {
    Flowing,
    Open { until: Instant, word: &'static str, detail: String },
    Probing { since: Instant, word: &'static str, detail: String },
}

impl Default for Circuit {
    fn default() -> Self {
        Self { state: State::Flowing, failures: 0, pause: Duration::ZERO }
    }
}

impl Circuit {
    /// What may be sent at `now`.
    pub fn admission(&self, now: Instant) -> Admission {
        match &self.state {
            State::Flowing => Admission::All,
            State::Open { until, .. } if *until > now => Admission::Closed(*until),
            State::Probing { since, .. } if now.duration_since(*since) < PROBE_DEADLINE => {
                Admission::Closed(*since + PROBE_DEADLINE)
            }
            State::Open { .. } | State::Probing { .. } => Admission::Probe,
        }
    }

    /// A probe was handed out.
    pub fn probing(&mut self, now: Instant) {
        let state = std::mem::replace(&mut self.state, State::Flowing);
        self.state = match state {
            State::Flowing => State::Flowing,
            State::Open { word, detail, .. } | State::Probing { word, detail, .. } => {
                State::Probing { since: now, word, detail }
            }
        };
    }

    /// The probe came back without having asked the provider (there was no message, or it was skipped).
    pub fn not_probed(&mut self, now: Instant) {
        if let State::Probing { word, detail, .. } = &mut self.state {
            self.state = State::Open { until: now, word, detail: std::mem::take(detail) };
        }
    }

    /// Learns from an outcome. Returns true when the circuit opened or closed by it.
    pub fn record(&mut self, outcome: &Outcome, now: Instant) -> bool {
        let was_open = self.is_open();
        match outcome {
            Outcome::Accepted { .. } | Outcome::Rejected { .. } => *self = Self::default(),
            Outcome::Throttled { retry_after, .. } => {
                let pause = retry_after.unwrap_or_else(|| self.longer(THROTTLE_PAUSE)).min(THROTTLE_PAUSE.1);
                self.open(pause, outcome, now);
            }
            Outcome::Misconfigured { .. } | Outcome::NoCredit { .. } => {
                // Answers to requests that were under way together count once.
                let pause =
                    if matches!(self.state, State::Open { .. }) { self.pause } else { self.longer(STOPPED_PAUSE) };
                self.open(pause, outcome, now);
            }
            Outcome::TemporaryFailure { .. } | Outcome::Unknown { .. } => {
                self.failures = self.failures.saturating_add(1);
                if matches!(self.state, State::Probing { .. }) || (self.failures >= FAILURES_TO_OPEN && !was_open) {
                    let pause = self.longer(OUTAGE_PAUSE);
                    self.open(pause, outcome, now);
                }
            }
        }
        was_open != self.is_open()
    }

    /// Forgets everything: a person has acted (the configuration was reloaded).
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// Whether messages are being kept from this provider.
    pub fn is_open(&self) -> bool {
        !matches!(self.state, State::Flowing)
    }

    /// Why, for people: the outcome's word and the provider's sentence.
    pub fn reason(&self) -> Option<(&'static str, &str)> {
        match &self.state {
            State::Flowing => None,
            State::Open { word, detail, .. } | State::Probing { word, detail, .. } => Some((word, detail)),
        }
    }

    fn longer(&mut self, (first, longest): (Duration, Duration)) -> Duration {
        self.pause = if self.pause.is_zero() { first } else { (self.pause * 2).clamp(first, longest) };
        self.pause
    }

    fn open(&mut self, pause: Duration, outcome: &Outcome, now: Instant) {
        self.state = State::Open { until: now + pause, word: outcome.word(), detail: outcome.detail().to_owned() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure() -> Outcome {
        Outcome::TemporaryFailure { detail: "connection refused".to_owned() }
    }

    fn accepted() -> Outcome {
        Outcome::Accepted { provider_message_id: None, segments: None }
    }

    #[test]
    fn five_failures_in_a_row_open_it_and_a_success_between_starts_the_count_again() {
        let now = Instant::now();
        let mut circuit = Circuit::default();
        for _ in 0..4 {
            assert!(!circuit.record(&failure(), now));
        }
        circuit.record(&accepted(), now);
        for _ in 0..4 {
            assert!(!circuit.record(&failure(), now));
        }
        assert!(circuit.record(&failure(), now));
        assert_eq!(circuit.admission(now), Admission::Closed(now + OUTAGE_PAUSE.0));
    }

    #[test]
    fn after_the_pause_one_message_tries_and_its_result_decides() {
        let start = Instant::now();
        let mut circuit = Circuit::default();
        let refused = Outcome::Misconfigured { detail: "401".to_owned() };
        assert!(circuit.record(&refused, start));
        let later = start + STOPPED_PAUSE.0;
        assert_eq!(circuit.admission(later), Admission::Probe);
        circuit.probing(later);
        assert!(matches!(circuit.admission(later), Admission::Closed(_)));
        circuit.record(&refused, later);
        assert_eq!(circuit.admission(later), Admission::Closed(later + STOPPED_PAUSE.0 * 2));
        let much_later = later + STOPPED_PAUSE.0 * 2;
        circuit.probing(much_later);
        assert!(circuit.record(&accepted(), much_later));
        assert_eq!(circuit.admission(much_later), Admission::All);
    }

    #[test]
    fn a_probe_that_never_reached_the_provider_leaves_the_next_one_its_turn() {
        let now = Instant::now();
        let mut circuit = Circuit::default();
        circuit.record(&Outcome::NoCredit { detail: String::new() }, now);
        let later = now + STOPPED_PAUSE.0;
        circuit.probing(later);
        circuit.not_probed(later);
        assert_eq!(circuit.admission(later), Admission::Probe);
    }

    #[test]
    fn a_pause_asked_for_is_kept_to_the_letter_and_bounded() {
        let now = Instant::now();
        let mut circuit = Circuit::default();
        let asked =
            |seconds| Outcome::Throttled { retry_after: Some(Duration::from_secs(seconds)), detail: String::new() };
        circuit.record(&asked(7), now);
        assert_eq!(circuit.admission(now), Admission::Closed(now + Duration::from_secs(7)));
        circuit.record(&asked(1_000_000), now);
        assert_eq!(circuit.admission(now), Admission::Closed(now + THROTTLE_PAUSE.1));
    }

    #[test]
    fn answers_to_requests_under_way_together_double_the_pause_once() {
        let now = Instant::now();
        let mut circuit = Circuit::default();
        for _ in 0..32 {
            circuit.record(&Outcome::Misconfigured { detail: String::new() }, now);
        }
        assert_eq!(circuit.admission(now), Admission::Closed(now + STOPPED_PAUSE.0));
    }
}
