//! Every statement file against the installed schema, and the plans that the claim must have.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::fmt::Write as _;

use ecar_sms::db::statement::{self, KEPT_PLANNING};
use support::World;

/// The types in the first line of a statement's file: `-- outbox/claim(floor bigint, slots bigint)`.
fn types(text: &str) -> Vec<String> {
    let first = text.lines().next().unwrap();
    let arguments = first.split_once('(').unwrap().1.strip_suffix(')').unwrap();
    arguments
        .split(", ")
        .filter(|argument| !argument.is_empty())
        .map(|argument| argument.split_once(' ').unwrap().1.to_owned())
        .collect()
}

#[tokio::test]
async fn every_statement_prepares_against_the_installed_schema() {
    let world = World::new().await;
    let mut wrong = String::new();
    let all = statement::all();
    assert!(all.len() >= 25, "only {} statements", all.len());
    for (name, statement) in all {
        let types = types(statement.text()).join(", ");
        let types = if types.is_empty() { types } else { format!("({types})") };
        if let Err(error) = world.sql.batch(&format!("PREPARE it{types} AS {}", statement.text())).await {
            let _ = writeln!(wrong, "{name}: {error}");
            continue;
        }
        // The server and the signature count the same parameters.
        let counted = world
            .count("SELECT coalesce(array_length(parameter_types, 1), 0) FROM pg_prepared_statements WHERE name = 'it'")
            .await;
        let signed = i64::try_from(self::types(statement.text()).len()).unwrap();
        if counted != signed {
            let _ = writeln!(wrong, "{name}: {counted} parameters, {signed} in the signature");
        }
        world.batch("DEALLOCATE it").await;
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[tokio::test]
async fn every_statement_file_is_a_known_statement() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("sql");
    let known: Vec<&str> = statement::all().iter().map(|(name, _)| *name).collect();
    for folder in ["outbox", "daemon", "staff"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = format!("{folder}/{}", path.file_stem().unwrap().to_str().unwrap());
            assert!(known.contains(&name.as_str()), "sql/{name}.sql is run by nobody");
        }
    }
}

/// The plan of a claim, as the function that keeps it plans it: once, for any values.
async fn claim_plan(world: &World, floor: i64) -> String {
    let text = statement::CLAIM.text();
    let planning = KEPT_PLANNING.map(|setting| format!("SET {setting};")).concat();
    let plan = format!(
        "{planning} DEALLOCATE ALL; PREPARE it({}) AS {text}; EXPLAIN (COSTS OFF) EXECUTE it({floor}, 32, 32, 1, 1, 60000, true)",
        types(text).join(", ")
    );
    let rows = world.sql.texts(&plan).await.unwrap();
    rows.iter().filter_map(|row| row[0].clone()).collect::<Vec<_>>().join("\n")
}

/// Panics when the plan reads the outbox in any way but through an index, and by the places found there.
fn through_indexes_only(plan: &str, when: &str) {
    assert!(plan.contains("sms_outbox_pkey"), "{when}: fresh rows\n{plan}");
    assert!(
        plan.contains("sms_outbox_next on sms_outbox") || plan.contains("Bitmap Index Scan on sms_outbox_next"),
        "{when}: due rows\n{plan}"
    );
    for line in plan
        .lines()
        .map(str::trim)
        .filter(|line| line.contains(" on sms_outbox") && !line.contains("sms_outbox_id_seq"))
    {
        let allowed =
            ["Index Scan", "Index Only Scan", "Bitmap Heap Scan", "Bitmap Index Scan", "Tid Scan", "Update on"];
        assert!(
            allowed.iter().any(|way| line.trim_start_matches("-> ").trim().starts_with(way)),
            "{when}: {line}\n{plan}"
        );
    }
}

#[tokio::test]
async fn the_claim_reads_the_outbox_through_its_indexes_only_whatever_lies_in_it() {
    let world = World::new().await;
    // A plan that was made for an empty table is kept for the flood that follows.
    let empty = claim_plan(&world, 0).await;
    through_indexes_only(&empty, "empty");
    assert!(empty.contains("Index Scan using sms_outbox_pkey on sms_outbox\n"), "{empty}");
    assert!(empty.contains("Tid Scan on sms_outbox"), "a locked row is found again by its place\n{empty}");

    // An old snapshot, such as a dump holds: dead entries stay, whatever vacuum does.
    let dump = support::session(&world.url).await;
    dump.batch("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM sms_outbox").await.unwrap();
    let stages = [
        ("100,000 queued", "INSERT INTO sms_outbox (kind, recipient, body) SELECT 'custom', '20 000 001', 'x' FROM generate_series(1, 100000)"),
        ("100,000 dead entries", "DELETE FROM sms_outbox"),
        (
            "20,000 held and 200,000 scheduled too",
            "INSERT INTO sms_outbox (kind, recipient, body, state) SELECT 'custom', '20 000 002', 'x', 'held' FROM generate_series(1, 20000);
             INSERT INTO sms_outbox (kind, recipient, body, not_before)
             SELECT 'custom', '20 000 003', 'x', now() + i * interval '1 second' + interval '1 day' FROM generate_series(1, 200000) i;
             INSERT INTO sms_outbox (kind, recipient, body) VALUES ('custom', '20 000 004', 'x')",
        ),
    ];
    for (stage, sql) in stages {
        world.batch(sql).await;
        let last = world.count("SELECT last_value FROM sms_outbox_id_seq").await;
        for analyzed in ["not analyzed", "analyzed"] {
            if analyzed == "analyzed" {
                world.batch("ANALYZE sms_outbox").await;
            }
            for floor in [0, last / 2, last - 1_000, last - 1, last] {
                let plan = claim_plan(&world, floor).await;
                let when = format!("{stage}, {analyzed}, above {floor} of {last}");
                through_indexes_only(&plan, &when);
                // A backlog is read in the order of ids and no further than the limit: nothing is gathered and sorted.
                let ordered = plan.contains("Index Scan using sms_outbox_pkey on sms_outbox\n");
                assert!(ordered || !stage.contains("queued"), "{when}: fresh rows\n{plan}");
            }
        }
    }
    dump.batch("COMMIT").await.unwrap();
}
