//! What the daemon says about itself: `GET /v1/status`, `GET /healthz`, the systemd status line, SIGUSR1.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::db::Database;
use crate::db::listener::Hearing;
use crate::garage::missed::Missed;
use crate::journal::Journal;
use crate::metrics::Metrics;
use crate::outbox::contacts;
use crate::outbox::guards::Guards;
use crate::outbox::pulse::Pulse;
use crate::outbox::settings::Settings;
use crate::outbox::staff::{self, Held, Owner, Queue, Today};
use crate::provider::credit::CreditView;
use crate::provider::{Provider, Providers};

/// No look at the outbox for this long means that the database is out of reach.
const LOOK_LIMIT: Duration = Duration::from_secs(15);

/// Events without a message that a status names; it counts the rest.
const MISSED_SHOWN: usize = 20;

/// The parts of the daemon that a status is made of.
#[derive(Clone)]
pub struct Vitals {
    /// The database.
    pub database: Database,
    /// When the daemon started.
    pub started_at: Timestamp,
    /// Our owner number; 0 until the database gave one.
    pub owner: Arc<AtomicI32>,
    /// The claimer's beats and looks.
    pub pulse: Arc<Pulse>,
    /// Whether this database may be sent from.
    pub guards: Arc<Guards>,
    /// Set while results cannot be written.
    pub results_blocked: Arc<AtomicBool>,
    /// The local journal.
    pub journal: Arc<Journal>,
    /// Providers in force.
    pub providers: watch::Receiver<Providers>,
    /// Settings in force.
    pub settings: watch::Receiver<Arc<Settings>>,
    /// Whether wake-ups arrive.
    pub hearing: watch::Receiver<Hearing>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// The garage's zone, for "today".
    pub zone: String,
}

/// One provider.
#[derive(Debug, Serialize, Deserialize)]
pub struct ProviderStatus {
    /// Its name.
    pub name: String,
    /// Requests under way.
    pub in_flight: usize,
    /// Requests at once at most.
    pub concurrency: usize,
    /// `closed`: messages flow. `open`: they wait.
    pub circuit: String,
    /// Why it is open.
    pub reason: Option<String>,
    /// Requests are under way and none is answered.
    #[serde(default)]
    pub stalled: bool,
    /// Which messages it takes, in words.
    #[serde(default)]
    pub takes: String,
    /// How much of its weight counts, in percent; only where it has one.
    #[serde(default)]
    pub health: Option<u32>,
    /// How delivery receipts come: `pushed`, `asked for` or `none`.
    #[serde(default)]
    pub receipts: String,
    /// What is left of its credit, where it can be asked.
    #[serde(default)]
    pub credit: Option<CreditView>,
}

/// The whole status.
#[derive(Debug, Serialize, Deserialize)]
pub struct Status {
    /// Whether everything is as it should be.
    pub healthy: bool,
    /// What is not.
    pub problems: Vec<String>,
    /// The program's version.
    pub version: String,
    /// Process id.
    pub pid: u32,
    /// Our owner number.
    pub owner: i32,
    /// Since when.
    pub started_at: Timestamp,
    /// `listening`, or `polling` and why.
    pub wake: String,
    /// Nothing is claimed, by setting.
    pub paused: bool,
    /// The outbox; null while the database is out of reach.
    pub queue: Option<Queue>,
    /// What is held for staff, by reason.
    #[serde(default)]
    pub held: Vec<Held>,
    /// Garage events that made no message: the first twenty.
    #[serde(default)]
    pub missed: Vec<Missed>,
    /// How many there are.
    #[serde(default)]
    pub missed_events: usize,
    /// What an operator should see although nothing is wrong.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Messages that providers took from this daemon within the last minute.
    pub sent_last_minute: u64,
    /// Settled since midnight.
    pub today: Vec<Today>,
    /// Providers.
    pub providers: Vec<ProviderStatus>,
    /// Why the journal is not written, when it should be: after a kill, messages under way would be in doubt.
    pub journal_problem: Option<String>,
    /// Daemons alive on this database.
    pub daemons: Vec<Owner>,
}

