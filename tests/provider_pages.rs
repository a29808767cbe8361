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
fn a_page_tells_what_was_only_assumed_and_where_it_is_from() {
    for name in PAGES {
        let page = page(name);
        for words in ["simulator only", "## Sources", "Assumed", "https://", "/etc/ecar-sms/config.toml"] {
            assert!(page.contains(words), "{name}: {words}");
        }
    }
}
