//! What must hold of a journal for any bytes; the fuzz target runs it for hours, the tests for a moment (docs/FUZZING.md). A
//! property that does not hold panics.

use super::Log;
use super::reader::parse;

/// Beginnings for [`journal`].
pub const SEEDS: &[&str] = &[
    "{\"head\":{\"format\":1,\"database\":\"garage\",\"owner\":3,\"boot\":\"b\"}}\n\
     {\"begun\":{\"key\":{\"id\":1,\"token\":7},\"attempt\":1,\"created_us\":1,\"provider\":\"gateway\",\"recipient\":\"+21620000001\",\
     \"lang\":null,\"body\":\"Bonjour\",\"encoding\":\"gsm7\",\"segments\":1}}\n\
     {\"answered\":{\"key\":{\"id\":1,\"token\":7},\"outcome\":{\"accepted\":{\"provider_message_id\":\"s\",\"segments\":null}}}}\n",
    "{\"head\":{\"format\":2,\"database\":\"\",\"owner\":-1,\"boot\":\"\"}}\n{\"begun\":",
    "\n\n[]",
];

/// Whatever is read: what was cut off says nothing, and no prefix of a journal knows more than the whole.
pub fn journal(data: &[u8]) {
    let mut whole = Log { whole: true, ..Log::default() };
    parse(data, &mut whole);
    let lines = data.iter().filter(|byte| **byte == b'\n').count();
    assert!(whole.begun.len() + whole.answered.len() <= lines, "a line without its end was believed");
    let mut half = Log { whole: true, ..Log::default() };
    parse(&data[..data.len() / 2], &mut half);
    assert!(half.begun.keys().all(|key| whole.begun.contains_key(key)));
    assert!(half.answered.keys().all(|key| whole.answered.contains_key(key)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_property_holds_for_the_beginnings_of_the_fuzz_target() {
        for seed in SEEDS {
            journal(seed.as_bytes());
            journal(&seed.as_bytes()[..seed.len() / 2]);
        }
    }

    proptest! {
        #[test]
        fn the_property_holds_for_any_bytes(bytes: Vec<u8>) {
            journal(&bytes);
        }
    }
}
