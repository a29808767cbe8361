//! What became of each message after the provider took it: receipts that are pushed to us, or that we ask for, and what customers send back.
//!
//! - [`listener`] takes what providers push over HTTP: who it comes from, whether it is signed as it should be, whether it is too much.
//! - [`bound`] runs the sessions of providers that keep a link open, and takes what comes on it.
//! - [`poller`] asks the providers that push nothing, in batches, less and less often, for three days.
//! - [`intake`] writes both into the database, which does the rest in one place (`sms_receive`): which message a receipt belongs to, by our reference or by
//!   the provider's id in whatever form; parts that add up; what comes twice; what comes before the answer and waits for it.
//!
//! A receipt moves a message forward only, and never back. One that cannot be written is refused, and the provider repeats it; nothing is kept in
//! memory. Nothing here sends.

pub mod bound;
pub mod intake;
pub mod listener;
pub mod poller;
