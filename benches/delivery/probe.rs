//! Single messages, and how long each takes from the answer to its COMMIT until the whole request is at the gateway.
//!
//! The application's own wait ends with that answer, so this is what the path through the outbox adds. Both moments come from the
//! same clock. Each message has a number of its own, and nobody asks the gateway anything while samples are taken.

use std::collections::HashMap;
use std::time::Duration;

use crate::process::now_us;
use crate::report::no_result;
use crate::stage::{Garage, Stage};

/// Pause between two messages.
pub const GAP: Duration = Duration::from_millis(50);

#[derive(Debug, Clone, Copy)]
pub enum Event {
    /// A free text, to number `first`, `first + 1`, ...
    Custom,
    /// The service of that number becomes completed.
    Service,
}

/// Sends samples until `count` or until told to stop, and returns the milliseconds of each.
pub async fn probe(
    stage: &Stage,
    garage: &Garage,
    event: Event,
    first: usize,
    count: usize,
    mut go_on: impl AsyncFnMut() -> bool,
) -> Vec<f64> {
    let statement = match event {
        Event::Custom => {
            "INSERT INTO sms_outbox (kind, recipient, body) VALUES ('custom', '20' || lpad(($1::bigint)::text, 6, '0'), 'Bonjour')"
        }
        Event::Service => {
            "UPDATE core_service SET status = 'completed', completed_date = now(), updated_at = now() WHERE id = $1::bigint"
        }
    };
    let statement = garage.sql.prepare(statement).await.unwrap();
    let mut committed = HashMap::new();
    for number in first..first + count {
        tokio::time::sleep(GAP).await;
        if !go_on().await {
            break;
        }
        garage.sql.execute(&statement, &[&(number as i64)]).await.unwrap();
        committed.insert(number, now_us());
    }
    let mut arrivals = Vec::new();
    for _ in 0..600 {
        arrivals = stage.gateway.arrivals(first, first + count).await;
        if arrivals.len() >= committed.len() {
            break;
        }
        tokio::time::sleep(GAP).await;
    }
    if arrivals.len() != committed.len() {
        no_result(&format!("{} messages, {} requests", committed.len(), arrivals.len()));
    }
    let waits = arrivals.iter().filter_map(|(number, at)| Some((at - committed.get(number)?) as f64 / 1000.0));
    waits.collect()
}
