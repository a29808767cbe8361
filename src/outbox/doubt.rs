//! Messages in doubt: what may have been sent, and nobody knows.
//!
//! A message comes here when its request was, or may have been, written and no readable answer came: from a sender, or from a
//! daemon that died. It climbs down this ladder, one rung a look, and is never simply queued again:
//!
//! 1. a delivery receipt names it: sent;
//! 2. the provider deduplicates by our reference: it is sent again under the same reference;
//! 3. the provider can be asked: it took it: sent; it does not know it, although the attempt ended long enough ago: queued again;
//! 4. until `unknown_wait` is over: wait, for a receipt or for a provider that could not be asked;
//! 5. the policy of its kind: once more, or staff decide.
//!
//! Nothing is asked of the database while nothing is in doubt: the housekeeper's beat tells when the next look is due (see
//! [`Due`]). A look first puts the rows off by [`HOLD`], so that two daemons do not ask the same. Every decision is fenced by the token of the
//! claim: a row that staff or an answer settled meanwhile is left alone. What goes wrong here (a provider that does not answer, a
//! database that is away) ends in another look.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::lease::{Lease, Rendered, reference};
use super::result::Finished;
use super::send::{LOOK_AGAIN, Shared};
use super::settings::Settings;
use super::stage::Doubtful;
use crate::db::{Database, DbError, Row, field, statement};
use crate::message::kind::Kind;
use crate::provider::inquiry::{Finding, Inquiry, TakenMessage};
use crate::provider::{Provider, Providers};

/// How long one look keeps other daemons off: longer than an inquiry may take.
const HOLD: Duration = Duration::from_secs(30);

/// Time allowed for one inquiry.
const INQUIRY_TIMEOUT: Duration = Duration::from_secs(10);

/// Pauses between two inquiries about one message: first and longest.
const ASK_AGAIN: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));

/// Inquiries at once.
const INQUIRIES: usize = 8;

/// Messages taken by one look.
const BATCH: i64 = 200;

/// Clocks of ours and of a provider's that is asked by time may differ by this much.
const CLOCK_SLACK: Duration = Duration::from_secs(120);

/// When messages in doubt are looked at next. Whoever knows of an earlier time says so; a look that finds nothing due is harmless,
/// and what it leaves undone the next beat tells again.
#[derive(Debug, Default)]
pub struct Due {
    at: Mutex<Option<Instant>>,
    news: Notify,
}

impl Due {
    /// A look is due after `wait`, or sooner when somebody said so before.
    pub fn after(&self, wait: Duration) {
        let Some(told) = Instant::now().checked_add(wait) else { return };
        let mut at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        if at.is_none_or(|known| told < known) {
            *at = Some(told);
            self.news.notify_one();
        }
    }

    /// Waits for the time of the next look, which is then forgotten.
    async fn come(&self) {
        loop {
            let at = *self.at.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(at) = at else {
                self.news.notified().await;
                continue;
            };
            tokio::select! {
                () = tokio::time::sleep_until(at.into()) => {
                    *self.at.lock().unwrap_or_else(PoisonError::into_inner) = None;
                    return;
                }
                () = self.news.notified() => {}
            }
        }
    }
}

/// The task that clears doubts up.
pub struct Inspector {
    /// The daemon's parts.
    pub shared: Arc<Shared>,
    /// Who may be asked.
    pub providers: watch::Receiver<Providers>,
    /// The settings in force.
    pub settings: watch::Receiver<Arc<Settings>>,
    /// When the next look is due.
    pub due: Arc<Due>,
}

