//! Commits a second of the application, by PostgreSQL's own pgbench: each transaction completes one service.

use tokio::process::Command;

use crate::stage::{Garage, Stage};

/// Every client walks through services of its own.
const SCRIPT: &str = "\\set id :client_id + 1 + :clients * :n
\\set n :n + 1
UPDATE core_service SET status = 'completed', completed_date = now(), updated_at = now() WHERE id = :id;
";

/// Commits a second, over that many transactions of all clients together. There must be as many services in work: a transaction
/// that finds none to complete writes nothing, and would count as a fast one.
pub async fn pgbench(stage: &Stage, garage: &Garage, clients: usize, transactions: usize) -> f64 {
    let script = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(script.path(), SCRIPT).unwrap();
    let output = Command::new(stage.server.bin_dir().join("pgbench"))
        .args(["--no-vacuum", "--protocol=prepared", "--username=postgres"])
        .arg(format!("--host={}", stage.server.dir().display()))
        .arg(format!("--client={clients}"))
        .arg(format!("--transactions={}", transactions / clients))
        .arg(format!("--define=clients={clients}"))
        .arg("--define=n=0")
        .arg(format!("--file={}", script.path().display()))
        .arg(&garage.name)
        .output()
        .await
        .expect("pgbench stands beside the server");
    let text = String::from_utf8_lossy(&output.stdout);
    let rate = text.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
    let completed = garage.number("SELECT count(*) FROM core_service WHERE status = 'completed'").await;
    assert!(completed >= (transactions / clients * clients) as f64, "only {completed} services were completed");
    rate.unwrap_or_else(|| panic!("pgbench: {text}{}", String::from_utf8_lossy(&output.stderr)))
}
