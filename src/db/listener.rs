//! The one direct connection: LISTEN for wake-ups, and the advisory lock that shows that this daemon lives.
//!
//! Nothing depends on it: without it the outbox is polled. It drains its socket at all times (a listener that stops
//! reading can fill the server's notification queue until commits of the application fail), asks for a sign of life
//! every [`PING_EVERY`], and reconnects afresh with a growing pause. After every LISTEN it wakes the claimer, because
//! what came before the LISTEN was not announced to it.
//!
//! Through a pooler in transaction mode LISTEN succeeds and nothing ever arrives. So each LISTEN is tried: another connection
//! sends a notification, and only when it arrives does this one count as listening and take the lock, which a pooled session
//! would keep for ever.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio_postgres::AsyncMessage;
use tokio_postgres::types::Type;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{Database, DbError, Target, statement};

/// First half of the advisory lock's key, the owner number being the second: "sms" and a 3 in ASCII, unlikely to be another
/// program's. Repeated in `sql/staff/owners.sql` and in `sms_maintain`.
pub const LOCK_CLASS: i32 = 1_934_709_619;

/// The channel; the same word stands in the SQL of the triggers.
const CHANNEL: &str = "sms_outbox";

/// How often the connection must show a sign of life.
const PING_EVERY: Duration = Duration::from_secs(15);

/// How long a sign of life may take.
const PING_DEADLINE: Duration = Duration::from_secs(5);

/// How long the trial notification may take.
const TRIAL_DEADLINE: Duration = Duration::from_secs(5);

/// Pauses between attempts to connect: first and longest.
const RECONNECT_PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// What the listener tells the rest of the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hearing {
    /// Wake-ups arrive.
    Listening,
    /// No direct connection, with the reason: the outbox is polled.
    Polling(String),
}

/// Listens until `stop`, through any number of reconnects.
pub async fn run(
    target: Target,
    database: Database,
    owner: i32,
    wake: Arc<Notify>,
    hearing: watch::Sender<Hearing>,
    stop: CancellationToken,
) {
    let mut pause = RECONNECT_PAUSE.0;
    loop {
        let ended = tokio::select! {
            () = stop.cancelled() => return,
            ended = listen(&target, &database, owner, &wake, &hearing) => ended,
        };
        let Err(error) = ended;
        let now = Hearing::Polling(error.to_string());
        let before = hearing.send_replace(now.clone());
        if before == Hearing::Listening {
            pause = RECONNECT_PAUSE.0;
        }
        // Said once, not at every attempt of a long outage.
        if before != now {
            warn!(error = %error, "no direct connection to the database; the outbox is polled until it is back");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(RECONNECT_PAUSE.1);
    }
}

/// One connection, from connect to its end, which is always an error.
async fn listen(
    target: &Target,
    database: &Database,
    owner: i32,
    wake: &Arc<Notify>,
    hearing: &watch::Sender<Hearing>,
) -> Result<std::convert::Infallible, DbError> {
    let (client, mut connection) = target.config().connect(target.tls()).await?;
    let drain_wake = Arc::clone(wake);
    let (heard, mut hears) = watch::channel(false);
    // The connection is driven by a task of its own, so that a slow statement never keeps it from draining the socket.
    let mut driver = AbortOnDrop(tokio::spawn(async move {
        loop {
            match poll_fn(|context| connection.poll_message(context)).await {
                Some(Ok(AsyncMessage::Notification(_))) => {
                    heard.send_replace(true);
                    drain_wake.notify_one();
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return DbError::from(error),
                None => return DbError::Unavailable("the connection was closed".to_owned()),
            }
        }
    }));
    within(client.batch_execute(&format!("LISTEN {CHANNEL}"))).await?;
    database.query(&statement::TRY_NOTIFY, &[]).await?;
    if !matches!(tokio::time::timeout(TRIAL_DEADLINE, hears.wait_for(|heard| *heard)).await, Ok(Ok(_))) {
        return Err(DbError::Unavailable(
            "a trial notification did not arrive: is this a pooler in transaction mode? name the way around it in [database] direct_url".to_owned(),
        ));
    }
    let key = [(&LOCK_CLASS as _, Type::INT4), (&owner as _, Type::INT4)];
    let rows = within(client.query_typed("SELECT pg_try_advisory_lock($1, $2)", &key)).await?;
    let locked: bool = rows.first().is_some_and(|row| row.get(0));
    if !locked {
        debug!(owner, "the lock of this owner number is still held by an old session of ours");
    }
    hearing.send_replace(Hearing::Listening);
    wake.notify_one();
    info!(owner, "listening for wake-ups");
    loop {
        tokio::select! {
            ended = &mut driver.0 => {
                return Err(ended.unwrap_or_else(|error| DbError::Unavailable(error.to_string())));
            }
            () = tokio::time::sleep(PING_EVERY) => {
                within(client.batch_execute("")).await?;
            }
        }
    }
}

/// An answer of the direct connection, in time.
async fn within<T>(answer: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, DbError> {
    match tokio::time::timeout(PING_DEADLINE, answer).await {
        Ok(result) => result.map_err(DbError::from),
        Err(_) => Err(DbError::Unavailable("the direct connection is silent".to_owned())),
    }
}

/// Ends the connection's task together with whoever waits for it.
struct AbortOnDrop(tokio::task::JoinHandle<DbError>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
