//! What an operator may configure about an HTTP gateway.
//!
//! Owns the TOML shape and its defaults; it checks nothing beyond the types. Meaning (templates, URLs, paths, regular
//! expressions) is checked where it is used, once, when the provider is made, and each refusal names the key.
//! The one secret of a provider is `api_key`; templates may hold literals an operator considers secret, so neither
//! is ever shown by `Debug`.

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Deserializer};

use super::extract::ExtractorConfig;
use super::field::{FieldConfig, FieldEncoding, TemplateText};
use super::pushes::{ReceiptsConfig, RepliesConfig};
use super::rule::{LookupVerdict, RuleConfig};
use super::signature::SignatureConfig;

/// Default of `absent_after`; the same as of providers without look-ups.
const DEFAULT_ABSENT_AFTER: Duration = crate::provider::inquiry::DEFAULT_ABSENT_AFTER;
/// Default limit of one answer, in bytes: a gateway's JSON is below 4 KiB, an error page of HTML below this.
const DEFAULT_MAX_BODY_BYTES: usize = 64 * 1024;
/// Default number of requests at once: as the garage's own gateway protocol documents.
const DEFAULT_CONCURRENCY: usize = 32;
/// Default time to connect: a host that does not answer in it is down, and nothing was sent.
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Default time for the whole attempt: beyond it a gateway's answer is not coming.
const DEFAULT_TOTAL_TIMEOUT: Duration = Duration::from_secs(20);

