//! What a request is about, a message or an inquiry, and the variables its templates may use.
//!
//! Owns their names and how a number is written. Values are data: what they hold is encoded where it is printed.

use minijinja::value::Value;

use super::config::NumberStyle;
use super::template::RenderError;
use crate::message::encoding::Encoding;
use crate::provider::inquiry::Inquiry;
use crate::provider::outgoing::Outgoing;

/// Country prefix that the national style takes off: Tunisia (E.164).
const NATIONAL_PREFIX: &str = "+216";

/// The names that templates of a send may use.
pub(super) const MESSAGE_VARIABLES: &[&str] =
    &["phone", "message", "sender_id", "api_key", "reference", "encoding", "segments", "unicode", "push_url"];
/// The names that templates of a look-up may use.
pub(super) const INQUIRY_VARIABLES: &[&str] = &["reference", "phone", "since", "since_unix", "sender_id", "api_key"];

/// The names that templates of a question for receipts may use.
pub(super) const POLL_VARIABLES: &[&str] = &["ids", "sender_id", "api_key"];
/// The names that templates of a question about the account may use.
pub(super) const ACCOUNT_VARIABLES: &[&str] = &["sender_id", "api_key"];

/// What a request is about.
#[derive(Clone, Copy)]
pub(super) enum Subject<'a> {
    Message(&'a Outgoing),
    Inquiry(&'a Inquiry),
    /// The provider's ids of messages, joined.
    Ids(&'a str),
    /// The account as a whole.
    Account,
}

impl Subject<'_> {
    /// The variables, by name. The phone of an inquiry is undefined when it is not known.
    ///
    /// # Errors
    /// The recipient cannot be written in the provider's style.
    pub(super) fn variables(
        self,
        style: NumberStyle,
        sender_id: &str,
        api_key: &str,
        push_url: &str,
    ) -> Result<Value, RenderError> {
        match self {
            Self::Message(outgoing) => {
                let phone = phone(style, &outgoing.recipient)?;
                Ok(minijinja::context! {
                    phone, sender_id, api_key, push_url,
                    message => &outgoing.text,
                    reference => &outgoing.reference,
                    encoding => outgoing.encoding.as_str(),
                    segments => outgoing.segments,
                    unicode => outgoing.encoding == Encoding::Ucs2,
                })
            }
            Self::Ids(ids) => Ok(minijinja::context! { ids, sender_id, api_key }),
            Self::Account => Ok(minijinja::context! { sender_id, api_key }),
            Self::Inquiry(inquiry) => {
                let phone = match &inquiry.recipient {
                    Some(recipient) => Value::from(phone(style, recipient)?),
                    None => Value::UNDEFINED,
                };
                Ok(minijinja::context! {
                    phone, sender_id, api_key,
                    reference => &inquiry.reference,
                    since => inquiry.since.to_string(),
                    since_unix => inquiry.since.as_second(),
                })
            }
        }
    }
}

/// The number in the gateway's style.
fn phone(style: NumberStyle, recipient: &str) -> Result<String, RenderError> {
    let digits = recipient.strip_prefix('+').unwrap_or_default();
    // E.164: at most 15 digits; nothing else may reach a URL or a header.
    if !(7..=15).contains(&digits.len()) || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(RenderError::Message("the recipient is not in E.164 form".to_owned()));
    }
    match style {
        NumberStyle::Plus => Ok(recipient.to_owned()),
        NumberStyle::Digits => Ok(digits.to_owned()),
        NumberStyle::DoubleZero => Ok(format!("00{digits}")),
        NumberStyle::National => recipient.strip_prefix(NATIONAL_PREFIX).map(str::to_owned).ok_or_else(|| {
            RenderError::Message("this provider takes national numbers only, and the recipient is abroad".to_owned())
        }),
    }
}
