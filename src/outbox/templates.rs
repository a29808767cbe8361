//! The templates that staff have saved: read for the daemon, listed, changed and tried for people.
//!
//! The database refuses what is no template and says where (`sms_template_check`); what only the renderer can tell is asked of
//! [`Texts::check`] before it is saved: the exact segments of the longest ordinary text.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use tracing::warn;

use super::staff::StaffError;
use crate::db::{Database, DbError, Row, field, statement};
use crate::garage::facts;
use crate::message::encoding::{self, Encoding, Measure};
use crate::message::fit::{self, EncodingPolicy};
use crate::message::kind::Kind;
use crate::message::template::{BUILT_IN, Template, Texts};
use crate::message::variables;

/// Rows of the garage that a preview shows at most.
const PREVIEW_LIMIT: i64 = 20;

/// The newest versions, over the built-in texts.
///
/// # Errors
/// [`DbError`].
pub async fn in_force(database: &Database) -> Result<Texts, DbError> {
    let rows = database.query(&statement::TEMPLATES, &[]).await?;
    let mut saved = Vec::with_capacity(rows.len());
    for row in &rows {
        let kind: &str = field(row, "kind")?;
        let Ok(kind) = kind.parse::<Kind>() else { continue };
        let encoding: Option<&str> = field(row, "encoding")?;
        saved.push(Template {
            kind,
            lang: field(row, "lang")?,
            version: field(row, "version")?,
            body: field(row, "body")?,
            encoding: encoding.and_then(|word| word.parse().ok()),
        });
    }
    let (texts, problems) = Texts::new(saved);
    for problem in problems {
        warn!(problem = %problem, "a saved template cannot be used; the built-in text stays in force");
    }
    Ok(texts)
}

/// One version of a template, for people.
#[derive(Debug, Serialize)]
pub struct TemplateRecord {
    /// The kind of message.
    pub kind: String,
    /// The language.
    pub lang: String,
    /// 0 is built in.
    pub version: i32,
    /// Whether messages use it.
    pub in_force: bool,
    /// The template.
    pub body: String,
    /// Its own encoding policy.
    pub encoding: Option<String>,
    /// When it was saved; nothing for the built-in one.
    pub created_at: Option<Timestamp>,
    /// By whom.
    pub created_by: Option<String>,
}

impl TemplateRecord {
    fn of(template: &Template, in_force: bool) -> Self {
        Self {
            kind: template.kind.to_string(),
            lang: template.lang.clone(),
            version: template.version,
            in_force,
            body: template.body.clone(),
            encoding: template.encoding.map(|policy| policy.to_string()),
            created_at: None,
            created_by: None,
        }
    }
}

/// The templates in force.
pub fn list(texts: &Texts) -> Vec<TemplateRecord> {
    texts.all().into_iter().map(|template| TemplateRecord::of(template, true)).collect()
}

/// All versions of one template, the newest first; the built-in one is the last.
///
/// # Errors
/// [`StaffError::NotFound`] when there is none, [`StaffError::Database`].
pub async fn history(database: &Database, kind: Kind, lang: &str) -> Result<Vec<TemplateRecord>, StaffError> {
    let rows = database.query(&statement::TEMPLATE_HISTORY, &[("kind", &kind.as_str()), ("lang", &lang)]).await?;
    let read = |row: &Row| {
        Ok::<_, DbError>(TemplateRecord {
            kind: kind.to_string(),
            lang: lang.to_owned(),
            version: field(row, "version")?,
            in_force: false,
            body: field(row, "body")?,
            encoding: field(row, "encoding")?,
            created_at: Some(field(row, "created_at")?),
            created_by: Some(field(row, "created_by")?),
        })
    };
    let mut versions = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    versions.extend(Template::built_in(kind, lang).map(|template| TemplateRecord::of(&template, false)));
    match versions.first_mut() {
        Some(newest) => newest.in_force = true,
        None => return Err(StaffError::NotFound(missing(kind, lang))),
    }
    Ok(versions)
}

fn missing(kind: Kind, lang: &str) -> String {
    if variables::of(kind).next().is_none() {
        return format!("messages of kind {kind} carry their own text; there is no template");
    }
    let languages: BTreeSet<&str> = BUILT_IN.iter().map(|(_, lang, _)| *lang).collect();
    let languages = languages.into_iter().collect::<Vec<_>>().join(", ");
    format!("there is no template of {kind} in \"{lang}\"; built in are {languages}")
}

