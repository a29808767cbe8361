//! An E.164 number that has been checked. Only this folder can make one, so whoever holds a [`Number`] may send to it.

use std::fmt;

/// Digits at the end of a number that a masked form still shows: enough to recognise a customer one is looking for.
const MASK_VISIBLE_DIGITS: usize = 2;

/// A mobile number in E.164 form (ITU-T E.164): a plus, the country code and the national number, 15 digits at most.
///
/// `Display` prints it in full, for providers and the database; `Debug` prints it masked, so that a log line cannot
/// give it away by accident.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Number {
    e164: String,
    /// Where the national number starts in `e164`, in bytes.
    national_at: usize,
    region: String,
}

impl Number {
    /// Puts a checked number together; both codes are digits only.
    pub(super) fn new(country_code: &str, national: &str, region: &str) -> Self {
        Self {
            e164: format!("+{country_code}{national}"),
            national_at: 1 + country_code.len(),
            region: region.to_owned(),
        }
    }

    /// The number with its plus: `+21620000123`.
    pub fn as_str(&self) -> &str {
        &self.e164
    }

    /// The number without its plus: `21620000123`.
    pub fn digits(&self) -> &str {
        self.e164.trim_start_matches('+')
    }

    /// The part after the country code: `20000123`.
    pub fn national(&self) -> &str {
        &self.e164[self.national_at..]
    }

    /// The country as ISO 3166 alpha-2 (`TN`), or `001` for a satellite or other global network.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// The number for logs: country code and last two digits only, in groups of 2, 3, 3 ... digits as Tunisians read
    /// them: `+216 ** *** *23`.
    pub fn masked(&self) -> String {
        let national = self.national();
        let visible_at = national.len().saturating_sub(MASK_VISIBLE_DIGITS);
        let mut masked = self.e164[..self.national_at].to_owned();
        for (index, digit) in national.char_indices() {
            let lone_last = index + 1 == national.len();
            if index == 0 || (index % 3 == 2 && !lone_last) {
                masked.push(' ');
            }
            masked.push(if index < visible_at { '*' } else { digit });
        }
        masked
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.e164)
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Number({})", self.masked())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_shows_itself_in_full_only_when_asked() {
        let number = Number::new("216", "20000123", "TN");
        assert_eq!(number.to_string(), "+21620000123");
        assert_eq!(number.as_str(), "+21620000123");
        assert_eq!(number.digits(), "21620000123");
        assert_eq!(number.national(), "20000123");
        assert_eq!(number.masked(), "+216 ** *** *23");
        assert_eq!(format!("{number:?}"), "Number(+216 ** *** *23)");
    }

    #[test]
    fn masking_keeps_two_digits_of_any_length() {
        assert_eq!(Number::new("33", "612345678", "FR").masked(), "+33 ** *** **78");
        assert_eq!(Number::new("290", "5123", "SH").masked(), "+290 ** 23");
    }
}
