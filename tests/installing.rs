//! Into the garage's database and out of it again: repeatable, without a trace, without queueing the application, and with
//! no more rights than needed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::process::Output;
use std::time::Duration;

use ecar_sms::gateway::Script;
use support::{AT_ANY_HOUR, BARE, World, server, shown, until};

/// A garage without anything of ours.
async fn bare() -> World {
    World::from(BARE, Script::default()).await
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The whole database's schema, with owners and rights, as pg_dump has it.
async fn schema(world: &World) -> String {
    let program = server().bin_dir().join("pg_dump");
    let output =
        tokio::process::Command::new(program).args(["--schema-only", "--dbname", &world.url]).output().await.unwrap();
    assert!(output.status.success(), "{}", shown(&output));
    // Newer versions of pg_dump wrap the dump in a random word.
    stdout(&output).lines().filter(|line| !line.contains("restrict ")).collect::<Vec<_>>().join("\n")
}

/// Everything in the database's catalogues that carries our prefix.
async fn ours(world: &World) -> i64 {
    world
        .count(
            "SELECT (SELECT count(*) FROM pg_class WHERE relname ~ '^sms_') + (SELECT count(*) FROM pg_proc WHERE proname ~ '^sms_')
                  + (SELECT count(*) FROM pg_trigger WHERE tgname ~ '^sms_') + (SELECT count(*) FROM pg_type WHERE typname ~ '^_?sms_')
                  + (SELECT count(*) FROM pg_constraint WHERE conname ~ '^sms_') + (SELECT count(*) FROM pg_namespace WHERE nspname ~ '^sms_')",
        )
        .await
}

/// A role of this world alone.
async fn role(world: &World, name: &str) -> String {
    let role = format!("{name}_{}", world.database);
    world.batch(&format!("CREATE ROLE {role} LOGIN")).await;
    role
}

#[tokio::test]
async fn install_and_uninstall_can_be_repeated_and_leave_the_database_as_it_was() {
    let world = bare().await;
    let role = role(&world, "daemon").await;
    let before = schema(&world).await;
    assert!(before.contains("CREATE TABLE public.core_service"), "{before}");

    world.ok(["install", "--role", &role]).await;
    let installed = schema(&world).await;
    assert!(installed.contains("CREATE TRIGGER sms_garage_service"), "{installed}");
    assert!(world.ok(["install", "--role", &role]).await.contains("up to date"));
    assert_eq!(schema(&world).await, installed, "a second install changes nothing");

    // Also what was used leaves no trace.
    world.service(1, "20 000 001", "completed").await;
    let daemon = world.daemon().await;
    world.settled().await;
    daemon.stop().await;

    world.ok(["uninstall"]).await;
    assert_eq!(ours(&world).await, 0);
    assert_eq!(schema(&world).await, before, "after uninstall");
    world.ok(["uninstall"]).await;
    assert_eq!(schema(&world).await, before, "after a second uninstall");

    world.ok(["install", "--role", &role]).await;
    assert_eq!(schema(&world).await, installed, "installed again");
    world.service(2, "20 000 001", "completed").await;
    assert_eq!(world.count("SELECT count(*) FROM sms_outbox").await, 1);
    world.ok(["uninstall"]).await;
    assert_eq!(schema(&world).await, before, "at the end");
    // Refused while anything in the database still names the role.
    world.batch(&format!("DROP ROLE {role}")).await;
    assert_eq!(world.count("SELECT count(*) FROM core_service").await, 2, "the garage's rows are untouched");
}

#[tokio::test]
async fn a_dry_run_changes_nothing_and_prints_sql_that_psql_can_run() {
    let world = bare().await;
    let before = schema(&world).await;
    let sql = world.ok(["install", "--dry-run"]).await;
    assert_eq!(schema(&world).await, before);
    let output = world.psql(&world.url, &format!("\\set ON_ERROR_STOP on\n{sql}")).await;
    assert!(output.status.success(), "{}", shown(&output));

    let by_program = bare().await;
    by_program.ok(["install"]).await;
    assert_eq!(schema(&world).await, schema(&by_program).await);
    assert!(world.ok(["install"]).await.contains("up to date"));

    let installed = schema(&world).await;
    let sql = world.ok(["uninstall", "--dry-run"]).await;
    assert_eq!(schema(&world).await, installed);
    let output = world.psql(&world.url, &format!("\\set ON_ERROR_STOP on\n{sql}")).await;
    assert!(output.status.success(), "{}", shown(&output));
    assert_eq!(schema(&world).await, before);
}

#[tokio::test]
async fn a_database_that_is_not_the_garages_is_refused_by_naming_what_it_lacks() {
    let world = bare().await;
    world.batch("ALTER TABLE core_invoice RENAME TO invoices; DROP TABLE core_serviceitem").await;
    let before = schema(&world).await;
    let output = world.run(["install"]).await;
    assert_eq!(output.status.code(), Some(1), "{}", shown(&output));
    let said = stderr(&output);
    assert!(said.contains("core_serviceitem, core_invoice") && said.contains(&world.database), "{said}");
    assert!(!said.contains("core_service,") && !said.contains("core_car"), "{said}");
    assert_eq!(schema(&world).await, before);

    let output = world.run(["install", "--role", "no_such_role_anywhere"]).await;
    assert_eq!(output.status.code(), Some(1), "{}", shown(&output));
}

#[tokio::test]
async fn an_unknown_role_is_refused_before_anything_changes() {
    let world = bare().await;
    let before = schema(&world).await;
    let output = world.run(["install", "--role", "no_such_role_anywhere"]).await;
    assert_eq!(output.status.code(), Some(1), "{}", shown(&output));
    assert!(stderr(&output).contains("CREATE ROLE no_such_role_anywhere"), "{}", shown(&output));
    assert_eq!(schema(&world).await, before);
}

/// Runs a command while a transaction of the application is open, and asserts that others go on writing and reading
/// beside it; then that the command succeeds once the transaction ends.
async fn beside_an_open_transaction(world: &World, command: &str) {
    let holder = support::session(&world.url).await;
    holder
        .batch("BEGIN; UPDATE core_service SET title = 'ouvert' WHERE id = 1; UPDATE core_invoice SET notes = ''")
        .await
        .unwrap();
    let application = support::session(&world.url).await;
    let waiting = async || {
        world.count("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'core_service'::regclass").await > 0
    };
    let work = async {
        for turn in 0..2 {
            until("the command waits for its lock", waiting).await;
            let both = application
                .batch("UPDATE core_service SET title = 'autre' WHERE id = 2; SELECT count(*) FROM core_service");
            let done = tokio::time::timeout(Duration::from_secs(5), both).await;
            done.unwrap_or_else(|_| panic!("the application stands behind `{command}`, turn {turn}")).unwrap();
        }
        holder.batch("COMMIT").await.unwrap();
    };
    let (output, ()) = tokio::join!(world.run([command]), work);
    assert!(output.status.success(), "{}", shown(&output));
}

#[tokio::test]
async fn install_and_uninstall_wait_for_the_application_and_never_make_it_wait_behind_them() {
    let world = bare().await;
    for number in 1..=2 {
        world.service(number, "20 000 001", "in_progress").await;
    }
    beside_an_open_transaction(&world, "install").await;
    world.complete(1).await;
    assert_eq!(world.count("SELECT count(*) FROM sms_outbox").await, 1);
    beside_an_open_transaction(&world, "uninstall").await;
    assert_eq!(ours(&world).await, 0);
}

#[tokio::test]
async fn a_second_install_needs_no_lock_on_the_garages_tables() {
    let world = World::new().await;
    let holder = support::session(&world.url).await;
    holder.batch("BEGIN; LOCK TABLE core_service, core_invoice IN ROW EXCLUSIVE MODE").await.unwrap();
    assert!(world.ok(["install"]).await.contains("up to date"));
    holder.batch("COMMIT").await.unwrap();
}

/// The garage's tables, given to a role.
async fn own_the_garage(world: &World, role: &str) {
    for table in GARAGE {
        world.batch(&format!("ALTER TABLE {table} OWNER TO {role}")).await;
    }
}

const GARAGE: [&str; 7] =
    ["auth_user", "core_customer", "core_car", "core_service", "core_serviceitem", "core_invoice", "django_session"];

fn invoice(number: i64, final_amount: &str) -> String {
    format!(
        "INSERT INTO core_invoice (id, invoice_number, issued_date, due_date, status, final_amount, created_at, updated_at, service_id)
         VALUES ({number}, 'INV-{number:08X}', current_date, current_date, 'pending', {final_amount}, now(), now(), {number});"
    )
}

/// Everything that the daemon does, as this world's DATABASE_URL has it: each kind of message, and each thing that staff ask
/// for.
async fn a_day_of_the_daemon(world: &World) {
    world.batch(AT_ANY_HOUR).await;
    for (number, status) in [(1, "in_progress"), (2, "scheduled"), (3, "in_progress"), (4, "in_progress")] {
        world.service(number, &format!("20 000 00{number}"), status).await;
    }
    world.batch("UPDATE core_service SET scheduled_date = now() + interval '3 hours' WHERE id = 2").await;
    let daemon = world.daemon().await;
    world.ok(["setting", "set", "invoice_created.settle", "1s"]).await;
    world.complete(1).await;
    world.batch(&invoice(3, "75.500")).await;
    world.batch(&invoice(4, "NULL")).await;
    world.ok(["send", "text", "20 000 005", "Bonjour", "--wait", "30s"]).await;
    world
        .value_becomes(
            "SELECT string_agg(kind, ' ' ORDER BY kind) FROM sms_message WHERE status = 'sent'",
            "appointment_reminder custom invoice_created service_completed",
        )
        .await;

    let held = world.count("SELECT id FROM sms_message WHERE kind = 'invoice_created' AND source_id = 4").await;
    world.status_becomes(held, "held").await;
    world.batch("UPDATE core_invoice SET final_amount = 12.000 WHERE id = 4").await;
    world.ok(["release", &held.to_string()]).await;
    world.status_becomes(held, "sent").await;

    world.ok(["send", "text", "20 000 006", "Plus tard", "--at", "2h"]).await;
    let later = world.count("SELECT max(id) FROM sms_message").await;
    world.ok(["cancel", &later.to_string()]).await;
    world.status_becomes(later, "cancelled").await;

    let first = world.count("SELECT id FROM sms_message WHERE kind = 'service_completed'").await;
    world.ok(["resend", &first.to_string()]).await;
    let again = world.count(&format!("SELECT id FROM sms_message WHERE resend_of = {first}")).await;
    world.status_becomes(again, "sent").await;

    world.ok(["pause"]).await;
    world.ok(["resume"]).await;
    world.ok(["list", "--json"]).await;
    world.ok(["show", &first.to_string()]).await;
    world.ok(["setting", "list"]).await;
    world.ok(["doctor"]).await;
    let status: serde_json::Value = serde_json::from_str(&world.ok(["status", "--json"]).await).unwrap();
    assert_eq!(status["healthy"], true, "{status}");
    world.settled().await;
    assert_eq!(world.gateway.count(), 6, "{}", world.state().await);
    let log = daemon.log();
    assert!(!log.contains("permission denied") && !log.contains(" ERROR "), "{log}");
    daemon.stop().await;
}

#[tokio::test]
async fn the_role_made_for_the_daemon_can_do_all_that_the_daemon_does() {
    let mut world = bare().await;
    let role = role(&world, "daemon").await;
    let said = world.ok(["install", "--role", &role]).await;
    assert!(said.contains(&role), "{said}");
    let url = world.url_as(&role);
    world.set("DATABASE_URL", &url);
    a_day_of_the_daemon(&world).await;

    // Months ahead are made and old ones dropped, which needs more than the role's own rights.
    world.batch("CREATE TABLE sms_history_2001_01 PARTITION OF sms_history FOR VALUES FROM ('2001-01-01+00') TO ('2001-02-01+00')").await;
    let next = world.value("SELECT max(inhrelid::regclass::text) FROM pg_inherits WHERE inhparent = 'sms_history'::regclass AND inhrelid::regclass::text ~ '[0-9]$'").await;
    world.batch(&format!("DROP TABLE {next}")).await;
    let output = world.psql(&url, "SELECT sms_maintain();").await;
    assert_eq!(stdout(&output).trim(), format!("created {next}, dropped sms_history_2001_01"), "{}", shown(&output));
}

#[tokio::test]
async fn the_role_made_for_the_daemon_can_do_nothing_else() {
    let world = bare().await;
    let role = role(&world, "daemon").await;
    world.ok(["install", "--role", &role]).await;
    world.service(1, "20 000 001", "completed").await;
    world.batch("UPDATE auth_user SET password = 'pbkdf2-of-the-test', email = 'sami@example.com'").await;
    let url = world.url_as(&role);
    let mut forbidden: Vec<String> = [
        "SELECT password FROM auth_user",
        "SELECT session_data FROM django_session",
        "COPY auth_user (password) TO STDOUT",
        "CREATE TABLE mine (id int)",
        "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE SCHEMA mine",
        "CREATE TRIGGER mine AFTER INSERT ON core_service FOR EACH ROW EXECUTE FUNCTION sms_garage_service()",
        "ALTER TABLE sms_outbox ADD COLUMN mine int",
        "DROP TABLE sms_outbox",
        "DROP FUNCTION sms_garage_service() CASCADE",
        "TRUNCATE sms_outbox",
        "UPDATE sms_history SET status = 'sent'",
        "DELETE FROM sms_history",
        "DELETE FROM sms_attempt",
        "DELETE FROM sms_setting",
        "INSERT INTO sms_setting (name, value, unit, description) VALUES ('a', '1', 'count', '')",
        "DELETE FROM sms_reminder",
        "UPDATE sms_installation SET database_name = 'another'",
        "SELECT sms_adopt()",
        "SELECT setval('sms_wake', 1)",
        "SELECT sms_garage_enqueue('service_completed', 1, NULL)",
        "SELECT pg_read_file('/etc/hostname')",
        "CREATE ROLE mine",
        "SET ROLE postgres",
    ]
    .map(str::to_owned)
    .to_vec();
    for table in GARAGE {
        for statement in ["SELECT count(*) FROM", "TABLE", "DELETE FROM", "TRUNCATE", "DROP TABLE", "LOCK TABLE"] {
            forbidden.push(format!("{statement} {table}"));
        }
        let column = if table == "django_session" { "session_key" } else { "id" };
        forbidden.push(format!("UPDATE {table} SET {column} = {column}"));
        forbidden.push(format!("INSERT INTO {table} DEFAULT VALUES"));
        forbidden.push(format!("ALTER TABLE {table} DISABLE TRIGGER ALL"));
    }
    for statement in forbidden {
        let output = world.psql(&url, &format!("\\set VERBOSITY sqlstate\nBEGIN;\n{statement};\n")).await;
        assert_eq!(stderr(&output).trim(), "ERROR:  42501", "{statement}: {}", shown(&output));
    }
    // What it may learn of a customer is what the texts need.
    let output = world.psql(&url, "SELECT * FROM sms_garage_facts('{service_completed}', '{1}');").await;
    let facts = stdout(&output);
    assert!(facts.contains("Sami") && facts.contains("20 000 001"), "{}", shown(&output));
    for secret in ["pbkdf2-of-the-test", "sami@example.com", "Ben Ali"] {
        assert!(!facts.contains(secret), "{facts}");
    }
}

#[tokio::test]
async fn an_ordinary_role_that_owns_the_garages_tables_installs_and_uninstalls() {
    let mut world = bare().await;
    let owner = role(&world, "owner").await;
    let daemon_role = role(&world, "daemon").await;
    own_the_garage(&world, &owner).await;
    world.batch(&format!("GRANT CREATE ON SCHEMA public TO {owner}")).await;
    let before = schema(&world).await;
    let as_owner = world.url_as(&owner);
    let as_daemon = world.url_as(&daemon_role);
    world.set("DATABASE_URL", &as_owner);
    world.ok(["install", "--role", &daemon_role]).await;
    world.ok(["install", "--role", &daemon_role]).await;

    world.set("DATABASE_URL", &as_daemon);
    a_day_of_the_daemon(&world).await;

    // The application itself, which is that owner, and which loses its rights: it goes on, with a warning.
    let save = "UPDATE core_service SET status = 'completed' WHERE id = 3;";
    let output =
        world.psql(&as_owner, &format!("BEGIN; REVOKE ALL ON sms_outbox FROM {owner}; {save} ROLLBACK;")).await;
    let warned = stderr(&output);
    assert!(
        warned.starts_with("WARNING:  ecar-sms: no message was queued for service 3: permission denied"),
        "{}",
        shown(&output)
    );
    let output = world.psql(&as_owner, save).await;
    assert_eq!(stderr(&output), "");
    assert_eq!(
        world.count("SELECT count(*) FROM sms_message WHERE kind = 'service_completed' AND source_id = 3").await,
        1
    );

    world.set("DATABASE_URL", &as_owner);
    world.ok(["uninstall"]).await;
    world.ok(["uninstall"]).await;
    assert_eq!(ours(&world).await, 0);
    assert_eq!(schema(&world).await, before);
}

#[tokio::test]
async fn an_ordinary_role_that_does_not_own_the_tables_is_refused_and_changes_nothing() {
    let mut world = bare().await;
    let stranger = role(&world, "stranger").await;
    world
        .batch(&format!(
            "GRANT CREATE ON SCHEMA public TO {stranger}; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {stranger}"
        ))
        .await;
    let before = schema(&world).await;
    let url = world.url_as(&stranger);
    world.set("DATABASE_URL", &url);
    let output = world.run(["install"]).await;
    assert_eq!(output.status.code(), Some(1), "{}", shown(&output));
    assert!(stderr(&output).contains("permission denied"), "{}", shown(&output));
    assert_eq!(schema(&world).await, before);
}

#[tokio::test]
async fn install_mends_an_installation_that_lost_a_trigger_or_function_and_says_when_tables_are_lost() {
    let world = World::new().await;
    let installed = schema(&world).await;
    world
        .batch("DROP TRIGGER sms_garage_service ON core_service; DROP FUNCTION sms_garage_facts(text[], bigint[])")
        .await;
    world.ok(["install"]).await;
    assert_eq!(schema(&world).await, installed);

    // Triggers of earlier versions: one for both events, and such that fire once a statement.
    let rows = "REFERENCING NEW TABLE AS sms_now";
    for (update, invoice) in [
        ("INSERT OR UPDATE ON core_service FOR EACH ROW".to_owned(), "ON core_invoice FOR EACH ROW".to_owned()),
        (
            format!("UPDATE ON core_service {rows} OLD TABLE AS sms_was FOR EACH STATEMENT"),
            format!("ON core_invoice {rows} FOR EACH STATEMENT"),
        ),
    ] {
        world
            .batch(&format!(
                "DROP TRIGGER sms_garage_service ON core_service; DROP TRIGGER sms_garage_service_born ON core_service;
                 DROP TRIGGER sms_garage_invoice ON core_invoice;
                 CREATE TRIGGER sms_garage_service AFTER {update} EXECUTE FUNCTION sms_garage_service();
                 CREATE TRIGGER sms_garage_invoice AFTER INSERT {invoice} EXECUTE FUNCTION sms_garage_invoice();"
            ))
            .await;
        assert_ne!(schema(&world).await, installed);
        world.ok(["install"]).await;
        assert_eq!(schema(&world).await, installed);
    }

    world.batch("DROP TABLE sms_outbox CASCADE").await;
    let output = world.run(["install"]).await;
    assert_eq!(output.status.code(), Some(1), "{}", shown(&output));
    assert!(stderr(&output).contains("sms_outbox") && stderr(&output).contains("uninstall"), "{}", shown(&output));
    world.ok(["uninstall"]).await;
    world.ok(["install"]).await;
    assert_eq!(schema(&world).await, installed);
}
