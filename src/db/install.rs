//! Puts our objects into the garage's database, and takes them out again.
//!
//! One transaction: numbered migrations not applied yet, then the functions and triggers that know the garage's tables
//! (replaced at every run), then privileges. All of it happens or none of it. Creating a trigger needs a lock that
//! writers of the table conflict with; waiting for it would queue the application's writers behind us, so each lock is
//! waited for [`LOCK_TIMEOUT`] at most, and the whole transaction is tried again a few times.
//!
//! Why no migration library: the migrations must share their transaction with the triggers, the privileges and the
//! lock time-out, and `--dry-run` must print exactly what would run (docs/adr/0004).

use std::fmt::Write as _;
use std::time::Duration;

use tokio_postgres::Client;

use super::{DbError, Target, statement};

/// Longest wait for a lock on a table of the garage, in milliseconds: a blink for whoever waits behind us.
const LOCK_TIMEOUT: &str = "500ms";

/// How often the transaction is tried when a lock was not to be had, one second apart.
const TRIES: u32 = 20;

/// Oldest server supported: PostgreSQL 13, for 64-bit snapshots.
const OLDEST_SERVER: i32 = 130_000;

/// Our tables and functions, in order. A file is never changed once released: the next change is the next file.
const MIGRATIONS: &[(i32, &str, &str)] = &[
    (1, "outbox", include_str!("../../sql/migrations/0001_outbox.sql")),
    (2, "settings", include_str!("../../sql/migrations/0002_settings.sql")),
    (3, "staff", include_str!("../../sql/migrations/0003_staff.sql")),
    (4, "ladder", include_str!("../../sql/migrations/0004_ladder.sql")),
    (5, "guards", include_str!("../../sql/migrations/0005_guards.sql")),
    (6, "cheaper", include_str!("../../sql/migrations/0006_cheaper.sql")),
    (7, "texts", include_str!("../../sql/migrations/0007_texts.sql")),
    (8, "reminders", include_str!("../../sql/migrations/0008_reminders.sql")),
    (9, "people", include_str!("../../sql/migrations/0009_people.sql")),
    (10, "in_flight", include_str!("../../sql/migrations/0010_in_flight.sql")),
    (11, "receipts", include_str!("../../sql/migrations/0011_receipts.sql")),
    (12, "wake", include_str!("../../sql/migrations/0012_wake.sql")),
    (13, "glance", include_str!("../../sql/migrations/0013_glance.sql")),
    (14, "together", include_str!("../../sql/migrations/0014_together.sql")),
];

/// The only SQL that knows the garage's tables.
const GARAGE: &[&str] = &[
    include_str!("../../sql/garage/triggers.sql"),
    include_str!("../../sql/garage/facts.sql"),
    include_str!("../../sql/garage/reminders.sql"),
    include_str!("../../sql/garage/missed.sql"),
    include_str!("../../sql/garage/samples.sql"),
];

const PRIVILEGES: &str = include_str!("../../sql/install/privileges.sql");
const STRANGERS: &str = include_str!("../../sql/install/strangers.sql");
const UNINSTALL: &str = include_str!("../../sql/install/uninstall.sql");

/// The garage's tables that must be there.
const GARAGE_TABLES: [&str; 6] =
    ["auth_user", "core_customer", "core_car", "core_service", "core_serviceitem", "core_invoice"];

/// Our tables, by the migration that made them. No later run makes them again: with one of them lost, the functions and triggers
/// would stand on nothing.
const OUR_TABLES: &[(i32, &[&str])] = &[
    (
        1,
        &[
            "sms_outbox",
            "sms_history",
            "sms_attempt",
            "sms_event",
            "sms_receipt",
            "sms_reminder",
            "sms_owner",
            "sms_installation",
        ],
    ),
    (2, &["sms_setting"]),
    (7, &["sms_template"]),
    (9, &["sms_contact", "sms_consent", "sms_optout_import", "sms_inbound"]),
    (11, &["sms_awaited", "sms_quota"]),
];

/// The role that gets the daemon's privileges when it exists and no other is named.
pub const DEFAULT_ROLE: &str = "ecar_sms";

