//! Reading one value out of an answer: by JSON path or by regular expression.
//!
//! Owns the comparison of JSON scalars as text, because gateways write `200` here and `"200"` there. An extractor that
//! finds nothing says so; it never fails an outcome.

use regex::Regex;
use serde::Deserialize;
use serde_json::Value;
use serde_json_path::JsonPath;

use super::GenericError;
use super::answer::Answer;

/// Where providers usually put the id of a message.
const USUAL_ID_PATHS: [&str; 4] = ["$.id", "$.message_id", "$.messageId", "$.sid"];

/// Where to find a value: exactly one of the two.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExtractorConfig {
    /// JSON path (RFC 9535); the first string or number it finds.
    #[serde(default)]
    pub json: Option<String>,
    /// Regular expression over the body; its first group, or the whole match when it has none.
    #[serde(default)]
    pub regex: Option<String>,
}

/// A checked extractor.
pub(super) enum Extractor {
    /// The first path that finds a string or a number wins.
    Json(Vec<JsonPath>),
    Regex(Regex),
}

impl Extractor {
    /// Compiles what the configuration says under `key`.
    pub(super) fn new(key: &str, config: &ExtractorConfig) -> Result<Self, GenericError> {
        match (&config.json, &config.regex) {
            (Some(path), None) => Ok(Self::Json(vec![json_path(&format!("{key}.json"), path)?])),
            (None, Some(pattern)) => Ok(Self::Regex(regex(&format!("{key}.regex"), pattern)?)),
            (Some(_), Some(_)) | (None, None) => Err(GenericError::key(key, "needs either `json` or `regex`")),
        }
    }

    /// Where the provider's id of a message is: as configured, or where it usually is.
    pub(super) fn of_id(key: &str, config: Option<&ExtractorConfig>) -> Result<Self, GenericError> {
        match config {
            Some(config) => Self::new(key, config),
            None => Ok(Self::Json(USUAL_ID_PATHS.iter().map(|path| json_path(key, path)).collect::<Result<_, _>>()?)),
        }
    }

    /// All values, as text.
    pub(super) fn find_all(&self, answer: &Answer) -> Vec<String> {
        match self {
            Self::Json(paths) => {
                let Some(json) = &answer.json else { return Vec::new() };
                let found = paths.iter().flat_map(|path| path.query(json).all());
                found.filter(|value| value.is_string() || value.is_number()).filter_map(scalar_text).collect()
            }
            Self::Regex(regex) => regex
                .captures_iter(&answer.body)
                .filter_map(|found| found.get(1).or_else(|| found.get(0)))
                .map(|found| found.as_str().to_owned())
                .collect(),
        }
    }

    /// The value, as text. Booleans, objects and `null` are no values.
    pub(super) fn find(&self, answer: &Answer) -> Option<String> {
        match self {
            Self::Json(paths) => first_value(paths, answer.json.as_ref()?),
            Self::Regex(regex) => {
                let captures = regex.captures(&answer.body)?;
                captures.get(1).or_else(|| captures.get(0)).map(|found| found.as_str().to_owned())
            }
        }
    }
}

/// The first string or number that one of the paths finds in `json`, as text.
pub(super) fn first_value(paths: &[JsonPath], json: &Value) -> Option<String> {
    paths
        .iter()
        .flat_map(|path| path.query(json).all())
        .find_map(|found| (found.is_string() || found.is_number()).then(|| scalar_text(found)).flatten())
}

/// A JSON scalar as text, so that `200` and `"200"` compare equal. `None` for objects and arrays.
pub(super) fn scalar_text(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some("null".to_owned()),
        Value::Bool(b) => Some(b.to_string()),
        Value::Number(n) => Some(n.to_string()),
        Value::String(s) => Some(s.clone()),
        Value::Array(_) | Value::Object(_) => None,
    }
}

pub(super) fn json_path(key: &str, path: &str) -> Result<JsonPath, GenericError> {
    JsonPath::parse(path).map_err(|e| GenericError::key(key, format!("no JSON path (RFC 9535): {e}")))
}

pub(super) fn regex(key: &str, pattern: &str) -> Result<Regex, GenericError> {
    Regex::new(pattern).map_err(|e| GenericError::key(key, format!("no regular expression: {e}")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn find(config: &str, body: &str) -> Option<String> {
        let config: ExtractorConfig = toml::from_str(config).unwrap();
        Extractor::new("id", &config).unwrap().find(&Answer::of(200, body))
    }

    #[test]
    fn strings_and_numbers_are_values_and_nothing_else_is() {
        assert_eq!(find("json = '$.a'", r#"{"a":"x"}"#), Some("x".into()));
        assert_eq!(find("json = '$.a'", r#"{"a":12345678901234567890}"#), Some("12345678901234567890".into()));
        assert_eq!(find("json = '$.m[*].id'", r#"{"m":[{"id":null},{"id":7}]}"#), Some("7".into()));
        for body in [r#"{"a":true}"#, r#"{"a":null}"#, r#"{"a":{}}"#, "{}", "", "<html>"] {
            assert_eq!(find("json = '$.a'", body), None, "{body}");
        }
    }

    #[test]
    fn a_regex_gives_its_group_or_its_match() {
        assert_eq!(find(r"regex = '<id>(\w+)</id>'", "<r><id>a1</id></r>"), Some("a1".into()));
        assert_eq!(find(r"regex = '\d+'", "OK 42"), Some("42".into()));
        assert_eq!(find(r"regex = '\d+'", "OK"), None);
    }

    #[test]
    fn bad_extractors_are_refused_with_their_key() {
        for (config, key) in
            [("json = '$['", "id.json"), ("regex = '('", "id.regex"), ("", "id"), ("json = '$.a'\nregex = 'b'", "id")]
        {
            let config: ExtractorConfig = toml::from_str(config).unwrap();
            let error = Extractor::new("id", &config).err().unwrap().to_string();
            assert!(error.starts_with(&format!("{key}: ")), "{error}");
        }
    }
}
