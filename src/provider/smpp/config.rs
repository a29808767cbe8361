//! What an operator writes under `[provider.smpp]`, its defaults and limits.
//!
//! Owns the TOML shape and the check of its values, each refusal naming its key. The password is the one secret and is
//! never shown. Lengths are those of SMPP 3.4, section 5.2, but for the password: many centres give out longer ones.

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Deserializer};

use super::status::Verdict;

/// Longest `system_id`, in octets.
const SYSTEM_ID_OCTETS: usize = 15;
/// Longest password, in octets: 8 in the standard, more at many centres.
const PASSWORD_OCTETS: usize = 64;
/// Longest `system_type`, in octets.
const SYSTEM_TYPE_OCTETS: usize = 12;
/// Longest `service_type`, in octets.
const SERVICE_TYPE_OCTETS: usize = 5;
/// Longest sender id: of letters (3GPP TS 23.040, 9.1.2.5), and of digits.
const SENDER_CHARS: (usize, usize) = (11, 20);
/// Most answers that may be outstanding at once.
const WINDOW_LIMIT: usize = 100;
/// Longest time for a message with all of its parts; leases are made for it.
const RESPONSE_TIMEOUT_LIMIT: Duration = Duration::from_secs(60);
/// Shortest and longest interval of `enquire_link`: centres cut links that are silent for some minutes.
const ENQUIRE_LINK_LIMITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));
/// Shortest and longest validity: below a minute nothing arrives, beyond a month the relative form ends.
const VALIDITY_LIMITS: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(30 * 86_400));
/// Most parts of a text: a header numbers no more.
const PARTS_LIMIT: u32 = 255;
/// Most entries of `statuses`.
const STATUSES_LIMIT: usize = 200;

/// How a text that needs several segments travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LongText {
    /// A user data header with an 8-bit reference before each part (3GPP TS 23.040, 9.2.3.24.1).
    #[default]
    Udh8,
    /// A user data header with a 16-bit reference: one character less in each part.
    Udh16,
    /// The `sar_*` parameters; the centre makes the headers.
    Sar,
    /// One `message_payload`; the centre cuts it.
    Payload,
}

/// How a centre writes message ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdForm {
    /// Kept as they come. The database matches numbers of seven digits or more in either form.
    #[default]
    AsIs,
    /// Decimal digits.
    Decimal,
    /// Hexadecimal digits.
    Hex,
}

/// A message centre that speaks SMPP 3.4. Unknown keys are errors.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SmppConfig {
    /// Name or address of the centre.
    pub host: String,
    /// Its port. Default 2775.
    #[serde(default = "default_port")]
    pub port: u16,
    /// Whether the link is encrypted; the certificate is checked against `host`. Default false.
    #[serde(default)]
    pub tls: bool,
    /// A PEM file with the certificates to trust instead of the system's.
    #[serde(default)]
    pub tls_root: Option<String>,
    /// Account name, 1 to 15 characters.
    pub system_id: String,
    /// Password, up to 64 characters; also the systemd credential of the provider's name.
    #[serde(default, deserialize_with = "secret")]
    pub password: Option<SecretString>,
    /// Up to 12 characters; empty unless the centre asks for one.
    #[serde(default)]
    pub system_type: String,
    /// Up to 5 characters; empty unless the centre asks for one.
    #[serde(default)]
    pub service_type: String,
    /// Sender id: up to 11 letters, digits and spaces, or up to 20 digits.
    pub sender_id: String,
    /// Type of number of the sender. Default 5 for letters, 1 for digits.
    #[serde(default)]
    pub source_ton: Option<u8>,
    /// Numbering plan of the sender. Default 0 for letters, 1 for digits.
    #[serde(default)]
    pub source_npi: Option<u8>,
    /// Type of number of recipients. Default 1, international.
    #[serde(default = "one")]
    pub dest_ton: u8,
    /// Numbering plan of recipients. Default 1, E.164.
    #[serde(default = "one")]
    pub dest_npi: u8,
    /// Answers outstanding at once, 1 to 100. Default 10.
    #[serde(default = "default_window")]
    pub window: usize,
    /// Messages a second; no limit by default.
    #[serde(default)]
    pub rate: Option<f64>,
    /// How often the link is tried. 1 s to 5 min, default 30 s.
    #[serde(default = "default_enquire_link", with = "humantime_serde")]
    pub enquire_link: Duration,
    /// How long a message with all of its parts may take, from the call to the outcome. 1 s to 60 s, default 20 s.
    #[serde(default = "default_response_timeout", with = "humantime_serde")]
    pub response_timeout: Duration,
    /// How long texts travel. Default `udh8`.
    #[serde(default)]
    pub long_text: LongText,
    /// How long the centre tries to deliver, 1 min to 30 days. Default: as the centre has it.
    #[serde(default, with = "humantime_serde")]
    pub validity: Option<Duration>,
    /// `data_coding` of texts in the GSM alphabet. Default 0, the centre's own alphabet.
    #[serde(default)]
    pub data_coding: u8,
    /// Whether delivery receipts are asked for. Default true.
    #[serde(default = "yes")]
    pub receipts: bool,
    /// How ids are written where messages are taken. Default `as_is`.
    #[serde(default)]
    pub submit_ids: IdForm,
    /// How ids are written in receipts. Default `as_is`.
    #[serde(default)]
    pub receipt_ids: IdForm,
    /// Longest text, in segments, 1 to 255. Default: as `[sending]` has it.
    #[serde(default)]
    pub max_segments: Option<u32>,
    /// What the centre's own answers mean: `"0x00000400" = "no_credit"`. They go before the table of the standard.
    #[serde(default)]
    pub statuses: BTreeMap<String, Verdict>,
}

