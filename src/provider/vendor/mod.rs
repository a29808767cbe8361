//! The known providers: each is a description in the words of the [generic provider](super::generic), one file each.
//!
//! A description holds request and response shapes only: where a message goes, what its answer means by every code that the vendor documents, how receipts
//! and replies come, how the balance is asked for. What an operator adds is an account, a key and a sender id. In the strings of a description
//! `<account>`, `<base_url>` and `<sender_address>` stand for what he wrote; everything else is as in the generic provider's documentation.

#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;

use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Deserializer};

use super::generic::{GenericConfig, SignatureConfig};

/// What an operator writes about a known provider. Unknown keys are errors; what is not written is as the description has it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VendorConfig {
    /// The account, as the provider's page of our documentation says: a SID, a user name, a client id.
    pub account: Option<String>,
    /// The key, token or password.
    #[serde(deserialize_with = "secret")]
    pub api_key: Option<SecretString>,
    /// Sender id shown to the customer, as registered with the provider.
    pub sender_id: Option<String>,
    /// The number that sends, digits only, where the provider wants one beside the sender id. Default: as the description says.
    pub sender_address: Option<String>,
    /// Where the provider is asked, without a slash at its end.
    pub base_url: Option<String>,
    /// The last part of the path at which receipts and replies come; see [`GenericConfig::push_token`].
    #[serde(deserialize_with = "secret")]
    pub push_token: Option<SecretString>,
    /// What signs pushes, where that is not the key.
    #[serde(deserialize_with = "secret")]
    pub signature_secret: Option<SecretString>,
    /// `false`: the provider does not sign what it pushes. Default: as the description says.
    pub signed: Option<bool>,
    /// Messages per second.
    pub rate: Option<f64>,
    /// Requests at once.
    pub concurrency: Option<usize>,
    /// Longest text, in segments.
    pub max_segments: Option<u32>,
    /// Below this the balance is reported as low, in the provider's unit.
    pub balance_low: Option<f64>,
    /// Time allowed to connect.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Option<Duration>,
    /// Time allowed for an attempt.
    #[serde(with = "humantime_serde")]
    pub total_timeout: Option<Duration>,
    /// URL of an HTTP proxy.
    #[serde(deserialize_with = "secret")]
    pub proxy: Option<SecretString>,
}

/// Longest name that sends, in characters.
const SENDER_CHARS: usize = 11;

/// Longest number that sends, in digits (E.164).
const SENDER_DIGITS: usize = 15;

/// A known provider.
#[derive(Debug, Clone, Copy)]
pub struct Vendor {
    /// Its name in the configuration, `[provider.<name>]`.
    pub name: &'static str,
    description: &'static str,
}

/// Why a provider cannot be made from what an operator wrote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct VendorError {
    /// The key.
    pub key: &'static str,
    /// What is wrong with it. Never quotes a secret.
    pub problem: String,
}

macro_rules! vendors {
    ($($name:literal),* $(,)?) => {
        /// All that are known, by name.
        pub const VENDORS: &[Vendor] = &[$(Vendor { name: $name, description: include_str!(concat!($name, ".toml")) }),*];
    };
}

vendors!["twilio", "vonage", "infobip", "orange", "l2t", "winsms", "capcom6"];

/// The head of a description.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// What people call it.
    pub title: String,
    /// Where it is asked, when that is the same for everybody.
    pub base_url: Option<String>,
    /// What `account` is; absent: there is none.
    pub account: Option<String>,
    /// The number that sends unless the operator writes another; absent: there is none.
    pub sender_address: Option<String>,
    /// What `signature_secret` is, where pushes are signed with something else than the key; absent: the key signs, or nothing.
    pub signature_secret: Option<String>,
}

