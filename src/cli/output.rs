//! Standard output and standard error.
//!
//! Texts of customers and providers are untrusted: control characters are shown escaped, so that none of them can drive
//! the terminal. A reader that closes the pipe early (`| head`) is no error.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};

use comfy_table::presets;
use comfy_table::{ContentArrangement, Table};

use crate::message::facts::turns_text;

/// Prints a line, or several.
pub fn say(text: &str) {
    // Whoever reads may have left, which is fine.
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// Prints to standard error; what it repeats of arguments and answers cannot drive the terminal.
pub fn complain(text: &str) {
    let text: Vec<String> = text.lines().map(visible).collect();
    let _ = writeln!(std::io::stderr().lock(), "{}", text.join("\n"));
}

/// Prints JSON, indented. Inside strings, where alone they can stand, characters that drive a terminal are escaped.
pub fn json(value: &serde_json::Value) {
    let mut shown = String::new();
    for c in format!("{value:#}").chars() {
        if c != '\n' && drives_a_terminal(c) {
            // Writing to a string cannot fail.
            let _ = write!(shown, "\\u{:04x}", u32::from(c));
        } else {
            shown.push(c);
        }
    }
    say(&shown);
}

/// Control characters, and those that change the direction of writing; all of them below U+10000.
pub(super) fn drives_a_terminal(c: char) -> bool {
    c.is_control() || turns_text(c)
}

/// A text that cannot drive a terminal.
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if drives_a_terminal(c) {
            // Writing to a string cannot fail.
            let _ = write!(shown, "{}", c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// A table without lines, fitted to the terminal when there is one.
pub fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    if std::io::stdout().is_terminal() {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    } else {
        table.set_content_arrangement(ContentArrangement::Disabled);
    }
    table.set_header(header.to_vec());
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_and_not_obeyed() {
        assert_eq!(visible("a\u{1b}[2Jb\nc\u{202e}d é"), "a\\u{1b}[2Jb\\u{a}c\\u{202e}d é");
    }
}
