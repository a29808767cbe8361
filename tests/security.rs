//! What docs/SECURITY.md promises of the database: nobody gets more through our objects than they had before, whatever they
//! prepare.
//!
//! Elsewhere: the daemon's role does all that it must and nothing else (`installing.rs`), strangers cannot open the socket
//! (`control.rs`), no secret is shown (`secrets.rs`), texts cannot drive a terminal (`commands.rs`), a provider that misbehaves
//! (`transport.rs`, `src/provider/generic/tests.rs`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::process::Output;

use ecar_sms::gateway::Script;
use support::{BARE, World, shown};

async fn bare() -> World {
    World::from(BARE, Script::default()).await
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A role of this world alone.
async fn role(world: &World, name: &str) -> String {
    let role = format!("{name}_{}", world.database);
    world.batch(&format!("CREATE ROLE {role} LOGIN")).await;
    role
}

/// The application's own role, which owns the garage's tables and is nobody else; with ecar-sms installed by a superuser.
async fn garage_of_its_own(world: &World) -> (String, String) {
    let (owner, daemon) = (role(world, "garage").await, role(world, "daemon").await);
    world.batch(&format!("GRANT CREATE, USAGE ON SCHEMA public TO {owner}")).await;
    for table in ["auth_user", "core_customer", "core_car", "core_service", "core_serviceitem", "core_invoice"] {
        world.batch(&format!("ALTER TABLE {table} OWNER TO {owner}")).await;
    }
    world.ok(["install", "--role", &daemon]).await;
    (owner, daemon)
}

/// Runs each statement as the role, in a transaction of its own, and expects "permission denied" of each.
async fn all_denied(world: &World, role: &str, statements: &[&str]) {
    for statement in statements {
        let sql = format!("\\set VERBOSITY sqlstate\nBEGIN;\n{statement};\n");
        let output = world.psql(&world.url_as(role), &sql).await;
        assert_eq!(stderr(&output).trim(), "ERROR:  42501", "{statement}: {}", shown(&output));
    }
}

/// They run at every save of the application and set nothing, because that would cost it as much as the rest of their work. They write
/// all names out instead: [`they_that_set_no_search_path_fall_into_no_trap`].
const WRITTEN_OUT: &str = "'sms_garage_service', 'sms_garage_invoice', 'sms_garage_event'";

const OUR_FUNCTIONS: &str = "FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace AND p.proname LIKE 'sms\\_%'";

#[tokio::test]
async fn every_function_with_the_installers_rights_names_its_schemas_with_pg_temp_last() {
    let world = World::new().await;
    assert!(world.count(&format!("SELECT count(*) {OUR_FUNCTIONS} AND p.prosecdef")).await >= 8);
    let open = world
        .value(&format!(
            "SELECT string_agg(p.oid::regprocedure::text, ', ') {OUR_FUNCTIONS} AND p.prosecdef AND p.proname NOT IN ({WRITTEN_OUT})
               AND NOT EXISTS (SELECT FROM unnest(p.proconfig) c WHERE c ~ '^search_path=.*, *pg_temp$')"
        ))
        .await;
    assert_eq!(open, "", "without a search_path that ends in pg_temp");
    // What staff call runs with their own rights, but with our names all the same; a trigger function inherits those of
    // whoever fires it, and so may name nothing.
    let open = world
        .value(&format!(
            "SELECT string_agg(p.oid::regprocedure::text, ', ') {OUR_FUNCTIONS} AND NOT p.prosecdef AND p.prosrc ~ 'sms_[a-z]+' AND p.proname NOT IN ({WRITTEN_OUT})
               AND NOT EXISTS (SELECT FROM unnest(p.proconfig) c WHERE c ~ '^search_path=.*, *pg_temp$')"
        ))
        .await;
    assert_eq!(open, "", "names objects of ours without saying where they are");
}

#[tokio::test]
async fn somebody_without_a_grant_reads_nothing_of_ours_and_calls_nothing_that_runs_with_other_rights() {
    let world = World::new().await;
    let nobody = role(&world, "nobody").await;
    world.enqueue("20 000 001", "Bonjour").await;
    let relations = world
        .sql
        .texts("SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relname LIKE 'sms\\_%' AND c.relkind IN ('r', 'p', 'v', 'S')")
        .await
        .unwrap();
    assert!(relations.len() >= 12);
    for relation in relations.iter().map(|row| row[0].clone().unwrap()) {
        all_denied(&world, &nobody, &[&format!("SELECT * FROM {relation}")]).await;
    }
    let rights = world
        .value(&format!(
            "SELECT string_agg(p.oid::regprocedure::text, ', ') {OUR_FUNCTIONS} AND p.prosecdef AND has_function_privilege('{nobody}', p.oid, 'EXECUTE')"
        ))
        .await;
    assert_eq!(rights, "");
    all_denied(
        &world,
        &nobody,
        &[
            "SELECT sms_garage_facts('{service_completed}', '{1}')",
            "SELECT sms_garage_remind('24h', 'UTC', 1)",
            "SELECT sms_garage_exists('service_completed', 1)",
            "SELECT sms_maintain()",
            "SELECT sms_want_notify(true)",
            "SELECT sms_garage_enqueue('service_completed', 1, NULL)",
            "SELECT sms_adopt()",
            "SELECT sms_resend(1)",
            "SELECT sms_cancel(1)",
            "SELECT sms_release(1)",
            "SELECT sms_settle_by_hand(1, 'sent', 'x', 'x')",
            "SELECT sms_set('paused', 'true')",
            "INSERT INTO sms_outbox (kind, recipient, body) VALUES ('custom', '20 000 001', 'x')",
        ],
    )
    .await;
    // Whoever owns a table of their own cannot hang our triggers on it either: those would enqueue what they like.
    world.batch(&format!("CREATE SCHEMA theirs AUTHORIZATION {nobody}")).await;
    let hang = "CREATE TABLE theirs.t (id bigint, status text);
                CREATE TRIGGER t AFTER INSERT ON theirs.t FOR EACH ROW EXECUTE FUNCTION public.sms_garage_service()";
    all_denied(&world, &nobody, &[hang]).await;
}

#[tokio::test]
async fn the_daemons_role_cannot_turn_its_rights_into_others() {
    let world = bare().await;
    let (owner, daemon) = garage_of_its_own(&world).await;
    world.enqueue("20 000 001", "Bonjour").await;
    let become_owner = format!("SET ROLE {owner}");
    all_denied(
        &world,
        &daemon,
        &[
            "SET ROLE postgres",
            &become_owner,
            "SET SESSION AUTHORIZATION postgres",
            "ALTER FUNCTION sms_maintain() SECURITY INVOKER",
            "ALTER FUNCTION sms_maintain() RESET ALL",
            "CREATE OR REPLACE FUNCTION public.sms_maintain() RETURNS text LANGUAGE sql AS 'SELECT 1::text'",
            "CREATE OPERATOR public.=== (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq)",
            "CREATE VIEW public.mine AS SELECT 1",
            "CREATE TRIGGER mine BEFORE INSERT ON sms_outbox FOR EACH ROW EXECUTE FUNCTION sms_outbox_schedule()",
            "CREATE RULE mine AS ON INSERT TO sms_outbox DO NOTHING",
            "CREATE POLICY mine ON sms_outbox USING (true)",
            "CREATE INDEX mine ON sms_outbox (id)",
            "CREATE EVENT TRIGGER mine ON ddl_command_end EXECUTE FUNCTION sms_outbox_check()",
            "ALTER TABLE sms_outbox OWNER TO CURRENT_USER",
            "ALTER TABLE sms_outbox DISABLE TRIGGER ALL",
            "GRANT SELECT ON core_customer TO PUBLIC",
            "TRUNCATE sms_history",
            "UPDATE sms_event SET by = 'another'",
            "DELETE FROM sms_event",
            "DELETE FROM sms_receipt",
            "DELETE FROM sms_owner",
            "UPDATE sms_owner SET host = 'another'",
            "INSERT INTO sms_reminder VALUES (1, now())",
            "UPDATE sms_reminder SET source_at = now()",
            "UPDATE sms_template SET body = 'x'",
            "DELETE FROM sms_template",
            "UPDATE sms_consent SET how = 'another'",
            "DELETE FROM sms_consent",
            "DELETE FROM sms_contact",
            "DELETE FROM sms_optout_import",
            "DELETE FROM sms_inbound",
            "INSERT INTO sms_installation (database_name, version) VALUES ('x', 'x')",
            "DELETE FROM sms_migration",
            "INSERT INTO sms_migration (number, name) VALUES (99, 'x')",
            "SELECT nextval('sms_outbox_id_seq')",
            "SELECT setval('sms_outbox_id_seq', 1)",
            "COPY sms_outbox TO PROGRAM 'true'",
            "COPY sms_outbox TO '/tmp/x'",
            "SELECT pg_ls_dir('.')",
            "SELECT lo_import('/etc/passwd')",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'postgres'",
            "CREATE EXTENSION dblink",
            "CREATE PUBLICATION mine FOR TABLE sms_outbox",
        ],
    )
    .await;
    // A setting takes no value but one that its check allows, and keeps its name and unit.
    for (statement, state) in [
        ("UPDATE sms_setting SET value = 'perhaps' WHERE name = 'paused'", "23514"),
        ("UPDATE sms_setting SET name = 'another' WHERE name = 'paused'", "23514"),
        ("UPDATE sms_setting SET unit = 'count' WHERE name = 'paused'", "23514"),
        ("SELECT sms_set('history_retention', '-1 day')", "23514"),
        ("INSERT INTO sms_outbox (kind, source_id, body) VALUES ('service_completed', 1, 'x')", "23514"),
        ("INSERT INTO sms_outbox (id, kind, recipient, body) VALUES (1, 'custom', '20 000 001', 'x')", "428C9"),
    ] {
        let output = world.psql(&world.url_as(&daemon), &format!("\\set VERBOSITY sqlstate\n{statement};")).await;
        assert_eq!(stderr(&output).trim(), format!("ERROR:  {state}"), "{statement}: {}", shown(&output));
    }
}

/// What a hostile role prepares to be found before ours: tables, functions, operators and types of the same names.
const BAIT: &str = "
    CREATE TABLE evil.sms_outbox (LIKE public.sms_outbox INCLUDING DEFAULTS);
    CREATE TABLE evil.core_service (LIKE public.core_service);
    CREATE TABLE evil.sms_setting AS SELECT 'history_retention'::text AS name, '1 second'::text AS value;
    CREATE FUNCTION evil.sms_garage_enqueue(kind text, source_id bigint) RETURNS void LANGUAGE plpgsql AS
      $$ BEGIN INSERT INTO evil.caught VALUES (current_user::text); END $$;
    CREATE FUNCTION evil.now() RETURNS timestamptz LANGUAGE plpgsql AS
      $$ BEGIN INSERT INTO evil.caught VALUES (current_user::text); RETURN pg_catalog.now(); END $$;
    CREATE FUNCTION evil.to_jsonb(public.core_service) RETURNS jsonb LANGUAGE plpgsql AS
      $$ BEGIN INSERT INTO evil.caught VALUES (current_user::text); RETURN '{}'; END $$;
    CREATE FUNCTION evil.equal(a text, b text) RETURNS boolean LANGUAGE plpgsql AS
      $$ BEGIN INSERT INTO evil.caught VALUES (current_user::text); RETURN true; END $$;
    CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.equal);
    CREATE DOMAIN evil.interval AS text;";

