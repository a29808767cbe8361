//! Neither the API key nor the database password appears anywhere, whatever fails and whoever repeats them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::path::Path;
use std::time::Duration;

use ecar_sms::demo::server::Options;
use ecar_sms::gateway::Script;
use support::{API_KEY, Daemon, World, until};

/// A secret of a mistyped configuration; of digits and of letters, since each is a different mistake.
const LETTERS: &str = "hunter2secret";
const DIGITS: &str = "8675309123";

/// Everything that was said, and by whom.
#[derive(Default)]
struct Said(Vec<(String, String)>);

impl Said {
    fn add(&mut self, who: &str, what: impl Into<String>) {
        self.0.push((who.to_owned(), what.into()));
    }

    /// Runs a command, whatever its result, and keeps what it says.
    async fn command(&mut self, world: &World, arguments: &[&str]) {
        let output = tokio::time::timeout(Duration::from_secs(30), world.run(arguments)).await;
        let output = output.unwrap_or_else(|_| panic!("{arguments:?} does not end"));
        self.add(&arguments.join(" "), support::shown(&output));
    }

    async fn rows(&mut self, world: &World) {
        for table in
            ["sms_outbox", "sms_history", "sms_attempt", "sms_event", "sms_owner", "sms_setting", "sms_installation"]
        {
            let rows = world.sql.texts(&format!("SELECT t::text FROM {table} t")).await.unwrap();
            self.add(table, rows.into_iter().flatten().flatten().collect::<Vec<_>>().join("\n"));
        }
    }

    /// What anybody on the machine may see of a process.
    fn process(&mut self, daemon: &Daemon) {
        let raw = std::fs::read(format!("/proc/{}/cmdline", daemon.pid)).unwrap();
        let shown = String::from_utf8_lossy(&raw).into_owned();
        assert!(shown.contains("run"), "{shown}");
        self.add("cmdline", shown);
    }

    /// Every log in a directory.
    fn logs(&mut self, directory: &Path) {
        for entry in std::fs::read_dir(directory).unwrap().flatten() {
            if entry.path().extension().is_some_and(|ending| ending == "log") {
                self.add(
                    &entry.path().display().to_string(),
                    String::from_utf8_lossy(&std::fs::read(entry.path()).unwrap()),
                );
            }
        }
    }

    fn contains(&self, text: &str) -> bool {
        self.0.iter().any(|(_, what)| what.contains(text))
    }

    /// Panics when a secret is anywhere, without repeating more than the line.
    fn hides(&self, secrets: &[&str]) {
        for (who, what) in &self.0 {
            for line in what.lines() {
                for secret in secrets {
                    assert!(
                        !line.contains(secret),
                        "{who} shows a secret:\n{}",
                        line.chars().take(600).collect::<String>()
                    );
                }
            }
        }
    }
}

/// The password in a connection string of a test server.
fn password_of(url: &str) -> String {
    url.split_once("postgres:").unwrap().1.split_once('@').unwrap().0.to_owned()
}

/// One provider that shows its key in this way, and the log at its most talkative.
fn configuration(world: &World, how: &str) -> String {
    format!(
        "[log]\nlevel = \"trace\"\ndirectory = \"{}\"\n[sending]\npoll_interval = \"100ms\"\nretry_first = \"100ms\"\nretry_longest = \"100ms\"\n\
         [[provider]]\nname = \"main\"\n[provider.generic]\nurl = \"{}\"\napi_key = \"{API_KEY}\"\n\
         connect_timeout = \"2s\"\ntotal_timeout = \"2s\"\n{how}\n",
        world.directory().display(),
        world.gateway.url()
    )
}

