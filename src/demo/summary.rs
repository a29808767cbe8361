//! The day in numbers, and whether they are as they must be.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::message::Message;
use super::screen::Screen;
use super::stage::Stage;

/// Counts, prints, and judges.
///
/// # Errors
/// The gateway took another number of messages than are recorded as sent; or the database's.
pub async fn summarise(stage: &Stage, screen: &Screen) -> Result<()> {
    let messages = stage.messages(0).await?;
    let sent: Vec<&Message> = messages.iter().filter(|message| message.was_sent()).collect();
    let retried = sent.iter().filter(|message| message.attempts > 1).count();
    let segments: u64 = sent.iter().map(|message| message.segments).sum();
    let mut silent: BTreeMap<String, usize> = BTreeMap::new();
    for message in messages.iter().filter(|message| !message.was_sent()) {
        let why = message.reason.as_deref().unwrap_or("no reason");
        *silent.entry(format!("{}: {why}", message.status)).or_default() += 1;
    }
    let accepted = stage.gateway().stats().totals.accepted;
    let recorded = sent.len() as u64;
    let delays = sent
        .iter()
        .filter_map(|message| {
            let gap_us = stage.received(message)?.at_us() - message.created_at_us;
            Some(Duration::from_micros(u64::try_from(gap_us).unwrap_or_default()))
        })
        .collect();

    screen.heading("The day in numbers")?;
    screen.fact("sent", &format!("{recorded} texts, {segments} segments"))?;
    for (why, count) in &silent {
        let (status, reason) = why.split_once(": ").unwrap_or((why, ""));
        screen.fact(status, &format!("{count} ({reason})"))?;
    }
    screen.fact("retried", &format!("{retried} (the gateway had asked for a pause)"))?;
    let twice = accepted.saturating_sub(recorded);
    screen.fact("sent twice", &format!("{twice} (the gateway took {accepted}, recorded as sent {recorded})"))?;
    if let Some(median) = median(delays) {
        let ms = median.as_secs_f64() * 1_000.0;
        screen.fact(
            "event to gateway",
            &format!("{ms:.1} ms (median, from the row's creation to the request's arrival)"),
        )?;
    }
    ensure!(accepted == recorded, "the gateway took {accepted} messages, but {recorded} are recorded as sent");
    Ok(())
}

/// The middle one; of an even number, the later of the two.
fn median(mut values: Vec<Duration>) -> Option<Duration> {
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one_in_order_of_size() {
        let of = |values: &[u64]| median(values.iter().map(|ms| Duration::from_millis(*ms)).collect());
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[9, 1, 5]), Some(Duration::from_millis(5)));
        assert_eq!(of(&[2, 1]), Some(Duration::from_millis(2)));
    }
}
