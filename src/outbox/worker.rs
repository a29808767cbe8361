//! The claimer: one task that owns all scheduling state, in plain fields.
//!
//! Each turn: may anything be sent (not paused, results can be written, a provider admits)? how much (free slots, rate)?
//! claim that much, hand each row to a sender, look again while claims come back full, sleep when one comes back short. At full speed
//! rows are claimed a little ahead of their slots; where they wait, `provider/slots.rs` says.
//! Interest is registered before looking: a wake-up that comes during the claim ends the sleep that follows at once.
//!
//! Every wait in a turn is bounded by [`TICK`], so that the beat which the watchdog reads shows progress and no timer.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};
use tracing::{debug, error, info, warn};

use super::claim::{self, Claim, LEASE_MARGIN};
use super::clock;
use super::floor::Floor;
use super::guards;
use super::patrol;
use super::rescue;
use super::routing::{self, CONGESTED_PAUSE};
use super::send::{Desk, Shared};
use super::settings::Settings;
use super::stage::Claimed;
use super::stampede::Stampede;
use super::wake::{BUSY_POLL, WakeFlag};
use crate::crash;
use crate::db::DbError;
use crate::message::reason::Reason;
use crate::provider::circuit::Admission;
use crate::provider::{Provider, Providers};

/// Longest wait in a turn.
const TICK: Duration = Duration::from_secs(1);

/// Rows in one claim at most, whatever the number of slots: bounds the memory of a batch.
const CLAIM_LIMIT: usize = 500;

/// At full speed: what is claimed beyond the free slots, as the time in which it leaves. Longer than a claim takes.
const AHEAD: Duration = Duration::from_millis(60);

/// At full speed: how much room there must be for a claim, as the time in which it came about; half of what a claim may take is
/// always enough. So a claim costs little for each message, and what waits ahead keeps the slots busy meanwhile.
const CLAIM_EVERY: Duration = Duration::from_millis(40);

/// Rows claimed ahead at most, whatever the speed: what a kill without a trace could leave in doubt.
const AHEAD_LIMIT: usize = 500;

/// Rows in one claim while messages wait for a provider that is full.
const CONGESTED_ROOM: usize = 50;

/// One claim in so many keeps half of its room for rows that are due: retries and scheduled messages come forward, however many fresh
/// ones there are.
const DUE_FIRST_EVERY: i64 = 8;

/// Pauses after a failed claim.
const CLAIM_PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// The claimer.
pub struct Claimer {
    shared: Arc<Shared>,
    owner: i32,
    providers: watch::Receiver<Providers>,
    settings: watch::Sender<Arc<Settings>>,
    wake: Arc<Notify>,
    poll: Duration,
    floor: Floor,
    /// The look below the floor, while it is under way.
    look_back: Option<JoinHandle<LookedBack>>,
    flag: WakeFlag,
    claims: i64,
    senders: JoinSet<()>,
    pause: Duration,
    said_idle: Option<&'static str>,
    stampede: Stampede,
}

