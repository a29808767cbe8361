//! What docs/SECURITY.md promises of the connections and of what comes through them: certificates of the database and of
//! providers, answers without end, and hostile words of customers and providers on their way to logs and terminals.
//!
//! Elsewhere: redirects are not followed, and what one exchange makes of bad answers (`src/provider/generic/tests.rs`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ecar_sms::db::Target;
use ecar_sms::db::script::Session;
use ecar_sms::demo::server::{Options, Throwaway};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use support::{API_KEY, World, shown, until};

/// A certificate authority of the tests.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// Certificate and key, in PEM.
    fn issue(&self, name: &str, expired: bool) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        if expired {
            params.not_before = date_time_ymd(2019, 1, 1);
            params.not_after = date_time_ymd(2020, 1, 1);
        }
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

/// A file that the server's account may read, and nobody else.
fn private(server: &Throwaway, name: &str, text: &str) -> PathBuf {
    let path = server.dir().join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let owner = std::fs::metadata(server.dir().join("data")).unwrap();
    std::os::unix::fs::chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
    path
}

/// Lets the server show this certificate from now on.
async fn show_certificate(server: &Throwaway, name: &str, (certificate, key): &(String, String)) {
    let certificate = private(server, &format!("{name}.crt"), certificate);
    let key = private(server, &format!("{name}.key"), key);
    let local = server.session("postgres").await.unwrap();
    for (parameter, value) in [("ssl_cert_file", &certificate), ("ssl_key_file", &key)] {
        local.batch(&format!("ALTER SYSTEM SET {parameter} = '{}'", value.display())).await.unwrap();
    }
    local.batch("ALTER SYSTEM SET ssl = on").await.unwrap();
    local.batch("SELECT pg_reload_conf()").await.unwrap();
    until("the server has read its configuration again", async || {
        let fresh = server.session("postgres").await.unwrap();
        let rows = fresh.texts("SELECT current_setting('ssl') || current_setting('ssl_cert_file')").await.unwrap();
        rows[0][0].as_deref() == Some(&format!("on{}", certificate.display()))
    })
    .await;
}

/// `encrypted`, `plain`, or why there is no connection.
async fn connected(url: &str) -> String {
    match Session::connect(&Target::parse(url).unwrap()).await {
        Err(error) => error.to_string(),
        Ok(session) => {
            let rows = session.texts("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").await.unwrap();
            if rows[0][0].as_deref() == Some("t") { "encrypted" } else { "plain" }.to_owned()
        }
    }
}

#[tokio::test]
async fn verify_full_speaks_to_the_server_it_was_told_of_and_to_no_other() {
    let server = Throwaway::start_with(Options { tcp: true, ..Options::default() }).await.unwrap();
    let url = server.tcp_url("postgres").unwrap();
    let password = url.split(['@', ':']).nth(2).unwrap().to_owned();
    let directory = tempfile::tempdir().unwrap();
    let (ours, theirs) = (Authority::new(), Authority::new());
    let root = |name: &str, authority: &Authority| {
        let path = directory.path().join(name);
        std::fs::write(&path, &authority.pem).unwrap();
        path.display().to_string()
    };
    let (ours_pem, theirs_pem) = (root("ours.pem", &ours), root("theirs.pem", &theirs));
    let verify_full = |pem: &str| format!("{url}?sslmode=verify-full&sslrootcert={pem}");
    let refused = async |url: &str, why: &str| {
        let said = connected(url).await;
        assert!(said.contains(why) && !said.contains(&password), "{url}: {said}");
    };

    // A server without TLS, or somebody in between who says so.
    assert_eq!(connected(&url).await, "plain");
    refused(&format!("{url}?sslmode=require"), "TLS").await;
    refused(&verify_full(&ours_pem), "TLS").await;

    show_certificate(&server, "right", &ours.issue("127.0.0.1", false)).await;
    assert_eq!(connected(&verify_full(&ours_pem)).await, "encrypted");
    assert_eq!(connected(&url).await, "encrypted");
    assert_eq!(connected(&format!("{url}?sslmode=require")).await, "encrypted");
    refused(&verify_full(&theirs_pem), "certificate").await;
    refused(&format!("{url}?sslmode=require&sslrootcert={theirs_pem}"), "certificate").await;
    refused(&format!("{url}?sslmode=verify-full"), "certificate").await;
    refused(&verify_full(&ours_pem).replace("127.0.0.1", "localhost"), "certificate").await;

    show_certificate(&server, "another", &ours.issue("db.example", false)).await;
    refused(&verify_full(&ours_pem), "certificate").await;
    show_certificate(&server, "expired", &ours.issue("127.0.0.1", true)).await;
    refused(&verify_full(&ours_pem), "certificate").await;
    show_certificate(&server, "stranger", &theirs.issue("127.0.0.1", false)).await;
    refused(&verify_full(&ours_pem), "certificate").await;
    // The program itself says so, and what it is about.
    let output = support::program(["install", "--dry-run"]).env("DATABASE_URL", verify_full(&ours_pem)).output().await;
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(69), "{}", shown(&output));
    assert!(String::from_utf8_lossy(&output.stderr).contains("certificate"), "{}", shown(&output));
}

