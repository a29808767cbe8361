//! The words of each kind of message.
//!
//! Texts are minijinja templates: sandboxed, no files, no loops without end (fuel), and strict: a variable that the facts
//! do not hold is an error, never an empty hole in a customer's message. The built-in French texts are those that the
//! garage's application has always sent, to the letter; a customer without a first name is greeted without one.
//!
//! Facts are values, never templates: `{{` in a name stays `{{`.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Zoned;
use jiff::tz::TimeZone;
use minijinja::{Environment, UndefinedBehavior, Value};

use super::facts::{Facts, clean};
use super::kind::Kind;

/// Steps a template may take. The built-in texts take about 20.
const FUEL_STEPS: u64 = 5_000;

/// Longest text a template may make, in characters: ten segments of GSM-7.
pub const TEXT_LIMIT_CHARS: usize = 1_600;

/// The language of the built-in texts.
pub const DEFAULT_LANG: &str = "fr";

const SERVICE_COMPLETED: &str = "Bonjour{% if first_name %} {{ first_name }}{% endif %}, votre service pour {{ car_make }} {{ car_model }} est terminé. \
     Merci de nous contacter pour récupérer votre véhicule.";
const INVOICE_CREATED: &str = "Bonjour{% if first_name %} {{ first_name }}{% endif %}, une nouvelle facture ({{ invoice_number }}) de {{ amount }} DT \
     pour votre {{ car_make }} {{ car_model }} a été émise. Merci de votre confiance.";
const APPOINTMENT_REMINDER: &str = "Bonjour{% if first_name %} {{ first_name }}{% endif %}, rappel de votre rendez-vous pour votre {{ car_make }} {{ car_model }} \
     le {{ date }}{% if time %} à {{ time }}{% endif %}. En cas d'empêchement, merci de nous contacter.";

/// Why no text could be made. Shown to staff as it is.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TemplateError {
    /// The template failed: a missing variable, bad syntax, out of fuel.
    #[error("the text of {kind} ({lang}) could not be made: {problem}")]
    Failed {
        /// The kind of message.
        kind: &'static str,
        /// The language of the template.
        lang: String,
        /// The library's words.
        problem: String,
    },
    /// The text is empty, or longer than [`TEXT_LIMIT_CHARS`].
    #[error("the text of {kind} has {chars} characters; allowed: 1 to {TEXT_LIMIT_CHARS}")]
    Length {
        /// The kind of message.
        kind: &'static str,
        /// How many characters it has.
        chars: usize,
    },
}

/// The templates in force.
pub struct Texts {
    environment: Environment<'static>,
    /// The names that the template of a kind speaks of: nothing else is made ready for it.
    names: HashMap<Kind, HashSet<String>>,
    zone: TimeZone,
}

impl Texts {
    /// The built-in texts, with times shown in `zone`.
    ///
    /// # Errors
    /// When a template does not parse.
    pub fn built_in(zone: TimeZone) -> Result<Self, TemplateError> {
        let mut environment = Environment::empty();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(FUEL_STEPS));
        let mut names = HashMap::new();
        for (kind, text) in [
            (Kind::ServiceCompleted, SERVICE_COMPLETED),
            (Kind::InvoiceCreated, INVOICE_CREATED),
            (Kind::AppointmentReminder, APPOINTMENT_REMINDER),
        ] {
            environment.add_template(kind.as_str(), text).map_err(|error| failed(kind, &error))?;
            let template = environment.get_template(kind.as_str()).map_err(|error| failed(kind, &error))?;
            names.insert(kind, template.undeclared_variables(false));
        }
        Ok(Self { environment, names, zone })
    }

    /// The text of a message that speaks of a source.
    ///
    /// # Errors
    /// [`TemplateError`], in words for staff.
    pub fn render(&self, kind: Kind, facts: &Facts) -> Result<String, TemplateError> {
        let template = self.environment.get_template(kind.as_str()).map_err(|error| failed(kind, &error))?;
        let text = template.render(self.variables(kind, facts)).map_err(|error| failed(kind, &error))?;
        let chars = text.chars().count();
        if chars == 0 || chars > TEXT_LIMIT_CHARS {
            return Err(TemplateError::Length { kind: kind.as_str(), chars });
        }
        Ok(text)
    }

    /// The variables that the template of this kind speaks of. Optional ones are always there, empty when there is nothing to say.
    fn variables(&self, kind: Kind, facts: &Facts) -> BTreeMap<&str, Value> {
        let mut variables = BTreeMap::new();
        for name in self.names.get(&kind).into_iter().flatten() {
            let value = match (name.as_str(), facts.values.get(name)) {
                ("amount", _) => facts.amount.as_deref().map(clean),
                ("date", _) => facts.at.map(|at| at.to_zoned(self.zone.clone()).strftime("%d/%m/%Y").to_string()),
                ("time", _) => facts.at.map(|at| time_of_day(&at.to_zoned(self.zone.clone()))),
                (_, Some(value)) => Some(clean(value)),
                ("first_name", None) => Some(String::new()),
                (_, None) => None,
            };
            if let Some(value) = value {
                variables.insert(name.as_str(), Value::from(value));
            }
        }
        variables
    }
}

