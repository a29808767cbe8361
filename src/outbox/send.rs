//! The senders: one for each claimed row, from facts to result, on a slot of its provider.
//!
//! A request is written only when the daemon is not stopping, the rest of the lease covers the longest time that it may
//! take, the provider's rate has room for it, and the journal, where there is one, says that it is about to be: what still waits for
//! its turn is known to be unsent. Its answer is written there before anything else is done
//! about it. The slot is free as soon as the provider has answered; the result goes to the settler. A panic here stops the
//! daemon: what became of the message is not known, and its lease runs out.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::clock::Clock;
use super::fleet::Fleet;
use super::guards::Guards;
use super::join;
use super::ledger::Ledger;
use super::lines::Lines;
use super::prepare::{Informed, Preparer};
use super::pulse::Pulse;
use super::recall::{Memory, Recall};
use super::result::Finished;
use super::routing::{self, Routing, Share};
use super::settings::Settings;
use super::settle::Settler;
use super::stage::{Armed, Claimed, RetryRules};
use super::waiting::{Seat, Waiting};
use crate::crash;
use crate::db::Database;
use crate::journal::{Answered, Journal, Key};
use crate::message::kind::Kind;
use crate::message::outcome::Outcome;
use crate::message::reason::Reason;
use crate::metrics::Metrics;
use crate::provider::circuit::Admission;
use crate::provider::outgoing::Outgoing;
use crate::provider::router::Router;
use crate::provider::slots::Ticket;
use crate::provider::{Clearance, Provider, Providers};

/// Pause of a message whose lost attempt is still under way in this process.
const RETURNED_PAUSE: Duration = Duration::from_secs(1);

/// Pause of a message that waits for the provider which alone may repeat it.
const OTHER_PROVIDER_PAUSE: Duration = Duration::from_secs(10);

/// When a provider is first asked what became of a message: it needs a moment to know itself.
const FIRST_LOOK: Duration = Duration::from_secs(2);

/// Longest time until a message in doubt is looked at, or looked at again: the wait for proof may be shortened meanwhile.
pub const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// How often it is looked whether a provider for whose slots messages wait has stopped answering.
const STALL_LOOK: Duration = Duration::from_secs(1);

/// How long a provider that is to be tried waits when the message that was claimed for it is none that it takes.
const PROBE_AGAIN: Duration = Duration::from_secs(5);

/// Everything that the claimer and its senders share.
pub struct Shared {
    /// The database.
    pub database: Database,
    /// From row to text.
    pub preparer: Preparer,
    /// Where results go.
    pub settler: Settler,
    /// Whether this database may be sent from.
    pub guards: Arc<Guards>,
    /// Open claims.
    pub ledger: Arc<Ledger>,
    /// The database's clock.
    pub clock: Clock,
    /// Who else works on this database.
    pub fleet: Fleet,
    /// Deals messages out to providers.
    pub router: Router,
    /// What a successor can read after a kill.
    pub journal: Arc<Journal>,
    /// What this process remembers in case the database forgets.
    pub recall: Recall,
    /// Lines about messages that were sent.
    pub lines: Lines,
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

/// What the senders of one batch share.
pub struct Desk {
    /// The daemon's parts.
    pub shared: Arc<Shared>,
    /// Who carries the batch.
    pub provider: Arc<Provider>,
    /// The settings that the claim saw.
    pub settings: Arc<Settings>,
    /// The database's clock at the claim.
    pub now: Timestamp,
    /// Something is on record of some number: it is to be read before anything is sent.
    pub contacts: bool,
    /// The claim promised that requests are written down before they are written.
    pub journaled: bool,
    /// The one row is to see whether the provider works again.
    pub probes: bool,
    /// All providers, where a message may go to another one than the claim was made for.
    pub providers: Providers,
    /// Messages of this batch that were not sent after all, of a provider with a quota.
    pub unsent: AtomicUsize,
}

impl Desk {
    /// Starts the senders of these rows. Campaigns let all others pass.
    pub fn dispatch(self: Arc<Self>, rows: Vec<Claimed>, senders: &mut JoinSet<()>) {
        let slots = Arc::clone(self.provider.slots());
        let (sourced, plain): (Vec<_>, Vec<_>) = rows.into_iter().partition(|claimed| claimed.row.kind.has_source());
        let (bulk, texts): (Vec<_>, Vec<_>) = plain.into_iter().partition(|claimed| claimed.row.kind == Kind::Campaign);
        for (rows, urgent) in [(texts, true), (bulk, false)] {
            if !rows.is_empty() {
                let tickets = slots.enter(rows.len(), urgent);
                let informed = rows.into_iter().map(Preparer::plain).collect();
                senders.spawn(Arc::clone(&self).acquaint_batch(informed, tickets));
            }
        }
        if !sourced.is_empty() {
            let tickets = slots.enter(sourced.len(), true);
            senders.spawn(self.inform_batch(sourced, tickets));
        }
    }

