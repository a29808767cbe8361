//! What the demo shows: steps of the day, and the customer's phone.
//!
//! On a terminal there is colour (unless `NO_COLOR` is set, <https://no-color.org>), texts are wrapped, and the show has a
//! pace. Anywhere else it is plain text without a pause, and a text stays on one line, so that it can be searched for.
//! Whatever a text holds, it cannot drive the terminal.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use super::message::Message;
use crate::message::encoding::{self, Encoding};

/// Width of a text on a terminal, in characters.
const TEXT_CHARS: usize = 72;

/// Pause before each step for whoever reads along.
const PACE: Duration = Duration::from_millis(350);

/// Everything below a step's title is under its first word.
const INDENT: &str = "       ";

const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";

/// Standard output. A write fails when its reader has left.
#[derive(Debug)]
pub struct Screen {
    terminal: bool,
    colour: bool,
}

impl Screen {
    /// Looks once at what standard output is.
    #[expect(clippy::disallowed_methods, reason = "a convention about the terminal, not configuration of ours")]
    pub fn of_stdout() -> Self {
        let terminal = io::stdout().is_terminal();
        let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { terminal, colour }
    }

    /// A heading.
    ///
    /// # Errors
    /// Standard output is closed.
    pub fn heading(&self, text: &str) -> io::Result<()> {
        self.print(&format!("\n{}\n\n", self.paint(BOLD, text)))
    }

    /// A name and what it stands for.
    ///
    /// # Errors
    /// Standard output is closed.
    pub fn fact(&self, name: &str, value: &str) -> io::Result<()> {
        self.print(&format!("  {name:<18}{}\n", safe(value)))
    }

    /// A line as it is.
    ///
    /// # Errors
    /// Standard output is closed.
    pub fn line(&self, text: &str) -> io::Result<()> {
        self.print(&format!("{text}\n"))
    }

    /// Something happened at the garage.
    ///
    /// # Errors
    /// Standard output is closed.
    pub async fn step(&self, time: &str, title: &str, how: &str) -> io::Result<()> {
        if self.terminal {
            tokio::time::sleep(PACE).await;
        }
        self.print(&format!("\n{}  {}\n", self.paint(BOLD, time), self.paint(BOLD, title)))?;
        self.note(how)
    }

    /// A remark below a step.
    ///
    /// # Errors
    /// Standard output is closed.
    pub fn note(&self, text: &str) -> io::Result<()> {
        self.print(&format!("{INDENT}{}\n", self.paint(DIM, text)))
    }

    /// A message: the customer's phone, or why it stays silent. `text` is what the gateway received.
    ///
    /// # Errors
    /// Standard output is closed.
    pub fn message(&self, message: &Message, text: Option<&str>) -> io::Result<()> {
        self.print(&self.drawn(message, text))
    }

    fn drawn(&self, message: &Message, text: Option<&str>) -> String {
        let colour = match message.status.as_str() {
            "sent" | "delivered" => GREEN,
            "failed" | "undelivered" | "unknown" => RED,
            _ => YELLOW,
        };
        let recipient = message.recipient.as_deref().map_or_else(|| "no number".to_owned(), safe);
        let status = self.paint(colour, &safe(&message.status));
        let Some(text) = text else {
            let why = [&message.reason, &message.detail].into_iter().flatten().map(|it| safe(it)).collect::<Vec<_>>();
            return format!("{INDENT}✗ message {}: {status}, {}\n", message.id, why.join(": "));
        };
        let measure = encoding::measure(text);
        let alphabet = match measure.encoding {
            Encoding::Gsm7 => "GSM-7",
            Encoding::Ucs2 => "UCS-2",
        };
        let plural = if measure.segments == 1 { "" } else { "s" };
        let mut drawn = format!("{INDENT}┌ {recipient}\n");
        for line in self.lines(text) {
            drawn.push_str(&format!("{INDENT}│ {}\n", self.paint(BOLD, &line)));
        }
        let cost = format!("{} segment{plural} {alphabet}, {} characters", measure.segments, text.chars().count());
        drawn.push_str(&format!("{INDENT}└ message {}: {status}, {cost}\n", message.id));
        drawn
    }

    fn lines(&self, text: &str) -> Vec<String> {
        let width = if self.terminal { TEXT_CHARS } else { usize::MAX };
        text.lines().flat_map(|line| wrapped(&safe(line), width)).collect()
    }

    fn paint(&self, style: &str, text: &str) -> String {
        if self.colour { format!("\u{1b}[{style}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    fn print(&self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }
}

/// Words on lines of at most `width` characters; a longer word has a line of its own.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split(' ') {
        let chars = word.chars().count();
        match lines.last_mut() {
            Some(line) if line.is_empty() => {
                line.push_str(word);
                used = chars;
            }
            Some(line) if used + 1 + chars <= width => {
                line.push(' ');
                line.push_str(word);
                used += 1 + chars;
            }
            Some(_) | None => {
                lines.push(word.to_owned());
                used = chars;
            }
        }
    }
    lines
}

/// Control characters, and those that change the direction of writing or are invisible, spelled out.
fn safe(text: &str) -> String {
    let unsafe_character = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if unsafe_character(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PIPE: Screen = Screen { terminal: false, colour: false };

    fn message(status: &str) -> Message {
        Message {
            id: 7,
            recipient: Some("+21620000101".to_owned()),
            body: None,
            status: status.to_owned(),
            reason: Some("landline".to_owned()),
            detail: Some("a fixed line".to_owned()),
            segments: 1,
            attempts: 1,
            provider_message_id: None,
            created_at_us: 0,
        }
    }

    #[test]
    fn a_text_that_was_sent_stays_whole_on_one_line_of_a_pipe() {
        let text = "Bonjour Sami, votre service pour Kia Rio est terminé. Merci de nous contacter pour récupérer votre véhicule.";
        let drawn = PIPE.drawn(&message("sent"), Some(text));
        assert!(drawn.lines().any(|line| line.trim_start_matches([' ', '│']) == text), "{drawn}");
        assert!(drawn.contains("+21620000101") && drawn.contains("sent, 1 segment GSM-7, 108 characters"), "{drawn}");
    }

    #[test]
    fn a_message_that_was_not_sent_says_why() {
        let drawn = PIPE.drawn(&message("skipped"), None);
        assert_eq!(drawn, "       ✗ message 7: skipped, landline: a fixed line\n");
    }

    #[test]
    fn colour_comes_on_a_terminal_only() {
        let drawn = Screen { terminal: true, colour: true }.drawn(&message("sent"), Some("Bonjour"));
        assert!(drawn.contains("\u{1b}[32msent\u{1b}[0m"), "{drawn:?}");
        assert!(!PIPE.drawn(&message("sent"), Some("Bonjour")).contains('\u{1b}'));
    }

    proptest! {
        #[test]
        fn no_text_drives_the_terminal(text in any::<String>(), status in any::<String>()) {
            let drawn = PIPE.drawn(&message(&status), Some(&text));
            prop_assert!(!drawn.contains(|c: char| c.is_control() && c != '\n'));
        }

        #[test]
        fn wrapping_keeps_every_word_and_the_width(text in "[a-zé ]{0,300}", width in 1_usize..80) {
            let lines = wrapped(&text, width);
            prop_assert!(lines.iter().all(|line| line.chars().count() <= width || !line.trim().contains(' ')));
            let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            prop_assert_eq!(words(&lines.join(" ")), words(&text));
        }
    }
}
