//! Templates of a request: small texts over a fixed set of variables.
//!
//! Owns the MiniJinja environments, one for each place a template may stand: strict about undefined names, limited in work, and encoding by place: values printed
//! into a URL are percent-encoded, into XML escaped, elsewhere left as they are because their field is encoded as a
//! whole. Which variables there are is told by `subject`. It never sees more than one message, and a message's text is data: braces in it are printed, not run.
//! A template is checked once against sample messages; one that fails later sent nothing, and the error tells whether
//! the template or the message is at fault.

use std::borrow::Cow;
use std::collections::HashMap;

use minijinja::value::{Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Output, State, UndefinedBehavior};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::field::{FieldEncoding, TemplateText};
use crate::message::encoding::{encode_gsm7, encode_ucs2};

/// Steps a template may take: a request needs a few dozen; a loop gone wrong ends here.
const FUEL_STEPS: u64 = 10_000;
/// Longest rendered value, in bytes: ten segments are below 4 KiB even as hexadecimal, and servers refuse far less.
const RENDERED_LIMIT_BYTES: usize = 64 * 1024;
/// The unreserved characters of RFC 3986 stay, everything else is encoded.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Where a template's output goes, which decides how values are encoded in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// A URL: values are percent-encoded.
    Url,
    /// An XML body: values are escaped.
    Xml,
    /// A field, header or plain body: values as they are.
    Plain,
}

/// Why a value could not be rendered. Nothing was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum RenderError {
    /// Every message would fail: the configuration is wrong.
    #[error("{0}")]
    Template(String),
    /// This message cannot be written this way.
    #[error("{0}")]
    Message(String),
}

/// Marks an error as the message's own fault.
#[derive(Debug, thiserror::Error)]
#[error("the text has characters outside the GSM 7-bit alphabet")]
struct NotGsm7;

/// Renders templates: those it has [`learnt`](Self::learn) without compiling them again.
pub(super) struct Renderer {
    /// By place. Templates are called by their own text.
    environments: [Environment<'static>; 3],
    /// Learnt templates that are one variable and nothing else, as most are; they need no program.
    lone: HashMap<String, &'static str>,
    /// The names a template may use.
    variables: &'static [&'static str],
}

/// Writes a value where it stands.
type Formatter = fn(&mut Output<'_>, &mut State<'_, '_>, &Value) -> Result<(), Error>;

impl Renderer {
    /// A renderer of templates that may use these names.
    pub(super) fn new(variables: &'static [&'static str]) -> Self {
        let url: Formatter = |out, _, value| write_encoded(Place::Url, out, value);
        let xml: Formatter = |out, _, value| write_encoded(Place::Xml, out, value);
        let plain: Formatter = |out, _, value| write_encoded(Place::Plain, out, value);
        // In the order of `Place`.
        Self { environments: [url, xml, plain].map(environment), lone: HashMap::new(), variables }
    }

    fn environment(&self, place: Place) -> &Environment<'static> {
        &self.environments[place as usize]
    }

    /// Compiles a template once, for all messages.
    ///
    /// # Errors
    /// It does not compile.
    pub(super) fn learn(&mut self, place: Place, template: &TemplateText) -> Result<(), RenderError> {
        let inner = template.0.strip_prefix("{{").and_then(|text| text.strip_suffix("}}")).map(str::trim);
        if let Some(name) = inner.and_then(|inner| self.variables.iter().find(|name| **name == inner)) {
            self.lone.insert(template.0.clone(), name);
        }
        let known = self.environments[place as usize].add_template_owned(template.0.clone(), template.0.clone());
        known.map_err(|e| failure(&e))
    }

    /// Whether `template` may print `variable`.
    ///
    /// # Errors
    /// The template does not compile or uses an unknown name.
    pub(super) fn uses(&self, template: &TemplateText, variable: &str) -> Result<bool, RenderError> {
        let environment = self.environment(Place::Plain);
        let compiled = environment.template_from_str(&template.0).map_err(|e| failure(&e))?;
        let names = compiled.undeclared_variables(false);
        // Functions such as range() are reported too, so known globals are no mistake.
        let globals: Vec<&str> = environment.globals().map(|(name, _)| name).collect();
        match names.iter().find(|n| !self.variables.contains(&n.as_str()) && !globals.contains(&n.as_str())) {
            Some(unknown) => Err(RenderError::Template(format!(
                "unknown variable {unknown:?}, the variables are {}",
                self.variables.join(", ")
            ))),
            None => Ok(names.contains(variable)),
        }
    }

    /// Renders `template` for its place over `variables`, a map with the names told at the beginning.
    ///
    /// # Errors
    /// See [`RenderError`].
    pub(super) fn render(
        &self,
        place: Place,
        template: &TemplateText,
        variables: &Value,
    ) -> Result<String, RenderError> {
        if let Some(value) = self.lone.get(&template.0).and_then(|name| variables.get_attr(name).ok())
            && !value.is_undefined()
        {
            return limited(encoded(place, &value).into_owned());
        }
        let environment = self.environment(place);
        let rendered = match environment.get_template(&template.0) {
            Ok(learnt) => learnt.render(variables),
            Err(_) => environment.render_str(&template.0, variables),
        };
        limited(rendered.map_err(|e| failure(&e))?)
    }
}

