//! Message ids as centres write them: a decimal number where a message is taken, the same in hexadecimal in its receipt.

use super::config::IdForm;

/// Longest id kept, in characters: 64 in SMPP 3.4, section 5.2.23.
const ID_LIMIT_CHARS: usize = 64;

/// The id as it is kept: cleaned, and in decimal when its form is known. What is no number of its form stays as it is.
pub(super) fn kept(id: &str, form: IdForm) -> String {
    // Ids of the parts of a message are joined by a space, so none may hold one.
    let id: String = id.chars().filter(|c| c.is_ascii_graphic()).take(ID_LIMIT_CHARS).collect();
    let number = match form {
        IdForm::AsIs => None,
        IdForm::Decimal => id.parse::<u128>().ok(),
        IdForm::Hex => {
            u128::from_str_radix(id.strip_prefix("0x").or_else(|| id.strip_prefix("0X")).unwrap_or(&id), 16).ok()
        }
    };
    number.map_or(id, |number| number.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_forms_of_a_number_are_kept_as_one() {
        assert_eq!(kept("00002A", IdForm::Hex), kept("42", IdForm::Decimal));
        assert_eq!(kept("0x2a", IdForm::Hex), "42");
        assert_eq!(kept("0042", IdForm::Decimal), "42");
        assert_eq!(kept("0042", IdForm::AsIs), "0042");
    }

    #[test]
    fn what_is_no_number_stays_but_for_spaces_and_what_is_not_plain() {
        assert_eq!(kept("8f2c-11", IdForm::Hex), "8f2c-11");
        assert_eq!(kept(" a b\0c\n", IdForm::AsIs), "abc");
        assert_eq!(kept(&"9".repeat(80), IdForm::Decimal).len(), 64);
    }

    proptest! {
        #[test]
        fn any_id_is_short_plain_and_stays_as_it_is_kept(id in any::<String>()) {
            for form in [IdForm::AsIs, IdForm::Decimal, IdForm::Hex] {
                let once = kept(&id, form);
                prop_assert!(once.len() <= 64 && once.chars().all(|c| c.is_ascii_graphic()));
            }
        }
    }
}
