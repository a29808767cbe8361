//! The settings that staff change in the database, as the daemon uses them.
//!
//! The claim answers with the version of the settings it saw; a change is therefore in force for the very next message
//! that was committed after it.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::db::{Database, DbError, field, statement};
use crate::message::category::Category;
use crate::message::hours::{Calendar, Window};
use crate::message::kind::Kind;
use crate::message::policy::{KindRules, Rules, UnknownPolicy};
use crate::message::template::{DEFAULT_LANG, Texts};
use crate::outbox::templates;

/// What happens to garage events that made no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CatchUp {
    /// They are not looked for.
    Off,
    /// They are reported.
    Report,
    /// They are enqueued; those that may be none are reported.
    Enqueue,
}

/// One row of `sms_setting`, for people.
#[derive(Debug, Clone, Serialize)]
pub struct SettingRow {
    /// Its name.
    pub name: String,
    /// Its value, as written.
    pub value: String,
    /// How the value is read.
    pub unit: String,
    /// What it does.
    pub description: String,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// By whom.
    pub updated_by: String,
}

/// All settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The sum of the rows' versions, as the claim reports it.
    pub version: i64,
    /// The same of the rows that say at which hours messages go out.
    pub hours_version: i64,
    /// Nothing is claimed while this is set.
    pub paused: bool,
    /// How long a message in doubt waits for proof.
    pub unknown_wait: Duration,
    /// When reminders go out before an appointment, as staff wrote it; the database reads it.
    pub reminder_offsets: String,
    /// Whether reminders are made at all.
    pub reminders_enabled: bool,
    /// Garage events within one minute above which all are held; 0: no limit.
    pub stampede_limit: usize,
    /// What happens to garage events that made no message.
    pub catch_up: CatchUp,
    /// How far back they are looked for.
    pub catch_up_window: Duration,
    /// What decisions rest on.
    pub rules: Rules,
    /// The language of customers for whom none is set.
    pub default_lang: String,
    /// Segments that a template may make.
    pub template_max_segments: u32,
    /// What a segment costs, in dinars; zero: not known.
    pub segment_price: f64,
    /// The words of messages.
    pub texts: Arc<Texts>,
}

/// A row as it stands.
struct Stored {
    row: SettingRow,
    version: i64,
    /// A duration, in milliseconds.
    ms: Option<i64>,
    /// A wait for an hour rests on it.
    sets_hours: bool,
}

async fn rows(database: &Database) -> Result<Vec<Stored>, DbError> {
    let rows = database.query(&statement::SETTINGS, &[]).await?;
    rows.iter()
        .map(|row| {
            let setting = SettingRow {
                name: field(row, "name")?,
                value: field(row, "value")?,
                unit: field(row, "unit")?,
                description: field(row, "description")?,
                updated_at: field(row, "updated_at")?,
                updated_by: field(row, "updated_by")?,
            };
            Ok(Stored {
                row: setting,
                version: field(row, "version")?,
                ms: field(row, "value_ms")?,
                sets_hours: field(row, "sets_hours")?,
            })
        })
        .collect()
}

/// For people, in order of names.
///
/// # Errors
/// [`DbError`].
pub async fn list(database: &Database) -> Result<Vec<SettingRow>, DbError> {
    Ok(rows(database).await?.into_iter().map(|stored| stored.row).collect())
}

impl Settings {
    /// Before the first look: nothing is known, so nothing may go out.
    pub fn unknown() -> Self {
        Self {
            version: -1,
            hours_version: -1,
            paused: true,
            unknown_wait: Duration::MAX,
            reminder_offsets: String::new(),
            reminders_enabled: false,
            stampede_limit: 0,
            catch_up: CatchUp::Off,
            catch_up_window: Duration::ZERO,
            rules: Rules {
                kinds: BTreeMap::new(),
                invoice_settle: Duration::ZERO,
                join: Duration::ZERO,
                windows: BTreeMap::new(),
                calendar: Calendar::default(),
                prompt: Duration::ZERO,
                spread: Duration::ZERO,
                keep_names: false,
            },
            default_lang: DEFAULT_LANG.to_owned(),
            template_max_segments: 0,
            segment_price: 0.0,
            texts: Arc::new(Texts::new(Vec::new()).0),
        }
    }

