//! The session with a centre: one task that owns the link, binds, keeps it alive, and writes and reads everything.
//!
//! It binds as a transceiver and stays bound, since receipts come when they come. A link that ends is made again, after a pause that doubles up to a minute.
//! What was written and not answered by then is [`Answer::Lost`]: the centre may have taken it. The session ends, with an unbind, when it is told to stop or
//! when nobody holds the provider any more; what was asked of it before is finished first.

use std::sync::Arc;
use std::time::Duration;

use rusmpp::{CommandStatus, Pdu};
use rustls::ClientConfig;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::config::SmppConfig;
use super::deliveries::Deliveries;
use super::link::Link;
use super::order::{Answer, Order};
use super::pending::Pending;
use super::status;
use super::wire::{self, Frame, answer, id};

/// First and longest pause before another bind.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// A link that held this long begins the pauses anew.
const HELD_LONG: Duration = Duration::from_secs(10);
/// What the centre sent before it cut the link may still be there to be read.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How long the centre may take to answer an unbind; we leave anyway.
const UNBIND_TIMEOUT: Duration = Duration::from_secs(2);
/// Highest sequence number (SMPP 3.4, section 5.1.4).
const SEQUENCE_LIMIT: u32 = 0x7FFF_FFFF;

/// How the session is, for those who want to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// It was never started, or is just connecting.
    Connecting,
    /// Ready.
    Bound,
    /// Not now, and why.
    Down(String),
    /// Not before somebody acts, and why.
    Refused(String),
    /// Ended.
    Ended,
}

/// Why a link ended.
enum End {
    /// We were told to stop.
    Stopped,
    /// It was lost.
    Lost(String),
}

/// The session.
pub(super) struct Session {
    pub(super) provider: String,
    pub(super) config: SmppConfig,
    pub(super) tls: Option<Arc<ClientConfig>>,
    pub(super) orders: mpsc::Receiver<Order>,
    pub(super) state: watch::Sender<State>,
    pub(super) nudge: Arc<Notify>,
    pub(super) sequence: u32,
}

impl Session {
    /// Works until `stop`, or until the last sender of orders is gone.
    pub(super) async fn run(mut self, mut deliveries: Deliveries, stop: CancellationToken) {
        let mut pause = PAUSE.0;
        loop {
            let bound = tokio::select! {
                () = stop.cancelled() => break,
                bound = self.bind() => bound,
            };
            match bound {
                Ok(link) => {
                    info!(provider = self.provider, host = self.config.host, "bound to the message centre");
                    self.state.send_replace(State::Bound);
                    let since = Instant::now();
                    match self.serve(link, &mut deliveries, &stop).await {
                        End::Stopped => break,
                        End::Lost(problem) => {
                            warn!(
                                provider = self.provider,
                                problem, "the link to the message centre is lost; it is made again"
                            );
                            self.state.send_replace(State::Down(problem));
                        }
                    }
                    if since.elapsed() >= HELD_LONG {
                        pause = PAUSE.0;
                    }
                }
                Err(State::Refused(problem)) => {
                    warn!(provider = self.provider, problem, "the message centre refuses us; correct it, and reload");
                    self.state.send_replace(State::Refused(problem));
                    // Centres lock accounts that knock too often.
                    pause = PAUSE.1;
                }
                Err(state) => {
                    warn!(provider = self.provider, ?state, "the message centre cannot be reached; it is tried again");
                    self.state.send_replace(state);
                }
            }
            if !self.wait(Instant::now() + pause, &stop).await {
                break;
            }
            pause = (pause * 2).min(PAUSE.1);
        }
        self.state.send_replace(State::Ended);
        info!(provider = self.provider, "the session with the message centre has ended");
    }

    /// Between two binds. False when it is time to end.
    async fn wait(&mut self, until: Instant, stop: &CancellationToken) -> bool {
        loop {
            tokio::select! {
                () = stop.cancelled() => return false,
                () = self.nudge.notified() => return true,
                () = sleep_until(until) => return true,
                order = self.orders.recv() => match order {
                    Some(order) => reply(order.answer, Answer::NotSent("the link was lost".to_owned())),
                    None => return false,
                },
            }
        }
    }

    async fn bind(&mut self) -> Result<Link, State> {
        let mut link = Link::open(&self.config, self.tls.as_ref()).await.map_err(State::Down)?;
        let sequence = self.next_sequence();
        link.write(&wire::bind(&self.config, sequence)).await.map_err(State::Down)?;
        let until = Instant::now() + self.config.response_timeout;
        loop {
            let frame = match timeout_at(until, link.next()).await {
                Ok(frame) => frame.map_err(|problem| State::Down(format!("bind: {problem}")))?,
                Err(_) => return Err(State::Down("the bind is not answered".to_owned())),
            };
            match frame.id {
                id::BIND_TRANSCEIVER_RESP | id::GENERIC_NACK if frame.status != 0 => {
                    let problem = format!("bind: {}", status::name(frame.status));
                    return Err(match status::bind_is_misconfigured(frame.status) {
                        true => State::Refused(problem),
                        false => State::Down(problem),
                    });
                }
                id::BIND_TRANSCEIVER_RESP => return Ok(link),
                id::ENQUIRE_LINK => {
                    link.write(&wire::bare(Pdu::EnquireLinkResp, frame.sequence)).await.map_err(State::Down)?;
                }
                other => debug!(provider = self.provider, id = other, "a PDU before the bind is answered"),
            }
        }
    }

