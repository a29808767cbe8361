//! One push of a simulated vendor, written out: address, headers, body. Owns nothing; the courier posts it.

use hyper::Method;
use url::Url;

/// A push.
#[derive(Debug)]
pub(super) struct Letter {
    pub(super) method: Method,
    pub(super) url: Url,
    /// Of the body; empty for a GET.
    pub(super) content_type: &'static str,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: String,
}

impl Letter {
    pub(super) fn json(url: &Url, body: String) -> Letter {
        Letter { method: Method::POST, url: url.clone(), content_type: "application/json", headers: Vec::new(), body }
    }

    pub(super) fn form(url: &Url, fields: &[(String, String)]) -> Letter {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        Letter { content_type: "application/x-www-form-urlencoded", ..Letter::json(url, body) }
    }
}

/// Writes a letter when it is time to post it; none when there is nothing to say.
pub(super) type Pen = Box<dyn FnOnce() -> Option<Letter> + Send>;

/// Letters to be posted one after the other.
pub(super) struct Round {
    pub(super) due: tokio::time::Instant,
    pub(super) pens: Vec<Pen>,
    /// Where all letters go, whatever host their address names.
    pub(super) via: Option<Url>,
    /// Told the receiver's last status when all are posted; none when it did not answer.
    pub(super) done: Option<tokio::sync::oneshot::Sender<Option<u16>>>,
}

impl std::fmt::Debug for Round {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Round").field("due", &self.due).field("pens", &self.pens.len()).finish_non_exhaustive()
    }
}