    /// Reads them all.
    ///
    /// # Errors
    /// [`DbError`], also when one is missing: the migrations put them all in.
    pub async fn load(database: &Database) -> Result<Self, DbError> {
        let rows = rows(database).await?;
        let version = rows.iter().map(|stored| stored.version).sum();
        let hours_version = rows.iter().filter(|stored| stored.sets_hours).map(|stored| stored.version).sum();
        let by_name: BTreeMap<&str, (&str, Option<i64>)> =
            rows.iter().map(|stored| (stored.row.name.as_str(), (stored.row.value.as_str(), stored.ms))).collect();
        let text = |name: &str| {
            by_name
                .get(name)
                .map(|(value, _)| *value)
                .ok_or_else(|| DbError::NotInstalled(format!("setting {name} is missing")))
        };
        let truth = |name: &str| Ok::<_, DbError>(text(name)? == "true");
        let duration = |name: &str| {
            let ms = by_name.get(name).and_then(|(_, ms)| *ms);
            ms.and_then(|ms| u64::try_from(ms).ok())
                .map(Duration::from_millis)
                .ok_or_else(|| DbError::NotInstalled(format!("setting {name} is missing")))
        };
        /// A value as its type reads it. The database refuses what none could.
        fn read<T: FromStr<Err: std::fmt::Display>>(name: &str, value: &str) -> Result<T, DbError> {
            value.parse().map_err(|error| DbError::NotInstalled(format!("setting {name}: {error}")))
        }
        let mut windows = BTreeMap::new();
        for category in Category::ALL {
            let part = |setting: &str| {
                let name = format!("{category}.{setting}");
                text(&name).map(|value| (name, value))
            };
            let (hours, ramadan, days) = (part("hours")?, part("ramadan_hours")?, part("days")?);
            let window = Window {
                hours: read(&hours.0, hours.1)?,
                ramadan_hours: read(&ramadan.0, ramadan.1)?,
                days: read(&days.0, days.1)?,
                on_holidays: part("holidays")?.1 == "open",
            };
            windows.insert(category, window);
        }
        let mut kinds = BTreeMap::new();
        for kind in Kind::ALL {
            let rules = KindRules {
                enabled: truth(&format!("{kind}.enabled"))?,
                delay: duration(&format!("{kind}.delay"))?,
                validity: duration(&format!("{kind}.validity"))?,
                unknown_policy: match text(&format!("{kind}.unknown_policy"))? {
                    "resend" => UnknownPolicy::Resend,
                    _ => UnknownPolicy::Hold,
                },
                category: read(&format!("{kind}.category"), text(&format!("{kind}.category"))?)?,
                encoding: read(&format!("{kind}.encoding"), text(&format!("{kind}.encoding"))?)?,
            };
            kinds.insert(kind, rules);
        }
        Ok(Self {
            version,
            hours_version,
            paused: truth("paused")?,
            unknown_wait: duration("unknown_wait")?,
            reminder_offsets: text("appointment_reminder.offsets")?.to_owned(),
            reminders_enabled: truth("appointment_reminder.enabled")?,
            // The database takes whole numbers only.
            stampede_limit: text("stampede_limit")?.parse().unwrap_or_default(),
            catch_up: match text("catch_up")? {
                "enqueue" => CatchUp::Enqueue,
                "report" => CatchUp::Report,
                _ => CatchUp::Off,
            },
            catch_up_window: duration("catch_up_window")?,
            rules: Rules {
                kinds,
                invoice_settle: duration("invoice_created.settle")?,
                join: duration("service_completed.join")?,
                windows,
                calendar: Calendar {
                    holidays: read("holidays", text("holidays")?)?,
                    ramadan: read("ramadan", text("ramadan")?)?,
                },
                prompt: duration("transactional.prompt")?,
                spread: duration("window_spread")?,
                keep_names: truth("keep_names")?,
            },
            default_lang: text("default_lang")?.to_owned(),
            template_max_segments: read("template_max_segments", text("template_max_segments")?)?,
            segment_price: read("segment_price", text("segment_price")?)?,
            texts: Arc::new(templates::in_force(database).await?),
        })
    }

    /// Whether a message of this kind is sent once more when it is in doubt and no proof came.
    pub fn resends(&self, kind: Kind) -> bool {
        self.rules.kinds.get(&kind).is_some_and(|rules| rules.unknown_policy == UnknownPolicy::Resend)
    }
}