#[tokio::test]
async fn whatever_a_gateway_answers_the_key_and_the_password_stay_secret() {
    let options = Options { tcp: true, ..Options::default() };
    let (mut world, mut server) = World::on_its_own_server(options, "").await;
    let password = password_of(&world.url);
    let escaped = API_KEY.replace('-', "\\u002d");
    let faults = [
        format!("status = 500\nbody = 'wrong key {API_KEY}, Basic and Bearer {API_KEY}'"),
        format!("status = 401\nbody = '{{\"error\":\"no such key {API_KEY}\"}}'"),
        format!("status = 400\nbody = '{{\"key\":\"{API_KEY}\"}}'"),
        format!("status = 402\nbody = '{API_KEY}{API_KEY}'"),
        format!("status = 429\nbody = '{API_KEY}'\nheaders = {{ Retry-After = '{API_KEY}' }}"),
        format!("status = 503\nbody = '{}{API_KEY}'", "x".repeat(280)),
        format!("status = 307\nheaders = {{ Location = '/?api_key={API_KEY}' }}"),
        format!("status = 200\nbody = 'taken for {API_KEY}'"),
        format!("status = 200\nbody = '{{\"id\":\"{API_KEY}\"}}'"),
        format!("status = 200\nbody = '{{\"id\":\"{escaped}\"}}'"),
        "fault = 'garbage'".to_owned(),
        "fault = 'truncated'".to_owned(),
        "fault = 'huge'".to_owned(),
        "fault = 'silence'".to_owned(),
        "fault = 'reset_after_read'".to_owned(),
        "fault = 'close_after_read'".to_owned(),
    ];
    let in_body = "fields = [{ name = 'api_key', value = '{{ api_key }}' }, { name = 'phone', value = '{{ phone }}' }, \
                   { name = 'message', value = '{{ message }}' }, { name = 'sender_id', value = '{{ sender_id }}' }]";
    let elsewhere = "fields = [{ name = 'api_key', value = 'none' }, { name = 'phone', value = '{{ phone }}' }, \
                     { name = 'message', value = '{{ message }}' }, { name = 'sender_id', value = '{{ sender_id }}' }]";
    let ways = [
        in_body.to_owned(),
        format!("{elsewhere}\nauth = {{ type = 'bearer' }}"),
        format!("{elsewhere}\nauth = {{ type = 'query', name = 'key' }}"),
        format!("{elsewhere}\nauth = {{ type = 'basic', username = 'garage' }}"),
    ];
    world.set("SMS_API_KEY", "");
    world.set("SMS_GATEWAY_URL", "");
    world.configure(&configuration(&world, &ways[0]));
    let log = std::fs::File::create(world.directory().join("talkative.log")).unwrap();
    let mut talkative = world.command(["run"]).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
    until("the daemon answers", async || world.run(["status"]).await.status.code() != Some(69)).await;

    let mut said = Said::default();
    for (at, way) in ways.iter().enumerate() {
        world.configure(&configuration(&world, way));
        // All faults in the first way; where the key travels otherwise, those that repeat it.
        for (number, fault) in faults.iter().enumerate().take(if at == 0 { faults.len() } else { 4 }) {
            world.ok(["reload"]).await;
            world.gateway.set_script(Script::parse(&format!("[[rule]]\ntimes = 1\n{fault}\n")).unwrap());
            let before = world.gateway.count();
            let id = world.enqueue(&format!("+21620000{:03}", at * 20 + number), "Bonjour").await;
            world.gateway_receives(before + 1).await;
            world
                .value_becomes(
                    &format!(
                        "SELECT EXISTS (SELECT FROM sms_attempt WHERE message_id = {id}) OR EXISTS (SELECT FROM sms_history WHERE id = {id})"
                    ),
                    "t",
                )
                .await;
            said.add("healthz", world.curl(&[], "/healthz").await.1);
            said.add("status", world.curl(&[], "/v1/status").await.1);
            said.command(&world, &["show", &id.to_string()]).await;
        }
    }
    said.add("metrics", world.curl(&[], "/metrics").await.1);
    for arguments in [
        &["status"][..],
        &["status", "--json"],
        &["list"],
        &["list", "--json", "--limit", "100"],
        &["show", "1", "--json"],
        &["doctor"],
        &["doctor", "--json"],
        &["setting", "list"],
        &["send", "text", "20 000 999", "Bonjour", "--wait", "1s"],
        &["resend", "1"],
        &["cancel", "1"],
        &["release", "1"],
        &["pause"],
        &["resume"],
        &["reload"],
        &["install", "--dry-run"],
        &["install"],
        &["run"],
        &["--help"],
        &["run", "--help"],
        &["man"],
    ] {
        said.command(&world, arguments).await;
    }
    said.rows(&world).await;

    // The database goes away and comes back.
    server.stop_immediate().await.unwrap();
    until("health says so", async || world.curl(&[], "/healthz").await.0 == 503).await;
    for arguments in [
        &["status", "--json"][..],
        &["doctor"],
        &["list"],
        &["install"],
        &["uninstall"],
        &["send", "text", "20 000 999", "Bonjour"],
    ] {
        said.command(&world, arguments).await;
    }
    server.start_again().await.unwrap();
    world.sql = support::session(&world.url).await;
    let pid = talkative.id().unwrap();
    let cmdline = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap();
    said.add("cmdline", String::from_utf8_lossy(&cmdline));
    let killed = std::process::Command::new("kill").args(["-TERM", &pid.to_string()]).status().unwrap();
    assert!(killed.success());
    tokio::time::timeout(support::PATIENCE, talkative.wait()).await.expect("the daemon ends").unwrap();
    said.rows(&world).await;
    said.logs(world.directory());
    said.logs(server.dir());

    let basic = base64_of(&format!("garage:{API_KEY}"));
    said.hides(&[API_KEY, &password, &basic, &escaped]);
    // The gateway did repeat the key, and the log was talkative.
    assert!(said.contains("[redacted]"), "the gateway's answers are not in the records");
    assert!(said.contains("TRACE"), "the log is not at its most talkative");
}

