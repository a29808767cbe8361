//! The countries we send to: a guard against bill shock, for a foreign SMS costs many times a local one.

use std::collections::BTreeSet;

use super::{foreign, tunisia};

/// Longest part of an unknown code that an error repeats, in characters: a mistyped code, not a mistyped file.
const ERROR_CODE_LIMIT_CHARS: usize = 16;

/// An allow-list of countries (ISO 3166 alpha-2). The default is Tunisia alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Countries(Option<BTreeSet<String>>);

/// Why a list of countries was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CountriesError {
    /// The code is not a region that libphonenumber's metadata knows.
    #[error("\"{0}\" is not a country code: two letters of ISO 3166 are expected, for example TN")]
    Unknown(String),
    /// A list without countries would refuse every message.
    #[error("the list of countries is empty, so that no message could be sent; name at least one, for example TN")]
    Empty,
}

impl Countries {
    /// Reads a list of codes, in any case and surrounded by any space.
    ///
    /// A code other than `TN` loads the metadata of all countries (about 4 MB): a garage that never sends abroad
    /// never pays for it.
    ///
    /// # Errors
    ///
    /// [`CountriesError`] when a code is unknown or there is none.
    pub fn from_codes<'a>(codes: impl IntoIterator<Item = &'a str>) -> Result<Self, CountriesError> {
        let mut countries = BTreeSet::new();
        for code in codes {
            let region = code.trim().to_ascii_uppercase();
            if region != tunisia::REGION && !foreign::knows(&region) {
                return Err(CountriesError::Unknown(code.chars().take(ERROR_CODE_LIMIT_CHARS).collect()));
            }
            countries.insert(region);
        }
        if countries.is_empty() { Err(CountriesError::Empty) } else { Ok(Self(Some(countries))) }
    }

    /// Every country: to read a number that is only written down, an opt-out for example, and not texted.
    pub fn everywhere() -> Self {
        Self(None)
    }

    /// Whether we send to this region (ISO 3166 alpha-2 in capitals, as [`super::Number::region`] gives it).
    pub fn contains(&self, region: &str) -> bool {
        self.0.as_ref().is_none_or(|listed| listed.contains(region))
    }
}

impl Default for Countries {
    fn default() -> Self {
        Self(Some(BTreeSet::from([tunisia::REGION.to_owned()])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_tunisia_alone() {
        assert_eq!(Countries::from_codes(["TN"]), Ok(Countries::default()));
        assert!(Countries::default().contains("TN"));
        assert!(!Countries::default().contains("FR"));
    }

    #[test]
    fn codes_are_read_in_any_case_and_with_spaces() {
        let countries = Countries::from_codes([" fr ", "tn"]);
        assert_eq!(countries, Countries::from_codes(["TN", "FR", "FR"]));
        assert!(countries.is_ok_and(|countries| countries.contains("FR") && countries.contains("TN")));
    }

    #[test]
    fn unknown_codes_are_refused() {
        for code in ["", "ZZ", "F", "FRA", "001", "33", "+33", "Tunisie", "é"] {
            assert_eq!(Countries::from_codes(["TN", code]), Err(CountriesError::Unknown(code.to_owned())), "{code:?}");
        }
        assert_eq!(
            Countries::from_codes(["x".repeat(1_000_000).as_str()]),
            Err(CountriesError::Unknown("x".repeat(16)))
        );
    }

    #[test]
    fn an_empty_list_is_refused() {
        assert_eq!(Countries::from_codes([]), Err(CountriesError::Empty));
    }
}