/// What a gateway could read: a request, or why there was none.
type Seen = Arc<Mutex<Vec<Result<String, String>>>>;

/// An HTTPS gateway that takes everything; returns its URL and what it could read.
fn https_gateway((certificate, key): &(String, String)) -> (String, Seen) {
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
        )
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/send", listener.local_addr().unwrap());
    let seen: Seen = Arc::default();
    let read = Arc::clone(&seen);
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut tls = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut tls = rustls::Stream::new(&mut tls, &mut stream);
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            let result = loop {
                match tls.read(&mut buffer) {
                    Err(error) => break Err(error.to_string()),
                    Ok(0) => break Err("closed".to_owned()),
                    Ok(n) => request.extend_from_slice(&buffer[..n]),
                }
                if request.ends_with(b"}") {
                    let _ = tls.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}");
                    break Ok(String::from_utf8_lossy(&request).into_owned());
                }
            };
            read.lock().unwrap().push(result);
        }
    });
    (url, seen)
}

#[tokio::test]
async fn a_provider_whose_certificate_nobody_vouches_for_is_told_nothing() {
    let mut world = World::new().await;
    let authority = Authority::new();
    let roots = world.directory().join("roots.pem");
    std::fs::write(&roots, Authority::new().pem).unwrap();
    world.set("SSL_CERT_FILE", roots.to_str().unwrap());
    let id = world.enqueue("20 000 001", "Bonjour").await;
    for (what, shown_by) in [
        ("a stranger's", authority.issue("127.0.0.1", false)),
        ("another host's", authority.issue("gateway.example", false)),
        ("an expired one", authority.issue("127.0.0.1", true)),
    ] {
        if what != "a stranger's" {
            std::fs::write(&roots, &authority.pem).unwrap();
        }
        let (url, seen) = https_gateway(&shown_by);
        world.set("SMS_GATEWAY_URL", &url);
        let daemon = world.spawn_daemon();
        until(what, async || !seen.lock().unwrap().is_empty()).await;
        world.value_becomes(&format!("SELECT reason FROM sms_outbox WHERE id = {id}"), "temporary_failure").await;
        assert!(seen.lock().unwrap().iter().all(Result::is_err), "{what}: {:?}", seen.lock().unwrap());
        let said = world.value(&format!("SELECT detail FROM sms_outbox WHERE id = {id}")).await;
        assert!(said.contains("certificate"), "{what}: {said}");
        daemon.stop().await;
        world
            .batch(&format!("UPDATE sms_outbox SET reason = NULL, next_at = NULL, failures = 0 WHERE id = {id}"))
            .await;
    }
    let (url, seen) = https_gateway(&authority.issue("127.0.0.1", false));
    world.set("SMS_GATEWAY_URL", &url);
    let daemon = world.spawn_daemon();
    world.status_becomes(id, "sent").await;
    let seen = seen.lock().unwrap().clone();
    assert!(seen.len() == 1 && seen[0].as_ref().is_ok_and(|request| request.contains(API_KEY)), "{seen:?}");
    daemon.stop().await;
}

