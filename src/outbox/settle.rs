//! Writes results. One task owns it.
//!
//! It writes as many results as have come in while it was writing the last ones, and waits a few milliseconds for those that are on
//! their way: the last one under way is written at once. A batch is one or two statements, each fenced by the token of the claim and each
//! harmless when run again after its answer was lost.
//!
//! When a write fails the results are kept and written again until it works, and [`Settler::blocked`] tells the claimer to
//! claim nothing meanwhile. When the server refuses a batch, its results are written one by one, so that one that the
//! server cannot take never keeps the others back.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::lease::{Lease, Rendered};
use super::ledger::Ledger;
use super::result::{Finished, Postponement, Settlement};
use crate::crash;
use crate::db::{Database, DbError, Row, field, statement};
use crate::journal::Journal;
use crate::message::reason::Reason;
use crate::metrics::Metrics;
use crate::provider::Providers;

/// Results written by one statement at most.
const BATCH_LIMIT: usize = 1_000;

/// How long results wait for others that are on their way, so that one statement writes them all.
const GATHER: Duration = Duration::from_millis(4);

/// Results that are worth a statement of their own.
const ENOUGH: usize = 200;

/// Results that may wait for the settler; senders wait when it is full. More than ever are in flight at once.
const WAITING_LIMIT: usize = 20_000;

/// Pauses between attempts to write.
const RETRY_PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// What happened to a message, for whoever waits for its result.
#[derive(Debug, Clone, Copy)]
pub struct Recorded {
    /// The message.
    pub id: i64,
}

/// The settler's side that senders and the claimer hold.
#[derive(Debug, Clone)]
pub struct Settler {
    results: mpsc::Sender<Finished>,
    blocked: Arc<AtomicBool>,
}

impl Settler {
    /// Hands a result over. Waits while too many are waiting.
    pub async fn record(&self, finished: Finished) {
        if let Err(lost) = self.results.send(finished).await {
            // The settler ends only after all senders: see `Task::run`.
            error!(
                msg.id = lost.0.lease().id,
                "a result came after the settler had ended; its lease will run out and it becomes unknown"
            );
        }
    }

    /// The same without waiting; while too many are waiting the result comes back.
    pub fn try_record(&self, finished: Finished) -> Result<(), Finished> {
        match self.results.try_send(finished) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(finished) | TrySendError::Closed(finished)) => Err(finished),
        }
    }

    /// Whether results cannot be written just now.
    pub fn blocked(&self) -> bool {
        self.blocked.load(Ordering::Relaxed)
    }

    /// The same, for whoever must not keep the settler alive.
    pub fn blocked_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.blocked)
    }
}

/// The task.
pub struct Task {
    /// The database.
    pub database: Database,
    /// Open claims.
    pub ledger: Arc<Ledger>,
    /// Told of what is settled.
    pub journal: Arc<Journal>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Our owner number.
    pub owner: Arc<AtomicI32>,
    /// Told of every result written.
    pub recorded: tokio::sync::broadcast::Sender<Recorded>,
    /// Who tells what became of a message.
    pub providers: watch::Receiver<Providers>,
    results: mpsc::Receiver<Finished>,
    blocked: Arc<AtomicBool>,
}

/// A settler and its task.
pub fn settler(
    database: Database,
    ledger: Arc<Ledger>,
    journal: Arc<Journal>,
    metrics: Arc<Metrics>,
    owner: Arc<AtomicI32>,
    recorded: tokio::sync::broadcast::Sender<Recorded>,
    providers: watch::Receiver<Providers>,
) -> (Settler, Task) {
    let (sender, results) = mpsc::channel(WAITING_LIMIT);
    let blocked = Arc::new(AtomicBool::new(false));
    let task =
        Task { database, ledger, journal, metrics, owner, recorded, providers, results, blocked: Arc::clone(&blocked) };
    (Settler { results: sender, blocked }, task)
}

