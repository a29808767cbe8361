//! Reads what was asked: paths and bodies.

use axum::body::Bytes;
use axum::extract::Path;
use axum::extract::rejection::{BytesRejection, PathRejection};
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// Largest body of a request, in bytes: a text of 1,600 characters with room to spare.
pub(super) const BODY_LIMIT_BYTES: usize = 64 * 1024;

/// What the path names; 400 when its percent-encoding is no text.
pub(super) fn part<T>(path: Result<Path<T>, PathRejection>) -> Result<T, Problem> {
    path.map(|Path(part)| part).map_err(|error| Problem::bad_request(error.body_text()))
}

/// Reads a JSON body: 413 when it is too large, 400 when it is no JSON, 422 when it is not what is asked for.
pub(super) fn parse<T: DeserializeOwned>(body: Result<Bytes, BytesRejection>) -> Result<T, Problem> {
    let body = body.map_err(|error| Problem::new(error.status(), "the body cannot be read, or is too large"))?;
    serde_json::from_slice(&body).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => Problem::refused(error.to_string()),
        serde_json::error::Category::Io | serde_json::error::Category::Syntax | serde_json::error::Category::Eof => {
            Problem::bad_request(format!("this is no JSON: {error}"))
        }
    })
}
