//! The claimer: one task that owns all scheduling state, in plain fields, and the senders that it starts.
//!
//! Each turn: may anything be sent (not paused, results can be written, a provider admits)? how much (free slots, rate)?
//! claim that much, hand each row to a sender, look again while claims come back full, sleep when one comes back short.
//! Interest is registered before looking: a wake-up that comes during the claim ends the sleep that follows at once.
//!
//! Every wait in a turn is bounded by [`TICK`], so that the beat which the watchdog reads shows progress and no timer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::{Notify, OwnedSemaphorePermit, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::claim::{self, Claim, LEASE_MARGIN};
use super::floor::Floor;
use super::lease::{Armed, Claimed, Finished, Ready, RetryRules};
use super::ledger::Ledger;
use super::prepare::{Informed, Preparer};
use super::rescue;
use super::settings::Settings;
use super::settle::Settler;
use super::wake::WakeFlag;
use crate::db::{Database, DbError};
use crate::message::outcome::Outcome;
use crate::metrics::Metrics;
use crate::provider::Provider;
use crate::provider::circuit::Admission;
use crate::provider::outgoing::Outgoing;

/// Longest wait in a turn.
const TICK: Duration = Duration::from_secs(1);

/// Rows in one claim at most, whatever the number of slots: bounds the memory of a batch.
const CLAIM_LIMIT: usize = 500;

/// Pauses after a failed claim.
const CLAIM_PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Providers in the order in which they are tried, replaced as a whole by a reload.
pub type Providers = Arc<Vec<Arc<Provider>>>;

/// What the rest of the daemon may know of the claimer.
#[derive(Debug, Default)]
pub struct Pulse {
    beat_ms: AtomicU64,
    looked_ms: AtomicU64,
    problem: std::sync::Mutex<Option<String>>,
}

impl Pulse {
    /// Time since `since` at the last turn, and at the last look at the outbox that worked.
    pub fn read(&self) -> (Duration, Duration) {
        (
            Duration::from_millis(self.beat_ms.load(Ordering::Relaxed)),
            Duration::from_millis(self.looked_ms.load(Ordering::Relaxed)),
        )
    }

    /// Why the outbox cannot be looked at, when it cannot.
    pub fn problem(&self) -> Option<String> {
        self.problem.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// A turn begins.
    pub fn beat(&self, since: Instant) {
        self.beat_ms.store(elapsed_ms(since), Ordering::Relaxed);
    }

    /// Says why the outbox cannot be looked at, or that it can.
    pub fn set_problem(&self, problem: Option<String>) {
        *self.problem.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = problem;
    }
}

/// Everything that the claimer and its senders share.
pub struct Shared {
    /// The database.
    pub database: Database,
    /// From row to text.
    pub preparer: Preparer,
    /// Where results go.
    pub settler: Settler,
    /// Open claims.
    pub ledger: Arc<Ledger>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Beats and looks.
    pub pulse: Arc<Pulse>,
    /// Pauses between attempts; the wait in doubt comes from the settings.
    pub retry: RetryRules,
    /// No new request is written once this is set.
    pub stop: CancellationToken,
    /// Requests under way are given up as unknown once this is set.
    pub hasten: CancellationToken,
}

/// The claimer.
pub struct Claimer {
    shared: Arc<Shared>,
    owner: i32,
    started: Instant,
    providers: watch::Receiver<Providers>,
    settings: watch::Sender<Arc<Settings>>,
    wake: Arc<Notify>,
    poll: Duration,
    floor: Floor,
    flag: WakeFlag,
    claims: i64,
    senders: JoinSet<()>,
    pause: Duration,
    /// Messages of the rate that were taken and not used, and of which provider.
    unused_pace: (String, usize),
    said_idle: Option<&'static str>,
}

/// How a turn ended.
enum Turn {
    /// Look again at once.
    Again,
    /// Sleep, at most this long; a wake-up ends it.
    Sleep(Duration),
    /// Wait, whatever wakes.
    Wait(Duration),
}

impl Claimer {
    /// A claimer that has not looked yet.
    pub fn new(
        shared: Arc<Shared>,
        owner: i32,
        started: Instant,
        providers: watch::Receiver<Providers>,
        settings: watch::Sender<Arc<Settings>>,
        wake: Arc<Notify>,
        poll: Duration,
    ) -> Self {
        Self {
            shared,
            owner,
            started,
            providers,
            settings,
            wake,
            poll,
            floor: Floor::new(Instant::now()),
            flag: WakeFlag::default(),
            claims: 0,
            senders: JoinSet::new(),
            pause: CLAIM_PAUSE.0,
            unused_pace: (String::new(), 0),
            said_idle: None,
        }
    }

