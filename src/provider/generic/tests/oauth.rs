//! OAuth 2: one token for all, renewed when it is refused.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;

/// A gateway with a token endpoint that numbers its tokens, and a `/send` that takes only tokens of the given number on.
pub(super) async fn oauth_gateway(valid_from: usize, expires_in: &'static str) -> Gateway {
    let mut issued = 0;
    Gateway::start(move |_, request| {
        if request.starts_with("POST /token") {
            issued += 1;
            return Reply::Bytes(http(
                200,
                "",
                &format!(r#"{{"access_token":"token-{issued}","expires_in":{expires_in}}}"#),
            ));
        }
        let valid = (valid_from..=issued).any(|n| request.contains(&format!("authorization: Bearer token-{n}\r\n")));
        let status = if valid { 200 } else { 401 };
        Reply::Bytes(http(status, "", r#"{"id":1,"echo":"token-1"}"#))
    })
    .await
}

pub(super) fn oauth(gateway: &Gateway) -> HttpProvider {
    let token_url = gateway.url.replace("/send", "/token");
    configured(&format!(
        "url = '{}'\nauth = {{ type = 'oauth2', token_url = '{token_url}', client_id = 'c', scope = 'a b' }}",
        gateway.url
    ))
}

pub(super) fn count(gateway: &Gateway, path: &str) -> usize {
    gateway.requests().iter().filter(|r| r.starts_with(&format!("POST {path} "))).count()
}

#[tokio::test]
async fn one_token_serves_many_messages_sent_at_once() {
    let gateway = oauth_gateway(1, "\"3600\"").await;
    let provider = oauth(&gateway);
    let message = outgoing("x");
    let outcomes = futures_util::future::join_all((0..8).map(|_| provider.send(&message))).await;
    assert!(outcomes.iter().all(|outcome| *outcome == accepted("1")), "{outcomes:?}");
    assert_eq!((count(&gateway, "/token"), count(&gateway, "/send")), (1, 8));
    let request = gateway.requests().remove(0);
    // base64 of "c:top/secret=="
    assert!(request.contains("authorization: Basic Yzp0b3Avc2VjcmV0PT0=\r\n"), "{request}");
    assert!(request.ends_with("\r\n\r\ngrant_type=client_credentials&scope=a+b"), "{request}");
}

#[tokio::test]
async fn a_refused_token_is_renewed_once_for_all() {
    let gateway = oauth_gateway(2, "3600").await;
    let provider = oauth(&gateway);
    let message = outgoing("x");
    let outcomes = futures_util::future::join_all((0..4).map(|_| provider.send(&message))).await;
    assert!(outcomes.iter().all(|outcome| outcome.word() == "accepted"), "{outcomes:?}");
    assert_eq!(count(&gateway, "/token"), 2);
}

#[tokio::test]
async fn a_token_refused_twice_is_a_misconfiguration_and_is_not_quoted() {
    let gateway = oauth_gateway(9, "3600").await;
    let outcome = oauth(&gateway).send(&outgoing("x")).await;
    assert_eq!(outcome.word(), "misconfigured");
    assert_eq!((count(&gateway, "/token"), count(&gateway, "/send")), (2, 2));
    let gateway = oauth_gateway(1, "30").await;
    let provider = oauth(&gateway);
    for _ in 0..2 {
        assert_eq!(provider.send(&outgoing("x")).await.word(), "accepted");
    }
    assert_eq!(count(&gateway, "/token"), 2, "a token within a minute of its end is not used again");
}

#[tokio::test]
async fn without_a_token_nothing_is_sent() {
    for (answer, word) in [
        (http(401, "", r#"{"error":"invalid_client"}"#), "misconfigured"),
        (http(400, "", "top/secret=="), "misconfigured"),
        (http(429, "Retry-After: 5\r\n", ""), "throttled"),
        (http(500, "", ""), "temporary_failure"),
        (http(200, "", "<html>"), "temporary_failure"),
        (http(200, "", r#"{"access_token":"a\nb"}"#), "temporary_failure"),
        (String::new(), "temporary_failure"),
    ] {
        let gateway = Gateway::answering(&answer).await;
        let outcome = oauth(&gateway).send(&outgoing("x")).await;
        assert_eq!(outcome.word(), word, "{answer}");
        assert!(!outcome.detail().contains("secret"), "{outcome:?}");
        assert_eq!(count(&gateway, "/send"), 0);
    }
}

#[tokio::test]
async fn a_silent_token_endpoint_does_not_hold_a_message_beyond_its_time() {
    let gateway = Gateway::start(|_, _| Reply::Stall(String::new())).await;
    let provider = oauth(&gateway);
    let short = Outgoing { deadline: Duration::from_millis(200), ..outgoing("x") };
    let (first, second) = tokio::join!(provider.send(&short), provider.send(&short));
    assert_eq!((first.word(), second.word()), ("temporary_failure", "temporary_failure"));
    assert_eq!(count(&gateway, "/send"), 0);
}

// ---- secrets and refusals