/// The row that a look below the floor found, and how long it took.
type LookedBack = (Result<Option<i64>, DbError>, Duration);

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
    /// A claimer that has not looked yet, and begins where the fleet's floor is.
    pub fn new(
        shared: Arc<Shared>,
        owner: i32,
        providers: watch::Receiver<Providers>,
        settings: watch::Sender<Arc<Settings>>,
        wake: Arc<Notify>,
        poll: Duration,
    ) -> Self {
        let floor = shared.fleet.floor();
        Self {
            shared,
            owner,
            providers,
            settings,
            wake,
            poll,
            floor: Floor::from(floor, Instant::now()),
            look_back: None,
            flag: WakeFlag::new(Instant::now()),
            claims: 0,
            senders: JoinSet::new(),
            pause: CLAIM_PAUSE.0,
            said_idle: None,
            stampede: Stampede::default(),
        }
    }

    /// Works until told to stop, then waits for the sends under way.
    ///
    /// # Errors
    /// When a sender ended by a panic: the daemon must stop, and the message becomes unknown when its lease runs out.
    pub async fn run(mut self) -> Result<(), tokio::task::JoinError> {
        while !self.shared.stop.is_cancelled() {
            self.shared.pulse.beat();
            self.shared.lines.report(Instant::now());
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
            self.shared.pulse.beat();
        }
        Ok(())
    }

    async fn turn(&mut self) -> Turn {
        if self.shared.settler.blocked() {
            return Turn::Wait(CLAIM_PAUSE.0);
        }
        let settings = self.settings.borrow().clone();
        if settings.paused {
            return self.idle("paused by setting; messages wait").await;
        }
        if self.shared.guards.is_due(Instant::now())
            && let Err(problem) = guards::check(&self.shared.database, &self.shared.guards).await
        {
            return self.failed(&problem);
        }
        if !self.shared.guards.may_claim() {
            return self.idle("this database is a copy; messages wait").await;
        }
        let providers = self.providers.borrow_and_update().clone();
        if providers.is_empty() {
            return self.idle("no provider is configured; messages wait").await;
        }
        self.said_idle = None;
        let now = Instant::now();
        providers.iter().for_each(|provider| self.take_share(provider));
        let leads = leads(&providers, now);
        if leads.is_empty() {
            let opens = providers.iter().filter_map(|provider| match provider.admission(now) {
                Admission::Closed(until) => Some(until.saturating_duration_since(now)),
                Admission::All | Admission::Probe => None,
            });
            let wait = opens.min().unwrap_or(TICK);
            // The outbox is not looked at, but it must be seen to be in reach.
            return self.look_without_claiming(wait).await;
        }
        let mut shortest = TICK;
        for (provider, admission) in leads {
            match self.room(&provider, admission).await {
                Ok(room) => {
                    let room = self.while_congested(&provider, room);
                    return self.claim(&provider, admission, room, settings, &providers).await;
                }
                Err(wait) => shortest = shortest.min(wait),
            }
        }
        Turn::Wait(shortest)
    }

    /// Nothing may be claimed, for a reason that somebody may change in the settings or the configuration.
    async fn idle(&mut self, why: &'static str) -> Turn {
        if self.said_idle != Some(why) {
            self.said_idle = Some(why);
            info!("{why}");
        }
        // A copy is left as it is.
        if self.shared.guards.may_claim()
            && let Err(problem) = self.flag.rest(&self.shared.database).await
        {
            debug!(error = %problem, "the wake flag could not be cleared");
        }
        self.look_without_claiming(self.poll).await
    }

    async fn look_without_claiming(&mut self, wait: Duration) -> Turn {
        match Settings::load(&self.shared.database).await {
            Ok(settings) => {
                self.shared.pulse.looked();
                if settings.version != self.settings.borrow().version {
                    self.settings.send_replace(Arc::new(settings));
                    return Turn::Again;
                }
                Turn::Wait(wait.min(self.poll))
            }
            Err(error) => self.failed(&error),
        }
    }

    /// While messages wait for a provider that is full, only a few are claimed: the others would wait for it too, and those of other providers
    /// come among the few.
    fn while_congested(&self, provider: &Provider, room: usize) -> usize {
        if room <= CONGESTED_ROOM || !self.shared.router.is_congested(Instant::now()) {
            return room;
        }
        if let Some(pace) = provider.pace() {
            pace.give_back(room - CONGESTED_ROOM);
        }
        CONGESTED_ROOM
    }

    /// Takes this daemon's part of what a provider allows.
    fn take_share(&self, provider: &Provider) {
        let share = self.shared.fleet.share(provider.concurrency());
        provider.slots().resize(share);
        if let Some(pace) = provider.pace() {
            pace.share(self.shared.fleet.deal(pace.messages(), provider.concurrency()));
        }
    }

    /// How many rows may be claimed now, which the provider's slots, the rows already waiting for them and the rate decide; one for a
    /// probe. Waits for room as long as a turn may. The error is how long to wait when there is none.
    async fn room(&self, provider: &Provider, admission: Admission) -> Result<usize, Duration> {
        let slots = provider.slots();
        let share = slots.limit();
        if share == 0 {
            return Err(TICK);
        }
        let probes = admission == Admission::Probe;
        // Rows claimed ahead are known to be unsent only where a journal says so, and a rate is no full speed.
        let speed = if probes || provider.pace().is_some() { 0.0 } else { slots.per_second(Instant::now()) };
        let ahead = if self.shared.journal.usable() { within(AHEAD, speed).min(AHEAD_LIMIT) } else { 0 };
        let most = if ahead > 0 { CLAIM_LIMIT.min(share + ahead).div_ceil(2) } else { share.div_ceil(4) };
        let least = within(CLAIM_EVERY, speed).clamp(1, most);
        if tokio::time::timeout(TICK, slots.relieved(share + ahead - least)).await.is_err() {
            return Err(Duration::ZERO);
        }
        let room = (share + ahead).saturating_sub(slots.load()).min(if probes { 1 } else { CLAIM_LIMIT });
        provider.pace().map_or(Ok(room), |pace| pace.take(room))
    }

    async fn claim(
        &mut self,
        provider: &Arc<Provider>,
        admission: Admission,
        room: usize,
        settings: Arc<Settings>,
        providers: &Providers,
    ) -> Turn {
        self.look_back().await;
        let now = Instant::now();
        let floor = self.floor.start(now);
        self.claims += 1;
        let token = (i64::from(self.owner) << 32) | (self.claims & 0xffff_ffff);
        // Another provider may carry a message in the end.
        let timeout = providers.iter().map(|provider| provider.timeout()).max().unwrap_or(provider.timeout());
        let lease = timeout + LEASE_MARGIN;
        let journaled = self.shared.journal.usable();
        let fresh = if self.claims % DUE_FIRST_EVERY == 0 { room / 2 } else { room };
        let claim = Claim { floor, slots: room, fresh, owner: self.owner, token, lease, journaled };
        if admission == Admission::Probe {
            provider.circuit().probing(now);
        }
        self.shared.ledger.begun(token);
        self.shared.metrics.claim();
        let batch = match claim::claim(&self.shared.database, claim).await {
            Ok(batch) => batch,
            Err(problem) => {
                self.shared.ledger.abandoned(token);
                if let Some(pace) = provider.pace() {
                    pace.give_back(room);
                }
                provider.circuit().not_probed(Instant::now());
                return self.lost_claim(&problem).await;
            }
        };
        if !batch.rows.is_empty() {
            crash::point(crash::AFTER_CLAIM);
        }
        self.shared.ledger.claimed(token, batch.rows.len());
        self.shared.pulse.looked();
        self.pause = CLAIM_PAUSE.0;
        self.floor.learn(floor, batch.look, Instant::now());
        self.shared.fleet.keep_floor(self.floor.safe());
        if self.shared.clock.observe(now, Instant::now(), batch.database_now)
            && let Err(problem) = clock::rewind(&self.shared.database).await
        {
            warn!(error = %problem, "messages may wait for longer than they should: the database's clock went back");
        }
        if let Some(pace) = provider.pace() {
            pace.give_back(room - batch.rows.len());
        }
        if !self.shared.guards.knows(batch.outbox_oid) {
            // Restored over, since the last look: what was claimed may have been sent before.
            provider.circuit().not_probed(Instant::now());
            self.give_back(batch.rows).await;
            return Turn::Again;
        }
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
        let claimed = batch.rows.len();
        let rows = match self.stampede.hold_back(&self.shared.database, batch.rows, &settings).await {
            Ok((rows, held)) => {
                for finished in held {
                    self.shared.settler.record(finished).await;
                }
                rows
            }
            Err((rows, problem)) => {
                provider.circuit().not_probed(Instant::now());
                self.give_back(rows).await;
                return self.failed(&problem);
            }
        };
        if rows.len() < claimed {
            if let Some(pace) = provider.pace() {
                pace.give_back(claimed - rows.len());
            }
            if rows.is_empty() {
                provider.circuit().not_probed(Instant::now());
            }
        }
        let desk = Desk {
            shared: Arc::clone(&self.shared),
            provider: Arc::clone(provider),
            settings,
            now: batch.database_now,
            contacts: batch.contacts,
            journaled,
            probes: admission == Admission::Probe,
            providers: Arc::clone(providers),
            unsent: AtomicUsize::new(0),
        };
        Arc::new(desk).dispatch(rows, &mut self.senders);
        if self.flag.is_busy(Instant::now(), claimed) {
            if let Err(problem) = self.flag.decline(&self.shared.database, batch.wanted).await {
                debug!(error = %problem, "the wake flag could not be cleared");
            }
            return match (full, self.shared.router.is_congested(Instant::now())) {
                (true, true) => Turn::Wait(CONGESTED_PAUSE),
                (true, false) => Turn::Again,
                (false, _) => Turn::Wait(BUSY_POLL),
            };
        }
        if full {
            let congested = self.shared.router.is_congested(Instant::now());
            return if congested { Turn::Wait(CONGESTED_PAUSE) } else { Turn::Again };
        }
        match self.flag.ask(&self.shared.database, batch.wanted).await {
            Ok(true) => Turn::Again,
            Ok(false) | Err(_) => Turn::Sleep(batch.next_due.unwrap_or(self.poll)),
        }
    }

    /// Now and then, and beside the claims: is anything left below the floor?
    async fn look_back(&mut self) {
        match self.look_back.take_if(|look| look.is_finished()) {
            Some(look) => match look.await {
                Ok((Ok(left), took)) => self.floor.looked_back(left, took, Instant::now()),
                Ok((Err(problem), took)) => {
                    debug!(error = %problem, "whether messages were left behind is looked at later");
                    self.floor.looked_back(None, took, Instant::now());
                }
                Err(ended) => error!(error = %ended, "the look for messages left behind ended by itself"),
            },
            None if self.look_back.is_none() => {
                if let Some(below) = self.floor.look_back_due(Instant::now()) {
                    let database = self.shared.database.clone();
                    self.look_back = Some(tokio::spawn(async move { patrol::left_behind(&database, below).await }));
                }
            }
            None => {}
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
            let finished = claimed.defer(Duration::ZERO, Reason::NotStarted, None, None);
            self.shared.settler.record(finished).await;
        }
    }

    async fn lost_claim(&mut self, problem: &DbError) -> Turn {
        let turn = self.failed(problem);
        if problem.is_unavailable() || matches!(problem, DbError::Unexpected(_)) {
            // It may have taken effect all the same.
            if let Err(error) = rescue::unclaim(&self.shared.database, &self.shared.ledger, self.owner).await {
                debug!(error = %error, "rows of the lost claim are freed later");
            }
        }
        turn
    }

    fn failed(&mut self, problem: &DbError) -> Turn {
        if self.shared.pulse.failed(&problem.to_string()) {
            error!(error = %problem, "the outbox cannot be read; it is tried again until it can");
        }
        let pause = self.pause;
        self.pause = (self.pause * 2).min(CLAIM_PAUSE.1);
        Turn::Wait(pause)
    }
}

