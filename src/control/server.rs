//! The socket itself: made with mode 0660 and the configured group, served until the daemon stops.
//!
//! A socket file that a dead daemon left behind is replaced; one that somebody answers on is not. Every connection has a
//! time limit for its request's head and one for its whole life, and there are at most [`CONNECTIONS_LIMIT`] of them.

use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use nix::sys::stat::{Mode, umask};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::peer::Peer;

/// Connections at once; the next one waits in the system's queue.
const CONNECTIONS_LIMIT: usize = 128;

/// Time allowed for the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Time allowed for a whole connection: longer than the longest wait for a result.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(120);

/// Time that open requests get to end once the daemon has stopped: all results are recorded by then, so whoever waits for
/// one has been told.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// After an error of accept (out of descriptors, say), how long before the next try.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why the socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Somebody answers on it.
    #[error(
        "{0}: another daemon is listening there; stop it, or choose another socket with --socket or ECAR_SMS_SOCKET"
    )]
    InUse(PathBuf),
    /// Something else is there.
    #[error(
        "{0}: there is a file that is no socket; remove it, or choose another socket with --socket or ECAR_SMS_SOCKET"
    )]
    NotASocket(PathBuf),
    /// The system said no.
    #[error("{path}: the control socket cannot be made: {error}")]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// The socket, listening; the file is removed when this is dropped.
#[derive(Debug)]
pub struct ControlSocket {
    path: PathBuf,
    listener: UnixListener,
}

impl ControlSocket {
    /// Makes the socket.
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn bind(path: &Path, group: &str) -> Result<Self, SocketError> {
        let failed = |error: io::Error| SocketError::Io { path: path.to_owned(), error };
        if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            std::fs::create_dir_all(directory).map_err(failed)?;
        }
        match std::fs::symlink_metadata(path) {
            Ok(metadata) if !metadata.file_type().is_socket() => return Err(SocketError::NotASocket(path.to_owned())),
            Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
                return Err(SocketError::InUse(path.to_owned()));
            }
            Ok(_) => std::fs::remove_file(path).map_err(failed)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        // Born with its final mode: nobody else can open it in between.
        let before = umask(Mode::from_bits_truncate(0o117));
        let bound = UnixListener::bind(path);
        umask(before);
        let listener = bound.map_err(failed)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660)).map_err(failed)?;
        match nix::unistd::Group::from_name(group) {
            Ok(Some(found)) => {
                if let Err(error) = std::os::unix::fs::chown(path, None, Some(found.gid.as_raw())) {
                    warn!(group, error = %error, "the control socket could not be given to its group; only this user may use it");
                }
            }
            Ok(None) | Err(_) => {
                debug!(group, "there is no such group; the control socket stays with this user's group")
            }
        }
        Ok(Self { path: path.to_owned(), listener })
    }

    /// Serves until `stop`, then lets open requests end, for [`STOP_GRACE`] at most.
    pub async fn serve(self, router: Router, stop: CancellationToken) {
        let slots = Arc::new(Semaphore::new(CONNECTIONS_LIMIT));
        let connections = TaskTracker::new();
        loop {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { break };
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let connection = serve_connection(stream, router.clone(), stop.clone());
                    connections.spawn(async move {
                        connection.await;
                        drop(slot);
                    });
                }
                Err(error) => {
                    warn!(error = %error, "the control socket could not accept a caller");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        connections.close();
        connections.wait().await;
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            debug!(error = %error, "the control socket was already gone");
        }
    }
}

async fn serve_connection(stream: UnixStream, router: Router, stop: CancellationToken) {
    let peer = Peer::of(&stream);
    let service = TowerToHyperService::new(router.layer(Extension(peer)));
    let mut connection = std::pin::pin!(
        hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service)
    );
    let ended = tokio::time::timeout(CONNECTION_TIMEOUT, async {
        tokio::select! {
            ended = connection.as_mut() => ended,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                tokio::time::timeout(STOP_GRACE, connection).await.unwrap_or(Ok(()))
            }
        }
    });
    if let Ok(Err(error)) = ended.await {
        debug!(error = %error, "a caller of the control socket went wrong");
    }
}
