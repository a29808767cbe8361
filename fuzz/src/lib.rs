//! What the fuzz targets share: each runs one property of the library (`fuzzing` modules, which the tests run too), from
//! the beginnings that stand beside the property.

use std::path::Path;

/// A fuzz target: its name, its beginnings, its property.
#[macro_export]
macro_rules! target {
    ($name:literal, $seeds:path, $property:path) => {
        libfuzzer_sys::fuzz_target!(init: $crate::plant($name, $seeds), |data: &[u8]| $property(data));
    };
}

/// Puts the beginnings where libFuzzer looks for them, before it does.
pub fn plant(target: &str, seeds: &[&str]) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    for (number, seed) in seeds.iter().enumerate() {
        let path = corpus.join(format!("seed-{number:02}"));
        if let Err(error) = std::fs::create_dir_all(&corpus).and_then(|()| std::fs::write(&path, seed)) {
            eprintln!("{}: {error}; fuzzing begins without it", path.display());
        }
    }
}
