//! How long a message takes when nothing else happens, when wake-ups do not come through, and beside a backlog.

use std::time::Duration;

use crate::drain::{Kind, enqueue};
use crate::probe::{Event, probe};
use crate::report::{Bar, against, figure, no_result, percentile, progress, samples};
use crate::size::Size;
use crate::stage::{Settings, Stage};

/// Numbers of the backlog start here, above those of the samples.
const BACKLOG_FROM: usize = 10_000;

pub async fn run(size: Size) {
    let count = size.of(300, 40);
    let stage = Stage::set(true, size.of(2_000, 500)).await;

    progress(&format!("{count} single messages"));
    let garage = stage.garage().await;
    let daemon = stage.daemon(&garage, &Settings::default(), Duration::ZERO).await;
    let waits = probe(&stage, &garage, Event::Custom, 0, count, async || true).await;
    samples("idle, one free text each 50 ms", &waits, "ms");
    against("idle: median", percentile(&waits, 50), "ms", Bar::AtMost(1.5));
    against("idle: p99", percentile(&waits, 99), "ms", Bar::AtMost(5.0));
    stage.gateway.reset(Duration::ZERO).await;
    let waits = probe(&stage, &garage, Event::Service, 1, count, async || true).await;
    samples("idle, one completed service each 50 ms", &waits, "ms");
    daemon.end().await;

    progress("by polling alone");
    let config = "[database]\nlisten = false\n[sending]\npoll_interval = \"250ms\"\n";
    let daemon = stage.daemon(&garage, &Settings { config, ..Settings::default() }, Duration::ZERO).await;
    let waits = probe(&stage, &garage, Event::Custom, 0, count, async || true).await;
    samples("by polling alone, each 250 ms", &waits, "ms");
    daemon.end().await;

    let backlog = size.of(100_000, 10_000);
    progress(&format!("a backlog of {backlog} bulk messages, completed services beside it"));
    let garage = stage.garage().await;
    enqueue(&garage, Kind::Campaign, BACKLOG_FROM, backlog).await;
    garage.run("VACUUM ANALYZE sms_outbox").await;
    stage.gateway.reset(Duration::ZERO).await;
    let daemon = stage.spawn(&garage, &Settings::default());
    stage.received(1).await;
    let waits =
        probe(&stage, &garage, Event::Service, 1, size.of(2_000, 500), async || stage.gateway.count().await < backlog)
            .await;
    stage.received(backlog + waits.len()).await;
    let stats = stage.gateway.stats().await;
    if stats.hits != backlog + waits.len() || stats.distinct != stats.hits {
        no_result(&format!("{} + {} messages, {} requests", backlog, waits.len(), stats.hits));
    }
    figure(
        "the backlog's rate meanwhile",
        backlog as f64 * 1e6 / (stats.last_us - stats.first_us) as f64,
        "messages/s",
    );
    samples("completed services beside the backlog", &waits, "ms");
    against("beside the backlog: p99", percentile(&waits, 99), "ms", Bar::AtMost(50.0));
    daemon.end().await;
    stage.end().await;
}