/// A gateway that takes one request a connection and answers as it likes; returns its URL and the number of requests.
fn gateway(
    answer: impl Fn(&mut TcpStream) -> std::io::Result<()> + Send + Sync + 'static,
) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/send", listener.local_addr().unwrap());
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&requests);
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let (counted, answer) = (Arc::clone(&counted), Arc::clone(&answer));
            std::thread::spawn(move || {
                let mut request = Vec::new();
                let mut buffer = [0; 4096];
                while !request.ends_with(b"}") {
                    match stream.read(&mut buffer) {
                        Ok(n) if n > 0 => request.extend_from_slice(&buffer[..n]),
                        _ => return,
                    }
                }
                counted.fetch_add(1, Ordering::Relaxed);
                // It is cut off at some time, which is what is tested.
                let _ = answer(&mut stream);
            });
        }
    });
    (url, requests)
}

/// Most memory that the daemon may hold while it is told too much, in KiB.
const MEMORY_LIMIT_KIB: u64 = 96 * 1024;

#[tokio::test]
async fn an_answer_without_end_costs_neither_memory_nor_time_and_the_message_is_in_doubt() {
    let head = b"HTTP/1.1 200 OK\r\n";
    let chunk = Arc::new(vec![b'x'; 1 << 20]);
    let (body, name, value) = (Arc::clone(&chunk), Arc::clone(&chunk), chunk);
    type Answer = Box<dyn Fn(&mut TcpStream) -> std::io::Result<()> + Send + Sync>;
    let answers: [(&str, Answer); 6] = [
        (
            "a body of 100 MB",
            Box::new(move |s| {
                s.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n")?;
                (0..100).try_for_each(|_| s.write_all(&body))
            }),
        ),
        (
            "chunks without end",
            Box::new(move |s| {
                s.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
                loop {
                    s.write_all(b"1\r\nx\r\n")?;
                }
            }),
        ),
        (
            "headers without end",
            Box::new(move |s| {
                s.write_all(head)?;
                (0_u64..).try_for_each(|number| s.write_all(format!("X-{number}: y\r\n").as_bytes()))
            }),
        ),
        (
            "a header that does not end",
            Box::new(move |s| {
                s.write_all(head)?;
                s.write_all(b"X-Long: ")?;
                (0..100).try_for_each(|_| s.write_all(&value))
            }),
        ),
        ("a status line that does not end", Box::new(move |s| (0..100).try_for_each(|_| s.write_all(&name)))),
        (
            "one byte after the other",
            Box::new(move |s| {
                s.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")?;
                // Until the other side has had enough: a read that would say so ends the wait.
                s.set_read_timeout(Some(Duration::from_millis(200)))?;
                loop {
                    s.write_all(b"x")?;
                    if s.read(&mut [0; 1]).is_ok_and(|n| n == 0) {
                        return Ok(());
                    }
                }
            }),
        ),
    ];
    let mut world = World::new().await;
    for (what, answer) in answers {
        let (url, requests) = gateway(answer);
        world.configure(&format!(
            "[[provider]]\nname = 'flood'\n[provider.generic]\nurl = '{url}'\ntotal_timeout = '3s'\nconnect_timeout = '1s'\nfields = [{{ name = 'text', value = '{{{{ message }}}}' }}]\n"
        ));
        world.set("SMS_API_KEY", "");
        let daemon = world.daemon().await;
        let began = Instant::now();
        let id = world.enqueue("20 000 001", "Bonjour").await;
        let mut most = 0;
        until(what, async || {
            most = most.max(daemon.resident_kib());
            world.value(&format!("SELECT status FROM sms_message WHERE id = {id}")).await == "unknown"
        })
        .await;
        assert!(began.elapsed() < Duration::from_secs(20), "{what} took {:?}", began.elapsed());
        assert!(most < MEMORY_LIMIT_KIB, "{what} took {most} KiB");
        assert_eq!(requests.load(Ordering::Relaxed), 1, "{what}");
        daemon.stop().await;
    }
}

/// What no log and no terminal may be given: an end of line, escapes, C1 controls, direction marks.
const HOSTILE: &str =
    "a\r\n2026-01-01T00:00:00Z ERROR forged\u{1b}]0;x\u{7}\u{1b}[2J\u{9b}31m\u{202e}\u{2067}\u{61c}\u{85}z";

