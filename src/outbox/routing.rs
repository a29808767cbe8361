//! Gives each message of a claim to the provider that is to carry it (see [`router`](crate::provider::router)).
//!
//! A claim is made with one provider in mind, the lead, whose slots and rate bound it. Here, with number, language and category known and before anything
//! is written down, messages that another provider is to carry move to that one, as far as its rate, its slots and its quota of the day allow; the
//! rest goes back to the queue for a moment. A message that may have been sent stays with who was asked.
//!
//! The quota stands in the database and is taken before a message is sent, for all of a batch at once: two daemons together never exceed it. What was
//! taken and not sent is given back; a daemon that is killed in between leaves it taken.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::tz::TimeZone;
use tracing::{debug, warn};

use super::prepare::{Informed, Preparer};
use super::result::Finished;
use super::settings::Settings;
use crate::db::{Argument, Database, DbError, field, statement};
use crate::message::reason::Reason;
use crate::provider::route::Traits;
use crate::provider::router::{Route, Router};
use crate::provider::{Provider, Providers};

/// Messages that may wait for the slots of a provider beyond those at once: as many as one claim brings.
const WAITING_LIMIT: usize = 500;

/// The pause after a claim while messages wait for a provider that is full.
pub(super) const CONGESTED_PAUSE: Duration = Duration::from_millis(200);

/// How long a message waits for a provider that is full, or cannot be asked just now.
const FULL_PAUSE: Duration = Duration::from_secs(1);

/// How long it waits while the quota of the day of all its providers is used up: a person may raise it.
const QUOTA_PAUSE: Duration = Duration::from_secs(600);

/// What routing needs to know.
pub(super) struct Routing<'a> {
    pub(super) preparer: &'a Preparer,
    pub(super) router: &'a Router,
    pub(super) providers: &'a Providers,
    pub(super) settings: &'a Settings,
    /// With whom in mind the claim was made.
    pub(super) lead: &'a Arc<Provider>,
    /// The one row is to see whether the lead works again.
    pub(super) probes: bool,
}

/// Messages of one provider.
pub(super) struct Share {
    pub(super) provider: Arc<Provider>,
    pub(super) rows: Vec<Informed>,
}

/// Whether there is anything to decide.
pub(super) fn decides(providers: &Providers) -> bool {
    providers.iter().any(|provider| provider.route().decides())
}

