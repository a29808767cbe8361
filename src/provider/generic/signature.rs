//! Whether a push comes from the provider: what it signs, and how.
//!
//! Owns the schemes that vendors document. Whatever does not verify is forged; a scheme with a time refuses one that is old, so that a request that
//! somebody recorded is not believed a day later. Comparisons take the same time for every wrong value.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};
use sha1::Sha1;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use super::GenericError;
use super::extract::scalar_text;
use super::parameters::Parameters;
use crate::provider::receipt::{Push, PushError};

/// How far a signed time may be from ours. Vendors repeat a push with a new time.
const AGE_LIMIT: Duration = Duration::from_secs(300);

/// How pushes prove where they come from. `secret` is the `api_key` where it is not given.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum SignatureConfig {
    /// By nothing but the path, which nobody can guess.
    None {},
    /// A header holds the secret itself, after `prefix`, for example `Bearer `.
    Header {
        /// Its name.
        name: String,
        /// What stands before the secret.
        #[serde(default)]
        prefix: String,
        /// The secret.
        #[serde(default, deserialize_with = "secret")]
        secret: Option<SecretString>,
    },
    /// HMAC-SHA256 over the body, followed by the time where there is one.
    Hmac {
        /// The header that holds it.
        header: String,
        /// How it is written.
        #[serde(default)]
        encoding: MacEncoding,
        /// The header that holds the time, in seconds since 1970.
        #[serde(default)]
        timestamp_header: Option<String>,
        /// The secret.
        #[serde(default, deserialize_with = "secret")]
        secret: Option<SecretString>,
    },
    /// Twilio's: HMAC-SHA1 over the URL and the sorted fields of the form.
    Twilio {
        /// The account's primary auth token, where `api_key` is that of an API key.
        #[serde(default, deserialize_with = "secret")]
        secret: Option<SecretString>,
    },
    /// Vonage's `sig` with HMAC-SHA256 over the sorted parameters.
    Vonage {
        /// The signature secret.
        #[serde(default, deserialize_with = "secret")]
        secret: Option<SecretString>,
    },
}

impl SignatureConfig {
    /// The secret of a scheme that has one.
    pub fn set_secret(&mut self, value: Option<SecretString>) {
        match self {
            Self::None {} => {}
            Self::Header { secret, .. }
            | Self::Hmac { secret, .. }
            | Self::Twilio { secret }
            | Self::Vonage { secret } => *secret = value,
        }
    }
}

impl Default for SignatureConfig {
    fn default() -> Self {
        Self::None {}
    }
}

/// How a signature is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum MacEncoding {
    #[default]
    Hex,
    Base64,
}

/// A checked scheme with its secret.
pub(super) enum Signature {
    None,
    Header { name: String, value: SecretString },
    Hmac { header: String, encoding: MacEncoding, timestamp_header: Option<String>, secret: SecretString },
    Twilio(SecretString),
    Vonage(SecretString),
}

impl Signature {
    pub(super) fn new(config: &SignatureConfig, api_key: Option<&str>) -> Result<Self, GenericError> {
        let keyed = |secret: &Option<SecretString>| {
            let own = secret.as_ref().map(ExposeSecret::expose_secret);
            own.or(api_key)
                .map(SecretString::from)
                .ok_or_else(|| GenericError::key("signature.secret", "is missing, and there is no `api_key`"))
        };
        Ok(match config {
            SignatureConfig::None {} => Self::None,
            SignatureConfig::Header { name, prefix, secret } => Self::Header {
                name: name.to_ascii_lowercase(),
                value: format!("{prefix}{}", keyed(secret)?.expose_secret()).into(),
            },
            SignatureConfig::Hmac { header, encoding, timestamp_header, secret } => Self::Hmac {
                header: header.to_ascii_lowercase(),
                encoding: *encoding,
                timestamp_header: timestamp_header.as_ref().map(|name| name.to_ascii_lowercase()),
                secret: keyed(secret)?,
            },
            SignatureConfig::Twilio { secret } => Self::Twilio(keyed(secret)?),
            SignatureConfig::Vonage { secret } => Self::Vonage(keyed(secret)?),
        })
    }

