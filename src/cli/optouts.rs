//! `optout add`, `remove`, `list` and `import`.
//!
//! A list is read here, line by line, and handed over in parts of bounded size: each part is taken over whole, and a list that breaks off
//! in the middle can simply be imported again.

use std::io::Read;
use std::path::Path;

use hyper::Method;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::client::Client;
use super::contacts::path;
use super::exit::{Exit, Failure};
use super::people_args::{OptoutAction, Scope};
use super::{output, when};
use crate::control::people::{IMPORT_CHUNK, Imported};
use crate::outbox::contacts::ContactRecord;

/// Largest list, in bytes: some ten million numbers.
const LIST_LIMIT_BYTES: u64 = 256 * 1024 * 1024;

/// Longest entry kept, in bytes; what is longer is no number.
const ENTRY_LIMIT_BYTES: usize = 100;

/// Bad lines named on the screen; the rest is counted.
const BAD_SHOWN: usize = 20;

/// Names that a column of numbers has, in part.
const COLUMN_NAMES: [&str; 9] = ["phone", "tel", "gsm", "msisdn", "mobile", "numero", "numéro", "number", "recipient"];

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

/// One entry of a list.
struct Entry {
    line: u64,
    text: String,
}

async fn import(
    client: &Client,
    file: &Path,
    scope: Scope,
    source: &str,
    column: Option<&str>,
    json: bool,
) -> Result<Exit, Failure> {
    let bytes = read(file)?;
    let entries = entries(&bytes, column).map_err(Failure::failed)?;
    let mut added = 0;
    let mut bad: Vec<(u64, String)> = Vec::new();
    for part in entries.chunks(IMPORT_CHUNK) {
        let phones: Vec<&str> = part.iter().map(|entry| entry.text.as_str()).collect();
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
    for (line, why) in bad.iter().take(BAD_SHOWN) {
        output::complain(&format!("line {line}: {why}"));
    }
    if bad.len() > BAD_SHOWN {
        output::complain(&format!("and {} further lines; --json names them all", bad.len() - BAD_SHOWN));
    }
    let known = entries.len() - bad.len();
    output::say(&format!("{known} numbers taken over, {added} of them new; {} lines are no numbers", bad.len()));
    Ok(Exit::Done)
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = if file.as_os_str() == "-" {
        std::io::stdin().lock().take(LIST_LIMIT_BYTES + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(file).and_then(|opened| opened.take(LIST_LIMIT_BYTES + 1).read_to_end(&mut bytes))
    };
    match read {
        Ok(length) if u64::try_from(length).is_ok_and(|length| length <= LIST_LIMIT_BYTES) => Ok(bytes),
        Ok(_) => Err(Failure::failed(anyhow::anyhow!("{} is larger than {LIST_LIMIT_BYTES} bytes", file.display()))),
        Err(error) => Err(Failure::failed(anyhow::anyhow!("{} cannot be read: {error}", file.display()))),
    }
}

/// The entries of a list: comma, semicolon or tab between columns, with or without a line of names.
fn entries(bytes: &[u8], column: Option<&str>) -> anyhow::Result<Vec<Entry>> {
    let first = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let count = |separator: u8| first.iter().filter(|byte| **byte == separator).count();
    let delimiter = [b';', b'\t', b','].into_iter().max_by_key(|separator| count(*separator)).unwrap_or(b',');
    let mut reader =
        csv::ReaderBuilder::new().delimiter(delimiter).flexible(true).has_headers(false).from_reader(bytes);
    let mut entries = Vec::new();
    let mut place: Option<usize> = None;
    // The reader passes over empty lines without counting them.
    let (mut line, mut counted) = (1, 0);
    for record in reader.byte_records() {
        let record = record?;
        let begins = record.position().and_then(|position| usize::try_from(position.byte()).ok()).unwrap_or(counted);
        let blank = bytes.get(begins..).into_iter().flatten().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let passed = bytes.get(counted..begins + blank).unwrap_or_default();
        line += passed.iter().map(|byte| u64::from(*byte == b'\n')).sum::<u64>();
        counted = begins + blank;
        let text = |place: usize| {
            let field = record.get(place).unwrap_or_default();
            String::from_utf8_lossy(field.get(..ENTRY_LIMIT_BYTES).unwrap_or(field))
                .trim_start_matches('\u{feff}')
                .trim()
                .to_owned()
        };
        let place = match place {
            Some(place) => place,
            None => {
                let names: Vec<String> = (0..record.len()).map(|place| text(place).to_lowercase()).collect();
                let found = match column {
                    Some(column) => match column.parse::<usize>() {
                        Ok(number) if number >= 1 => number - 1,
                        Ok(_) | Err(_) => {
                            names.iter().position(|name| *name == column.to_lowercase()).ok_or_else(|| {
                                anyhow::anyhow!("there is no column \"{column}\"; there are: {}", names.join(", "))
                            })?
                        }
                    },
                    None => names
                        .iter()
                        .position(|name| COLUMN_NAMES.iter().any(|known| name.contains(known)))
                        .unwrap_or_default(),
                };
                // A line of names holds no digits where the numbers are.
                let headed = !text(found).chars().any(char::is_numeric);
                place = Some(found);
                if headed {
                    continue;
                }
                found
            }
        };
        let text = text(place);
        if !text.is_empty() {
            entries.push(Entry { line, text });
        }
    }
    Ok(entries)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(text: &str, column: Option<&str>) -> Vec<(u64, String)> {
        entries(text.as_bytes(), column).unwrap().into_iter().map(|entry| (entry.line, entry.text)).collect()
    }

    fn pairs(expected: &[(u64, &str)]) -> Vec<(u64, String)> {
        expected.iter().map(|(line, text)| (*line, (*text).to_owned())).collect()
    }

    #[test]
    fn a_list_is_read_with_or_without_names_and_with_any_separator() {
        let expected = pairs(&[(2, "20 000 001"), (4, "+21620000002")]);
        assert_eq!(read("date;Numéro de téléphone\n1/1;20 000 001\n\n2/1;+21620000002\n", None), expected);
        assert_eq!(read("\u{feff}msisdn\n20000001\n", None), pairs(&[(2, "20000001")]));
        assert_eq!(read("20000001,x\r\n20000002,y\r\n", None), pairs(&[(1, "20000001"), (2, "20000002")]));
        assert_eq!(read("a\tb\nx\t20000001\n", Some("b")), pairs(&[(2, "20000001")]));
        assert_eq!(read("x,20000001\n", Some("2")), pairs(&[(1, "20000001")]));
    }

    #[test]
    fn what_is_no_list_is_no_panic() {
        assert!(read("", None).is_empty());
        assert!(entries(b"a,b\n1,2\n", Some("c")).is_err());
        assert_eq!(entries(&[0xff, 0xfe, b'1', b'\n', b'"', b'\n'], None).unwrap().len(), 1);
        assert_eq!(entries("9".repeat(100_000).as_bytes(), None).unwrap()[0].text.len(), ENTRY_LIMIT_BYTES);
    }
}