/// What a look found out about one message.
enum Verdict {
    /// It was sent.
    Sent { provider: String, provider_message_id: Option<String>, proof: &'static str },
    /// Nothing was sent.
    NotTaken { provider: String },
    /// Nothing is known yet.
    Wait(Duration, Option<String>),
    /// Sent again under the same reference, which the provider knows.
    Repeat { provider: String },
    /// No proof came in time.
    Policy,
}

impl Inspector {
    /// Works until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.due.come() => {}
            }
            // While results cannot be written nothing can be decided either, and the rows would only be put off.
            // A copy decides nothing: what it holds in doubt, the original has cleared up.
            if self.shared.settler.blocked() || !self.shared.guards.may_claim() {
                continue;
            }
            loop {
                match self.look().await {
                    Ok(looked) if looked >= BATCH => {}
                    Ok(_) => break,
                    // The claimer says so already, once and not at every look.
                    Err(error) if error.is_unavailable() => {
                        debug!(error = %error, "messages in doubt are looked at later");
                        break;
                    }
                    Err(error) => {
                        warn!(error = %error, "messages in doubt cannot be looked at; it is tried again");
                        break;
                    }
                }
                if stop.is_cancelled() {
                    return;
                }
            }
        }
    }

    /// One look; returns how many messages it was about.
    async fn look(&self) -> Result<i64, DbError> {
        let hold_ms = i64::try_from(HOLD.as_millis()).unwrap_or(i64::MAX);
        let rows =
            self.shared.database.query(&statement::DOUBTFUL, &[("at_most", &BATCH), ("hold_ms", &hold_ms)]).await?;
        let looked = i64::try_from(rows.len()).unwrap_or(BATCH);
        if rows.is_empty() {
            return Ok(0);
        }
        let doubtful = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let providers = self.providers.borrow().clone();
        let settings = self.settings.borrow().clone();
        let mut decided: Vec<(Doubtful, Verdict)> = futures_util::stream::iter(doubtful.into_iter().map(|case| {
            let (providers, settings) = (Arc::clone(&providers), Arc::clone(&settings));
            async move {
                let verdict = self.inspect(&case, &providers, &settings).await;
                (case, verdict)
            }
        }))
        .buffer_unordered(INQUIRIES)
        .collect()
        .await;
        let mut undecided = Vec::new();
        for (case, verdict) in decided.drain(..) {
            if let Some(open) = self.settle(case, verdict, &settings).await {
                undecided.push(open);
            }
        }
        decide(&self.shared.database, &undecided).await?;
        Ok(looked)
    }

    async fn inspect(&self, case: &Doubtful, providers: &Providers, settings: &Settings) -> Verdict {
        if let Some((provider, id)) = &case.receipt {
            let provider_message_id = Some(id.clone()).filter(|id| !id.is_empty());
            return Verdict::Sent { provider: provider.clone(), provider_message_id, proof: "a delivery receipt" };
        }
        let named = |name: &str| providers.iter().find(|provider| provider.name() == name);
        let asked: Vec<&Arc<Provider>> = match &case.provider {
            Some(name) => named(name).into_iter().collect(),
            // A daemon that left no journal did not say whom it asked.
            None => providers.iter().collect(),
        };
        if let [provider] = asked.as_slice()
            && provider.deduplicates()
        {
            return Verdict::Repeat { provider: provider.name().to_owned() };
        }
        // A provider that can be asked gets the time in which its "no" is worth something, however short the wait for proof.
        let wait = asked
            .iter()
            .filter(|it| it.can_look_up())
            .map(|it| settled_after(it))
            .fold(settings.unknown_wait, Duration::max);
        let patience = wait.saturating_sub(case.waited);
        let mut open = None;
        let mut absent = None;
        for provider in &asked {
            if !provider.can_look_up() {
                open = Some(Verdict::Wait(patience, None));
                continue;
            }
            match self.ask(case, provider).await {
                Asked::Taken(provider_message_id) => {
                    let provider = provider.name().to_owned();
                    return Verdict::Sent { provider, provider_message_id, proof: "the provider, when asked" };
                }
                Asked::NotTaken => absent = Some(provider.name().to_owned()),
                Asked::Later(wait, why) => open = Some(Verdict::Wait(wait.min(patience), why)),
            }
        }
        // After a jump of the clock nobody knows how long it has waited.
        if self.shared.clock.is_suspect(Instant::now()) {
            return Verdict::Wait(ASK_AGAIN.0, None);
        }
        match (open, absent) {
            (None, Some(provider)) => Verdict::NotTaken { provider },
            _ if patience.is_zero() => Verdict::Policy,
            (Some(wait), _) => wait,
            // Whoever was asked is not configured any more.
            (None, None) => Verdict::Wait(patience, None),
        }
    }

    async fn ask(&self, case: &Doubtful, provider: &Provider) -> Asked {
        let settled_after = settled_after(provider);
        let inquiry = Inquiry {
            reference: reference(case.lease.id, case.doubt, case.created_at),
            recipient: case.rendered.as_ref().map(|it| it.recipient.clone()),
            text: case.rendered.as_ref().map(|it| it.body.clone()),
            since: case.since.saturating_sub(CLOCK_SLACK).unwrap_or(case.since),
            deadline: INQUIRY_TIMEOUT,
        };
        match provider.look_up(&inquiry).await {
            Finding::Taken(found) => match self.ours(case, provider, found).await {
                Ok(Some(id)) => Asked::Taken(id),
                Ok(None) if case.waited >= settled_after => Asked::NotTaken,
                Ok(None) => Asked::Later(settled_after - case.waited, None),
                Err(error) => Asked::Later(ASK_AGAIN.0, Some(error.to_string())),
            },
            Finding::Absent if case.waited >= settled_after => Asked::NotTaken,
            // Taken is believed at any time, so it is worth asking before.
            Finding::Absent => Asked::Later((settled_after - case.waited).min(ASK_AGAIN.1), None),
            Finding::Unclear { detail } => {
                // As long again as it has waited already, within bounds.
                Asked::Later(case.waited.clamp(ASK_AGAIN.0, ASK_AGAIN.1), Some(detail))
            }
        }
    }

    /// The provider's id of our message among those found: one that no other message of ours accounts for. By reference there is
    /// only one; by recipient and time the same text may have been sent twice.
    async fn ours(
        &self,
        case: &Doubtful,
        provider: &Provider,
        found: Vec<TakenMessage>,
    ) -> Result<Option<Option<String>>, DbError> {
        let recipient = case.rendered.as_ref().map(|it| it.recipient.as_str());
        let ids: Vec<String> = found.iter().filter_map(|it| it.provider_message_id.clone()).collect();
        if ids.len() < found.len() {
            // Without ids the messages found cannot be told apart; one of them is taken for ours.
            return Ok(Some(None));
        }
        let rows = self
            .shared
            .database
            .query(&statement::ACCOUNTED, &[("provider", &provider.name()), ("recipient", &recipient), ("ids", &ids)])
            .await?;
        let taken: Vec<String> = rows.iter().map(|row| field(row, "id")).collect::<Result<_, _>>()?;
        Ok(ids.into_iter().find(|id| !taken.contains(id)).map(Some))
    }

    /// Acts on a verdict: what is settled goes to the settler, the rest comes back as a decision to be written.
    async fn settle(&self, case: Doubtful, verdict: Verdict, settings: &Settings) -> Option<Decision> {
        let id = case.lease.id;
        let wait_ms = |wait: Duration| i64::try_from(wait.min(LOOK_AGAIN).as_millis()).unwrap_or(i64::MAX / 2).max(100);
        let decision = |state, wait_ms, cleared, what, detail| Decision {
            id,
            token: case.lease.token,
            state,
            wait_ms,
            cleared,
            what,
            detail,
        };
        Some(match verdict {
            Verdict::Sent { provider, provider_message_id, proof } => {
                info!(msg.id = id, provider.name = provider, proof, "the message in doubt was sent");
                let finished: Finished = case.proved(provider, provider_message_id, proof);
                self.shared.settler.record(finished).await;
                return None;
            }
            Verdict::NotTaken { provider } => {
                warn!(
                    msg.id = id,
                    provider.name = provider,
                    "the message in doubt was never taken; it is queued again"
                );
                self.shared.recall.forget(id);
                decision(
                    "queued",
                    0,
                    true,
                    Some("cleared"),
                    Some(format!("{provider} does not know it; nothing was sent")),
                )
            }
            Verdict::Repeat { provider } => {
                info!(msg.id = id, provider.name = provider, "the message in doubt is repeated under its reference");
                let detail = format!("{provider} recognises a repetition by its reference");
                decision("queued", 0, false, Some("repeated"), Some(detail))
            }
            Verdict::Wait(wait, why) => {
                debug!(msg.id = id, why, "the message stays in doubt");
                decision("unknown", wait_ms(wait), false, None, None)
            }
            // Once: a gateway that takes messages and answers with errors would text a customer again and again.
            Verdict::Policy if settings.resends(case.kind) && case.doubts <= 1 => {
                warn!(msg.id = id, "no proof that it was sent; it is sent once more, as the policy of its kind says");
                let detail = format!("no proof came; policy of {}", case.kind);
                decision("queued", 0, false, Some("resent_by_policy"), Some(detail))
            }
            Verdict::Policy => {
                warn!(msg.id = id, "no proof that it was sent; staff decide: ecar-sms resend or cancel {id}");
                decision("unknown", -1, false, Some("left_to_staff"), Some("no proof came".to_owned()))
            }
        })
    }
}

