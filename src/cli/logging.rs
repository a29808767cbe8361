//! Logs of the daemon: to standard error, and to daily files when a directory is configured.
//!
//! A line is one event, whatever an error of the database or an answer of a provider holds: line ends inside of it, control
//! characters and direction marks are written as `\u000a`, in both formats, on the way to whoever reads.

use std::fmt::Write as _;
use std::io;

use tracing_appender::non_blocking::WorkerGuard;
use tracing_appender::rolling::{RollingFileAppender, Rotation};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use super::exit::{Exit, Failure};
use super::output::drives_a_terminal;
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
    let layer = fmt::layer().with_writer(Harmless { writer, colour }).with_target(false).with_ansi(colour);
    match format {
        LogFormat::Pretty => layer.boxed(),
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    }
}

/// Writes events so that none of them can pass for two, or drive a terminal.
struct Harmless<W> {
    writer: W,
    /// Whether the subscriber colours its lines.
    colour: bool,
}

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for Harmless<W> {
    type Writer = Harmless<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        Harmless { writer: self.writer.make_writer(), colour: self.colour }
    }
}

impl<W: io::Write> io::Write for Harmless<W> {
    /// The subscriber hands over one event at a time, with its line end.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        // In one piece: standard error is not buffered.
        let mut line = one_line(text, self.colour);
        line.push('\n');
        self.writer.write_all(line.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// What the subscriber colours a line with. A value may hold these too, and do no more with them than be coloured.
const COLOURS: [&str; 9] = [
    "\u{1b}[0m",
    "\u{1b}[1m",
    "\u{1b}[2m",
    "\u{1b}[3m",
    "\u{1b}[31m",
    "\u{1b}[32m",
    "\u{1b}[33m",
    "\u{1b}[34m",
    "\u{1b}[35m",
];

fn one_line(event: &str, colour: bool) -> String {
    let mut line = String::with_capacity(event.len() + 1);
    for (at, c) in event.char_indices() {
        let own = colour && c == '\u{1b}' && COLOURS.iter().any(|known| event[at..].starts_with(known));
        if drives_a_terminal(c) && !own {
            // Writing to a string cannot fail. All such characters lie below U+10000, so that JSON reads them back.
            let _ = write!(line, "\\u{:04x}", u32::from(c));
        } else {
            line.push(c);
        }
    }
    line
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    const HOSTILE: &str = "a\n2026-01-01 ERROR forged\r\u{1b}[2J\u{1b}[8m\u{9b}2J\u{7}\u{202e}\u{61c}\u{85}\u{7f}z";

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, colour: bool) -> String {
        let kept = Kept::default();
        let writer = kept.clone();
        let subscriber = tracing_subscriber::registry().with(layer(format, move || writer.clone(), colour));
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(name = HOSTILE, error = %HOSTILE, detail = ?HOSTILE, "the database said {HOSTILE}");
        });
        let bytes = kept.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn an_event_is_one_line_and_drives_no_terminal_whatever_is_in_it() {
        for format in [LogFormat::Pretty, LogFormat::Json] {
            let line = logged(format, false);
            assert_eq!(line.matches('\n').count(), 1, "{line:?}");
            assert!(line.ends_with('\n') && !line.trim_end().chars().any(drives_a_terminal), "{line:?}");
        }
        let mut line = logged(LogFormat::Pretty, true);
        assert!(line.contains("\u{1b}[33m WARN"), "its own colours stay: {line:?}");
        COLOURS.iter().for_each(|colour| line = line.replace(colour, ""));
        assert!(line.matches('\n').count() == 1 && !line.trim_end().chars().any(drives_a_terminal), "{line:?}");
    }

    #[test]
    fn a_json_line_reads_back_as_what_was_said() {
        let line: serde_json::Value = serde_json::from_str(&logged(LogFormat::Json, false)).unwrap();
        assert_eq!(line["name"], HOSTILE);
        assert_eq!(line["error"], HOSTILE);
    }
}
