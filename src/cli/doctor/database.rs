//! What the doctor looks at in the database: installation, triggers, drift, rights, identity, clock, queue.

use std::time::Duration;

use jiff::Timestamp;

use super::report::Report;
use crate::config::Config;
use crate::db::script::Session;
use crate::db::{DbError, Target};
use crate::outbox::guards::COPY_MEND;

/// A difference of the clocks that shows in records, and one that breaks decisions.
const CLOCK_LIMITS: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));

/// A message that is due for longer than this is not going out.
const DUE_LIMIT_S: f64 = 60.0;
pub(super) async fn examine(config: &Config, report: &mut Report) {
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
    creators(&session, report).await;
    identity(&session, config, report).await;
    missed(&session, report).await;
    optouts(&session, report).await;
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

/// Whoever may create in the garage's schema can get their functions called in place of the system's.
async fn creators(session: &Session, report: &mut Report) {
    match session.texts(include_str!("../../../sql/install/creators.sql")).await {
        Ok(rows) if rows.is_empty() => {}
        Ok(rows) => {
            let (schema, creators) = (cell(&rows, 0), cell(&rows, 1));
            report.warning(
                "privileges",
                format!(
                    "{creators} may create objects in schema {schema}, and so act as the owner of the garage's tables"
                ),
                format!("REVOKE CREATE ON SCHEMA {schema} FROM {creators}; see docs/SECURITY.md"),
            );
        }
        Err(error) => report.error("privileges", error.to_string(), "look at the server's log"),
    }
}

async fn triggers(session: &Session, report: &mut Report) {
    match session.texts(include_str!("../../../sql/garage/watched.sql")).await {
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
    match session.texts(include_str!("../../../sql/garage/expected.sql")).await {
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

/// Whether marketing goes out with an old list of opt-outs.
async fn optouts(session: &Session, report: &mut Report) {
    match session.texts("SELECT sms_optout_alarm()").await {
        Ok(rows) if cell(&rows, 0).is_empty() => report.ok("opt-outs", "no marketing goes out with an old list"),
        Ok(rows) => report.warning(
            "opt-outs",
            cell(&rows, 0),
            "fetch the list of the national service, and run: ecar-sms optout import FILE",
        ),
        Err(error) => report.warning("opt-outs", error.to_string(), "run: ecar-sms install"),
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
    let glance = include_str!("../../../sql/staff/queue.sql");
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
        let reasons = session.texts(include_str!("../../../sql/staff/held.sql")).await.unwrap_or_default();
        for row in &reasons {
            let text = |column: usize| row.get(column).cloned().flatten().unwrap_or_default();
            let (word, messages) = (text(0), text(1));
            let all = if word.is_empty() {
                String::new()
            } else {
                format!("; all at once: ecar-sms release --reason {word}, or cancel --reason {word}")
            };
            report.warning(
                "queue",
                format!("{messages} messages are held for staff: {word}"),
                format!("ecar-sms list --status held; then release or cancel them{all}"),
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