impl Task {
    /// Writes results until every sender is gone and everything is written, or `give_up` says that there is no more time.
    /// Returns how many results could not be written.
    pub async fn run(mut self, give_up: CancellationToken) -> usize {
        let mut batch = Vec::new();
        while self.results.recv_many(&mut batch, BATCH_LIMIT).await > 0 {
            self.gather(&mut batch).await;
            let results = std::mem::take(&mut batch);
            tokio::select! {
                () = self.write_all(results) => {}
                () = give_up.cancelled() => {
                    error!("stopped before all results were written; the next start finds them in the journal, or has these messages in doubt");
                    return self.ledger.rows();
                }
            }
        }
        0
    }

    /// Waits a moment for further results, while any are still to come. The last one never waits.
    async fn gather(&mut self, batch: &mut Vec<Finished>) {
        let deadline = tokio::time::Instant::now() + GATHER;
        while batch.len() < ENOUGH && self.ledger.rows() > batch.len() {
            let room = BATCH_LIMIT - batch.len();
            match tokio::time::timeout_at(deadline, self.results.recv_many(batch, room)).await {
                Ok(received) if received > 0 => {}
                Ok(_) | Err(_) => return,
            }
        }
    }

    /// Writes a batch, however long it takes.
    async fn write_all(&self, results: Vec<Finished>) {
        let (mut settled, postponed) = split(results);
        self.expect_receipts(&mut settled);
        crash::point(crash::BEFORE_SETTLE);
        self.persist(&settled, write_settled, |it| &it.lease).await;
        self.persist(&postponed, write_postponed, |it| &it.lease).await;
        crash::point(crash::AFTER_SETTLE);
        for it in &settled {
            self.metrics.settled(it.kind.as_str(), it.status);
        }
        for id in settled.iter().map(|it| it.lease.id).chain(postponed.iter().map(|it| it.lease.id)) {
            // Nobody may be listening, which is fine.
            let _ = self.recorded.send(Recorded { id });
        }
    }

    /// Notes whose delivery receipt is to be expected.
    fn expect_receipts(&self, settled: &mut [Settlement]) {
        let providers = self.providers.borrow();
        for it in settled {
            let name = it.provider.as_deref().filter(|_| it.provider_message_id.is_some());
            let provider = name.and_then(|name| providers.iter().find(|provider| provider.name() == name));
            it.awaits = provider.and_then(|provider| provider.awaits_receipts());
        }
    }

    async fn persist<T, W>(&self, results: &[T], write: W, lease: impl Fn(&T) -> &Lease)
    where
        T: Evidence,
        W: AsyncFn(&Database, &[&T]) -> Result<HashSet<i64>, DbError>,
    {
        // Groups still to be written; a group that the server refuses is split into its members.
        let mut groups: Vec<Vec<&T>> = if results.is_empty() { Vec::new() } else { vec![results.iter().collect()] };
        let mut pause = RETRY_PAUSE.0;
        while let Some(group) = groups.pop() {
            match write(&self.database, &group).await {
                Ok(written) => {
                    if self.blocked.swap(false, Ordering::Relaxed) {
                        info!("results are written again");
                    }
                    pause = RETRY_PAUSE.0;
                    let lost: Vec<&T> = group.iter().filter(|it| !written.contains(&lease(it).id)).copied().collect();
                    if !lost.is_empty() {
                        self.keep_evidence(&lost).await;
                    }
                    for it in &group {
                        self.ledger.settled(lease(it).token);
                        self.journal.settled(lease(it).segment);
                    }
                }
                Err(DbError::Refused { message, .. }) if group.len() > 1 => {
                    warn!(
                        error = message,
                        results = group.len(),
                        "the server refused a batch of results; each is written alone"
                    );
                    groups.extend(group.into_iter().map(|it| vec![it]));
                }
                Err(problem) => {
                    if !self.blocked.swap(true, Ordering::Relaxed) {
                        error!(error = %problem, results = group.len(), "results cannot be written; nothing is claimed until they are");
                    }
                    groups.push(group);
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(RETRY_PAUSE.1);
                }
            }
        }
    }

