//! What the daemon costs while nothing happens, how soon it works after a start, and how much memory a large queue takes.

use std::path::Path;
use std::time::Duration;

use crate::drain::{Kind, drain, enqueue};
use crate::process::{cpu_us, family_cpu_us, memory_mib};
use crate::report::{Bar, against, figure, median, no_result, progress, runs};
use crate::size::Size;
use crate::stage::{LOOK, Settings, Stage, number};

/// Until a daemon that has just sent something is at rest.
const SETTLE: Duration = Duration::from_secs(5);

pub async fn run(size: Size) {
    let stage = Stage::set(true, 1).await;
    rest(&stage, size).await;
    starts(&stage, size).await;
    crowd(&stage, size).await;
    let bytes = std::fs::metadata(Path::new(env!("CARGO_BIN_EXE_ecar-sms"))).unwrap().len();
    against("the program's file, stripped", bytes as f64 / 1e6, "MB", Bar::AtMost(20.0));
    stage.end().await;
}

async fn rest(stage: &Stage, size: Size) {
    let seconds = size.of(20, 3);
    progress(&format!("{seconds} s of nothing"));
    let garage = stage.garage().await;
    let observer = stage.observer().await;
    let transactions =
        format!("SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = '{}'", garage.name);
    let daemon = stage.daemon(&garage, &Settings::default(), Duration::ZERO).await;
    garage.run("SELECT pg_stat_force_next_flush()").await;
    tokio::time::sleep(SETTLE).await;
    let before = (number(&observer, &transactions).await, cpu_us(daemon.pid), family_cpu_us(stage.server.pid()));
    tokio::time::sleep(Duration::from_secs(seconds as u64)).await;
    let after = (number(&observer, &transactions).await, cpu_us(daemon.pid), family_cpu_us(stage.server.pid()));
    let span = seconds as f64;
    against("CPU of the daemon", (after.1 - before.1) / span / 10_000.0, "% of a core", Bar::AtMost(0.2));
    figure("CPU of PostgreSQL, its own housekeeping included", (after.2 - before.2) / span / 10_000.0, "% of a core");
    against("transactions", (after.0 - before.0) / span, "a second", Bar::AtMost(2.0));
    let connections = format!("SELECT count(*) - 1 FROM pg_stat_activity WHERE datname = '{}'", garage.name);
    figure("connections", number(&observer, &connections).await, "");
    against("resident", memory_mib(daemon.pid, "VmRSS"), "MiB", Bar::AtMost(12.0));
    daemon.end().await;
    let daemon = stage.spawn(&garage, &Settings::default());
    stage.gateway.reset(Duration::ZERO).await;
    let messages = size.of(40_000, 4_000);
    enqueue(&garage, Kind::Custom, 1, messages).await;
    stage.received(messages).await;
    tokio::time::sleep(SETTLE).await;
    figure(&format!("resident, at rest again after {messages} messages"), memory_mib(daemon.pid, "VmRSS"), "MiB");
    daemon.end().await;
}

/// From the start of the process to the first request, with one message queued.
async fn starts(stage: &Stage, size: Size) {
    progress("starts");
    let garage = stage.garage().await;
    // The first start finds cold caches everywhere.
    drain(stage, &garage, &Settings::default(), Duration::ZERO, Kind::Custom, 100).await;
    let mut waits = Vec::new();
    for start in 0..size.of(7, 2) {
        stage.gateway.reset(Duration::ZERO).await;
        enqueue(&garage, Kind::Custom, start, 1).await;
        let daemon = stage.spawn(&garage, &Settings::default());
        stage.received(1).await;
        waits.push((stage.gateway.at(0).await - daemon.spawned_us) as f64 / 1000.0);
        daemon.end().await;
    }
    runs("start to the first request", &waits, "ms");
    against("start to the first request: median", median(&waits), "ms", Bar::AtMost(150.0));
}

/// Memory at full rate with a million rows waiting.
async fn crowd(stage: &Stage, size: Size) {
    let rows = size.of(1_000_000, 20_000);
    progress(&format!("{rows} rows queued"));
    let garage = stage.garage().await;
    for part in 0..10 {
        enqueue(&garage, Kind::Custom, part * rows / 10, rows / 10).await;
    }
    garage.run("VACUUM ANALYZE sms_outbox").await;
    stage.gateway.reset(Duration::ZERO).await;
    let daemon = stage.spawn(&garage, &Settings::default());
    let enough = size.of(100_000, 10_000);
    while stage.gateway.count().await < enough {
        tokio::time::sleep(LOOK).await;
    }
    let peak = memory_mib(daemon.pid, "VmHWM");
    daemon.end().await;
    let stats = stage.gateway.stats().await;
    if stats.distinct != stats.hits {
        no_result(&format!("{} requests for {} messages", stats.hits, stats.distinct));
    }
    against(&format!("most resident, {rows} rows queued, {enough} sent"), peak, "MiB", Bar::AtMost(48.0));
    let sent = garage.number("SELECT count(*) FROM sms_history WHERE status = 'sent'").await;
    if sent < stats.hits as f64 {
        no_result(&format!("{} requests, {sent} recorded as sent", stats.hits));
    }
}
