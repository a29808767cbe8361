//! `status`, `pause`, `resume`, `reload`.

use hyper::Method;
use jiff::tz::TimeZone;
use serde_json::Value;

use super::client::Client;
use super::exit::{Exit, Failure};
use super::{output, providers, when};
use crate::control::status::Status;

/// How the daemon and its queue are. Exit 1 when something is wrong.
///
/// # Errors
/// As the client's.
pub async fn status(client: &Client, json: bool, zone: &TimeZone) -> Result<Exit, Failure> {
    let answer: Value = client.ask(Method::GET, "/v1/status", None).await?;
    let status: Status = serde_json::from_value(answer.clone()).map_err(Failure::failed)?;
    if json {
        output::json(&answer);
    } else {
        print(&status, zone);
    }
    Ok(if status.healthy { Exit::Done } else { Exit::Failed })
}

fn print(status: &Status, zone: &TimeZone) {
    let line = |label: &str, text: &str| output::say(&format!("{label:<11}{text}"));
    let headline = match (status.healthy, status.paused) {
        (true, false) => "well",
        (true, true) => "paused by setting: messages wait (ecar-sms resume)",
        (false, _) => "NOT WELL",
    };
    line(
        "daemon",
        &format!(
            "{headline}; version {}, pid {}, since {}",
            status.version,
            status.pid,
            when::show(status.started_at, zone)
        ),
    );
    for problem in &status.problems {
        line("problem", &output::visible(problem));
    }
    for note in &status.notes {
        line("note", note);
    }
    line("wake-ups", &output::visible(&status.wake));
    match &status.queue {
        Some(queue) => {
            let more = if queue.counts_are_capped { " (counted to 100000)" } else { "" };
            line(
                "queue",
                &format!(
                    "{} due, {} scheduled, {} being sent, {} held, {} in doubt, {} bulk{more}",
                    queue.due, queue.scheduled, queue.sending, queue.held, queue.unknown, queue.bulk
                ),
            );
            if let Some(age) = queue.oldest_due_s {
                line("oldest", &format!("due for {age:.1} s"));
            }
        }
        None => line("queue", "not known: the database is out of reach"),
    }
    for held in &status.held {
        let word = output::visible(&held.reason);
        let mend = if word.is_empty() {
            "ecar-sms list --status held".to_owned()
        } else {
            format!("{word}: ecar-sms release --reason {word}, or cancel --reason {word}")
        };
        line("held", &format!("{} {mend}", held.messages));
    }
    for missed in &status.missed {
        let doubt = if missed.certain { "" } else { " (perhaps: the garage wrote no time)" };
        let (kind, id) = (output::visible(&missed.kind), missed.source_id);
        line("missed", &format!("{kind} {id} made no message, {}{doubt}", when::show(missed.at, zone)));
    }
    if status.missed_events > status.missed.len() {
        line("missed", &format!("and {} more", status.missed_events - status.missed.len()));
    }
    line("rate", &format!("{} messages in the last minute", status.sent_last_minute));
    let today: Vec<String> =
        status.today.iter().map(|it| format!("{} {} ({} segments)", it.messages, it.status, it.segments)).collect();
    line("today", &if today.is_empty() { "nothing yet".to_owned() } else { today.join(", ") });
    for provider in &status.providers {
        let state = output::visible(&providers::state(provider));
        let credit = match &provider.credit {
            Some(_) => format!("; credit {}", output::visible(&providers::credit(provider))),
            None => String::new(),
        };
        line(
            "provider",
            &format!(
                "{}: {state}; {} of {} requests under way{credit}",
                provider.name, provider.in_flight, provider.concurrency
            ),
        );
    }
    if let Some(problem) = &status.journal_problem {
        line(
            "journal",
            &format!("not written: {}; after a kill, messages under way are in doubt", output::visible(problem)),
        );
    }
    if status.daemons.len() > 1 {
        for daemon in &status.daemons {
            line("daemons", &format!("{} on {}, pid {}", daemon.owner, output::visible(&daemon.host), daemon.pid));
        }
    }
}

/// Gives an order and says that it was carried out.
///
/// # Errors
/// As the client's.
pub async fn order(client: &Client, path: &str, done: &str) -> Result<Exit, Failure> {
    let answer: Value = client.ask(Method::POST, path, None).await?;
    output::say(answer["detail"].as_str().unwrap_or(done));
    Ok(Exit::Done)
}
