//! The sections of the configuration file, their defaults and their units. What they mean together is decided in the
//! parent module.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use jiff::tz::TimeZone;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};

use super::error::{ConfigError, wrong};
use crate::message::phone::Countries;
use crate::provider::generic::GenericConfig;
use crate::provider::log::LogConfig as LogProviderConfig;
use crate::provider::route::{Order, RouteConfig};
use crate::provider::smpp::SmppConfig;
use crate::provider::vendor::VendorConfig;

/// Where the control socket is by default.
pub const DEFAULT_SOCKET: &str = "/run/ecar-sms/control.sock";

/// Everything an operator decides.
#[derive(Debug, Clone)]
pub struct Config {
    /// The database.
    pub database: DatabaseConfig,
    /// The control socket.
    pub control: ControlConfig,
    /// Logs.
    pub log: LogConfig,
    /// The garage.
    pub garage: GarageConfig,
    /// How messages are sent.
    pub sending: SendingConfig,
    /// Where providers push receipts and replies.
    pub receipts: ReceiptsConfig,
    /// Providers in the order in which they are tried; none: messages stay queued.
    pub providers: Vec<ProviderConfig>,
    /// What an operator should know: things that were left out and so have no effect.
    pub warnings: Vec<String>,
}

/// `[database]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DatabaseConfig {
    /// Connection string; also `DATABASE_URL`, or the credential `database_url`.
    #[serde(deserialize_with = "secret")]
    pub url: Option<SecretString>,
    /// A direct connection for LISTEN, when `url` goes through a pooler. Default: `url`.
    #[serde(deserialize_with = "secret")]
    pub direct_url: Option<SecretString>,
    /// `false`: no direct connection at all; the outbox is polled. Default: true.
    pub listen: Option<bool>,
    /// Connections in the pool, 2 to 50. Default 4.
    pub pool_size: Option<usize>,
}

/// `[control]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ControlConfig {
    /// Path of the control socket; also `ECAR_SMS_SOCKET`.
    pub socket: PathBuf,
    /// Group that may use it, when it exists.
    pub group: String,
}

/// Secrets count, although they are never shown.
impl PartialEq for DatabaseConfig {
    fn eq(&self, other: &Self) -> bool {
        let shown = |secret: &Option<SecretString>| secret.as_ref().map(|secret| secret.expose_secret().to_owned());
        shown(&self.url) == shown(&other.url)
            && shown(&self.direct_url) == shown(&other.direct_url)
            && (self.listen, self.pool_size) == (other.listen, other.pool_size)
    }
}

impl Default for ControlConfig {
    fn default() -> Self {
        Self { socket: PathBuf::from(DEFAULT_SOCKET), group: "ecar-sms".to_owned() }
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Pretty,
    /// One JSON object a line.
    Json,
}

/// `[log]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// `error`, `warn`, `info`, `debug` or `trace`, or directives by module.
    pub level: String,
    /// `pretty` or `json`.
    pub format: LogFormat,
    /// A directory for daily files beside standard error.
    pub directory: Option<PathBuf>,
    /// How many daily files are kept, from 1.
    pub keep_files: usize,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Pretty, directory: None, keep_files: 14 }
    }
}

/// `[garage]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GarageConfig {
    /// Zone of dates and times in texts.
    #[serde(deserialize_with = "time_zone")]
    pub time_zone: TimeZone,
    /// Countries that may be texted, as ISO 3166 codes.
    #[serde(deserialize_with = "countries")]
    pub countries: Countries,
}

impl Default for GarageConfig {
    fn default() -> Self {
        // The zone is compiled in; UTC stands in should it ever vanish from the tz database.
        Self { time_zone: TimeZone::get("Africa/Tunis").unwrap_or(TimeZone::UTC), countries: Countries::default() }
    }
}

/// `[sending]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SendingConfig {
    /// How often the outbox is looked at when nothing wakes the daemon. 100 ms to 1 min.
    #[serde(with = "humantime_serde")]
    pub poll_interval: Duration,
    /// Pause after the first failure; it doubles with each.
    #[serde(with = "humantime_serde")]
    pub retry_first: Duration,
    /// Longest pause between attempts.
    #[serde(with = "humantime_serde")]
    pub retry_longest: Duration,
    /// Failures after which a message is given up.
    pub max_failures: u32,
    /// Longest text, in segments.
    pub max_segments: u32,
    /// Where the journal stands; also `STATE_DIRECTORY`, which systemd sets. Without one, what was being sent when the daemon was
    /// killed is in doubt.
    pub state_directory: Option<PathBuf>,
    /// Whom a copy of the database may text, as E.164 once read; at most 100.
    pub test_recipients: Vec<String>,
}

