//! Providers: who carries the messages. Adapters know request and response shapes only and no queue; beside them stand
//! what the sender must respect for each provider: requests at once, messages per second, and its circuit.

pub mod circuit;
pub mod generic;
pub mod log;
pub mod outgoing;

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use governor::clock::Clock as _;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use rustls::ClientConfig;
use tokio::sync::Semaphore;

use crate::message::outcome::Outcome;
use circuit::{Admission, Circuit};
use generic::{GenericConfig, GenericError, HttpProvider};
use log::{LogConfig, LogProvider};
use outgoing::Outgoing;

/// Messages of a limited provider may leave in bursts of this much time's worth, and never less than one: short enough
/// that the rate looks even to the provider, long enough that a fast one is fed in batches.
const BURST: Duration = Duration::from_millis(20);

/// Requests at once of a provider without a limit of its own.
const LOG_CONCURRENCY: usize = 32;

/// Providers in the order in which they are tried, replaced as a whole by a reload.
pub type Providers = Arc<Vec<Arc<Provider>>>;

/// The adapters there are.
#[derive(Debug)]
enum Adapter {
    Generic(Box<HttpProvider>),
    Log(LogProvider),
}

/// One provider with its limits.
#[derive(Debug)]
pub struct Provider {
    name: String,
    adapter: Adapter,
    slots: Arc<Semaphore>,
    concurrency: usize,
    timeout: Duration,
    max_segments: Option<u32>,
    pace: Option<DefaultDirectRateLimiter>,
    circuit: Mutex<Circuit>,
}

impl Provider {
    /// An HTTP gateway.
    ///
    /// # Errors
    /// [`GenericError`], naming the key that is wrong.
    pub fn generic(name: &str, config: GenericConfig, tls: ClientConfig) -> Result<Self, GenericError> {
        let concurrency = config.concurrency.max(1);
        let (timeout, max_segments, rate) = (config.total_timeout, config.max_segments, config.rate);
        let adapter = Adapter::Generic(Box::new(HttpProvider::new(name.to_owned(), config, tls)?));
        Ok(Self::with(name, adapter, concurrency, timeout, max_segments, rate))
    }

    /// A provider that writes to the log.
    pub fn log(name: &str, config: LogConfig) -> Self {
        Self::with(
            name,
            Adapter::Log(LogProvider::new(name.to_owned(), config)),
            LOG_CONCURRENCY,
            Duration::from_secs(1),
            None,
            None,
        )
    }

    fn with(
        name: &str,
        adapter: Adapter,
        concurrency: usize,
        timeout: Duration,
        max_segments: Option<u32>,
        rate: Option<f64>,
    ) -> Self {
        Self {
            name: name.to_owned(),
            adapter,
            slots: Arc::new(Semaphore::new(concurrency)),
            concurrency,
            timeout,
            max_segments,
            pace: rate.and_then(quota).map(RateLimiter::direct),
            circuit: Mutex::new(Circuit::default()),
        }
    }

    /// Its name in logs, metrics and records.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Host and port that it is asked at, when there is one and it does not depend on the message.
    pub fn endpoint(&self) -> Option<(String, u16)> {
        match &self.adapter {
            Adapter::Generic(http) => http.config().endpoint(),
            Adapter::Log(_) => None,
        }
    }

    /// Requests at once.
    pub fn concurrency(&self) -> usize {
        self.concurrency
    }

    /// Requests under way.
    pub fn in_flight(&self) -> usize {
        self.concurrency - self.slots.available_permits()
    }

    /// The longest that one attempt may take.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Longest text it takes, in segments.
    pub fn max_segments(&self) -> Option<u32> {
        self.max_segments
    }

    /// One permit for each request under way.
    pub fn slots(&self) -> &Arc<Semaphore> {
        &self.slots
    }

    /// Takes up to `wanted` messages of the rate; without a limit, all of them. Fewer, and how long until the next, when the
    /// rate is used up.
    pub fn take_pace(&self, wanted: usize) -> (usize, Option<Duration>) {
        let Some(pace) = &self.pace else { return (wanted, None) };
        for taken in 0..wanted {
            if let Err(not_until) = pace.check() {
                return (taken, Some(not_until.wait_time_from(governor::clock::DefaultClock::default().now())));
            }
        }
        (wanted, None)
    }

    /// Sends one message.
    pub async fn send(&self, message: &Outgoing) -> Outcome {
        match &self.adapter {
            Adapter::Generic(http) => http.send(message).await,
            Adapter::Log(log) => log.send(message),
        }
    }

    /// What may be sent now; see [`Circuit`].
    pub fn admission(&self, now: Instant) -> Admission {
        self.circuit().admission(now)
    }

    /// The circuit, for short, lock-free-in-practice reads and writes: never held across an await.
    pub fn circuit(&self) -> MutexGuard<'_, Circuit> {
        self.circuit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A rate as governor counts: one message each `1/rate` seconds, with a burst of [`BURST`].
fn quota(rate: f64) -> Option<Quota> {
    let burst = (rate * BURST.as_secs_f64()).floor().clamp(1.0, 10_000.0);
    // The clamp keeps the value within u32, and above zero.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 1..=10000")]
    let burst = NonZeroU32::new(burst as u32)?;
    Some(Quota::with_period(Duration::from_secs_f64(1.0 / rate))?.allow_burst(burst))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_rate_hands_out_one_and_says_when_the_next_comes() {
        let pace: DefaultDirectRateLimiter = RateLimiter::direct(quota(10.0).unwrap());
        let mut provider = Provider::log("log", LogConfig::default());
        provider.pace = Some(pace);
        let (taken, wait) = provider.take_pace(32);
        assert_eq!(taken, 1);
        assert!(wait.unwrap() <= Duration::from_millis(100));
        provider.pace = None;
        assert_eq!(provider.take_pace(32), (32, None));
    }

    #[test]
    fn a_fast_rate_comes_in_batches_of_a_few_milliseconds() {
        let mut provider = Provider::log("log", LogConfig::default());
        provider.pace = Some(RateLimiter::direct(quota(2000.0).unwrap()));
        assert_eq!(provider.take_pace(1000).0, 40);
    }
}
