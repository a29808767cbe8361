//! What must hold of scripts and posts for any input; the fuzz targets run it for hours, the tests for a moment
//! (docs/FUZZING.md). A property that does not hold panics.

use super::post::{Post, REDACTED};
use super::script::Script;

/// Beginnings for [`script`].
pub const SCRIPT_SEEDS: &[&str] = &[
    "api_key = 'test-key'\nlatency = '50ms'\njitter = '20ms'\nseed = 7\nerror_rate = 0.01\nerror_status = 503\n",
    "receipts = { url = 'http://127.0.0.1:9000/receipts', after = '1s', status = 'delivered' }\n",
    "[[rule]]\nphone = '+2162000*'\ncontains = 'facture'\nfrom = 2\ntimes = 3\nstatus = 429\nheaders = { 'Retry-After' = '2' }\n",
    "[[rule]]\nfault = 'silence'\n[[rule]]\nphone = 'é*'\n",
    "latency = '99999999999999999999h'\n",
    "key = 'k'\nsecret = 's'\npush_url = 'http://127.0.0.1/'\n[vendor.orange]\ntoken_life = '1h'\nbalance = 1e3\npush_as = 'get'\n",
    "[receipts]\nundelivered = 0.5\ncode = 30005\nids = 'hex'\nvia = 'http://[::1]:9/'\n[[rule]]\ncode = 'POL0001'\n",
];

/// Beginnings for [`post`].
pub const POST_SEEDS: &[&str] = &[
    "{\"api_key\":\"test-key\",\"sender_id\":\"ECAR\",\"phone\":\"+21620000001\",\"message\":\"Bonjour\"}",
    "{\"api_key\":\"test-key\",\"api_key\":7,\"x\":{}}",
    "[\"test-key\"]",
    "{\"message\":\"\\ud83d\"}",
];

/// A script is read, or refused with a line and a column that it has.
pub fn script(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Err(error) = Script::parse(&text) {
        let line = text.split('\n').nth(error.line.saturating_sub(1));
        assert!(error.line >= 1 && line.is_some(), "{error}");
        let columns = line.map_or(0, |line| line.chars().count()) + 1;
        assert!((1..=columns).contains(&error.column), "{error} of {columns}");
    }
}

/// What is kept of a body never holds the key it was sent with.
pub fn post(data: &[u8]) {
    let post = Post::parse(data);
    let key = post.key.as_deref().filter(|key| key.len() >= 8 && !REDACTED.contains(key));
    let elsewhere = |key: &str| [&post.sender_id, &post.phone, &post.message].iter().any(|text| text.contains(key));
    if let (Some(key), Some(kept)) = (key.filter(|key| !elsewhere(key)), &post.unusual) {
        let kept: serde_json::Value = serde_json::from_str(kept).unwrap_or_default();
        assert!(kept.get("api_key").is_some_and(|shown| shown == REDACTED), "{key:?} is kept in {kept}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_property_holds_for_the_beginnings_of_the_fuzz_targets() {
        SCRIPT_SEEDS.iter().for_each(|seed| script(seed.as_bytes()));
        POST_SEEDS.iter().for_each(|seed| post(seed.as_bytes()));
    }

    proptest! {
        #[test]
        fn no_change_of_a_script_upsets_its_reader(
            seed in prop::sample::select(SCRIPT_SEEDS),
            at in any::<prop::sample::Index>(),
            put in "[a-z0-9'é\\[\\]{}=.\n*-]{0,12}",
        ) {
            let at = at.index(seed.len() + 1);
            script([&seed.as_bytes()[..at], put.as_bytes(), &seed.as_bytes()[at..]].concat().as_slice());
        }

        #[test]
        fn no_post_keeps_its_key(key in "[a-zA-Z0-9]{8,20}", more in "(,\"[a-z]{1,9}\":[0-9]{1,3}){0,3}") {
            post(format!("{{\"api_key\":\"{key}\"{more}}}").as_bytes());
        }
    }
}
