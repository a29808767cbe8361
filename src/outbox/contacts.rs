//! What is on record of numbers beyond the garage's own tables: language, opt-out, consent.
//!
//! The sender asks for a batch ([`of`]); the rest is what staff ask. The database keeps the rows sound and the ledger of consent
//! complete, however they are written (`sql/migrations/0009_people.sql`).

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::staff::StaffError;
use crate::db::{Database, DbError, Row, field, statement};
use crate::message::policy::{Contact, OptOut};

/// Opt-outs listed at most.
const LIST_LIMIT: i64 = 1_000;

/// What is on record of these numbers, in E.164; most are not there.
///
/// # Errors
/// [`DbError`].
pub async fn of(database: &Database, numbers: &[&str]) -> Result<HashMap<String, Contact>, DbError> {
    let rows = database.query(&statement::CONTACTS, &[("phones", &numbers)]).await?;
    rows.iter()
        .map(|row| {
            let contact = Contact {
                lang: field(row, "lang")?,
                opted_out: match field::<Option<&str>>(row, "opted_out")? {
                    None => None,
                    Some("marketing") => Some(OptOut::Marketing),
                    // What is not understood must not lead to a message.
                    Some(_) => Some(OptOut::All),
                },
                consent: field(row, "consent")?,
            };
            Ok((field(row, "phone")?, contact))
        })
        .collect()
}

/// One number, for people.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ContactRecord {
    /// E.164.
    pub phone: String,
    /// The customer's language, when it is set.
    pub lang: Option<String>,
    /// `all`, `marketing`, or nothing.
    pub opted_out: Option<String>,
    /// Since when there is consent to marketing.
    pub consent_at: Option<Timestamp>,
    /// How opt-out or consent last changed.
    pub how: Option<String>,
    /// When the record last changed.
    pub updated_at: Option<Timestamp>,
    /// By whom.
    pub updated_by: Option<String>,
    /// Consent and opt-outs in order, when one number is shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ledger: Vec<LedgerEntry>,
}

/// One entry of the ledger of consent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// When.
    pub at: Timestamp,
    /// `consented`, `revoked`, `opted_out`, `opted_in`.
    pub what: String,
    /// `all` or `marketing`.
    pub scope: Option<String>,
    /// How it was said.
    pub how: Option<String>,
    /// The words that were agreed to.
    pub wording: Option<String>,
    /// Where the proof is.
    pub proof: Option<String>,
    /// Who entered it.
    pub by: String,
}

fn record(row: &Row) -> Result<ContactRecord, DbError> {
    Ok(ContactRecord {
        phone: field(row, "phone")?,
        lang: field(row, "lang")?,
        opted_out: field(row, "opted_out")?,
        consent_at: field(row, "consent_at")?,
        how: field(row, "how")?,
        updated_at: field(row, "updated_at")?,
        updated_by: field(row, "updated_by")?,
        ledger: Vec::new(),
    })
}

/// One number with its ledger; an empty record when nothing is known of it.
///
/// # Errors
/// [`StaffError::Database`].
pub async fn show(database: &Database, phone: &str) -> Result<ContactRecord, StaffError> {
    let row = database.query_opt(&statement::CONTACT_SHOW, &[("phone", &phone)]).await?;
    let nothing = || ContactRecord { phone: phone.to_owned(), ..ContactRecord::default() };
    let mut contact = row.as_ref().map(record).transpose()?.unwrap_or_else(nothing);
    let rows = database.query(&statement::CONTACT_LEDGER, &[("phone", &phone)]).await?;
    let entry = |row: &Row| {
        Ok::<_, DbError>(LedgerEntry {
            at: field(row, "at")?,
            what: field(row, "what")?,
            scope: field(row, "scope")?,
            how: field(row, "how")?,
            wording: field(row, "wording")?,
            proof: field(row, "proof")?,
            by: field(row, "by")?,
        })
    };
    contact.ledger = rows.iter().map(entry).collect::<Result<_, _>>()?;
    Ok(contact)
}

