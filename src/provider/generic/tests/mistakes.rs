//! Secrets that must not be shown, and configurations that are refused.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;

#[tokio::test]
async fn an_echoed_secret_reaches_neither_detail_nor_id_nor_debug() {
    for body in [format!("bad key {KEY}"), "bad key top%2Fsecret%3D%3D".into(), r#"{"key":"top\/secret=="}"#.into()] {
        let outcome = outcome_of(&http(401, "", &body)).await;
        assert!(outcome.detail().contains("[redacted]"), "{outcome:?}");
        assert!(!format!("{outcome:?}").contains("secret"), "{outcome:?}");
    }
    let outcome = outcome_of(&http(200, "", &format!(r#"{{"id":"{KEY}"}}"#))).await;
    assert_eq!(outcome, Outcome::Accepted { provider_message_id: None, segments: None });
    let provider = garage("http://127.0.0.1:1/");
    assert!(!format!("{provider:?} {:?}", provider.config()).contains("secret"));
}

#[tokio::test]
async fn an_unreachable_host_does_not_show_a_key_in_its_url() {
    let provider =
        configured("url = 'http://no-such-host.invalid/?k={{ api_key|raw }}'\nauth = { type = 'query', name = 'k' }");
    let outcome = provider.send(&outgoing("x")).await;
    assert!(!outcome.detail().contains("secret") && !outcome.detail().contains("k="), "{outcome:?}");
}

#[test]
fn mistakes_are_refused_at_start_with_their_key() {
    for (text, key) in [
        ("url = 'gateway.example'", "url"),
        ("url = 'ftp://gateway.example/'", "url"),
        ("url = 'http://user:pass@gateway.example/'", "url"),
        ("url = 'http://{{ phone }}.example/'\nproxy = ''\nconcurrency = 0", "concurrency"),
        ("url = 'http://x/{{ nothing }}'", "url"),
        ("url = 'http://x/{{ phone'", "url"),
        ("url = 'http://x/{{ phone|nofilter }}'", "url"),
        ("url = 'http://x/'\nfields = [{ name = 'm', value = '{{ mesage }}' }]", "fields.m"),
        ("url = 'http://x/'\nfields = [{ name = 'm', value = 'x', type = 'number' }]", "fields.m"),
        ("url = 'http://x/'\nfields = [{ name = 'm', value = 'x' }, { name = 'm', value = 'y' }]", "fields.m"),
        ("url = 'http://x/'\nquery = [{ name = 'm', value = '{{ message }}', encoding = 'raw' }]", "query.m"),
        ("url = 'http://x/'\nquery = [{ name = 'm', value = 'a&b', encoding = 'raw' }]", "query.m"),
        ("url = 'http://x/'\nheaders = { 'a b' = 'x' }", "headers.a b"),
        ("url = 'http://x/'\nheaders = { Content-Length = '1' }", "headers.Content-Length"),
        (
            "url = 'http://x/'\n[balance]\nurl = 'http://x/'\nvalue = { json = '$.b' }\nheaders = { 'a b' = 'x' }",
            "balance.headers.a b",
        ),
        (
            "url = 'http://x/'\n[poll]\nurl = 'http://x/{{ ids }}'\nheaders = { 'a b' = 'x' }\n[poll.receipts]\nstatus = '$.s'\ndelivered = ['d']\nundelivered = ['u']",
            "poll.headers.a b",
        ),
        ("url = 'http://x/'\nauth = { type = 'header', name = 'a b' }", "auth.name"),
        ("url = 'http://x/'\nauth = { type = 'basic', username = 'a:b' }", "auth"),
        ("url = 'http://x/'\nauth = { type = 'oauth2', token_url = 'x', client_id = 'c' }", "auth.token_url"),
        ("url = 'http://x/'\nmethod = 'GET'", "body"),
        ("url = 'http://x/'\nbody = 'none'\nfields = [{ name = 'm', value = 'x' }]", "fields"),
        ("url = 'http://x/'\nbody = 'xml'", "body_text"),
        ("url = 'http://x/'\nbody = 'raw'\nbody_text = 'x'\ncontent_type = 'application/json'", "content_type"),
        ("url = 'http://x/'\nid = { json = '$[' }", "id.json"),
        ("url = 'http://x/'\n[[match]]\noutcome = 'accepted'\nbody_regex = '('", "match[0].body_regex"),
        (
            "url = 'http://x/'\nreceipts = { when = { path = 'a b' }, id = '$.i', status = '$.s', delivered = [], undelivered = [] }",
            "receipts.when.path",
        ),
        (
            "url = 'http://x/'\nreplies = { when = { path = '$.a', regex = '(' }, from = '$.f', text = '$.t' }",
            "replies.when.regex",
        ),
        ("url = 'http://x/'\ntotal_timeout = '1h'", "total_timeout"),
        ("url = 'http://x/'\nconnect_timeout = '30s'", "connect_timeout"),
        ("url = 'http://x/'\nrate = 0.0", "rate"),
        ("url = 'http://x/'\nmax_body_bytes = 0", "max_body_bytes"),
        ("url = 'http://x/'\nproxy = 'http://u:top/secret@:::/'", "proxy"),
    ] {
        let error = try_configured(text).err().unwrap_or_else(|| panic!("accepted: {text}")).to_string();
        assert!(error.starts_with(&format!("{key}: ")), "{text}\n{error}");
        assert!(!error.contains("secret"), "{error}");
    }
}

#[test]
fn a_missing_key_is_refused_only_where_it_is_used() {
    let make = |text: &str| HttpProvider::new("x".into(), toml::from_str(text).unwrap(), tls()).err();
    assert_eq!(make("url = 'http://x/'"), None);
    for text in [
        "url = 'http://x/'\nauth = { type = 'bearer' }",
        "url = 'http://x/'\nauth = { type = 'query', name = 'k' }",
        "url = 'http://x/{{ api_key }}'",
        "url = 'http://x/'\nfields = [{ name = 'k', value = '{{ api_key }}' }]",
    ] {
        assert_eq!(make(text), Some(GenericError::MissingSecret), "{text}");
    }
}

#[tokio::test]
async fn a_host_that_depends_on_the_message_is_refused() {
    let provider = configured("url = 'http://h{{ segments }}.invalid/'");
    let other = Outgoing { segments: 2, ..outgoing("x") };
    assert_eq!(provider.send(&other).await.word(), "misconfigured");
}

#[test]
fn a_literal_url_is_no_template() {
    let provider = garage("http://gateway.example/%7B{{ api_key }}?a={%25");
    let url = provider.maker.build(Subject::Message(&outgoing("x"))).unwrap().url().clone();
    assert!(!url.as_str().contains("secret"), "{url}");
}

#[test]
fn a_provider_can_be_shared_between_tasks() {
    fn shared<T: Send + Sync>() {}
    shared::<HttpProvider>();
}