/// An HTTP gateway. Unknown keys are errors.
///
/// Templates are [MiniJinja](https://docs.rs/minijinja) texts over the variables `phone` (in `number_style`),
/// `message`, `sender_id`, `api_key`, `reference`, `encoding` (`gsm7` or `ucs2`), `segments`, `unicode` (true for
/// UCS-2) and `push_url` (where receipts come, or empty); any other name is an error. Filters `percent`, `form_plus`, `gsm7_hex`, `ucs2_hex` encode a value by hand,
/// `raw` exempts it from the encoding its place would give it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenericConfig {
    /// HTTP method: `POST` (default), `GET`, `PUT` or `PATCH`.
    #[serde(default)]
    pub method: Method,
    /// Template of the URL, `http` or `https`. Values are percent-encoded; the host must not depend on them.
    pub url: TemplateText,
    /// Query parameters added to the URL, in order; percent-encoded by default.
    #[serde(default)]
    pub query: Vec<FieldConfig>,
    /// Header name to template.
    #[serde(default)]
    pub headers: BTreeMap<String, TemplateText>,
    /// Kind of body: `json` (default), `form`, `xml`, `raw` or `none`.
    #[serde(default)]
    pub body: BodyKind,
    /// Fields of a `json` or `form` body, in order.
    #[serde(default)]
    pub fields: Vec<FieldConfig>,
    /// Template of an `xml` or `raw` body. In `xml` values are escaped; in `raw` they are not: a raw body is meant for
    /// plain text.
    #[serde(default)]
    pub body_text: Option<TemplateText>,
    /// Content type of the body, when the kind's own does not fit.
    #[serde(default)]
    pub content_type: Option<String>,
    /// How `phone` is written: `plus` (default), `digits`, `national` or `00`.
    #[serde(default)]
    pub number_style: NumberStyle,
    /// Sender id shown to the customer, as registered with the provider (3 to 11 letters and digits in Tunisia).
    #[serde(default = "default_sender_id")]
    pub sender_id: String,
    /// The provider's secret: key, token, password or client secret, as `auth` and the templates use it.
    #[serde(default, deserialize_with = "secret")]
    pub api_key: Option<SecretString>,
    /// How a request proves who we are.
    #[serde(default)]
    pub auth: AuthConfig,
    /// Rules that judge an answer: the first that matches wins. Without any, the HTTP status decides.
    #[serde(default, rename = "match")]
    pub rules: Vec<RuleConfig>,
    /// What an answer means that no rule matched: `unknown` (default), or `status` to let the HTTP status decide.
    #[serde(default)]
    pub otherwise: Otherwise,
    /// Where an accepting answer holds the provider's id. Default: `$.id`, `$.message_id`, `$.messageId`, `$.sid`.
    #[serde(default)]
    pub id: Option<ExtractorConfig>,
    /// Whether `id` finds an id for each part of a long text, all of which get receipts of their own. Default `false`: the first one counts.
    #[serde(default)]
    pub each_part: bool,
    /// Where an accepting answer holds the number of segments charged.
    #[serde(default)]
    pub segments: Option<ExtractorConfig>,
    /// Where a throttling answer holds the seconds to wait. The header `Retry-After` is read in any case.
    #[serde(default)]
    pub retry_after: Option<ExtractorConfig>,
    /// Whether a request whose `reference` the provider has seen before is not sent again by it. Default `false`.
    #[serde(default)]
    pub deduplicates: bool,
    /// How the provider is asked what became of a message. Default: it cannot be asked.
    #[serde(default)]
    pub lookup: Option<LookupConfig>,
    /// How pushed delivery receipts are read. Default: none are pushed.
    #[serde(default)]
    pub receipts: Option<ReceiptsConfig>,
    /// How replies of customers are read. Default: none are pushed.
    #[serde(default)]
    pub replies: Option<RepliesConfig>,
    /// How what is pushed proves where it comes from. Default: by the path alone, which nobody can guess.
    #[serde(default)]
    pub signature: SignatureConfig,
    /// The last part of the path at which pushes come, at least 16 letters or digits: `/receipts/<provider>/<push_token>`.
    #[serde(default, deserialize_with = "secret")]
    pub push_token: Option<SecretString>,
    /// Where pushes come, as the provider sees it; made of `[receipts] public_url`, the provider's name and `push_token`.
    #[serde(skip)]
    pub push_url: Option<SecretString>,
    /// How the provider is asked for delivery receipts. Default: it is not.
    #[serde(default)]
    pub poll: Option<PollConfig>,
    /// How the provider is asked what is left of the credit. Default: it is not.
    #[serde(default)]
    pub balance: Option<BalanceConfig>,
    /// Time allowed for name look-up, TCP and TLS together. Default 5 s.
    #[serde(default = "default_connect_timeout", with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// Time allowed for the whole attempt, body of the answer included. Default 20 s.
    #[serde(default = "default_total_timeout", with = "humantime_serde")]
    pub total_timeout: Duration,
    /// Bytes of an answer that are read. Default 65 536; a success longer than this is `unknown`.
    #[serde(default = "default_max_body_bytes")]
    pub max_body_bytes: usize,
    /// Messages of more segments than this are rejected without a request. Default: no limit.
    #[serde(default)]
    pub max_segments: Option<u32>,
    /// Messages per second, above 0. Default: no limit. Applied by the sender, not here.
    #[serde(default)]
    pub rate: Option<f64>,
    /// Requests at once, from 1. Default 32. Applied by the sender; here it sizes the connection pool.
    #[serde(default = "default_concurrency")]
    pub concurrency: usize,
    /// URL of an HTTP proxy. The environment's proxies are never used.
    #[serde(default, deserialize_with = "secret")]
    pub proxy: Option<SecretString>,
}

impl GenericConfig {
    /// Host and port of the gateway, where the URL's beginning is written out and not made by a template.
    pub fn endpoint(&self) -> Option<(String, u16)> {
        let literal = self.url.0.split(['{', '?']).next()?;
        let url = url::Url::parse(literal).ok()?;
        Some((url.host_str()?.trim_matches(['[', ']']).to_owned(), url.port_or_known_default()?))
    }

