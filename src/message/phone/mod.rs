//! Phone numbers: from what a person typed to the E.164 number an SMS may be sent to, or the reason why none may.
//!
//! Owns the reading of phone texts (the garage's `varchar(20)` column, what staff type at a prompt), the Tunisian
//! numbering plan and the list of countries we send to. Never touches the database or the network, and never decides
//! anything about consent.
//!
//! The protocol, in three steps:
//! 1. `scan` turns the text into *runs* of ASCII digits: other scripts' digits are mapped, invisible characters
//!    dropped, separators and words end a run. A digit is never dropped to make a number fit.
//! 2. Each run is read from left to right: a Tunisian number by our own table (`tunisia`), any other country by
//!    libphonenumber's metadata (`foreign`), which is loaded only when such a number comes.
//! 3. The first run that is a mobile number in an allowed country wins, and what was repaired or left aside is
//!    reported as [`Note`]s. If there is none, the most telling [`Refusal`] is the answer.
//!
//! What is repaired is only what can be read in one way (a trunk zero, a country code written twice). Everything
//! else is refused with a hint: an SMS to a stranger is worse than a row that staff must correct. A refusal is
//! permanent for that text; trying again gives the same answer.

mod countries;
mod foreign;
mod normalised;
mod number;
mod refusal;
mod scan;
mod tunisia;

pub use countries::{Countries, CountriesError};
pub use normalised::Normalised;
pub use number::Number;
pub use refusal::{Note, Refusal};

use scan::{OTHER_NUMBER_MIN_DIGITS, Run};

/// Longest text looked at, in bytes: several times the garage's `varchar(20)` in the widest script, and far too short
/// to keep a processor busy. Longer texts are refused whole, for a cut could turn one number into another.
pub const INPUT_LIMIT_BYTES: usize = 256;

/// Most digits a run may have: the 15 of E.164, plus `00` and a country code written twice.
const RUN_LIMIT_DIGITS: usize = 20;

/// Finds the mobile number in `input`, read as somebody in Tunisia would write it (see the module's protocol).
///
/// Normalising the result's text gives the same number again. Never panics, whatever the text holds.
///
/// # Errors
///
/// A [`Refusal`] when the text holds no number an SMS may be sent to. It is permanent for this text.
pub fn normalise(input: &str, allowed: &Countries) -> Result<Normalised, Refusal> {
    let input = input.trim();
    if input.len() > INPUT_LIMIT_BYTES {
        return Err(Refusal::invalid("the text is too long to be one"));
    }
    let runs = scan::runs(input);
    if runs.is_empty() && !scan::is_placeholder(input) {
        return Err(Refusal::invalid("the text holds no number"));
    }
    let mut most_telling = Refusal::Missing;
    for (index, run) in runs.iter().enumerate() {
        match read(run, allowed) {
            Ok(Normalised { number, mut notes }) => {
                note_leftovers(&runs, index, &number, &mut notes);
                return Ok(Normalised { number, notes });
            }
            Err(refusal) => {
                if refusal.weight() > most_telling.weight() {
                    most_telling = refusal;
                }
            }
        }
    }
    Err(most_telling)
}

/// Reads one run as one number.
fn read(run: &Run, allowed: &Countries) -> Result<Normalised, Refusal> {
    let digits = run.digits.as_str();
    if digits.bytes().all(|digit| digit == b'0') {
        return Err(Refusal::Missing);
    }
    if run.glued {
        return Err(Refusal::invalid("letters touch its digits"));
    }
    if digits.len() > RUN_LIMIT_DIGITS {
        return Err(Refusal::invalid("it has too many digits; separate several numbers with a slash"));
    }
    let without_prefix = digits.strip_prefix("00");
    let international = if run.plus { Some(without_prefix.unwrap_or(digits)) } else { without_prefix };
    let normalised = match international {
        Some(rest) => match rest.strip_prefix(tunisia::COUNTRY_CODE) {
            Some(national) => tunisia::read(national)?,
            None => Normalised { number: foreign::read(rest)?, notes: Vec::new() },
        },
        None => tunisia::read(tunisia::strip_bare_country_code(digits))?,
    };
    if allowed.contains(normalised.number.region()) {
        Ok(normalised)
    } else {
        Err(Refusal::CountryNotAllowed { region: normalised.number.region().to_owned() })
    }
}

/// Reports the runs that were not chosen; the same number written twice is not worth a word.
fn note_leftovers(runs: &[Run], chosen: usize, number: &Number, notes: &mut Vec<Note>) {
    let others = || runs.iter().enumerate().filter(|(index, _)| *index != chosen).map(|(_, run)| run.digits.as_str());
    let numbers = others()
        .filter(|digits| digits.len() >= OTHER_NUMBER_MIN_DIGITS && !digits.ends_with(number.national()))
        .count();
    if numbers > 0 {
        notes.push(Note::OthersIgnored(numbers));
    }
    if others().any(|digits| digits.len() < OTHER_NUMBER_MIN_DIGITS) {
        notes.push(Note::DigitsIgnored);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests;
