//! The accounts that a script opens with the simulated vendors: what they accept as credentials, what they sign with, where
//! they push.
//!
//! Owns the words `key`, `secret`, `push_url`, `push_as`, `token_life` and `balance`, at the top of the script for all vendors
//! and in `[vendor.NAME]` for one. Pure; an account that exists is valid. Secrets show in no debug output.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::dialect::vendor::Vendor;
use super::rule::Delay;

/// Life of an OAuth token when the script does not say: what Orange gives.
const TOKEN_LIFE: Duration = Duration::from_secs(3_600);
/// Credit of an account when the script does not say, in the vendor's unit.
const BALANCE: f64 = 100.0;

/// A secret of the script. Its debug form hides it.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Key(pub(super) String);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// An `http://` address: pushes go to a program beside this one, never through TLS.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct PushUrl(pub(super) url::Url);

impl TryFrom<String> for PushUrl {
    type Error = &'static str;

    fn try_from(text: String) -> Result<PushUrl, &'static str> {
        url::Url::parse(&text)
            .ok()
            .filter(|url| url.scheme() == "http")
            .map(PushUrl)
            .ok_or("an address to push to begins with http://")
    }
}

/// How a vendor that leaves the choice to its customer writes its pushes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum PushAs {
    /// POST with a JSON body.
    #[default]
    Json,
    /// POST with a form.
    Form,
    /// GET with a query.
    Get,
}

/// One account; what it does not say has its default.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Account {
    key: Option<Key>,
    secret: Option<Key>,
    push_url: Option<PushUrl>,
    push_as: Option<PushAs>,
    token_life: Option<Delay>,
    balance: Option<Balance>,
}

impl Account {
    /// An account that says what all say, `push_as` and `token_life` apart.
    pub(super) fn common(key: Option<Key>, secret: Option<Key>, push_url: Option<PushUrl>) -> Account {
        Account { key, secret, push_url, ..Account::default() }
    }

    /// Whether these credentials let their bearer in: the scripted ones, or any that are not empty.
    pub(super) fn admits(&self, key: &str) -> bool {
        self.key.as_ref().map_or(!key.is_empty(), |wanted| wanted.0 == key)
    }

    /// What pushes are signed with: the scripted secret, or the key.
    pub(super) fn secret<'a>(&'a self, given: &'a str) -> &'a str {
        self.secret.as_ref().or(self.key.as_ref()).map_or(given, |secret| secret.0.as_str())
    }

    /// The scripted secret alone, for vendors to whom a request can be signed with it.
    pub(super) fn scripted_secret(&self) -> Option<&str> {
        self.secret.as_ref().map(|secret| secret.0.as_str())
    }

    pub(super) fn push_url(&self) -> Option<&url::Url> {
        self.push_url.as_ref().map(|url| &url.0)
    }

    pub(super) fn push_as(&self) -> PushAs {
        self.push_as.unwrap_or_default()
    }

    pub(super) fn token_life(&self) -> Duration {
        self.token_life.map_or(TOKEN_LIFE, |life| life.0)
    }

    /// Credit left, in the vendor's unit. No message makes it less: `code` in a rule is for accounts that run dry.
    pub(super) fn balance(&self) -> f64 {
        self.balance.map_or(BALANCE, |balance| balance.0)
    }

    /// The same in whole units, for vendors that sell messages.
    pub(super) fn units(&self) -> i64 {
        // What is larger than any number of messages becomes the largest.
        self.balance().floor() as i64
    }

    fn or(self, other: &Account) -> Account {
        Account {
            key: self.key.or_else(|| other.key.clone()),
            secret: self.secret.or_else(|| other.secret.clone()),
            push_url: self.push_url.or_else(|| other.push_url.clone()),
            push_as: self.push_as.or(other.push_as),
            token_life: self.token_life.or(other.token_life),
            balance: self.balance.or(other.balance),
        }
    }
}

/// A credit: a number that JSON can hold.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "f64")]
struct Balance(f64);

impl TryFrom<f64> for Balance {
    type Error = &'static str;

    fn try_from(balance: f64) -> Result<Balance, &'static str> {
        if balance.is_finite() { Ok(Balance(balance)) } else { Err("a balance is a finite number") }
    }
}

/// The accounts of a script.
#[derive(Debug, Clone, Default)]
pub(super) struct Accounts {
    own: BTreeMap<Vendor, Arc<Account>>,
    common: Arc<Account>,
}

impl Accounts {
    pub(super) fn new(common: Account, own: BTreeMap<Vendor, Account>) -> Accounts {
        let own = own.into_iter().map(|(vendor, account)| (vendor, Arc::new(account.or(&common)))).collect();
        Accounts { own, common: Arc::new(common) }
    }

    /// The account with this vendor.
    pub(super) fn with(&self, vendor: Vendor) -> &Arc<Account> {
        self.own.get(&vendor).unwrap_or(&self.common)
    }
}