#[tokio::test]
async fn objects_in_pg_temp_and_in_a_schema_before_ours_are_not_taken_for_ours() {
    let world = bare().await;
    let (owner, daemon) = garage_of_its_own(&world).await;
    let mallory = role(&world, "mallory").await;
    world
        .batch(&format!(
            "CREATE SCHEMA evil AUTHORIZATION {mallory}; GRANT USAGE ON SCHEMA evil TO PUBLIC;
             GRANT SELECT ON core_service TO {mallory}; GRANT SELECT ON sms_outbox TO {mallory};
             CREATE TABLE evil.caught (by text); GRANT INSERT ON evil.caught TO PUBLIC;
             SET ROLE {mallory}; {BAIT} RESET ROLE; GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA evil TO PUBLIC"
        ))
        .await;
    world.service(1, "20 000 001", "in_progress").await;
    world.service(2, "20 000 002", "scheduled").await;
    world.batch("UPDATE core_service SET scheduled_date = now() + interval '3 hours' WHERE id = 2").await;
    let bait_before_ours = "SET search_path = evil, pg_temp, public;
        CREATE TEMP TABLE sms_outbox (LIKE public.sms_outbox INCLUDING DEFAULTS);
        CREATE TEMP TABLE sms_setting AS SELECT 'history_retention'::text AS name, '1 second'::text AS value;
        CREATE TEMP TABLE sms_history_rest (settled_at timestamptz); CREATE TEMP TABLE sms_reminder (LIKE public.sms_reminder);
        CREATE FUNCTION pg_temp.now() RETURNS timestamptz LANGUAGE sql AS 'SELECT NULL::timestamptz';
        SET search_path = pg_temp, evil, public;";
    // The application saves, with all of that in front of ours; the daemon calls what runs with the owner's rights.
    let save = format!("{bait_before_ours} UPDATE public.core_service SET status = 'completed' WHERE id = 1;");
    let output = world.psql(&world.url_as(&owner), &save).await;
    assert_eq!(stderr(&output), "", "{}", shown(&output));
    let call = format!(
        "{bait_before_ours} SELECT public.sms_garage_remind('24h', 'UTC', 10); SELECT public.sms_maintain();
         SELECT phone FROM public.sms_garage_facts('{{service_completed}}', '{{1}}'); SELECT public.sms_want_notify(true);"
    );
    let output = world.psql(&world.url_as(&daemon), &call).await;
    assert!(output.status.success() && stderr(&output).is_empty(), "{}", shown(&output));
    assert!(stdout(&output).contains("20 000 001"), "{}", shown(&output));
    // What staff call finds ours, too.
    let staff = format!("{bait_before_ours} SELECT public.sms_set('paused', 'true');");
    let output = world.psql(&world.url_as(&daemon), &staff).await;
    assert_eq!(stderr(&output), "", "{}", shown(&output));

    assert_eq!(world.value("SELECT string_agg(by, ', ') FROM evil.caught").await, "", "ours ran theirs");
    assert_eq!(world.count("SELECT count(*) FROM evil.sms_outbox").await, 0);
    let ours = "SELECT string_agg(kind, ' ' ORDER BY kind) FROM public.sms_outbox";
    assert_eq!(world.value(ours).await, "appointment_reminder service_completed");
    assert_eq!(world.value("SELECT value FROM public.sms_setting WHERE name = 'paused'").await, "true");
}

