//! What must hold of times and lists that staff write, for any input; the fuzz targets run it for hours, the tests for a moment
//! (docs/FUZZING.md). A property that does not hold panics.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{list, output, when};

/// Beginnings for [`time`].
pub const TIME_SEEDS: &[&str] = &[
    "2026-12-01 08:00",
    "2026-12-01T08:00+01:00",
    "18:30",
    "2h",
    "2026-03-29 02:30",
    "-009999-01-01T00:00:00Z",
    "9999-12-31 23:59:59.999999999",
    "584554049253years",
    "00220211 000212z",
];

/// A time is read or refused, an hour alone lies ahead, and what is repeated of it cannot drive a terminal.
pub fn time(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let now = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::get("Europe/Paris").unwrap_or(TimeZone::UTC));
    match when::parse(&text, &now) {
        Ok(at) => {
            let _ = when::show(at, now.time_zone());
            assert!(text.contains('-') || at >= now.timestamp(), "{text:?} is {at}");
        }
        Err(problem) => assert!(!output::visible(&problem).chars().any(char::is_control)),
    }
    let _ = when::duration(&text);
}

/// Beginnings for [`people`].
pub const PEOPLE_SEEDS: &[&str] = &[
    "Date;Numéro;Langue\n2026-11-26;20 000 001;ar\n\n2026-11-26;+216 20 000 002;fr\n",
    "20000001,ar\r\n\"20 000\"\"002\",\"f\nr\"\r\n",
    "\u{feff}msisdn\tlang\n20000003",
    "\"",
];

/// Entries are lines of the list, in its order, each with a number and a text for every column asked for.
pub fn people(data: &[u8]) {
    let lines = data.iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
    let Ok(entries) = list::entries(data, &[list::NUMBER, list::LANGUAGE]) else { return };
    let mut last = 0;
    for entry in entries {
        assert!(entry.texts.len() == 2 && !entry.texts[0].is_empty(), "{entry:?}");
        assert!((last..=lines).contains(&entry.line) && entry.line > 0, "{entry:?} of {lines}");
        last = entry.line;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_property_holds_for_the_beginnings_of_the_fuzz_targets() {
        TIME_SEEDS.iter().for_each(|seed| time(seed.as_bytes()));
        PEOPLE_SEEDS.iter().for_each(|seed| people(seed.as_bytes()));
    }

    proptest! {
        #[test]
        fn no_list_upsets_its_reader(text in "([0-9 +a-zé\"]{0,9}[;,\t\n\r]{1,2}){0,20}") {
            people(text.as_bytes());
        }

        #[test]
        fn no_text_upsets_the_reading_of_times(text in prop_oneof![any::<String>(), "[0-9 :TZ+-]{0,25}[a-z]{0,7}"]) {
            time(text.as_bytes());
        }
    }
}