fn harmless(what: &str, text: &str) {
    let bad: Vec<char> = text
        .chars()
        .filter(|c| {
            (c.is_control() && *c != '\n')
                || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        })
        .collect();
    assert!(bad.is_empty(), "{what}: {bad:?}\n{text:?}");
}

#[tokio::test]
async fn what_customers_providers_and_the_database_say_reaches_no_log_and_no_terminal_as_a_command() {
    for (format, status) in [("pretty", 401), ("json", 400)] {
        let words = HOSTILE.to_owned();
        let (url, _) = gateway(move |stream| {
            let body = format!("no: {words}");
            let head = format!("HTTP/1.1 {status} No\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            stream.write_all(format!("{head}{body}").as_bytes())
        });
        let mut world = World::new().await;
        world.configure(&format!("[log]\nformat = '{format}'\n"));
        world.set("SMS_GATEWAY_URL", &url);
        let name = HOSTILE.replace('\'', "''");
        world.service(1, "20 000 001", "in_progress").await;
        world
            .batch(&format!(
                "UPDATE auth_user SET first_name = '{name}'; UPDATE core_car SET make = left('{name}', 50)"
            ))
            .await;
        let daemon = world.spawn_daemon();
        world.complete(1).await;
        let id = world.enqueue("20 000 002", HOSTILE).await;
        world.value_becomes("SELECT count(*) > 0 FROM sms_message WHERE detail LIKE '%no: a%'", "t").await;
        // An error of the database that repeats a name, as one of the garage's own triggers might.
        world
            .batch(&format!(
                "CREATE OR REPLACE FUNCTION sms_garage_facts(kinds text[], source_ids bigint[])
             RETURNS TABLE (ord int, found boolean, phone text, state text, at timestamptz, amount text, facts jsonb)
             LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'bad name {name}'; END $$"
            ))
            .await;
        world.service(2, "20 000 003", "in_progress").await;
        world.complete(2).await;
        until("the database's error is in the log", async || {
            world.run(["reload"]).await;
            daemon.log().contains("bad name a")
        })
        .await;
        let log = daemon.log();
        harmless(format, &log);
        let forged = log.lines().any(|line| line.starts_with("2026-01-01T00:00:00Z ERROR forged"));
        assert!(!forged, "{format}: a forged line\n{log}");
        if format == "json" {
            for line in log.lines() {
                assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line:?}");
            }
        }
        let id = id.to_string();
        for command in [
            &["list"][..],
            &["list", "--json"],
            &["show", &id],
            &["show", &id, "--json"],
            &["show", "1"],
            &["status"],
            &["status", "--json"],
            &["doctor"],
            &["setting", "list"],
            &["list", "--phone", HOSTILE],
            &["setting", "set", HOSTILE, HOSTILE],
            &["send", "text", HOSTILE, HOSTILE],
        ] {
            let output = world.run(command).await;
            harmless(&format!("{command:?}"), &String::from_utf8_lossy(&output.stdout));
            harmless(&format!("{command:?}"), &String::from_utf8_lossy(&output.stderr));
        }
        daemon.stop().await;
    }
}

#[tokio::test]
async fn templates_in_names_and_plates_are_printed_and_never_run() {
    let world = World::new().await;
    world.service(1, "20 000 001", "in_progress").await;
    world
        .batch(
            "UPDATE auth_user SET first_name = '{{ api_key }}{% raw %}'; UPDATE core_car SET make = '{% for i in range(9) %}x{% endfor %}',
             model = '{{ 7 * 7 }}{# x #}', license_plate = '${jndi:x}'",
        )
        .await;
    let daemon = world.daemon().await;
    world.complete(1).await;
    world.gateway_receives(1).await;
    let text = world.gateway.received()[0].message.clone();
    for part in ["{{ api_key }}{% raw %}", "{% for i in range(9) %}x{% endfor %}", "{{ 7 * 7 }}{# x #}"] {
        assert!(text.contains(part), "{text}");
    }
    assert!(!text.contains(API_KEY) && !text.contains("49"), "{text}");
    daemon.stop().await;
}