/// Puts a trap under every name that could be meant by one of ours when it is not written out, before those of the system: operators over
/// all types that occur, functions of the system that ours call, types. A trap that is sprung counts, even where all else is undone.
const TRAPS: &str = r#"
    CREATE SEQUENCE evil.sprung; GRANT USAGE ON SEQUENCE evil.sprung TO PUBLIC;
    CREATE FUNCTION evil.trap() RETURNS pg_catalog.bool LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_catalog.nextval('evil.sprung'); RETURN true; END $$;
    DO $do$
    DECLARE
      one pg_catalog.text; other pg_catalog.text; f pg_catalog.pg_proc;
      body CONSTANT pg_catalog.text := 'LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_catalog.nextval(''evil.sprung''); RETURN NULL; END $$';
      types CONSTANT pg_catalog.text[] := '{text,varchar,name,bool,int4,int8,float8,timestamptz,interval,jsonb,json,regclass}';
    BEGIN
      FOREACH one IN ARRAY types LOOP
        FOREACH other IN ARRAY types LOOP
          EXECUTE format('CREATE FUNCTION evil.operate(pg_catalog.%I, pg_catalog.%I) RETURNS pg_catalog.bool %s', one, other, body);
          FOR f.proname IN SELECT unnest('{=,<>,<,>,<=,>=,-,+,||,->>,->,~,!~,~~,?}'::text[]) LOOP
            EXECUTE format('CREATE OPERATOR evil.%s (LEFTARG = pg_catalog.%I, RIGHTARG = pg_catalog.%I, FUNCTION = evil.operate)', f.proname, one, other);
          END LOOP;
        END LOOP;
        IF one IN ('text', 'bool', 'int8', 'interval', 'timestamptz', 'jsonb', 'regclass') THEN
          EXECUTE format('CREATE DOMAIN evil.%I AS pg_catalog.%I CHECK (evil.trap())', one, one);
        END IF;
      END LOOP;
      FOR f IN
        SELECT p.* FROM pg_proc p
        WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f' AND p.prorettype <> 'internal'::regtype AND NOT p.proretset
          AND NOT EXISTS (SELECT FROM unnest(p.proargtypes) a JOIN pg_type t ON t.oid = a WHERE t.typtype = 'p' AND t.typname <> 'anyelement')
          AND EXISTS (SELECT FROM pg_proc o WHERE o.pronamespace = 'public'::regnamespace AND o.proname LIKE 'sms\_%' AND o.prosrc ~ ('\m' || p.proname || '\('))
      LOOP
        EXECUTE format('CREATE FUNCTION evil.%I(%s) RETURNS %s %s', f.proname,
          (SELECT string_agg(format_type(a, NULL), ', ') FROM unnest(f.proargtypes) a), f.prorettype::regtype,
          CASE f.prorettype::regtype WHEN 'void'::regtype THEN replace(body, 'RETURN NULL;', '') ELSE body END);
      END LOOP;
    END $do$;
    CREATE FUNCTION evil.num_nonnulls(text, text, text, timestamptz, timestamptz, text) RETURNS int LANGUAGE plpgsql AS
      $$ BEGIN PERFORM pg_catalog.nextval('evil.sprung'); RETURN 0; END $$;"#;