/// RFC 4648, for one comparison.
fn base64_of(text: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let bits = (0..3).fold(0_usize, |bits, at| bits << 8 | usize::from(chunk.get(at).copied().unwrap_or_default()));
        for at in 0..=chunk.len() {
            out.push(char::from(ALPHABET[bits >> (18 - 6 * at) & 63]));
        }
        out.push_str(&"=".repeat(3 - chunk.len()));
    }
    out
}

#[tokio::test]
async fn a_wrong_password_or_a_database_out_of_reach_is_told_without_any_password() {
    let options = Options { tcp: true, ..Options::default() };
    let (mut world, server) = World::on_its_own_server(options, "").await;
    let password = password_of(&world.url);
    let nobody = std::net::SocketAddr::from(([127, 0, 0, 1], support::free_port()));
    let mut said = Said::default();
    for url in [
        world.url.replace(&password, LETTERS),
        format!("postgresql://postgres:{LETTERS}@{nobody}/garage"),
        world.url.replace("/garage", "/nowhere"),
        world.url.replace("127.0.0.1", "no-such-host.invalid"),
        format!("{}?sslmode=require", world.url),
        format!("{}?sslmode=verify-full&sslrootcert=/no/such/file", world.url),
    ] {
        world.set("DATABASE_URL", &url);
        for arguments in [&["doctor"][..], &["doctor", "--json"], &["install"], &["uninstall"]] {
            let output = world.run(arguments).await;
            assert!(!output.status.success(), "{arguments:?} with {}", url.replace(&password, "..."));
            said.add(&arguments.join(" "), support::shown(&output));
        }
        let mut daemon = world.spawn_daemon();
        if url.contains("/no/such/file") {
            assert_eq!(daemon.ended().await.code(), Some(64), "{}", daemon.log());
        } else {
            until("the daemon says that it cannot begin", async || daemon.log().contains("cannot begin yet")).await;
            said.process(&daemon);
            said.add("healthz", world.curl(&[], "/healthz").await.1);
            said.command(&world, &["status", "--json"]).await;
            daemon.stop().await;
        }
    }
    said.logs(world.directory());
    said.logs(server.dir());
    said.hides(&[&password, LETTERS, API_KEY]);
}

#[tokio::test]
async fn a_mistyped_connection_string_is_refused_without_its_password() {
    let mut world = World::new().await;
    for url in [
        format!("postgresql:/sami:{LETTERS}@db1/garage?sslmode=require"),
        format!("postgresq://sami:{LETTERS}@db1/garage?connect_timeout=3"),
        format!("sami:{LETTERS}==@db1/garage"),
        format!("sami:{LETTERS}@db1/garage"),
        format!("postgresql://sami:p@{LETTERS}@db1/garage"),
        format!("postgresql://sami:{LETTERS}@db1:port/garage"),
        format!("postgresql://sami:{LETTERS}@db1/garage?{LETTERS}=1"),
        format!("postgresql://sami:{LETTERS}@db1/garage?sslmode=maybe"),
        format!("postgresql://sami:%zz{LETTERS}%ff@db1/garage?keepalives=x"),
        format!("host=db1 password={LETTERS} port=abc"),
        format!("host=db1 password {LETTERS}"),
        format!("host=db1 password='{LETTERS}"),
        format!("host=db1 password=two words={LETTERS} x"),
    ] {
        world.set("DATABASE_URL", &url);
        for arguments in [["run"], ["install"], ["doctor"]] {
            let output = tokio::time::timeout(Duration::from_secs(20), world.run(arguments)).await;
            let output = output.unwrap_or_else(|_| panic!("{arguments:?} takes {url}"));
            let shown = support::shown(&output);
            assert!(!shown.contains(LETTERS), "{url}: {shown}");
            if arguments != ["doctor"] {
                assert_eq!(output.status.code(), Some(64), "{url}: {shown}");
                assert!(shown.contains("DATABASE_URL"), "{url}: {shown}");
            }
        }
    }
}

