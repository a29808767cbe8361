//! SMPP 3.4: a message centre of an operator or an aggregator, over one link that stays open.
//!
//! - [`config`] is what an operator writes; `status` says what the centre's answers mean.
//! - `parts` cuts a text, `wire` writes PDUs and cuts what comes into frames, `link` is the connection.
//! - `session` is the one task that owns the link. It takes an `order` for each `submit_sm`; `pending` remembers those that
//!   were written.
//! - `incoming` reads `deliver_sm`, `report` the receipts among them, `ids` their ids; `deliveries` answers each once the
//!   database has it.
//!
//! The one question that matters is whether a `submit_sm` may have left. Before the bind, and as long as the session has
//! not taken the order, it has not. From then on only an answer tells; without one the outcome is unknown. A text of
//! several parts is submitted part by part, each after the answer to the one before. When a later part is refused for
//! now it is tried again while there is time; after that the customer may have half a text, and the outcome is unknown
//! too.
//!
//! There is no look-up (`query_sm` is hardly ever enabled), so what is unknown waits for a receipt or for staff.

pub mod config;
mod deliveries;
mod ids;
mod incoming;
mod link;
mod order;
mod parts;
mod pending;
mod report;
mod session;
mod status;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::ClientConfig;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::outgoing::Outgoing;
use super::receipt::Delivery;
use crate::message::outcome::Outcome;
pub use config::{IdForm, LongText, SmppConfig, SmppError};
use deliveries::Deliveries;
use order::{Answer, Order};
use session::{Session, State};
pub use status::Verdict;

/// Share of the time of a message that it waits for a bind, as a divisor: the rest is for the answer.
const BIND_WAIT_SHARE: u32 = 4;

/// Pause before a later part that was refused for now is tried again.
const PART_PAUSE: Duration = Duration::from_secs(1);

/// A session's work, to be run by whoever takes what comes on it.
pub type SessionTask = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A message centre.
pub struct SmppProvider {
    config: SmppConfig,
    statuses: BTreeMap<u32, Verdict>,
    orders: mpsc::Sender<Order>,
    state: watch::Receiver<State>,
    nudge: Arc<Notify>,
    /// Until it is started.
    session: Mutex<Option<Session>>,
}

impl std::fmt::Debug for SmppProvider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SmppProvider").field("config", &self.config).finish_non_exhaustive()
    }
}

impl SmppProvider {
    /// A provider that is not bound yet; see [`session`](Self::session). `tls` is used when the configuration asks for it.
    ///
    /// # Errors
    /// [`SmppError`], naming the key that is wrong.
    pub fn new(name: String, config: SmppConfig, tls: ClientConfig) -> Result<Self, SmppError> {
        let statuses = config.check()?;
        let (orders, taken) = mpsc::channel(config.window);
        let (state_sender, state) = watch::channel(State::Connecting);
        let nudge = Arc::new(Notify::new());
        let session = Session {
            provider: name,
            tls: config.tls.then(|| Arc::new(tls)),
            config: config.clone(),
            orders: taken,
            state: state_sender,
            nudge: Arc::clone(&nudge),
            sequence: 1,
        };
        Ok(Self { config, statuses, orders, state, nudge, session: Mutex::new(Some(session)) })
    }

    /// Its configuration.
    pub fn config(&self) -> &SmppConfig {
        &self.config
    }

    /// Whether it serves this configuration too, with the session it has.
    pub fn serves(&self, config: &SmppConfig) -> bool {
        self.config.same(config)
    }

    /// The session, to be run until `stop`. `None` when it runs already: then a bind that waits for its time is tried now.
    pub fn session(&self, deliveries: &mpsc::Sender<Delivery>, stop: CancellationToken) -> Option<SessionTask> {
        let session = self.session.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(session) = session else {
            self.nudge.notify_one();
            return None;
        };
        let deliveries = Deliveries::new(session.provider.clone(), self.config.receipt_ids, deliveries.clone());
        Some(Box::pin(session.run(deliveries, stop)))
    }

    /// How the session is, in a word or a sentence; `None` when it is bound.
    pub fn problem(&self) -> Option<String> {
        match &*self.state.borrow() {
            State::Bound => None,
            State::Connecting => Some("not bound yet".to_owned()),
            State::Down(problem) | State::Refused(problem) => Some(problem.clone()),
            State::Ended => Some("the session has ended".to_owned()),
        }
    }

