//! Building the request of one message, or of one look-up, from the configured templates.
//!
//! Owns URL, query, headers and body, built field by field so that a text never leaves its field. It adds no
//! credentials but those that templates print (`auth` adds the rest) and it sends nothing, so that whatever fails here
//! has sent nothing. All that can be checked without a message is checked when it is made.

use std::collections::BTreeMap;

use jiff::Timestamp;
use minijinja::value::Value as Variables;
use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Method, Request, Url};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::GenericError;
use super::config::{AuthConfig, GenericConfig, LookupConfig, Method as MethodConfig, NumberStyle};
use super::field::{FieldConfig, FieldEncoding, JsonType, TemplateText};
use super::json_tree::{Node, Tree};
use super::shape::{Body, Field, body, content_type, fields, headers, parse_url};
use super::subject::{INQUIRY_VARIABLES, MESSAGE_VARIABLES, Subject};
use super::template::{Place, RenderError, Renderer, encode, form_plus, percent};
use crate::message::encoding::Encoding;
use crate::provider::inquiry::Inquiry;
use crate::provider::outgoing::Outgoing;

/// A value that could not be built, and the key of the configuration it belongs to.
#[derive(Debug)]
pub(super) struct BuildError {
    pub(super) key: String,
    pub(super) error: RenderError,
}

/// A request that asks something, as the configuration has it under `key`.
pub(super) struct Question<'a> {
    pub(super) key: &'static str,
    pub(super) method: MethodConfig,
    pub(super) url: &'a TemplateText,
    pub(super) query: &'a [FieldConfig],
    pub(super) headers: &'a BTreeMap<String, TemplateText>,
    /// The names that its templates may use.
    pub(super) variables: &'static [&'static str],
}

/// Makes the requests of one kind to one provider.
pub(super) struct RequestMaker {
    renderer: Renderer,
    method: Method,
    /// Key of the URL in errors.
    url_key: String,
    url: TemplateText,
    query: Vec<Field>,
    headers: Vec<(String, HeaderName, TemplateText)>,
    body: Body,
    content_type: Option<HeaderValue>,
    number_style: NumberStyle,
    sender_id: String,
    api_key: Option<SecretString>,
    push_url: Option<SecretString>,
    /// Scheme, host and port that every URL must have; known from the first sample on.
    origin: Option<url::Origin>,
    /// The URL, when it is the same for every message.
    fixed_url: Option<Url>,
}

impl RequestMaker {
    /// Checks everything the configuration says about the requests that send.
    pub(super) fn of_messages(config: &GenericConfig) -> Result<Self, GenericError> {
        let mut maker = Self {
            renderer: Renderer::new(MESSAGE_VARIABLES),
            method: method(config.method),
            url_key: "url".to_owned(),
            url: config.url.clone(),
            query: query("query", &config.query, &config.auth)?,
            headers: headers("headers", &config.headers)?,
            body: body(config)?,
            content_type: content_type(config)?,
            number_style: config.number_style,
            sender_id: config.sender_id.clone(),
            api_key: config.api_key.clone(),
            push_url: config.push_url.clone(),
            origin: None,
            fixed_url: None,
        };
        maker.check_names()?;
        maker.learn_templates()?;
        for (encoding, text) in [(Encoding::Gsm7, "Bonjour"), (Encoding::Ucs2, "\u{645}\u{631}\u{62d}\u{628}\u{627}")] {
            let sample = Outgoing {
                reference: "ecar-0-0".to_owned(),
                recipient: "+21620000000".to_owned(),
                text: text.to_owned(),
                encoding,
                segments: 1,
                deadline: std::time::Duration::ZERO,
            };
            match maker.try_sample(Subject::Message(&sample)) {
                Ok(()) => {}
                // A provider for GSM 7-bit only refuses the other sample, and that is no mistake.
                Err(BuildError { error: RenderError::Message(_), .. }) if encoding == Encoding::Ucs2 => {}
                Err(BuildError { key, error }) => return Err(GenericError::key(key, error.to_string())),
            }
        }
        Ok(maker)
    }

    /// Checks everything the configuration says about the requests that look up.
    pub(super) fn of_inquiries(config: &GenericConfig, lookup: &LookupConfig) -> Result<Self, GenericError> {
        // Two that differ in everything, so that a host that depends on any of it is seen.
        let samples =
            [("ecar-0-0", "+21620000000", Timestamp::UNIX_EPOCH), ("ecar-1-1", "+21620000001", Timestamp::MAX)].map(
                |(reference, recipient, since)| Inquiry {
                    reference: reference.to_owned(),
                    recipient: Some(recipient.to_owned()),
                    text: None,
                    since,
                    deadline: std::time::Duration::ZERO,
                },
            );
        let question = Question {
            key: "lookup",
            method: lookup.method,
            url: &lookup.url,
            query: &lookup.query,
            headers: &lookup.headers,
            variables: INQUIRY_VARIABLES,
        };
        Self::of_questions(config, &question, &samples.each_ref().map(Subject::Inquiry))
    }

