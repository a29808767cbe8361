//! `ecar-sms`: reliable text messages for a car garage.
//!
//! The path of a message, by folders: the garage's application writes its tables; triggers (`sql/garage`) write
//! `sms_outbox`; [`outbox`] claims, prepares, sends and settles; [`provider`] carries; [`receipt`] hears what became of it;
//! [`control`] and [`cli`] show staff.
//!
//! Dependencies run one way:
//!
//! ```text
//! cli, daemon, demo -> control, receipt, config, gateway -> outbox -> provider, garage, db, journal, metrics -> message, crash, serve
//! ```
//!
//! [`message`] imports nothing of ours; [`provider`] knows no queue; [`outbox`] knows no garage table; nothing imports
//! [`daemon`] but the command line and the demo. A test reads the imports and fails when this is no longer true.

pub mod cli;
pub mod config;
pub mod control;
pub mod crash;
pub mod daemon;
pub mod db;
pub mod demo;
pub mod garage;
pub mod gateway;
pub mod journal;
pub mod message;
pub mod metrics;
pub mod outbox;
pub mod provider;
pub mod receipt;
pub mod serve;
