//! Where the database is and how to reach it: the connection string, and TLS as libpq understands `sslmode`.
//!
//! `disable` and `prefer` (the default) and `require` mean what they mean in libpq: `require` encrypts without looking at
//! the certificate, `verify-ca` and `verify-full` check it against `sslrootcert`, or the system's store without one. Over a Unix
//! socket there is no TLS.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres::Socket;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres_rustls::MakeRustlsConnect;
use url::Url;

/// Time allowed for one connection attempt to one host.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long written data may stay unacknowledged before the connection is given up.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(20);

/// Where Debian's servers put their socket; used when the connection string names no host.
const LOCAL_SOCKET_DIRECTORY: &str = "/run/postgresql";

/// How the program names itself in `pg_stat_activity`.
const APPLICATION_NAME: &str = "ecar-sms";

/// A connection string that cannot be used. The string itself is never repeated: it holds the password.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The text is no connection string.
    #[error("the database URL is not valid: {0}; write postgresql://user:password@host:5432/database")]
    Invalid(String),
    /// The certificate file cannot be used.
    #[error("sslrootcert {path}: {problem}")]
    RootCertificate {
        /// The path given.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
    /// An `sslmode` that libpq does not know either; with its quoted word after a space, when it is one.
    #[error("unknown sslmode{0}; allowed: disable, prefer, require, verify-ca, verify-full")]
    SslMode(String),
    /// The TLS library refused its configuration.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// A database to connect to.
#[derive(Clone)]
pub struct Target {
    config: tokio_postgres::Config,
    tls: ClientConfig,
}

impl Target {
    /// Reads a connection string: a URL, or `key=value` words as libpq has them.
    ///
    /// # Errors
    /// [`TargetError`], without the string.
    pub fn parse(text: &str) -> Result<Self, TargetError> {
        let (text, ssl_mode, root_certificate) = take_ssl_options(text.trim())?;
        let mut config: tokio_postgres::Config = text.parse().map_err(|error: tokio_postgres::Error| {
            let problem = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            TargetError::Invalid(without_secrets(problem))
        })?;
        if config.get_hosts().iter().any(|host| matches!(host, Host::Tcp(name) if name.contains(['@', ':', '/']))) {
            // The end of the password was taken for a host: it must not be shown as one.
            let problem = "the host cannot be made out (in a password write @ as %40, : as %3A, / as %2F)";
            return Err(TargetError::Invalid(problem.to_owned()));
        }
        let (mode, verify) = match ssl_mode.as_deref() {
            Some("disable") => (SslMode::Disable, false),
            None | Some("allow" | "prefer") => (SslMode::Prefer, false),
            Some("require") => (SslMode::Require, root_certificate.is_some()),
            Some("verify-ca" | "verify-full") => (SslMode::Require, true),
            // Repeated only when it is a word: a connection string glued to another one ends up here, password included.
            Some(other) if other.len() <= 20 && other.chars().all(|c| c.is_ascii_alphabetic() || c == '-') => {
                return Err(TargetError::SslMode(format!(" \"{other}\"")));
            }
            Some(_) => return Err(TargetError::SslMode(String::new())),
        };
        config.ssl_mode(mode).connect_timeout(CONNECT_TIMEOUT).tcp_user_timeout(TCP_USER_TIMEOUT);
        if config.get_application_name().is_none() {
            config.application_name(APPLICATION_NAME);
        }
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            // As psql does: the server of this machine, through its socket.
            config.host_path(LOCAL_SOCKET_DIRECTORY);
        }
        if config.get_hosts().iter().all(|host| matches!(host, Host::Unix(_))) {
            config.ssl_mode(SslMode::Disable);
        }
        if config.get_hosts().len() > 1 {
            // Of several hosts only the primary can be written to.
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        let tls = if verify { verified(root_certificate.as_deref())? } else { unverified()? };
        Ok(Self { config, tls })
    }

    /// The parsed connection parameters.
    pub fn config(&self) -> &tokio_postgres::Config {
        &self.config
    }

    /// The TLS connector.
    pub fn tls(&self) -> Connector {
        Connector(MakeRustlsConnect::new(self.tls.clone()))
    }

    /// Where this is, for people: host and database, never the password.
    pub fn describe(&self) -> String {
        let hosts: Vec<String> = self
            .config
            .get_hosts()
            .iter()
            .map(|host| match host {
                Host::Tcp(name) => name.clone(),
                Host::Unix(path) => path.display().to_string(),
            })
            .collect();
        let database = self.config.get_dbname().or(self.config.get_user()).unwrap_or("?");
        format!("{database} on {}", hosts.join(", "))
    }
}

/// Makes TLS connections. A Unix socket has no name to check, and tokio-postgres asks for a connector all the same.
#[derive(Clone)]
pub struct Connector(MakeRustlsConnect);

impl MakeTlsConnect<Socket> for Connector {
    type Stream = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;
    type TlsConnect = <MakeRustlsConnect as MakeTlsConnect<Socket>>::TlsConnect;
    type Error = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Error;

    fn make_tls_connect(&mut self, host: &str) -> Result<Self::TlsConnect, Self::Error> {
        let name = if host.is_empty() { "localhost" } else { host };
        <MakeRustlsConnect as MakeTlsConnect<Socket>>::make_tls_connect(&mut self.0, name)
    }
}

/// The parser quotes an option that it does not know. In a mistyped URL that is all of it, password included.
fn without_secrets(problem: String) -> String {
    match problem.split_once("unknown option `") {
        Some((_, option)) if !option.trim_end_matches('`').chars().all(|c| c.is_ascii_lowercase() || c == '_') => {
            "it does not begin with postgresql:// and is no list of key=value either".to_owned()
        }
        _ => problem,
    }
}

/// Splits `sslmode` and `sslrootcert` off, which tokio-postgres knows only in part.
fn take_ssl_options(text: &str) -> Result<(String, Option<String>, Option<String>), TargetError> {
    if text.is_empty() {
        return Err(TargetError::Invalid("it is empty".to_owned()));
    }
    let mut mode = None;
    let mut root = None;
    let mut keep = |name: &str, value: &str| match name {
        "sslmode" => {
            mode = Some(value.to_owned());
            false
        }
        "sslrootcert" => {
            root = (value != "system").then(|| value.to_owned());
            false
        }
        _ => true,
    };
    let rest = if let Some((base, query)) = text.split_once('?').filter(|_| text.contains("://")) {
        let kept: Vec<&str> = query
            .split('&')
            .filter(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                let value = percent_encoding::percent_decode_str(value).decode_utf8_lossy();
                keep(name, &value)
            })
            .collect();
        if kept.is_empty() { base.to_owned() } else { format!("{base}?{}", kept.join("&")) }
    } else if text.contains("://") {
        // Parsed once only to refuse nonsense early, with the library's words.
        if let Err(error) = Url::parse(text)
            && error != url::ParseError::InvalidPort
        {
            return Err(TargetError::Invalid(error.to_string()));
        }
        text.to_owned()
    } else {
        text.split_whitespace()
            .filter(|pair| pair.split_once('=').is_none_or(|(name, value)| keep(name, value.trim_matches('\''))))
            .collect::<Vec<_>>()
            .join(" ")
    };
    Ok((rest, mode, root))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The TLS configuration that checks certificates: against `root_certificate`, or the system's store.
///
/// The system's store is read when the first certificate is to be checked: some hundred files, about 10 ms and 300 KiB, which a
/// daemon without TLS does without and one with TLS need not wait for before its first claim. On a machine without any
/// certificates the store is empty: plain connections work, verified ones fail with a clear certificate error.
///
/// # Errors
/// [`TargetError::RootCertificate`] when the file is missing or holds no certificate.
pub fn verified(root_certificate: Option<&str>) -> Result<ClientConfig, TargetError> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let Some(path) = root_certificate else {
        let verifier = Arc::new(SystemStore { provider: provider(), inner: OnceLock::new() });
        return Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth());
    };
    let mut roots = RootCertStore::empty();
    let bad = |problem: String| TargetError::RootCertificate { path: path.to_owned(), problem };
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| bad(error.to_string()))? {
        let certificate = certificate.map_err(|error| bad(error.to_string()))?;
        roots.add(certificate).map_err(|error| bad(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(bad("there is no certificate in it".to_owned()));
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn unverified() -> Result<ClientConfig, TargetError> {
    Ok(ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider())))
        .with_no_client_auth())
}

