//! Asking the provider what became of a message: the request, and what its answer means.
//!
//! Owns the meaning of look-ups. Because `Absent` makes a message go out again, and `Taken` makes it stay, nothing is
//! guessed: an answer counts only when it was read to its end and says one of the two. No text of an answer is quoted
//! in a finding, because a list holds numbers and texts of customers.

use std::time::Duration;

use serde_json::Value;
use serde_json_path::JsonPath;

use super::GenericError;
use super::answer::Answer;
use super::config::{GenericConfig, LookupBy, LookupConfig};
use super::detail::Redactor;
use super::extract::{Extractor, first_value, json_path};
use super::request::RequestMaker;
use super::rule::{LookupVerdict, Rule, rules};
use crate::provider::inquiry::{Finding, Inquiry, TakenMessage};

/// Longest `absent_after`: a provider whose record is an hour behind is of no use to a customer who waits.
const ABSENT_AFTER_LIMIT: Duration = Duration::from_secs(60 * 60);
/// What ends the path of a list.
const EACH: &str = "[*]";

/// The look-up of one provider.
pub(super) struct Lookup {
    pub(super) maker: RequestMaker,
    rules: Vec<Rule<LookupVerdict>>,
    reader: Reader,
    /// Whether a template prints the recipient.
    prints_phone: bool,
}

/// How an answer is read.
enum Reader {
    /// It is about the one message of our reference.
    One { id: Extractor },
    /// It is a list of messages to the recipient.
    List { list: JsonPath, text: JsonPath, id: Vec<JsonPath> },
}

impl Lookup {
    /// Checks what the configuration says about look-ups. `sends` makes the requests that must carry our reference.
    pub(super) fn new(
        config: &GenericConfig,
        lookup: &LookupConfig,
        sends: &RequestMaker,
    ) -> Result<Self, GenericError> {
        if lookup.absent_after > ABSENT_AFTER_LIMIT {
            return Err(GenericError::key("lookup.absent_after", "must be at most 1h"));
        }
        let maker = RequestMaker::of_inquiries(config, lookup)?;
        let reader = match lookup.by {
            LookupBy::Reference => {
                check_carries_reference(sends, "lookup.by")?;
                require(&maker, "reference")?;
                for (key, given) in [("lookup.items", &lookup.items), ("lookup.text", &lookup.text)] {
                    if given.is_some() {
                        return Err(GenericError::key(key, "belongs to `by = \"recipient\"`"));
                    }
                }
                Reader::One { id: Extractor::of_id("lookup.id", lookup.id.as_ref())? }
            }
            LookupBy::Recipient => {
                require(&maker, "phone")?;
                list_reader(lookup)?
            }
        };
        let prints_phone = maker.uses("phone")?;
        Ok(Self { rules: rules("lookup.match", &lookup.rules)?, maker, reader, prints_phone })
    }

    /// Why this inquiry cannot be made, when it cannot.
    pub(super) fn obstacle(&self, inquiry: &Inquiry) -> Option<&'static str> {
        let by_text = matches!(self.reader, Reader::List { .. });
        if self.prints_phone && inquiry.recipient.is_none() {
            Some("the provider is asked by recipient, and the recipient of the attempt is not known")
        } else if by_text && inquiry.text.is_none() {
            Some("the provider is asked by recipient and time, and the text of the attempt is not known")
        } else {
            None
        }
    }

    /// What an answer to this inquiry means.
    pub(super) fn judge(&self, answer: &Answer, inquiry: &Inquiry, redactor: &Redactor) -> Finding {
        let status = answer.status;
        // The part that was not read may hold the message.
        if !answer.complete {
            return Finding::unclear(format!("the answer to the look-up, HTTP {status}, was not read to its end"));
        }
        let not_understood =
            || Finding::unclear(format!("the answer to the look-up, HTTP {status}, is not understood"));
        let verdict = self.rules.iter().find(|rule| rule.matches(answer)).map(|rule| rule.verdict);
        match (&self.reader, verdict.unwrap_or_else(|| self.verdict_of_status(answer))) {
            (_, LookupVerdict::Absent) => Finding::Absent,
            (_, LookupVerdict::Unclear) => not_understood(),
            (Reader::One { id }, LookupVerdict::Taken) => {
                Finding::Taken(vec![taken(id.find(answer).as_deref(), redactor)])
            }
            (Reader::List { list, text, id }, LookupVerdict::Taken) => answer
                .json
                .as_ref()
                .and_then(|json| compare(json, (list, text, id), inquiry.text.as_deref()?, redactor))
                .unwrap_or_else(not_understood),
        }
    }

    /// What a status means by itself.
    fn verdict_of_status(&self, answer: &Answer) -> LookupVerdict {
        match (&self.reader, answer.status) {
            // A page of HTML comes from a portal or a proxy, whatever its status is.
            _ if answer.json.is_none() => LookupVerdict::Unclear,
            (Reader::One { id }, 200..=299) if id.find(answer).is_some() => LookupVerdict::Taken,
            (Reader::One { .. }, 404) => LookupVerdict::Absent,
            (Reader::List { .. }, 200..=299) => LookupVerdict::Taken,
            (Reader::One { .. } | Reader::List { .. }, _) => LookupVerdict::Unclear,
        }
    }
}

