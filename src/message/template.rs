//! The words of each kind of message, by language.
//!
//! Texts are minijinja templates: sandboxed, no files, no loops without end (fuel), and strict: a variable that the facts
//! do not hold is an error, never an empty hole in a customer's message. The built-in French texts are those that the
//! garage's application has always sent, to the letter; a customer without a first name is greeted without one. What staff have
//! saved takes the place of the built-in text of its kind and language.
//!
//! Facts are values, never templates: `{{` in a name stays `{{`.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Zoned;
use jiff::tz::TimeZone;
use minijinja::{Environment, UndefinedBehavior, Value};

use super::encoding::{self, Measure};
use super::facts::{Facts, clean};
use super::fit::{self, EncodingPolicy};
use super::kind::Kind;
use super::{variables, words};

/// Steps a template may take. The built-in texts take about 20.
const FUEL_STEPS: u64 = 5_000;

/// Longest text a template may make, in characters: ten segments of GSM-7.
pub const TEXT_LIMIT_CHARS: usize = 1_600;

/// The language that every kind has a text in.
pub const DEFAULT_LANG: &str = "fr";

/// Cars named in a joined text at most, beside the first.
const OTHERS_LIMIT: usize = 4;

/// The texts that come with the program.
pub const BUILT_IN: [(Kind, &str, &str); 9] = [
    (
        Kind::ServiceCompleted,
        "fr",
        "Bonjour{% if first_name %} {{ first_name }}{% endif %}, votre service pour {{ car_make }} {{ car_model }} est terminé. \
         Merci de nous contacter pour récupérer votre véhicule.",
    ),
    (
        Kind::ServiceCompleted,
        "ar",
        "مرحبا{% if first_name %} {{ first_name }}{% endif %}، سيارتكم {{ car_make }} {{ car_model }} جاهزة. يرجى الاتصال بنا لاستلامها.",
    ),
    (
        Kind::ServiceCompleted,
        "en",
        "Hello{% if first_name %} {{ first_name }}{% endif %}, the service on your {{ car_make }} {{ car_model }} is finished. \
         Please contact us to collect your car.",
    ),
    (
        Kind::InvoiceCreated,
        "fr",
        "Bonjour{% if first_name %} {{ first_name }}{% endif %}, une nouvelle facture ({{ invoice_number }}) de {{ amount }} DT \
         pour votre {{ car_make }} {{ car_model }} a été émise. Merci de votre confiance.",
    ),
    (
        Kind::InvoiceCreated,
        "ar",
        "مرحبا{% if first_name %} {{ first_name }}{% endif %}، صدرت فاتورة جديدة ({{ invoice_number }}) بمبلغ {{ amount_text }} \
         لسيارتكم {{ car_make }} {{ car_model }}. شكرا لثقتكم.",
    ),
    (
        Kind::InvoiceCreated,
        "en",
        "Hello{% if first_name %} {{ first_name }}{% endif %}, a new invoice ({{ invoice_number }}) of {{ amount_text }} \
         for your {{ car_make }} {{ car_model }} has been issued. Thank you for your trust.",
    ),
    (
        Kind::AppointmentReminder,
        "fr",
        "Bonjour{% if first_name %} {{ first_name }}{% endif %}, rappel de votre rendez-vous pour votre {{ car_make }} {{ car_model }} \
         le {{ date }}{% if time %} à {{ time }}{% endif %}. En cas d'empêchement, merci de nous contacter.",
    ),
    (
        Kind::AppointmentReminder,
        "ar",
        "مرحبا{% if first_name %} {{ first_name }}{% endif %}، نذكركم بموعد سيارتكم {{ car_make }} {{ car_model }} \
         يوم {{ date }}{% if time %} على الساعة {{ time }}{% endif %}. إن تعذر الحضور يرجى الاتصال بنا.",
    ),
    (
        Kind::AppointmentReminder,
        "en",
        "Hello{% if first_name %} {{ first_name }}{% endif %}, a reminder of your appointment for your {{ car_make }} {{ car_model }} \
         on {{ date }}{% if time %} at {{ time }}{% endif %}. If you cannot come, please contact us.",
    ),
];

/// Why no text could be made, or a template is none. Shown to staff as it is.
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
    /// It speaks of something that messages of its kind do not have.
    #[error(
        "the template of {kind} ({lang}), line {line}, column {column}: unknown variable \"{name}\"; variables: {known}"
    )]
    UnknownVariable {
        /// The kind of message.
        kind: &'static str,
        /// The language of the template.
        lang: String,
        /// The name.
        name: String,
        /// Where it stands first, from 1.
        line: usize,
        /// Characters into the line, from 1.
        column: usize,
        /// What there is.
        known: String,
    },
    /// The text is empty, or longer than [`TEXT_LIMIT_CHARS`].
    #[error("the text of {kind} has {chars} characters; allowed: 1 to {TEXT_LIMIT_CHARS}")]
    Length {
        /// The kind of message.
        kind: &'static str,
        /// How many characters it has.
        chars: usize,
    },
    /// With ordinary values it costs too much.
    #[error(
        "the template of {kind} ({lang}) makes texts of {segments} segments; at most {most} are allowed (setting template_max_segments)"
    )]
    Segments {
        /// The kind of message.
        kind: &'static str,
        /// The language of the template.
        lang: String,
        /// Segments of the text with ordinary long values.
        segments: u32,
        /// The limit.
        most: u32,
    },
}

