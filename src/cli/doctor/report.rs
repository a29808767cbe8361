//! What the doctor found.

use serde::Serialize;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    Ok,
    Warning,
    Error,
}

/// One line of the doctor's report.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    pub(super) level: Level,
    pub(super) area: &'static str,
    pub(super) found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mend: Option<String>,
}

/// All findings, in order.
#[derive(Default)]
pub(super) struct Report(pub(super) Vec<Finding>);

impl Report {
    pub(super) fn ok(&mut self, area: &'static str, found: impl Into<String>) {
        self.0.push(Finding { level: Level::Ok, area, found: found.into(), mend: None });
    }

    pub(super) fn warning(&mut self, area: &'static str, found: impl Into<String>, mend: impl Into<String>) {
        self.0.push(Finding { level: Level::Warning, area, found: found.into(), mend: Some(mend.into()) });
    }

    pub(super) fn error(&mut self, area: &'static str, found: impl Into<String>, mend: impl Into<String>) {
        self.0.push(Finding { level: Level::Error, area, found: found.into(), mend: Some(mend.into()) });
    }
}