impl Vitals {
    /// What is wrong, in sentences; empty when all is well. Asks nobody.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if let Some(problem) = self.pulse.problem() {
            problems.push(problem);
        } else if self.pulse.since_look() > LOOK_LIMIT {
            problems.push("the outbox has not been looked at for a while".to_owned());
        }
        problems.extend(self.guards.copy());
        if self.results_blocked.load(Ordering::Relaxed) {
            problems.push("results cannot be written; nothing is sent until they are".to_owned());
        }
        let providers = self.providers.borrow();
        if providers.is_empty() {
            problems.push("no provider is configured (is SMS_API_KEY set?); messages wait".to_owned());
        } else if let Some(reasons) = providers
            .iter()
            .map(|provider| {
                let circuit = provider.circuit().reason().map(|(word, detail)| format!("{word} {detail}"));
                circuit.or_else(|| provider.link_problem()).map(|why| format!("{}: {why}", provider.name()))
            })
            .collect::<Option<Vec<_>>>()
        {
            problems.push(format!("no provider can be used just now ({}); messages wait", reasons.join("; ")));
        }
        problems
    }

    /// The providers in force, in the order in which they are tried.
    pub fn providers(&self) -> Vec<ProviderStatus> {
        self.providers.borrow().iter().map(|provider| of_provider(provider)).collect()
    }

    /// The whole status.
    pub async fn status(&self) -> Status {
        let mut problems = self.problems();
        let queue = staff::queue(&self.database).await;
        let held = staff::held(&self.database).await.unwrap_or_default();
        let (missed, missed_events) = self.guards.missed_events(MISSED_SHOWN);
        let today = staff::today(&self.database, &self.zone).await.unwrap_or_default();
        let daemons = staff::owners(&self.database).await.unwrap_or_default();
        if let Err(error) = &queue {
            let shown = error.to_string();
            if !problems.contains(&shown) {
                problems.push(shown);
            }
        }
        // A status without it is still one.
        let alarm = contacts::alarm(&self.database).await.unwrap_or_default();
        let providers = self.providers();
        let low = providers.iter().filter(|provider| provider.credit.as_ref().is_some_and(|credit| credit.low));
        let credits: Vec<String> =
            low.map(|provider| format!("the credit of provider {} is low; fill it", provider.name)).collect();
        Status {
            healthy: problems.is_empty(),
            problems,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            owner: self.owner.load(Ordering::Relaxed),
            started_at: self.started_at,
            wake: match &*self.hearing.borrow() {
                Hearing::Listening => "listening".to_owned(),
                Hearing::Polling(why) => format!("polling: {why}"),
            },
            paused: self.settings.borrow().paused,
            queue: queue.ok(),
            held,
            missed,
            missed_events,
            notes: self.guards.note().into_iter().chain(alarm).chain(credits).collect(),
            sent_last_minute: self.metrics.accepted_last_minute(),
            today,
            providers,
            journal_problem: self.journal.problem(),
            daemons,
        }
    }

    /// The metrics' text, with the queue counted just now.
    ///
    /// # Errors
    /// When formatting fails.
    pub async fn metrics(&self) -> Result<String, std::fmt::Error> {
        if let Ok(queue) = staff::queue(&self.database).await {
            for (state, messages) in [
                ("due", queue.due),
                ("scheduled", queue.scheduled),
                ("sending", queue.sending),
                ("held", queue.held),
                ("unknown", queue.unknown),
            ] {
                self.metrics.queue(state, messages);
            }
            #[expect(clippy::cast_possible_truncation, reason = "an age in seconds")]
            self.metrics.oldest_due(queue.oldest_due_s.unwrap_or_default() as i64);
        }
        self.metrics.text()
    }
}

fn of_provider(provider: &Provider) -> ProviderStatus {
    let now = Instant::now();
    let circuit = provider.circuit();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 5 to 100")]
    let health = provider.route().weight.map(|_| (provider.health().factor(now) * 100.0).round() as u32);
    ProviderStatus {
        name: provider.name().to_owned(),
        in_flight: provider.in_flight(),
        concurrency: provider.concurrency(),
        circuit: if circuit.is_open() { "open" } else { "closed" }.to_owned(),
        reason: circuit.reason().map(|(word, detail)| format!("{word}: {detail}")).or_else(|| provider.link_problem()),
        stalled: provider.is_stalled(now),
        takes: provider.route().in_words(),
        health,
        receipts: match (provider.pushes_receipts(), provider.awaits_receipts()) {
            (true, _) => "pushed",
            (false, Some(_)) => "asked for",
            (false, None) => "none",
        }
        .to_owned(),
        credit: provider.credit_view(),
    }
}
