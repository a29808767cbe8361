//! What a message is: kinds, numbers, encodings, texts, decisions, outcomes.
//!
//! Pure: no I/O, no clock, no async. Imports nothing of ours, and everything else may import it. Whoever wants to know
//! what the program would do with a message, and why, finds the answer here: [`policy`] decides, [`template`] words,
//! [`phone`] and [`encoding`] know the field's standards.

pub mod category;
pub mod encoding;
pub mod facts;
pub mod fit;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod hours;
pub mod kind;
pub mod outcome;
pub mod phone;
pub mod policy;
pub mod reason;
pub mod rewording;
#[cfg(test)]
mod samples;
pub mod template;
pub mod variables;
pub mod words;