/// A value that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct SmppError {
    /// The key.
    pub key: &'static str,
    /// What is wrong, without secrets.
    pub problem: String,
}

impl SmppConfig {
    /// Checks every value; returns the centre's own statuses by number.
    ///
    /// # Errors
    /// [`SmppError`], naming the key that is wrong.
    pub fn check(&self) -> Result<BTreeMap<u32, Verdict>, SmppError> {
        let text = |key, value: &str, least: usize, most: usize| match value.len() {
            length if (least..=most).contains(&length) && value.chars().all(|c| c.is_ascii_graphic() || c == ' ') => {
                Ok(())
            }
            _ => Err(wrong(key, format!("write {least} to {most} plain characters"))),
        };
        text("host", &self.host, 1, 253)?;
        text("system_id", &self.system_id, 1, SYSTEM_ID_OCTETS)?;
        text("password", self.password(), 0, PASSWORD_OCTETS)?;
        text("system_type", &self.system_type, 0, SYSTEM_TYPE_OCTETS)?;
        text("service_type", &self.service_type, 0, SERVICE_TYPE_OCTETS)?;
        text("sender_id", &self.sender_id, 1, if self.sender_is_number() { SENDER_CHARS.1 } else { SENDER_CHARS.0 })?;
        between("port", u32::from(self.port), 1, u32::from(u16::MAX))?;
        between("window", self.window, 1, WINDOW_LIMIT)?;
        between("response_timeout", self.response_timeout, Duration::from_secs(1), RESPONSE_TIMEOUT_LIMIT)?;
        between("enquire_link", self.enquire_link, ENQUIRE_LINK_LIMITS.0, ENQUIRE_LINK_LIMITS.1)?;
        if let Some(validity) = self.validity {
            between("validity", validity, VALIDITY_LIMITS.0, VALIDITY_LIMITS.1)?;
        }
        if let Some(rate) = self.rate {
            between("rate", rate, 0.001, 100_000.0)?;
        }
        between("max_segments", self.max_segments.unwrap_or(1), 1, PARTS_LIMIT)?;
        if self.tls_root.is_some() && !self.tls {
            return Err(wrong("tls_root", "it has no effect without tls = true"));
        }
        between("statuses", self.statuses.len(), 0, STATUSES_LIMIT)?;
        let own = |(code, verdict): (&String, &Verdict)| {
            let digits = code.strip_prefix("0x").or_else(|| code.strip_prefix("0X"));
            let number = digits.map_or_else(|| code.parse().ok(), |hex| u32::from_str_radix(hex, 16).ok());
            match number {
                Some(0) | None => Err(wrong("statuses", "write a status above 0 as \"0x00000400\" or \"1024\"")),
                Some(number) => Ok((number, *verdict)),
            }
        };
        self.statuses.iter().map(own).collect()
    }

    /// The password, empty when there is none.
    pub(super) fn password(&self) -> &str {
        self.password.as_ref().map_or("", |password| password.expose_secret())
    }

    /// Type of number and numbering plan of the sender.
    pub(super) fn source_kind(&self) -> (u8, u8) {
        let (ton, npi) = if self.sender_is_number() { (1, 1) } else { (5, 0) };
        (self.source_ton.unwrap_or(ton), self.source_npi.unwrap_or(npi))
    }

    /// Whether it describes the same account in the same way: the link of the one can serve the other.
    pub(super) fn same(&self, other: &Self) -> bool {
        // The debug form holds every value but the password.
        format!("{self:?}") == format!("{other:?}") && self.password() == other.password()
    }

