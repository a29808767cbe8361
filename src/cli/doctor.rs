//! `doctor`: looks at everything that can be wrong, and says for each finding how to mend it.
//!
//! It changes nothing and sends nothing. Each check stands alone: one that cannot be made says so and the next goes on.

use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;

use hyper::Method;
use jiff::Timestamp;
use serde::Serialize;

use super::args::Globals;
use super::client::Client;
use super::exit::{Exit, Failure};
use super::output;
use crate::config::{self, AdapterConfig, Config};
use crate::control::status::Status;
use crate::daemon;
use crate::db::script::Session;
use crate::db::{DbError, Target};
use crate::outbox::guards::COPY_MEND;

/// A difference of the clocks that shows in records, and one that breaks decisions.
const CLOCK_LIMITS: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));

/// Time allowed to reach a provider's port.
const REACH_TIMEOUT: Duration = Duration::from_secs(5);

/// A message that is due for longer than this is not going out.
const DUE_LIMIT_S: f64 = 60.0;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Ok,
    Warning,
    Error,
}

/// One line of the doctor's report.
#[derive(Debug, Serialize)]
struct Finding {
    level: Level,
    area: &'static str,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<String>,
}

#[derive(Default)]
struct Report(Vec<Finding>);

impl Report {
    fn ok(&mut self, area: &'static str, found: impl Into<String>) {
        self.0.push(Finding { level: Level::Ok, area, found: found.into(), mend: None });
    }

    fn warning(&mut self, area: &'static str, found: impl Into<String>, mend: impl Into<String>) {
        self.0.push(Finding { level: Level::Warning, area, found: found.into(), mend: Some(mend.into()) });
    }

    fn error(&mut self, area: &'static str, found: impl Into<String>, mend: impl Into<String>) {
        self.0.push(Finding { level: Level::Error, area, found: found.into(), mend: Some(mend.into()) });
    }
}

/// Examines, and prints. Exit 1 when there is an error.
///
/// # Errors
/// Never; what goes wrong is a finding.
pub async fn run(globals: &Globals, json: bool) -> Result<Exit, Failure> {
    let mut report = Report::default();
    match config::load(globals.config.as_deref()) {
        Ok(config) => {
            report.ok("configuration", "it can be read");
            configuration(&config, globals, &mut report);
            database(&config, &mut report).await;
            providers(&config, &mut report).await;
        }
        Err(error) => {
            report.error("configuration", error.to_string(), "correct that line or variable; see docs/CONFIGURATION.md")
        }
    }
    socket(&config::socket_path(globals.socket.as_deref(), globals.config.as_deref()), &mut report).await;
    service(&mut report).await;
    let Report(findings) = report;
    let worst = findings.iter().any(|finding| finding.level == Level::Error);
    if json {
        output::json(&serde_json::to_value(&findings).map_err(Failure::failed)?);
    } else {
        for finding in &findings {
            let word = match finding.level {
                Level::Ok => "ok",
                Level::Warning => "warning",
                Level::Error => "error",
            };
            output::say(&format!("{word:<9}{:<15}{}", finding.area, output::visible(&finding.found)));
            if let Some(mend) = &finding.mend {
                output::say(&format!("{:<24}-> {}", "", output::visible(mend)));
            }
        }
        let count = |level| findings.iter().filter(|finding| finding.level == level).count();
        output::say(&format!(
            "\n{} ok, {} warnings, {} errors",
            count(Level::Ok),
            count(Level::Warning),
            count(Level::Error)
        ));
    }
    Ok(if worst { Exit::Failed } else { Exit::Done })
}

fn configuration(config: &Config, globals: &Globals, report: &mut Report) {
    let path = config::file_path(globals.config.as_deref());
    if let Ok(metadata) = std::fs::metadata(&path)
        && metadata.permissions().mode() & 0o004 != 0
    {
        report.warning(
            "configuration",
            format!("{} can be read by everybody, and may hold secrets", path.display()),
            format!("chmod o-r {}; or keep secrets in the credentials directory", path.display()),
        );
    }
    for warning in &config.warnings {
        report.warning("provider", warning, "set SMS_API_KEY and SMS_GATEWAY_URL, or configure a [[provider]]");
    }
}