fn limited(rendered: String) -> Result<String, RenderError> {
    match rendered.len() > RENDERED_LIMIT_BYTES {
        true => Err(RenderError::Template(format!("renders to more than {RENDERED_LIMIT_BYTES} bytes"))),
        false => Ok(rendered),
    }
}

fn environment(formatter: Formatter) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL_STEPS));
    // Debug information of an error would quote the variables, the key among them.
    environment.set_debug(false);
    environment.set_formatter(formatter);
    environment.add_filter("raw", |value: &str| Value::from_safe_string(value.to_owned()));
    environment.add_filter("percent", |value: &str| Value::from_safe_string(percent(value)));
    environment.add_filter("form_plus", |value: &str| Value::from_safe_string(form_plus(value)));
    environment.add_filter("ucs2_hex", |value: &str| Value::from_safe_string(hex(&encode_ucs2(value))));
    environment.add_filter("gsm7_hex", |value: &str| match encode_gsm7(value) {
        Some(septets) => Ok(Value::from_safe_string(hex(&septets))),
        None => Err(Error::new(ErrorKind::InvalidOperation, "gsm7_hex").with_source(NotGsm7)),
    });
    environment
}

/// Tells a template's fault from a message's, by type. The template's name is left out: it is its text, where a key may stand.
fn failure(error: &Error) -> RenderError {
    let source = std::error::Error::source(error);
    match source.and_then(|s| s.downcast_ref::<NotGsm7>()) {
        Some(not_gsm7) => RenderError::Message(not_gsm7.to_string()),
        None => RenderError::Template(match error.detail() {
            Some(detail) => format!("{}: {detail}", error.kind()),
            None => error.kind().to_string(),
        }),
    }
}

/// Prints one value.
fn write_encoded(place: Place, out: &mut Output<'_>, value: &Value) -> Result<(), Error> {
    out.write_str(&encoded(place, value)).map_err(Error::from)
}

/// A value, encoded for its place unless it is marked as encoded already.
fn encoded(place: Place, value: &Value) -> Cow<'_, str> {
    let text = match value.as_str() {
        Some(text) => Cow::Borrowed(text),
        // Booleans are written as JSON and most gateways do; MiniJinja's own way is Python's `True`.
        None if value.kind() == ValueKind::Bool => Cow::Owned(value.is_true().to_string()),
        None => Cow::Owned(value.to_string()),
    };
    match place {
        _ if value.is_safe() => text,
        Place::Url => Cow::Owned(percent(&text)),
        Place::Xml => Cow::Owned(xml_escape(&text)),
        Place::Plain => text,
    }
}

/// Applies a field's encoding to its whole value.
///
/// # Errors
/// The value cannot be written in the GSM 7-bit alphabet.
pub(super) fn encode(value: String, encoding: FieldEncoding) -> Result<String, RenderError> {
    match encoding {
        FieldEncoding::Percent => Ok(percent(&value)),
        FieldEncoding::FormPlus => Ok(form_plus(&value)),
        FieldEncoding::Raw => Ok(value),
        FieldEncoding::Gsm7Hex => {
            encode_gsm7(&value).map(|octets| hex(&octets)).ok_or_else(|| RenderError::Message(NotGsm7.to_string()))
        }
        FieldEncoding::Ucs2Hex => Ok(hex(&encode_ucs2(&value))),
    }
}

/// Percent-encodes everything but unreserved characters (RFC 3986, section 2.3), as UTF-8.
pub(super) fn percent(value: &str) -> String {
    utf8_percent_encode(value, RESERVED).to_string()
}

/// Encodes as an HTML form does (WHATWG URL, `application/x-www-form-urlencoded`).
pub(super) fn form_plus(value: &str) -> String {
    url::form_urlencoded::byte_serialize(value.as_bytes()).collect()
}

/// Escapes a text for XML content and attributes; characters that XML 1.0 cannot hold become U+FFFD.
fn xml_escape(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len() + 16);
    for c in value.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // Bare line ends and tabs would be normalised away by the parser, inside attributes at least.
            '\n' | '\r' | '\t' => escaped.push_str(&format!("&#{};", u32::from(c))),
            '\0'..='\x1f' | '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            _ => escaped.push(c),
        }
    }
    escaped
}

