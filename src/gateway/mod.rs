//! A simulated SMS gateway, to try everything without sending anything, and to misbehave on purpose.
//!
//! It speaks the garage application's own gateway protocol: `POST {"api_key","sender_id","phone","message"}` to any
//! path but the control ones, answered 200 `{"id":"sim-000001","status":"accepted"}`; a `reference` of the client's own may stand beside the four.
//! It is the judge of the end-to-end
//! tests, so a message is on the record as soon as its whole body was read, before any answer, latency or fault. It
//! must never reach outside: what it receives goes nowhere, and its only outgoing requests are the delivery receipts and
//! replies that it pushes, over plain HTTP to where a [`Script`] says, or to an address on this machine or a private network
//! that a message to a simulated vendor names.
//!
//! | path | |
//! |---|---|
//! | `GET /messages` | JSON array of [`Received`]; `?phone=` and `?since_seq=` choose |
//! | `GET /lookup?reference=R` | what a provider knows of a message: 200 `{"id","status","reference"}` of the first that was taken with this reference, or 404 |
//! | `GET /lookup?phone=P&since=TIME` | 200 `{"messages":[{"id","phone","message","reference","at"}]}`: those taken for this phone since then (RFC 3339) |
//! | `DELETE /messages` | forgets them, and the sums; ids go on |
//! | `POST /replies` | `{"provider","from","text"}`: a simulated vendor pushes what a customer answers |
//! | `GET /stats` | [`Stats`] |
//! | `PUT /script` | a [`Script`] as TOML takes the place of the one in force; 400 names the line of a mistake |
//! | `GET /healthz` | 200 |
//!
//! [`Gateway::listen_smpp`] makes it a message centre too, on the same record and under the same script.
//!
//! *Taken* means that a customer gets a text, whatever the client was told: [`Received::taken`]. Look-ups may carry
//! `api_key`, which must then be right; 501 when the script does not offer them.
//!
//! Below `/vendor/NAME` it speaks the dialects of vendors (Twilio, Vonage, Infobip, Orange, L2T, WinSMS, capcom6), each with the
//! vendor's own paths, errors, look-ups and pushes; docs/SIMULATOR.md. Messages, faults and counts are the same ones.
//!
//! Inside, a connection reads HTTP, the desk enters each message and asks the director what the script wants, and the
//! exchange does it. Limits: [`MAX_CONNECTIONS`], [`MAX_MESSAGES`] and [`MAX_KEPT_BYTES`] (then 507), bodies of 1 MiB
//! (then 413). Everything it knows is in memory and ends with it.

mod account;
mod connection;
mod control;
mod courier;
mod desk;
mod dialect;
mod director;
mod exchange;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod inbox;
mod ledger;
mod letter;
mod line;
mod post;
mod receipts;
mod reply;
mod rule;
mod script;
mod smpp;
#[cfg(test)]
mod tests;
mod visit;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Semaphore, broadcast};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use self::courier::Courier;
use self::desk::Desk;
pub use self::desk::Stats;
pub use self::ledger::{Answer, MAX_KEPT_BYTES, MAX_MESSAGES, Received, Totals};
pub use self::line::log_line;
pub use self::rule::{Fault, MAX_DELAY};
pub use self::script::{MAX_RULES, Script, ScriptError};
use self::smpp::Centre;
pub use self::smpp::SmppStats;

/// Most connections at one time; the next waits in the system's queue until one ends.
pub const MAX_CONNECTIONS: usize = 4_096;

/// Wait after a connection could not be taken, mostly for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A gateway that is listening. Dropping it stops it without waiting for the end.
#[derive(Debug)]
pub struct Gateway {
    addr: SocketAddr,
    desk: Arc<Desk>,
    centre: Arc<Centre>,
    tasks: TaskTracker,
    halt: CancellationToken,
    stop: DropGuard,
}

impl Gateway {
    /// Listens on `listen` (port 0 chooses a free one) and plays `script`.
    ///
    /// # Errors
    /// The address could not be bound.
    pub async fn start(listen: SocketAddr, script: Script) -> io::Result<Gateway> {
        let listener = TcpListener::bind(listen).await?;
        let addr = listener.local_addr()?;
        let (courier, errands) = Courier::new();
        let desk = Arc::new(Desk::new(script, courier));
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        tasks.spawn(stop.clone().run_until_cancelled_owned(errands));
        let centre = Centre::new(Arc::clone(&desk));
        let doors = accept(listener, (Arc::clone(&desk), Arc::clone(&centre)), tasks.clone(), stop.clone());
        tasks.spawn(stop.clone().run_until_cancelled_owned(doors));
        Ok(Gateway { addr, desk, centre, tasks, halt: stop.clone(), stop: stop.drop_guard() })
    }

    /// Speaks SMPP 3.4 at this address too (port 0 chooses a free one), which is returned.
    ///
    /// # Errors
    /// The address could not be bound.
    pub async fn listen_smpp(&self, listen: SocketAddr) -> io::Result<SocketAddr> {
        smpp::listen(&self.centre, listen, &self.tasks, &self.halt).await
    }

    /// Sends a customer's text over SMPP, once somebody is bound, until it is taken.
    pub fn reply_smpp(&self, from: &str, text: &str) {
        self.centre.reply(from, text);
    }

    /// Cuts every SMPP link without a word.
    pub fn cut_smpp(&self) {
        self.centre.cut();
    }

    /// What happened over SMPP.
    pub fn smpp_stats(&self) -> SmppStats {
        self.centre.stats()
    }

    /// The address it listens on.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where messages are posted: `http://ADDR/v1/messages`.
    pub fn url(&self) -> String {
        format!("http://{}/v1/messages", self.addr)
    }

    /// Everything received since the start or the last clear, in order of arrival.
    pub fn received(&self) -> Vec<Arc<Received>> {
        self.desk.messages()
    }

    /// How many messages [`received`](Gateway::received) would give.
    pub fn count(&self) -> usize {
        self.desk.message_count()
    }

    /// What `GET /stats` tells.
    pub fn stats(&self) -> Stats {
        self.desk.stats()
    }

    /// Forgets what was received, and the sums. Ids go on, so that none is given twice.
    pub fn clear(&self) {
        self.desk.clear();
    }

    /// Plays another script from the next message on; its counts and dice begin anew.
    pub fn set_script(&self, script: Script) {
        self.desk.set_script(script);
    }

    /// Every message from now on, in order of arrival. One who falls 4,096 messages behind loses the oldest and is told
    /// so.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Received>> {
        self.desk.subscribe()
    }

    /// Stops listening and cuts every connection, answered or not, as a gateway does that dies. The port is free
    /// afterwards.
    pub async fn stop(self) {
        drop(self.stop);
        self.tasks.close();
        self.tasks.wait().await;
    }
}

async fn accept(
    listener: TcpListener,
    (desk, centre): (Arc<Desk>, Arc<Centre>),
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    let seats = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    // The semaphore is never closed, so the loop ends only with its task.
    while let Ok(seat) = Arc::clone(&seats).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                let serving = connection::serve(Arc::clone(&desk), Arc::clone(&centre), stream);
                let serving = async move {
                    serving.await;
                    drop(seat);
                };
                tasks.spawn(stop.clone().run_until_cancelled_owned(serving));
            }
            Err(error) => {
                tracing::warn!(%error, "simulated gateway: a connection could not be taken");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
