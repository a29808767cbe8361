//! Messages per second of one provider.
//!
//! The claimer takes from the rate before it claims, because a claim is an attempt, and gives back what a short claim left
//! over: otherwise a daemon that polls an empty outbox would use the rate up for nothing. No more than one burst is ever
//! at hand, so that a quiet hour is not followed by a flood.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

/// Messages may leave in bursts of this much time's worth, and never less than one: short enough that the rate looks even
/// to the provider, long enough that a fast one is fed in batches.
const BURST: Duration = Duration::from_millis(20);

/// A message takes so many cells of the rate.
const CELLS: u32 = 4;

/// The same, as the limiter takes it.
const MESSAGE: NonZeroU32 = NonZeroU32::new(CELLS).unwrap();

/// Cells beyond a burst: what comes a little late, as every claim does, is made up for, and two messages of a slow rate still never
/// leave together.
const SPARE_CELLS: u32 = CELLS - 1;

/// How long to wait for a rate of which no part is ours, before looking again.
const NOTHING_OURS: Duration = Duration::from_secs(1);

/// A rate, or a share of one.
#[derive(Debug)]
pub struct Pace {
    rate: f64,
    /// Replaced when the share changes; the claimer alone takes from it, so nobody waits for the lock.
    limiter: Mutex<Limiter>,
    returned: AtomicUsize,
}

#[derive(Debug)]
struct Limiter {
    share: (usize, usize),
    burst: usize,
    /// None: nothing of the rate is ours.
    governor: Option<DefaultDirectRateLimiter>,
}

impl Limiter {
    fn new(rate: f64, share: (usize, usize)) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "small counts")]
        let rate = rate * share.0 as f64 / share.1.max(1) as f64;
        let burst = (rate * BURST.as_secs_f64()).floor().clamp(1.0, 10_000.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 1..=10000")]
        let burst = burst as u32;
        let quota = Duration::try_from_secs_f64(1.0 / rate / f64::from(CELLS))
            .ok()
            .and_then(Quota::with_period)
            .zip(NonZeroU32::new(burst * CELLS + SPARE_CELLS))
            .map(|(quota, burst)| quota.allow_burst(burst));
        Self { share, burst: usize::try_from(burst).unwrap_or(usize::MAX), governor: quota.map(RateLimiter::direct) }
    }
}

impl Pace {
    /// `rate` messages per second, above 0; `None` when that is no rate.
    pub fn new(rate: f64) -> Option<Self> {
        let limiter = Limiter::new(rate, (1, 1));
        limiter.governor.as_ref()?;
        Some(Self { rate, limiter: Mutex::new(limiter), returned: AtomicUsize::new(0) })
    }

    fn locked(&self) -> MutexGuard<'_, Limiter> {
        self.limiter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on `part` of `whole` of the rate is ours.
    pub fn share(&self, part: usize, whole: usize) {
        let mut limiter = self.locked();
        let same = limiter.share.0 * whole == part * limiter.share.1;
        if !same {
            *limiter = Limiter::new(self.rate, (part, whole));
            self.returned.store(0, Ordering::Relaxed);
        }
    }

    /// Takes up to `wanted` messages, at most a burst. When there are none: how long until the next.
    pub fn take(&self, wanted: usize) -> Result<usize, Duration> {
        let limiter = self.locked();
        let Some(governor) = &limiter.governor else { return Err(NOTHING_OURS) };
        let wanted = wanted.min(limiter.burst);
        let mut taken = self.returned.swap(0, Ordering::Relaxed).min(wanted);
        while taken < wanted {
            match governor.check_n(MESSAGE) {
                Ok(Ok(())) => taken += 1,
                Ok(Err(_)) | Err(_) if taken > 0 => break,
                Ok(Err(not_until)) => return Err(not_until.wait_time_from(DefaultClock::default().now())),
                // A burst holds a message, so this does not come about.
                Err(_) => return Err(NOTHING_OURS),
            }
        }
        Ok(taken)
    }

    /// Gives back what was taken and not used.
    pub fn give_back(&self, messages: usize) {
        let burst = self.locked().burst;
        self.returned.store(messages.min(burst), Ordering::Relaxed);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_rate_hands_out_one_and_says_when_the_next_comes() {
        let pace = Pace::new(10.0).unwrap();
        assert_eq!(pace.take(32), Ok(1));
        assert!(pace.take(32).unwrap_err() <= Duration::from_millis(100));
    }

    #[test]
    fn a_message_that_is_late_does_not_make_the_next_one_late() {
        let pace = Pace::new(0.1).unwrap();
        assert_eq!(pace.take(1), Ok(1));
        // Ten seconds between two; what has not been used of them so far is at hand, but for a quarter.
        let wait = pace.take(1).unwrap_err();
        assert!(wait <= Duration::from_millis(2_500) && wait > Duration::from_millis(1_000), "{wait:?}");
    }

    #[test]
    fn a_fast_rate_comes_in_batches_of_a_few_milliseconds() {
        assert_eq!(Pace::new(2_000.0).unwrap().take(1_000), Ok(40));
    }

    #[test]
    fn what_is_given_back_is_there_again_and_never_more_than_a_burst() {
        let pace = Pace::new(0.5).unwrap();
        for _ in 0..10 {
            assert_eq!(pace.take(32), Ok(1));
            pace.give_back(1);
        }
        pace.give_back(500);
        assert_eq!(pace.take(32), Ok(1));
        assert!(pace.take(32).is_err());
    }

    #[test]
    fn a_share_is_kept_and_no_share_sends_nothing() {
        let pace = Pace::new(2_000.0).unwrap();
        pace.share(1, 4);
        assert_eq!(pace.take(1_000), Ok(10));
        pace.share(0, 4);
        assert!(pace.take(1).is_err());
        pace.share(4, 4);
        assert_eq!(pace.take(1_000), Ok(40));
    }

    #[test]
    fn nonsense_is_no_rate() {
        assert!(Pace::new(0.0).is_none());
        assert!(Pace::new(f64::NAN).is_none());
    }
}
