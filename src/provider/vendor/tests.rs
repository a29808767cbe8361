//! The descriptions against a server that speaks as the vendors document: the request each makes, and what every documented answer means.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod capcom6;
mod contract;
mod examples;
mod infobip;
mod l2t;
mod local;
mod orange;
mod published;
mod support;
mod twilio;
mod vonage;
mod winsms;

use secrecy::SecretString;

use super::*;

#[test]
fn every_description_has_a_head_and_makes_a_provider() {
    for vendor in VENDORS {
        let head = vendor.head().unwrap_or_else(|error| panic!("{}: {error}", vendor.name));
        assert!(!head.title.is_empty(), "{}", vendor.name);
        let config = VendorConfig {
            account: head.account.as_ref().map(|_| "account1".to_owned()),
            api_key: Some(SecretString::from("key-of-everybody")),
            base_url: Some("https://vendor.example/".to_owned()),
            ..VendorConfig::default()
        };
        let config = vendor.configure(config).unwrap_or_else(|error| panic!("{}: {error}", vendor.name));
        assert!(!config.rules.is_empty(), "{}: no status alone tells what an answer means", vendor.name);
        assert_eq!(config.endpoint(), Some(("vendor.example".to_owned(), 443)), "{}", vendor.name);
        support::made(vendor.name, config);
    }
}

#[test]
fn every_name_stands_once_and_finds_its_description() {
    for (at, vendor) in VENDORS.iter().enumerate() {
        assert_eq!(Vendor::named(vendor.name).map(|it| it.name), Some(vendor.name));
        assert!(VENDORS.iter().skip(at + 1).all(|other| other.name != vendor.name), "{} is there twice", vendor.name);
    }
    assert!(Vendor::named("nobody").is_none());
}

#[test]
fn what_an_operator_leaves_out_or_writes_in_vain_is_named() {
    let key = || Some(SecretString::from("k"));
    let secret = || Some(SecretString::from("signature"));
    let token = || Some(SecretString::from("0123456789abcdef"));
    let account = || Some("abcd1234".to_owned());
    let url = || Some("https://x.api.vendor.example".to_owned());
    let empty = VendorConfig::default;
    for (vendor, config, wrong_key) in [
        ("twilio", VendorConfig { api_key: key(), ..empty() }, "account"),
        ("twilio", VendorConfig { account: account(), ..empty() }, "api_key"),
        ("twilio", VendorConfig { account: Some("AC{{ x }}".to_owned()), api_key: key(), ..empty() }, "account"),
        ("infobip", VendorConfig { api_key: key(), ..empty() }, "base_url"),
        (
            "winsms",
            VendorConfig { api_key: key(), sender_id: Some("GARAGE ALI TUNIS".to_owned()), ..empty() },
            "sender_id",
        ),
        (
            "winsms",
            VendorConfig { api_key: key(), sender_id: Some("2162000000012345".to_owned()), ..empty() },
            "sender_id",
        ),
        ("infobip", VendorConfig { account: account(), base_url: url(), api_key: key(), ..empty() }, "account"),
        (
            "infobip",
            VendorConfig { base_url: url(), api_key: key(), signature_secret: secret(), ..empty() },
            "signature_secret",
        ),
        ("infobip", VendorConfig { base_url: url(), api_key: key(), signed: Some(true), ..empty() }, "signed"),
        (
            "vonage",
            VendorConfig { account: account(), api_key: key(), push_token: token(), ..empty() },
            "signature_secret",
        ),
    ] {
        let error = Vendor::named(vendor).unwrap().configure(config).unwrap_err();
        assert_eq!(error.key, wrong_key, "{vendor}: {error}");
    }
    for config in [
        VendorConfig { account: account(), api_key: key(), ..empty() },
        VendorConfig { account: account(), api_key: key(), push_token: token(), signed: Some(false), ..empty() },
        VendorConfig { account: account(), api_key: key(), push_token: token(), signature_secret: secret(), ..empty() },
    ] {
        Vendor::named("vonage").unwrap().configure(config).unwrap();
    }
}

#[test]
fn the_configuration_of_each_page_makes_a_provider_with_and_without_receipts() {
    for (name, page) in [
        ("twilio", include_str!("../../../docs/providers/twilio.md")),
        ("vonage", include_str!("../../../docs/providers/vonage.md")),
        ("infobip", include_str!("../../../docs/providers/infobip.md")),
    ] {
        let example = page.split("```toml").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let pushing = example
            .replace("# push_token = \"...\"", "push_token = \"0123456789abcdef\"")
            .replace("# signature_secret = \"...\"", "signature_secret = \"s\"")
            .replace("# [receipts]", "[receipts]");
        assert!(pushing.contains("\npush_token = ") && pushing.contains("\n[receipts]"), "{name}");
        for example in [example, &pushing] {
            let file: toml::Table = toml::from_str(example).unwrap_or_else(|error| panic!("{name}: {error}"));
            let provider = &file["provider"].as_array().unwrap()[0];
            assert_eq!(provider["name"].as_str(), Some(name));
            let mut config: VendorConfig = provider[name].clone().try_into().unwrap();
            config.api_key = Some(SecretString::from("key"));
            let config =
                Vendor::named(name).unwrap().configure(config).unwrap_or_else(|error| panic!("{name}: {error}"));
            support::made(name, config);
        }
    }
}

#[test]
fn a_sender_address_is_digits_and_only_for_those_that_have_one() {
    let made = |name: &str, number: &str| {
        let written = VendorConfig {
            account: (name == "orange").then(|| "client".to_owned()),
            api_key: Some("secret".into()),
            sender_address: Some(number.to_owned()),
            ..VendorConfig::default()
        };
        Vendor::named(name).unwrap().configure(written)
    };
    assert!(made("orange", " 21620000001 ").is_ok());
    for bad in ["", "+2160000", "tel:+2160000", "21", "1234567890123456", "216/0000", "216{{ api_key }}"] {
        let error = made("orange", bad).err().unwrap();
        assert_eq!(error.key, "sender_address", "{bad}");
    }
    assert_eq!(made("winsms", "2160000").err().unwrap().key, "sender_address");
}