/// A template of a kind and language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// The kind of message.
    pub kind: Kind,
    /// The language.
    pub lang: String,
    /// 0 is built in.
    pub version: i32,
    /// The template.
    pub body: String,
    /// How its texts may be changed to cost less; `None`: the setting of the kind.
    pub encoding: Option<EncodingPolicy>,
}

impl Template {
    /// The built-in one, if there is.
    pub fn built_in(kind: Kind, lang: &str) -> Option<Self> {
        BUILT_IN.iter().find(|(its, language, _)| *its == kind && *language == lang).map(|&(kind, lang, body)| Self {
            kind,
            lang: lang.to_owned(),
            version: 0,
            body: body.to_owned(),
            encoding: None,
        })
    }
}

/// A text, as a template made it, before it is fitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// The words.
    pub body: String,
    /// The version of the template; 0 is built in.
    pub version: i32,
    /// The template's own policy.
    pub encoding: Option<EncodingPolicy>,
}

/// The templates in force.
#[derive(Debug)]
pub struct Texts {
    environment: Environment<'static>,
    templates: HashMap<(Kind, String), Compiled>,
}

#[derive(Debug)]
struct Compiled {
    template: Template,
    /// Its name in the environment.
    key: String,
    /// The names that it speaks of: nothing else is made ready for it.
    names: HashSet<String>,
}

impl Texts {
    /// The built-in texts, and in their place what staff have saved. What is saved and no template is left out, with its error: the
    /// database refuses such a row, so somebody has gone round it.
    pub fn new(saved: Vec<Template>) -> (Self, Vec<TemplateError>) {
        let mut environment = Environment::empty();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(FUEL_STEPS));
        let mut texts = Self { environment, templates: HashMap::new() };
        let built_in = BUILT_IN.iter().filter_map(|(kind, lang, _)| Template::built_in(*kind, lang));
        let mut problems = Vec::new();
        for template in built_in.chain(saved) {
            if let Err(problem) = texts.add(template) {
                problems.push(problem);
            }
        }
        (texts, problems)
    }

    fn add(&mut self, template: Template) -> Result<(), TemplateError> {
        let key = format!("{}.{}.{}", template.kind, template.lang, template.version);
        let failed = |error: &minijinja::Error| failed(template.kind, &template.lang, error);
        self.environment.add_template_owned(key.clone(), template.body.clone()).map_err(|error| failed(&error))?;
        let compiled = self.environment.get_template(&key).map_err(|error| failed(&error))?;
        let names = compiled.undeclared_variables(false);
        // In the order of the text, so that the first one is named.
        let place = |name: &String| template.body.find(name.as_str()).unwrap_or(usize::MAX);
        let known = |name: &str| variables::of(template.kind).any(|variable| variable.name == name);
        if let Some(name) = names.iter().filter(|name| !known(name)).min_by_key(|name| place(name)) {
            let before = template.body.get(..place(name).min(template.body.len())).unwrap_or_default();
            let line_start = before.rfind('\n').map_or(0, |at| at + 1);
            return Err(TemplateError::UnknownVariable {
                kind: template.kind.as_str(),
                lang: template.lang.clone(),
                name: name.clone(),
                line: before.matches('\n').count() + 1,
                column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
                known: variables::of(template.kind).map(|it| it.name).collect::<Vec<_>>().join(", "),
            });
        }
        self.templates.insert((template.kind, template.lang.clone()), Compiled { template, key, names });
        Ok(())
    }

    /// Whether a template is one, and costs no more than `most` segments with ordinary long values. `policy` is in force where the
    /// template has none.
    ///
    /// # Errors
    /// What is wrong with it, where, and what there is instead.
    pub fn check(template: &Template, policy: EncodingPolicy, most: u32) -> Result<Measure, TemplateError> {
        let (kind, lang) = (template.kind, template.lang.clone());
        let (mut texts, _) = Self::new(Vec::new());
        texts.add(template.clone())?;
        let full = variables::of(kind).map(|variable| (variable.name, Value::from(variable.sample))).collect();
        let bare = variables::of(kind)
            .map(|variable| (variable.name, Value::from(if variable.may_be_empty { "" } else { variable.sample })))
            .collect();
        texts.fill(kind, &lang, &bare)?;
        let text = texts.fill(kind, &lang, &full)?.body;
        let measure = fit::apply(template.encoding.unwrap_or(policy), &text, &[], false)
            .map_or_else(|_| encoding::measure(&text), |fitted| fitted.measure);
        if measure.segments > most {
            let segments = measure.segments;
            return Err(TemplateError::Segments { kind: kind.as_str(), lang, segments, most });
        }
        Ok(measure)
    }

    /// The first of these languages in which there is a text of this kind; French has one of each.
    pub fn language<'a>(&'a self, kind: Kind, wanted: impl IntoIterator<Item = &'a str>) -> &'a str {
        wanted.into_iter().find(|lang| self.templates.contains_key(&(kind, (*lang).to_owned()))).unwrap_or(DEFAULT_LANG)
    }

    /// The template in force.
    pub fn template(&self, kind: Kind, lang: &str) -> Option<&Template> {
        self.templates.get(&(kind, lang.to_owned())).map(|compiled| &compiled.template)
    }

    /// All templates in force, by kind and language.
    pub fn all(&self) -> Vec<&Template> {
        let mut all: Vec<_> = self.templates.values().map(|compiled| &compiled.template).collect();
        all.sort_by(|a, b| (a.kind, &a.lang).cmp(&(b.kind, &b.lang)));
        all
    }

    /// The text of a message that speaks of a source; `others` are further services told in the same text.
    ///
    /// # Errors
    /// [`TemplateError`], in words for staff.
    pub fn render(
        &self,
        kind: Kind,
        lang: &str,
        facts: &Facts,
        others: &[Facts],
        zone: &TimeZone,
    ) -> Result<Text, TemplateError> {
        let Some(compiled) = self.templates.get(&(kind, lang.to_owned())) else {
            let problem = "there is no template".to_owned();
            return Err(TemplateError::Failed { kind: kind.as_str(), lang: lang.to_owned(), problem });
        };
        self.fill(kind, lang, &values(compiled, facts, others, zone))
    }

    fn fill(&self, kind: Kind, lang: &str, values: &BTreeMap<&str, Value>) -> Result<Text, TemplateError> {
        let Some(Compiled { template, key, .. }) = self.templates.get(&(kind, lang.to_owned())) else {
            let problem = "there is no template".to_owned();
            return Err(TemplateError::Failed { kind: kind.as_str(), lang: lang.to_owned(), problem });
        };
        let failed = |error: &minijinja::Error| failed(kind, lang, error);
        let compiled = self.environment.get_template(key).map_err(|error| failed(&error))?;
        let body = compiled.render(values).map_err(|error| failed(&error))?;
        let chars = body.chars().count();
        if chars > TEXT_LIMIT_CHARS || body.trim().is_empty() {
            return Err(TemplateError::Length { kind: kind.as_str(), chars });
        }
        Ok(Text { body, version: template.version, encoding: template.encoding })
    }
}