/// Consent to marketing, as it is entered or taken back.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsentChange {
    /// Given, or taken back.
    pub given: bool,
    /// How: a signed form, a reply.
    pub how: Option<String>,
    /// The words that were agreed to.
    pub wording: Option<String>,
    /// Where the proof is.
    pub proof: Option<String>,
}

/// What is changed of a number; what is none stays.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContactChange {
    /// The language; empty: the garage's.
    pub lang: Option<String>,
    /// `all`, `marketing`, or `none`.
    pub opt_out: Option<String>,
    /// How the customer said so.
    pub how: Option<String>,
    /// Consent to marketing.
    pub consent: Option<ConsentChange>,
}

/// Changes a contact, all of it or nothing.
///
/// # Errors
/// [`StaffError::Refused`], [`StaffError::Database`].
pub async fn change(database: &Database, phone: &str, change: &ContactChange, by: &str) -> Result<(), StaffError> {
    let consent = change.consent.clone().unwrap_or_default();
    let given = change.consent.as_ref().map(|consent| consent.given);
    database
        .query_one(
            &statement::CONTACT_CHANGE,
            &[
                ("phone", &phone),
                ("lang", &change.lang),
                ("opt_out", &change.opt_out),
                ("consent", &given),
                ("how", &consent.how.or_else(|| change.how.clone())),
                ("wording", &consent.wording),
                ("proof", &consent.proof),
                ("by", &by),
            ],
        )
        .await?;
    Ok(())
}

/// Numbers that have opted out, the newest first.
///
/// # Errors
/// [`StaffError::Database`].
pub async fn opted_out(database: &Database, limit: i64) -> Result<Vec<ContactRecord>, StaffError> {
    let limit = limit.clamp(1, LIST_LIMIT);
    let rows = database.query(&statement::OPTOUT_LIST, &[("at_most", &limit)]).await?;
    Ok(rows.iter().map(record).collect::<Result<_, _>>()?)
}

/// Takes numbers over, in E.164; returns how many had not opted out that far before.
///
/// # Errors
/// [`StaffError::Refused`], [`StaffError::Database`]; all or nothing.
pub async fn add(database: &Database, phones: &[String], scope: &str, how: &str, by: &str) -> Result<i64, StaffError> {
    let arguments: [crate::db::Argument<'_>; 4] = [("phones", &phones), ("scope", &scope), ("how", &how), ("by", &by)];
    Ok(field(&database.query_one(&statement::OPTOUT_ADD, &arguments).await?, "added")?)
}

/// Sets the languages of numbers in E.164; returns of how many it was another.
///
/// # Errors
/// [`StaffError::Refused`], [`StaffError::Database`]; all or nothing.
pub async fn set_languages(
    database: &Database,
    languages: &BTreeMap<String, String>,
    by: &str,
) -> Result<i64, StaffError> {
    let (phones, langs): (Vec<&str>, Vec<&str>) =
        languages.iter().map(|(phone, lang)| (phone.as_str(), lang.as_str())).unzip();
    let arguments: [crate::db::Argument<'_>; 3] = [("phones", &phones), ("langs", &langs), ("by", &by)];
    Ok(field(&database.query_one(&statement::CONTACT_LANGUAGES, &arguments).await?, "changed")?)
}

/// Notes that a list was taken over to its end.
///
/// # Errors
/// [`StaffError::Database`].
pub async fn imported(
    database: &Database,
    source: &str,
    entries: i64,
    added: i64,
    bad: i64,
    by: &str,
) -> Result<(), StaffError> {
    let arguments: [crate::db::Argument<'_>; 5] =
        [("source", &source), ("entries", &entries), ("added", &added), ("bad", &bad), ("by", &by)];
    database.query_one(&statement::OPTOUT_IMPORTED, &arguments).await?;
    Ok(())
}

/// What is wrong with the list of opt-outs while marketing is sent, in a sentence; none: nothing.
///
/// # Errors
/// [`DbError`].
pub async fn alarm(database: &Database) -> Result<Option<String>, DbError> {
    field(&database.query_one(&statement::OPTOUT_ALARM, &[]).await?, "alarm")
}