    /// Rows that were no longer ours: another daemon took them for lost, or staff settled them.
    async fn keep_evidence<T: Evidence>(&self, lost: &[&T]) {
        let records: Vec<_> = lost.iter().filter_map(|it| it.record()).collect();
        if records.is_empty() {
            return;
        }
        let column = |pick: fn(&Record) -> Option<String>| records.iter().map(pick).collect::<Vec<_>>();
        let ids: Vec<i64> = records.iter().map(|record| record.0).collect();
        let attempts: Vec<i32> = records.iter().map(|record| record.1).collect();
        let result = self
            .database
            .query(
                &statement::EVIDENCE,
                &[
                    ("ids", &ids),
                    ("attempts", &attempts),
                    ("outcomes", &column(|record| Some(record.2.to_owned()))),
                    ("details", &column(|record| record.3.clone())),
                    ("providers", &column(|record| record.4.clone())),
                    ("provider_message_ids", &column(|record| record.5.clone())),
                    ("recipients", &column(|record| record.6.clone())),
                    ("bodies", &column(|record| record.7.clone())),
                    ("owner", &self.owner.load(Ordering::Relaxed)),
                ],
            )
            .await;
        match result {
            Ok(rows) => {
                for id in rows.iter().filter_map(|row| field::<i64>(row, "message_id").ok()) {
                    warn!(
                        msg.id = id,
                        "the result came too late: the message was no longer leased to this daemon; kept as an attempt"
                    );
                }
            }
            Err(problem) => error!(error = %problem, "the evidence of late results could not be kept"),
        }
    }
}

/// Id, attempt, outcome, detail, provider, provider's id, recipient, text.
type Record = (i64, i32, &'static str, Option<String>, Option<String>, Option<String>, Option<String>, Option<String>);

/// A result that can be kept as the record of an attempt, when a request was made.
trait Evidence {
    fn record(&self) -> Option<Record>;
}

impl Evidence for Settlement {
    fn record(&self) -> Option<Record> {
        let rendered = self.rendered.as_ref();
        Some((
            self.lease.id,
            self.lease.attempt,
            self.outcome?,
            self.detail.clone(),
            self.provider.clone(),
            self.provider_message_id.clone(),
            rendered.map(|it| it.recipient.clone()),
            rendered.map(|it| it.body.clone()),
        ))
    }
}

impl Evidence for Postponement {
    fn record(&self) -> Option<Record> {
        let attempt = self.attempt.as_ref()?;
        Some((
            self.lease.id,
            self.lease.attempt,
            attempt.outcome,
            self.detail.clone(),
            attempt.provider.clone(),
            None,
            attempt.rendered.as_ref().map(|it| it.recipient.clone()),
            attempt.rendered.as_ref().map(|it| it.body.clone()),
        ))
    }
}

fn split(results: Vec<Finished>) -> (Vec<Settlement>, Vec<Postponement>) {
    let mut settled = Vec::with_capacity(results.len());
    let mut postponed = Vec::new();
    for finished in results {
        match finished {
            Finished::Settled(it) => settled.push(*it),
            Finished::Postponed(it) => postponed.push(*it),
        }
    }
    (settled, postponed)
}

async fn write_settled(database: &Database, results: &[&Settlement]) -> Result<HashSet<i64>, DbError> {
    fn texts<'a>(results: &[&'a Settlement], pick: impl Fn(&'a Settlement) -> Option<&'a str>) -> Vec<Option<&'a str>> {
        results.iter().map(|it| pick(it)).collect()
    }
    fn recipient(settlement: &Settlement) -> Option<&str> {
        settlement.rendered.as_ref().map(|it| it.recipient.as_str()).or(settlement.recipient.as_deref())
    }
    let ids: Vec<i64> = results.iter().map(|it| it.lease.id).collect();
    let tokens: Vec<i64> = results.iter().map(|it| it.lease.token).collect();
    let segments: Vec<Option<i32>> = results
        .iter()
        .map(|it| it.charged_segments.or(it.rendered.as_ref().map(|rendered| rendered.segments)))
        .map(|segments| segments.and_then(|segments| i32::try_from(segments).ok()))
        .collect();
    let awaits: Vec<Option<i32>> =
        results.iter().map(|it| it.awaits.map(|wait| i32::try_from(wait.as_secs()).unwrap_or(i32::MAX))).collect();
    let versions: Vec<Option<i32>> =
        results.iter().map(|it| it.rendered.as_ref().and_then(|rendered| rendered.template_version)).collect();
    let rows = database
        .query(
            &statement::SETTLE,
            &[
                ("ids", &ids),
                ("tokens", &tokens),
                ("statuses", &texts(results, |it| Some(it.status))),
                ("reasons", &texts(results, |it| it.reason.map(Reason::as_str))),
                ("details", &texts(results, |it| it.detail.as_deref())),
                ("recipients", &texts(results, recipient)),
                ("langs", &texts(results, |it| it.rendered.as_ref().and_then(|it| it.lang.as_deref()))),
                ("bodies", &texts(results, |it| it.rendered.as_ref().map(|it| it.body.as_str()))),
                ("encodings", &texts(results, |it| it.rendered.as_ref().map(|it| it.encoding.as_str()))),
                ("segments", &segments),
                ("providers", &texts(results, |it| it.provider.as_deref())),
                ("provider_message_ids", &texts(results, |it| it.provider_message_id.as_deref())),
                ("template_versions", &versions),
                ("awaits_s", &awaits),
            ],
        )
        .await?;
    ids_of(&rows)
}

