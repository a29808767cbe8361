//! What a script wants of delivery receipts: how many fail, come twice, early, out of order or forged.
//!
//! Owns the words of `[receipts]` and what the dice make of them for one message. The generic protocol heeds `url`, `after`
//! and `status`; vendors heed everything else, and have an address of their own for each message or account.

use std::time::Duration;

use rand::Rng;
use serde::Deserialize;

use super::account::PushUrl;
use super::rule::{Code, Delay};

/// A share of all messages, 0 to 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(try_from = "f64")]
pub(super) struct Share(pub(super) f64);

impl TryFrom<f64> for Share {
    type Error = &'static str;

    fn try_from(share: f64) -> Result<Share, &'static str> {
        if (0.0..=1.0).contains(&share) { Ok(Share(share)) } else { Err("a rate is between 0 and 1") }
    }
}

/// How ids are written in receipts and look-ups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Ids {
    /// As in the answer.
    #[default]
    AsGiven,
    /// Decimal ones in hexadecimal.
    Hex,
    /// Hexadecimal ones in decimal.
    Decimal,
}

impl Ids {
    /// The id as receipts write it. What is no such number stays as it is.
    pub(super) fn write(self, id: &str) -> String {
        let digits = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = match self {
            Ids::AsGiven => None,
            Ids::Hex => id.parse::<u128>().ok().filter(|_| digits).map(|number| format!("{number:X}")),
            Ids::Decimal => u128::from_str_radix(id, 16).ok().filter(|_| digits).map(|number| number.to_string()),
        };
        number.unwrap_or_else(|| id.to_owned())
    }
}

/// Where and when delivery receipts are pushed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Receipts {
    /// Where those of the generic protocol go; without it there are none.
    pub(super) url: Option<PushUrl>,
    /// Wait after the answer.
    #[serde(default)]
    pub(super) after: Delay,
    /// What the generic ones say.
    #[serde(default = "delivered")]
    pub(super) status: String,
    #[serde(default)]
    undelivered: Share,
    /// The vendor's code in the receipts of those undelivered.
    pub(super) code: Option<Code>,
    #[serde(default)]
    lost: Share,
    #[serde(default)]
    twice: Share,
    #[serde(default)]
    disorder: Share,
    #[serde(default)]
    early: Share,
    #[serde(default)]
    forged: Share,
    /// Whether states before the last are told too, by vendors who tell them.
    #[serde(default = "yes")]
    intermediate: bool,
    #[serde(default)]
    pub(super) ids: Ids,
    /// Pushes go to this host and port, whatever host their address names; that address is still the one signed.
    pub(super) via: Option<PushUrl>,
}

impl Default for Receipts {
    fn default() -> Receipts {
        Receipts {
            url: None,
            after: Delay::default(),
            status: delivered(),
            undelivered: Share::default(),
            code: None,
            lost: Share::default(),
            twice: Share::default(),
            disorder: Share::default(),
            early: Share::default(),
            forged: Share::default(),
            intermediate: true,
            ids: Ids::default(),
            via: None,
        }
    }
}

impl Receipts {
    /// What becomes of one message.
    pub(super) fn plan(&self, dice: &mut impl Rng) -> Plan {
        let mut hit = |share: Share| dice.random_bool(share.0);
        Plan {
            after: self.after.0,
            delivered: !hit(self.undelivered),
            lost: hit(self.lost),
            twice: hit(self.twice),
            disorder: hit(self.disorder),
            early: hit(self.early),
            forged: hit(self.forged),
            intermediate: self.intermediate,
        }
    }
}

/// What becomes of one message, and how its sender hears of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    /// Wait after the answer.
    pub(super) after: Duration,
    /// Whether it reaches its customer.
    pub(super) delivered: bool,
    /// No push at all.
    pub(super) lost: bool,
    /// The last state is pushed once more.
    pub(super) twice: bool,
    /// The states are pushed from last to first.
    pub(super) disorder: bool,
    /// Pushed before the request is answered.
    pub(super) early: bool,
    /// A push that says the contrary comes first, as somebody would send it who does not know the secret.
    pub(super) forged: bool,
    /// States before the last are pushed.
    pub(super) intermediate: bool,
}

fn delivered() -> String {
    "delivered".to_owned()
}

fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_change_their_form_only_when_they_are_numbers() {
        assert_eq!(Ids::Hex.write("12345"), "3039");
        assert_eq!(Ids::Decimal.write("0A00000000010000"), "720575940379344896");
        assert_eq!(Ids::Hex.write("SM00ff"), "SM00ff");
        assert_eq!(Ids::Decimal.write("5ec0de00-0000"), "5ec0de00-0000");
        assert_eq!(Ids::Decimal.write("+ff"), "+ff");
        assert_eq!(Ids::AsGiven.write("12345"), "12345");
        assert_eq!(Ids::Hex.write(""), "");
    }
}