/// The variables that a template speaks of. Optional ones are always there, empty when there is nothing to say.
fn values<'a>(compiled: &'a Compiled, facts: &Facts, others: &[Facts], zone: &TimeZone) -> BTreeMap<&'a str, Value> {
    let lang = compiled.template.lang.as_str();
    let at = || facts.at.map(|at| at.to_zoned(zone.clone()));
    let mut values = BTreeMap::new();
    for name in &compiled.names {
        let value = match (name.as_str(), facts.values.get(name)) {
            ("amount", _) => facts.amount.as_deref().map(clean),
            ("amount_text", _) => {
                facts.amount.as_deref().map(|amount| words::amount(amount, lang).unwrap_or_else(|| clean(amount)))
            }
            ("date", _) => at().map(|at| at.strftime("%d/%m/%Y").to_string()),
            ("date_text", _) => at().map(|at| words::date_long(at.date(), lang)),
            ("weekday", _) => at().map(|at| words::weekday(at.date(), lang).to_owned()),
            ("time", _) => at().map(|at| time_of_day(&at)),
            ("car_model", Some(model)) if !others.is_empty() => Some(with_others(facts, model, others, lang)),
            (_, Some(value)) => Some(clean(value)),
            ("first_name", None) => Some(String::new()),
            (_, None) => None,
        };
        if let Some(value) = value {
            values.insert(name.as_str(), Value::from(value));
        }
    }
    values
}

/// The model of the car, and after it the further cars of the same text.
fn with_others(facts: &Facts, model: &str, others: &[Facts], lang: &str) -> String {
    let car = |facts: &Facts| {
        ["car_make", "car_model", "license_plate"].map(|name| facts.values.get(name).cloned().unwrap_or_default())
    };
    let mut seen = vec![car(facts)];
    let mut text = clean(model);
    for other in others.iter().map(car) {
        if seen.contains(&other) || seen.len() > OTHERS_LIMIT {
            continue;
        }
        text.push_str(and(lang));
        text.push_str(&clean(&format!("{} {}", other[0], other[1])));
        seen.push(other);
    }
    text
}

/// Between two cars.
fn and(lang: &str) -> &'static str {
    match lang {
        "ar" => " و",
        "en" => " and ",
        _ => " et ",
    }
}

/// Midnight sharp is how a date without a time of day arrives from the web form.
fn time_of_day(at: &Zoned) -> String {
    if at.time() == jiff::civil::Time::midnight() { String::new() } else { at.strftime("%H:%M").to_string() }
}

fn failed(kind: Kind, lang: &str, error: &minijinja::Error) -> TemplateError {
    TemplateError::Failed { kind: kind.as_str(), lang: lang.to_owned(), problem: error.to_string() }
}

#[cfg(test)]
mod tests;
