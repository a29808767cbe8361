//! Building the request of one message from the configured templates.
//!
//! Owns URL, query, headers and body, built field by field so that a text never leaves its field. It adds no
//! credentials but those that templates print (`auth` adds the rest) and it sends nothing, so that whatever fails here
//! has sent nothing. All that can be checked without a message is checked when it is made.

use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Method, Request, Url};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::GenericError;
use super::config::{AuthConfig, GenericConfig, Method as MethodConfig, NumberStyle};
use super::field::{FieldEncoding, JsonType, TemplateText};
use super::json_tree::{Node, Tree};
use super::shape::{Body, Field, body, content_type, fields, headers, parse_url};
use super::template::{Place, RenderError, Renderer, Variables, encode, form_plus, percent};
use crate::message::encoding::Encoding;
use crate::provider::outgoing::Outgoing;

/// Country prefix that the national style takes off: Tunisia (E.164).
const NATIONAL_PREFIX: &str = "+216";
/// A value that could not be built, and the key of the configuration it belongs to.
#[derive(Debug)]
pub(super) struct BuildError {
    pub(super) key: String,
    pub(super) error: RenderError,
}

/// Makes the requests of one provider.
pub(super) struct RequestMaker {
    renderer: Renderer,
    method: Method,
    url: TemplateText,
    query: Vec<Field>,
    headers: Vec<(String, HeaderName, TemplateText)>,
    body: Body,
    content_type: Option<HeaderValue>,
    number_style: NumberStyle,
    sender_id: String,
    api_key: Option<SecretString>,
    /// Scheme, host and port that every URL must have.
    origin: url::Origin,
}

impl RequestMaker {
    /// Checks everything the configuration says about requests.
    pub(super) fn new(config: &GenericConfig) -> Result<Self, GenericError> {
        let renderer = Renderer::new();
        let mut query = fields("query", &config.query, FieldEncoding::Percent)?;
        if let AuthConfig::Query { name, encoding } = &config.auth {
            query.push(Field {
                key: "auth".to_owned(),
                name: name.clone(),
                value: TemplateText("{{ api_key }}".to_owned()),
                encoding: encoding.unwrap_or(FieldEncoding::Percent),
                json_type: JsonType::String,
            });
        }
        let mut maker = Self {
            method: match config.method {
                MethodConfig::Get => Method::GET,
                MethodConfig::Post => Method::POST,
                MethodConfig::Put => Method::PUT,
                MethodConfig::Patch => Method::PATCH,
            },
            url: config.url.clone(),
            query,
            headers: headers(config)?,
            body: body(config)?,
            content_type: content_type(config)?,
            number_style: config.number_style,
            sender_id: config.sender_id.clone(),
            api_key: config.api_key.clone(),
            origin: url::Origin::new_opaque(),
            renderer,
        };
        maker.check_names()?;
        maker.check_samples()?;
        Ok(maker)
    }

    /// The request that sends `outgoing`.
    pub(super) fn build(&self, outgoing: &Outgoing) -> Result<Request, BuildError> {
        let url = self.url(outgoing)?;
        if url.origin() != self.origin {
            return Err(template_error("url", "the host must not depend on the message"));
        }
        self.build_for(url, outgoing)
    }

    fn build_for(&self, url: Url, outgoing: &Outgoing) -> Result<Request, BuildError> {
        let mut request = Request::new(self.method.clone(), url);
        for (key, name, template) in &self.headers {
            let text = self.render(key, Place::Plain, template, outgoing)?;
            let mut value = HeaderValue::from_bytes(text.as_bytes()).map_err(|_| BuildError {
                key: key.clone(),
                error: RenderError::Message("a header cannot hold this value".to_owned()),
            })?;
            value.set_sensitive(true);
            request.headers_mut().insert(name.clone(), value);
        }
        let body = match &self.body {
            Body::None => None,
            Body::Form(fields) => Some(self.pairs(fields, outgoing)?),
            Body::Json(node, fields) => Some(self.json(node, fields, outgoing)?),
            Body::Text(place, template) => Some(self.render("body_text", *place, template, outgoing)?),
        };
        if let Some(content_type) = &self.content_type {
            request.headers_mut().insert(CONTENT_TYPE, content_type.clone());
        }
        *request.body_mut() = body.map(reqwest::Body::from);
        Ok(request)
    }

    fn url(&self, outgoing: &Outgoing) -> Result<Url, BuildError> {
        let text = self.render("url", Place::Url, &self.url, outgoing)?;
        let mut url = parse_url(&text).map_err(|problem| template_error("url", &problem))?;
        if !self.query.is_empty() {
            let pairs = self.pairs(&self.query, outgoing)?;
            let query = match url.query() {
                None | Some("") => pairs,
                Some(own) => format!("{own}&{pairs}"),
            };
            // Only spaces, quotes, `#`, `<`, `>` and non-ASCII would be encoded here: encoded fields have none left, and a
            // raw `/`, `=` or `+` stays as it is.
            url.set_query(Some(&query));
        }
        Ok(url)
    }

    /// `name=value&...`, for a query or a form.
    fn pairs(&self, fields: &[Field], outgoing: &Outgoing) -> Result<String, BuildError> {
        let pairs = fields.iter().map(|field| {
            let value = self.value(field, outgoing)?;
            if field.encoding == FieldEncoding::Raw
                && !value.bytes().all(|b| b.is_ascii_graphic() && !b"&#\"'<>".contains(&b))
            {
                return Err(template_error(&field.key, "a raw value holds a character that would end its field"));
            }
            let name = if field.encoding == FieldEncoding::FormPlus { form_plus } else { percent }(&field.name);
            Ok(format!("{name}={value}"))
        });
        Ok(pairs.collect::<Result<Vec<_>, _>>()?.join("&"))
    }