async fn database(config: &Config, report: &mut Report) {
    let target = match config
        .database_url()
        .map_err(|error| error.to_string())
        .and_then(|url| Target::parse(url).map_err(|error| error.to_string()))
    {
        Ok(target) => target,
        Err(error) => return report.error("database", error, "set DATABASE_URL to postgresql://user@host/database"),
    };
    let session = match Session::connect(&target).await {
        Ok(session) => session,
        Err(error) => {
            return report.error(
                "database",
                format!("{}: {error}", target.describe()),
                "is PostgreSQL running there, and may this role connect (pg_hba.conf)?",
            );
        }
    };
    match session.texts("SELECT current_setting('server_version'), current_user, pg_is_in_recovery()").await {
        Ok(rows) => {
            let (version, user, standby) = (cell(&rows, 0), cell(&rows, 1), cell(&rows, 2) == "t");
            report.ok("database", format!("{}, PostgreSQL {version}, as role {user}", target.describe()));
            if standby {
                report.error(
                    "database",
                    "this server is a standby and cannot be written to",
                    "name the primary, or both hosts, in DATABASE_URL",
                );
            }
        }
        Err(error) => return report.error("database", error.to_string(), "look at the server's log"),
    }
    if !installed(&session, report).await {
        return;
    }
    triggers(&session, report).await;
    drift(&session, report).await;
    privileges(&session, report).await;
    identity(&session, config, report).await;
    missed(&session, report).await;
    clock(&session, report).await;
    queue(&session, report).await;
    wake(config, report);
}

/// What is lost without a direct connection.
fn wake(config: &Config, report: &mut Report) {
    if config.database.listen == Some(false) {
        let every = humantime::format_duration(config.sending.poll_interval);
        let found = format!(
            "no LISTEN connection: a message waits up to {every} for the next look, a dead daemon's for its lease"
        );
        report.warning(
            "wake-ups",
            found,
            "if there is a way around the pooler, name it in [database] direct_url and remove listen = false",
        );
    }
}

fn cell(rows: &[Vec<Option<String>>], column: usize) -> String {
    rows.first().and_then(|row| row.get(column).cloned().flatten()).unwrap_or_default()
}

async fn installed(session: &Session, report: &mut Report) -> bool {
    let mend = "run: ecar-sms install";
    match session.texts("SELECT to_regclass('sms_outbox') IS NOT NULL AND to_regclass('sms_message') IS NOT NULL AND to_regclass('sms_setting') IS NOT NULL").await {
        Ok(rows) if cell(&rows, 0) == "t" => {}
        Ok(_) => {
            report.error("installation", "our tables are not in this database, or not in the role's search_path", mend);
            return false;
        }
        Err(error) => {
            report.error("installation", error.to_string(), mend);
            return false;
        }
    }
    match session
        .texts("SELECT coalesce(max(number), 0), (SELECT version FROM sms_installation) FROM sms_migration")
        .await
    {
        Ok(rows) => {
            let (number, version) = (cell(&rows, 0), cell(&rows, 1));
            let newest = crate::db::install::newest_migration();
            if number.parse() == Ok(newest) {
                report.ok("installation", format!("version {version}, migration {number}"));
            } else {
                report.error(
                    "installation",
                    format!("migration {number} is applied, this program needs {newest}"),
                    mend,
                );
            }
        }
        Err(error) => report.error("installation", error.to_string(), mend),
    }
    true
}

async fn triggers(session: &Session, report: &mut Report) {
    match session.texts(include_str!("../../sql/garage/watched.sql")).await {
        Ok(rows) => {
            for row in &rows {
                let text = |column: usize| row.get(column).cloned().flatten().unwrap_or_default();
                let (table, trigger, state) = (text(0), text(1), text(2));
                match state.as_str() {
                    "O" | "A" => report.ok("triggers", format!("{trigger} on {table}")),
                    "missing" => report.error(
                        "triggers",
                        format!("{trigger} is not on {table}: its events make no messages"),
                        "run: ecar-sms install",
                    ),
                    _ => report.error(
                        "triggers",
                        format!("{trigger} on {table} is disabled: its events make no messages"),
                        format!("ALTER TABLE {table} ENABLE TRIGGER {trigger};"),
                    ),
                }
            }
        }
        Err(error) => report.error("triggers", error.to_string(), "look at the server's log"),
    }
}

async fn drift(session: &Session, report: &mut Report) {
    match session.texts(include_str!("../../sql/garage/expected.sql")).await {
        Ok(rows) if rows.is_empty() => report.ok("garage", "its tables are as the triggers and texts need them"),
        Ok(rows) => {
            let missing = rows.iter().filter_map(|row| row.first().cloned().flatten()).collect::<Vec<_>>().join(", ");
            report.error(
                "garage",
                format!("its tables have changed: missing {missing}"),
                "messages that need these columns are not made or not sent; adapt sql/garage, or ask for a newer ecar-sms, and run install",
            );
        }
        Err(error) => report.error("garage", error.to_string(), "look at the server's log"),
    }
    if let Err(error) = session
        .texts("SELECT * FROM sms_garage_facts(ARRAY['service_completed', 'invoice_created'], ARRAY[0, 0]::bigint[])")
        .await
    {
        let mend = match error {
            DbError::Busy(_) => {
                "a table of the garage is locked just now (VACUUM FULL?); messages wait until it is free"
            }
            DbError::Unavailable(_) | DbError::Refused { .. } | DbError::NotInstalled(_) | DbError::Unexpected(_) => {
                "messages about services and invoices wait; run: ecar-sms install"
            }
        };
        report.error("garage", format!("facts cannot be read: {error}"), mend);
    }
}