async fn write_postponed(database: &Database, results: &[&Postponement]) -> Result<HashSet<i64>, DbError> {
    fn rendered(postponement: &Postponement) -> Option<&Rendered> {
        postponement.attempt.as_ref().and_then(|attempt| attempt.rendered.as_ref())
    }
    fn texts<'a>(
        results: &[&'a Postponement],
        pick: impl Fn(&'a Postponement) -> Option<&'a str>,
    ) -> Vec<Option<&'a str>> {
        results.iter().map(|it| pick(it)).collect()
    }
    let ids: Vec<i64> = results.iter().map(|it| it.lease.id).collect();
    let tokens: Vec<i64> = results.iter().map(|it| it.lease.token).collect();
    let waits: Vec<i64> = results
        .iter()
        .map(|it| it.wait.map_or(-1, |wait| i64::try_from(wait.as_micros()).unwrap_or(i64::MAX / 2)))
        .collect();
    // A claim without a request is taken back as if it had not been.
    let uncounts: Vec<i32> = results.iter().map(|it| i32::from(it.attempt.is_none())).collect();
    let failed: Vec<i32> = results.iter().map(|it| i32::from(it.failed)).collect();
    let segments: Vec<Option<i32>> =
        results.iter().map(|it| rendered(it).and_then(|it| i32::try_from(it.segments).ok())).collect();
    let doubts: Vec<Option<i32>> = results.iter().map(|it| it.doubt.as_ref().map(|(attempt, _)| *attempt)).collect();
    let hours: Vec<Option<i64>> = results.iter().map(|it| it.hours).collect();
    let rows = database
        .query(
            &statement::POSTPONE,
            &[
                ("ids", &ids),
                ("tokens", &tokens),
                ("states", &texts(results, |it| Some(it.state))),
                ("waits_us", &waits),
                ("uncounts", &uncounts),
                ("failed", &failed),
                ("reasons", &texts(results, |it| Some(it.reason.as_str()))),
                ("details", &texts(results, |it| it.detail.as_deref())),
                ("observed", &texts(results, |it| it.observed.as_deref())),
                ("recipients", &texts(results, |it| rendered(it).map(|it| it.recipient.as_str()))),
                ("bodies", &texts(results, |it| rendered(it).map(|it| it.body.as_str()))),
                ("encodings", &texts(results, |it| rendered(it).map(|it| it.encoding.as_str()))),
                ("segments", &segments),
                ("providers", &texts(results, |it| it.attempt.as_ref().and_then(|it| it.provider.as_deref()))),
                ("outcomes", &texts(results, |it| it.attempt.as_ref().map(|it| it.outcome))),
                ("doubts", &doubts),
                ("doubt_providers", &texts(results, |it| it.doubt.as_ref().map(|(_, provider)| provider.as_str()))),
                ("hours", &hours),
            ],
        )
        .await?;
    ids_of(&rows)
}

fn ids_of(rows: &[Row]) -> Result<HashSet<i64>, DbError> {
    let ids = rows.iter().map(|row| field(row, "id")).collect::<Result<HashSet<i64>, _>>()?;
    debug!(results = ids.len(), "results written");
    Ok(ids)
}