    /// Sends one message. Returns within the shorter of `outgoing.deadline` and `response_timeout`.
    pub async fn send(&self, outgoing: &Outgoing) -> Outcome {
        let allowed = self.config.response_timeout.min(outgoing.deadline);
        let deadline = Instant::now() + allowed;
        let number = parts::number(&outgoing.reference);
        let Some((parts, segments)) =
            parts::cut(&outgoing.text, self.config.long_text, self.config.data_coding, number)
        else {
            return Outcome::Rejected { detail: format!("the text needs more than {} parts", parts::PARTS_LIMIT) };
        };
        if let Err(outcome) = self.bound(Instant::now() + allowed / BIND_WAIT_SHARE).await {
            return outcome;
        }
        let mut ids = Vec::with_capacity(parts.len());
        for part in &parts {
            let pdu = match wire::submit(&self.config, &outgoing.recipient, part) {
                Ok(pdu) => pdu,
                Err(detail) => return Outcome::Rejected { detail },
            };
            let mut answer = self.submit(Order::new(pdu.clone()), deadline).await;
            while !ids.is_empty() && is_for_now(&answer) && Instant::now() + PART_PAUSE < deadline {
                tokio::time::sleep(PART_PAUSE).await;
                if self.bound(deadline).await.is_ok() {
                    answer = self.submit(Order::new(pdu.clone()), deadline).await;
                }
            }
            match answer {
                Ok(id) => ids.push(ids::kept(&id, self.config.submit_ids)),
                Err(outcome) if ids.is_empty() => return outcome,
                Err(outcome) => return half_sent(&outcome, ids.len(), parts.len()),
            }
        }
        // An id for each part, in order; the database takes them apart.
        let known = ids.iter().any(|id| !id.is_empty());
        Outcome::Accepted { provider_message_id: known.then(|| ids.join(" ")), segments: Some(segments) }
    }

    /// Waits until the session is bound. The outcome of a message for which it is not.
    async fn bound(&self, until: Instant) -> Result<(), Outcome> {
        let mut state = self.state.clone();
        // What it is when the time is up, decides.
        let _ = timeout_at(until, state.wait_for(|state| !matches!(state, State::Connecting | State::Down(_)))).await;
        match &*self.state.borrow() {
            State::Bound => Ok(()),
            State::Refused(detail) => Err(Outcome::Misconfigured { detail: detail.clone() }),
            State::Down(detail) => Err(Outcome::TemporaryFailure { detail: detail.clone() }),
            State::Connecting => Err(Outcome::TemporaryFailure { detail: "not bound yet".to_owned() }),
            State::Ended => Err(Outcome::TemporaryFailure { detail: "the session has ended".to_owned() }),
        }
    }

    /// Submits one part; its id, or the outcome of the message if it is the first.
    async fn submit(&self, (order, mut asked): (Order, order::Receipt), deadline: Instant) -> Result<String, Outcome> {
        let not_sent = |detail: String| Err(Outcome::TemporaryFailure { detail });
        let handed_over = timeout_at(deadline, self.orders.send(order)).await;
        if !matches!(handed_over, Ok(Ok(()))) {
            return not_sent("the session did not take it".to_owned());
        }
        match timeout_at(deadline, &mut asked.answer).await {
            Ok(Ok(Answer::Response(0, id))) => Ok(id),
            Ok(Ok(Answer::Response(status, _))) => Err(status::outcome(status, &self.statuses)),
            Ok(Ok(Answer::NotSent(detail))) => not_sent(detail),
            Ok(Ok(Answer::Lost(detail))) => Err(Outcome::Unknown { detail }),
            // The session is gone, or the time is up: what matters is whether it had begun to write.
            Ok(Err(_)) | Err(_) if asked.withdraw() => not_sent("the window was full for too long".to_owned()),
            Ok(Err(_)) => Err(Outcome::Unknown { detail: "the session ended before an answer".to_owned() }),
            Err(_) => Err(Outcome::Unknown { detail: "no answer in time".to_owned() }),
        }
    }
}

/// Whether nothing was sent and it may pass in a moment.
fn is_for_now(answer: &Result<String, Outcome>) -> bool {
    matches!(answer, Err(Outcome::Throttled { .. } | Outcome::TemporaryFailure { .. }))
}

fn half_sent(outcome: &Outcome, taken: usize, parts: usize) -> Outcome {
    let detail = format!(
        "part {} of {parts}: {}; the {taken} before it were taken, so the customer may have a part of the text",
        taken + 1,
        outcome.detail()
    );
    Outcome::Unknown { detail }
}
