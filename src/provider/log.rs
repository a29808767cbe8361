//! The provider that sends nothing: it writes a line to the log and accepts.
//!
//! For trying things out. It never touches the network and never fails, so every message it is given ends as `sent`:
//! it must not be the route of a real garage. The line carries the masked number, the length and the segments; the
//! text itself appears only when `show_text` asks for it.

use serde::Deserialize;

use super::outgoing::Outgoing;
use crate::message::outcome::Outcome;

/// Configuration of the log provider.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// Write the text of each message too. Texts hold names and amounts: only for trying things out.
    pub show_text: bool,
}

/// Accepts every message and writes it to the log.
#[derive(Debug, Clone)]
pub struct LogProvider {
    name: String,
    config: LogConfig,
}

impl LogProvider {
    /// A log provider that calls itself `name`.
    pub fn new(name: String, config: LogConfig) -> Self {
        Self { name, config }
    }

    /// The provider's name in the configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Writes one line at info level and accepts, with the id `log-<reference>`.
    pub fn send(&self, outgoing: &Outgoing) -> Outcome {
        // `Option<&str>` is no field value by itself: an absent text leaves the field out of the line.
        let text = self.config.show_text.then(|| tracing::field::debug(&outgoing.text));
        tracing::info!(
            provider.name = %self.name,
            msg.reference = %outgoing.reference,
            msg.recipient = %outgoing.masked_recipient(),
            msg.chars = outgoing.text.chars().count(),
            msg.segments = outgoing.segments,
            msg.text = text,
            "message written to the log instead of being sent"
        );
        Outcome::Accepted {
            provider_message_id: Some(format!("log-{}", outgoing.reference)),
            segments: Some(outgoing.segments),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use crate::message::encoding::Encoding;
    use std::io::Write;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn send_and_capture(config: LogConfig) -> (Outcome, String) {
        let captured = Captured::default();
        let writer = captured.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        let outgoing = Outgoing {
            reference: "ecar-7-1".into(),
            recipient: "+21620000123".into(),
            text: "secret\ntext".into(),
            encoding: Encoding::Gsm7,
            segments: 2,
            deadline: Duration::from_secs(1),
        };
        let outcome =
            tracing::subscriber::with_default(subscriber, || LogProvider::new("log".into(), config).send(&outgoing));
        let line = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
        (outcome, line)
    }

    #[test]
    fn it_accepts_with_an_id_made_of_the_reference() {
        let (outcome, _) = send_and_capture(LogConfig::default());
        let expected = Outcome::Accepted { provider_message_id: Some("log-ecar-7-1".into()), segments: Some(2) };
        assert_eq!(outcome, expected);
    }

    #[test]
    fn the_line_hides_number_and_text_by_default() {
        let (_, line) = send_and_capture(LogConfig::default());
        assert!(line.contains("+*********23") && line.contains("msg.segments=2"), "{line}");
        assert!(!line.contains("secret") && !line.contains("20000123"), "{line}");
    }

    #[test]
    fn the_text_is_shown_on_request_and_stays_on_one_line() {
        let (_, line) = send_and_capture(LogConfig { show_text: true });
        assert!(line.contains("secret\\ntext"), "{line}");
        assert_eq!(line.lines().count(), 1, "{line}");
    }

    #[test]
    fn unknown_keys_are_refused() {
        assert!(toml::from_str::<LogConfig>("show_texts = true").is_err());
        assert!(toml::from_str::<LogConfig>("show_text = true").unwrap().show_text);
    }
}
