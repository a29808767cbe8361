//! One named value of a request, as an operator writes it.
//!
//! Owns the TOML shape of fields and of the templates in them; it renders nothing.

use serde::Deserialize;

/// One named value of a query, form or JSON body.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldConfig {
    /// Name of the parameter or JSON key. In JSON a name that starts with `/` is a JSON pointer (RFC 6901) to a nested
    /// place, for example `/messages/0/destinations/0/to`.
    pub name: String,
    /// Template of the value.
    pub value: TemplateText,
    /// Encoding of the rendered value. Default: `percent` in a query, `form-plus` in a form, `raw` in JSON (whose own
    /// escaping always applies).
    #[serde(default)]
    pub encoding: Option<FieldEncoding>,
    /// Whether the field is left out when its value is empty. Default `false`.
    #[serde(default)]
    pub omit_empty: bool,
    /// JSON type of the value; ignored elsewhere.
    #[serde(default, rename = "type")]
    pub json_type: JsonType,
}

impl FieldConfig {
    /// A field that carries the variable of its own name.
    pub(super) fn of_variable(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            value: TemplateText(format!("{{{{ {name} }}}}")),
            encoding: None,
            omit_empty: false,
            json_type: JsonType::String,
        }
    }
}

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FieldEncoding {
    /// Percent-encoding (RFC 3986): everything but unreserved characters; a space becomes `%20`.
    Percent,
    /// As an HTML form does it: a space becomes `+`.
    FormPlus,
    /// As it is. In a query or a form it may not hold the message, and a value that would end the field is refused.
    Raw,
    /// The GSM 7-bit octets (3GPP TS 23.038, one septet an octet, unpacked) as upper-case hexadecimal.
    Gsm7Hex,
    /// UCS-2, big-endian, as upper-case hexadecimal.
    Ucs2Hex,
}

/// JSON type of a field.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum JsonType {
    #[default]
    String,
    Number,
    Boolean,
}

/// The text of a template. `Debug` hides it, because operators write literal keys into templates.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct TemplateText(pub String);

impl TemplateText {
    /// A template that renders to exactly `text`, whatever it holds.
    pub(super) fn literal(text: &str) -> Self {
        // `{#`, `{{` and `{%` are the only openings of the language: a brace printed by an expression opens nothing.
        Self(text.replace('{', "{{ '{'|raw }}"))
    }
}

impl std::fmt::Debug for TemplateText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TemplateText(..)")
    }
}
