//! The local journal: what the process knew, for whoever comes after a kill.
//!
//! It is advisory. The database alone says which messages there are and who holds them; the journal tells, of those that a dead
//! process held, which requests were never written, which were answered, and which are truly in doubt. Without it all of them
//! are in doubt.
//!
//! # Protocol
//!
//! Every start of the daemon has a folder of its own below the state directory, `journal-DATABASE-OWNER`, with a lock file that it
//! holds locked for as long as it lives: the kernel releases the lock however it dies, so a free lock proves that nobody will write
//! another request. In it stand segments of lines, one JSON object each: a head, then *begun* before a request is written, and
//! *answered* after its answer was read. A claim says in the database whether the journal was usable ([`Journal::usable`]); when
//! *begun* cannot be written after all, nothing is sent and the rows go back. So for such a claim a missing *begun* means that no
//! request was written.
//!
//! Nothing is flushed to the disk: what a process wrote survives its kill in the kernel's memory. It does not survive the machine's.
//! The head names the boot, and after another boot a missing line means nothing; the lines that are there are still true.
//!
//! A segment is removed when all its messages are settled, the folder when the daemon stops with nothing open. Lines hold numbers and
//! texts, so folder and files are for the daemon's account alone.
//!
//! A full or broken disk makes the journal unusable, which is said once; a new segment is tried every [`REOPEN_EVERY`].

mod entry;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod reader;
mod writer;

use std::time::Duration;

pub use entry::{Answered, Begun, Head, Key, Line};
pub use reader::{Leftover, Log, leftovers};
pub use writer::Journal;

/// Bytes after which the next segment is begun.
const SEGMENT_BYTES: u64 = 4 * 1024 * 1024;

/// How often a journal that cannot be written is tried again.
pub const REOPEN_EVERY: Duration = Duration::from_secs(30);

/// The lock file of a folder.
const LOCK: &str = "lock";

/// Segments are named `000001.log`.
const SEGMENT_ENDING: &str = "log";
