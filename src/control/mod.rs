//! The control socket: HTTP/1.1 with JSON on a Unix socket. Whoever may open it is staff; the caller's uid, as the kernel
//! tells it, is recorded with what they ask for.
//!
//! Owns no state: every answer comes from the database or from a snapshot that the daemon hands in. A failing database
//! makes an answer 503, a bad request 400 to 422 with a sentence (RFC 9457), an unknown path 404; nothing a client sends
//! can stop the daemon. Bodies and requests at once are limited.

pub mod api;
pub mod desk;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod garage_api;
pub mod peer;
pub mod people;
mod plain;
pub mod problem;
pub mod providers;
mod request;
pub mod server;
pub mod status;
mod texts;
