//! `contact show`, `set` and `import`.

use std::path::Path;

use hyper::Method;
use jiff::tz::TimeZone;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::client::Client;
use super::exit::{Exit, Failure};
use super::list::{self, LANGUAGE, NUMBER};
use super::people_args::{ContactAction, ContactSet, OptOutWord, YesNo};
use super::{output, when};
use crate::control::people::{IMPORT_CHUNK, Imported};
use crate::outbox::contacts::ContactRecord;

/// Runs one of them.
///
/// # Errors
/// As the client's.
pub async fn run(client: &Client, action: ContactAction, zone: &TimeZone) -> Result<Exit, Failure> {
    let (answer, json): (Value, bool) = match action {
        ContactAction::Show { phone, json } => (client.ask(Method::GET, &path(&phone), None).await?, json),
        ContactAction::Set(set) => {
            let json = set.json;
            (client.ask(Method::PUT, &path(&set.phone), Some(&change(&set))).await?, json)
        }
        ContactAction::Import { file, json } => return import(client, &file, json).await,
    };
    if json {
        output::json(&answer);
    } else {
        show(&serde_json::from_value(answer).map_err(Failure::failed)?, zone);
    }
    Ok(Exit::Done)
}

/// Languages of many numbers, in parts of bounded size; a list that breaks off in the middle can be imported again.
async fn import(client: &Client, file: &Path, json: bool) -> Result<Exit, Failure> {
    let entries = list::read(file, &[NUMBER, LANGUAGE])?;
    let (mut changed, mut bad) = (0, Vec::new());
    for part in entries.chunks(IMPORT_CHUNK) {
        let (phones, langs): (Vec<&str>, Vec<&str>) =
            part.iter().map(|entry| (entry.texts[0].as_str(), entry.texts[1].as_str())).unzip();
        let body = json!({ "phones": phones, "langs": langs });
        let imported: Imported = client.ask(Method::POST, "/v1/contacts/import", Some(&body)).await?;
        changed += imported.added;
        let line = |index: usize| part.get(index).map_or(0, |entry| entry.line);
        bad.extend(imported.bad.into_iter().map(|(index, why)| (line(index), why)));
    }
    if json {
        let bad: Vec<Value> = bad.iter().map(|(line, why)| json!({ "line": line, "problem": why })).collect();
        output::json(&json!({ "entries": entries.len(), "changed": changed, "bad": bad }));
    } else {
        list::complain(&bad);
        output::say(&format!("{changed} languages set, {} lines are none", bad.len()));
    }
    Ok(Exit::Done)
}

/// Where a number's record is.
pub(super) fn path(phone: &str) -> String {
    format!("/v1/contacts/{}", utf8_percent_encode(phone, NON_ALPHANUMERIC))
}

fn change(set: &ContactSet) -> Value {
    let mut change = json!({ "lang": set.lang, "how": set.how });
    if let Some(word) = set.opt_out {
        let word = match word {
            OptOutWord::All => "all",
            OptOutWord::Marketing => "marketing",
            OptOutWord::None => "none",
        };
        change["opt_out"] = json!(word);
    }
    if let Some(consent) = set.consent {
        change["consent"] =
            json!({ "given": consent == YesNo::Yes, "how": set.how, "wording": set.wording, "proof": set.proof });
    }
    change
}

fn show(contact: &ContactRecord, zone: &TimeZone) {
    let consent = contact.consent_at.map_or_else(|| "none".to_owned(), |at| format!("since {}", when::show(at, zone)));
    let out = match contact.opted_out.as_deref() {
        None => "none",
        Some("marketing") => "of marketing",
        Some(_) => "of all messages",
    };
    let mut table = output::table(&["NUMBER", "LANGUAGE", "OPT-OUT", "CONSENT TO MARKETING"]);
    let lang = contact.lang.as_deref().unwrap_or("the garage's");
    table.add_row([output::visible(&contact.phone), output::visible(lang), out.to_owned(), consent]);
    output::say(&table.to_string());
    if contact.ledger.is_empty() {
        return;
    }
    let mut ledger = output::table(&["WHEN", "WHAT", "OF", "HOW", "WORDING", "PROOF", "BY"]);
    for entry in &contact.ledger {
        let text = |text: &Option<String>| output::visible(text.as_deref().unwrap_or_default());
        ledger.add_row([
            when::show(entry.at, zone),
            output::visible(&entry.what),
            text(&entry.scope),
            text(&entry.how),
            text(&entry.wording),
            text(&entry.proof),
            output::visible(&entry.by),
        ]);
    }
    output::say(&format!("\n{ledger}"));
}
