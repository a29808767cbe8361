//! Which provider carries a message.
//!
//! Of the providers whose conditions a message meets, those that can take it now come into question: their circuit is closed, they answer, and
//! their quota of the day is not used up. The first in the order of the configuration takes it. Where that one has a weight, all that have one share
//! by weight: of 80 and 20, exactly four in five go to the first. A weight counts as much as its provider is healthy (see [`health`](super::health)), so that
//! the traffic moves away from one whose messages do not arrive and drifts back. With `[routing] by = "cost"` the cheapest comes first.
//!
//! A message that may have been sent is never routed again: whoever asks here holds one of which nothing was sent.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::circuit::Admission;
use super::route::Traits;
use super::{Provider, Providers};

/// How long a full provider is remembered.
const CONGESTED_FOR: Duration = Duration::from_secs(1);

/// Where a message goes.
#[derive(Debug)]
pub enum Route {
    /// To this one.
    To(Arc<Provider>),
    /// To none of those that would take it, just now.
    Later {
        /// Which, and why.
        why: String,
        /// All of them have used up their quota of the day.
        exhausted: bool,
    },
    /// No provider takes such a message at all.
    Nowhere,
}

/// Deals messages out. Its memory is what each provider with a weight is owed.
#[derive(Debug, Default)]
pub struct Router {
    owed: Mutex<HashMap<String, f64>>,
    /// When a message last had to wait because its provider was full.
    congested: Mutex<Option<Instant>>,
}

impl Router {
    /// A message waits because the provider that is to carry it is full.
    pub fn congested(&self, now: Instant) {
        *self.congested.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    /// Whether that was the case a moment ago: claiming more would only bring more of the same.
    pub fn is_congested(&self, now: Instant) -> bool {
        let last = *self.congested.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|at| now.saturating_duration_since(at) < CONGESTED_FOR)
    }

    /// The provider of a message. `exhausted`: providers whose quota of the day is known to be used up.
    pub fn route(&self, providers: &Providers, traits: &Traits<'_>, exhausted: &[String], now: Instant) -> Route {
        let fitting: Vec<&Arc<Provider>> = providers.iter().filter(|provider| provider.route().fits(traits)).collect();
        if fitting.is_empty() {
            return Route::Nowhere;
        }
        let open = |provider: &&Arc<Provider>| {
            provider.admission(now) == Admission::All && !exhausted.iter().any(|name| name == provider.name())
        };
        let able: Vec<&Arc<Provider>> = fitting.iter().copied().filter(open).collect();
        // One that does not answer just now is better than none: it may only be slow.
        let lively: Vec<&Arc<Provider>> = able.iter().copied().filter(|provider| !provider.is_stalled(now)).collect();
        let able = if lively.is_empty() { able } else { lively };
        let Some(first) = able.first() else {
            let why: Vec<String> = fitting
                .iter()
                .map(|provider| format!("{}: {}", provider.name(), obstacle(provider, exhausted)))
                .collect();
            let all_exhausted = fitting.iter().all(|provider| exhausted.iter().any(|name| name == provider.name()));
            return Route::Later { why: why.join("; "), exhausted: all_exhausted };
        };
        if first.route().weight.is_none() {
            return Route::To(Arc::clone(first));
        }
        let weighted: Vec<(&Arc<Provider>, f64)> = able
            .iter()
            .filter_map(|provider| {
                Some((*provider, f64::from(provider.route().weight?) * provider.health().factor(now)))
            })
            .collect();
        Route::To(Arc::clone(self.deal(&weighted).unwrap_or(first)))
    }

    /// Smooth weighted round robin: each is owed its weight at every turn; who is owed most takes the turn and pays for it with the sum.
    fn deal<'a>(&self, weighted: &[(&'a Arc<Provider>, f64)]) -> Option<&'a Arc<Provider>> {
        let mut owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        let total: f64 = weighted.iter().map(|(_, weight)| weight).sum();
        let mut best: Option<(&'a Arc<Provider>, f64)> = None;
        for (provider, weight) in weighted {
            let due = owed.entry(provider.name().to_owned()).or_default();
            // A provider that was away for a while is owed nothing for it.
            *due = (*due + weight).clamp(-2.0 * total, 2.0 * total);
            if best.is_none_or(|(_, most)| *due > most) {
                best = Some((provider, *due));
            }
        }
        let (provider, due) = best?;
        owed.insert(provider.name().to_owned(), due - total);
        Some(provider)
    }
}

fn obstacle(provider: &Provider, exhausted: &[String]) -> String {
    if exhausted.iter().any(|name| name == provider.name()) {
        return "its quota of the day is used up".to_owned();
    }
    match provider.circuit().reason() {
        Some((word, detail)) => format!("{word}: {detail}"),
        None => "it is being tried".to_owned(),
    }
}
