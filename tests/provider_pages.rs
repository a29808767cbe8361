//! What the pages in docs/providers tell an operator to paste works as it stands there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::path::Path;
use std::sync::Arc;

use ecar_sms::config::{AdapterConfig, Config, Surroundings, load_from};
use ecar_sms::provider::Provider;
use secrecy::ExposeSecret as _;

/// The pages that are held to it.
const PAGES: [&str; 4] = ["orange", "l2t", "winsms", "capcom6"];

/// What stands in the place of a push token: no operator shall paste one that everybody knows.
const PLACEHOLDER: &str = "what openssl rand -hex 16 prints";
/// A token as an operator makes it.
const TOKEN: &str = "5f0c2b7e9a1d43868be1c7a24d90f3b6";

fn page(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("docs/providers/{name}.md"))).unwrap()
}

/// The blocks of TOML of a page.
fn blocks(page: &str) -> Vec<&str> {
    page.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

/// As the daemon reads it, with a key in the credential of the provider's name.
fn read(block: &str, name: &str) -> Config {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.toml");
    std::fs::write(&path, block).unwrap();
    std::fs::write(directory.path().join(name), "k3y/of/the=credential\n").unwrap();
    let credentials = directory.path().display().to_string();
    let variable = |asked: &str| (asked == "CREDENTIALS_DIRECTORY").then(|| credentials.clone());
    load_from(Some(&path), &Surroundings { variable: &variable }).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn tls() -> rustls::ClientConfig {
    rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
}

#[test]
fn every_configuration_of_a_page_makes_a_provider_with_the_key_of_its_credential() {
    for name in PAGES {
        let page = page(name);
        assert!(!blocks(&page).is_empty(), "{name}");
        for block in blocks(&page) {
            let config = read(&block.replace(PLACEHOLDER, TOKEN), name);
            assert!(config.warnings.is_empty(), "{name}: {:?}", config.warnings);
            let [provider] = &config.providers[..] else { panic!("{name}: {} providers", config.providers.len()) };
            assert_eq!(provider.name, name);
            let AdapterConfig::Generic(generic) = &provider.adapter else { panic!("{name}: no HTTP gateway") };
            assert_eq!(generic.api_key.as_ref().unwrap().expose_secret(), "k3y/of/the=credential");
            let made = Provider::generic(name, (**generic).clone(), tls());
            assert!(made.is_ok(), "{name}: {}", made.err().unwrap());
            if let Some(url) = &generic.push_url {
                let shown = url.expose_secret().replace(TOKEN, "PUSH_TOKEN");
                assert!(page.contains(&shown), "{name}: where receipts go is not on the page");
            }
            let unchanged = read(block, name).providers.remove(0);
            let AdapterConfig::Generic(generic) = unchanged.adapter else { panic!("{name}: no HTTP gateway") };
            assert_eq!(Provider::generic(name, *generic, tls()).is_ok(), !block.contains("push_token"), "{name}");
        }
    }
}

#[test]
fn pages_whose_receipts_are_commented_out_are_right_with_and_without_them() {
    for name in ["twilio", "vonage", "infobip"] {
        let page = page(name);
        let [block] = blocks(&page)[..] else { panic!("{name}: one block") };
        assert!(read(block, name).warnings.is_empty(), "{name}");
        let with: Vec<String> = block
            .lines()
            .filter(|line| !line.starts_with("# api_key"))
            .map(|line| line.trim_start_matches("# ").replacen("\"...\"", &format!("\"{TOKEN}\""), 1))
            .collect();
        let config = read(&with.join("\n"), name);
        assert!(config.warnings.is_empty(), "{name}: {:?}", config.warnings);
        let AdapterConfig::Generic(generic) = &config.providers[0].adapter else { panic!("{name}: no HTTP gateway") };
        let shown = generic.push_url.as_ref().unwrap().expose_secret().replace(TOKEN, "<push_token>");
        assert!(page.contains(&shown), "{name}: where receipts go is not on the page: {shown}");
        let made = Provider::generic(name, (**generic).clone(), tls());
        assert!(made.is_ok(), "{name}: {}", made.err().unwrap());
    }
}

#[test]
fn the_page_of_message_centres_makes_one_with_the_password_of_its_credential() {
    let page = page("smpp");
    let [block] = blocks(&page)[..] else { panic!("one block") };
    let config = read(block, "operator");
    let AdapterConfig::Smpp(smpp) = &config.providers[0].adapter else { panic!("no message centre") };
    assert_eq!(smpp.password.as_ref().unwrap().expose_secret(), "k3y/of/the=credential");
}

#[test]
fn every_page_says_how_to_try_it_and_against_what_it_was_checked() {
    let simulator = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/SIMULATOR.md")).unwrap();
    let anchors: Vec<String> = simulator
        .lines()
        .filter_map(|line| line.strip_prefix("## ").or(line.strip_prefix("### ")))
        .map(|title| title.to_lowercase().replace(',', "").replace(' ', "-"))
        .collect();
    for name in ["twilio", "vonage", "infobip", "orange", "l2t", "winsms", "capcom6", "smpp"] {
        let page = page(name);
        let link = page.split("(../SIMULATOR.md#").nth(1).unwrap_or_else(|| panic!("{name}: no simulator"));
        let anchor = link.split(')').next().unwrap();
        assert!(anchors.iter().any(|known| known == anchor), "{name}: #{anchor} is not there");
        assert!(page.contains("ecar-sms provider test") && page.contains("check"), "{name}");
    }
}

#[test]
fn a_page_tells_what_was_only_assumed_and_where_it_is_from() {
    for name in PAGES {
        let page = page(name);
        for words in ["simulator only", "## Sources", "Assumed", "https://", "/etc/ecar-sms/config.toml"] {
            assert!(page.contains(words), "{name}: {words}");
        }
    }
}
