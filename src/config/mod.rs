//! The only reader of files and environment.
//!
//! Three sources, the later overriding the earlier: the TOML file, systemd's credentials, the environment. Everything has a
//! default but the database. A mistake is refused with the file and the line, and never repeats the line itself: it may hold a
//! secret. What staff decide (settings, templates, opt-outs) lives in the database and not here.

mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod sections;

use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use crate::crash;
use crate::message::phone::{self, Countries};
use crate::provider::generic::GenericConfig;
use crate::provider::route::{Order, RouteConfig};
use crate::provider::vendor::{VENDORS, Vendor};
pub use error::ConfigError;
use error::wrong;
pub use sections::{
    AdapterConfig, Config, ControlConfig, DEFAULT_SOCKET, DatabaseConfig, GarageConfig, LogConfig, LogFormat,
    ProviderConfig, ReceiptsConfig, SendingConfig,
};
use sections::{File, GatewaySection, ProviderSection};

/// Where the file is looked for when nobody names one.
pub const DEFAULT_PATH: &str = "/etc/ecar-sms/config.toml";

/// Largest configuration file, in bytes. A real one has a few kilobytes.
const FILE_LIMIT_BYTES: u64 = 1024 * 1024;

/// Most numbers that a copy may text: a team's phones, not a garage's customers.
const TEST_RECIPIENTS_LIMIT: usize = 100;

/// Where values come from besides the file. The process environment in production, a map in tests.
pub struct Surroundings<'a> {
    /// Looks an environment variable up. An empty one counts as not set.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
}

impl Surroundings<'_> {
    fn get(&self, name: &str) -> Option<String> {
        (self.variable)(name).filter(|value| !value.trim().is_empty())
    }

    /// A secret from systemd's `LoadCredential=`.
    fn credential(&self, name: &str) -> Result<Option<SecretString>, ConfigError> {
        let Some(directory) = self.get("CREDENTIALS_DIRECTORY") else { return Ok(None) };
        let path = Path::new(&directory).join(name);
        match std::fs::read_to_string(&path) {
            Ok(text) if text.trim().is_empty() => Ok(None),
            Ok(text) => Ok(Some(text.trim().to_owned().into())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(ConfigError::File { path: path.display().to_string(), problem: error.to_string() }),
        }
    }
}

/// Reads the configuration from `path` (or where `ECAR_SMS_CONFIG` points, or the default path if it exists), systemd's
/// credentials and the environment of this process.
///
/// # Errors
/// [`ConfigError`].
pub fn load(path: Option<&Path>) -> Result<Config, ConfigError> {
    load_from(path, &Surroundings { variable: &process_variable })
}

/// The environment of this process.
#[expect(clippy::disallowed_methods, reason = "this module is the one reader of the environment")]
pub fn process_variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Where the control socket is, for clients: they may not be allowed to read the configuration, and need no more of it.
pub fn socket_path(named: Option<&Path>, config: Option<&Path>) -> PathBuf {
    if let Some(path) = named {
        return path.to_owned();
    }
    let variable = Surroundings { variable: &process_variable }.get("ECAR_SMS_SOCKET");
    variable
        .map(PathBuf::from)
        .or_else(|| load(config).ok().map(|config| config.control.socket))
        .unwrap_or_else(|| PathBuf::from(DEFAULT_SOCKET))
}

/// The same with other surroundings.
///
/// # Errors
/// [`ConfigError`].
pub fn load_from(path: Option<&Path>, surroundings: &Surroundings<'_>) -> Result<Config, ConfigError> {
    let file = match named(path, surroundings) {
        Some(path) => read_file(&path)?,
        None if Path::new(DEFAULT_PATH).exists() => read_file(Path::new(DEFAULT_PATH))?,
        None => File::default(),
    };
    assemble(file, surroundings)
}

fn named(path: Option<&Path>, surroundings: &Surroundings<'_>) -> Option<PathBuf> {
    path.map(Path::to_path_buf).or_else(|| surroundings.get("ECAR_SMS_CONFIG").map(PathBuf::from))
}

/// Which file [`load`] reads, whether it is there or not.
pub fn file_path(path: Option<&Path>) -> PathBuf {
    named(path, &Surroundings { variable: &process_variable }).unwrap_or_else(|| PathBuf::from(DEFAULT_PATH))
}

