//! The gateway over real sockets: what a client sees, and what the record says about it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod capcom6;
mod faults;
mod infobip;
mod l2t;
mod orange;
mod references;
mod twilio;
mod vendors;
mod vonage;
mod winsms;

use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::time::Instant;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::post::Post;
use super::*;

/// Longest wait for anything these tests wait for: generous, because the machines are shared and slow at times.
const DEADLINE: Duration = Duration::from_secs(60);

async fn gateway(script: &str) -> Gateway {
    Gateway::start((Ipv4Addr::LOCALHOST, 0).into(), Script::parse(script).unwrap()).await.unwrap()
}

fn fault(word: &str) -> String {
    format!("[[rule]]\nfault = \"{word}\"")
}

fn message(phone: &str, text: &str) -> String {
    json!({"api_key": "s3cret", "sender_id": "ECAR", "phone": phone, "message": text}).to_string()
}

fn request(method: &str, path: &str, body: &str) -> Vec<u8> {
    format!(
        "{method} {path} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Sends bytes and reads until the other side ends: what came, and the error if it was no orderly end.
async fn raw(gateway: &Gateway, bytes: &[u8]) -> (String, Option<ErrorKind>) {
    let exchange = async {
        let mut stream = TcpStream::connect(gateway.addr()).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut seen = Vec::new();
        let end = stream.read_to_end(&mut seen).await.err().map(|error| error.kind());
        (String::from_utf8_lossy(&seen).into_owned(), end)
    };
    timeout(DEADLINE, exchange).await.expect("the gateway never ended the connection")
}

/// Status and body of an orderly answer.
async fn call(gateway: &Gateway, method: &str, path: &str, body: &str) -> (u16, Value) {
    let (seen, end) = raw(gateway, &request(method, path, body)).await;
    assert_eq!(end, None, "{seen}");
    let (head, body) = seen.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {seen:?}"));
    let body = if head.contains("transfer-encoding: chunked") { unchunk(body) } else { body.to_owned() };
    (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(&body).unwrap_or(Value::String(body)))
}

fn unchunk(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        whole.push_str(&rest[..size]);
        body = &rest[(size + 2).min(rest.len())..];
    }
    whole
}

async fn send(gateway: &Gateway, phone: &str, text: &str) -> (u16, Value) {
    call(gateway, "POST", "/v1/messages", &message(phone, text)).await
}

/// Waits until the gateway is in a state, by asking again as often as the scheduler lets it.
async fn until(gateway: &Gateway, what: &str, reached: impl Fn(&Gateway) -> bool) {
    let begun = Instant::now();
    while !reached(gateway) {
        assert!(begun.elapsed() < DEADLINE, "never: {what}; {:?}", gateway.stats());
        tokio::task::yield_now().await;
    }
}

fn answers(gateway: &Gateway) -> Vec<String> {
    gateway.received().iter().map(|received| received.answer.to_string()).collect()
}

#[tokio::test]
async fn a_message_is_accepted_with_an_id_of_its_own_and_recorded() {
    let gateway = gateway("").await;
    let mut news = gateway.subscribe();
    let first = send(&gateway, "+21620000001", "Bonjour Amélie").await;
    let second = send(&gateway, "+21620000001", "Bonjour Amélie").await;
    assert_eq!(first, (200, json!({"id": "sim-000001", "status": "accepted"})));
    assert_eq!(second.1["id"], "sim-000002");
    let received = news.recv().await.unwrap();
    assert_eq!((received.seq, received.phone.as_str()), (1, "+21620000001"));
    assert_eq!((received.message.as_str(), received.sender_id.as_str()), ("Bonjour Amélie", "ECAR"));
    assert_eq!((received.path.as_str(), received.api_key_ok, received.accepted), ("/v1/messages", true, true));
    let stats = gateway.stats();
    assert_eq!((stats.totals.received, stats.totals.accepted, stats.totals.duplicates), (2, 2, 1));
    gateway.stop().await;
}

#[tokio::test]
async fn the_record_is_read_chosen_from_and_forgotten_over_http() {
    let gateway = gateway("").await;
    for place in 0..1_203 {
        let post = Post::parse(message(&format!("+2162000{:04}", place % 1_000), "x").as_bytes());
        gateway.desk.receive(post, "/v1/messages");
    }
    let (_, all) = call(&gateway, "GET", "/messages", "").await;
    let seqs: Vec<u64> = all.as_array().unwrap().iter().map(|one| one["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (1..=1_203).collect::<Vec<_>>());
    for plus in ["+", "%2B"] {
        let (_, some) = call(&gateway, "GET", &format!("/messages?phone={plus}21620000007&since_seq=8"), "").await;
        assert_eq!(some.as_array().unwrap().len(), 1, "{some}");
        assert_eq!(some[0]["seq"], 1_008);
    }
    assert_eq!(call(&gateway, "GET", "/messages?since_seq=x", "").await.0, 400);
    assert_eq!(call(&gateway, "GET", "/messages?phones=1", "").await.0, 400);
    assert_eq!(call(&gateway, "DELETE", "/messages", "").await.0, 200);
    assert_eq!(call(&gateway, "GET", "/messages", "").await, (200, json!([])));
    assert_eq!(send(&gateway, "+21620000001", "x").await.1["id"], "sim-001204");
}

#[tokio::test]
async fn no_key_is_kept_anywhere() {
    let gateway = gateway("api_key = \"s3cret\"").await;
    assert_eq!(send(&gateway, "+21620000001", "x").await.0, 200);
    let wrong = message("+21620000001", "x").replace("s3cret", "other");
    assert_eq!(call(&gateway, "POST", "/v1/messages", &wrong).await.0, 401);
    let (_, all) = call(&gateway, "GET", "/messages", "").await;
    assert!(!all.to_string().contains("s3cret") && !all.to_string().contains("other"), "{all}");
    assert_eq!((&all[0]["api_key_ok"], &all[1]["api_key_ok"]), (&json!(true), &json!(false)));
    assert_eq!((&all[1]["answer"], &all[1]["accepted"]), (&json!("401"), &json!(false)));
}

#[tokio::test]
async fn stats_tell_counts_by_answer() {
    let gateway = gateway("[[rule]]\ntimes = 1\nstatus = 503").await;
    for _ in 0..3 {
        send(&gateway, "+21620000001", "x").await;
    }
    let (_, stats) = call(&gateway, "GET", "/stats", "").await;
    assert_eq!(stats["answers"], json!({"200": 2, "503": 1}));
    for (name, count) in
        [("received", 3), ("accepted", 2), ("distinct_phones", 1), ("duplicates", 1), ("connections", 4)]
    {
        assert_eq!(stats[name], count, "{name} in {stats}");
    }
    assert_eq!((&stats["in_flight"], &stats["max_in_flight"]), (&json!(0), &json!(1)));
}

#[tokio::test]
async fn what_is_no_message_is_refused_with_a_sentence() {
    let gateway = gateway("").await;
    for body in ["", "{", "[]", r#"{"api_key":"k"}"#, r#"{"api_key":"k","sender_id":"E","phone":1,"message":"m"}"#] {
        let (status, answer) = call(&gateway, "POST", "/v1/messages", body).await;
        assert_eq!(status, 400, "{body}");
        assert!(answer["error"].as_str().unwrap().ends_with('.'), "{answer}");
    }
    assert_eq!(answers(&gateway), ["400"; 5]);
    assert_eq!(gateway.received()[0].body(), Value::Null);
    for (method, path) in
        [("GET", "/v1/messages"), ("PUT", "/x"), ("POST", "/messages"), ("POST", "/stats"), ("DELETE", "/healthz")]
    {
        assert_eq!(call(&gateway, method, path, "").await.0, 405, "{method} {path}");
    }
    assert_eq!(gateway.count(), 5);
}

#[tokio::test]
async fn a_body_over_the_limit_is_answered_413_and_not_recorded() {
    let gateway = gateway("").await;
    let largest = message("+21620000001", &"x".repeat((1 << 20) - message("+21620000001", "").len()));
    assert_eq!(call(&gateway, "POST", "/v1/messages", &largest).await.0, 200);
    assert_eq!(call(&gateway, "POST", "/v1/messages", &format!("{largest} ")).await.0, 413);
    assert_eq!(gateway.count(), 1);
    assert_eq!(gateway.stats().totals.answers[&Answer::Status(413)], 1);
}

#[tokio::test]
async fn a_head_over_the_limits_is_refused_and_harms_nobody() {
    let gateway = gateway("").await;
    let many: String = (0..100).map(|place| format!("x-{place}: 1\r\n")).collect();
    let long = format!("x: {}\r\n", "y".repeat(128 * 1024));
    for headers in [many, long] {
        let mut stream = TcpStream::connect(gateway.addr()).await.unwrap();
        // The gateway may close before everything is written.
        let _ = stream.write_all(format!("POST / HTTP/1.1\r\n{headers}\r\n").as_bytes()).await;
        let mut seen = Vec::new();
        let _ = timeout(DEADLINE, stream.read_to_end(&mut seen)).await.unwrap();
        assert!(!String::from_utf8_lossy(&seen).contains("200 OK"));
    }
    assert_eq!(send(&gateway, "+21620000001", "x").await.0, 200);
    assert_eq!(gateway.count(), 1);
}

#[tokio::test]
async fn half_a_message_is_not_received() {
    let gateway = gateway("").await;
    let whole = request("POST", "/v1/messages", &message("+21620000001", "x"));
    let mut stream = TcpStream::connect(gateway.addr()).await.unwrap();
    stream.write_all(&whole[..whole.len() - 1]).await.unwrap();
    until(&gateway, "the request is being read", |gateway| gateway.stats().in_flight == 1).await;
    drop(stream);
    until(&gateway, "the connection has ended", |gateway| gateway.stats().open_connections == 0).await;
    assert_eq!(gateway.count(), 0);
}

#[tokio::test]
async fn a_scripted_answer_has_its_status_headers_and_body() {
    let gateway =
        gateway("[[rule]]\nstatus = 429\nheaders = { \"Retry-After\" = \"2\", \"Content-Type\" = \"text/x\" }\nbody = \"slow down\"")
            .await;
    let (seen, _) = raw(&gateway, &request("POST", "/", &message("+21620000001", "x"))).await;
    assert!(seen.starts_with("HTTP/1.1 429 Too Many Requests\r\n") && seen.ends_with("\r\n\r\nslow down"), "{seen}");
    assert!(seen.contains("retry-after: 2\r\n"), "{seen}");
    assert_eq!(seen.matches("content-type").count(), 1, "{seen}");
    assert_eq!(answers(&gateway), ["429"]);
}

#[tokio::test]
async fn a_scripted_2xx_counts_as_accepted_only_with_json() {
    for (rule, accepted) in [
        ("status = 201", true),
        ("status = 204", false),
        ("body = \"OK\"", false),
        ("body = \"{}\"", true),
        ("status = 500", false),
    ] {
        let gateway = gateway(&format!("[[rule]]\n{rule}")).await;
        raw(&gateway, &request("POST", "/", &message("+21620000001", "x"))).await;
        assert_eq!(gateway.received()[0].accepted, accepted, "{rule}");
    }
}

#[tokio::test]
async fn the_script_is_replaced_while_running_and_a_bad_one_changes_nothing() {
    let gateway = gateway("").await;
    assert_eq!(call(&gateway, "PUT", "/script", "[[rule]]\nstatus = 500").await, (200, json!({"rules": 1})));
    let (status, answer) = call(&gateway, "PUT", "/script", "seed = 1\n[[rule]]\nstatus = 1").await;
    assert_eq!(status, 400);
    assert!(answer["error"].as_str().unwrap().starts_with("line 3, column 10: "), "{answer}");
    assert_eq!(send(&gateway, "+21620000001", "x").await.0, 500);
    gateway.set_script(Script::default());
    assert_eq!(send(&gateway, "+21620000001", "x").await.0, 200);
    assert_eq!(call(&gateway, "GET", "/healthz", "").await.0, 200);
}

#[tokio::test]
async fn error_rate_answers_its_status() {
    let gateway = gateway("error_rate = 1.0\nerror_status = 502").await;
    assert_eq!(send(&gateway, "+21620000001", "x").await.0, 502);
    assert!(!gateway.received()[0].accepted);
}

#[tokio::test]
async fn a_message_is_on_the_record_before_its_answer() {
    let gateway = gateway("latency = \"1h\"").await;
    let mut stream = TcpStream::connect(gateway.addr()).await.unwrap();
    stream.write_all(&request("POST", "/", &message("+21620000001", "x"))).await.unwrap();
    until(&gateway, "the message is recorded", |gateway| gateway.count() == 1).await;
    assert_eq!(gateway.stats().in_flight, 1);
    drop(stream);
    until(&gateway, "the client's leaving is noticed", |gateway| gateway.stats().in_flight == 0).await;
}

#[tokio::test]
async fn latency_delays_the_answer() {
    let gateway = gateway("latency = \"30ms\"").await;
    let begun = Instant::now();
    assert_eq!(send(&gateway, "+21620000001", "x").await.0, 200);
    assert!(begun.elapsed() >= Duration::from_millis(30));
}

#[tokio::test]
async fn a_redirect_that_is_followed_is_caught_as_a_second_message() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let gateway = gateway(&fault("redirect")).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client.post(gateway.url()).body(message("+21620000001", "x")).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.url().path()), (200, "/elsewhere"));
    let paths: Vec<_> = gateway.received().iter().map(|one| (one.path.clone(), one.answer.to_string())).collect();
    assert_eq!(paths, [("/v1/messages".into(), "redirect".into()), ("/elsewhere".into(), "200".to_owned())]);
}

