//! Gateways that set the pace: one that takes 200 ms for an answer, and one that takes 50 messages a second.

use std::time::Duration;

use crate::drain::{Kind, drain};
use crate::report::{Bar, against, figure, progress};
use crate::size::Size;
use crate::stage::{Settings, Stage};

const DELAY: Duration = Duration::from_millis(200);
const CONNECTIONS: usize = 400;
const RATE: f64 = 50.0;

pub async fn run(size: Size) {
    let stage = Stage::set(true, 1).await;

    let messages = size.of(20_000, 4_000);
    progress(&format!("{messages} messages at {CONNECTIONS} requests of 200 ms at once"));
    let garage = stage.garage().await;
    let settings = Settings { concurrency: CONNECTIONS, ..Settings::default() };
    let run = drain(&stage, &garage, &settings, DELAY, Kind::Custom, messages).await;
    // The first requests all leave at once; from then on one leaves for each that is answered.
    let rate = (messages - CONNECTIONS) as f64 / run.span_s;
    let possible = CONNECTIONS as f64 / DELAY.as_secs_f64();
    figure("200 ms, 400 connections: after the first 400", rate, "messages/s");
    figure("200 ms: most requests at once", run.most_in_flight as f64, "");
    against("of what is possible (2000/s)", rate / possible, "", Bar::AtLeast(0.97));

    let messages = size.of(1_500, 150);
    progress(&format!("{messages} messages at {RATE} a second"));
    let garage = stage.garage().await;
    let settings = Settings { rate: Some(RATE), ..Settings::default() };
    let run = drain(&stage, &garage, &settings, Duration::ZERO, Kind::Custom, messages).await;
    let rate = (messages - 1) as f64 / run.span_s;
    figure("limit of 50 a second: rate", rate, "messages/s");
    against("difference from the limit", (rate / RATE - 1.0).abs() * 100.0, "%", Bar::AtMost(1.0));
    let mut arrivals: Vec<i64> = stage.gateway.arrivals(0, messages + 1).await.iter().map(|(_, at)| *at).collect();
    arrivals.sort_unstable();
    let seconds = run.span_s.floor() as usize;
    let mut counts = vec![0_u32; seconds];
    for at in &arrivals {
        let second = ((at - arrivals[0]) / 1_000_000) as usize;
        if let Some(count) = counts.get_mut(second) {
            *count += 1;
        }
    }
    let gaps: Vec<f64> = arrivals.windows(2).map(|two| (two[1] - two[0]) as f64 / 1000.0).collect();
    figure("fewest in a whole second", f64::from(counts.iter().min().copied().unwrap_or(0)), "messages");
    figure("most in a whole second", f64::from(counts.iter().max().copied().unwrap_or(0)), "messages");
    figure("longest gap between two (20 ms if perfectly even)", gaps.iter().copied().fold(0.0, f64::max), "ms");
    figure("shortest gap", gaps.iter().copied().fold(f64::MAX, f64::min), "ms");
    stage.end().await;
}
