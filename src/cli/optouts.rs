//! `optout add`, `remove`, `list` and `import`.
//!
//! A list is read here, line by line, and handed over in parts of bounded size: each part is taken over whole, and a list that breaks off
//! in the middle can simply be imported again.

use std::path::Path;

use hyper::Method;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::client::Client;
use super::contacts::path;
use super::exit::{Exit, Failure};
use super::list::{self, NUMBER};
use super::people_args::{OptoutAction, Scope};
use super::{output, when};
use crate::control::people::{IMPORT_CHUNK, Imported};
use crate::outbox::contacts::ContactRecord;

/// Runs one of them.
///
/// # Errors
/// As the client's; a file that cannot be read.
pub async fn run(client: &Client, action: OptoutAction, zone: &TimeZone) -> Result<Exit, Failure> {
    match action {
        OptoutAction::Add { phone, scope, how } => {
            let done = match scope {
                Scope::All => "gets no messages any more",
                Scope::Marketing => "gets no marketing any more",
            };
            change(client, &phone, scope.as_str(), how, done).await
        }
        OptoutAction::Remove { phone, how } => {
            change(client, &phone, "none", how, "gets messages again; marketing only with consent on record").await
        }
        OptoutAction::List { limit, json } => {
            let answer: Value = client.ask(Method::GET, &format!("/v1/optouts?limit={limit}"), None).await?;
            if json {
                output::json(&answer);
                return Ok(Exit::Done);
            }
            let contacts: Vec<ContactRecord> = serde_json::from_value(answer).map_err(Failure::failed)?;
            if contacts.is_empty() {
                output::say("nobody has opted out");
                return Ok(Exit::Done);
            }
            let mut table = output::table(&["NUMBER", "OF", "SINCE", "HOW", "BY"]);
            for contact in contacts {
                table.add_row([
                    output::visible(&contact.phone),
                    contact.opted_out.unwrap_or_default(),
                    contact.updated_at.map(|at| when::show(at, zone)).unwrap_or_default(),
                    output::visible(contact.how.as_deref().unwrap_or_default()),
                    output::visible(contact.updated_by.as_deref().unwrap_or_default()),
                ]);
            }
            output::say(&table.to_string());
            Ok(Exit::Done)
        }
        OptoutAction::Import { file, scope, source, column, json } => {
            import(client, &file, scope, &source, column.as_deref(), json).await
        }
    }
}

async fn change(client: &Client, phone: &str, scope: &str, how: Option<String>, done: &str) -> Result<Exit, Failure> {
    let body = json!({ "opt_out": scope, "how": how });
    let contact: ContactRecord = client.ask(Method::PUT, &path(phone), Some(&body)).await?;
    output::say(&format!("{} {done}", output::visible(&contact.phone)));
    Ok(Exit::Done)
}

async fn import(
    client: &Client,
    file: &Path,
    scope: Scope,
    source: &str,
    column: Option<&str>,
    json: bool,
) -> Result<Exit, Failure> {
    let entries = list::read(file, &[NUMBER.named(column)])?;
    let mut added = 0;
    let mut bad: Vec<(u64, String)> = Vec::new();
    for part in entries.chunks(IMPORT_CHUNK) {
        let phones: Vec<&str> = part.iter().map(|entry| entry.texts[0].as_str()).collect();
        let body = json!({ "scope": scope.as_str(), "source": source, "phones": phones });
        let imported: Imported = client.ask(Method::POST, "/v1/optouts/import", Some(&body)).await?;
        added += imported.added;
        let line = |index: usize| part.get(index).map_or(0, |entry| entry.line);
        bad.extend(imported.bad.into_iter().map(|(index, why)| (line(index), why)));
    }
    let body = json!({ "source": source, "entries": entries.len(), "added": added, "bad": bad.len() });
    let _: Value = client.ask(Method::POST, "/v1/optouts/imported", Some(&body)).await?;
    if json {
        let bad: Vec<Value> = bad.iter().map(|(line, why)| json!({ "line": line, "problem": why })).collect();
        output::json(&json!({ "entries": entries.len(), "added": added, "bad": bad }));
        return Ok(Exit::Done);
    }
    list::complain(&bad);
    let known = entries.len() - bad.len();
    output::say(&format!("{known} numbers taken over, {added} of them new; {} lines are no numbers", bad.len()));
    Ok(Exit::Done)
}