/// How many messages leave within a time, at so many a second.
fn within(time: Duration, per_second: f64) -> usize {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative, and saturates")]
    let messages = (time.as_secs_f64() * per_second) as usize;
    messages
}

/// With whom in mind a claim may be made, the best first. One alone where nothing but the order decides; otherwise those with the most room first, because
/// a message goes its own way once it is claimed. One that is to be tried always comes first: it costs one message.
fn leads(providers: &Providers, now: Instant) -> Vec<(Arc<Provider>, Admission)> {
    let admitted: Vec<(Arc<Provider>, Admission)> = providers
        .iter()
        .filter_map(|provider| match provider.admission(now) {
            admission @ (Admission::All | Admission::Probe) => Some((Arc::clone(provider), admission)),
            Admission::Closed(_) => None,
        })
        .collect();
    let lively = |(provider, admission): &&(Arc<Provider>, Admission)| {
        *admission == Admission::Probe || !provider.is_stalled(now)
    };
    if !routing::decides(providers) {
        return admitted.iter().find(lively).or(admitted.first()).cloned().into_iter().collect();
    }
    let mut leads: Vec<(Arc<Provider>, Admission)> = admitted.iter().filter(lively).cloned().collect();
    if leads.is_empty() {
        leads = admitted;
    }
    let room = |provider: &Provider| provider.slots().limit().saturating_sub(provider.slots().load());
    leads.sort_by_key(|(provider, admission)| (*admission != Admission::Probe, std::cmp::Reverse(room(provider))));
    leads
}