    fn json(&self, node: &Node, fields: &[Field], outgoing: &Outgoing) -> Result<String, BuildError> {
        let values = fields.iter().map(|field| {
            let text = self.value(field, outgoing)?;
            let wrong = |what| template_error(&field.key, &format!("does not render to a JSON {what}"));
            match field.json_type {
                JsonType::String => Ok(Value::String(text)),
                JsonType::Number => text.trim().parse().map(Value::Number).map_err(|_| wrong("number")),
                JsonType::Boolean => text.trim().parse().map(Value::Bool).map_err(|_| wrong("boolean")),
            }
        });
        let values = values.collect::<Result<Vec<_>, _>>()?;
        serde_json::to_string(&Tree { node, values: &values }).map_err(|e| template_error("fields", &e.to_string()))
    }

    fn value(&self, field: &Field, outgoing: &Outgoing) -> Result<String, BuildError> {
        let text = self.render(&field.key, Place::Plain, &field.value, outgoing)?;
        encode(text, field.encoding).map_err(|error| BuildError { key: field.key.clone(), error })
    }

    fn render(
        &self,
        key: &str,
        place: Place,
        template: &TemplateText,
        outgoing: &Outgoing,
    ) -> Result<String, BuildError> {
        let named = |error| BuildError { key: key.to_owned(), error };
        let phone = phone(self.number_style, &outgoing.recipient).map_err(named)?;
        let variables = Variables {
            phone: &phone,
            message: &outgoing.text,
            sender_id: &self.sender_id,
            api_key: self.api_key.as_ref().map_or("", |key| key.expose_secret()),
            reference: &outgoing.reference,
            encoding: outgoing.encoding.as_str(),
            segments: outgoing.segments,
            unicode: outgoing.encoding == Encoding::Ucs2,
        };
        self.renderer.render(place, template, variables).map_err(named)
    }

    /// Names in templates, also where no sample leads; the key, where it is needed; the message, where it would be raw.
    fn check_names(&self) -> Result<(), GenericError> {
        let body = match &self.body {
            Body::None | Body::Text(..) => &[][..],
            Body::Form(fields) | Body::Json(_, fields) => fields,
        };
        let text = match &self.body {
            Body::Text(_, template) => Some(("body_text", template)),
            Body::None | Body::Form(_) | Body::Json(..) => None,
        };
        let templates = std::iter::once(("url", &self.url))
            .chain(self.headers.iter().map(|(key, _, template)| (key.as_str(), template)))
            .chain(self.query.iter().chain(body).map(|field| (field.key.as_str(), &field.value)))
            .chain(text);
        for (key, template) in templates {
            let named = |error: RenderError| GenericError::key(key, error.to_string());
            if self.renderer.uses(template, "api_key").map_err(named)? && self.api_key.is_none() {
                return Err(GenericError::MissingSecret);
            }
        }
        let in_pairs = if matches!(self.body, Body::Form(_)) { body } else { &[] };
        for field in self.query.iter().chain(in_pairs).filter(|field| field.encoding == FieldEncoding::Raw) {
            let named = |error: RenderError| GenericError::key(&field.key, error.to_string());
            if self.renderer.uses(&field.value, "message").map_err(named)? {
                return Err(GenericError::key(&field.key, "the message cannot be `raw`: it could end its field"));
            }
        }
        Ok(())
    }

    /// Builds the requests of two samples, so that a mistake shows at start and not at the first customer.
    fn check_samples(&mut self) -> Result<(), GenericError> {
        for (encoding, text) in [(Encoding::Gsm7, "Bonjour"), (Encoding::Ucs2, "\u{645}\u{631}\u{62d}\u{628}\u{627}")] {
            let sample = Outgoing {
                reference: "ecar-0-0".to_owned(),
                recipient: "+21620000000".to_owned(),
                text: text.to_owned(),
                encoding,
                segments: 1,
                deadline: std::time::Duration::ZERO,
            };
            let built = self.url(&sample).and_then(|url| {
                self.origin = url.origin();
                self.build_for(url, &sample)
            });
            match built {
                Ok(_) => {}
                // A provider for GSM 7-bit only refuses the other sample, and that is no mistake.
                Err(BuildError { error: RenderError::Message(_), .. }) if encoding == Encoding::Ucs2 => {}
                Err(BuildError { key, error }) => return Err(GenericError::key(key, error.to_string())),
            }
        }
        Ok(())
    }
}

/// The number in the gateway's style.
fn phone(style: NumberStyle, recipient: &str) -> Result<String, RenderError> {
    let digits = recipient.strip_prefix('+').unwrap_or_default();
    // E.164: at most 15 digits; nothing else may reach a URL or a header.
    if !(7..=15).contains(&digits.len()) || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(RenderError::Message("the recipient is not in E.164 form".to_owned()));
    }
    match style {
        NumberStyle::Plus => Ok(recipient.to_owned()),
        NumberStyle::Digits => Ok(digits.to_owned()),
        NumberStyle::DoubleZero => Ok(format!("00{digits}")),
        NumberStyle::National => recipient.strip_prefix(NATIONAL_PREFIX).map(str::to_owned).ok_or_else(|| {
            RenderError::Message("this provider takes national numbers only, and the recipient is abroad".to_owned())
        }),
    }
}

fn template_error(key: &str, problem: &str) -> BuildError {
    BuildError { key: key.to_owned(), error: RenderError::Template(problem.to_owned()) }
}