    fn sender_is_number(&self) -> bool {
        self.sender_id.bytes().all(|octet| octet.is_ascii_digit())
    }
}

fn wrong(key: &'static str, problem: impl Into<String>) -> SmppError {
    SmppError { key, problem: problem.into() }
}

fn between<T: PartialOrd + std::fmt::Debug>(key: &'static str, value: T, least: T, most: T) -> Result<(), SmppError> {
    if value >= least && value <= most {
        Ok(())
    } else {
        Err(wrong(key, format!("{value:?} is not between {least:?} and {most:?}")))
    }
}

fn default_port() -> u16 {
    2775
}

fn one() -> u8 {
    1
}

fn yes() -> bool {
    true
}

fn default_window() -> usize {
    10
}

fn default_enquire_link() -> Duration {
    Duration::from_secs(30)
}

fn default_response_timeout() -> Duration {
    Duration::from_secs(20)
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SecretString>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.filter(|text| !text.is_empty()).map(SecretString::from))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    const LEAST: &str = "host = \"smsc.example\"\nsystem_id = \"ecar\"\nsender_id = \"ECAR\"\npassword = \"s3cret\"\n";

    fn read(more: &str) -> SmppConfig {
        toml::from_str(&format!("{LEAST}{more}")).unwrap()
    }

    #[test]
    fn three_keys_suffice_and_the_rest_has_its_default() {
        let config = read("");
        assert!(config.check().unwrap().is_empty());
        assert_eq!((config.port, config.window, config.data_coding), (2775, 10, 0));
        assert_eq!((config.enquire_link.as_secs(), config.response_timeout.as_secs()), (30, 20));
        assert_eq!((config.long_text, config.submit_ids), (LongText::Udh8, IdForm::AsIs));
        assert_eq!(config.source_kind(), (5, 0));
        assert_eq!((config.dest_ton, config.dest_npi, config.receipts), (1, 1, true));
    }

    #[test]
    fn a_sender_of_digits_is_a_number_unless_the_operator_says_otherwise() {
        let number = SmppConfig { sender_id: "21620000001".into(), ..read("") };
        assert_eq!(number.source_kind(), (1, 1));
        assert_eq!(SmppConfig { source_ton: Some(3), ..number }.source_kind(), (3, 1));
    }

    #[test]
    fn every_value_out_of_its_range_is_named_by_its_key() {
        for (more, key) in [
            ("window = 0", "window"),
            ("window = 101", "window"),
            ("response_timeout = \"61s\"", "response_timeout"),
            ("enquire_link = \"0s\"", "enquire_link"),
            ("validity = \"5s\"", "validity"),
            ("rate = 0.0", "rate"),
            ("max_segments = 0", "max_segments"),
            ("max_segments = 256", "max_segments"),
            ("port = 0", "port"),
            ("system_type = \"longer than twelve\"", "system_type"),
            ("service_type = \"sixsix\"", "service_type"),
            ("tls_root = \"/ca.pem\"", "tls_root"),
            ("statuses = { \"0\" = \"rejected\" }", "statuses"),
            ("statuses = { \"0xZZ\" = \"rejected\" }", "statuses"),
        ] {
            assert_eq!(read(more).check().unwrap_err().key, key, "{more}");
        }
        let long = SmppConfig { sender_id: "TWELVELETTER".into(), ..read("") };
        assert_eq!(long.check().unwrap_err().key, "sender_id");
        let foreign = SmppConfig { sender_id: "garagé".into(), ..read("") };
        assert_eq!(foreign.check().unwrap_err().key, "sender_id");
        let long = SmppConfig { password: Some("x".repeat(65).into()), ..read("") };
        assert!(!long.check().unwrap_err().to_string().contains("xxx"));
        for bad in ["windows = 1", "long_text = \"udh\"", "submit_ids = \"octal\"", "statuses = { \"1\" = \"fine\" }"] {
            assert!(toml::from_str::<SmppConfig>(&format!("{LEAST}{bad}")).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_password_is_never_shown_but_counts() {
        let (one, other) = (read(""), SmppConfig { password: Some("an0ther".to_owned().into()), ..read("") });
        assert!(!format!("{one:?}").contains("s3cret"));
        assert!(one.same(&read("")) && !one.same(&other) && !one.same(&read("window = 11")));
    }

    #[test]
    fn statuses_of_the_centre_are_read_in_either_form() {
        let own = read("statuses = { \"0x400\" = \"no_credit\", \"1025\" = \"throttled\" }").check().unwrap();
        assert_eq!(own, BTreeMap::from([(0x400, Verdict::NoCredit), (0x401, Verdict::Throttled)]));
    }
}