impl Default for SendingConfig {
    fn default() -> Self {
        Self {
            poll_interval: Duration::from_secs(1),
            retry_first: Duration::from_secs(2),
            retry_longest: Duration::from_secs(600),
            max_failures: 10,
            max_segments: 10,
            state_directory: None,
            test_recipients: Vec::new(),
        }
    }
}

/// `[receipts]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReceiptsConfig {
    /// Address and port that receipts and replies are taken at; none: nothing is taken. A reverse proxy with TLS belongs before it.
    pub listen: Option<SocketAddr>,
    /// How providers reach it, such as `https://sms.garage.example`; without a slash at its end.
    pub public_url: Option<String>,
}

/// One provider.
#[derive(Debug, Clone)]
pub struct ProviderConfig {
    /// Its name in logs, metrics and records.
    pub name: String,
    /// What it is.
    pub adapter: AdapterConfig,
    /// Which messages it takes.
    pub route: RouteConfig,
}

/// The kinds of provider.
#[derive(Debug, Clone)]
pub enum AdapterConfig {
    /// Any HTTP gateway.
    Generic(Box<GenericConfig>),
    /// Writes to the log instead of sending.
    Log(LogProviderConfig),
    /// A message centre, over SMPP 3.4.
    Smpp(Box<SmppConfig>),
}

/// The file as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    pub(super) database: DatabaseConfig,
    pub(super) control: ControlConfig,
    pub(super) log: LogConfig,
    pub(super) garage: GarageConfig,
    pub(super) sending: SendingConfig,
    pub(super) receipts: ReceiptsConfig,
    pub(super) routing: RoutingSection,
    pub(super) gateway: GatewaySection,
    pub(super) provider: Vec<ProviderSection>,
}

/// `[routing]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RoutingSection {
    pub(super) by: Order,
}

/// `[gateway]`: the garage application's own protocol, for which four environment variables suffice.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct GatewaySection {
    pub(super) url: Option<String>,
    #[serde(deserialize_with = "secret")]
    pub(super) api_key: Option<SecretString>,
    pub(super) sender_id: Option<String>,
    pub(super) concurrency: Option<usize>,
    pub(super) rate: Option<f64>,
}

/// `[[provider]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProviderSection {
    pub(super) name: String,
    pub(super) generic: Option<GenericConfig>,
    pub(super) log: Option<LogProviderConfig>,
    pub(super) smpp: Option<SmppConfig>,
    pub(super) twilio: Option<VendorConfig>,
    pub(super) vonage: Option<VendorConfig>,
    pub(super) infobip: Option<VendorConfig>,
    pub(super) orange: Option<VendorConfig>,
    pub(super) l2t: Option<VendorConfig>,
    pub(super) winsms: Option<VendorConfig>,
    pub(super) capcom6: Option<VendorConfig>,
    pub(super) route: Option<RouteConfig>,
}

impl ProviderSection {
    /// The section of a known provider, with its name; how many sections there are at all.
    pub(super) fn vendor(&mut self) -> (Option<(&'static str, VendorConfig)>, usize) {
        let mut found: Vec<(&'static str, VendorConfig)> = [
            ("twilio", self.twilio.take()),
            ("vonage", self.vonage.take()),
            ("infobip", self.infobip.take()),
            ("orange", self.orange.take()),
            ("l2t", self.l2t.take()),
            ("winsms", self.winsms.take()),
            ("capcom6", self.capcom6.take()),
        ]
        .into_iter()
        .filter_map(|(name, config)| Some((name, config?)))
        .collect();
        let own = [self.generic.is_some(), self.log.is_some(), self.smpp.is_some()];
        let sections = found.len() + own.into_iter().filter(|written| *written).count();
        (found.pop(), sections)
    }
}

impl Config {
    /// The connection string.
    ///
    /// # Errors
    /// When there is none.
    pub fn database_url(&self) -> Result<&str, ConfigError> {
        self.database.url.as_ref().map(ExposeSecret::expose_secret).ok_or_else(|| {
            wrong("DATABASE_URL", "it is not set; write postgresql://user@host/database, here, in the configuration ([database] url), or in the credential database_url")
        })
    }
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SecretString>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.filter(|text| !text.trim().is_empty()).map(SecretString::from))
}

fn time_zone<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TimeZone, D::Error> {
    let name = String::deserialize(deserializer)?;
    TimeZone::get(&name)
        .map_err(|_| serde::de::Error::custom(format!("unknown time zone \"{name}\"; write for example Africa/Tunis")))
}

fn countries<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Countries, D::Error> {
    let codes = Vec::<String>::deserialize(deserializer)?;
    Countries::from_codes(codes.iter().map(String::as_str)).map_err(serde::de::Error::custom)
}
