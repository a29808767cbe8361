//! The known providers against a server that answers as their documents say, and records what it was asked.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod capcom6;
mod l2t;
mod local;
mod orange;
mod winsms;

use super::*;
use local::tls;

#[test]
fn every_description_is_read_and_makes_a_provider() {
    for vendor in VENDORS {
        let head = vendor.head().unwrap();
        let written = VendorConfig {
            account: head.account.map(|_| "account".to_owned()),
            base_url: head.base_url.is_none().then(|| "https://sms.example/api".to_owned()),
            api_key: Some("key/0123==".into()),
            sender_id: Some("ECAR".to_owned()),
            ..VendorConfig::default()
        };
        let config = vendor.configure(written).unwrap_or_else(|error| panic!("{}: {error}", vendor.name));
        let made = crate::provider::generic::HttpProvider::new(vendor.name.to_owned(), config, tls());
        assert!(made.is_ok(), "{}: {}", vendor.name, made.err().unwrap());
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