/// rustls' own verifier over the system's store, made when it is first needed.
#[derive(Debug)]
struct SystemStore {
    provider: Arc<CryptoProvider>,
    inner: OnceLock<Option<Arc<WebPkiServerVerifier>>>,
}

impl SystemStore {
    /// None when the system has no certificates, so that none can be right.
    fn inner(&self) -> Option<&WebPkiServerVerifier> {
        let load = || {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider)).build().ok()
        };
        self.inner.get_or_init(load).as_deref()
    }
}

impl ServerCertVerifier for SystemStore {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.inner().ok_or(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer))?.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        )
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// `sslmode=prefer` and `require`: encryption against listeners, no proof of who the server is.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_url_and_words_are_both_understood() {
        let url =
            Target::parse("postgresql://sami:secret@db1:5433,db2/garage?sslmode=require&connect_timeout=3").unwrap();
        assert_eq!(url.describe(), "garage on db1, db2");
        assert_eq!(url.config().get_ssl_mode(), SslMode::Require);
        let words = Target::parse("host=/run/postgresql dbname=garage sslmode=disable").unwrap();
        assert_eq!(words.describe(), "garage on /run/postgresql");
    }

    #[test]
    fn through_a_unix_socket_there_is_no_tls_and_it_is_the_default() {
        let local = Target::parse("postgresql:///garage").unwrap();
        assert_eq!(local.describe(), "garage on /run/postgresql");
        assert_eq!(local.config().get_ssl_mode(), SslMode::Disable);
        assert_eq!(Target::parse("postgresql://db1/garage").unwrap().config().get_ssl_mode(), SslMode::Prefer);
    }

    #[test]
    fn a_bad_string_is_refused_without_repeating_it() {
        for text in [
            "",
            "postgresql://u:hunter2@host:port/x",
            "host=a port=hunter2",
            "postgresql://u:hunter2@h/x?sslmode=maybe",
            // Found by fuzzing: one string glued to another.
            "postgresql:///x?sslmode=require,postgresql://u:hunter2@h/x",
        ] {
            let error = Target::parse(text).err().unwrap().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn verify_full_with_a_missing_certificate_file_is_refused() {
        let error = Target::parse("postgresql://u@h/x?sslmode=verify-full&sslrootcert=/no/such/file").err().unwrap();
        assert!(matches!(error, TargetError::RootCertificate { .. }), "{error}");
    }
}
