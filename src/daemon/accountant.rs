//! Asks the providers what is left of the credit, and acts on it: a warning before it ends, an open circuit when it has.

use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use crate::message::outcome::Outcome;
use crate::provider::credit::Level;
use crate::provider::{Provider, Providers};

/// How often it is looked whether a provider is to be asked.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Asks until `stop`.
pub(super) async fn run(providers: watch::Receiver<Providers>, stop: CancellationToken) {
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = look.tick() => {}
        }
        let current = providers.borrow().clone();
        for provider in current.iter() {
            let every = provider.balance_every();
            if every.is_some_and(|every| provider.credit().is_due(every, Instant::now())) {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = ask(provider) => {}
                }
            }
        }
    }
}

async fn ask(provider: &Provider) {
    let name = provider.name();
    match provider.ask_balance().await {
        Ok(balance) => {
            let (level, news) = provider.credit().learned(balance, provider.balance_low(), Instant::now());
            let unit = provider.balance_unit();
            match level {
                Level::Empty => {
                    // Before a message meets it.
                    let outcome = Outcome::NoCredit { detail: format!("the balance is {balance} {unit}") };
                    provider.circuit().record(&outcome, Instant::now());
                    if news {
                        error!(
                            provider.name = name,
                            balance,
                            unit,
                            "the provider's account is empty; nothing goes out through it until it is filled"
                        );
                    }
                }
                Level::Low if news => {
                    let days = provider.credit_view().and_then(|view| view.days_left);
                    warn!(provider.name = name, balance, unit, days, "the provider's credit is low; fill it");
                }
                Level::Low | Level::Enough => debug!(provider.name = name, balance, unit, "credit"),
            }
        }
        Err(problem) => {
            debug!(provider.name = name, problem, "the provider did not tell what is left");
            provider.credit().failed(problem);
        }
    }
}
