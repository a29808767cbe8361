//! How fast a backlog leaves: free texts, and completed services with all that belongs to them, in turns.

use std::time::Duration;

use crate::drain::{Drain, Kind, drain};
use crate::report::{Bar, against, median, progress, runs};
use crate::size::Size;
use crate::stage::{Settings, Stage};

/// The least that the rate of completed services may be of the rate of free texts.
const SERVICE_BAR: f64 = 0.75;

pub async fn run(size: Size) {
    let messages = size.of(40_000, 4_000);
    let stage = Stage::set(true, messages).await;
    let (mut custom, mut service) = (Vec::new(), Vec::new());
    for round in 1..=size.of(3, 1) {
        for (kind, all) in [(Kind::Custom, &mut custom), (Kind::Service, &mut service)] {
            progress(&format!("round {round}: {messages} {kind:?}"));
            let garage = stage.garage().await;
            all.push(drain(&stage, &garage, &Settings::default(), Duration::ZERO, kind, messages).await);
        }
    }
    let each = |all: &[Drain], part: fn(&Drain) -> f64| all.iter().map(part).collect::<Vec<_>>();
    for (name, all) in [("custom", &custom), ("service_completed", &service)] {
        runs(&format!("{name}: {messages} messages"), &each(all, |run| run.rate), "messages/s");
        runs(&format!("{name}: CPU of the daemon"), &each(all, |run| run.daemon_us), "µs a message");
        runs(&format!("{name}: CPU of PostgreSQL"), &each(all, |run| run.server_us), "µs a message");
        runs(&format!("{name}: most resident"), &each(all, |run| run.peak_mib), "MiB");
    }
    let rate = |all: &[Drain]| median(&each(all, |run| run.rate));
    against("service_completed / custom", rate(&service) / rate(&custom), "", Bar::AtLeast(SERVICE_BAR));
    stage.end().await;
}
