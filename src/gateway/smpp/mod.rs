//! The gateway as a message centre: SMPP 3.4 at an address of its own, on the same record and under the same script.
//!
//! Every `submit_sm` is a message on the record, under the path `/smpp`; a part of a long text under `/smpp?ref=R&part=P&of=N`. Rules, dice and latency act as
//! they do over HTTP, a status being answered as the `command_status` that means the same; a fault cuts the link, but for `silence`. What is due to be sent
//! to the client (receipts, replies) waits while nobody is bound, and is sent again until it is taken, as centres do.

mod centre;
mod mail;
mod session;
mod text;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(super) use centre::Centre;
pub use centre::SmppStats;

/// Most links at one time; the next waits in the system's queue.
const MAX_LINKS: usize = 64;

/// Wait after a link could not be taken, mostly for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Takes links at `address` until `stop`.
pub(super) async fn listen(
    centre: &Arc<Centre>,
    address: SocketAddr,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let doors = accept(listener, Arc::clone(centre), tasks.clone(), stop.clone());
    tasks.spawn(stop.clone().run_until_cancelled_owned(doors));
    Ok(address)
}

async fn accept(listener: TcpListener, centre: Arc<Centre>, tasks: TaskTracker, stop: CancellationToken) {
    let seats = Arc::new(Semaphore::new(MAX_LINKS));
    // The semaphore is never closed, so the loop ends only with its task.
    while let Ok(seat) = Arc::clone(&seats).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                let serving = session::serve(Arc::clone(&centre), stream);
                let serving = async move {
                    serving.await;
                    drop(seat);
                };
                tasks.spawn(stop.clone().run_until_cancelled_owned(serving));
            }
            Err(error) => {
                tracing::warn!(%error, "simulated message centre: a link could not be taken");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