    /// Works until told to stop, then waits for the sends under way.
    ///
    /// # Errors
    /// When a sender ended by a panic: the daemon must stop, and the message becomes unknown when its lease runs out.
    pub async fn run(mut self) -> Result<(), tokio::task::JoinError> {
        while !self.shared.stop.is_cancelled() {
            self.shared.pulse.beat(self.started);
            while let Some(ended) = self.senders.try_join_next() {
                ended?;
            }
            let stop = self.shared.stop.clone();
            match self.turn().await {
                Turn::Again => {}
                Turn::Sleep(wait) => tokio::select! {
                    () = stop.cancelled() => {}
                    () = self.wake.notified() => {}
                    () = tokio::time::sleep(wait.min(self.poll)) => {}
                },
                Turn::Wait(wait) => tokio::select! {
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(wait.min(TICK)) => {}
                },
            }
        }
        let under_way = self.senders.len();
        if under_way > 0 {
            info!(under_way, "no more messages are claimed; waiting for those being sent");
        }
        while let Some(ended) = self.senders.join_next().await {
            ended?;
            self.shared.pulse.beat(self.started);
        }
        Ok(())
    }

    fn looked(&self) {
        self.shared.pulse.looked_ms.store(elapsed_ms(self.started), Ordering::Relaxed);
        self.shared.pulse.set_problem(None);
    }

    async fn turn(&mut self) -> Turn {
        if self.shared.settler.blocked() {
            return Turn::Wait(CLAIM_PAUSE.0);
        }
        let settings = self.settings.borrow().clone();
        if settings.paused {
            return self.idle("paused by setting; messages wait").await;
        }
        let providers = self.providers.borrow_and_update().clone();
        if providers.is_empty() {
            return self.idle("no provider is configured; messages wait").await;
        }
        self.said_idle = None;
        let now = Instant::now();
        let Some((provider, admission)) = choose(&providers, now) else {
            let opens = providers.iter().filter_map(|provider| match provider.admission(now) {
                Admission::Closed(until) => Some(until.saturating_duration_since(now)),
                Admission::All | Admission::Probe => None,
            });
            let wait = opens.min().unwrap_or(TICK);
            // The outbox is not looked at, but it must be seen to be in reach.
            return self.look_without_claiming(wait).await;
        };
        let (slots, wait) = self.take_slots(&provider, admission).await;
        if slots.is_empty() {
            return Turn::Wait(wait);
        }
        self.claim(&provider, admission, slots, settings).await
    }

    /// Nothing may be claimed, for a reason that somebody may change in the settings or the configuration.
    async fn idle(&mut self, why: &'static str) -> Turn {
        if self.said_idle != Some(why) {
            self.said_idle = Some(why);
            info!("{why}");
        }
        self.look_without_claiming(self.poll).await
    }

    async fn look_without_claiming(&mut self, wait: Duration) -> Turn {
        match Settings::load(&self.shared.database).await {
            Ok(settings) => {
                self.looked();
                if settings.version != self.settings.borrow().version {
                    self.settings.send_replace(Arc::new(settings));
                    return Turn::Again;
                }
                Turn::Wait(wait.min(self.poll))
            }
            Err(error) => self.failed(&error),
        }
    }

    /// As many slots as are free and the rate allows; one for a probe. None, and how long to wait, when there are none.
    async fn take_slots(
        &mut self,
        provider: &Arc<Provider>,
        admission: Admission,
    ) -> (Vec<OwnedSemaphorePermit>, Duration) {
        let most = if admission == Admission::Probe { 1 } else { CLAIM_LIMIT };
        let Ok(Ok(first)) = tokio::time::timeout(TICK, Arc::clone(provider.slots()).acquire_owned()).await else {
            return (Vec::new(), Duration::ZERO);
        };
        let mut slots = vec![first];
        while slots.len() < most {
            let Ok(slot) = Arc::clone(provider.slots()).try_acquire_owned() else { break };
            slots.push(slot);
        }
        let saved = if self.unused_pace.0 == provider.name() { self.unused_pace.1.min(slots.len()) } else { 0 };
        let (taken, wait) = provider.take_pace(slots.len() - saved);
        let allowed = saved + taken;
        slots.truncate(allowed);
        // What a short claim leaves over is not lost: it is used by the next one.
        self.unused_pace = (provider.name().to_owned(), allowed);
        (slots, wait.unwrap_or(TICK))
    }

