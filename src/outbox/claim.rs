//! Leases rows, in one statement; see `sql/outbox/claim.sql`.

use std::time::{Duration, Instant};

use super::floor::Look;
use super::lease::{Lease, Row};
use super::stage::Claimed;
use crate::db::{Database, DbError, Fields, field, statement};
use crate::message::kind::Kind;

/// What a lease lasts beyond the longest attempt: time to read facts, to render, and to wait for a slow machine.
pub const LEASE_MARGIN: Duration = Duration::from_secs(40);

/// The answer of one claim.
#[derive(Debug)]
pub struct Batch {
    /// Rows of ours now.
    pub rows: Vec<Claimed>,
    /// What the look at the outbox saw.
    pub look: Look,
    /// The version of the settings at the moment of the claim.
    pub settings_version: i64,
    /// Whether the wake flag is set.
    pub wanted: bool,
    /// How long until the next scheduled row is due.
    pub next_due: Option<Duration>,
    /// Which `sms_outbox` it was: its OID.
    pub outbox_oid: i64,
    /// The database's clock.
    pub database_now: jiff::Timestamp,
    /// Whether anything is on record of any number.
    pub contacts: bool,
}

/// Who claims, and how.
#[derive(Debug, Clone, Copy)]
pub struct Claim {
    /// Ids above this are looked at.
    pub floor: i64,
    /// Rows at most.
    pub slots: usize,
    /// Of these, fresh ones at most.
    pub fresh: usize,
    /// Our owner number.
    pub owner: i32,
    /// The token of this claim, used once.
    pub token: i64,
    /// How long the lease lasts.
    pub lease: Duration,
    /// Whether every request is written down in the journal before it is written.
    pub journaled: bool,
}

/// Claims.
///
/// # Errors
/// [`DbError`]; after [`DbError::Unavailable`] rows may be leased to the token all the same.
pub async fn claim(database: &Database, claim: Claim) -> Result<Batch, DbError> {
    let begun = Instant::now();
    let [slots, fresh] = [claim.slots, claim.fresh].map(|rows| i64::try_from(rows).unwrap_or(i64::MAX));
    let lease_ms = i64::try_from(claim.lease.as_millis()).unwrap_or(i64::MAX);
    let rows = database
        .query(
            &statement::CLAIM,
            &[
                ("floor", &claim.floor),
                ("slots", &slots),
                ("fresh", &fresh),
                ("owner", &claim.owner),
                ("token", &claim.token),
                ("lease_ms", &lease_ms),
                ("journaled", &claim.journaled),
            ],
        )
        .await?;
    let head = rows.first().ok_or_else(|| DbError::Unexpected("outbox/claim answered without its head".to_owned()))?;
    let mut claimed = Vec::with_capacity(rows.len());
    let mut highest_fresh = 0;
    for row in &rows {
        let mut fields = Fields::of(row);
        let Some(id) = fields.read::<Option<i64>>("id")? else { break };
        // The lease is counted from before the statement was sent: never longer than the database's.
        claimed.push(read(&mut fields, id, claim.token, begun + claim.lease)?);
        if fields.read("fresh")? {
            highest_fresh = highest_fresh.max(id);
        }
    }
    let look = Look {
        last_id: field(head, "last_id")?,
        xmin: field(head, "snapshot_xmin")?,
        xmax: field(head, "snapshot_xmax")?,
        claimed: highest_fresh,
        // What is kept for rows that are due is no sign of an end when there are none.
        full: claimed.len() >= claim.fresh,
        took: begun.elapsed(),
    };
    Ok(Batch {
        rows: claimed,
        look,
        settings_version: field::<Option<i64>>(head, "settings_version")?.unwrap_or_default(),
        wanted: field(head, "wanted")?,
        next_due: field::<Option<f64>>(head, "next_due_s")?.map(seconds),
        outbox_oid: field(head, "outbox_oid")?,
        database_now: field(head, "database_now")?,
        contacts: field(head, "contacts")?,
    })
}

/// In the order of the statement's columns, but for the attempt.
fn read(fields: &mut Fields<'_>, id: i64, token: i64, ends: Instant) -> Result<Claimed, DbError> {
    let kind: &str = fields.read("kind")?;
    let kind: Kind = kind.parse().map_err(|_| DbError::Unexpected(format!("message {id} has kind {kind}")))?;
    let lease = Lease { id, token, attempt: fields.read("attempt")?, ends, segment: None };
    Ok(Claimed {
        lease,
        row: Row {
            kind,
            source_id: fields.read("source_id")?,
            recipient: fields.read("recipient")?,
            body: fields.read("body")?,
            lang: fields.read("lang")?,
            by_hand: fields.read::<Option<&str>>("requested_by")?.is_some(),
            source_at: fields.read("source_at")?,
            released: fields.read("released")?,
            failures: fields.read("failures")?,
            created_at: fields.read("created_at")?,
            doubt: fields.read("doubt")?,
            doubt_provider: fields.read("doubt_provider")?,
            observed: fields.read("observed")?,
            joined: fields.read::<Option<Vec<i64>>>("joined")?.unwrap_or_default(),
            joining: fields.read("joining")?,
            age: fields.read::<Option<f64>>("age_s")?.map(seconds).unwrap_or_default(),
        },
    })
}

/// A clock that went backward makes negative ages: they count as none.
fn seconds(value: f64) -> Duration {
    Duration::try_from_secs_f64(value.max(0.0)).unwrap_or(Duration::MAX)
}