#[tokio::test]
async fn they_that_set_no_search_path_fall_into_no_trap() {
    let world = bare().await;
    let (owner, _) = garage_of_its_own(&world).await;
    let mallory = role(&world, "mallory").await;
    world
        .batch(&format!(
            "CREATE SCHEMA evil AUTHORIZATION {mallory}; GRANT USAGE ON SCHEMA evil TO PUBLIC; SET ROLE {mallory}; {TRAPS} RESET ROLE"
        ))
        .await;
    assert!(
        world
            .count(
                "SELECT count(*) FROM pg_proc WHERE pronamespace = 'evil'::regnamespace AND proname = 'current_setting'"
            )
            .await
            > 0
    );
    for number in 1..=6 {
        world.service(number, "20 000 001", "in_progress").await;
    }
    let born = |id: u8, written: &str| {
        format!(
            "INSERT INTO public.core_service (id, title, description, status, scheduled_date, created_at, updated_at, car_id, is_routine_maintenance)
               VALUES ({id}, 'x', '', 'completed', '2026-11-20 10:00Z', '2026-11-20 10:00Z', {written}, 1, true);
             INSERT INTO public.core_invoice (id, invoice_number, issued_date, due_date, status, created_at, updated_at, service_id)
               VALUES ({id}, 'INV-{id}', '2026-11-20', '2026-11-20', 'pending', {written}, {written}, {id});"
        )
    };
    // Events the cheap way; history; and with the cheap way gone, all of it with care.
    for (broken, first) in [("", 1), ("DROP FUNCTION sms_garage_event(text, bigint)", 4)] {
        world.batch(broken).await;
        let day = format!(
            "SET search_path = evil, pg_catalog, public;
             UPDATE public.core_service SET status = 'completed' WHERE id OPERATOR(pg_catalog.=) {first};
             UPDATE public.core_service SET title = 'y' WHERE id OPERATOR(pg_catalog.=) {first};
             {}{}",
            born(10 * first, "pg_catalog.clock_timestamp()"),
            born(10 * first + 1, "'2026-11-20 10:00Z'"),
        );
        let output = world.psql(&world.url_as(&owner), &format!("\\set ON_ERROR_STOP on\n{day}")).await;
        assert!(output.status.success() && stderr(&output).is_empty(), "{broken}: {}", shown(&output));
        let ours = format!(
            "SELECT string_agg(state, ' ' ORDER BY id) FROM sms_outbox WHERE source_id IN ({first}, {first}0, {first}1)"
        );
        assert_eq!(world.value(&ours).await, "queued queued queued held held", "{broken}");
        assert_eq!(world.value("SELECT is_called FROM evil.sprung").await, "f", "{broken}: a trap was sprung");
    }
    // The traps are no dummies: the application itself falls into them.
    let careless =
        "SET search_path = evil, pg_catalog, public; SELECT id FROM public.core_service WHERE title = 'y'::varchar;";
    world.psql(&world.url_as(&owner), careless).await;
    assert_eq!(world.value("SELECT is_called FROM evil.sprung").await, "t");
}