    /// Checks everything the configuration says about requests that ask and send nothing; `samples` are what they could be about.
    pub(super) fn of_questions(
        config: &GenericConfig,
        question: &Question<'_>,
        samples: &[Subject<'_>],
    ) -> Result<Self, GenericError> {
        let key = |part: &str| format!("{}.{part}", question.key);
        let mut maker = Self {
            renderer: Renderer::new(question.variables),
            method: method(question.method),
            url_key: key("url"),
            url: question.url.clone(),
            query: query(&key("query"), question.query, &config.auth)?,
            headers: headers(&key("headers"), question.headers)?,
            body: Body::None,
            content_type: None,
            number_style: config.number_style,
            sender_id: config.sender_id.clone(),
            api_key: config.api_key.clone(),
            push_url: config.push_url.clone(),
            origin: None,
            fixed_url: None,
        };
        maker.check_names()?;
        maker.learn_templates()?;
        for sample in samples {
            let tried = maker.try_sample(*sample);
            tried.map_err(|BuildError { key, error }| GenericError::key(key, error.to_string()))?;
        }
        Ok(maker)
    }

    /// The request about `subject`.
    pub(super) fn build(&self, subject: Subject<'_>) -> Result<Request, BuildError> {
        let variables = self.variables(subject)?;
        let url = self.url(&variables)?;
        if self.origin.as_ref() != Some(&url.origin()) {
            return Err(template_error(&self.url_key, "the host must not depend on the message"));
        }
        self.build_for(url, &variables)
    }

    /// Whether any template may print `variable`.
    pub(super) fn uses(&self, variable: &str) -> Result<bool, GenericError> {
        for (key, _, template) in self.templates() {
            let uses = self.renderer.uses(template, variable);
            if uses.map_err(|error| GenericError::key(key, error.to_string()))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn variables(&self, subject: Subject<'_>) -> Result<Variables, BuildError> {
        let api_key = self.api_key.as_ref().map_or("", |key| key.expose_secret());
        let push_url = self.push_url.as_ref().map_or("", |url| url.expose_secret());
        let variables = subject.variables(self.number_style, &self.sender_id, api_key, push_url);
        variables.map_err(|error| BuildError { key: self.url_key.clone(), error })
    }

    fn build_for(&self, url: Url, variables: &Variables) -> Result<Request, BuildError> {
        let mut request = Request::new(self.method.clone(), url);
        for (key, name, template) in &self.headers {
            let text = self.render(key, Place::Plain, template, variables)?;
            let mut value = HeaderValue::from_bytes(text.as_bytes()).map_err(|_| BuildError {
                key: key.clone(),
                error: RenderError::Message("a header cannot hold this value".to_owned()),
            })?;
            value.set_sensitive(true);
            request.headers_mut().insert(name.clone(), value);
        }
        let body = match &self.body {
            Body::None => None,
            Body::Form(fields) => Some(self.pairs(fields, variables)?),
            Body::Json(node, fields) => Some(self.json(node, fields, variables)?),
            Body::Text(place, template) => Some(self.render("body_text", *place, template, variables)?),
        };
        if let Some(content_type) = &self.content_type {
            request.headers_mut().insert(CONTENT_TYPE, content_type.clone());
        }
        *request.body_mut() = body.map(reqwest::Body::from);
        Ok(request)
    }

    fn url(&self, variables: &Variables) -> Result<Url, BuildError> {
        if let Some(url) = &self.fixed_url {
            return Ok(url.clone());
        }
        let text = self.render(&self.url_key, Place::Url, &self.url, variables)?;
        let mut url = parse_url(&text).map_err(|problem| template_error(&self.url_key, &problem))?;
        if !self.query.is_empty() {
            let pairs = self.pairs(&self.query, variables)?;
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
    fn pairs(&self, fields: &[Field], variables: &Variables) -> Result<String, BuildError> {
        let pairs = fields.iter().filter_map(|field| {
            let value = match self.value(field, variables) {
                Ok(value) if value.is_empty() && field.omit_empty => return None,
                Ok(value) => value,
                Err(error) => return Some(Err(error)),
            };
            if field.encoding == FieldEncoding::Raw
                && !value.bytes().all(|b| b.is_ascii_graphic() && !b"&#\"'<>".contains(&b))
            {
                return Some(Err(template_error(&field.key, "a raw value holds a character that would end its field")));
            }
            let name = if field.encoding == FieldEncoding::FormPlus { form_plus } else { percent }(&field.name);
            Some(Ok(format!("{name}={value}")))
        });
        Ok(pairs.collect::<Result<Vec<_>, _>>()?.join("&"))
    }

    fn json(&self, node: &Node, fields: &[Field], variables: &Variables) -> Result<String, BuildError> {
        let values = fields.iter().map(|field| {
            let text = self.value(field, variables)?;
            if text.is_empty() && field.omit_empty {
                return Ok(Value::Null);
            }
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

    fn value(&self, field: &Field, variables: &Variables) -> Result<String, BuildError> {
        let text = self.render(&field.key, Place::Plain, &field.value, variables)?;
        encode(text, field.encoding).map_err(|error| BuildError { key: field.key.clone(), error })
    }

    fn render(
        &self,
        key: &str,
        place: Place,
        template: &TemplateText,
        variables: &Variables,
    ) -> Result<String, BuildError> {
        let rendered = self.renderer.render(place, template, variables);
        rendered.map_err(|error| BuildError { key: key.to_owned(), error })
    }

    /// Every template, with its key and place.
    fn templates(&self) -> impl Iterator<Item = (&str, Place, &TemplateText)> {
        let (fields, text) = match &self.body {
            Body::None => (&[][..], None),
            Body::Text(place, template) => (&[][..], Some(("body_text", *place, template))),
            Body::Form(fields) | Body::Json(_, fields) => (&fields[..], None),
        };
        std::iter::once((self.url_key.as_str(), Place::Url, &self.url))
            .chain(self.headers.iter().map(|(key, _, template)| (key.as_str(), Place::Plain, template)))
            .chain(self.query.iter().chain(fields).map(|field| (field.key.as_str(), Place::Plain, &field.value)))
            .chain(text)
    }

    /// Does once what is the same for every message.
    fn learn_templates(&mut self) -> Result<(), GenericError> {
        let templates: Vec<_> =
            self.templates().map(|(key, place, text)| (key.to_owned(), place, text.clone())).collect();
        for (key, place, template) in templates {
            self.renderer.learn(place, &template).map_err(|error| GenericError::key(key, error.to_string()))?;
        }
        if self.query.is_empty() && !self.url.0.contains('{') {
            self.fixed_url =
                Some(parse_url(&self.url.0).map_err(|problem| GenericError::key(self.url_key.clone(), problem))?);
        }
        Ok(())
    }

    /// Names in templates, also where no sample leads; the key, where it is needed; the message, where it would be raw.
    fn check_names(&self) -> Result<(), GenericError> {
        for (key, _, template) in self.templates() {
            let named = |error: RenderError| GenericError::key(key, error.to_string());
            if self.renderer.uses(template, "api_key").map_err(named)? && self.api_key.is_none() {
                return Err(GenericError::MissingSecret);
            }
        }
        let in_pairs = if let Body::Form(fields) = &self.body { &fields[..] } else { &[] };
        for field in self.query.iter().chain(in_pairs).filter(|field| field.encoding == FieldEncoding::Raw) {
            let named = |error: RenderError| GenericError::key(&field.key, error.to_string());
            if self.renderer.uses(&field.value, "message").map_err(named)? {
                return Err(GenericError::key(&field.key, "the message cannot be `raw`: it could end its field"));
            }
        }
        Ok(())
    }

    /// Builds the request of a sample, so that a mistake shows at start and not at the first customer. The first one
    /// fixes the origin.
    fn try_sample(&mut self, subject: Subject<'_>) -> Result<(), BuildError> {
        if self.origin.is_none() {
            self.origin = Some(self.url(&self.variables(subject)?)?.origin());
        }
        self.build(subject).map(drop)
    }
}

/// The query, with the key when `auth` puts it there.
fn query(key: &str, configs: &[FieldConfig], auth: &AuthConfig) -> Result<Vec<Field>, GenericError> {
    let mut query = fields(key, configs, FieldEncoding::Percent)?;
    if let AuthConfig::Query { name, encoding } = auth {
        query.push(Field {
            key: "auth".to_owned(),
            name: name.clone(),
            value: TemplateText("{{ api_key }}".to_owned()),
            encoding: encoding.unwrap_or(FieldEncoding::Percent),
            omit_empty: false,
            json_type: JsonType::String,
        });
    }
    Ok(query)
}

fn method(config: MethodConfig) -> Method {
    match config {
        MethodConfig::Get => Method::GET,
        MethodConfig::Post => Method::POST,
        MethodConfig::Put => Method::PUT,
        MethodConfig::Patch => Method::PATCH,
    }
}

fn template_error(key: &str, problem: &str) -> BuildError {
    BuildError { key: key.to_owned(), error: RenderError::Template(problem.to_owned()) }
}
