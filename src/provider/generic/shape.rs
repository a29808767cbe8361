//! What a request consists of, checked: the parts of the configuration that must agree with each other.
//!
//! Owns those checks that need no message: which body goes with which keys, which headers and URLs are allowed. Each
//! refusal names the key and quotes no value, which may hold a secret.

use std::collections::BTreeMap;

use reqwest::Url;
use reqwest::header::{HeaderName, HeaderValue};

use super::GenericError;
use super::config::{BodyKind, GenericConfig, Method};
use super::field::{FieldConfig, FieldEncoding, JsonType, TemplateText};
use super::json_tree::Node;
use super::template::Place;

/// Most fields, query parameters or headers: far above any vendor's list.
const FIELDS_LIMIT: usize = 100;
/// Headers that frame the request, which the HTTP library alone may write.
const FRAMING_HEADERS: [&str; 5] = ["host", "content-length", "transfer-encoding", "connection", "upgrade"];

/// A field, and the key that names it in errors.
pub(super) struct Field {
    pub(super) key: String,
    pub(super) name: String,
    pub(super) value: TemplateText,
    pub(super) encoding: FieldEncoding,
    pub(super) omit_empty: bool,
    pub(super) json_type: JsonType,
}

/// What a request carries.
pub(super) enum Body {
    None,
    Form(Vec<Field>),
    Json(Node, Vec<Field>),
    Text(Place, TemplateText),
}

/// Fields or query parameters, with their default encoding.
pub(super) fn fields(key: &str, configs: &[FieldConfig], default: FieldEncoding) -> Result<Vec<Field>, GenericError> {
    if configs.len() > FIELDS_LIMIT {
        return Err(GenericError::key(key, format!("more than {FIELDS_LIMIT} fields")));
    }
    let field = |config: &FieldConfig| Field {
        key: format!("{key}.{}", config.name),
        name: config.name.clone(),
        value: config.value.clone(),
        encoding: config.encoding.unwrap_or(default),
        omit_empty: config.omit_empty,
        json_type: config.json_type,
    };
    Ok(configs.iter().map(field).collect())
}

/// Headers: configuration key, name, template.
pub(super) fn headers(
    key: &str,
    configs: &BTreeMap<String, TemplateText>,
) -> Result<Vec<(String, HeaderName, TemplateText)>, GenericError> {
    if configs.len() > FIELDS_LIMIT {
        return Err(GenericError::key(key, format!("more than {FIELDS_LIMIT} headers")));
    }
    let header = |(name, template): (&String, &TemplateText)| {
        let key = format!("{key}.{name}");
        let header = header_name(&key, name)?;
        Ok((key, header, template.clone()))
    };
    configs.iter().map(header).collect()
}

/// The body, when kind, method, fields and text agree.
pub(super) fn body(config: &GenericConfig) -> Result<Body, GenericError> {
    let takes_fields = matches!(config.body, BodyKind::Form | BodyKind::Json);
    let takes_text = matches!(config.body, BodyKind::Xml | BodyKind::Raw);
    if !takes_fields && !config.fields.is_empty() {
        return Err(GenericError::key("fields", "only a `form` or `json` body has fields"));
    }
    if config.body_text.is_some() != takes_text {
        return Err(GenericError::key("body_text", "belongs to an `xml` or `raw` body, and those need it"));
    }
    if config.method == Method::Get && config.body != BodyKind::None {
        return Err(GenericError::key("body", "GET has no body: set `body = \"none\"` and use `query`"));
    }
    let text = config.body_text.clone().unwrap_or_else(|| TemplateText(String::new()));
    match config.body {
        BodyKind::None => Ok(Body::None),
        BodyKind::Form => Ok(Body::Form(fields("fields", &config.fields, FieldEncoding::FormPlus)?)),
        BodyKind::Xml => Ok(Body::Text(Place::Xml, text)),
        BodyKind::Raw => Ok(Body::Text(Place::Plain, text)),
        BodyKind::Json => {
            let fields = fields("fields", &config.fields, FieldEncoding::Raw)?;
            let mut node = Node::default();
            for (index, field) in fields.iter().enumerate() {
                node.insert(&field.name, index).map_err(|problem| GenericError::key(&field.key, problem))?;
            }
            Ok(Body::Json(node, fields))
        }
    }
}

/// The content type, when there is a body.
pub(super) fn content_type(config: &GenericConfig) -> Result<Option<HeaderValue>, GenericError> {
    let default = match config.body {
        BodyKind::None => return Ok(None),
        BodyKind::Form => "application/x-www-form-urlencoded",
        BodyKind::Json => "application/json",
        BodyKind::Xml => "text/xml; charset=utf-8",
        BodyKind::Raw => "text/plain; charset=utf-8",
    };
    let text = config.content_type.as_deref().unwrap_or(default);
    let structured = ["xml", "json", "urlencoded"].iter().any(|word| text.to_ascii_lowercase().contains(word));
    if config.body == BodyKind::Raw && structured {
        // A raw body escapes nothing, so a quote or a `<` in a message would leave its field.
        return Err(GenericError::key(
            "content_type",
            "a raw body is plain text: use `body = \"xml\"`, `json` or `form`",
        ));
    }
    let value = HeaderValue::from_str(text).map_err(|_| GenericError::key("content_type", "no header value"))?;
    Ok(Some(value))
}

/// A URL we may send to. The problem never quotes the text, which may hold a key.
pub(super) fn parse_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|e| format!("no URL: {e}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("must begin with http:// or https://".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a user or a password: use `auth`".to_owned());
    }
    Ok(url)
}

/// A header an operator may set.
pub(super) fn header_name(key: &str, name: &str) -> Result<HeaderName, GenericError> {
    let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| GenericError::key(key, "no header name"))?;
    match FRAMING_HEADERS.contains(&header.as_str()) {
        true => Err(GenericError::key(key, "this header belongs to the HTTP library")),
        false => Ok(header),
    }
}
