//! Scripted faults: what a client sees of each, and what is on the record.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;

#[tokio::test]
async fn reset_before_read_resets_and_receives_nothing_but_spares_the_control_paths() {
    let gateway = gateway(&fault("reset_before_read")).await;
    // Only the head: what is never sent cannot be read.
    let head = b"POST /v1/messages HTTP/1.1\r\nhost: gateway\r\ncontent-length: 100\r\n\r\n";
    assert_eq!(raw(&gateway, head).await, (String::new(), Some(ErrorKind::ConnectionReset)));
    assert_eq!(call(&gateway, "GET", "/messages", "").await, (200, json!([])));
    assert_eq!(gateway.stats().totals.answers[&Answer::Fault(Fault::ResetBeforeRead)], 1);
}

#[tokio::test]
async fn reset_after_read_resets_what_was_received() {
    let gateway = gateway(&fault("reset_after_read")).await;
    let whole = request("POST", "/v1/messages", &message("+21620000001", "x"));
    assert_eq!(raw(&gateway, &whole).await, (String::new(), Some(ErrorKind::ConnectionReset)));
    assert_eq!(answers(&gateway), ["reset_after_read"]);
}

#[tokio::test]
async fn close_after_read_ends_in_order_without_an_answer() {
    let gateway = gateway(&fault("close_after_read")).await;
    let whole = request("POST", "/v1/messages", &message("+21620000001", "x"));
    assert_eq!(raw(&gateway, &whole).await, (String::new(), None));
    assert_eq!(answers(&gateway), ["close_after_read"]);
}

#[tokio::test]
async fn silence_records_and_holds_the_connection_until_the_gateway_stops() {
    let gateway = gateway(&fault("silence")).await;
    let mut stream = TcpStream::connect(gateway.addr()).await.unwrap();
    stream.write_all(&request("POST", "/", &message("+21620000001", "x"))).await.unwrap();
    until(&gateway, "the message is recorded", |gateway| gateway.count() == 1).await;
    assert_eq!(answers(&gateway), ["silence"]);
    assert_eq!(stream.try_read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(gateway.stats().in_flight, 1);
    timeout(DEADLINE, gateway.stop()).await.expect("a silent connection must not hold up the stop");
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn truncated_promises_more_than_it_sends() {
    let gateway = gateway(&fault("truncated")).await;
    let (seen, end) = raw(&gateway, &request("POST", "/", &message("+21620000001", "x"))).await;
    let (head, body) = seen.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK") && head.contains("content-length: 512"), "{head}");
    assert!(body.len() < 512 && end.is_none() && serde_json::from_str::<Value>(body).is_err(), "{body}");
    assert_eq!(answers(&gateway), ["truncated"]);
}

#[tokio::test]
async fn no_json_is_a_page() {
    let gateway = gateway(&fault("no_json")).await;
    let (seen, _) = raw(&gateway, &request("POST", "/", &message("+21620000001", "x"))).await;
    assert!(seen.starts_with("HTTP/1.1 200 OK") && seen.contains("content-type: text/html"), "{seen}");
    assert!(!gateway.received()[0].accepted);
}

#[tokio::test]
async fn garbage_is_not_http() {
    let gateway = gateway(&fault("garbage")).await;
    let (seen, _) = raw(&gateway, &request("POST", "/", &message("+21620000001", "x"))).await;
    assert!(!seen.is_empty() && !seen.contains("HTTP"), "{seen:?}");
    assert_eq!(answers(&gateway), ["garbage"]);
}

#[tokio::test]
async fn huge_is_a_hundred_megabytes() {
    let gateway = gateway(&fault("huge")).await;
    let mut stream = TcpStream::connect(gateway.addr()).await.unwrap();
    stream.write_all(&request("POST", "/", &message("+21620000001", "x"))).await.unwrap();
    let seen = timeout(DEADLINE, tokio::io::copy(&mut stream, &mut tokio::io::sink())).await.unwrap().unwrap();
    assert!((100_000_000..101_000_000).contains(&seen), "{seen} bytes");
    assert_eq!(answers(&gateway), ["huge"]);
}

#[tokio::test]
async fn endless_goes_on_and_ends_with_its_client() {
    let gateway = gateway(&fault("endless")).await;
    let mut stream = TcpStream::connect(gateway.addr()).await.unwrap();
    stream.write_all(&request("POST", "/", &message("+21620000001", "x"))).await.unwrap();
    let mut seen = String::new();
    while seen.matches("1\r\n \r\n").count() < 3 {
        let mut part = [0; 1_024];
        let count = timeout(DEADLINE, stream.read(&mut part)).await.unwrap().unwrap();
        assert!(count > 0, "it ended: {seen}");
        seen.push_str(std::str::from_utf8(&part[..count]).unwrap());
    }
    drop(stream);
    until(&gateway, "the connection has ended", |gateway| gateway.stats().open_connections == 0).await;
}