    async fn claim(
        &mut self,
        provider: &Arc<Provider>,
        admission: Admission,
        mut slots: Vec<OwnedSemaphorePermit>,
        settings: Arc<Settings>,
    ) -> Turn {
        let now = Instant::now();
        let floor = self.floor.start(now);
        self.claims += 1;
        let token = (i64::from(self.owner) << 32) | (self.claims & 0xffff_ffff);
        let lease = provider.timeout() + LEASE_MARGIN;
        let claim = Claim { floor, slots: slots.len(), owner: self.owner, token, lease };
        if admission == Admission::Probe {
            provider.circuit().probing(now);
        }
        self.shared.ledger.begun(token);
        self.shared.metrics.claim();
        let batch = match claim::claim(&self.shared.database, claim).await {
            Ok(batch) => batch,
            Err(problem) => {
                self.shared.ledger.abandoned(token);
                provider.circuit().not_probed(Instant::now());
                return self.lost_claim(&problem).await;
            }
        };
        self.shared.ledger.claimed(token, batch.rows.len());
        self.looked();
        self.pause = CLAIM_PAUSE.0;
        self.floor.learn(floor, batch.look, Instant::now());
        self.unused_pace.1 = self.unused_pace.1.saturating_sub(batch.rows.len());
        let settings = match self.settings_at(batch.settings_version, settings).await {
            Ok(settings) => settings,
            Err(problem) => {
                // Decided by old settings a message might leave that staff have just stopped.
                provider.circuit().not_probed(Instant::now());
                self.give_back(batch.rows).await;
                return self.failed(&problem);
            }
        };
        if settings.paused {
            provider.circuit().not_probed(Instant::now());
            self.give_back(batch.rows).await;
            return Turn::Again;
        }
        if batch.rows.is_empty() {
            provider.circuit().not_probed(Instant::now());
        }
        let full = batch.look.full;
        slots.truncate(batch.rows.len());
        self.dispatch(provider, batch.rows, slots, settings, batch.database_now);
        if let Err(problem) = self.flag.claimed(&self.shared.database, full, batch.wanted).await {
            debug!(error = %problem, "the wake flag could not be cleared");
        }
        if full {
            return Turn::Again;
        }
        match self.flag.ask(&self.shared.database, batch.wanted).await {
            Ok(true) => Turn::Again,
            Ok(false) | Err(_) => Turn::Sleep(batch.next_due.unwrap_or(self.poll)),
        }
    }

    /// The settings that the claim saw.
    async fn settings_at(&mut self, version: i64, known: Arc<Settings>) -> Result<Arc<Settings>, DbError> {
        if known.version == version {
            return Ok(known);
        }
        let fresh = Arc::new(Settings::load(&self.shared.database).await?);
        info!(version = fresh.version, "settings changed");
        self.settings.send_replace(Arc::clone(&fresh));
        Ok(fresh)
    }

    async fn give_back(&self, rows: Vec<Claimed>) {
        for claimed in rows {
            let finished = claimed.defer(Duration::ZERO, crate::message::reason::Reason::NotStarted, None, None);
            self.shared.settler.record(finished).await;
        }
    }

    async fn lost_claim(&mut self, problem: &DbError) -> Turn {
        if problem.is_unavailable() || matches!(problem, DbError::Unexpected(_)) {
            // It may have taken effect all the same.
            if let Err(error) = rescue::unclaim(&self.shared.database, &self.shared.ledger, self.owner).await {
                debug!(error = %error, "rows of the lost claim are freed later");
            }
        }
        self.failed(problem)
    }

    fn failed(&mut self, problem: &DbError) -> Turn {
        if self.shared.pulse.problem().is_none() {
            error!(error = %problem, "the outbox cannot be read; it is tried again until it can");
        }
        self.shared.pulse.set_problem(Some(problem.to_string()));
        let pause = self.pause;
        self.pause = (self.pause * 2).min(CLAIM_PAUSE.1);
        Turn::Wait(pause)
    }

