//! What is shipped beside the program is true: the sample configuration and the unit.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    missing_docs
)]

use std::path::Path;
use std::process::Command;

use ecar_sms::config::{self, Config, Surroundings};

fn load(text: &str) -> Result<Config, config::ConfigError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.toml");
    std::fs::write(&path, text).unwrap();
    config::load_from(Some(&path), &Surroundings { variable: &|_| None })
}

fn sample() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/config.toml")).unwrap()
}

#[test]
fn the_sample_configuration_as_shipped_changes_nothing() {
    let shipped = format!("{:?}", load(&sample()).unwrap());
    let empty = format!("{:?}", load("").unwrap());
    assert_eq!(shipped, empty);
}

#[test]
fn every_commented_key_of_the_sample_configuration_is_accepted() {
    let uncommented: String = sample()
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if rest.starts_with(|c: char| !c.is_whitespace()) => rest,
            _ => line,
        })
        .collect::<Vec<_>>()
        .join("\n");
    let config = load(&uncommented).unwrap_or_else(|error| panic!("{error}\n{uncommented}"));
    ecar_sms::daemon::providers_of(&config.providers, &[]).unwrap();
    assert!(config.providers.len() >= 2, "the sample shows a generic provider and a log provider");
}

#[test]
fn the_unit_is_clean_and_well_contained() {
    let output = match Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/check-unit")).output() {
        Ok(output) => output,
        Err(error) => panic!("scripts/check-unit: {error}"),
    };
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        println!("skipped: there is no systemd-analyze on this machine");
        return;
    }
    assert!(output.status.success(), "{said}");
}