    /// Rows that speak of a source: facts in one call.
    async fn inform_batch(self: Arc<Self>, rows: Vec<Claimed>, tickets: Vec<Ticket>) {
        let (informed, finished) = self.shared.preparer.inform(rows).await;
        for finished in finished {
            self.shared.settler.record(finished).await;
        }
        self.acquaint_batch(informed, tickets).await;
    }

    /// What is on record of their numbers, in one call; services of one customer are put together.
    async fn acquaint_batch(self: Arc<Self>, mut rows: Vec<Informed>, mut tickets: Vec<Ticket>) {
        let Shared { preparer, ledger, settler, .. } = &*self.shared;
        if self.contacts && !rows.is_empty() {
            rows = match preparer.acquaint(rows).await {
                Ok(rows) => rows,
                Err(finished) => {
                    for finished in finished {
                        settler.record(finished).await;
                    }
                    Vec::new()
                }
            };
        }
        let (rows, unsaid) = join::join(preparer, ledger, rows, &self.settings, self.now).await;
        for finished in unsaid {
            settler.record(finished).await;
        }
        if routing::decides(&self.providers) {
            self.route(rows, tickets).await;
            return;
        }
        tickets.truncate(rows.len());
        if rows.is_empty() {
            self.provider.circuit().not_probed(Instant::now());
        }
        self.handle_batch(rows, tickets).await;
    }

    /// Each message by the provider that is to carry it.
    async fn route(self: Arc<Self>, rows: Vec<Informed>, mut tickets: Vec<Ticket>) {
        let Shared { preparer, router, settler, .. } = &*self.shared;
        let (providers, settings, lead) = (&self.providers, &*self.settings, &self.provider);
        let urgent = tickets.first().is_none_or(Ticket::is_urgent);
        let routing = Routing { preparer, router, providers, settings, lead, probes: self.probes };
        let (shares, finished) = routing.deal(rows).await;
        for finished in finished {
            settler.record(finished).await;
        }
        if !shares.iter().any(|share| share.provider.name() == lead.name()) {
            tickets.clear();
            // Nothing that it would take: it is not tried again with every claim.
            lead.circuit().not_probed(Instant::now() + PROBE_AGAIN);
        }
        let batches = shares.into_iter().map(|Share { provider, rows }| {
            if provider.name() == lead.name() {
                tickets.truncate(rows.len());
                return Arc::clone(&self).handle_batch(rows, std::mem::take(&mut tickets));
            }
            let tickets = provider.slots().enter(rows.len(), urgent);
            Arc::new(self.of(provider)).handle_batch(rows, tickets)
        });
        futures_util::future::join_all(batches.collect::<Vec<_>>()).await;
    }