    fn dispatch(
        &mut self,
        provider: &Arc<Provider>,
        rows: Vec<Claimed>,
        mut slots: Vec<OwnedSemaphorePermit>,
        settings: Arc<Settings>,
        now: Timestamp,
    ) {
        let (sourced, plain): (Vec<_>, Vec<_>) = rows.into_iter().partition(|claimed| claimed.row.kind.has_source());
        let desk = Arc::new(Desk { shared: Arc::clone(&self.shared), provider: Arc::clone(provider), settings, now });
        for (claimed, slot) in plain.into_iter().zip(slots.split_off(sourced.len())) {
            self.senders.spawn(Arc::clone(&desk).handle(Preparer::plain(claimed), slot));
        }
        if !sourced.is_empty() {
            self.senders.spawn(desk.handle_batch(sourced, slots));
        }
    }
}

fn elapsed_ms(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// The first provider that admits anything.
fn choose(providers: &Providers, now: Instant) -> Option<(Arc<Provider>, Admission)> {
    providers.iter().find_map(|provider| match provider.admission(now) {
        admission @ (Admission::All | Admission::Probe) => Some((Arc::clone(provider), admission)),
        Admission::Closed(_) => None,
    })
}

/// What the senders of one batch share.
struct Desk {
    shared: Arc<Shared>,
    provider: Arc<Provider>,
    settings: Arc<Settings>,
    now: Timestamp,
}

impl Desk {
    /// Rows that speak of a source: facts in one call, then each on its own.
    async fn handle_batch(self: Arc<Self>, rows: Vec<Claimed>, slots: Vec<OwnedSemaphorePermit>) {
        let (informed, finished) = self.shared.preparer.inform(rows).await;
        if informed.is_empty() {
            self.provider.circuit().not_probed(Instant::now());
        }
        for finished in finished {
            self.shared.settler.record(finished).await;
        }
        let mut senders: JoinSet<()> =
            informed.into_iter().zip(slots).map(|(informed, slot)| Arc::clone(&self).handle(informed, slot)).collect();
        while let Some(ended) = senders.join_next().await {
            if let Err(panic) = ended {
                // Passed on: the claimer stops the daemon.
                std::panic::resume_unwind(panic.into_panic());
            }
        }
    }

    /// One message, from facts to result. The slot is free as soon as the provider has answered.
    async fn handle(self: Arc<Self>, informed: Informed, slot: OwnedSemaphorePermit) {
        let finished = match self.ready(informed) {
            Ok(armed) => self.send(armed).await,
            Err(finished) => {
                self.provider.circuit().not_probed(Instant::now());
                finished
            }
        };
        drop(slot);
        self.shared.settler.record(finished).await;
    }

    fn ready(&self, informed: Informed) -> Result<Armed, Finished> {
        let ready: Ready = self.shared.preparer.prepare(informed, &self.settings, self.now)?;
        if self.shared.stop.is_cancelled() {
            return Err(ready.give_back());
        }
        ready.arm(Instant::now(), self.provider.timeout())
    }

    async fn send(&self, armed: Armed) -> Finished {
        let rendered = armed.rendered();
        let outgoing = Outgoing {
            reference: armed.reference(),
            recipient: rendered.recipient.clone(),
            text: rendered.body.clone(),
            encoding: rendered.encoding,
            segments: rendered.segments,
            deadline: self.provider.timeout(),
        };
        let begun = Instant::now();
        let outcome = tokio::select! {
            outcome = self.provider.send(&outgoing) => outcome,
            () = self.shared.hasten.cancelled() => {
                Outcome::Unknown { detail: "the daemon was told to stop at once while the request was under way".to_owned() }
            }
        };
        let took = begun.elapsed();
        self.shared.metrics.attempt(self.provider.name(), outcome.word(), took.as_secs_f64());
        self.log(&armed, &outgoing, &outcome, took);
        let (changed, open) = {
            let mut circuit = self.provider.circuit();
            (circuit.record(&outcome, Instant::now()), circuit.is_open())
        };
        if changed && open {
            error!(
                provider.name = self.provider.name(),
                outcome = outcome.word(),
                detail = outcome.detail(),
                "the provider is not asked for a while; messages wait"
            );
        } else if changed {
            info!(provider.name = self.provider.name(), "the provider takes messages again");
        }
        let rules = RetryRules { unknown_wait: self.settings.unknown_wait, ..self.shared.retry.clone() };
        armed.answered(outcome, self.provider.name(), &rules)
    }

    fn log(&self, armed: &Armed, outgoing: &Outgoing, outcome: &Outcome, took: Duration) {
        let (id, to, provider) = (armed.id(), outgoing.masked_recipient(), self.provider.name());
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        match outcome {
            Outcome::Accepted { .. } => {
                info!(msg.id = id, to, provider.name = provider, segments = outgoing.segments, took_ms, "message sent");
            }
            Outcome::Unknown { detail } => {
                warn!(msg.id = id, to, provider.name = provider, detail, took_ms, "the message may have been sent");
            }
            other => {
                warn!(
                    msg.id = id,
                    to,
                    provider.name = provider,
                    outcome = other.word(),
                    detail = other.detail(),
                    took_ms,
                    "message not sent"
                );
            }
        }
    }
}
