//! What is left with a provider, and for how long it lasts.
//!
//! Pure: numbers and times come in. A balance that rises was topped up and says nothing about what is used; what falls in between does. The forecast
//! is made from the time that this process has seen, at least an hour of it, and says nothing before.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// Balances remembered: two days of one each quarter of an hour.
const SAMPLES_LIMIT: usize = 200;

/// Less than this says nothing about a day.
const FORECAST_FROM: Duration = Duration::from_secs(3600);

/// A balance that lasts for less than this is worth a warning: time to order over a weekend.
const WARN_DAYS: f64 = 3.0;

const DAY_S: f64 = 86_400.0;

/// What is known of the credit of one provider.
#[derive(Debug, Default)]
pub struct Credit {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    samples: VecDeque<(Instant, f64)>,
    asked: Option<Instant>,
    problem: Option<String>,
    warned: bool,
}

/// The credit, for people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CreditView {
    /// What is left; none when the provider has not told yet.
    pub balance: Option<f64>,
    /// In what it is counted.
    pub unit: String,
    /// For how many days it lasts at the present rate, when that can be said.
    pub days_left: Option<f64>,
    /// Whether somebody should top it up.
    pub low: bool,
    /// Why it is not known, or not known any more.
    pub problem: Option<String>,
}

/// What a balance means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Enough.
    Enough,
    /// To be topped up soon.
    Low,
    /// Nothing is left.
    Empty,
}

/// A balance for people: the unit is not always known.
pub fn amount(balance: f64, unit: &str) -> String {
    format!("{balance} {unit}").trim_end().to_owned()
}

impl Credit {
    fn locked(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is time to ask, every so often; the asking is noted.
    pub fn is_due(&self, every: Duration, now: Instant) -> bool {
        let mut inner = self.locked();
        let due = inner.asked.is_none_or(|asked| now.saturating_duration_since(asked) >= every);
        if due {
            inner.asked = Some(now);
        }
        due
    }

    /// The provider has told. Returns the level, and whether a warning is due that was not given yet.
    pub fn learned(&self, balance: f64, low: Option<f64>, now: Instant) -> (Level, bool) {
        let mut inner = self.locked();
        inner.problem = None;
        inner.samples.push_back((now, balance));
        if inner.samples.len() > SAMPLES_LIMIT {
            inner.samples.pop_front();
        }
        let short = inner.days_left().is_some_and(|days| days < WARN_DAYS);
        let level = match balance {
            balance if balance <= 0.0 => Level::Empty,
            balance if short || low.is_some_and(|low| balance < low) => Level::Low,
            _ => Level::Enough,
        };
        let warn = level != Level::Enough && !inner.warned;
        inner.warned = level != Level::Enough;
        (level, warn)
    }

    /// The provider has not told.
    pub fn failed(&self, problem: String) {
        self.locked().problem = Some(problem);
    }

    /// For people.
    pub fn view(&self, unit: &str, low: Option<f64>) -> CreditView {
        let inner = self.locked();
        let balance = inner.samples.back().map(|(_, balance)| *balance);
        let days_left = inner.days_left();
        CreditView {
            balance,
            unit: unit.to_owned(),
            days_left,
            low: balance.is_some_and(|balance| balance <= 0.0 || low.is_some_and(|low| balance < low))
                || days_left.is_some_and(|days| days < WARN_DAYS),
            problem: inner.problem.clone(),
        }
    }
}

impl Inner {
    fn days_left(&self) -> Option<f64> {
        let ((first, _), (last, balance)) = (*self.samples.front()?, *self.samples.back()?);
        let seen = last.saturating_duration_since(first);
        if seen < FORECAST_FROM {
            return None;
        }
        let pairs = self.samples.iter().zip(self.samples.iter().skip(1));
        let used: f64 = pairs.map(|((_, before), (_, after))| (before - after).max(0.0)).sum();
        (used > 0.0).then(|| balance.max(0.0) / (used / (seen.as_secs_f64() / DAY_S)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_forecast_counts_what_was_used_and_not_what_was_topped_up() {
        let (credit, start) = (Credit::default(), Instant::now());
        let hours = |hours: u64| start + Duration::from_secs(hours * 3600);
        credit.learned(1_000.0, None, start);
        assert_eq!(credit.view("SMS", None).days_left, None, "nothing is known after one look");
        credit.learned(990.0, None, start + Duration::from_secs(1800));
        assert_eq!(credit.view("SMS", None).days_left, None, "half an hour is no day");
        // 10 in half an hour, 30 in the next hour and a half; then 500 more, and 60 in four hours: 100 in six hours.
        credit.learned(960.0, None, hours(2));
        credit.learned(1_460.0, None, hours(2));
        credit.learned(1_400.0, None, hours(6));
        let days = credit.view("SMS", None).days_left.unwrap();
        assert!((days - 3.5).abs() < 0.01, "{days}");
    }

    #[test]
    fn a_low_balance_warns_once_and_again_after_it_was_filled() {
        let (credit, now) = (Credit::default(), Instant::now());
        assert_eq!(credit.learned(50.0, Some(100.0), now), (Level::Low, true));
        assert_eq!(credit.learned(40.0, Some(100.0), now), (Level::Low, false));
        assert_eq!(credit.learned(400.0, Some(100.0), now), (Level::Enough, false));
        assert_eq!(credit.learned(0.0, Some(100.0), now), (Level::Empty, true));
        assert!(credit.view("SMS", Some(100.0)).low);
    }

    #[test]
    fn it_is_asked_when_it_is_time_and_an_answer_that_fails_keeps_the_last_balance() {
        let (credit, now) = (Credit::default(), Instant::now());
        let every = Duration::from_secs(900);
        assert!(credit.is_due(every, now));
        assert!(!credit.is_due(every, now + Duration::from_secs(899)));
        assert!(credit.is_due(every, now + every));
        credit.learned(7.5, None, now);
        credit.failed("HTTP 500".to_owned());
        let view = credit.view("TND", None);
        assert_eq!((view.balance, view.problem.as_deref(), view.low), (Some(7.5), Some("HTTP 500"), false));
    }
}