impl Routing<'_> {
    /// Messages by provider, and those that go back.
    pub(super) async fn deal(&self, rows: Vec<Informed>) -> (Vec<Share>, Vec<Finished>) {
        let (mut shares, mut finished): (Vec<Share>, Vec<Finished>) = (Vec::new(), Vec::new());
        let mut exhausted: Vec<String> = Vec::new();
        let mut open = rows;
        // Each round either ends or finds the quota of one more provider used up.
        for _ in 0..=self.providers.len() {
            if open.is_empty() {
                break;
            }
            let mut round: Vec<Share> = Vec::new();
            for informed in open.drain(..) {
                match self.choose(&informed, &exhausted) {
                    Route::To(provider) => match round.iter_mut().find(|share| same(&share.provider, &provider)) {
                        Some(share) => share.rows.push(informed),
                        None => round.push(Share { provider, rows: vec![informed] }),
                    },
                    Route::Later { why, exhausted } => {
                        let pause = if exhausted { QUOTA_PAUSE } else { FULL_PAUSE };
                        finished.push(informed.into_claimed().defer(pause, Reason::NoProvider, Some(why), None));
                    }
                    Route::Nowhere => {
                        let why = "no provider takes such a message (the conditions of [provider.route])".to_owned();
                        finished.push(informed.into_claimed().hold(Reason::NoProvider, Some(why)));
                    }
                }
            }
            for Share { provider, mut rows } in round {
                let granted = self.grant(&provider, rows.len()).await;
                match granted {
                    Ok(Granted::Messages(room)) => {
                        if room < rows.len() {
                            self.router.congested(Instant::now());
                        }
                        finished.extend(wait(rows.split_off(room.min(rows.len()))));
                    }
                    Ok(Granted::OfTheDay(room)) => {
                        open.extend(rows.split_off(room.min(rows.len())));
                        if !open.is_empty() {
                            exhausted.push(provider.name().to_owned());
                        }
                    }
                    Err(error) => {
                        warn!(error = %error, provider.name = provider.name(), "the quota of the day cannot be read; its messages wait");
                        finished.extend(wait(std::mem::take(&mut rows)));
                    }
                }
                match shares.iter_mut().find(|share| same(&share.provider, &provider)) {
                    Some(share) => share.rows.append(&mut rows),
                    None => shares.push(Share { provider, rows }),
                }
            }
        }
        finished.extend(wait(open));
        shares.retain(|share| !share.rows.is_empty());
        self.settle_pace(&shares, finished.len());
        (shares, finished)
    }

    fn choose(&self, informed: &Informed, exhausted: &[String]) -> Route {
        let row = &informed.claimed().row;
        // What is wrong with the number is said where the message is prepared.
        let Ok(number) = self.preparer.number(informed) else { return Route::To(Arc::clone(self.lead)) };
        if let Some(asked) = &row.doubt_provider {
            let asked = self.providers.iter().find(|provider| provider.name() == asked);
            return Route::To(Arc::clone(asked.unwrap_or(self.lead)));
        }
        let Some(rules) = self.settings.rules.kinds.get(&row.kind) else { return Route::To(Arc::clone(self.lead)) };
        let lang = row.lang.as_deref().or(informed.contact_lang()).unwrap_or(&self.settings.default_lang);
        let traits = Traits { category: rules.category, recipient: number.number.as_str(), lang: Some(lang) };
        if self.probes && self.lead.route().fits(&traits) && !exhausted.iter().any(|name| name == self.lead.name()) {
            return Route::To(Arc::clone(self.lead));
        }
        self.router.route(self.providers, &traits, exhausted, Instant::now())
    }

    /// How many of `wanted` messages the provider takes now.
    async fn grant(&self, provider: &Arc<Provider>, wanted: usize) -> Result<Granted, DbError> {
        let mut room = wanted;
        if !same(provider, self.lead) {
            let limit = provider.slots().limit();
            let most = if limit > 0 { limit + WAITING_LIMIT } else { 0 };
            room = room.min(most.saturating_sub(provider.slots().load()));
            if let Some(pace) = provider.pace().filter(|_| room > 0) {
                room = pace.take_until(room, CONGESTED_PAUSE).unwrap_or_default();
            }
        }
        let Some(most) = provider.route().daily_quota.filter(|_| room > 0) else { return Ok(Granted::Messages(room)) };
        let granted = take_quota(&self.preparer.database, provider, &self.preparer.zone, room, most).await?;
        if granted < room {
            debug!(provider.name = provider.name(), granted, wanted = room, "the quota of the day is used up");
            if let Some(pace) = provider.pace() {
                pace.give_back(room - granted);
            }
            return Ok(Granted::OfTheDay(granted));
        }
        Ok(Granted::Messages(granted))
    }

    /// The lead's rate was taken for all of the claim; what others carry, or nobody, is given back.
    fn settle_pace(&self, shares: &[Share], finished: usize) {
        if let Some(pace) = self.lead.pace() {
            let moved: usize =
                shares.iter().filter(|share| !same(&share.provider, self.lead)).map(|share| share.rows.len()).sum();
            pace.give_back(moved + finished);
        }
    }
}

/// What a provider takes of what it was offered.
enum Granted {
    /// So many for now: the rest waits for its slots or its rate.
    Messages(usize),
    /// So many, and no more on this day: the rest takes another provider.
    OfTheDay(usize),
}

async fn take_quota(
    database: &Database,
    provider: &Provider,
    zone: &TimeZone,
    wanted: usize,
    most: u32,
) -> Result<usize, DbError> {
    let wanted = i32::try_from(wanted).unwrap_or(i32::MAX);
    Ok(usize::try_from(ask_quota(database, provider, zone, wanted, most).await?).unwrap_or_default())
}

/// Gives back what was taken of the day's quota and not sent.
pub(super) async fn give_back_quota(database: &Database, provider: &Provider, zone: &TimeZone, unsent: usize) {
    let Some(most) = provider.route().daily_quota.filter(|_| unsent > 0) else { return };
    let back = -i32::try_from(unsent).unwrap_or(i32::MAX);
    if let Err(error) = ask_quota(database, provider, zone, back, most).await {
        warn!(error = %error, unsent, provider.name = provider.name(), "messages that were not sent stay counted in the quota of the day");
    }
}

async fn ask_quota(
    database: &Database,
    provider: &Provider,
    zone: &TimeZone,
    wanted: i32,
    most: u32,
) -> Result<i32, DbError> {
    let (name, zone) = (provider.name(), zone.iana_name().unwrap_or("UTC"));
    let most = i32::try_from(most).unwrap_or(i32::MAX);
    let arguments: [Argument<'_>; 4] = [("provider", &name), ("zone", &zone), ("wanted", &wanted), ("most", &most)];
    field(&database.query_one(&statement::QUOTA, &arguments).await?, "granted")
}

fn wait(rows: Vec<Informed>) -> impl Iterator<Item = Finished> {
    rows.into_iter().map(|informed| informed.into_claimed().defer(FULL_PAUSE, Reason::NotStarted, None, None))
}

fn same(one: &Arc<Provider>, other: &Arc<Provider>) -> bool {
    Arc::ptr_eq(one, other) || one.name() == other.name()
}