#[tokio::test]
async fn where_many_may_create_in_the_garages_schema_our_functions_give_nobody_more_than_the_garages_owner_has() {
    let world = bare().await;
    let (owner, daemon) = garage_of_its_own(&world).await;
    let mallory = role(&world, "mallory").await;
    // As PostgreSQL 14 and older ones are by default.
    world
        .batch(&format!(
            "GRANT CREATE ON SCHEMA public TO PUBLIC; GRANT SELECT ON core_service TO {mallory};
             CREATE TABLE caught (by text); GRANT INSERT ON caught TO PUBLIC; SET ROLE {mallory};
             CREATE FUNCTION public.to_jsonb(core_service) RETURNS jsonb LANGUAGE plpgsql AS
               $$ BEGIN INSERT INTO caught VALUES (current_user::text); RETURN pg_catalog.to_jsonb($1::record); END $$;
             CREATE FUNCTION public.array_to_string(text[], text) RETURNS text LANGUAGE plpgsql AS
               $$ BEGIN INSERT INTO caught VALUES (current_user::text); RETURN ''; END $$; RESET ROLE"
        ))
        .await;
    world.service(1, "20 000 001", "in_progress").await;
    world.complete(1).await;
    let output = world.psql(&world.url_as(&daemon), "SELECT sms_maintain();").await;
    assert_eq!(stderr(&output), "", "{}", shown(&output));
    // They are run: that is why the documentation asks for REVOKE. But as the owner, never as the superuser who installed.
    assert_eq!(world.value("SELECT string_agg(DISTINCT by, ', ') FROM caught").await, owner);
    let others = world
        .value(&format!("SELECT string_agg(p.proname, ', ') {OUR_FUNCTIONS} AND p.proowner <> '{owner}'::regrole"))
        .await;
    assert_eq!(others, "", "owned by somebody else than the garage's owner");
    let others = world
        .value(&format!("SELECT string_agg(relname, ', ') FROM pg_class WHERE relname LIKE 'sms\\_%' AND relnamespace = 'public'::regnamespace AND relowner <> '{owner}'::regrole"))
        .await;
    assert_eq!(others, "", "owned by somebody else than the garage's owner");
    // The doctor says so, and the next installation refuses to go on.
    let said = stdout(&world.run(["doctor"]).await);
    assert!(said.contains("PUBLIC may create objects in schema public"), "{said}");
    let output = world.run(["install", "--role", &daemon]).await;
    assert!(
        !output.status.success() && stderr(&output).contains("function to_jsonb(core_service) of mallory"),
        "{}",
        shown(&output)
    );
}