/// Midnight sharp is how a date without a time of day arrives from the web form.
fn time_of_day(at: &Zoned) -> String {
    if at.time() == jiff::civil::Time::midnight() { String::new() } else { at.strftime("%H:%M").to_string() }
}

fn failed(kind: Kind, error: &minijinja::Error) -> TemplateError {
    TemplateError::Failed { kind: kind.as_str(), lang: DEFAULT_LANG.to_owned(), problem: error.to_string() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        let values =
            [("first_name", "Sami"), ("car_make", "Kia"), ("car_model", "Rio"), ("invoice_number", "INV-1A2B3C4D")];
        Facts {
            phone: "20 000 001".to_owned(),
            state: "completed".to_owned(),
            at: Some("2026-12-01T08:30:00Z".parse().unwrap()),
            amount: Some("250.00".to_owned()),
            values: values.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        }
    }

    fn texts() -> Texts {
        Texts::built_in(TimeZone::get("Africa/Tunis").unwrap()).unwrap()
    }

    #[test]
    fn the_three_texts_are_those_the_garage_has_always_sent() {
        let texts = texts();
        assert_eq!(
            texts.render(Kind::ServiceCompleted, &facts()).unwrap(),
            "Bonjour Sami, votre service pour Kia Rio est terminé. Merci de nous contacter pour récupérer votre véhicule."
        );
        assert_eq!(
            texts.render(Kind::InvoiceCreated, &facts()).unwrap(),
            "Bonjour Sami, une nouvelle facture (INV-1A2B3C4D) de 250.00 DT pour votre Kia Rio a été émise. Merci de votre confiance."
        );
        assert_eq!(
            texts.render(Kind::AppointmentReminder, &facts()).unwrap(),
            "Bonjour Sami, rappel de votre rendez-vous pour votre Kia Rio le 01/12/2026 à 09:30. En cas d'empêchement, merci de nous contacter."
        );
    }

    #[test]
    fn a_customer_without_a_first_name_gets_a_text_that_reads_well() {
        for name in [None, Some(""), Some("  \n ")] {
            let mut facts = facts();
            facts.values.remove("first_name");
            if let Some(name) = name {
                facts.values.insert("first_name".to_owned(), name.to_owned());
            }
            let text = texts().render(Kind::ServiceCompleted, &facts).unwrap();
            assert!(text.starts_with("Bonjour, votre service"), "{text}");
        }
    }

    #[test]
    fn midnight_in_tunis_is_a_date_without_a_time() {
        let facts = Facts { at: Some("2026-11-30T23:00:00Z".parse().unwrap()), ..facts() };
        let text = texts().render(Kind::AppointmentReminder, &facts).unwrap();
        assert!(text.contains("le 01/12/2026. En cas"), "{text}");
    }

    #[test]
    fn a_missing_fact_is_an_error_and_not_a_hole_in_the_text() {
        let mut facts = facts();
        facts.values.remove("car_model");
        let error = texts().render(Kind::ServiceCompleted, &facts).unwrap_err();
        assert!(matches!(error, TemplateError::Failed { kind: "service_completed", .. }), "{error}");
    }

    #[test]
    fn a_name_with_braces_stays_a_name() {
        let mut facts = facts();
        facts.values.insert("first_name".to_owned(), "{{ 7*7 }}{% for x in y %}".to_owned());
        let text = texts().render(Kind::ServiceCompleted, &facts).unwrap();
        assert!(text.starts_with("Bonjour {{ 7*7 }}{% for x in y %}, votre"), "{text}");
    }
}
