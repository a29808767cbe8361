//! What we know of the garage: facts for texts, reminders of appointments, events that made no message.
//!
//! The SQL that names the garage's tables stands in `sql/garage/` alone, behind functions; a garage with other tables
//! replaces that folder and keeps these signatures.

pub mod facts;
pub mod missed;
pub mod reminders;