#[tokio::test]
async fn an_installation_refuses_what_somebody_prepared_under_our_names_and_runs_none_of_it() {
    for (prepared, named) in [
        (
            "CREATE FUNCTION public.sms_garage_service() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN INSERT INTO caught VALUES (current_user::text); RETURN NULL; END $$",
            "function sms_garage_service() of mallory",
        ),
        (
            "CREATE FUNCTION public.trap() RETURNS int LANGUAGE plpgsql AS
             $$ BEGIN INSERT INTO caught VALUES (current_user::text); RETURN 1; END $$;
             CREATE VIEW public.sms_migration AS SELECT trap() AS number",
            "relation sms_migration of mallory",
        ),
        (
            "CREATE FUNCTION public.trap() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN INSERT INTO caught VALUES (current_user::text); RETURN NEW; END $$;
             CREATE TABLE public.sms_migration (number int PRIMARY KEY, name text NOT NULL, applied_at timestamptz);
             CREATE TRIGGER t BEFORE INSERT ON public.sms_migration FOR EACH ROW EXECUTE FUNCTION trap()",
            "relation sms_migration of mallory",
        ),
        (
            "CREATE FUNCTION public.unnest(text[]) RETURNS SETOF text LANGUAGE plpgsql AS
             $$ BEGIN INSERT INTO caught VALUES (current_user::text); RETURN QUERY SELECT pg_catalog.unnest($1); END $$",
            "function unnest(text[]) of mallory",
        ),
        (
            "CREATE FUNCTION public.trap(oid, regnamespace) RETURNS boolean LANGUAGE plpgsql AS
             $$ BEGIN INSERT INTO caught VALUES (current_user::text); RETURN true; END $$;
             CREATE OPERATOR public.= (LEFTARG = oid, RIGHTARG = regnamespace, FUNCTION = trap)",
            "operator =(oid,regnamespace) of mallory",
        ),
        ("CREATE TYPE public.sms_outbox AS ENUM ('x')", "type sms_outbox of mallory"),
        ("CREATE DOMAIN public.sms_reminder AS int", "type sms_reminder of mallory"),
    ] {
        let world = bare().await;
        let mallory = role(&world, "mallory").await;
        world.batch(&format!(
            "GRANT CREATE ON SCHEMA public TO {mallory}; CREATE TABLE caught (by text); GRANT INSERT ON caught TO PUBLIC;
             SET ROLE {mallory}; {prepared}; RESET ROLE"
        )).await;
        for command in [&["install"][..], &["install", "--dry-run"], &["uninstall"]] {
            let output = world.run(command).await;
            let said = stderr(&output);
            assert!(!output.status.success() && said.contains(named) && said.contains("REVOKE CREATE"), "{prepared}: {}", shown(&output));
        }
        assert_eq!(world.value("SELECT string_agg(by, ', ') FROM caught").await, "", "{prepared} was run");
        assert_eq!(world.count("SELECT count(*) FROM pg_class WHERE relname = 'sms_history'").await, 0);
    }
}

