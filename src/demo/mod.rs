//! Demo scratch.
pub mod keeper;
pub mod programs;
pub mod server;

/// Options.
#[derive(Debug)]
pub struct DemoOptions {
    /// End when all is settled.
    pub once: bool,
    /// Port.
    pub port: Option<u16>,
}

/// Placeholder until the demo is written.
pub async fn run(_options: DemoOptions) -> anyhow::Result<()> {
    anyhow::bail!("not yet")
}
