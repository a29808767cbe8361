//! What must hold of configuration files for any input; the fuzz targets run it for hours, the tests for a moment
//! (docs/FUZZING.md). A property that does not hold panics.

use super::{Surroundings, assemble, parse_file};

/// Beginnings for [`file`].
pub const SEEDS: &[&str] = &[
    "[database]\nurl = 'postgresql:///garage'\npool_size = 4\n[log]\nlevel = 'info'\nformat = 'json'\n",
    "[garage]\ntime_zone = 'Africa/Tunis'\ncountries = ['TN', 'FR']\n[sending]\npoll_interval = '1s'\nretry_longest = '10min'\n",
    "[gateway]\nurl = 'http://127.0.0.1:1/'\nsender_id = 'ECAR'\nconcurrency = 8\nrate = 1e9\n",
    "[[provider]]\nname = 'a'\nlog = {}\n[[provider]]\nname = 'a'\n[provider.generic]\nurl = 'https://h/{{ phone }}'\n",
    "[sending]\nretry_first = '18446744073709551615days'\n",
    "[gateway]\napi_kye = 'x'\n",
];

/// Secrets of the environment, which nothing may show.
const SECRET: &str = "secret-of-the-environment";

/// A file is refused with the line, or read; neither shows a secret.
pub fn file(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let secrets = |name: &str| match name {
        "DATABASE_URL" => Some(format!("postgresql://u:{SECRET}@h/d")),
        "SMS_API_KEY" => Some(SECRET.to_owned()),
        _ => None,
    };
    let surroundings = Surroundings { variable: &secrets };
    let shown = match parse_file("config.toml", &text).and_then(|file| assemble(file, &surroundings)) {
        Ok(config) => format!("{config:?}"),
        Err(error) => error.to_string(),
    };
    assert!(!shown.contains(SECRET), "{shown}");
    let lines = text.matches('\n').count() + 1;
    if let Err(super::ConfigError::Line { line, .. }) = parse_file("config.toml", &text) {
        assert!((1..=lines).contains(&line), "line {line} of {lines}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_property_holds_for_the_beginnings_of_the_fuzz_targets() {
        SEEDS.iter().for_each(|seed| file(seed.as_bytes()));
    }

    proptest! {
        #[test]
        fn any_file_is_read_or_refused_with_a_line_that_it_has(text in "[\\[\\]a-z_=\"'\\n 0-9.é{},]{0,120}") {
            file(text.as_bytes());
        }

        #[test]
        fn any_value_of_a_known_key_is_taken_or_refused(
            seed in prop::sample::select(SEEDS),
            at in any::<prop::sample::Index>(),
            put in "[a-z0-9'\"\\[\\]{}=.\n -]{0,12}",
        ) {
            let at = at.index(seed.len() + 1);
            file([&seed.as_bytes()[..at], put.as_bytes(), &seed.as_bytes()[at..]].concat().as_slice());
        }
    }
}
