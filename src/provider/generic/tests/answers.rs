//! Answers that come late, halved, endless or not at all.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;

#[tokio::test]
async fn a_connection_that_ends_without_an_answer_is_unknown() {
    // Reset before a byte of the request is read.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.readable().await.unwrap();
            reset(stream);
        }
    });
    assert_eq!(garage(&url).send(&outgoing("x")).await.word(), "unknown");

    let gateway = Gateway::start(|number, _| match number {
        0 => Reply::Reset,
        1 => Reply::Bytes(String::new()),
        2 => Reply::Bytes("HTTP/1.1 200 O".into()),
        _ => Reply::Bytes("SMTP 220 hello\r\n\r\n".into()),
    })
    .await;
    let provider = garage(&gateway.url);
    for case in ["reset after reading", "closed", "half a head", "no HTTP"] {
        let outcome = provider.send(&outgoing("x")).await;
        assert_eq!(outcome.word(), "unknown", "{case}: {outcome:?}");
    }
    assert_eq!(gateway.requests().len(), 4, "nothing may be repeated");
}

#[tokio::test]
async fn silence_is_unknown_when_the_time_is_over() {
    let gateway = Gateway::start(|_, _| Reply::Stall(String::new())).await;
    let short = Outgoing { deadline: Duration::from_millis(200), ..outgoing("x") };
    let started = std::time::Instant::now();
    assert_eq!(garage(&gateway.url).send(&short).await.word(), "unknown");
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn without_time_nothing_is_sent() {
    let gateway = Gateway::answering(&http(200, "", "{}")).await;
    let late = Outgoing { deadline: Duration::ZERO, ..outgoing("x") };
    assert_eq!(garage(&gateway.url).send(&late).await.word(), "temporary_failure");
    assert!(gateway.requests().is_empty());
}

#[tokio::test]
async fn a_body_that_stalls_makes_a_success_unknown_and_leaves_a_refusal_one() {
    let gateway = Gateway::start(|number, _| {
        let status = [200, 429, 400][number];
        Reply::Stall(format!("HTTP/1.1 {status} X\r\nContent-Length: 100\r\n\r\n{{\"id\":"))
    })
    .await;
    let provider = garage(&gateway.url);
    for word in ["unknown", "throttled", "rejected"] {
        let short = Outgoing { deadline: Duration::from_millis(300), ..outgoing("x") };
        assert_eq!(provider.send(&short).await.word(), word);
    }
}

#[tokio::test]
async fn a_body_cut_short_makes_a_success_unknown() {
    let cut = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"id\":1}";
    assert_eq!(outcome_of(cut).await.word(), "unknown");
    let cut = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n{\"id\":1}\r\n";
    assert_eq!(outcome_of(cut).await.word(), "unknown");
}

#[tokio::test]
async fn an_endless_body_is_not_read_on() {
    let gateway = Gateway::start(|number, _| {
        let status = if number == 0 { 200 } else { 422 };
        Reply::Flood(format!("HTTP/1.1 {status} X\r\nContent-Length: 104857600\r\n\r\n"))
    })
    .await;
    let provider = garage(&gateway.url);
    for word in ["unknown", "rejected"] {
        let outcome = provider.send(&outgoing("x")).await;
        assert_eq!(outcome.word(), word);
        assert!(outcome.detail().chars().count() <= crate::message::outcome::DETAIL_LIMIT_CHARS);
    }
}

#[tokio::test]
async fn an_answer_is_whole_up_to_the_last_byte_allowed() {
    for (body, word) in [("{\"a\":1}", "accepted"), ("{\"a\":12}", "unknown")] {
        let gateway = Gateway::answering(&http(200, "", body)).await;
        let provider = configured(&format!("url = '{}'\nmax_body_bytes = 7", gateway.url));
        assert_eq!(provider.send(&outgoing("x")).await.word(), word);
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let target = Gateway::answering(&http(200, "", "{}")).await;
    for status in [301, 302, 307, 308] {
        let outcome = outcome_of(&http(status, &format!("Location: {}\r\n", target.url), "")).await;
        assert_eq!(outcome.word(), "misconfigured", "{status}");
    }
    assert!(target.requests().is_empty());
}

#[tokio::test]
async fn statuses_and_retry_after_come_through() {
    assert_eq!(outcome_of(&http(200, "", "<html>ok</html>")).await.word(), "unknown");
    assert_eq!(outcome_of(&http(401, "", "{}")).await.word(), "misconfigured");
    assert_eq!(outcome_of(&http(502, "", "{}")).await.word(), "unknown");
    for headers in
        ["Retry-After: 90\r\n", "Date: Wed, 21 Oct 2015 07:28:00 GMT\r\nRetry-After: Wed, 21 Oct 2015 07:29:30 GMT\r\n"]
    {
        for status in [429, 503] {
            let outcome = outcome_of(&http(status, headers, "slow down")).await;
            let detail = format!("HTTP {status}: slow down");
            assert_eq!(outcome, Outcome::Throttled { retry_after: Some(Duration::from_secs(90)), detail });
        }
    }
}
