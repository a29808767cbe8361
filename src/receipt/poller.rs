//! Asks for receipts where a provider pushes none, and does what receipts need at regular times.
//!
//! What is asked about stands in `sms_awaited` with its next time, doubled by each look: a daemon that dies over an answer leaves the rows to that. What a
//! provider does not tell within three days stays as sent.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::intake::Intake;
use crate::db::{Database, DbError, field, statement};
use crate::provider::{FIRST_POLL, Provider, Providers};

/// Longest time between two looks at one message.
const LONGEST: Duration = Duration::from_secs(3600);

/// How often due messages are looked for, and early receipts while there are some.
const EVERY: Duration = Duration::from_secs(1);

/// How often early receipts are looked for otherwise: another daemon may have taken them.
const MATCH_EVERY: Duration = Duration::from_secs(60);

/// How often old ones are given up.
const FORGET_EVERY: Duration = Duration::from_secs(3600);

/// How often it is looked at whether messages arrive in time.
const PUNCTUAL_EVERY: Duration = Duration::from_secs(10);

/// Over how long.
const PUNCTUAL_WINDOW: Duration = Duration::from_secs(600);

/// Fewer messages than these say nothing about a provider.
const PUNCTUAL_LEAST: i64 = 20;

/// When a message counts as late, where the provider's section does not say.
const SLOW_AFTER: Duration = Duration::from_secs(60);

/// Questions to one provider in one round.
const QUESTIONS: usize = 20;

/// The task that asks.
pub struct Poller {
    /// Where rows are.
    pub database: Database,
    /// Who may be asked.
    pub providers: watch::Receiver<Providers>,
    /// Where receipts go.
    pub intake: Arc<Intake>,
}

impl Poller {
    /// Works until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut ask = tokio::time::interval(EVERY);
        let mut forget = tokio::time::interval(FORGET_EVERY);
        let mut punctual = tokio::time::interval(PUNCTUAL_EVERY);
        for timer in [&mut ask, &mut forget, &mut punctual] {
            timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        }
        let mut matched: Option<Instant> = None;
        loop {
            let result = tokio::select! {
                () = stop.cancelled() => return,
                _ = forget.tick() => self.intake.forget().await,
                _ = punctual.tick() => self.look_at_arrivals().await,
                _ = ask.tick() => {
                    let now = Instant::now();
                    let due = matched.is_none_or(|at| now.saturating_duration_since(at) >= MATCH_EVERY);
                    let early = if due || self.intake.is_eager(now) {
                        matched = Some(now);
                        self.intake.match_early().await
                    } else {
                        Ok(())
                    };
                    tokio::select! {
                        () = stop.cancelled() => return,
                        asked = self.ask_all() => early.and(asked),
                    }
                }
            };
            match result {
                Ok(()) => {}
                // The claimer says so already.
                Err(error) if error.is_unavailable() => debug!(error = %error, "receipts are asked for later"),
                Err(error) => warn!(error = %error, "receipts cannot be asked for; it is tried again"),
            }
        }
    }

    /// Of which providers the messages arrive in time; only where it bears on a weight.
    async fn look_at_arrivals(&self) -> Result<(), DbError> {
        let providers = self.providers.borrow().clone();
        for provider in providers.iter().filter(|provider| provider.route().weight.is_some()) {
            if provider.awaits_receipts().is_none() {
                continue;
            }
            let slow = seconds(provider.route().slow_after.unwrap_or(SLOW_AFTER));
            let (name, window) = (provider.name(), seconds(PUNCTUAL_WINDOW));
            let arguments: [crate::db::Argument<'_>; 3] =
                [("provider", &name), ("slow_s", &slow), ("window_s", &window)];
            let row = self.database.query_one(&statement::PUNCTUAL, &arguments).await?;
            let (on_time, late): (i64, i64) = (field(&row, "on_time")?, field(&row, "late")?);
            #[expect(clippy::cast_precision_loss, reason = "some thousand messages")]
            let part = (on_time + late >= PUNCTUAL_LEAST).then(|| on_time as f64 / (on_time + late) as f64);
            provider.health().arrivals(part);
        }
        Ok(())
    }

    async fn ask_all(&self) -> Result<(), DbError> {
        let providers = self.providers.borrow().clone();
        for provider in providers.iter() {
            if let Some(batch) = provider.poll_batch() {
                self.ask(provider, batch).await?;
            }
        }
        Ok(())
    }

    async fn ask(&self, provider: &Provider, batch: usize) -> Result<(), DbError> {
        let (name, at_most) = (provider.name(), i64::try_from(batch).unwrap_or(1));
        let (first, longest) = (seconds(FIRST_POLL), seconds(LONGEST));
        for _ in 0..QUESTIONS {
            let arguments: [crate::db::Argument<'_>; 4] =
                [("provider", &name), ("at_most", &at_most), ("first_s", &first), ("longest_s", &longest)];
            let rows = self.database.query(&statement::AWAITED, &arguments).await?;
            let ids: Vec<String> =
                rows.iter().map(|row| field(row, "provider_message_id")).collect::<Result<_, DbError>>()?;
            if ids.is_empty() {
                return Ok(());
            }
            let asked: Vec<&str> = ids.iter().map(String::as_str).collect();
            match provider.ask_receipts(&asked).await {
                Ok(receipts) => self.intake.receipts(name, &receipts).await?,
                Err(problem) => {
                    debug!(
                        provider = name,
                        problem,
                        messages = ids.len(),
                        "the provider did not tell what became of messages"
                    );
                    return Ok(());
                }
            }
            if ids.len() < batch {
                return Ok(());
            }
        }
        Ok(())
    }
}

fn seconds(time: Duration) -> i32 {
    i32::try_from(time.as_secs()).unwrap_or(i32::MAX)
}
