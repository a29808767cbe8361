//! The shape of the configuration and its defaults.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::super::config::*;
use super::super::field::FieldEncoding;

#[test]
fn a_url_alone_is_enough_and_the_rest_has_its_documented_default() {
    let config: GenericConfig = toml::from_str("url = 'http://gateway.example/send'").unwrap();
    assert_eq!(config.method, Method::Post);
    assert_eq!(config.body, BodyKind::Json);
    assert_eq!(config.number_style, NumberStyle::Plus);
    assert_eq!(config.sender_id, "ECAR");
    assert_eq!((config.connect_timeout.as_secs(), config.total_timeout.as_secs()), (5, 20));
    assert_eq!((config.max_body_bytes, config.concurrency), (65_536, 32));
    assert!(config.lookup.is_none() && !config.deduplicates);
    assert!(config.api_key.is_none() && config.rules.is_empty() && config.proxy.is_none());
}

#[test]
fn unknown_keys_are_refused_at_every_level() {
    for text in [
        "url = 'http://x/'\nurll = 1",
        "url = 'http://x/'\nauth = { type = 'bearer', name = 'x' }",
        "url = 'http://x/'\nauth = { type = 'basic', username = 'x', pass = 'y' }",
        "url = 'http://x/'\nfields = [{ name = 'a', value = 'b', encodin = 'raw' }]",
        "url = 'http://x/'\nid = { json = '$.id', regexp = 'x' }",
        "url = 'http://x/'\n[[match]]\noutcome = 'accepted'\nstatuss = 200",
        "url = 'http://x/'\n[[match]]\noutcome = 'accepted'\njson = { path = '$.a', equal = 1 }",
        "url = 'http://x/'\n[[match]]\noutcome = 'accept'",
        "url = 'http://x/'\nlookup = { by = 'reference', url = 'http://x/', uri = '' }",
        "url = 'http://x/'\nlookup = { by = 'id', url = 'http://x/' }",
        "url = 'http://x/'\nlookup = { by = 'reference' }",
        "url = 'http://x/'\nlookup = { by = 'reference', url = 'http://x/', match = [{ outcome = 'accepted' }] }",
    ] {
        assert!(toml::from_str::<GenericConfig>(text).is_err(), "{text}");
    }
}

#[test]
fn a_full_configuration_is_read() {
    let config: GenericConfig = toml::from_str(
        r#"
        method = "GET"
        url = "https://gateway.example/Api.aspx"
        body = "none"
        number_style = "00"
        api_key = "k/=="
        total_timeout = "12s"
        rate = 0.5
        otherwise = "status"
        auth = { type = "oauth2", token_url = "https://gateway.example/token", client_id = "c" }
        query = [{ name = "key", value = "{{ api_key }}", encoding = "raw" }]
        headers = { Accept = "application/json" }
        id = { json = "$.data.message_id" }
        segments = { regex = 'parts=(\d+)' }

        [[match]]
        outcome = "accepted"
        status = [200, "202-204"]
        json = { path = "$.status", in = ["200", 0] }

        [[match]]
        outcome = "no_credit"
        body_regex = "402"
        "#,
    )
    .unwrap();
    assert_eq!(config.number_style, NumberStyle::DoubleZero);
    assert_eq!(config.query[0].encoding, Some(FieldEncoding::Raw));
    assert_eq!(config.rules.len(), 2);
    assert_eq!(config.otherwise, Otherwise::Status);
}

#[test]
fn an_empty_key_is_no_key() {
    let config: GenericConfig = toml::from_str("url = 'http://x/'\napi_key = ''").unwrap();
    assert!(config.api_key.is_none());
}

#[test]
fn debug_shows_neither_the_key_nor_literals_in_templates() {
    let config: GenericConfig = toml::from_str(
        "url = 'http://x/?k=hidden-1'\napi_key = 'hidden-2'\nproxy = 'http://u:hidden-3@p/'\n\
         fields = [{ name = 'secret', value = 'hidden-4' }]\nheaders = { X = 'hidden-5' }",
    )
    .unwrap();
    let shown = format!("{config:?}");
    assert!(!shown.contains("hidden"), "{shown}");
}
