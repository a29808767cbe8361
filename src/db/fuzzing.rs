//! What must hold of connection strings for any input; the fuzz targets run it for hours, the tests for a moment
//! (docs/FUZZING.md). A property that does not hold panics.

use super::connect::Target;

/// Beginnings for [`target`].
pub const SEEDS: &[&str] = &[
    "postgresql://sami:hunter2@db1:5433,db2/garage?sslmode=require&connect_timeout=3",
    "host=/run/postgresql dbname=garage password='hunter2' sslmode=disable",
    "postgresql:///garage",
    "postgresql://u:hunter2@[::1]:5432/d?target_session_attrs=read-write&options=-c%20x%3Dy",
    "postgresql://u:hunter2@h:port/x",
    "postgres://%zz:hunter2@h/x?a=b",
];

/// A connection string is read or refused, and a refusal never repeats the password in it.
pub fn target(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    // A certificate's path is opened, which is for no fuzzer to choose.
    if text.contains("sslrootcert") || text.contains("verify") {
        return;
    }
    match Target::parse(&text) {
        Ok(target) => assert!(!target.describe().is_empty()),
        Err(error) => {
            let as_password = text.contains(":hunter2@") || text.contains("password=hunter2 ");
            let elsewhere = text.matches("hunter2").count() != 1;
            assert!(!as_password || elsewhere || !error.to_string().contains("hunter2"), "{error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_property_holds_for_the_beginnings_of_the_fuzz_targets() {
        SEEDS.iter().for_each(|seed| target(seed.as_bytes()));
    }

    proptest! {
        #[test]
        fn no_refusal_of_a_connection_string_repeats_its_password(
            before in "(postgres(ql)?://)?[a-z:/@?&=%,0-9]{0,8}",
            after in "[a-z:/@?&=%,0-9\\[\\] ']{0,20}",
        ) {
            target(format!("{before}:hunter2@{after}").as_bytes());
            target(format!("{before} password=hunter2 {after}").as_bytes());
        }

        #[test]
        fn any_text_is_a_connection_string_or_is_refused(text in any::<String>()) {
            target(text.as_bytes());
        }
    }
}