/// The newest migration that this program knows.
pub fn newest_migration() -> i32 {
    MIGRATIONS.iter().map(|(number, _, _)| *number).max().unwrap_or_default()
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The database said no.
    #[error(transparent)]
    Database(#[from] DbError),
    /// The garage's tables are elsewhere.
    #[error(
        "this database ({database}) has no {missing}: is it the garage's? Its tables are looked up through the search_path of the connecting role"
    )]
    NotTheGarage {
        /// The database's name.
        database: String,
        /// The tables not found.
        missing: String,
    },
    /// The role named with `--role` does not exist.
    #[error("there is no role \"{0}\"; create it first: CREATE ROLE {0} LOGIN;")]
    NoSuchRole(String),
    /// The server is too old.
    #[error("the server is PostgreSQL {0}; needed: 13 or later")]
    TooOld(String),
    /// The application held a lock all the time.
    #[error("the garage's tables were locked all the time ({0}); nothing was changed; try again at a quieter moment")]
    Locked(String),
    /// Somebody dropped or renamed tables of ours.
    #[error(
        "tables of ecar-sms are gone from this database: {0}; bring them back (a backup, ALTER TABLE ... RENAME), or run `ecar-sms uninstall` and then `ecar-sms install` to begin anew, without the record of messages"
    )]
    Damaged(String),
    /// The daemon's role, say: it must not be able to.
    #[error(
        "the role of {0} may not adopt this database; run it as the role that installed, for example: sudo -u postgres env DATABASE_URL=postgresql:///garage ecar-sms adopt"
    )]
    MayNotAdopt(String),
    /// Somebody else prepared objects where ours belong, or that ours would run.
    #[error(
        "in the schema of the garage's tables stand objects of other roles that ecar-sms would run or mistake for its own: {0}; look at them, then drop them, or give what is ours to the owner of the garage's tables (ALTER ... OWNER TO), and see who may create there: REVOKE CREATE ON SCHEMA public FROM PUBLIC;"
    )]
    Strangers(String),
    /// Installed by a newer program.
    #[error("this database was installed by a newer ecar-sms (migration {0}); use that one")]
    Newer(i32),
}

/// What was done, or would be.
#[derive(Debug)]
pub struct Plan {
    /// The schema that our objects go to.
    pub schema: String,
    /// Names of the migrations that were not applied yet.
    pub migrations: Vec<String>,
    /// The role that got the daemon's privileges.
    pub role: Option<String>,
    /// The whole SQL, as one transaction.
    pub sql: String,
}

/// Installs, or plans to when `dry_run`.
///
/// # Errors
/// [`InstallError`]; nothing has changed then.
pub async fn install(target: &Target, role: Option<&str>, dry_run: bool) -> Result<Plan, InstallError> {
    let client = connect(target).await?;
    let plan = plan(&client, role).await?;
    if !dry_run {
        execute(&client, &plan.sql).await?;
    }
    Ok(plan)
}

/// What differs from the database that was installed in; none: it is this one.
///
/// # Errors
/// [`InstallError`].
pub async fn identity(target: &Target) -> Result<Option<String>, InstallError> {
    let client = connect(target).await?;
    Ok(client.query_one("SELECT sms_identity()", &[]).await.map_err(DbError::from)?.get(0))
}

/// Makes a copy the installation; returns how many messages are held, none when there was nothing to do.
///
/// # Errors
/// [`InstallError`]; nothing has changed then.
pub async fn adopt(target: &Target) -> Result<Option<i64>, InstallError> {
    let client = connect(target).await?;
    let allowed = "SELECT has_function_privilege('sms_adopt(text)', 'EXECUTE') AND has_table_privilege('sms_installation', 'UPDATE')";
    if !client.query_one(allowed, &[]).await.map_err(DbError::from)?.get::<_, bool>(0) {
        return Err(InstallError::MayNotAdopt(target.describe()));
    }
    Ok(client.query_one("SELECT sms_adopt()", &[]).await.map_err(DbError::from)?.get(0))
}

/// Removes everything, or plans to when `dry_run`. Returns the SQL.
///
/// # Errors
/// [`InstallError`]; nothing has changed then.
pub async fn uninstall(target: &Target, dry_run: bool) -> Result<String, InstallError> {
    let client = connect(target).await?;
    refuse_strangers(&client).await?;
    let schema = schema_of(&client, &["sms_outbox", "core_service"]).await?.unwrap_or_else(|| "public".to_owned());
    let sql = format!("{}{UNINSTALL}COMMIT;\n", prologue(&schema));
    if !dry_run {
        execute(&client, &sql).await?;
    }
    Ok(sql)
}

async fn connect(target: &Target) -> Result<Client, InstallError> {
    let (client, connection) = target.config().connect(target.tls()).await.map_err(DbError::from)?;
    // Ends by itself when the client is dropped; its error is the client's error too.
    tokio::spawn(connection);
    Ok(client)
}