#[tokio::test]
async fn a_connection_is_kept_for_the_next_message() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let gateway = gateway("").await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for _ in 0..3 {
        let answer = client.post(gateway.url()).body(message("+21620000001", "x")).send().await.unwrap();
        assert_eq!(answer.bytes().await.unwrap().last(), Some(&b'}'));
    }
    assert_eq!(gateway.stats().connections, 1);
}

#[tokio::test]
async fn receipts_follow_accepted_messages_only_and_a_deaf_receiver_harms_nothing() {
    let receiver = gateway("").await;
    let script = |url: &str| {
        Script::parse(&format!(
            "receipts = {{ url = \"{url}\", after = \"5ms\", status = \"delivered\" }}\n[[rule]]\ncontains = \"no\"\nstatus = 500"
        ))
        .unwrap()
    };
    let gateway = gateway("").await;
    gateway.set_script(script("http://127.0.0.1:1/"));
    send(&gateway, "+21620000001", "lost").await;
    gateway.set_script(script(&receiver.url()));
    send(&gateway, "+21620000001", "no").await;
    send(&gateway, "+21620000002", "yes").await;
    until(&receiver, "the receipt has come", |receiver| receiver.count() == 1).await;
    let receipt = receiver.received()[0].body();
    assert_eq!(receipt["id"], "sim-000003");
    assert_eq!((&receipt["phone"], &receipt["status"]), (&json!("+21620000002"), &json!("delivered")));
    assert!(receipt["at"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{receipt}");
}

#[tokio::test]
async fn a_stopped_gateway_frees_its_port_for_the_next() {
    let first = gateway("").await;
    let addr = first.addr();
    assert_eq!(send(&first, "+21620000001", "x").await.0, 200);
    first.stop().await;
    assert!(TcpStream::connect(addr).await.is_err());
    let second = Gateway::start(addr, Script::default()).await.unwrap();
    assert_eq!(send(&second, "+21620000001", "x").await.0, 200);
}

#[tokio::test]
async fn a_port_in_use_is_an_error() {
    let gateway = gateway("").await;
    let error = Gateway::start(gateway.addr(), Script::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_sent_at_once_are_each_recorded_once() {
    let gateway = Arc::new(gateway("latency = \"2ms\"").await);
    let senders = (0..200).map(|place| {
        let gateway = Arc::clone(&gateway);
        tokio::spawn(async move { send(&gateway, &format!("+21620000{place:03}"), "x").await.0 })
    });
    for sender in senders.collect::<Vec<_>>() {
        assert_eq!(sender.await.unwrap(), 200);
    }
    let stats = gateway.stats();
    assert_eq!((stats.totals.received, stats.totals.distinct_phones, stats.totals.duplicates), (200, 200, 0));
    assert!(stats.max_in_flight > 1);
    assert!(gateway.received().is_sorted_by_key(|received| (received.seq, received.at)));
}