    /// While bound.
    async fn serve(&mut self, mut link: Link, deliveries: &mut Deliveries, stop: &CancellationToken) -> End {
        let mut pending = Pending::new(self.config.window, self.config.response_timeout);
        let end = self.work(&mut link, &mut pending, deliveries, stop).await;
        match end {
            Ok(()) => {
                let sequence = self.next_sequence();
                if link.write(&wire::bare(Pdu::Unbind, sequence)).await.is_ok() {
                    let until = Instant::now() + UNBIND_TIMEOUT;
                    while let Ok(Ok(frame)) = timeout_at(until, link.next()).await {
                        if frame.id == id::UNBIND_RESP {
                            break;
                        }
                    }
                }
                link.close().await;
                End::Stopped
            }
            Err(problem) => {
                // Answers that came before the cut.
                let until = Instant::now() + LAST_WORDS;
                while !pending.is_empty() {
                    match timeout_at(until, link.next()).await {
                        Ok(Ok(frame)) if matches!(frame.id, id::SUBMIT_SM_RESP | id::GENERIC_NACK) => {
                            pending.answered(frame)
                        }
                        Ok(Ok(_)) => {}
                        Ok(Err(_)) | Err(_) => break,
                    }
                }
                pending.lose(&format!("no answer: {problem}"));
                deliveries.forget();
                End::Lost(problem)
            }
        }
    }

    /// Everything on a bound link, until it is time to stop (`Ok`) or the link is lost.
    async fn work(
        &mut self,
        link: &mut Link,
        pending: &mut Pending,
        deliveries: &mut Deliveries,
        stop: &CancellationToken,
    ) -> Result<(), String> {
        // The link is tried when nothing came for a while; whatever comes proves that it is alive.
        let every = self.config.enquire_link;
        let (mut try_at, mut asked) = (Instant::now() + every, false);
        let mut stopping = false;
        loop {
            if stopping && pending.is_empty() {
                return Ok(());
            }
            let open = !stopping && pending.has_room();
            tokio::select! {
                () = stop.cancelled(), if !stopping => stopping = true,
                frame = link.next() => {
                    (try_at, asked) = (Instant::now() + every, false);
                    self.hear(frame?, link, pending, deliveries).await?;
                }
                order = self.orders.recv(), if open => match order {
                    Some(order) => self.submit(order, link, pending).await?,
                    None => stopping = true,
                },
                (sequence, status) = deliveries.next(), if !deliveries.is_empty() => {
                    link.write(&wire::delivered(status, sequence)).await?;
                }
                () = sleep_until(pending.due()), if !pending.is_empty() => pending.expire()?,
                () = sleep_until(try_at) => {
                    if asked {
                        return Err("the centre does not answer enquire_link".to_owned());
                    }
                    let sequence = self.next_sequence();
                    link.write(&wire::bare(Pdu::EnquireLink, sequence)).await?;
                    asked = true;
                    try_at = Instant::now() + self.config.response_timeout;
                }
            }
        }
    }

    async fn submit(&mut self, order: Order, link: &mut Link, pending: &mut Pending) -> Result<(), String> {
        if !order.take() {
            return Ok(());
        }
        let sequence = self.next_sequence();
        let octets = wire::written(CommandStatus::EsmeRok, sequence, order.pdu);
        // Entered first: whatever happens from here on, it may have left.
        pending.enter(sequence, order.answer);
        link.write(&octets).await
    }

    async fn hear(
        &mut self,
        frame: Frame,
        link: &mut Link,
        pending: &mut Pending,
        deliveries: &mut Deliveries,
    ) -> Result<(), String> {
        match frame.id {
            id::SUBMIT_SM_RESP | id::GENERIC_NACK => {
                let unbound = frame.status == status::NOT_BOUND;
                pending.answered(frame);
                // It believes that we are not bound, so we bind again.
                if unbound { Err("the centre says that we are not bound".to_owned()) } else { Ok(()) }
            }
            id::DELIVER_SM => match deliveries.take(&frame) {
                Some(status) => link.write(&wire::delivered(status, frame.sequence)).await,
                None => Ok(()),
            },
            id::ENQUIRE_LINK => link.write(&wire::bare(Pdu::EnquireLinkResp, frame.sequence)).await,
            id::UNBIND => {
                link.write(&wire::bare(Pdu::UnbindResp, frame.sequence)).await?;
                Err("the centre ended the session".to_owned())
            }
            // These two have no response.
            id::OUTBIND | id::ALERT_NOTIFICATION => Ok(()),
            response if response & id::RESPONSE != 0 => Ok(()),
            other => {
                debug!(provider = self.provider, id = other, "a PDU that is not known here is refused");
                link.write(&wire::nack(answer::NOT_KNOWN, frame.sequence)).await
            }
        }
    }

    fn next_sequence(&mut self) -> u32 {
        let sequence = self.sequence;
        self.sequence = if sequence >= SEQUENCE_LIMIT { 1 } else { sequence + 1 };
        sequence
    }
}

/// Whoever asked may have left.
fn reply(asker: tokio::sync::oneshot::Sender<Answer>, answer: Answer) {
    let _ = asker.send(answer);
}