#[tokio::test]
async fn a_mistyped_configuration_is_refused_with_its_line_and_without_its_secrets() {
    let mut world = World::new().await;
    let provider = "[[provider]]\nname = \"main\"\n[provider.generic]\nurl = \"http://127.0.0.1:1/\"\n";
    for (toml, line) in [
        (format!("database = \"postgresql://sami:{LETTERS}@db1/garage\""), 1),
        (format!("[database]\nurl = \"postgresql://sami:{LETTERS}@db1/garage"), 2),
        (format!("[database]\nurl = postgresql://sami:{LETTERS}@db1/garage"), 2),
        (format!("[database]\nurl = [\"postgresql://sami:{LETTERS}@db1/garage\"]"), 2),
        (format!("[gateway]\napi_key = {DIGITS}"), 2),
        (format!("[gateway]\napi_key = {DIGITS}.5"), 2),
        (format!("[gateway]\napi_key = {LETTERS}"), 2),
        (format!("[gateway]\napi_key {LETTERS}"), 2),
        (format!("[gateway]\napi_key = \"{LETTERS}\\q\""), 2),
        (format!("[gateway]\nconcurrency = \"{LETTERS}\""), 2),
        (format!("[gateway]\nrate = \"{LETTERS}\""), 2),
        (format!("gateway = \"{LETTERS}\""), 1),
        (format!("[control]\n\n{LETTERS}"), 3),
        (format!("[sending]\npoll_interval = \"{LETTERS}\""), 2),
        (format!("[log]\nformat = \"{LETTERS}\""), 2),
        (format!("{provider}api_key = {DIGITS}"), 5),
        (format!("{provider}auth = \"{LETTERS}\""), 5),
        (format!("{provider}auth = {{ type = \"{LETTERS}\" }}"), 5),
        (format!("{provider}proxy = {DIGITS}"), 5),
        (format!("{provider}headers = {{ X-Key = {DIGITS} }}"), 5),
        (format!("{provider}headers = \"{LETTERS}\""), 5),
        (format!("{provider}method = \"{LETTERS}\""), 5),
        // Well written, and yet of no use: no line, but the key.
        (format!("{provider}proxy = \"http://sami:{LETTERS}@[::\""), 0),
        (format!("[[provider]]\nname = \"main\"\n[provider.generic]\nurl = \"{LETTERS}\""), 0),
        (format!("[[provider]]\nname = \"main\"\n[provider.generic]\nurl = \"http://[{LETTERS}/\""), 0),
        (format!("{provider}api_key = \"{LETTERS}\"\nfields = [{{ name = 'a', value = '{{{{ {LETTERS} }}}}' }}]"), 0),
        (format!("{provider}headers = {{ X-Key = '{LETTERS} {{{{' }}"), 0),
        (format!("{provider}headers = {{ 'X Key' = '{LETTERS}' }}"), 0),
    ] {
        let path = world.configure(&toml);
        let output = tokio::time::timeout(Duration::from_secs(20), world.run(["run"])).await;
        let output = output.unwrap_or_else(|_| panic!("taken:\n{toml}"));
        let shown = support::shown(&output);
        assert_eq!(output.status.code(), Some(64), "{toml}\n{shown}");
        assert!(!shown.contains(LETTERS) && !shown.contains(DIGITS), "{toml}\n{shown}");
        let place = if line == 0 { "provider main".to_owned() } else { format!("{}, line {line}:", path.display()) };
        assert!(shown.contains(&place), "{toml}\n{shown}");
        for arguments in [["doctor"], ["install"], ["status"]] {
            let shown = support::shown(&world.run(arguments).await);
            assert!(!shown.contains(LETTERS) && !shown.contains(DIGITS), "{toml}\n{shown}");
        }
    }
}

#[tokio::test]
async fn a_bad_variable_is_refused_without_its_value() {
    for name in ["SMS_GATEWAY_URL", "SMS_GATEWAY_RATE", "SMS_GATEWAY_CONCURRENCY", "SMS_SENDER_ID"] {
        let mut world = World::new().await;
        // Somebody put the key into the wrong variable.
        let key = format!("{LETTERS}-{LETTERS}");
        world.set(name, &key);
        let output = tokio::time::timeout(Duration::from_secs(20), world.run(["run"])).await;
        let shown = support::shown(&output.unwrap_or_else(|_| panic!("{name} is taken")));
        assert!(shown.contains("64") && !shown.contains(LETTERS), "{name}: {shown}");
        let shown = support::shown(&world.run(["doctor"]).await);
        assert!(!shown.contains(LETTERS), "{name}: {shown}");
    }
}

#[tokio::test]
async fn a_bad_configuration_is_not_put_in_force_by_a_reload_and_its_secrets_are_not_told() {
    let mut world = World::new().await;
    world.configure("");
    let daemon = world.daemon().await;
    world.configure(&format!("[gateway]\napi_key = {DIGITS}\n"));
    let output = world.run(["reload"]).await;
    let shown = support::shown(&output);
    assert!(!output.status.success() && shown.contains("line 2") && !shown.contains(DIGITS), "{shown}");
    daemon.signal("HUP");
    until("the log says so", async || daemon.log().contains("the old one stays")).await;
    assert!(!daemon.log().contains(DIGITS), "{}", daemon.log());
    let id = world.enqueue("20 000 001", "Bonjour").await;
    world.status_becomes(id, "sent").await;
    daemon.stop().await;
}
