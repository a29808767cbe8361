//! Numbers outside Tunisia, by libphonenumber's metadata. The library unpacks it (about 4 MB, some milliseconds) the
//! first time it is asked, and keeps it: nothing here may be called before a foreign number or country really comes.

use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumberType, Region};

use super::{Number, Refusal};

/// Whether the metadata has this region (ISO 3166 alpha-2, in capitals).
pub(super) fn knows(region: &str) -> bool {
    Region::from_code(region).is_ok_and(|region| PHONE_NUMBER_UTIL.get_country_code_for_region(region).is_some())
}

/// Reads the digits that follow the plus, country code first.
pub(super) fn read(digits: &str) -> Result<Number, Refusal> {
    let unreadable = || Refusal::invalid("check the country code and the number of digits");
    let number = PHONE_NUMBER_UTIL.parse(format!("+{digits}"), None).map_err(|_| unreadable())?;
    let region = PHONE_NUMBER_UTIL.get_region_for_number(&number).ok_or_else(unreadable)?;
    match PHONE_NUMBER_UTIL.get_number_type(&number) {
        PhoneNumberType::Mobile | PhoneNumberType::FixedLineOrMobile => Ok(Number::new(
            &number.country_code.to_string(),
            &rlibphonenumber::get_national_significant_number_owned(&number),
            &region.as_region_str(),
        )),
        PhoneNumberType::FixedLine | PhoneNumberType::VoIP => Err(Refusal::Landline),
        PhoneNumberType::TollFree
        | PhoneNumberType::PremiumRate
        | PhoneNumberType::SharedCost
        | PhoneNumberType::PersonalNumber
        | PhoneNumberType::Pager
        | PhoneNumberType::UAN
        | PhoneNumberType::VoiceMail => Err(Refusal::SpecialNumber),
        PhoneNumberType::Unknown => Err(unreadable()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use proptest::prelude::*;
    use rlibphonenumber::PhoneNumberFormat;

    use super::*;

    fn example(region: Region, kind: PhoneNumberType) -> Option<(String, String)> {
        let number = PHONE_NUMBER_UTIL.get_example_number_for_type_and_region(region, kind).ok()?;
        let e164 = PHONE_NUMBER_UTIL.format(&number, PhoneNumberFormat::E164).into_owned();
        Some((e164, region.to_string()))
    }

    #[test]
    fn the_example_mobile_of_every_country_is_read_as_itself() {
        let mut seen = 0;
        for region in PHONE_NUMBER_UTIL.get_supported_regions() {
            let Some((e164, code)) = example(region, PhoneNumberType::Mobile) else { continue };
            let number = read(&e164[1..]).unwrap_or_else(|refusal| panic!("{code} {e164}: {refusal}"));
            assert_eq!(number.as_str(), e164);
            // Islands that share the plan of a larger country (CX and AU) cannot be told from it.
            let told = Region::from_code(number.region()).unwrap();
            let calling_code = |region| PHONE_NUMBER_UTIL.get_country_code_for_region(region);
            assert_eq!(calling_code(told), calling_code(region), "{code} {e164}");
            seen += 1;
        }
        assert!(seen > 230, "only {seen} countries have an example");
    }

    #[test]
    fn the_example_landline_of_every_country_is_never_sent_to() {
        for region in PHONE_NUMBER_UTIL.get_supported_regions() {
            let Some((e164, code)) = example(region, PhoneNumberType::FixedLine) else { continue };
            match read(&e164[1..]) {
                Err(Refusal::Landline) => {}
                // Where the plan does not tell the two apart (North America and others), the number may be a mobile.
                Ok(_) => {
                    let number = PHONE_NUMBER_UTIL.parse(&e164, None).unwrap();
                    assert_eq!(
                        PHONE_NUMBER_UTIL.get_number_type(&number),
                        PhoneNumberType::FixedLineOrMobile,
                        "{code}"
                    );
                }
                Err(refusal) => panic!("{code} {e164}: {refusal}"),
            }
        }
    }

    #[test]
    fn special_and_impossible_numbers_are_told_apart() {
        assert_eq!(read("33800123456"), Err(Refusal::SpecialNumber));
        assert_eq!(read("80012345678"), Err(Refusal::SpecialNumber));
        for digits in ["", "0", "1", "99999999", "11234567890", "3361234567", "336123456789", "21", "012345678"] {
            assert!(matches!(read(digits), Err(Refusal::Invalid { .. })), "{digits}");
        }
    }

    proptest! {
        #[test]
        fn reading_the_digits_of_a_number_gives_the_same_number(digits in "[1-9][0-9]{0,19}") {
            if let Ok(number) = read(&digits) {
                prop_assert!(number.digits().len() <= 15);
                prop_assert_eq!(read(number.digits()), Ok(number));
            }
        }

        #[test]
        fn a_trunk_zero_in_brackets_changes_nothing(tail in "[0-9]{8}") {
            prop_assert_eq!(read(&format!("3306{tail}")), read(&format!("336{tail}")));
        }
    }
}
