//! The control socket: every endpoint as `curl` sees it, the garage application's own endpoints to the letter, and callers
//! that mean no good.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)]

mod support;

use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::time::Duration;

use serde_json::{Value, json};
use support::{World, shown, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

/// An answer of the socket.
#[derive(Debug)]
struct Answer {
    status: u16,
    kind: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Panics unless this is a problem (RFC 9457) with this status and a sentence; returns the sentence.
    fn problem(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.kind, "application/problem+json", "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], status, "{self:?}");
        assert!(problem["title"].as_str().is_some_and(|title| !title.is_empty()), "{self:?}");
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert!(!detail.is_empty(), "{self:?}");
        detail.to_owned()
    }
}

async fn ask(world: &World, arguments: &[&str], path: &str) -> Answer {
    let mut all = vec!["-w", "\n%{content_type}\n%{http_code}"];
    all.extend(arguments);
    // The last -w counts, so the harness's own status is not asked for.
    let output = tokio::process::Command::new("curl")
        .args(["-sS", "--max-time", "30", "--unix-socket"])
        .arg(world.socket())
        .args(all)
        .arg(format!("http://localhost{path}"))
        .output()
        .await
        .expect("curl is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut parts = text.rsplitn(3, '\n');
    let (Some(status), Some(kind), Some(body)) = (parts.next(), parts.next(), parts.next()) else {
        panic!("{}", shown(&output))
    };
    Answer { status: status.parse().unwrap_or_default(), kind: kind.to_owned(), body: body.to_owned() }
}

async fn get(world: &World, path: &str) -> Answer {
    ask(world, &[], path).await
}

async fn post(world: &World, path: &str, body: &str) -> Answer {
    ask(world, &["-X", "POST", "--data-binary", body], path).await
}

/// An invoice of the service with this number.
async fn invoice(world: &World, number: i64, amount: &str) {
    world
        .batch(&format!(
            "INSERT INTO core_invoice (id, invoice_number, issued_date, due_date, status, final_amount, created_at, updated_at, service_id)
             VALUES ({number}, 'INV-{number:08}', now(), now(), 'pending', {amount}, now(), now(), {number})"
        ))
        .await;
}

/// Messages wait while this is set, so that a test can look at them.
/// Until the daemon has noticed, it may claim a message and give it back.
async fn pause(world: &World, daemon: &support::Daemon) {
    assert_eq!(post(world, "/v1/pause", "").await.status, 200);
    support::until("the daemon noticed", async || daemon.log().contains("paused by setting")).await;
}

#[tokio::test]
async fn status_and_health_of_a_well_daemon() {
    let world = World::new().await;
    let daemon = world.daemon().await;
    let answer = get(&world, "/v1/status").await;
    assert_eq!((answer.status, answer.kind.as_str()), (200, "application/json"));
    let status = answer.json();
    assert_eq!(status["healthy"], true, "{status:#}");
    assert_eq!(status["pid"], daemon.pid);
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["wake"], "listening");
    assert_eq!(status["paused"], false);
    assert_eq!(status["queue"]["due"], 0);
    assert_eq!(status["queue"]["oldest_due_s"], Value::Null);
    assert_eq!(status["providers"][0]["name"], "gateway");
    assert_eq!(status["providers"][0]["circuit"], "closed");
    assert_eq!(status["daemons"][0]["pid"], daemon.pid);
    assert!(!answer.body.contains(support::API_KEY));
    let health = get(&world, "/healthz").await;
    assert_eq!((health.status, health.body.as_str()), (200, "ok\n"));
    daemon.stop().await;
    assert!(!world.socket().exists(), "the socket file stayed");
}

#[tokio::test]
async fn health_is_503_with_the_reason_when_nothing_can_be_sent() {
    let mut world = World::new().await;
    world.set("SMS_API_KEY", "");
    let daemon = world.daemon().await;
    let health = get(&world, "/healthz").await;
    assert_eq!(health.status, 503);
    assert!(health.body.contains("SMS_API_KEY"), "{health:?}");
    let status = get(&world, "/v1/status").await.json();
    assert_eq!(status["healthy"], false);
    assert!(status["problems"][0].as_str().unwrap().contains("SMS_API_KEY"));
    daemon.stop().await;
}

#[tokio::test]
async fn health_is_503_with_the_reason_while_the_database_is_away_and_requests_that_need_it_are_503_too() {
    let world = World::new().await;
    let daemon = world.daemon().await;
    let admin = support::session(&support::server().url("postgres")).await;
    let cut = format!(
        "ALTER DATABASE {0} ALLOW_CONNECTIONS false; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{0}'",
        world.database
    );
    admin.batch(&cut).await.unwrap();
    support::until("health tells", async || get(&world, "/healthz").await.status == 503).await;
    let health = get(&world, "/healthz").await;
    assert!(health.body.contains("database"), "{health:?}");
    get(&world, "/v1/messages").await.problem(503);
    post(&world, "/v1/messages", r#"{"kind":"custom","recipient":"20 000 001","body":"Bonjour"}"#).await.problem(503);
    // What does not need the database is answered all the same.
    let status = get(&world, "/v1/status").await.json();
    assert_eq!((&status["healthy"], &status["queue"]), (&json!(false), &Value::Null));
    assert_eq!(get(&world, "/metrics").await.status, 200);
    admin.batch(&format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", world.database)).await.unwrap();
    support::until("it is well again", async || get(&world, "/healthz").await.status == 200).await;
    daemon.stop().await;
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems() {
    let world = World::new().await;
    let daemon = world.daemon().await;
    for path in [
        "/",
        "/v1",
        "/v1/nothing",
        "/v2/status",
        "/v1/messages/",
        "/api/services/1/",
        "/api/services/1/send_sms_notification",
    ] {
        get(&world, path).await.problem(404);
    }
    for (method, path) in [
        ("DELETE", "/v1/status"),
        ("POST", "/v1/status"),
        ("PUT", "/v1/messages"),
        ("GET", "/v1/pause"),
        ("GET", "/v1/reload"),
        ("GET", "/v1/messages/1/cancel"),
        ("POST", "/healthz"),
        ("POST", "/metrics"),
        ("BREW", "/v1/status"),
    ] {
        ask(&world, &["-X", method], path).await.problem(405);
    }
    for path in [
        "/v1/messages/abc",
        "/v1/messages/1.5",
        "/v1/messages/99999999999999999999",
        "/v1/messages/4711",
        "/v1/messages/-1",
    ] {
        get(&world, path).await.problem(404);
    }
    // Percent-encoded bytes that are no text.
    let answer = get(&world, "/v1/messages/%FF%FE").await;
    answer.problem(400);
    get(&world, "/v1/messages?phone=%FF").await;
    daemon.stop().await;
}

#[tokio::test]
async fn metrics_are_prometheus_text_with_what_happened() {
    let world = World::with_script("[[rule]]\nphone = \"+21620000002\"\nstatus = 400\n").await;
    let daemon = world.daemon().await;
    world.enqueue("20 000 001", "Bonjour").await;
    world.enqueue("20 000 002", "Bonjour").await;
    world.enqueue("junk", "Bonjour").await;
    world.settled().await;
    // They are counted once they are written.
    until("all three are counted", async || {
        let text = get(&world, "/metrics").await.body;
        text.lines()
            .filter(|line| line.starts_with("ecar_sms_messages_settled_total"))
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
            .sum::<f64>()
            >= 3.0
    })
    .await;
    let answer = get(&world, "/metrics").await;
    assert_eq!(answer.status, 200);
    assert!(
        answer.kind.starts_with("application/openmetrics-text") || answer.kind.starts_with("text/plain"),
        "{}",
        answer.kind
    );
    let samples = prometheus(&answer.body);
    let value = |name: &str| {
        samples.iter().find(|(sample, _)| sample == name).unwrap_or_else(|| panic!("no {name} in\n{}", answer.body)).1
    };
    assert_eq!(value("ecar_sms_messages_settled_total{kind=\"custom\",status=\"sent\"}"), 1.0);
    assert_eq!(value("ecar_sms_messages_settled_total{kind=\"custom\",status=\"skipped\"}"), 1.0);
    assert_eq!(value("ecar_sms_attempts_total{provider=\"gateway\",outcome=\"accepted\"}"), 1.0);
    assert_eq!(value("ecar_sms_queue_messages{state=\"due\"}"), 0.0);
    assert!(value("ecar_sms_claims_total") >= 1.0);
    assert!(!answer.body.contains("2000000"), "a number of a person");
    daemon.stop().await;
}

/// Reads the text format; panics where it breaks the rules. Returns each sample as written, and its value.
fn prometheus(text: &str) -> Vec<(String, f64)> {
    let mut families = Vec::new();
    let mut samples = Vec::new();
    let word = |text: &str| {
        !text.is_empty()
            && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
            && !text.starts_with(|c: char| c.is_ascii_digit())
    };
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            match (words.next(), words.next(), words.next()) {
                (Some("TYPE"), Some(name), Some("counter" | "gauge" | "histogram")) => {
                    assert!(word(name) && !families.contains(&name), "{line}");
                    families.push(name);
                }
                (Some("HELP" | "UNIT"), Some(name), Some(_)) => assert!(word(name), "{line}"),
                (Some("EOF"), None, None) => {}
                _ => panic!("no comment of the format: {line}"),
            }
            continue;
        }
        let (sample, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line}"));
        let (name, labels) = sample.split_once('{').map_or((sample, None), |(name, labels)| (name, Some(labels)));
        assert!(word(name), "{line}");
        let family = ["", "_total", "_bucket", "_sum", "_count"]
            .iter()
            .find_map(|end| name.strip_suffix(end).filter(|base| families.contains(base)));
        assert!(family.is_some(), "a sample of no family: {line}");
        if let Some(labels) = labels {
            let labels = labels.strip_suffix('}').unwrap_or_else(|| panic!("{line}"));
            for label in labels.split(',') {
                let (name, value) = label.split_once('=').unwrap_or_else(|| panic!("{line}"));
                assert!(word(name) && value.len() >= 2 && value.starts_with('"') && value.ends_with('"'), "{line}");
            }
        }
        samples.push((sample.to_owned(), value.parse().unwrap_or_else(|_| panic!("no number: {line}"))));
    }
    assert!(text.ends_with('\n') && !samples.is_empty());
    samples
}

#[tokio::test]
async fn a_message_is_taken_with_202_and_its_story_can_be_read() {
    let world = World::new().await;
    world.service(1, "20 000 001", "in_progress").await;
    let daemon = world.daemon().await;
    let answer =
        post(&world, "/v1/messages", r#"{"kind":"custom","recipient":"20 000 002","body":"Bonjour à tous"}"#).await;
    assert_eq!((answer.status, answer.kind.as_str()), (202, "application/json"));
    let taken = answer.json();
    let id = taken["id"].as_i64().unwrap();
    assert_eq!(taken, json!({ "id": id }));

    let message = get(&world, &format!("/v1/messages/{id}?wait=30s")).await.json();
    let mut keys: Vec<&str> = message.as_object().unwrap().keys().map(String::as_str).collect();
    for name in "id kind source_id recipient lang body status reason encoding segments provider provider_message_id attempts requested_by resend_of created_at not_before sent_at delivered_at".split(' ') {
        assert!(keys.contains(&name), "no {name} in {message:#}");
        keys.retain(|key| *key != name);
    }
    assert_eq!(message["status"], "sent", "{message:#}");
    assert_eq!(message["recipient"], "+21620000002");
    assert_eq!(message["body"], "Bonjour à tous");
    assert_eq!((&message["encoding"], &message["segments"]), (&json!("gsm7"), &json!(1)));
    let uid = nix_uid();
    assert!(message["requested_by"].as_str().unwrap().contains(&format!("uid {uid}")), "{message:#}");
    let steps: Vec<&str> =
        message["story"].as_array().unwrap().iter().map(|step| step["what"].as_str().unwrap()).collect();
    assert_eq!(steps, ["created", "sent"]);

    let answer = post(&world, "/v1/messages", r#"{"kind":"service_completed","source_id":1,"lang":"fr"}"#).await;
    let id = answer.json()["id"].as_i64().unwrap();
    let message = get(&world, &format!("/v1/messages/{id}?wait=30s")).await.json();
    assert_eq!(
        (&message["status"], &message["source_id"], &message["lang"]),
        (&json!("sent"), &json!(1), &json!("fr")),
        "{message:#}"
    );

    let later = post(
        &world,
        "/v1/messages",
        r#"{"kind":"custom","recipient":"20 000 003","body":"x","not_before":"2099-12-01T08:00:00+01:00"}"#,
    )
    .await;
    assert_eq!(later.status, 202, "{later:?}");
    let message = get(&world, &format!("/v1/messages/{}", later.json()["id"])).await.json();
    assert_eq!(message["status"], "queued");
    assert_eq!(message["not_before"], "2099-12-01T07:00:00Z");
    assert_eq!(world.gateway.count(), 2);
    daemon.stop().await;
}

fn nix_uid() -> u32 {
    std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap())
}

#[tokio::test]
async fn a_message_that_cannot_be_taken_is_refused_with_a_sentence_and_leaves_nothing() {
    let world = World::new().await;
    let daemon = world.daemon().await;
    pause(&world, &daemon).await;
    let long = format!(r#"{{"kind":"custom","recipient":"20 000 001","body":"{}"}}"#, "x".repeat(1_601));
    let deep = "[".repeat(20_000);
    let deep_field = format!(r#"{{"kind":{}1{}}}"#, "[".repeat(5_000), "]".repeat(5_000));
    for (body, status, word) in [
        ("", 400, "JSON"),
        ("{", 400, "JSON"),
        ("kind=custom", 400, "JSON"),
        ("{\"kind\":\"custom\",}", 400, "JSON"),
        (deep.as_str(), 0, ""),
        (deep_field.as_str(), 0, ""),
        ("null", 422, ""),
        ("[]", 422, ""),
        ("{}", 422, "kind"),
        (r#"{"kind":5}"#, 422, "string"),
        (r#"{"kind":"custom","kind":"custom"}"#, 422, "duplicate"),
        (r#"{"kind":"party","source_id":1}"#, 422, "service_completed"),
        (r#"{"kind":"service_completed"}"#, 422, "source_id"),
        (r#"{"kind":"service_completed","source_id":"1"}"#, 422, "invalid type"),
        (r#"{"kind":"service_completed","source_id":1e30}"#, 422, ""),
        (r#"{"kind":"service_completed","source_id":1,"body":"x"}"#, 422, "source_id"),
        (r#"{"kind":"custom","recipient":"20 000 001"}"#, 422, "body"),
        (r#"{"kind":"custom","recipient":"20 000 001","body":"  \n "}"#, 422, "body"),
        (r#"{"kind":"custom","recipient":"","body":"x"}"#, 422, "recipient"),
        (r#"{"kind":"custom","recipient":"20 000 001","body":"a\u0000b"}"#, 422, ""),
        (r#"{"kind":"custom","recipient":"20 000 001","body":"x","colour":"red"}"#, 422, "colour"),
        (r#"{"kind":"custom","recipient":"20 000 001","body":"x","lang":"FRANÇAIS"}"#, 422, "language"),
        (r#"{"kind":"custom","recipient":"20 000 001","body":"x","not_before":"demain"}"#, 422, "not_before"),
        (
            r#"{"kind":"custom","recipient":"20 000 001","body":"x","not_before":"1515-01-01T00:00:00Z"}"#,
            422,
            "not_before",
        ),
        (r#"{"kind":"custom","recipient":"20 000 001","body":"x","not_before":"-009999-01-02T00:00:00Z"}"#, 422, ""),
        (long.as_str(), 422, "too long"),
    ] {
        let answer = post(&world, "/v1/messages", body).await;
        let shown = &body[..body.len().min(100)];
        assert!(status == 0 || answer.status == status, "{shown}: {answer:?}");
        let detail = answer.problem(answer.status);
        assert!((400..500).contains(&answer.status), "{shown}: {answer:?}");
        assert!(detail.contains(word), "{shown}: {detail}");
    }
    let file = world.directory().join("large");
    std::fs::write(&file, format!(r#"{{"kind":"custom","recipient":"20 000 001","body":"{}"}}"#, "x".repeat(100_000)))
        .unwrap();
    let large = ask(&world, &["-X", "POST", "--data-binary", &format!("@{}", file.display())], "/v1/messages").await;
    large.problem(413);
    std::fs::write(&file, b"{\"kind\":\"custom\",\"recipient\":\"\xff\xfe\",\"body\":\"x\"}").unwrap();
    let answer = ask(&world, &["-X", "POST", "--data-binary", &format!("@{}", file.display())], "/v1/messages").await;
    answer.problem(400);
    assert_eq!(world.count("SELECT count(*) FROM sms_message").await, 0);
    daemon.stop().await;
}

#[tokio::test]
async fn messages_are_listed_newest_first_and_by_every_filter() {
    let world = World::new().await;
    world.service(1, "20 000 003", "in_progress").await;
    let daemon = world.daemon().await;
    let first = world.enqueue("20 000 001", "un").await;
    world.status_becomes(first, "sent").await;
    let junk = world.enqueue("junk", "deux").await;
    world.status_becomes(junk, "skipped").await;
    world.complete(1).await;
    world.gateway_receives(2).await;
    world.settled().await;
    pause(&world, &daemon).await;
    let waiting = world.enqueue("20 000 004", "quatre").await;
    let old = world.enqueue("20 000 005", "cinq").await;
    world.batch(&format!("UPDATE sms_outbox SET created_at = now() - interval '3 hours' WHERE id = {old}")).await;
    let service = world.count("SELECT id FROM sms_history WHERE kind = 'service_completed'").await;

    let list = async |query: &str| -> Vec<i64> {
        let answer = get(&world, &format!("/v1/messages{query}")).await;
        assert_eq!((answer.status, answer.kind.as_str()), (200, "application/json"), "{query}: {answer:?}");
        answer.json().as_array().unwrap().iter().map(|message| message["id"].as_i64().unwrap()).collect()
    };
    assert_eq!(list("").await, [old, waiting, service, junk, first]);
    assert_eq!(list("?status=sent").await, [service, first]);
    assert_eq!(list("?status=skipped").await, [junk]);
    assert!(list("?status=held").await.is_empty());
    assert_eq!(list("?kind=service_completed").await, [service]);
    assert!(list("?kind=campaign").await.is_empty());
    for phone in ["20000001", "20%20000%20001", "%2B21620000001", "+21620000001", "0021620000001", "216+20+000+001"] {
        assert_eq!(list(&format!("?phone={phone}")).await, [first], "{phone}");
    }
    assert_eq!(list("?phone=%2B21620000003").await, [service]);
    // A number that is not known to be one is found as it was written.
    assert_eq!(list("?phone=junk").await, [junk]);
    assert_eq!(list("?phone=20%20000%20004").await, [waiting], "a queued message is found as its number was written");
    assert_eq!(list("?since=2h").await, [waiting, service, junk, first]);
    assert_eq!(list("?limit=2").await, [old, waiting]);
    assert_eq!(list(&format!("?limit=2&before={waiting}")).await, [service, junk]);
    assert_eq!(list("?limit=1000000&status=sent&kind=custom&since=1h").await, [first]);
    for (query, status) in [
        ("?limit=0", 422),
        ("?limit=-5", 422),
        ("?limit=many", 400),
        ("?before=x", 400),
        ("?since=soon", 422),
        ("?since=99999999999999999999y", 422),
        ("?kind=party", 422),
        ("?status=perhaps", 422),
        ("?colour=red", 400),
        ("?limit=1&limit=2", 400),
        ("?phone=%00", 422),
    ] {
        let answer = get(&world, &format!("/v1/messages{query}")).await;
        assert_eq!(answer.status, status, "{query}: {answer:?}");
        answer.problem(status);
    }
    get(&world, &format!("/v1/messages/{first}?wait=soon")).await.problem(422);
    get(&world, &format!("/v1/messages/{first}?colour=red")).await.problem(400);
    daemon.stop().await;
}

#[tokio::test]
async fn resend_cancel_and_release_do_what_the_state_allows_and_answer_409_otherwise() {
    let world = World::new().await;
    let daemon = world.daemon().await;
    pause(&world, &daemon).await;
    let act = async |id: i64, action: &str| post(&world, &format!("/v1/messages/{id}/{action}"), "").await;

    let queued = world.enqueue("20 000 001", "un").await;
    let said = act(queued, "resend").await.problem(409);
    assert!(said.contains(&format!("message {queued} is still queued")), "{said}");
    act(queued, "release").await.problem(409);
    let cancelled = act(queued, "cancel").await;
    assert_eq!(cancelled.status, 200, "{cancelled:?}");
    assert_eq!((&cancelled.json()["id"], &cancelled.json()["status"]), (&json!(queued), &json!("cancelled")));
    act(queued, "cancel").await.problem(409);
    act(queued, "release").await.problem(409);
    let again = act(queued, "resend").await;
    assert_eq!(again.status, 200, "{again:?}");
    assert_eq!((&again.json()["resend_of"], &again.json()["status"]), (&json!(queued), &json!("queued")));
    assert!(again.json()["requested_by"].as_str().unwrap().contains(&format!("uid {}", nix_uid())));
    assert_eq!(
        world.value(&format!("SELECT status FROM sms_message WHERE id = {queued}")).await,
        "cancelled",
        "the old one keeps its record"
    );

    let held = world.enqueue("20 000 002", "deux").await;
    world.batch(&format!("UPDATE sms_outbox SET state = 'held', reason = 'no_amount' WHERE id = {held}")).await;
    let released = act(held, "release").await;
    assert_eq!((released.status, &released.json()["status"]), (200, &json!("queued")), "{released:?}");
    let sending = world.enqueue("20 000 003", "trois").await;
    world.batch(&format!("UPDATE sms_outbox SET state = 'sending', lease_owner = 99, lease_token = 1, lease_until = now() + interval '1 hour' WHERE id = {sending}")).await;
    for action in ["resend", "cancel", "release"] {
        act(sending, action).await.problem(409);
        act(4_711, action).await.problem(404);
        post(&world, &format!("/v1/messages/x/{action}"), "").await.problem(404);
    }
    act(queued, "explode").await.problem(404);
    daemon.stop().await;
}

#[tokio::test]
async fn pause_keeps_messages_and_resume_lets_them_go() {
    let world = World::new().await;
    let daemon = world.daemon().await;
    let paused = post(&world, "/v1/pause", "").await;
    assert_eq!((paused.status, paused.json()), (200, json!({"name": "paused", "value": "true"})));
    let id = world.enqueue("20 000 001", "Bonjour").await;
    support::until("the daemon noticed", async || daemon.log().contains("paused by setting")).await;
    assert_eq!(get(&world, "/v1/status").await.json()["paused"], true);
    assert_eq!(get(&world, "/healthz").await.status, 200, "paused on purpose is not ill");
    // It may have been claimed before that, and is given back.
    world.status_becomes(id, "queued").await;
    assert_eq!(world.gateway.count(), 0);
    let resumed = post(&world, "/v1/resume", "").await;
    assert_eq!((resumed.status, resumed.json()), (200, json!({"name": "paused", "value": "false"})));
    world.status_becomes(id, "sent").await;
    daemon.stop().await;
}

#[tokio::test]
async fn reload_answers_with_what_is_in_force_or_with_the_line_that_is_wrong() {
    let mut world = World::new().await;
    world.configure("[sending]\nmax_segments = 5\n");
    let daemon = world.daemon().await;
    let answer = post(&world, "/v1/reload", "").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["detail"], "configuration reloaded; providers: gateway");
    world.configure("[sending]\nmax_segments = 6\n");
    let detail = post(&world, "/v1/reload", "").await.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("[sending] need a restart"), "{detail}");
    world.configure("[sending]\nmax_segments = 5\n[receipts]\nlisten = \"127.0.0.1:1\"\n");
    let detail = post(&world, "/v1/reload", "").await.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("receipts] need a restart"), "{detail}");
    world.configure("[sending]\n\nmax_segment = 6\n");
    let detail = post(&world, "/v1/reload", "").await.problem(422);
    assert!(detail.contains("line 3") && detail.contains("max_segment"), "{detail}");
    let id = world.enqueue("20 000 001", "Bonjour").await;
    world.status_becomes(id, "sent").await;
    daemon.stop().await;
}

#[tokio::test]
async fn settings_are_listed_and_changed_and_bad_ones_refused() {
    let world = World::new().await;
    let daemon = world.daemon().await;
    let settings = get(&world, "/v1/settings").await.json();
    let find = |settings: &Value, name: &str| {
        settings.as_array().unwrap().iter().find(|setting| setting["name"] == name).cloned().unwrap()
    };
    assert_eq!(find(&settings, "stampede_limit")["unit"], "count");
    assert_eq!(find(&settings, "custom.validity")["value"], "24h");
    let put =
        async |name: &str, body: &str| ask(&world, &["-X", "PUT", "-d", body], &format!("/v1/settings/{name}")).await;
    let answer = put("custom.validity", r#"{"value":"3 days"}"#).await;
    assert_eq!((answer.status, answer.json()), (200, json!({"name": "custom.validity", "value": "3 days"})));
    let changed = find(&get(&world, "/v1/settings").await.json(), "custom.validity");
    assert!(changed["updated_by"].as_str().unwrap().contains(&format!("uid {}", nix_uid())), "{changed}");
    assert!(put("custom.validity", r#"{"value":"soon"}"#).await.problem(422).contains("not a duration"));
    assert!(put("paused", r#"{"value":"perhaps"}"#).await.problem(422).contains("neither true nor false"));
    assert!(put("custom.unknown_policy", r#"{"value":"shrug"}"#).await.problem(422).contains("resend, hold"));
    assert!(put("colour", r#"{"value":"red"}"#).await.problem(404).contains("stampede_limit"));
    put("paused", r#"{"value":true}"#).await.problem(422);
    put("paused", "true").await.problem(422);
    put("paused", "").await.problem(400);
    assert_eq!(world.value("SELECT value FROM sms_setting WHERE name = 'custom.validity'").await, "3 days");
    daemon.stop().await;
}

#[tokio::test]
async fn the_garages_own_endpoints_answer_to_the_letter() {
    let world =
        World::with_script("[[rule]]\nphone = \"+21620000013\"\nstatus = 400\nbody = '{\"error\":\"blocked\"}'\n")
            .await;
    for (number, phone) in [(11, "20 000 011"), (12, ""), (13, "20 000 013")] {
        world.service(number, phone, "scheduled").await;
        invoice(&world, number, "123.456").await;
    }
    world.batch("DELETE FROM sms_outbox").await;
    let daemon = world.daemon().await;
    for what in ["services", "invoices"] {
        let path = |id: &str| format!("/api/{what}/{id}/send_sms_notification/");
        let answer = post(&world, &path("11"), "").await;
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (200, r#"{"detail":"SMS notification sent successfully"}"#),
            "{what}"
        );
        assert_eq!(answer.kind, "application/json");
        let answer = post(&world, &path("12"), "").await;
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (400, r#"{"detail":"SMS notification skipped: No phone number available"}"#),
            "{what}"
        );
        let answer = post(&world, &path("13"), "").await;
        assert_eq!(answer.status, 500, "{answer:?}");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        let reason = detail.strip_prefix("Failed to send SMS notification: ").unwrap_or_else(|| panic!("{detail}"));
        assert!(reason.contains("blocked"), "{detail}");
        let model = if what == "services" { "Service" } else { "Invoice" };
        for id in ["4711", "99999999999999999999", "abc"] {
            let answer = post(&world, &path(id), "").await;
            assert_eq!(
                (answer.status, answer.body.as_str()),
                (404, format!(r#"{{"detail":"No {model} matches the given query."}}"#).as_str()),
                "{what} {id}"
            );
        }
        for method in ["GET", "PUT", "DELETE", "PATCH"] {
            let answer = ask(&world, &["-X", method], &path("11")).await;
            assert_eq!(
                (answer.status, answer.body.as_str()),
                (405, format!(r#"{{"detail":"Méthode « {method} » non autorisée."}}"#).as_str()),
                "{what}"
            );
        }
    }
    let texts: Vec<String> = world.received_by("+21620000011").iter().map(|message| message.message.clone()).collect();
    assert_eq!(
        texts,
        [
            "Bonjour Sami, votre service pour Kia Rio est terminé. Merci de nous contacter pour récupérer votre véhicule.",
            "Bonjour Sami, une nouvelle facture (INV-00000011) de 123.456 DT pour votre Kia Rio a été émise. Merci de votre confiance."
        ]
    );
    assert!(world.value("SELECT requested_by FROM sms_message WHERE source_id = 11 LIMIT 1").await.contains("uid"));
    daemon.stop().await;
}

#[tokio::test]
async fn without_a_key_the_garages_endpoints_say_so_and_enqueue_nothing() {
    let mut world = World::new().await;
    world.set("SMS_API_KEY", "");
    world.service(11, "20 000 011", "scheduled").await;
    invoice(&world, 11, "1.000").await;
    world.batch("DELETE FROM sms_outbox").await;
    let daemon = world.daemon().await;
    for what in ["services", "invoices"] {
        let answer = post(&world, &format!("/api/{what}/11/send_sms_notification/"), "").await;
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (500, r#"{"detail":"Failed to send SMS notification: SMS API key not configured"}"#)
        );
    }
    assert_eq!(world.count("SELECT count(*) FROM sms_message").await, 0);
    daemon.stop().await;
}

#[tokio::test]
async fn a_garage_message_still_open_after_ten_seconds_is_202() {
    let world = World::with_script("latency = \"20s\"").await;
    world.service(11, "20 000 011", "scheduled").await;
    let daemon = world.daemon().await;
    let answer = post(&world, "/api/services/11/send_sms_notification/", "").await;
    assert_eq!((answer.status, answer.body.as_str()), (202, r#"{"detail":"SMS notification queued"}"#));
    assert_eq!(world.gateway.count(), 1);
    daemon.kill().await;
}

/// A small generator of bytes: the same ones at every run, so that a failure can be seen again.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u64) -> usize {
        usize::try_from(self.next() % limit).unwrap()
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next().to_le_bytes()[3]).collect()
    }
}

fn malformed(number: usize, dice: &mut Dice) -> Vec<u8> {
    let request = |method: &str, path: &str, head: &str, body: &[u8]| {
        let mut all = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{head}Content-Length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        all.extend(body);
        all
    };
    match number % 20 {
        0 => {
            let length = 1 + dice.below(2_000);
            dice.bytes(length)
        }
        1 => b"POST /v1/messages HTTP/1.1\r\nHost: local".to_vec(),
        2 => b"POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500\r\n\r\n{\"kind\":".to_vec(),
        3 => request("GET", "/v1/status", &format!("X-Large: {}\r\n", "x".repeat(700_000)), b""),
        4 => request("GET", "/v1/status", &"X-Many: y\r\n".repeat(5_000), b""),
        5 => request("EXPLODE", "/v1/messages", "", b"{}"),
        6 => request("GET", "/v1/messages/%zz%f", "", b""),
        7 => request("POST", "/v1/messages/%FF%FE/resend", "", b""),
        8 => request("POST", "/v1/messages", "", "[".repeat(60_000).as_bytes()),
        9 => request("POST", "/v1/messages", "", b"{\"kind\":\"\xff\xfe\"}"),
        10 => request("GET", &format!("/{}", "a/".repeat(30_000)), "", b""),
        11 => b"POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n{}".to_vec(),
        12 => b"POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n".to_vec(),
        13 => b"POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n{}".to_vec(),
        14 => b"GET /v1/status HTTP/9.9\r\n\r\n".to_vec(),
        15 => b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        16 => request("POST", "/api/services/%00/send_sms_notification/", "", b"\0\0\0"),
        17 => request("GET", "/v1/messages?phone=%00&status=%FF&limit=1e99&since=%F0%9F%92%A3", "", b""),
        18 => request("PUT", "/v1/settings/%2e%2e%2f%2e%2e", "", b"{\"value\":\"\\u0000\"}"),
        _ => Vec::new(),
    }
}

#[tokio::test]
async fn a_thousand_malformed_requests_leave_it_alive_and_answering() {
    let world = World::new().await;
    let daemon = world.daemon().await;
    let mut dice = Dice(0x5eed_5eed_5eed_5eed);
    let mut refused = 0;
    let mut callers = tokio::task::JoinSet::new();
    for number in 0..1_000 {
        let (bytes, path, listens) = (malformed(number, &mut dice), world.socket(), number % 3 != 0);
        callers.spawn(async move {
            let Ok(mut stream) = UnixStream::connect(path).await else { panic!("the socket is gone") };
            // The daemon may hang up in the middle of what it does not want to read.
            let _ = stream.write_all(&bytes).await;
            if !listens || bytes.is_empty() {
                return false;
            }
            // No more comes; what is half stays half.
            let _ = stream.shutdown().await;
            let mut answer = vec![0; 64];
            let read =
                tokio::time::timeout(support::PATIENCE, stream.read(&mut answer)).await.expect("an answer, or the end");
            let answer = String::from_utf8_lossy(&answer[..read.unwrap_or_default()]).into_owned();
            assert!(
                !answer.starts_with("HTTP/1.1 5"),
                "{answer} to {}",
                String::from_utf8_lossy(&bytes[..bytes.len().min(200)])
            );
            answer.starts_with("HTTP/1.1 4")
        });
        if callers.len() >= 50 {
            refused += usize::from(callers.join_next().await.unwrap().unwrap());
        }
    }
    while let Some(was_refused) = callers.join_next().await {
        refused += usize::from(was_refused.unwrap());
    }
    assert!(refused > 300, "only {refused} were answered with 4xx: are these requests read at all?");

    // Callers that say half a sentence and stay.
    let mut half = Vec::new();
    for _ in 0..100 {
        let mut stream = UnixStream::connect(world.socket()).await.unwrap();
        stream.write_all(b"GET /v1/sta").await.unwrap();
        half.push(stream);
    }
    assert_eq!(get(&world, "/v1/status").await.json()["healthy"], true);
    assert_eq!(get(&world, "/v1/status").await.json()["pid"], daemon.pid);
    let id = world.enqueue("20 000 001", "Bonjour").await;
    world.status_becomes(id, "sent").await;
    assert!(daemon.is_running() && !daemon.log().contains("panicked"), "{}", daemon.log());
    assert_eq!(world.count("SELECT count(*) FROM sms_message").await, 1);
    drop(half);
    daemon.stop().await;
}

#[tokio::test]
async fn callers_that_never_finish_their_request_do_not_keep_the_daemon_from_stopping() {
    let world = World::new().await;
    let daemon = world.daemon().await;
    let mut stream = UnixStream::connect(world.socket()).await.unwrap();
    stream.write_all(b"POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n{").await.unwrap();
    let mut idle = UnixStream::connect(world.socket()).await.unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut answer = [0; 12];
    idle.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    let begun = std::time::Instant::now();
    daemon.stop().await;
    assert!(
        begun.elapsed() < Duration::from_secs(30),
        "it waited {:?} for a caller that says nothing",
        begun.elapsed()
    );
}

#[tokio::test]
async fn the_socket_is_0660_and_a_stranger_cannot_connect() {
    let world = World::new().await;
    let daemon = world.daemon().await;
    let metadata = std::fs::symlink_metadata(world.socket()).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o660);
    if nix_uid() != 0 {
        println!("not root: whether another user can connect is not tried");
        return daemon.stop().await;
    }
    // Whoever reaches the directory is stopped by the socket itself.
    std::fs::set_permissions(world.directory(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let stranger = async || {
        let output = tokio::process::Command::new("setpriv")
            .args([
                "--reuid=65534",
                "--regid=65534",
                "--clear-groups",
                "curl",
                "-sS",
                "--max-time",
                "10",
                "--unix-socket",
            ])
            .arg(world.socket())
            .arg("http://localhost/v1/status")
            .output()
            .await
            .unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    // 7: curl could not connect.
    assert_eq!(stranger().await, (Some(7), String::new()));
    let own = tokio::process::Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(env!("CARGO_BIN_EXE_ecar-sms"))
        .args(["status", "--socket"])
        .arg(world.socket())
        .output()
        .await;
    if let Ok(output) = own
        && output.status.code() != Some(126)
        && output.status.code() != Some(127)
    {
        assert_eq!(output.status.code(), Some(69), "{}", shown(&output));
        assert!(String::from_utf8_lossy(&output.stderr).contains("group ecar-sms"), "{}", shown(&output));
    }
    // It was the mode that stopped them.
    std::fs::set_permissions(world.socket(), std::fs::Permissions::from_mode(0o666)).unwrap();
    assert_eq!(stranger().await.0, Some(0));
    daemon.stop().await;
}

#[tokio::test]
async fn a_socket_left_by_a_killed_daemon_is_replaced() {
    let world = World::new().await;
    world.daemon().await.kill().await;
    assert!(world.socket().exists(), "a killed daemon cannot have removed it");
    let daemon = world.daemon().await;
    assert_eq!(get(&world, "/healthz").await.status, 200);
    daemon.stop().await;
}

#[tokio::test]
async fn a_second_daemon_on_the_same_socket_is_told_to_try_later_and_the_first_goes_on() {
    let world = World::new().await;
    let daemon = world.daemon().await;
    let output = world.run(["run"]).await;
    assert_eq!(output.status.code(), Some(75), "{}", shown(&output));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("another daemon is listening") && said.contains(&world.socket().display().to_string()),
        "{said}"
    );
    assert_eq!(get(&world, "/v1/status").await.json()["pid"], daemon.pid);
    daemon.stop().await;
}

#[tokio::test]
async fn a_file_that_is_no_socket_is_left_alone() {
    let world = World::new().await;
    std::fs::write(world.socket(), "precious").unwrap();
    let output = world.run(["run"]).await;
    assert!(!output.status.success(), "{}", shown(&output));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no socket"), "{}", shown(&output));
    assert_eq!(std::fs::read_to_string(world.socket()).unwrap(), "precious");
    // Nor is a link followed to somebody else's file.
    std::fs::remove_file(world.socket()).unwrap();
    let target = world.directory().join("target");
    std::fs::write(&target, "precious").unwrap();
    std::os::unix::fs::symlink(&target, world.socket()).unwrap();
    let output = world.run(["run"]).await;
    assert!(!output.status.success(), "{}", shown(&output));
    assert_eq!(std::fs::read_to_string(target).unwrap(), "precious");
}