impl Vendor {
    /// The one of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        VENDORS.iter().find(|vendor| vendor.name == name)
    }

    /// The description as it is compiled in.
    pub fn description(&self) -> &'static str {
        self.description
    }

    /// The head of the description.
    ///
    /// # Errors
    /// Never for a description that is compiled in: a test reads them all.
    pub fn head(&self) -> Result<Head, VendorError> {
        self.parts().map(|(head, _)| head)
    }

    fn parts(&self) -> Result<(Head, toml::Table), VendorError> {
        let mut table: toml::Table = toml::from_str(self.description).map_err(|error| broken(&error))?;
        let head = table.remove("vendor").unwrap_or(toml::Value::Boolean(false));
        Ok((head.try_into().map_err(|error| broken(&error))?, table))
    }

    /// The provider, with what the operator wrote.
    ///
    /// # Errors
    /// [`VendorError`], naming the key.
    pub fn configure(&self, config: VendorConfig) -> Result<GenericConfig, VendorError> {
        let (head, mut table) = self.parts()?;
        let account = match (&head.account, config.account) {
            (None, None) => String::new(),
            (Some(_), Some(account)) => placeable("account", account)?,
            (Some(what), None) => return Err(wrong("account", format!("is missing: {what}"))),
            (None, Some(_)) => return Err(wrong("account", format!("{} has none; leave it out", head.title))),
        };
        let base_url = match (config.base_url, head.base_url) {
            (Some(url), _) | (None, Some(url)) => placeable("base_url", url)?.trim_end_matches('/').to_owned(),
            (None, None) => return Err(wrong("base_url", format!("is missing: where {} is asked", head.title))),
        };
        let sender_address = match (config.sender_address, head.sender_address) {
            (None, None) => String::new(),
            (Some(number), Some(_)) | (None, Some(number)) => digits("sender_address", number)?,
            (Some(_), None) => {
                return Err(wrong("sender_address", format!("{} has none; leave it out", head.title)));
            }
        };
        if config.api_key.is_none() {
            return Err(wrong("api_key", "is missing; it may also be a credential of the provider's name".to_owned()));
        }
        for value in table.iter_mut().map(|(_, value)| value) {
            place(value, &[("<account>", &account), ("<base_url>", &base_url), ("<sender_address>", &sender_address)]);
        }
        let mut generic: GenericConfig = table.try_into().map_err(|error| broken(&error))?;
        generic.api_key = config.api_key;
        generic.push_token = config.push_token;
        generic.proxy = config.proxy;
        if let Some(sender_id) = config.sender_id {
            generic.sender_id = sender(sender_id)?;
        }
        generic.rate = config.rate.or(generic.rate);
        generic.concurrency = config.concurrency.unwrap_or(generic.concurrency);
        generic.max_segments = config.max_segments.or(generic.max_segments);
        generic.connect_timeout = config.connect_timeout.unwrap_or(generic.connect_timeout);
        generic.total_timeout = config.total_timeout.unwrap_or(generic.total_timeout);
        if let (Some(balance), Some(low)) = (&mut generic.balance, config.balance_low) {
            balance.low = Some(low);
        }
        let signs = !matches!(generic.signature, SignatureConfig::None {});
        match (config.signed, config.signature_secret) {
            // Whoever writes one of them believes that signatures are checked.
            (_, Some(_)) if !signs => return Err(wrong("signature_secret", signs_nothing(&head.title))),
            (Some(true), None) if !signs => return Err(wrong("signed", signs_nothing(&head.title))),
            (Some(false), _) => generic.signature = SignatureConfig::default(),
            (_, secret @ Some(_)) => generic.signature.set_secret(secret),
            (_, None) => {
                if let Some(what) = head.signature_secret.filter(|_| generic.push_token.is_some()) {
                    return Err(wrong(
                        "signature_secret",
                        format!("is missing: {what}; without signatures, write signed = false"),
                    ));
                }
            }
        }
        Ok(generic)
    }
}

fn signs_nothing(title: &str) -> String {
    format!("{title} signs nothing that is checked here; leave it out")
}

/// Puts what the operator wrote in its places.
fn place(value: &mut toml::Value, places: &[(&str, &str)]) {
    match value {
        toml::Value::String(text) => {
            for (name, with) in places {
                *text = text.replace(name, with);
            }
        }
        toml::Value::Array(items) => items.iter_mut().for_each(|item| place(item, places)),
        toml::Value::Table(table) => table.iter_mut().for_each(|(_, value)| place(value, places)),
        toml::Value::Integer(_) | toml::Value::Float(_) | toml::Value::Boolean(_) | toml::Value::Datetime(_) => {}
    }
}

/// A value that stands in templates and URLs must be what it looks like there.
fn placeable(key: &'static str, text: String) -> Result<String, VendorError> {
    let text = text.trim().to_owned();
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~:/@+[]".contains(&b)) {
        return Err(wrong(key, "has characters that do not belong in it".to_owned()));
    }
    Ok(text)
}

/// A number as it stands after `tel:+`: of 3 (a short code) to 15 digits (E.164).
fn digits(key: &'static str, text: String) -> Result<String, VendorError> {
    let text = text.trim().to_owned();
    if !(3..=15).contains(&text.len()) || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong(key, "is 3 to 15 digits and nothing else, with the country and without a plus".to_owned()));
    }
    Ok(text)
}

/// A name that the networks can show (3GPP TS 23.040, 9.1.2.5: 11 characters), or a number.
fn sender(text: String) -> Result<String, VendorError> {
    let digits = text.strip_prefix('+').unwrap_or(&text);
    let number = digits.bytes().all(|b| b.is_ascii_digit());
    match digits.chars().count() {
        count if number && count > SENDER_DIGITS => {
            Err(wrong("sender_id", "a number has at most 15 digits".to_owned()))
        }
        count if !number && count > SENDER_CHARS => Err(wrong(
            "sender_id",
            format!("has {count} characters; no network shows a name of more than {SENDER_CHARS}"),
        )),
        _ => Ok(text),
    }
}

fn wrong(key: &'static str, problem: String) -> VendorError {
    VendorError { key, problem }
}

fn broken(error: &toml::de::Error) -> VendorError {
    wrong("description", error.message().to_owned())
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SecretString>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.filter(|text| !text.trim().is_empty()).map(SecretString::from))
}

#[cfg(test)]
mod tests;