/// How long after an attempt began the provider's "no" is believed: until then the request may still be on its way, or not entered
/// where look-ups find it.
fn settled_after(provider: &Provider) -> Duration {
    provider.timeout() + provider.absent_after()
}

/// The answer to an inquiry, as far as it decides.
enum Asked {
    Taken(Option<String>),
    NotTaken,
    Later(Duration, Option<String>),
}

/// What is written about a message that stays in the outbox.
struct Decision {
    id: i64,
    token: i64,
    state: &'static str,
    wait_ms: i64,
    cleared: bool,
    what: Option<&'static str>,
    detail: Option<String>,
}

async fn decide(database: &Database, decisions: &[Decision]) -> Result<(), DbError> {
    if decisions.is_empty() {
        return Ok(());
    }
    let ids: Vec<i64> = decisions.iter().map(|it| it.id).collect();
    let tokens: Vec<i64> = decisions.iter().map(|it| it.token).collect();
    let states: Vec<&str> = decisions.iter().map(|it| it.state).collect();
    let waits: Vec<i64> = decisions.iter().map(|it| it.wait_ms).collect();
    let cleared: Vec<bool> = decisions.iter().map(|it| it.cleared).collect();
    let whats: Vec<Option<&str>> = decisions.iter().map(|it| it.what).collect();
    let details: Vec<Option<&str>> = decisions.iter().map(|it| it.detail.as_deref()).collect();
    let rows = database
        .query(
            &statement::DECIDE,
            &[
                ("ids", &ids),
                ("tokens", &tokens),
                ("states", &states),
                ("waits_ms", &waits),
                ("cleared", &cleared),
                ("whats", &whats),
                ("details", &details),
            ],
        )
        .await?;
    if rows.len() < decisions.len() {
        debug!(decided = rows.len(), of = decisions.len(), "the rest was settled meanwhile");
    }
    Ok(())
}