/// A template that is saved or tried, and what is in force where it says nothing.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The kind of message.
    pub kind: Kind,
    /// The language.
    pub lang: String,
    /// The template; `None`: the built-in one.
    pub body: Option<String>,
    /// Its own encoding policy.
    pub encoding: Option<EncodingPolicy>,
}

/// What a draft is measured against.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The encoding policy of the kind.
    pub encoding: EncodingPolicy,
    /// Segments at most.
    pub max_segments: u32,
}

async fn checked(database: &Database, draft: &Draft, limits: Limits) -> Result<(Template, Measure), StaffError> {
    let Draft { kind, lang, encoding, .. } = draft;
    let body = match &draft.body {
        Some(body) => body.clone(),
        None => Template::built_in(*kind, lang).ok_or_else(|| StaffError::NotFound(missing(*kind, lang)))?.body,
    };
    let arguments: [crate::db::Argument<'_>; 3] = [("kind", &kind.as_str()), ("lang", lang), ("body", &body)];
    database.query_one(&statement::TEMPLATE_CHECK, &arguments).await?;
    let template = Template { kind: *kind, lang: lang.clone(), version: i32::MAX, body, encoding: *encoding };
    let measure = Texts::check(&template, limits.encoding, limits.max_segments)
        .map_err(|error| StaffError::Refused(error.to_string()))?;
    Ok((template, measure))
}

/// Saves a new version; returns its number.
///
/// # Errors
/// [`StaffError::Refused`] when it is no template, with the place; [`StaffError::NotFound`], [`StaffError::Database`].
pub async fn set(database: &Database, draft: &Draft, limits: Limits, by: &str) -> Result<i32, StaffError> {
    let (template, _) = checked(database, draft, limits).await?;
    let row = database
        .query_one(
            &statement::TEMPLATE_SET,
            &[
                ("kind", &draft.kind.as_str()),
                ("lang", &draft.lang),
                ("body", &template.body),
                ("encoding", &draft.encoding.map(EncodingPolicy::as_str)),
                ("by", &by),
            ],
        )
        .await?;
    Ok(field(&row, "version")?)
}

/// How a template comes out.
#[derive(Debug, Serialize)]
pub struct Preview {
    /// The kind of message.
    pub kind: String,
    /// The language.
    pub lang: String,
    /// The template.
    pub body: String,
    /// The encoding policy in force.
    pub policy: String,
    /// Segments of a text with long ordinary values.
    pub longest_segments: u32,
    /// Septets (GSM-7) or code units (UCS-2) that one segment leaves for all variables together, with every `if` taken.
    pub room: usize,
    /// In which alphabet: that of the words around the variables, after fitting.
    pub room_encoding: String,
    /// Texts on real rows of the garage.
    pub texts: Vec<PreviewText>,
}

/// One text of a preview.
#[derive(Debug, Serialize)]
pub struct PreviewText {
    /// The service or invoice.
    pub source_id: i64,
    /// The text as it would be sent; nothing when it could not be made.
    pub text: Option<String>,
    /// Why not.
    pub problem: Option<String>,
    /// The alphabet.
    pub encoding: String,
    /// Its length in septets or code units.
    pub units: usize,
    /// What it costs, in segments.
    pub segments: u32,
    /// The same in dinars, where the price is known.
    pub price: Option<f64>,
    /// Characters of the text as written that force UCS-2, with their places from 1, and what they would become.
    pub forcing: Vec<ForcingCharacter>,
    /// The cheapest wording of the text in GSM-7, when it is another and costs fewer segments.
    pub cheaper: Option<Cheaper>,
}

/// A character that forces UCS-2.
#[derive(Debug, Serialize)]
pub struct ForcingCharacter {
    /// Its place in the text, from 1.
    pub place: usize,
    /// The character.
    pub character: char,
    /// What takes its place in GSM-7, if anything does.
    pub rewording: Option<String>,
}

/// A cheaper wording.
#[derive(Debug, Serialize)]
pub struct Cheaper {
    /// The text.
    pub text: String,
    /// Its segments.
    pub segments: u32,
}

/// What a preview is made with.
#[derive(Debug, Clone, Copy)]
pub struct Pricing<'a> {
    /// The garage's zone.
    pub zone: &'a TimeZone,
    /// A segment in dinars; zero: not known.
    pub segment_price: f64,
    /// Whether names keep their letters.
    pub keep_names: bool,
}