    /// The garage application's own gateway protocol: POST JSON with exactly `api_key`, `sender_id`, `phone` (E.164
    /// with plus) and `message`, in this order. Any 2xx with a JSON body accepts.
    ///
    /// `concurrency` is in requests at once, `rate` in messages per second.
    pub fn garage_default(
        url: &str,
        api_key: SecretString,
        sender_id: String,
        concurrency: usize,
        rate: Option<f64>,
    ) -> Self {
        Self {
            method: Method::Post,
            url: TemplateText::literal(url),
            query: Vec::new(),
            headers: BTreeMap::new(),
            body: BodyKind::Json,
            fields: ["api_key", "sender_id", "phone", "message"].map(FieldConfig::of_variable).into(),
            body_text: None,
            content_type: None,
            number_style: NumberStyle::Plus,
            sender_id,
            api_key: Some(api_key),
            auth: AuthConfig::default(),
            rules: Vec::new(),
            otherwise: Otherwise::Unknown,
            id: None,
            each_part: false,
            segments: None,
            retry_after: None,
            deduplicates: false,
            lookup: None,
            receipts: None,
            replies: None,
            signature: SignatureConfig::default(),
            push_token: None,
            push_url: None,
            poll: None,
            balance: None,
            connect_timeout: DEFAULT_CONNECT_TIMEOUT,
            total_timeout: DEFAULT_TOTAL_TIMEOUT,
            max_body_bytes: DEFAULT_MAX_BODY_BYTES,
            max_segments: None,
            rate,
            concurrency,
            proxy: None,
        }
    }
}

/// How a provider is asked what became of a message. Unknown keys are errors.
///
/// Templates are as those of the send, over the variables `reference`, `phone` (in `number_style`), `since` (when the
/// attempt began at the earliest, RFC 3339 in UTC), `since_unix` (the same in seconds since 1970), `sender_id`, `api_key`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LookupConfig {
    /// By what the provider finds a message.
    pub by: LookupBy,
    /// HTTP method, without a body: `GET` (default), `POST`, `PUT` or `PATCH`.
    #[serde(default = "get")]
    pub method: Method,
    /// Template of the URL. The host must not depend on the message.
    pub url: TemplateText,
    /// Query parameters added to the URL, in order.
    #[serde(default)]
    pub query: Vec<FieldConfig>,
    /// Header name to template.
    #[serde(default)]
    pub headers: BTreeMap<String, TemplateText>,
    /// Rules that judge an answer: the first that matches wins. Where none does, only a clear answer counts.
    #[serde(default, rename = "match")]
    pub rules: Vec<RuleConfig<LookupVerdict>>,
    /// Where the answer holds the provider's id; by recipient, a JSON path from each item. Default as for the send.
    #[serde(default)]
    pub id: Option<ExtractorConfig>,
    /// By recipient: JSON path of the list of messages, for example `$.messages[*]`. It ends in `[*]`, because only the
    /// list itself shows that an answer without messages is one.
    #[serde(default)]
    pub items: Option<String>,
    /// By recipient: JSON path of the text, from each item.
    #[serde(default)]
    pub text: Option<String>,
    /// How long after its end an attempt may still be missing here, at most 1 h. Default 60 s.
    #[serde(default = "default_absent_after", with = "humantime_serde")]
    pub absent_after: Duration,
}

/// How the provider is asked what is left. Unknown keys are errors.
///
/// Templates are as those of the send, over the variables `sender_id` and `api_key`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BalanceConfig {
    /// HTTP method, without a body: `GET` (default), `POST`, `PUT` or `PATCH`.
    #[serde(default = "get")]
    pub method: Method,
    /// Template of the URL.
    pub url: TemplateText,
    /// Query parameters added to the URL, in order.
    #[serde(default)]
    pub query: Vec<FieldConfig>,
    /// Header name to template.
    #[serde(default)]
    pub headers: BTreeMap<String, TemplateText>,
    /// Where the answer holds what is left, a number.
    pub value: ExtractorConfig,
    /// What it is counted in, for people: `SMS`, `TND`, `EUR`.
    #[serde(default)]
    pub unit: String,
    /// Below this a warning is given. Default: no such limit; the forecast warns all the same.
    #[serde(default)]
    pub low: Option<f64>,
    /// How often it is asked, 1 min to 1 day. Default 15 min.
    #[serde(default = "default_balance_every", with = "humantime_serde")]
    pub every: Duration,
}

