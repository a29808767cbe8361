//! `provider list` and `provider test`.

use hyper::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::args::ProviderAction;
use super::client::Client;
use super::exit::{Exit, Failure};
use super::output;
use crate::control::providers::Trial;
use crate::control::status::ProviderStatus;
use crate::provider::credit::amount;

/// Longest state or credit in the table, in characters: a provider's own words may have hundreds.
const CELL_CHARS: usize = 60;

/// Runs one of them.
///
/// # Errors
/// As the client's.
pub async fn run(client: &Client, action: ProviderAction) -> Result<Exit, Failure> {
    match action {
        ProviderAction::List { json } => {
            let answer: Value = client.ask(Method::GET, "/v1/providers", None).await?;
            let providers: Vec<ProviderStatus> = serde_json::from_value(answer.clone()).map_err(Failure::failed)?;
            if json {
                output::json(&answer);
                return Ok(Exit::Done);
            }
            if providers.is_empty() {
                output::say("no provider is configured; see docs/CONFIGURATION.md");
                return Ok(Exit::Done);
            }
            let mut table = output::table(&["NAME", "TAKES", "STATE", "UNDER WAY", "RECEIPTS", "CREDIT"]);
            for provider in &providers {
                table.add_row([
                    output::visible(&provider.name),
                    output::visible(&provider.takes),
                    short(&output::visible(&state(provider))),
                    format!("{} of {}", provider.in_flight, provider.concurrency),
                    provider.receipts.clone(),
                    short(&output::visible(&credit(provider))),
                ]);
            }
            output::say(&table.to_string());
        }
        ProviderAction::Test { name, to, text, json } => {
            let path = format!("/v1/providers/{}/test", utf8_percent_encode(&name, NON_ALPHANUMERIC));
            let answer: Value = client.ask(Method::POST, &path, Some(&json!({ "to": to, "text": text }))).await?;
            let trial: Trial = serde_json::from_value(answer.clone()).map_err(Failure::failed)?;
            if json {
                output::json(&answer);
            } else {
                for step in &trial.steps {
                    output::say(&output::visible(step));
                }
                output::say(if trial.ok { "ok" } else { "not ok" });
            }
            return Ok(if trial.ok { Exit::Done } else { Exit::Failed });
        }
    }
    Ok(Exit::Done)
}

/// As much of it as a table has room for; `status` has all of it.
fn short(text: &str) -> String {
    if text.chars().count() <= CELL_CHARS {
        return text.to_owned();
    }
    text.chars().take(CELL_CHARS - 3).chain("...".chars()).collect()
}

/// Whether it takes messages, and why not.
pub(super) fn state(provider: &ProviderStatus) -> String {
    match &provider.reason {
        Some(reason) => format!("waiting: {reason}"),
        None if provider.stalled => "does not answer".to_owned(),
        None => match provider.health {
            Some(health) if health < 95 => format!("takes messages; {health} % of its weight"),
            Some(_) | None => "takes messages".to_owned(),
        },
    }
}

/// What is left of its credit.
pub(super) fn credit(provider: &ProviderStatus) -> String {
    let Some(credit) = &provider.credit else { return "not known".to_owned() };
    let mut shown = match credit.balance {
        Some(balance) => amount(balance, &credit.unit),
        None => "not told yet".to_owned(),
    };
    if let Some(days) = credit.days_left {
        shown = format!("{shown}, about {days:.0} days");
    }
    if credit.low {
        shown += "; low";
    }
    if let Some(problem) = &credit.problem {
        shown = format!("{shown} ({problem})");
    }
    shown
}