fn read(row: &Row) -> Result<Doubtful, DbError> {
    let id: i64 = field(row, "id")?;
    let kind: &str = field(row, "kind")?;
    let kind: Kind = kind.parse().map_err(|_| DbError::Unexpected(format!("message {id} has kind {kind}")))?;
    let waited: f64 = field(row, "waited_s")?;
    let (recipient, body): (Option<String>, Option<String>) = (field(row, "recipient")?, field(row, "body")?);
    let encoding: Option<&str> = field(row, "encoding")?;
    let segments: Option<i32> = field(row, "segments")?;
    let receipt_id: Option<String> = field(row, "receipt_id")?;
    let receipt_provider: Option<String> = field(row, "receipt_provider")?;
    Ok(Doubtful {
        lease: Lease {
            id,
            token: field::<Option<i64>>(row, "lease_token")?.unwrap_or_default(),
            attempt: field(row, "attempt")?,
            ends: Instant::now(),
            segment: None,
        },
        kind,
        doubt: field(row, "doubt")?,
        created_at: field(row, "created_at")?,
        since: field::<Timestamp>(row, "since")?,
        waited: Duration::try_from_secs_f64(waited.max(0.0)).unwrap_or(Duration::MAX),
        doubts: field(row, "doubts")?,
        provider: field(row, "provider")?,
        rendered: recipient.zip(body).map(|(recipient, body)| Rendered::recorded(recipient, body, encoding, segments)),
        receipt: receipt_provider.map(|provider| (provider, receipt_id.unwrap_or_default())),
    })
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_look_comes_at_the_earliest_time_that_was_told_and_at_none_otherwise() {
        let due = Due::default();
        assert!(due.come().now_or_never().is_none(), "nothing is in doubt");
        due.after(Duration::from_secs(3600));
        assert!(due.come().now_or_never().is_none(), "not yet");
        due.after(Duration::ZERO);
        due.after(Duration::from_secs(3600));
        due.come().await;
        assert!(due.come().now_or_never().is_none(), "it has been looked at");
    }

    #[tokio::test]
    async fn a_sooner_time_ends_the_wait_for_a_later_one() {
        let due = Arc::new(Due::default());
        due.after(Duration::from_secs(3600));
        let waiting = tokio::spawn({
            let due = Arc::clone(&due);
            async move { due.come().await }
        });
        tokio::task::yield_now().await;
        due.after(Duration::ZERO);
        waiting.await.ok();
    }
}