/// How the provider is asked for delivery receipts. Unknown keys are errors.
///
/// Templates are as those of the send, over the variables `ids` (the provider's ids, joined by `separator`), `sender_id` and `api_key`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PollConfig {
    /// HTTP method, without a body: `GET` (default), `POST`, `PUT` or `PATCH`.
    #[serde(default = "get")]
    pub method: Method,
    /// Template of the URL.
    pub url: TemplateText,
    /// Query parameters added to the URL, in order.
    #[serde(default)]
    pub query: Vec<FieldConfig>,
    /// Header name to template.
    #[serde(default)]
    pub headers: BTreeMap<String, TemplateText>,
    /// Messages asked about at once, from 1. Default 1.
    #[serde(default = "one")]
    pub batch: usize,
    /// What stands between their ids. Default `,`.
    #[serde(default = "comma")]
    pub separator: String,
    /// How the answer is read. Where it holds no id, `id` is left out, and `batch` is 1.
    pub receipts: ReceiptsConfig,
}

/// By what a provider finds a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LookupBy {
    /// By our reference.
    Reference,
    /// By recipient and time; the text tells which one it is.
    Recipient,
}

/// HTTP methods a gateway may ask for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs)]
pub enum Method {
    Get,
    #[default]
    Post,
    Put,
    Patch,
}

/// Kind of request body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BodyKind {
    /// `application/x-www-form-urlencoded`, from `fields`.
    Form,
    /// `application/json`, from `fields`.
    #[default]
    Json,
    /// `text/xml`, from `body_text`, values escaped.
    Xml,
    /// `text/plain`, from `body_text`, values as they are.
    Raw,
    /// No body: everything is in the URL, the query and the headers.
    None,
}

/// How a phone number is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NumberStyle {
    /// `+21620000123` (E.164).
    #[default]
    Plus,
    /// `21620000123`.
    Digits,
    /// `20000123`; Tunisian numbers only, others are rejected.
    National,
    /// `0021620000123`.
    #[serde(rename = "00")]
    DoubleZero,
}

/// What decides when rules are configured and none matched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Otherwise {
    /// The answer is not understood: the outcome is unknown.
    #[default]
    Unknown,
    /// The HTTP status decides, as if there were no rules.
    Status,
}

/// How a request proves who we are. The secret is always `api_key`.
///
/// Variants without keys have braces because serde refuses unknown keys only in those.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum AuthConfig {
    /// By nothing, or by a field that holds `api_key`.
    None {},
    /// HTTP Basic (RFC 7617), with `api_key` as password.
    Basic {
        /// User name, account id or key id.
        username: String,
    },
    /// `Authorization: Bearer <api_key>` (RFC 6750).
    Bearer {},
    /// A header of the provider's own.
    Header {
        /// Its name.
        name: String,
        /// What stands before the key, for example `App `. Default: nothing.
        #[serde(default)]
        prefix: String,
    },
    /// A query parameter.
    Query {
        /// Its name.
        name: String,
        /// Its encoding. Default `percent`.
        #[serde(default)]
        encoding: Option<FieldEncoding>,
    },
    /// OAuth 2 client credentials (RFC 6749, section 4.4), with `api_key` as client secret. The token is kept until
    /// 60 s before it expires, and renewed once when a request is answered with 401.
    OAuth2 {
        /// URL of the token endpoint, `http` or `https`.
        token_url: String,
        /// Client id.
        client_id: String,
        /// Scope to ask for. Default: none.
        #[serde(default)]
        scope: Option<String>,
    },
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self::None {}
    }
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SecretString>, D::Error> {
    // An empty key in a file is how people write "none".
    Ok(Option::<String>::deserialize(deserializer)?.filter(|s| !s.is_empty()).map(SecretString::from))
}

fn get() -> Method {
    Method::Get
}

fn one() -> usize {
    1
}

fn comma() -> String {
    ",".to_owned()
}

fn default_balance_every() -> Duration {
    Duration::from_secs(900)
}

fn default_absent_after() -> Duration {
    DEFAULT_ABSENT_AFTER
}

fn default_sender_id() -> String {
    "ECAR".to_owned()
}

fn default_connect_timeout() -> Duration {
    DEFAULT_CONNECT_TIMEOUT
}

fn default_total_timeout() -> Duration {
    DEFAULT_TOTAL_TIMEOUT
}

fn default_max_body_bytes() -> usize {
    DEFAULT_MAX_BODY_BYTES
}

fn default_concurrency() -> usize {
    DEFAULT_CONCURRENCY
}