#[tokio::test]
async fn the_daemons_role_may_do_all_that_receipts_quotas_and_trials_need() {
    let world = bare().await;
    let (_, daemon) = garage_of_its_own(&world).await;
    for statement in [
        "INSERT INTO sms_history (id, kind, recipient, body, status, provider, provider_message_id, attempts, created_at) VALUES (1, 'custom', '+21620000001', 'a', 'sent', 'p', 'x1', 1, now())",
        "SELECT sms_receive('p', 'x1', 'delivered')",
        "INSERT INTO sms_awaited (message_id, part, provider, provider_message_id, forms) VALUES (1, 1, 'p', 'x1', sms_id_forms('x1'))",
        "SELECT sms_match_receipts()",
        "SELECT sms_receive('p', 'x1', 'undelivered', NULL, now(), 'word')",
        "UPDATE sms_awaited SET next_at = now(); DELETE FROM sms_awaited",
        "SELECT sms_forget_receipts()",
        "SELECT sms_take_quota('p', 'Africa/Tunis', 5, 3)",
        "SELECT sms_take_quota('p', 'Africa/Tunis', -2, 3)",
        "SELECT sms_receive_reply('20 000 001', 'STOP', 'p')",
        "SELECT sms_record_trial('+21620000001', 'a', 'gsm7', 1, 'p', NULL, 'sent', NULL, 'root')",
        "UPDATE sms_owner SET floor = 7",
    ] {
        let output = world.psql(&world.url_as(&daemon), &format!("\\set ON_ERROR_STOP on\n{statement};\n")).await;
        assert!(output.status.success() && stderr(&output).is_empty(), "{statement}: {}", shown(&output));
    }
    assert_eq!(world.value("SELECT status FROM sms_message WHERE id = 1").await, "delivered");
}
