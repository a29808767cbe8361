//! What the handlers of the socket share, and how they wait for the result of a message.

use std::time::Duration;

use jiff::tz::TimeZone;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::Instant;

use super::problem::Problem;
use super::status::Vitals;
use crate::message::phone::Countries;
use crate::outbox::settle::Recorded;
use crate::outbox::staff::{self, Message};

/// How often a waiting request looks, should the word of the result be lost.
const WAIT_LOOK: Duration = Duration::from_secs(1);

/// Asks the daemon to read its configuration again; the answer says what happened.
pub type Reload = mpsc::Sender<oneshot::Sender<Result<String, String>>>;

/// What the handlers share.
pub struct Desk {
    /// The daemon's vital signs, with the database.
    pub vitals: Vitals,
    /// Countries that may be texted, to read a number as staff write it.
    pub countries: Countries,
    /// The garage's zone.
    pub zone: TimeZone,
    /// Told of every result.
    pub recorded: broadcast::Sender<Recorded>,
    /// To reload.
    pub reload: Reload,
}

/// Waits until nothing more happens to the message by itself, for `wait` at most; returns it as it stands then.
pub(super) async fn wait_for_rest(desk: &Desk, id: i64, wait: Duration) -> Result<Message, Problem> {
    let deadline = Instant::now() + wait;
    let mut recorded = desk.recorded.subscribe();
    loop {
        let message = staff::show(&desk.vitals.database, id).await?;
        if message.is_at_rest() || Instant::now() >= deadline {
            return Ok(message);
        }
        let look = (Instant::now() + WAIT_LOOK).min(deadline);
        loop {
            match tokio::time::timeout_at(look, recorded.recv()).await {
                Ok(Ok(recorded)) if recorded.id != id => {}
                // Ours, or some were missed, or it is time: look.
                Ok(Ok(_)) | Ok(Err(broadcast::error::RecvError::Lagged(_))) | Err(_) => break,
                Ok(Err(broadcast::error::RecvError::Closed)) => return Ok(message),
            }
        }
    }
}