fn read_file(path: &Path) -> Result<File, ConfigError> {
    let shown = path.display().to_string();
    let bad = |problem: String| ConfigError::File { path: shown.clone(), problem };
    let size = std::fs::metadata(path).map_err(|error| bad(error.to_string()))?.len();
    if size > FILE_LIMIT_BYTES {
        return Err(bad(format!("{size} bytes; at most {FILE_LIMIT_BYTES} are read")));
    }
    parse_file(&shown, &std::fs::read_to_string(path).map_err(|error| bad(error.to_string()))?)
}

fn parse_file(path: &str, text: &str) -> Result<File, ConfigError> {
    toml::from_str(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start.min(text.len()));
        let line = text.as_bytes()[..offset].iter().filter(|byte| **byte == b'\n').count() + 1;
        ConfigError::Line { path: path.to_owned(), line, problem: without_value(error.message()) }
    })
}

/// What the parser says, without the value that it quotes: it may be a secret in the wrong place.
fn without_value(message: &str) -> String {
    let quotes = ["invalid type: ", "invalid value: ", "unknown variant "].iter().any(|kind| message.starts_with(kind));
    match message.rsplit_once(", expected ") {
        Some((found, expected)) if quotes => {
            let found = found.split(['`', '"']).next().unwrap_or_default().trim_end();
            format!("{found}, expected {expected}")
        }
        _ => message.to_owned(),
    }
}

fn assemble(file: File, surroundings: &Surroundings<'_>) -> Result<Config, ConfigError> {
    let File { mut database, mut control, log, garage, mut sending, mut receipts, routing, gateway, provider } = file;
    if let Some(url) = surroundings.credential("database_url")? {
        database.url = Some(url);
    }
    if let Some(url) = surroundings.get("DATABASE_URL") {
        database.url = Some(url.into());
    }
    if let Some(socket) = surroundings.get("ECAR_SMS_SOCKET") {
        control.socket = PathBuf::from(socket);
    }
    if let Some(point) = surroundings.get("ECAR_SMS_CRASH") {
        crash::arm(&point);
    }
    // systemd separates several directories by colons; the unit has one.
    if let Some(directory) =
        surroundings.get("STATE_DIRECTORY").and_then(|text| text.split(':').next().map(PathBuf::from))
    {
        sending.state_directory = Some(directory);
    }
    between("database.pool_size", database.pool_size.unwrap_or(4), 2, 50)?;
    between("sending.poll_interval", sending.poll_interval, Duration::from_millis(100), Duration::from_secs(60))?;
    between("sending.retry_first", sending.retry_first, Duration::from_millis(100), Duration::from_secs(3600))?;
    between("sending.retry_longest", sending.retry_longest, sending.retry_first, Duration::from_secs(86_400))?;
    between("sending.max_failures", sending.max_failures, 1, 1000)?;
    between("sending.max_segments", sending.max_segments, 1, 20)?;
    sending.test_recipients = test_recipients(&sending.test_recipients, &garage.countries)?;
    between("log.keep_files", log.keep_files, 1, 3650)?;

    if let Some(url) = &mut receipts.public_url {
        *url = public_url(url)?;
    }

    let mut warnings = Vec::new();
    let mut providers = Vec::new();
    if let Some(gateway) = garage_gateway(gateway, surroundings, provider.is_empty(), &mut warnings)? {
        providers.push(ProviderConfig {
            name: "gateway".to_owned(),
            adapter: AdapterConfig::Generic(Box::new(gateway)),
            route: RouteConfig::default(),
        });
    }
    for section in provider {
        providers.push(provider_of(section, &receipts, surroundings)?);
    }
    if routing.by == Order::Cost {
        // Stable: those of one price, and those without, keep their order.
        let price = |provider: &ProviderConfig| provider.route.price.unwrap_or(f64::INFINITY);
        providers.sort_by(|one, other| price(one).total_cmp(&price(other)));
    }
    let mut names = HashSet::new();
    for provider in &providers {
        if let AdapterConfig::Generic(generic) = &provider.adapter
            && generic.push_token.is_some()
            && receipts.listen.is_none()
        {
            warnings.push(format!(
                "provider {}: push_token has no effect without [receipts] listen: no receipt and no reply is taken",
                provider.name
            ));
        }
        if !names.insert(provider.name.as_str()) {
            return Err(wrong("provider.name", format!("two providers are named \"{}\"", provider.name)));
        }
    }
    Ok(Config { database, control, log, garage, sending, receipts, providers, warnings })
}

