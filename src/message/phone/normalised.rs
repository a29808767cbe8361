//! The result of reading a phone text.

use super::{Note, Number};

/// A number an SMS may be sent to, and what had to be done to find it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Normalised {
    /// The number.
    pub number: Number,
    /// What was repaired or ignored, in the order of discovery; empty for a clean number.
    pub notes: Vec<Note>,
}