    /// The same desk for another provider.
    fn of(&self, provider: Arc<Provider>) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            provider,
            settings: Arc::clone(&self.settings),
            now: self.now,
            contacts: self.contacts,
            journaled: self.journaled,
            probes: false,
            providers: Arc::clone(&self.providers),
            unsent: AtomicUsize::new(0),
        }
    }

    /// Rows with their facts, as many at a time as find free slots.
    async fn handle_batch(self: Arc<Self>, mut informed: Vec<Informed>, tickets: Vec<Ticket>) {
        let without = informed.split_off(informed.len().min(tickets.len()));
        self.go_back(without).await;
        let waiting = Waiting::new(self.provider.slots(), informed, tickets);
        let mut senders = JoinSet::new();
        loop {
            let seated = tokio::select! {
                biased;
                () = self.shared.stop.cancelled() => break,
                seated = waiting.seat() => seated,
                // One that hangs frees no slot: what waits for it may go elsewhere.
                () = tokio::time::sleep(STALL_LOOK), if self.providers.len() > 1 => {
                    if self.provider.is_stalled(Instant::now()) { break } else { continue }
                }
            };
            if seated.is_empty() {
                break;
            }
            if !self.may_go_on() {
                self.go_back(seated.into_iter().map(|(informed, _)| informed).collect()).await;
                break;
            }
            for (armed, ticket) in self.ready(seated).await {
                senders.spawn(Arc::clone(&self).handle(armed, ticket, Arc::clone(&waiting)));
            }
            while let Some(ended) = senders.try_join_next() {
                passed_on(ended);
            }
        }
        let rest = waiting.give_up();
        if self.probes && !rest.is_empty() {
            self.provider.circuit().not_probed(Instant::now());
        }
        self.go_back(rest).await;
        while let Some(ended) = senders.join_next().await {
            passed_on(ended);
        }
        let unsent = self.unsent.load(Ordering::Relaxed);
        let preparer = &self.shared.preparer;
        routing::give_back_quota(&preparer.database, &self.provider, &preparer.zone, unsent).await;
    }

    /// Whether rows that were claimed may still be sent: not when the provider was seen to fail since.
    pub(super) fn may_go_on(&self) -> bool {
        !self.shared.stop.is_cancelled() && (self.probes || self.provider.admission(Instant::now()) == Admission::All)
    }

    /// Rows that have not been sent.
    async fn go_back(&self, rows: Vec<Informed>) {
        self.unsent(rows.len());
        for informed in rows {
            let finished = informed.into_claimed().defer(Duration::ZERO, Reason::NotStarted, None, None);
            self.shared.settler.record(finished).await;
        }
    }

    /// So many messages were not sent after all.
    pub(super) fn unsent(&self, messages: usize) {
        self.unsent.fetch_add(messages, Ordering::Relaxed);
    }

    /// Of rows with slots those that may be sent now, written down in the journal together where there is no rate to wait for.
    async fn ready(&self, seated: Vec<Seat>) -> Vec<(Armed, Ticket)> {
        let mut armed = Vec::with_capacity(seated.len());
        for (informed, ticket) in seated {
            match self.arm(informed) {
                Ok(one) => armed.push((one, ticket)),
                Err(finished) => {
                    drop(ticket);
                    self.unsent(1);
                    self.provider.circuit().not_probed(Instant::now());
                    self.shared.settler.record(finished).await;
                }
            }
        }
        if self.provider.unlimited().is_some() { self.enter(armed).await } else { armed }
    }

    fn arm(&self, informed: Informed) -> Result<Armed, Finished> {
        let informed = self.recall(informed)?;
        let ready = self.shared.preparer.prepare(informed, &self.settings, self.now)?;
        if self.shared.stop.is_cancelled() {
            return Err(ready.give_back());
        }
        ready.arm(Instant::now(), self.provider.timeout())
    }

    /// A row that this process knows more about than the database does, and one that another provider must repeat, go back.
    fn recall(&self, informed: Informed) -> Result<Informed, Finished> {
        let Claimed { lease, row } = informed.claimed();
        let known = self.shared.recall.of(lease.id, row.created_at.as_microsecond(), lease.attempt);
        if let Some(memory) = known {
            warn!(
                msg.id = lease.id,
                msg.attempt = lease.attempt,
                known = ?memory,
                "the database has lost an attempt of this message; it is not simply sent again"
            );
            let claimed = informed.into_claimed();
            return Err(match memory {
                Memory::UnderWay => claimed.defer(RETURNED_PAUSE, Reason::NotStarted, None, None),
                Memory::Accepted { provider, provider_message_id } => {
                    claimed.sent_before(provider, provider_message_id)
                }
                Memory::Doubt { provider, attempt } => claimed.in_doubt_before(provider, attempt),
            });
        }
        match row.doubt_provider.as_deref() {
            Some(asked) if asked != self.provider.name() => {
                let detail = format!("it may have been sent by {asked}, and no other provider may repeat it");
                Err(informed.into_claimed().defer(OTHER_PROVIDER_PAUSE, Reason::Unknown, Some(detail), None))
            }
            _ => Ok(informed),
        }
    }

    /// One message, from its turn to its result; then the next of the batch on the same slot. The slot is free as soon as the provider has
    /// answered.
    async fn handle(self: Arc<Self>, armed: Armed, ticket: Ticket, waiting: Arc<Waiting>) {
        let mut seated = Some((armed, ticket));
        while let Some((armed, ticket)) = seated {
            let Some((armed, ticket, clearance)) = self.cleared(armed, ticket).await else { return };
            let finished = self.send(armed, clearance).await;
            if let Err(finished) = self.shared.settler.try_record(finished) {
                drop(ticket);
                self.shared.settler.record(finished).await;
                return;
            }
            if !self.may_go_on() {
                return;
            }
            let Some(next) = waiting.succeed(ticket) else { return };
            seated = self.ready(vec![next]).await.pop();
        }
    }

    async fn send(&self, armed: Armed, clearance: Clearance) -> Finished {
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
            // On the heap: the way through the HTTP client is long, and would be moved with every step up to here.
            outcome = Box::pin(self.provider.send(&outgoing, clearance)) => outcome,
            () = self.shared.hasten.cancelled() => {
                Outcome::Unknown { detail: "the daemon was told to stop at once while the request was under way".to_owned() }
            }
        };
        let took = begun.elapsed();
        if outcome.is_unsent() {
            self.unsent(1);
        }
        self.remember(&armed, &outcome);
        self.shared.metrics.attempt(self.provider.name(), outcome.word(), took.as_secs_f64());
        // The provider's own words go to the record of the message; logs and status have them without number and text.
        let shown = outgoing.discreet(&outcome);
        if matches!(outcome, Outcome::Accepted { .. }) {
            self.shared.metrics.accepted();
        }
        self.shared.lines.tell(armed.id(), self.provider.name(), &outgoing, &shown, took);
        let (changed, open) = {
            let mut circuit = self.provider.circuit();
            (circuit.record(&shown, Instant::now()), circuit.is_open())
        };
        if changed && open {
            error!(
                provider.name = self.provider.name(),
                outcome = shown.word(),
                detail = shown.detail(),
                "the provider is not asked for a while; messages wait"
            );
        } else if changed {
            info!(provider.name = self.provider.name(), "the provider takes messages again");
        }
        let rules = RetryRules { first_look: self.first_look(), ..self.shared.retry.clone() };
        armed.answered(outcome, self.provider.name(), open, &rules)
    }

    /// Writes down what came of an attempt, before anything else is done about it.
    fn remember(&self, armed: &Armed, outcome: &Outcome) {
        crash::point(crash::AFTER_ANSWER);
        let lease = armed.lease();
        if lease.segment.is_some() {
            let key = Key { id: lease.id, token: lease.token };
            self.shared.journal.answered(Answered { key, outcome: outcome.clone() });
        }
        crash::point(crash::AFTER_JOURNAL_ANSWER);
        let attempt = armed.row().doubt.unwrap_or(lease.attempt);
        match Memory::of(Some(outcome), self.provider.name(), attempt) {
            Some(memory) => {
                let created_us = armed.row().created_at.as_microsecond();
                self.shared.recall.remember(lease.id, created_us, lease.attempt, memory);
            }
            None => self.shared.recall.forget(lease.id),
        }
    }

    /// When a message in doubt is looked at first: soon where the provider can be asked or told again, otherwise when the wait for
    /// proof is over.
    fn first_look(&self) -> Duration {
        if self.provider.can_look_up() || self.provider.deduplicates() {
            FIRST_LOOK
        } else {
            self.settings.unknown_wait.min(LOOK_AGAIN)
        }
    }
}

/// A panic of a sender is passed on: the claimer stops the daemon.
fn passed_on(ended: Result<(), tokio::task::JoinError>) {
    if let Err(panic) = ended {
        std::panic::resume_unwind(panic.into_panic());
    }
}