    /// # Errors
    /// [`PushError::Forged`].
    pub(super) fn check(&self, push: &Push<'_>, parameters: &Parameters) -> Result<(), PushError> {
        match self {
            Self::None => Ok(()),
            Self::Header { name, value } => {
                let given = (push.header)(name).ok_or(PushError::Forged("missing"))?;
                same(given.as_bytes(), value.expose_secret().as_bytes())
            }
            Self::Hmac { header, encoding, timestamp_header, secret } => {
                let given = (push.header)(header).ok_or(PushError::Forged("missing"))?;
                let time = match timestamp_header {
                    None => "",
                    Some(name) => {
                        let time = (push.header)(name).ok_or(PushError::Forged("without its time"))?;
                        fresh(time, push.now)?;
                        time
                    }
                };
                let mac = hmac_sha256(secret, &[push.body, time.as_bytes()])?;
                match encoding {
                    MacEncoding::Hex => same(given.trim().to_ascii_lowercase().as_bytes(), hex(&mac).as_bytes()),
                    MacEncoding::Base64 => same(given.trim().as_bytes(), BASE64.encode(&mac).as_bytes()),
                }
            }
            Self::Twilio(secret) => {
                let given = (push.header)("x-twilio-signature").ok_or(PushError::Forged("missing"))?;
                let mut mac = Hmac::<Sha1>::new_from_slice(secret.expose_secret().as_bytes())
                    .map_err(|_| PushError::Forged("not to be checked"))?;
                mac.update(push.url.as_bytes());
                if push.method == "POST" {
                    let mut pairs = parameters.pairs.clone();
                    pairs.sort();
                    for (name, value) in &pairs {
                        mac.update(name.as_bytes());
                        mac.update(value.as_bytes());
                    }
                }
                same(given.trim().as_bytes(), BASE64.encode(mac.finalize().into_bytes()).as_bytes())
            }
            Self::Vonage(secret) => {
                let text = |name: &str| parameters.json.get(name).and_then(scalar_text);
                let given = text("sig").ok_or(PushError::Forged("missing"))?;
                fresh(&text("timestamp").ok_or(PushError::Forged("without its time"))?, push.now)?;
                let mut pairs: Vec<(String, String)> = parameters
                    .json
                    .as_object()
                    .into_iter()
                    .flatten()
                    .filter(|(name, _)| *name != "sig")
                    .filter_map(|(name, value)| Some((name.clone(), scalar_text(value)?)))
                    .collect();
                pairs.sort();
                // What would divide the pairs is replaced, so that no value can pass for another pair.
                let signed: String =
                    pairs.iter().map(|(name, value)| format!("&{name}={}", value.replace(['&', '='], "_"))).collect();
                let mac = hmac_sha256(secret, &[signed.as_bytes()])?;
                same(given.to_ascii_lowercase().as_bytes(), hex(&mac).as_bytes())
            }
        }
    }
}

fn hmac_sha256(secret: &SecretString, parts: &[&[u8]]) -> Result<Vec<u8>, PushError> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes())
        .map_err(|_| PushError::Forged("not to be checked"))?;
    for part in parts {
        mac.update(part);
    }
    Ok(mac.finalize().into_bytes().to_vec())
}

fn same(given: &[u8], expected: &[u8]) -> Result<(), PushError> {
    if bool::from(given.ct_eq(expected)) { Ok(()) } else { Err(PushError::Forged("wrong")) }
}

fn fresh(time: &str, now: Timestamp) -> Result<(), PushError> {
    let signed = time.trim().parse().ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    let limit = SignedDuration::try_from(AGE_LIMIT).unwrap_or(SignedDuration::MAX);
    match signed {
        Some(signed) if now.duration_since(signed).abs() <= limit => Ok(()),
        Some(_) => Err(PushError::Forged("too old")),
        None => Err(PushError::Forged("without a time that can be read")),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SecretString>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.filter(|text| !text.is_empty()).map(SecretString::from))
}
