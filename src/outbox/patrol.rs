//! Looks at everything that waits, a piece at a time.
//!
//! What a claim writes stands in no index, so that a claim is a HOT update. Rows that nobody holds any more, rows that the claims have
//! passed by, and rows of a clock that went back while no daemon looked can therefore only be found by looking at all of them. In one go that
//! takes a processor for a third of a second where a million messages are scheduled, and again several times a minute, which every hundredth
//! message feels. A piece takes milliseconds, and the pauses between pieces leave the processor to others. Up to [`PIECE`] rows are looked at in
//! one go.

use std::time::{Duration, Instant};

use super::clock::LEASE_LIMIT;
use super::ledger::Ledger;
use crate::db::{Argument, Database, DbError, Row, field, statement};

/// Rows in a piece.
const PIECE: i64 = 10_000;

/// One part of the time in so many may be spent on looking: of a hundred messages not one should meet it.
const SHARE: u32 = 400;

/// Below every id.
const START: i64 = i64::MIN;

/// How far the search for rows that nobody holds has come.
#[derive(Debug)]
pub struct Patrol {
    after: i64,
}

/// What is in a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strays {
    /// Rows of another daemon whose lease ran out.
    pub lost: bool,
    /// Rows of ours by a claim whose answer never arrived.
    pub unclaimed: bool,
    /// Rows that would wait because the database's clock went back.
    pub early: bool,
    /// How long to wait until the next piece; none after the last one.
    pub pause: Option<Duration>,
}

impl Default for Patrol {
    fn default() -> Self {
        Self { after: START }
    }
}

impl Patrol {
    /// Looks at the next piece; after the last one it begins again.
    ///
    /// # Errors
    /// [`DbError`]: the same piece is the next one.
    pub async fn look(&mut self, database: &Database, ledger: &Ledger, owner: i32) -> Result<Strays, DbError> {
        let begun = Instant::now();
        // As in `rescue::unclaim`: claims begun after this look at the ledger are no business of the statement.
        let (newest, live) = ledger.look();
        let limit_ms = i64::try_from(LEASE_LIMIT.as_millis()).unwrap_or(i64::MAX);
        let arguments: [Argument<'_>; 6] = [
            ("after", &self.after),
            ("at_most", &PIECE),
            ("owner", &owner),
            ("live_tokens", &live),
            ("newest", &newest),
            ("lease_limit_ms", &limit_ms),
        ];
        let row = database.query_one(&statement::STRAYS, &arguments).await?;
        let last = last_of_a_full_piece(&row)?;
        self.after = last.unwrap_or(START);
        Ok(Strays {
            lost: field(&row, "lost")?,
            unclaimed: field(&row, "unclaimed")?,
            early: field(&row, "early")?,
            pause: last.map(|_| begun.elapsed() * SHARE),
        })
    }
}

/// The lowest id of a fresh row up to `below`: one that the claims have passed. Walks through all pieces, pauses between them, and says how
/// long it has looked, pauses apart.
pub async fn left_behind(database: &Database, below: i64) -> (Result<Option<i64>, DbError>, Duration) {
    let (mut after, mut looked) = (START, Duration::ZERO);
    loop {
        let begun = Instant::now();
        let piece = look_below(database, after, below).await;
        let took = begun.elapsed();
        looked += took;
        match piece {
            Ok((None, Some(last))) => {
                after = last;
                tokio::time::sleep(took * SHARE).await;
            }
            Ok((found, _)) => return (Ok(found), looked),
            Err(problem) => return (Err(problem), looked),
        }
    }
}

/// The lowest fresh row of a piece, and the last id of the piece when there may be another one.
async fn look_below(database: &Database, after: i64, below: i64) -> Result<(Option<i64>, Option<i64>), DbError> {
    let arguments: [Argument<'_>; 3] = [("after", &after), ("below", &below), ("at_most", &PIECE)];
    let row = database.query_one(&statement::LEFT_BEHIND, &arguments).await?;
    Ok((field(&row, "id")?, last_of_a_full_piece(&row)?))
}

fn last_of_a_full_piece(row: &Row) -> Result<Option<i64>, DbError> {
    let (last, rows): (Option<i64>, i64) = (field(row, "last")?, field(row, "rows")?);
    Ok(last.filter(|_| rows >= PIECE))
}
