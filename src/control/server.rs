//! The socket itself: made with mode 0660 and the configured group, served until the daemon stops.
//!
//! A socket file that a dead daemon left behind is replaced; one that somebody answers on is not. Every connection has a
//! time limit for its request's head and one for its whole life, and there are at most [`CONNECTIONS_LIMIT`] of them.

use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use axum::{Extension, Router};
use nix::sys::stat::{Mode, umask};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::peer::Peer;
use crate::serve::serve;

/// Connections at once; the next one waits in the system's queue.
const CONNECTIONS_LIMIT: usize = 128;

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

    /// Serves until `stop`, then lets open requests end.
    pub async fn serve(self, router: Router, stop: CancellationToken) {
        let of = |stream: &UnixStream| router.clone().layer(Extension(Peer::of(stream)));
        serve("the control socket", CONNECTIONS_LIMIT, &self.listener, stop, of).await;
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            debug!(error = %error, "the control socket was already gone");
        }
    }
}