/// The address by which providers reach us, without a slash at its end.
fn public_url(written: &str) -> Result<String, ConfigError> {
    let key = "receipts.public_url";
    let url = url::Url::parse(written.trim()).map_err(|error| wrong(key, format!("no URL: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") || url.query().is_some() || url.fragment().is_some() {
        return Err(wrong(key, "write it as https://sms.garage.example, or with a path"));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// The numbers that a copy of the database may text, in E.164.
fn test_recipients(written: &[String], countries: &Countries) -> Result<Vec<String>, ConfigError> {
    let key = "sending.test_recipients";
    if written.len() > TEST_RECIPIENTS_LIMIT {
        return Err(wrong(key, format!("{} numbers; at most {TEST_RECIPIENTS_LIMIT} are taken", written.len())));
    }
    let read = |(index, text): (usize, &String)| match phone::normalise(text, countries) {
        Ok(normalised) => Ok(normalised.number.as_str().to_owned()),
        Err(refusal) => Err(wrong(key, format!("number {} of the list: {refusal}", index + 1))),
    };
    written.iter().enumerate().map(read).collect()
}

/// The gateway of four environment variables, when there is a key.
fn garage_gateway(
    section: GatewaySection,
    surroundings: &Surroundings<'_>,
    alone: bool,
    warnings: &mut Vec<String>,
) -> Result<Option<GenericConfig>, ConfigError> {
    let key = surroundings
        .get("SMS_API_KEY")
        .map(SecretString::from)
        .or(surroundings.credential("sms_api_key")?)
        .or(section.api_key);
    let url = surroundings.get("SMS_GATEWAY_URL").or(section.url);
    let sender_id = surroundings.get("SMS_SENDER_ID").or(section.sender_id).unwrap_or_else(|| "ECAR".to_owned());
    let concurrency = parsed(surroundings, "SMS_GATEWAY_CONCURRENCY")?.or(section.concurrency).unwrap_or(32);
    let rate: Option<f64> = parsed(surroundings, "SMS_GATEWAY_RATE")?.or(section.rate);
    between("SMS_GATEWAY_CONCURRENCY", concurrency, 1, 1024)?;
    if let Some(rate) = rate {
        between("SMS_GATEWAY_RATE", rate, 0.001, 100_000.0)?;
    }
    if sender_id.len() > 15 || !sender_id.chars().all(|c| c.is_ascii_graphic() || c == ' ') {
        return Err(wrong("SMS_SENDER_ID", "a sender id has 1 to 11 letters, digits or spaces, or up to 15 digits"));
    }
    match (url, key) {
        (Some(url), Some(key)) => Ok(Some(GenericConfig::garage_default(&url, key, sender_id, concurrency, rate))),
        (url, key) => {
            if alone {
                let missing = match (&url, &key) {
                    (None, None) => "SMS_GATEWAY_URL and SMS_API_KEY are not set",
                    (None, Some(_)) => "SMS_GATEWAY_URL is not set",
                    (Some(_), _) => "SMS_API_KEY is not set",
                };
                warnings.push(format!(
                    "{missing} and no other provider is configured: messages stay queued, nothing is sent"
                ));
            }
            Ok(None)
        }
    }
}

fn provider_of(
    mut section: ProviderSection,
    receipts: &ReceiptsConfig,
    surroundings: &Surroundings<'_>,
) -> Result<ProviderConfig, ConfigError> {
    let (vendor, sections) = section.vendor();
    let ProviderSection { name, generic, log, smpp, route, .. } = section;
    let route = route.unwrap_or_default();
    if let Some((key, problem)) = route.problem() {
        return Err(wrong(&format!("provider {name}: route.{key}"), problem));
    }
    if name.is_empty() || name.len() > 40 || !name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
        return Err(wrong("provider.name", "a name has 1 to 40 letters, digits, dots, dashes or underscores"));
    }
    if sections != 1 {
        let known = VENDORS.iter().map(|vendor| vendor.name).collect::<Vec<_>>().join("], [provider.");
        let problem =
            format!("write exactly one of [provider.generic], [provider.log], [provider.smpp], [provider.{known}]");
        return Err(wrong(&format!("provider {name}"), problem));
    }
    let key = surroundings.credential(&name)?;
    if let Some(mut smpp) = smpp {
        smpp.password = key.or(smpp.password);
        smpp.check().map_err(|error| wrong(&format!("provider {name}: {}", error.key), error.problem))?;
        return Ok(ProviderConfig { name, adapter: AdapterConfig::Smpp(Box::new(smpp)), route });
    }
    let generic = match (generic, vendor) {
        (Some(mut generic), _) => {
            generic.api_key = key.or(generic.api_key);
            Some(generic)
        }
        (None, Some((known, mut written))) => {
            written.api_key = key.or(written.api_key);
            let vendor = Vendor::named(known)
                .ok_or_else(|| wrong(&format!("provider {name}"), format!("{known} is not known")))?;
            let described = vendor.configure(written);
            Some(described.map_err(|error| wrong(&format!("provider {name}: {}", error.key), error.problem))?)
        }
        (None, None) => None,
    };
    let adapter = match (generic, log) {
        (Some(mut generic), _) => {
            between(&format!("provider {name}: concurrency"), generic.concurrency, 1, 1024)?;
            if let Some(rate) = generic.rate {
                between(&format!("provider {name}: rate"), rate, 0.001, 100_000.0)?;
            }
            if let (Some(url), Some(token)) = (&receipts.public_url, &generic.push_token) {
                generic.push_url = Some(format!("{url}/receipts/{name}/{}", token.expose_secret()).into());
            }
            AdapterConfig::Generic(Box::new(generic))
        }
        (None, log) => AdapterConfig::Log(log.unwrap_or_default()),
    };
    Ok(ProviderConfig { name, adapter, route })
}

fn parsed<T: std::str::FromStr>(surroundings: &Surroundings<'_>, name: &str) -> Result<Option<T>, ConfigError> {
    surroundings.get(name).map(|text| text.trim().parse().map_err(|_| wrong(name, "this is not a number"))).transpose()
}

fn between<T: PartialOrd + fmt::Debug>(name: &str, value: T, least: T, most: T) -> Result<(), ConfigError> {
    if value >= least && value <= most {
        Ok(())
    } else {
        Err(wrong(name, format!("{value:?} is not between {least:?} and {most:?}")))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn with(variables: &[(&str, &str)], file: &str) -> Result<Config, ConfigError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.toml");
        std::fs::write(&path, file).unwrap();
        let variable =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        load_from(Some(&path), &Surroundings { variable: &variable })
    }

    #[test]
    fn a_message_centre_has_its_password_from_the_credential_of_its_name_and_names_what_is_wrong() {
        let credentials = tempfile::tempdir().unwrap();
        std::fs::write(credentials.path().join("centre"), "from-the-credential\n").unwrap();
        let directory = credentials.path().to_str().unwrap();
        let file = |more: &str| {
            format!(
                "[[provider]]\nname = \"centre\"\n[provider.smpp]\nhost = \"h\"\nsystem_id = \"s\"\nsender_id = \"ECAR\"\n{more}"
            )
        };
        let variables = [("DATABASE_URL", "postgresql:///garage"), ("CREDENTIALS_DIRECTORY", directory)];
        let config = with(&variables, &file("password = \"of-the-file\"")).unwrap();
        let AdapterConfig::Smpp(smpp) = &config.providers[0].adapter else { panic!("{:?}", config.providers) };
        assert_eq!(smpp.password.as_ref().unwrap().expose_secret(), "from-the-credential");
        assert!(config.warnings.is_empty());
        let error = with(&variables, &file("window = 0")).unwrap_err().to_string();
        assert!(error.contains("provider centre: window"), "{error}");
        let error = with(&variables, &file("[provider.log]")).unwrap_err().to_string();
        assert!(error.contains("exactly one of"), "{error}");
    }

    #[test]
    fn four_variables_suffice() {
        let config = with(
            &[
                ("DATABASE_URL", "postgresql:///garage"),
                ("SMS_API_KEY", "k"),
                ("SMS_GATEWAY_URL", "http://127.0.0.1:1/v1/messages"),
            ],
            "",
        )
        .unwrap();
        assert_eq!(config.providers.len(), 1);
        assert_eq!(config.providers[0].name, "gateway");
        assert!(config.warnings.is_empty());
        assert_eq!(config.database_url().unwrap(), "postgresql:///garage");
    }

    #[test]
    fn without_a_key_there_is_no_provider_and_a_warning() {
        let config = with(&[("SMS_GATEWAY_URL", "http://127.0.0.1:1/"), ("SMS_API_KEY", "  ")], "").unwrap();
        assert!(config.providers.is_empty());
        assert!(config.warnings[0].contains("SMS_API_KEY"), "{:?}", config.warnings);
    }

    #[test]
    fn a_push_token_that_nothing_listens_for_is_told() {
        let provider = "[[provider]]\nname = \"main\"\n[provider.infobip]\nbase_url = \"http://127.0.0.1:1\"\napi_key = \"k\"\npush_token = \"5f0c2b7e9a1d43868be1c7a24d90f3b6\"\n";
        let config = with(&[], provider).unwrap();
        assert!(config.warnings[0].contains("main: push_token"), "{:?}", config.warnings);
        let listening = format!("[receipts]\nlisten = \"127.0.0.1:8087\"\n{provider}");
        assert!(with(&[], &listening).unwrap().warnings.is_empty());
    }

    #[test]
    fn an_unknown_key_names_its_line_and_no_secret_is_repeated() {
        let error = with(&[], "[gateway]\nurl = \"http://x/\"\napi_kye = \"hunter2\"\n").err().unwrap();
        let shown = error.to_string();
        assert!(shown.contains("line 3") && shown.contains("api_kye"), "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
        let error = with(&[], "[database]\nurl = hunter2\n").err().unwrap().to_string();
        assert!(error.contains("line 2") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn the_environment_overrides_the_file() {
        let file = "[database]\nurl = \"postgresql:///one\"\n[control]\nsocket = \"/a\"\n[gateway]\nurl = \"http://one/\"\napi_key = \"a\"\n";
        let config = with(&[("DATABASE_URL", "postgresql:///two"), ("ECAR_SMS_SOCKET", "/b")], file).unwrap();
        assert_eq!(config.database_url().unwrap(), "postgresql:///two");
        assert_eq!(config.control.socket, Path::new("/b"));
        assert_eq!(config.providers.len(), 1);
    }

    #[test]
    fn secrets_come_from_the_credentials_directory() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("database_url"), "postgresql:///from_file\n").unwrap();
        std::fs::write(directory.path().join("sms_api_key"), "key\n").unwrap();
        let path = directory.path().display().to_string();
        let config = with(&[("CREDENTIALS_DIRECTORY", &path), ("SMS_GATEWAY_URL", "http://x/")], "").unwrap();
        assert_eq!(config.database_url().unwrap(), "postgresql:///from_file");
        assert_eq!(config.providers.len(), 1);
        assert!(!format!("{config:?}").contains("from_file"));
    }

    #[test]
    fn test_recipients_are_numbers_and_few() {
        let config = with(&[], "[sending]\ntest_recipients = [\"20 000 001\", \"+21620000002\"]\n").unwrap();
        assert_eq!(config.sending.test_recipients, ["+21620000001", "+21620000002"]);
        let error = with(&[], "[sending]\ntest_recipients = [\"20 000 001\", \"20 00\"]\n").err().unwrap().to_string();
        assert!(error.contains("sending.test_recipients") && error.contains("number 2"), "{error}");
        let many = format!("[sending]\ntest_recipients = [{}]\n", "\"20 000 001\", ".repeat(101));
        assert!(with(&[], &many).err().unwrap().to_string().contains("at most 100"));
    }

    #[test]
    fn values_out_of_range_are_refused() {
        assert!(with(&[("SMS_GATEWAY_CONCURRENCY", "0")], "").is_err());
        assert!(with(&[("SMS_GATEWAY_RATE", "-1")], "").is_err());
        assert!(with(&[("SMS_GATEWAY_RATE", "fast")], "").is_err());
        assert!(with(&[], "[sending]\npoll_interval = \"1ms\"\n").is_err());
        assert!(with(&[], "[garage]\ntime_zone = \"Mars/Olympus\"\n").is_err());
        assert!(with(&[], "[garage]\ncountries = [\"ZZ\"]\n").is_err());
        assert!(with(&[], "[[provider]]\nname = \"a\"\n").is_err());
    }
}