fn hex(octets: &[u8]) -> String {
    use std::fmt::Write;
    octets.iter().fold(String::with_capacity(octets.len() * 2), |mut text, octet| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{octet:02X}");
        text
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NAMES: &[&str] = &["phone", "message", "api_key", "unicode"];

    fn variables(message: &str) -> Value {
        minijinja::context! { phone => "+21620000123", message, api_key => "k/e=y", unicode => false }
    }

    /// Learnt or not, a template renders the same.
    fn render(place: Place, template: &str, message: &str) -> Result<String, RenderError> {
        let template = TemplateText(template.into());
        let mut renderer = Renderer::new(NAMES);
        let compiled = renderer.render(place, &template, &variables(message));
        renderer.learn(place, &template).expect("it compiles");
        assert_eq!(renderer.render(place, &template, &variables(message)), compiled);
        compiled
    }

    #[test]
    fn values_are_encoded_for_their_place_unless_marked_raw() {
        let hostile = "a&b <c> \"d\" 'e'/é";
        assert_eq!(render(Place::Plain, "{{ message }}", hostile).unwrap(), hostile);
        assert_eq!(
            render(Place::Url, "http://h/{{ message }}?x={{ api_key|raw }}", hostile).unwrap(),
            "http://h/a%26b%20%3Cc%3E%20%22d%22%20%27e%27%2F%C3%A9?x=k/e=y"
        );
        assert_eq!(
            render(Place::Xml, "<m>{{ message }}</m>", hostile).unwrap(),
            "<m>a&amp;b &lt;c&gt; &quot;d&quot; &#39;e&#39;/é</m>"
        );
        assert_eq!(render(Place::Xml, "{{ message }}", "a\n\u{1}").unwrap(), "a&#10;\u{fffd}");
    }

    #[test]
    fn booleans_are_written_in_lower_case() {
        assert_eq!(render(Place::Plain, "{{ unicode }} {{ not unicode }}", "").unwrap(), "false true");
    }

    #[test]
    fn filters_encode_once() {
        assert_eq!(render(Place::Url, "{{ message|percent }}", "a b").unwrap(), "a%20b");
        assert_eq!(render(Place::Plain, "{{ message|form_plus }}", "a b&c").unwrap(), "a+b%26c");
        assert_eq!(render(Place::Plain, "{{ message|ucs2_hex }}", "aé").unwrap(), "006100E9");
        assert_eq!(render(Place::Plain, "{{ message|gsm7_hex }}", "A").unwrap(), "41");
    }

    #[test]
    fn braces_in_a_message_are_data() {
        assert_eq!(render(Place::Plain, "{{ message }}", "{{ api_key }}{% x %}").unwrap(), "{{ api_key }}{% x %}");
    }

    #[test]
    fn a_text_outside_gsm7_is_the_messages_fault_and_an_unknown_name_the_templates() {
        assert!(matches!(render(Place::Plain, "{{ message|gsm7_hex }}", "م"), Err(RenderError::Message(_))));
        assert!(matches!(render(Place::Plain, "{{ mesage }}", "x"), Err(RenderError::Template(_))));
        assert!(matches!(encode("م".into(), FieldEncoding::Gsm7Hex), Err(RenderError::Message(_))));
    }

    #[test]
    fn endless_work_and_endless_output_are_stopped() {
        let loops = "{% for a in range(300) %}{% for b in range(300) %}{% endfor %}{% endfor %}";
        assert!(render(Place::Plain, loops, "").is_err());
        assert!(render(Place::Plain, "{{ message }}", &"x".repeat(RENDERED_LIMIT_BYTES + 1)).is_err());
    }

    #[test]
    fn unknown_names_are_found_in_branches_that_are_not_taken() {
        let renderer = Renderer::new(NAMES);
        let uses = |text: &str, name| renderer.uses(&TemplateText(text.into()), name);
        assert!(uses("{% if unicode %}{{ mesage }}{% endif %}", "message").is_err());
        assert_eq!(uses("{% for i in range(2) %}{{ phone }}{% endfor %}", "message"), Ok(false));
        assert_eq!(uses("{{ message|percent }}", "message"), Ok(true));
        assert!(uses("{{ message", "message").is_err());
    }

    #[test]
    fn errors_do_not_quote_the_key() {
        let error = render(Place::Plain, "{{ api_key.nothing.deeper }}", "x").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("k/e=y"), "{error:?}");
    }

    proptest! {
        #[test]
        fn a_percent_encoded_text_comes_back_and_holds_no_separator(text in any::<String>()) {
            let encoded = percent(&text);
            prop_assert!(encoded.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~%".contains(&b)));
            prop_assert_eq!(percent_encoding::percent_decode_str(&encoded).decode_utf8().unwrap(), text);
        }

        #[test]
        fn an_xml_escaped_text_holds_no_markup(text in any::<String>()) {
            let escaped = xml_escape(&text);
            prop_assert!(!escaped.contains(['<', '>', '"', '\'', '\n']));
        }
    }
}
