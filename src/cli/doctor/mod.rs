//! `doctor`: looks at everything that can be wrong, and says for each finding how to mend it.
//!
//! It changes nothing and sends nothing. Each check stands alone: one that cannot be made says so and the next goes on.

mod database;
mod report;

use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::{Duration, Instant};

use hyper::Method;

use report::{Level, Report};

use super::args::Globals;
use super::client::Client;
use super::exit::{Exit, Failure};
use super::output;
use crate::config::{self, AdapterConfig, Config};
use crate::control::status::Status;
use crate::daemon;
use crate::provider::Provider;
use crate::provider::credit::{Level as CreditLevel, amount};

/// What a missing journal costs, and how to have one.
const JOURNAL_MEND: &str = "after a kill, messages under way would be in doubt; mend the directory (systemd: StateDirectory=; otherwise [sending] state_directory or STATE_DIRECTORY)";

/// Time allowed to reach a provider's port.
const REACH_TIMEOUT: Duration = Duration::from_secs(5);

/// Examines, and prints. Exit 1 when there is an error.
///
/// # Errors
/// Never; what goes wrong is a finding.
pub async fn run(globals: &Globals, json: bool) -> Result<Exit, Failure> {
    let mut report = Report::default();
    let mut listens = true;
    match config::load(globals.config.as_deref()) {
        Ok(config) => {
            report.ok("configuration", "it can be read");
            listens = config.database.listen != Some(false);
            configuration(&config, globals, &mut report);
            database::examine(&config, &mut report).await;
            providers(&config, &mut report).await;
        }
        Err(error) => {
            report.error("configuration", error.to_string(), "correct that line or variable; see docs/CONFIGURATION.md")
        }
    }
    socket(&config::socket_path(globals.socket.as_deref(), globals.config.as_deref()), listens, &mut report).await;
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

async fn providers(config: &Config, report: &mut Report) {
    match daemon::providers_of(&config.providers, &[]) {
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
                    (AdapterConfig::Generic(_) | AdapterConfig::Smpp(_), Some((host, port))) => {
                        if reach(provider.name(), &host, port, report).await {
                            credit(provider, report).await;
                        }
                    }
                    (AdapterConfig::Generic(_) | AdapterConfig::Smpp(_), None) => {
                        report.ok("provider", format!("{}: configured", provider.name()))
                    }
                }
            }
        }
    }
}

/// What is left with it, and with it whether it takes our credentials.
async fn credit(provider: &Provider, report: &mut Report) {
    let name = provider.name();
    if provider.balance_every().is_none() {
        return;
    }
    match provider.ask_balance().await {
        Ok(balance) => {
            let (level, _) = provider.credit().learned(balance, provider.balance_low(), Instant::now());
            let found = format!("{name}: {} left", amount(balance, provider.balance_unit()));
            match level {
                CreditLevel::Enough => report.ok("credit", found),
                CreditLevel::Low => report.warning("credit", found, "fill the account before it is empty"),
                CreditLevel::Empty => report.error("credit", found, "fill the account: nothing goes out through it"),
            }
        }
        Err(problem) => report.error(
            "credit",
            format!("{name}: the balance cannot be read: {problem}"),
            "are base_url, account and key right? `ecar-sms provider test NAME` tries again",
        ),
    }
}

/// Whether it answers at all.
async fn reach(name: &str, host: &str, port: u16, report: &mut Report) -> bool {
    let mend = "is the URL right, and may this machine reach it (firewall, DNS)?";
    match tokio::time::timeout(REACH_TIMEOUT, tokio::net::TcpStream::connect((host, port))).await {
        Ok(Ok(_)) => {
            report.ok("provider", format!("{name}: {host}:{port} answers"));
            return true;
        }
        Ok(Err(error)) => report.error("provider", format!("{name}: {host}:{port}: {error}"), mend),
        Err(_) => report.error("provider", format!("{name}: {host}:{port} does not answer"), mend),
    }
    false
}

async fn socket(path: &Path, listens: bool, report: &mut Report) {
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
        Ok(status) => {
            if status.healthy {
                report.ok("daemon", format!("version {} is well, pid {}", status.version, status.pid));
            }
            for problem in &status.problems {
                report.error("daemon", problem, "see ecar-sms status and journalctl -u ecar-sms");
            }
            // Switched off by configuration is said beside the database.
            if let Some(why) = status.wake.strip_prefix("polling: ").filter(|_| listens) {
                report.warning(
                    "wake-ups",
                    format!("the daemon does not listen for wake-ups ({why}): a message waits for the next look at the outbox, poll_interval at most"),
                    "name a way around the pooler in [database] direct_url",
                );
            }
            if let Some(problem) = &status.journal_problem {
                report.warning("journal", format!("it is not written: {problem}"), JOURNAL_MEND);
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