async fn plan(client: &Client, role: Option<&str>) -> Result<Plan, InstallError> {
    let about = client
        .query_one(
            "SELECT current_database()::text, current_setting('server_version_num')::int, current_setting('server_version')::text",
            &[],
        )
        .await
        .map_err(DbError::from)?;
    if about.get::<_, i32>(1) < OLDEST_SERVER {
        return Err(InstallError::TooOld(about.get(2)));
    }
    if let Some(missing) = missing(client, &GARAGE_TABLES).await? {
        return Err(InstallError::NotTheGarage { database: about.get(0), missing });
    }
    let schema = schema_of(client, &["core_service"]).await?.unwrap_or_else(|| "public".to_owned());
    refuse_strangers(client).await?;
    let role = role_for(client, role).await?;
    let applied = applied(client).await?;
    let made: Vec<&str> = OUR_TABLES
        .iter()
        .filter(|(number, _)| applied.contains(number))
        .flat_map(|(_, tables)| *tables)
        .copied()
        .collect();
    if let Some(missing) = missing(client, &made).await? {
        return Err(InstallError::Damaged(missing));
    }
    let mut sql = prologue(&schema);
    sql.push_str(
        "CREATE TABLE IF NOT EXISTS sms_migration (number int PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT clock_timestamp());\n",
    );
    let mut migrations = Vec::new();
    for (number, name, text) in MIGRATIONS {
        if !applied.contains(number) {
            migrations.push(format!("{number:04}_{name}"));
            let _ = writeln!(sql, "{text}\nINSERT INTO sms_migration (number, name) VALUES ({number}, '{name}');");
        }
    }
    for text in GARAGE {
        sql.push_str(text);
        sql.push('\n');
    }
    for (_, statement) in statement::all() {
        sql.push_str(statement.definition().unwrap_or_default());
    }
    let _ =
        writeln!(sql, "SELECT set_config('ecar_sms.role', {}, true);", literal(role.as_deref().unwrap_or_default()));
    sql.push_str(PRIVILEGES);
    let _ = writeln!(
        sql,
        "INSERT INTO sms_installation (system_identifier, database_name, outbox_oid, version)\n\
         SELECT sms_system_identifier(), current_database(), 'sms_outbox'::regclass::oid::bigint, {version}\n\
         ON CONFLICT (only_one) DO UPDATE SET version = excluded.version;\nSELECT sms_maintain();\nCOMMIT;",
        version = literal(env!("CARGO_PKG_VERSION"))
    );
    Ok(Plan { schema, migrations, role, sql })
}

/// Before anything of ours is read: even a SELECT on a prepared view would run its functions.
async fn refuse_strangers(client: &Client) -> Result<(), InstallError> {
    let rows = client.query(STRANGERS, &[]).await.map_err(DbError::from)?;
    let found: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    if found.is_empty() { Ok(()) } else { Err(InstallError::Strangers(found.join(", "))) }
}

/// The names of those tables that are not there.
async fn missing(client: &Client, tables: &[&str]) -> Result<Option<String>, InstallError> {
    let sql = "SELECT t FROM pg_catalog.unnest($1::text[]) t WHERE pg_catalog.to_regclass(t) IS NULL";
    let rows = client.query(sql, &[&tables]).await.map_err(DbError::from)?;
    let names: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    Ok((!names.is_empty()).then(|| names.join(", ")))
}

/// The beginning of the transaction: alone, bounded, and with names that can only mean ours.
fn prologue(schema: &str) -> String {
    format!(
        "BEGIN;\nSET LOCAL lock_timeout = '{LOCK_TIMEOUT}';\nSET LOCAL search_path = {}, pg_temp;\n\
         SET LOCAL client_min_messages = warning;\nSELECT pg_advisory_xact_lock({}, 0);\n",
        identifier(schema),
        super::listener::LOCK_CLASS
    )
}

async fn schema_of(client: &Client, tables: &[&str]) -> Result<Option<String>, InstallError> {
    let row = client
        .query_opt(
            "SELECT n.nspname::text FROM pg_catalog.unnest($1::text[]) WITH ORDINALITY AS t (name, ord)
             JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass(t.name)::oid
             JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace ORDER BY t.ord LIMIT 1",
            &[&tables],
        )
        .await
        .map_err(DbError::from)?;
    Ok(row.map(|row| row.get(0)))
}

async fn role_for(client: &Client, wanted: Option<&str>) -> Result<Option<String>, InstallError> {
    let name = wanted.unwrap_or(DEFAULT_ROLE);
    let exists =
        client.query_opt("SELECT 1 FROM pg_roles WHERE rolname = $1", &[&name]).await.map_err(DbError::from)?.is_some();
    match (exists, wanted) {
        (true, _) => Ok(Some(name.to_owned())),
        (false, None) => Ok(None),
        (false, Some(name)) => Err(InstallError::NoSuchRole(name.to_owned())),
    }
}

async fn applied(client: &Client) -> Result<Vec<i32>, InstallError> {
    let exists: bool =
        client.query_one("SELECT to_regclass('sms_migration') IS NOT NULL", &[]).await.map_err(DbError::from)?.get(0);
    if !exists {
        return Ok(Vec::new());
    }
    let rows = client.query("SELECT number FROM sms_migration", &[]).await.map_err(DbError::from)?;
    let applied: Vec<i32> = rows.iter().map(|row| row.get(0)).collect();
    match applied.iter().find(|number| !MIGRATIONS.iter().any(|(known, _, _)| known == *number)) {
        Some(newer) => Err(InstallError::Newer(*newer)),
        None => Ok(applied),
    }
}

/// Runs the transaction, again while locks are not to be had.
async fn execute(client: &Client, sql: &str) -> Result<(), InstallError> {
    let mut busy = String::new();
    for attempt in 0..TRIES {
        if attempt > 0 {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        match client.batch_execute(sql).await {
            Ok(()) => return Ok(()),
            Err(error) => {
                client.batch_execute("ROLLBACK").await.map_err(DbError::from)?;
                match DbError::from(error) {
                    DbError::Busy(message) => busy = message,
                    error @ (DbError::Unavailable(_)
                    | DbError::Refused { .. }
                    | DbError::NotInstalled(_)
                    | DbError::Unexpected(_)) => {
                        return Err(error.into());
                    }
                }
            }
        }
    }
    Err(InstallError::Locked(busy))
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