/// Tries a draft on the newest rows of the garage, or on the one named.
///
/// # Errors
/// As [`set`].
pub async fn preview(
    database: &Database,
    draft: &Draft,
    limits: Limits,
    pricing: Pricing<'_>,
    source_id: Option<i64>,
    at_most: i64,
) -> Result<Preview, StaffError> {
    let (template, measure) = checked(database, draft, limits).await?;
    let policy = draft.encoding.unwrap_or(limits.encoding);
    let (texts, problems) = Texts::new(vec![template.clone()]);
    if let Some(problem) = problems.first() {
        return Err(StaffError::Refused(problem.to_string()));
    }
    let at_most = at_most.clamp(1, PREVIEW_LIMIT);
    let sources: Vec<(Kind, i64)> = match source_id {
        Some(id) => vec![(draft.kind, id)],
        None => {
            let arguments: [crate::db::Argument<'_>; 2] = [("kind", &draft.kind.as_str()), ("at_most", &at_most)];
            let rows = database.query(&statement::TEMPLATE_SAMPLES, &arguments).await?;
            let ids = rows.iter().map(|row| field(row, "source_id")).collect::<Result<Vec<i64>, _>>()?;
            ids.into_iter().map(|id| (draft.kind, id)).collect()
        }
    };
    let facts = if sources.is_empty() { Vec::new() } else { facts::read(database, &sources).await? };
    let shown = sources.iter().zip(facts).map(|((_, id), facts)| match facts {
        Some(facts) => match texts.render(draft.kind, &draft.lang, &facts, &[], pricing.zone) {
            Ok(text) => {
                let name = facts.values.get("first_name").map(String::as_str).unwrap_or_default();
                text_of(*id, &text.body, name, policy, pricing)
            }
            Err(error) => problem(*id, error.to_string()),
        },
        None => problem(*id, format!("{} {id} is not there, or its car or customer is not", draft.kind)),
    });
    let texts = shown.collect();
    let (room, room_encoding) = room(&template, policy);
    Ok(Preview {
        kind: draft.kind.to_string(),
        lang: draft.lang.clone(),
        body: template.body,
        policy: policy.to_string(),
        longest_segments: measure.segments,
        room,
        room_encoding: room_encoding.to_string(),
        texts,
    })
}

/// What one segment leaves for the variables.
fn room(template: &Template, policy: EncodingPolicy) -> (usize, Encoding) {
    // The words alone, all of them: a branch that is not taken leaves more room and never less.
    let mut words = String::new();
    let mut rest = template.body.as_str();
    while let Some((before, tag)) = rest.split_once('{') {
        words.push_str(before);
        let end = match tag.chars().next() {
            Some('{') => "}}",
            Some('%') => "%}",
            Some('#') => "#}",
            _ => {
                words.push('{');
                rest = tag;
                continue;
            }
        };
        rest = tag.split_once(end).map_or("", |(_, after)| after);
    }
    words.push_str(rest);
    let fitted = match policy {
        EncodingPolicy::Keep => words,
        EncodingPolicy::Fit | EncodingPolicy::Force => fit::transliterate(&words),
    };
    let measure = encoding::measure(&fitted);
    (fit::room(measure.units, measure.encoding), measure.encoding)
}

fn problem(source_id: i64, problem: String) -> PreviewText {
    PreviewText {
        source_id,
        text: None,
        problem: Some(problem),
        encoding: String::new(),
        units: 0,
        segments: 0,
        price: None,
        forcing: Vec::new(),
        cheaper: None,
    }
}

fn text_of(source_id: i64, text: &str, name: &str, policy: EncodingPolicy, pricing: Pricing<'_>) -> PreviewText {
    let (sent, measure, problem) = match fit::apply(policy, text, &[name], pricing.keep_names) {
        Ok(fitted) => (Some(fitted.text.into_owned()), fitted.measure, None),
        Err(error) => (None, encoding::measure(text), Some(error.to_string())),
    };
    let reworded = fit::transliterate(text);
    let cheaper = encoding::measure(&reworded);
    PreviewText {
        source_id,
        text: sent,
        problem,
        encoding: measure.encoding.to_string(),
        units: measure.units,
        segments: measure.segments,
        price: (pricing.segment_price > 0.0).then(|| f64::from(measure.segments) * pricing.segment_price),
        forcing: fit::forcing(text)
            .into_iter()
            .map(|it| ForcingCharacter { place: it.place + 1, character: it.character, rewording: it.rewording })
            .collect(),
        cheaper: (cheaper.segments < measure.segments)
            .then_some(Cheaper { text: reworded, segments: cheaper.segments }),
    }
}
