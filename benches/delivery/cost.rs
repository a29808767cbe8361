//! What PostgreSQL has to do for each message at full rate: counts, not times.

use std::time::Duration;

use crate::drain::{Kind, drain};
use crate::report::{Bar, against, figure, note, progress};
use crate::size::Size;
use crate::stage::{Settings, Stage};

/// The row that the application writes.
const ENQUEUED: f64 = 1.0;

pub async fn run(size: Size) {
    let messages = size.of(40_000, 4_000);
    let stage = Stage::set(true, messages).await;
    for (name, kind) in [("custom", Kind::Custom), ("service_completed", Kind::Service)] {
        progress(&format!("{messages} {name}"));
        let garage = stage.garage().await;
        let run = drain(&stage, &garage, &Settings::default(), Duration::ZERO, kind, messages).await;
        figure(&format!("{name}: row versions, the enqueueing insert apart"), run.versions, "a message");
        against(&format!("{name}: row versions in all"), run.versions + ENQUEUED, "a message", Bar::AtMost(3.0));
        against(&format!("{name}: transactions"), run.commits, "for 100 messages", Bar::AtMost(2.0));
        figure(&format!("{name}: write-ahead log, without the enqueueing"), run.wal, "bytes a message");
    }
    note(
        "(row versions: rows inserted and updated in tables sms_*; transactions: all of the database but the bench's own)",
    );
    stage.end().await;
}
