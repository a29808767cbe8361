//! A backlog, and what it costs to bring it to the gateway: the measure of throughput, cost, and several daemons.
//!
//! The rate is taken from the first to the last arrival at the gateway. A run in which a message was lost, came twice or was
//! not recorded as sent is reported as none.

use std::time::Duration;

use crate::process::{cpu_us, family_cpu_us, memory_mib};
use crate::report::{no_result, progress};
use crate::stage::{Daemon, Garage, Settings, Stage, until};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Free texts: number and body stand in the row.
    Custom,
    /// Services that become completed: the trigger writes the row, facts are read, the text is made, the number normalised.
    Service,
    /// Bulk messages.
    Campaign,
}

/// As long as the text of a completed service.
const BODY: &str =
    "Bonjour Sami, votre service pour Kia Rio est terminé. Merci de nous contacter pour récupérer votre véhicule.";

/// Makes messages to the numbers `first` to `first + count - 1`; services must be in work.
pub async fn enqueue(garage: &Garage, kind: Kind, first: usize, count: usize) {
    let last = first + count - 1;
    let text = |kind: &str| {
        format!(
            "INSERT INTO sms_outbox (kind, recipient, body) SELECT '{kind}', '20 ' || lpad((i / 1000)::text, 3, '0') || ' ' || lpad((i % 1000)::text, 3, '0'), '{BODY}' FROM generate_series({first}, {last}) i"
        )
    };
    let statement = match kind {
        Kind::Custom => text("custom"),
        Kind::Campaign => text("campaign"),
        Kind::Service => format!(
            "UPDATE core_service SET status = 'completed', completed_date = now(), updated_at = now() WHERE id BETWEEN {first} AND {last}"
        ),
    };
    if kind == Kind::Campaign {
        // At any hour, and without the consent of a million made-up customers.
        garage.run("SELECT sms_set('campaign.category', 'service'); UPDATE sms_setting SET value = '00:00-24:00' WHERE unit = 'hours'").await;
    }
    garage.run(&statement).await;
}

/// One run.
#[derive(Debug, Clone, Copy)]
pub struct Drain {
    /// Messages a second from the first to the last arrival.
    pub rate: f64,
    /// Seconds from the first to the last arrival.
    pub span_s: f64,
    /// CPU of all daemons, their start included, in microseconds a message.
    pub daemon_us: f64,
    /// CPU of the server in microseconds a message.
    pub server_us: f64,
    /// Most resident memory of a daemon.
    pub peak_mib: f64,
    /// Row versions a message, without the one that enqueued it.
    pub versions: f64,
    /// Commits and rollbacks for a hundred messages; ours taken off.
    pub commits: f64,
    /// Bytes of write-ahead log a message.
    pub wal: f64,
    /// Most requests at once that the gateway had not answered; tells something only when it waits with its answers.
    pub most_in_flight: usize,
}

/// Versions of rows written so far (the beat of the daemons apart: it goes by time), transactions ended, and bytes of
/// write-ahead log.
struct Counters {
    versions: f64,
    transactions: f64,
    wal: f64,
}

/// Four transactions of ours.
async fn counters(garage: &Garage) -> Counters {
    garage.run("SELECT pg_stat_force_next_flush()").await;
    Counters {
        versions: garage
            .number("SELECT sum(n_tup_ins + n_tup_upd) FROM pg_stat_user_tables WHERE relname LIKE 'sms\\_%' AND relname <> 'sms_owner'")
            .await,
        transactions: garage
            .number("SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()")
            .await,
        wal: garage.number("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')").await,
    }
}

/// Enqueues, then starts one daemon, and waits until everything is sent and recorded.
pub async fn drain(
    stage: &Stage,
    garage: &Garage,
    settings: &Settings,
    delay: Duration,
    kind: Kind,
    count: usize,
) -> Drain {
    stage.gateway.reset(delay).await;
    let before_id = last_id(garage).await;
    enqueue(garage, kind, 1, count).await;
    garage.run("VACUUM ANALYZE sms_outbox").await;
    garage.run("CHECKPOINT").await;
    let before = counters(garage).await;
    let server_cpu = family_cpu_us(stage.server.pid());
    let daemon = stage.spawn(garage, settings);
    finish(stage, garage, vec![daemon], &before, server_cpu, before_id, count).await
}

/// Starts several daemons, waits until they know of each other, then enqueues free texts in one transaction.
pub async fn drain_shared(stage: &Stage, garage: &Garage, settings: &Settings, daemons: usize, count: usize) -> Drain {
    stage.gateway.reset(Duration::ZERO).await;
    let running: Vec<Daemon> = (0..daemons).map(|_| stage.spawn(garage, settings)).collect();
    let beating =
        format!("SELECT count(*) = {daemons} FROM sms_owner WHERE seen_at > '-infinity' AND ended_at IS NULL");
    assert!(until(garage, &beating).await.is_some(), "{daemons} daemons did not start");
    // A newcomer that finds others waits 5 s; shares are dealt out every 2 s.
    tokio::time::sleep(Duration::from_secs(8)).await;
    let before_id = last_id(garage).await;
    let before = counters(garage).await;
    let server_cpu = family_cpu_us(stage.server.pid());
    enqueue(garage, Kind::Custom, 1, count).await;
    finish(stage, garage, running, &before, server_cpu, before_id, count).await
}

async fn last_id(garage: &Garage) -> f64 {
    garage.number("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM sms_outbox_id_seq").await
}

async fn finish(
    stage: &Stage,
    garage: &Garage,
    daemons: Vec<Daemon>,
    before: &Counters,
    server_cpu: f64,
    before_id: f64,
    count: usize,
) -> Drain {
    stage.received(count).await;
    let recorded = format!("SELECT count(*) = {count} FROM sms_history WHERE id > {before_id} AND status = 'sent'");
    let looks = until(garage, &recorded).await;
    let messages = count as f64;
    let server_us = (family_cpu_us(stage.server.pid()) - server_cpu) / messages;
    let daemon_us = daemons.iter().map(|daemon| cpu_us(daemon.pid)).sum::<f64>() / messages;
    let peak_mib = daemons.iter().map(|daemon| memory_mib(daemon.pid, "VmHWM")).fold(0.0, f64::max);
    for daemon in daemons {
        daemon.end().await;
    }
    let after = counters(garage).await;
    let stats = stage.gateway.stats().await;
    if stats.hits != count || stats.distinct != count {
        no_result(&format!("{count} messages, {} requests, {} numbers", stats.hits, stats.distinct));
    }
    if looks.is_none() {
        no_result("not every message was recorded as sent");
    }
    let span_s = (stats.last_us - stats.first_us) as f64 / 1e6;
    // Ours: the looks, and what counters() ran between the two readings of transactions.
    let ours = looks.unwrap_or_default() + 4.0;
    let run = Drain {
        rate: messages / span_s,
        span_s,
        daemon_us,
        server_us,
        peak_mib,
        versions: (after.versions - before.versions) / messages,
        commits: (after.transactions - before.transactions - ours) / messages * 100.0,
        wal: (after.wal - before.wal) / messages,
        most_in_flight: stats.most_in_flight,
    };
    progress(&format!("  {:.0} messages a second", run.rate));
    run
}