async fn privileges(session: &Session, report: &mut Report) {
    let needed = "SELECT t || ' ' || p FROM (VALUES ('sms_outbox', 'SELECT'), ('sms_outbox', 'INSERT'), ('sms_outbox', 'UPDATE'), ('sms_outbox', 'DELETE'), \
                  ('sms_history', 'INSERT'), ('sms_history', 'SELECT'), ('sms_attempt', 'INSERT'), ('sms_attempt', 'UPDATE'), ('sms_event', 'INSERT'), \
                  ('sms_owner', 'INSERT'), ('sms_setting', 'SELECT'), ('sms_setting', 'UPDATE'), ('sms_message', 'SELECT')) AS w (t, p) \
                  WHERE NOT has_table_privilege(to_regclass(t), p)";
    match session.texts(needed).await {
        Ok(rows) if rows.is_empty() => report.ok("privileges", "this role may do what the daemon needs"),
        Ok(rows) => {
            let missing = rows.iter().filter_map(|row| row.first().cloned().flatten()).collect::<Vec<_>>().join(", ");
            report.error(
                "privileges",
                format!("this role lacks {missing}"),
                "run as superuser or owner: ecar-sms install --role NAME",
            );
        }
        Err(error) => {
            report.error("privileges", error.to_string(), "run as superuser or owner: ecar-sms install --role NAME")
        }
    }
}

async fn identity(session: &Session, config: &Config, report: &mut Report) {
    match session.texts("SELECT sms_identity()").await {
        Ok(rows) if cell(&rows, 0).is_empty() => {
            report.ok("identity", "this is the database that ecar-sms was installed in");
        }
        Ok(rows) => {
            let what = match config.sending.test_recipients.len() {
                0 => "nothing is sent".to_owned(),
                numbers => format!("only the {numbers} numbers of [sending] test_recipients are texted"),
            };
            report.error("identity", format!("this database is a copy: {}; {what}", cell(&rows, 0)), COPY_MEND);
        }
        Err(error) => report.warning("identity", error.to_string(), "run: ecar-sms install"),
    }
}

/// Events without a message, as the setting `catch_up_window` looks for them.
async fn missed(session: &Session, report: &mut Report) {
    let found = "SELECT kind, count(*), string_agg(source_id::text, ', ' ORDER BY at) FILTER (WHERE number <= 10) \
                 FROM (SELECT m.*, row_number() OVER (PARTITION BY m.kind ORDER BY m.at) AS number FROM sms_setting s, \
                 sms_garage_missed((extract(epoch FROM s.value::interval) * 1000)::bigint, 1000) m WHERE s.name = 'catch_up_window') m GROUP BY kind";
    match session.texts(found).await {
        Ok(rows) if rows.is_empty() => report.ok("missed", "every completion and invoice of late has its message"),
        Ok(rows) => {
            for row in &rows {
                let text = |column: usize| row.get(column).cloned().flatten().unwrap_or_default();
                let what = if text(0) == "invoice_created" { "invoice" } else { "service" };
                report.warning(
                    "missed",
                    format!(
                        "{} events made no {} message (were the triggers disabled?): {what} {}",
                        text(1),
                        text(0),
                        text(2)
                    ),
                    format!("ecar-sms send {what} ID; or for all of them: ecar-sms setting set catch_up enqueue"),
                );
            }
        }
        Err(error) => report.warning("missed", error.to_string(), "run: ecar-sms install"),
    }
}

async fn clock(session: &Session, report: &mut Report) {
    let Ok(rows) = session.texts("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint").await else { return };
    let Ok(theirs) = cell(&rows, 0).parse::<i64>() else { return };
    let apart = Duration::from_millis(Timestamp::now().as_millisecond().abs_diff(theirs));
    let found = format!("the database's clock and this machine's are {:.1} s apart", apart.as_secs_f64());
    let mend = "run a time service on both machines: timedatectl set-ntp true";
    if apart > CLOCK_LIMITS.1 {
        report.error("clock", found, mend);
    } else if apart > CLOCK_LIMITS.0 {
        report.warning("clock", found, mend);
    } else {
        report.ok("clock", found);
    }
}

