//! Who is at the other end of the socket.

use tokio::net::UnixStream;

/// The caller, as the kernel knows it.
#[derive(Debug, Clone)]
pub struct Peer {
    name: String,
}

impl Peer {
    /// Asks the kernel.
    pub fn of(stream: &UnixStream) -> Self {
        let name = match stream.peer_cred() {
            Ok(credentials) => {
                let uid = credentials.uid();
                match nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid)) {
                    Ok(Some(user)) => format!("{} (uid {uid})", user.name),
                    Ok(None) | Err(_) => format!("uid {uid}"),
                }
            }
            Err(_) => "unknown".to_owned(),
        };
        Self { name }
    }

    /// What is recorded as `requested_by`: the account's name and uid.
    pub fn name(&self) -> &str {
        &self.name
    }
}