/// The messages of a list whose text is ours. `None` when there is no list, or a message in it that cannot be compared
/// and none that is ours.
fn compare(
    json: &Value,
    (list, text, id): (&JsonPath, &JsonPath, &[JsonPath]),
    ours: &str,
    redactor: &Redactor,
) -> Option<Finding> {
    let lists = list.query(json).all();
    let lists: Vec<&Vec<Value>> = lists.into_iter().map(Value::as_array).collect::<Option<_>>()?;
    if lists.is_empty() {
        return None;
    }
    let mut found = Vec::new();
    let mut all_comparable = true;
    for item in lists.into_iter().flatten() {
        match text.query(item).all().first().and_then(|text| text.as_str()) {
            Some(theirs) if theirs == ours => found.push(taken(first_value(id, item).as_deref(), redactor)),
            Some(_) => {}
            None => all_comparable = false,
        }
    }
    match (found.is_empty(), all_comparable) {
        (false, _) => Some(Finding::Taken(found)),
        (true, true) => Some(Finding::Absent),
        (true, false) => None,
    }
}

fn taken(id: Option<&str>, redactor: &Redactor) -> TakenMessage {
    TakenMessage { provider_message_id: id.and_then(|id| redactor.id(id)) }
}

fn list_reader(lookup: &LookupConfig) -> Result<Reader, GenericError> {
    let needed = |key: &str, path: &Option<String>| {
        let missing = || GenericError::key(key, "`by = \"recipient\"` needs it: a JSON path");
        path.clone().ok_or_else(missing)
    };
    let items = needed("lookup.items", &lookup.items)?;
    let list = items.trim().strip_suffix(EACH).ok_or_else(|| {
        GenericError::key("lookup.items", "must end in [*], as $.messages[*]: only a list that is there can be empty")
    })?;
    let id = match Extractor::of_id("lookup.id", lookup.id.as_ref())? {
        Extractor::Json(paths) => paths,
        Extractor::Regex(_) => {
            return Err(GenericError::key("lookup.id", "is a JSON path from each item: use `json`"));
        }
    };
    let text = json_path("lookup.text", &needed("lookup.text", &lookup.text)?)?;
    Ok(Reader::List { list: json_path("lookup.items", list)?, text, id })
}

/// What a provider is to know a message by must be printed where it is asked.
fn require(maker: &RequestMaker, variable: &str) -> Result<(), GenericError> {
    match maker.uses(variable)? {
        true => Ok(()),
        false => Err(GenericError::key("lookup.url", format!("must print {{{{ {variable} }}}}, here or in `query`"))),
    }
}

/// A provider can know our reference only from the request that sends.
pub(super) fn check_carries_reference(sends: &RequestMaker, key: &str) -> Result<(), GenericError> {
    match sends.uses("reference")? {
        true => Ok(()),
        false => Err(GenericError::key(
            key,
            "the provider never learns our reference: print {{ reference }} in `url`, `query`, `headers`, `fields` or \
             `body_text`",
        )),
    }
}
