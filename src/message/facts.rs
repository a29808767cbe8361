//! What a message says about the garage, as read when its row was claimed.

use std::collections::BTreeMap;

use jiff::Timestamp;

/// Longest value put into a text, in characters. Longer than any real name, too short to buy ten segments.
pub const VALUE_LIMIT_CHARS: usize = 60;

/// The facts of one source row. Values come from people: they may be empty, huge, or hostile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// The phone column, as the application holds it.
    pub phone: String,
    /// The status word of the service or invoice.
    pub state: String,
    /// The appointment's time.
    pub at: Option<Timestamp>,
    /// The amount as the database prints it, e.g. `250.00`.
    pub amount: Option<String>,
    /// Variables of the template that are texts: `first_name`, `car_make`, ... A missing column is a missing key.
    pub values: BTreeMap<String, String>,
}

impl Facts {
    /// Whether the amount is above zero.
    pub fn has_amount(&self) -> bool {
        self.amount.as_deref().and_then(|amount| amount.parse::<f64>().ok()).is_some_and(|amount| amount > 0.0)
    }
}

/// Whether `c` has the property `Bidi_Control` of Unicode: such a character shows a line in another order than it has, so that
/// a name can pass for something else on a phone or a terminal.
pub fn turns_text(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A value fit for a text message: one line, no control or direction characters, single spaces, bounded length.
pub fn clean(value: &str) -> String {
    let word =
        !value.is_empty() && value.len() <= VALUE_LIMIT_CHARS && value.bytes().all(|byte| byte.is_ascii_graphic());
    if word {
        return value.to_owned();
    }
    let visible: String = value
        .chars()
        .take(VALUE_LIMIT_CHARS * 8)
        .map(|c| if c.is_whitespace() || c.is_control() { ' ' } else { c })
        .filter(|c| {
            !turns_text(*c) && !matches!(c, '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{ad}')
        })
        .collect();
    let joined = visible.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    joined.chars().take(VALUE_LIMIT_CHARS).collect::<String>().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_becomes_one_clean_line() {
        assert_eq!(clean("  Sami\r\n\tBen\u{202e}  Ali \u{7} "), "Sami Ben Ali");
        assert_eq!(clean("\u{feff}\u{0}\n\u{61c}\u{2067}"), "");
        assert_eq!(clean("محمد"), "محمد");
        assert_eq!(clean(&"x".repeat(100_000)).chars().count(), VALUE_LIMIT_CHARS);
    }

    #[test]
    fn an_amount_counts_only_above_zero() {
        let amount = |text: &str| Facts { amount: Some(text.to_owned()), ..Facts::default() }.has_amount();
        assert!(amount("250.00") && amount("0.001"));
        assert!(!amount("0.000") && !amount("0") && !amount("-5") && !amount("NaN") && !amount(""));
        assert!(!Facts::default().has_amount());
    }
}
