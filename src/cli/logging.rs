//! Logs of the daemon: to standard error, and to daily files when a directory is configured.

use tracing_appender::non_blocking::WorkerGuard;
use tracing_appender::rolling::{RollingFileAppender, Rotation};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use super::exit::{Exit, Failure};
use crate::config::{LogConfig, LogFormat};

/// Starts logging. The guard writes what is left when it is dropped.
///
/// # Errors
/// [`Exit::BadConfiguration`] when the level or the directory cannot be used.
pub fn start(config: &LogConfig, format: Option<LogFormat>, verbose: u8) -> Result<Option<WorkerGuard>, Failure> {
    let level = match verbose {
        0 => config.level.clone(),
        1 => "ecar_sms=debug,info".to_owned(),
        _ => "ecar_sms=trace,debug".to_owned(),
    };
    let bad = |problem: String| Failure::new(Exit::BadConfiguration, anyhow::anyhow!("log: {problem}"));
    let filter = EnvFilter::builder().parse(&level).map_err(|error| bad(format!("level \"{level}\": {error}")))?;
    let format = format.unwrap_or(config.format);
    let (file, guard) = match &config.directory {
        None => (None, None),
        Some(directory) => {
            std::fs::create_dir_all(directory)
                .map_err(|error| bad(format!("directory {}: {error}", directory.display())))?;
            let appender = RollingFileAppender::builder()
                .rotation(Rotation::DAILY)
                .filename_prefix("ecar-sms")
                .filename_suffix("log")
                .max_log_files(config.keep_files)
                .build(directory)
                .map_err(|error| bad(format!("directory {}: {error}", directory.display())))?;
            let (writer, guard) = tracing_appender::non_blocking(appender);
            (Some(layer(format, writer, false)), Some(guard))
        }
    };
    let colour = std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::registry()
        .with(filter)
        .with(layer(format, std::io::stderr, colour))
        .with(file)
        .try_init()
        .map_err(|error| bad(error.to_string()))?;
    Ok(guard)
}

fn layer<S, W>(format: LogFormat, writer: W, colour: bool) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
    W: for<'a> fmt::MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = fmt::layer().with_writer(writer).with_target(false).with_ansi(colour);
    match format {
        LogFormat::Pretty => layer.boxed(),
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    }
}