async fn queue(session: &Session, report: &mut Report) {
    let glance = include_str!("../../sql/staff/queue.sql");
    let Ok(rows) = session.texts(glance).await else { return };
    let number = |column: usize| cell(&rows, column).parse::<f64>().unwrap_or_default();
    let (due, held, unknown, oldest) = (number(0), number(3), number(4), number(7));
    if oldest > DUE_LIMIT_S {
        report.warning(
            "queue",
            format!("{due} messages are due, the oldest for {oldest:.0} s"),
            "see `ecar-sms status` for what keeps them",
        );
    } else {
        report.ok("queue", format!("{due} messages are due"));
    }
    if held > 0.0 {
        let reasons = session.texts(include_str!("../../sql/staff/held.sql")).await.unwrap_or_default();
        for row in &reasons {
            let text = |column: usize| row.get(column).cloned().flatten().unwrap_or_default();
            let (word, messages) = (text(0), text(1));
            report.warning(
                "queue",
                format!("{messages} messages are held for staff: {word}"),
                format!(
                    "ecar-sms list --status held; then ecar-sms release --reason {word}, or cancel --reason {word}"
                ),
            );
        }
    }
    if unknown > 0.0 {
        report.warning(
            "queue",
            format!("{unknown} messages may or may not have been sent"),
            "ecar-sms list --status unknown; ask the customer or the provider; then resend or cancel",
        );
    }
}

async fn providers(config: &Config, report: &mut Report) {
    match daemon::providers_of(&config.providers) {
        Err(error) => {
            report.error("provider", error.to_string(), "correct its configuration; see docs/CONFIGURATION.md")
        }
        Ok(providers) => {
            for (provider, configured) in providers.iter().zip(&config.providers) {
                match (&configured.adapter, provider.endpoint()) {
                    (AdapterConfig::Log(_), _) => {
                        report.warning(
                            "provider",
                            format!("{} writes to the log and sends nothing", provider.name()),
                            "configure a real provider for real customers",
                        );
                    }
                    (AdapterConfig::Generic(_), Some((host, port))) => {
                        reach(provider.name(), &host, port, report).await
                    }
                    (AdapterConfig::Generic(_), None) => {
                        report.ok("provider", format!("{}: configured", provider.name()))
                    }
                }
            }
        }
    }
}

async fn reach(name: &str, host: &str, port: u16, report: &mut Report) {
    let mend = "is the URL right, and may this machine reach it (firewall, DNS)?";
    match tokio::time::timeout(REACH_TIMEOUT, tokio::net::TcpStream::connect((host, port))).await {
        Ok(Ok(_)) => report.ok(
            "provider",
            format!("{name}: {host}:{port} answers (credit is not known: this kind of provider cannot be asked)"),
        ),
        Ok(Err(error)) => report.error("provider", format!("{name}: {host}:{port}: {error}"), mend),
        Err(_) => report.error("provider", format!("{name}: {host}:{port} does not answer"), mend),
    }
}

async fn socket(path: &Path, report: &mut Report) {
    match std::fs::symlink_metadata(path) {
        Err(error) => {
            return report.error(
                "daemon",
                format!("{}: {error}", path.display()),
                "is the daemon running? systemctl status ecar-sms; journalctl -u ecar-sms",
            );
        }
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return report.error(
                "socket",
                format!("{} is no socket", path.display()),
                "remove it and restart the daemon",
            );
        }
        Ok(metadata) => {
            let mode = metadata.permissions().mode() & 0o777;
            if mode == 0o660 {
                report.ok("socket", format!("{}, mode 0660", path.display()));
            } else {
                report.error(
                    "socket",
                    format!("{} has mode {mode:04o}", path.display()),
                    format!("chmod 0660 {}", path.display()),
                );
            }
        }
    }
    match Client::new(path.to_owned()).ask::<Status>(Method::GET, "/v1/status", None).await {
        Ok(status) if status.healthy => {
            report.ok("daemon", format!("version {} is well, pid {}", status.version, status.pid))
        }
        Ok(status) => {
            for problem in status.problems {
                report.error("daemon", problem, "see ecar-sms status and journalctl -u ecar-sms");
            }
        }
        Err(failure) => {
            report.error("daemon", format!("{:#}", failure.error), "systemctl status ecar-sms; journalctl -u ecar-sms")
        }
    }
}

/// Whether systemd runs it, where systemd runs at all.
async fn service(report: &mut Report) {
    if !Path::new("/run/systemd/system").exists() {
        return;
    }
    let output = tokio::process::Command::new("systemctl").args(["is-active", "ecar-sms"]).output().await;
    match output {
        Ok(output) if output.status.success() => report.ok("service", "ecar-sms.service is active"),
        Ok(output) => report.warning(
            "service",
            format!("ecar-sms.service is {}", String::from_utf8_lossy(&output.stdout).trim()),
            "systemctl enable --now ecar-sms",
        ),
        Err(error) => report.warning("service", format!("systemctl: {error}"), "is systemd's systemctl in the PATH?"),
    }
}
