//! `template list`, `show`, `set`, `preview` and `history`.

use std::io::Read as _;
use std::path::Path;

use hyper::Method;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::client::Client;
use super::exit::{Exit, Failure};
use super::template_args::{TemplateAction, TemplateName};
use super::{output, when};

/// Largest template read from a file, in bytes; the daemon allows 2,000 characters.
const FILE_LIMIT_BYTES: u64 = 32 * 1024;

/// Characters that force UCS-2 named for each text; `--json` names them all.
const FORCING_SHOWN: usize = 6;

/// Runs one of them.
///
/// # Errors
/// As the client's; a file that cannot be read.
pub async fn run(client: &Client, action: TemplateAction, zone: &TimeZone) -> Result<Exit, Failure> {
    match action {
        TemplateAction::List { json } => list(client, json).await,
        TemplateAction::Show { name, version, json } => show(client, &name, version, json).await,
        TemplateAction::Set { name, text, file, built_in, encoding } => {
            let text = text.map(Ok).or_else(|| file.as_deref().map(read)).transpose()?;
            let encoding = encoding.map(|word| word.as_str());
            let body = json!({ "body": text, "built_in": built_in, "encoding": encoding });
            let saved: Value = client.ask(Method::PUT, &path(&name), Some(&body)).await?;
            output::say(&format!("version {} of {} ({}) is in force", saved["version"], name.kind, name.lang));
            Ok(Exit::Done)
        }
        TemplateAction::Preview { name, text, file, encoding, id, limit, json } => {
            let text = text.map(Ok).or_else(|| file.as_deref().map(read)).transpose()?;
            let encoding = encoding.map(|word| word.as_str());
            let body = json!({ "body": text, "encoding": encoding, "source_id": id, "limit": limit });
            let answer: Value = client.ask(Method::POST, &(path(&name) + "/preview"), Some(&body)).await?;
            if json {
                output::json(&answer);
            } else {
                preview(&answer);
            }
            Ok(Exit::Done)
        }
        TemplateAction::History { name, json } => history(client, &name, json, zone).await,
    }
}

fn path(name: &TemplateName) -> String {
    let part = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    format!("/v1/templates/{}/{}", part(&name.kind), part(&name.lang))
}

/// A template from a file, without the line end that editors put at its end.
fn read(file: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = if file.as_os_str() == "-" {
        std::io::stdin().lock().take(FILE_LIMIT_BYTES).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|opened| opened.take(FILE_LIMIT_BYTES).read_to_string(&mut text))
    };
    read.map_err(|error| Failure::failed(anyhow::anyhow!("{} cannot be read: {error}", file.display())))?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => output::visible(text),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => output::visible(&value.to_string()),
    }
}

fn version(value: &Value) -> String {
    if value == &json!(0) { "built in".to_owned() } else { text(value) }
}

async fn list(client: &Client, json: bool) -> Result<Exit, Failure> {
    let answer: Value = client.ask(Method::GET, "/v1/templates", None).await?;
    if json {
        output::json(&answer);
        return Ok(Exit::Done);
    }
    let mut table = output::table(&["KIND", "LANGUAGE", "VERSION", "ENCODING", "TEMPLATE"]);
    for it in answer.as_array().into_iter().flatten() {
        let encoding = if it["encoding"].is_null() { "as set".to_owned() } else { text(&it["encoding"]) };
        table.add_row([text(&it["kind"]), text(&it["lang"]), version(&it["version"]), encoding, text(&it["body"])]);
    }
    output::say(&table.to_string());
    Ok(Exit::Done)
}

async fn show(client: &Client, name: &TemplateName, wanted: Option<i32>, json: bool) -> Result<Exit, Failure> {
    let answer: Value = client.ask(Method::GET, &path(name), None).await?;
    let versions = answer.as_array().map(Vec::as_slice).unwrap_or_default();
    let found = match wanted {
        Some(number) => versions.iter().find(|it| it["version"] == json!(number)),
        None => versions.first(),
    };
    let Some(found) = found else {
        return Err(Failure::failed(anyhow::anyhow!("there is no such version; see template history {}", name.kind)));
    };
    if json {
        output::json(found);
    } else {
        // As a file would hold it, so that it can be changed and set again.
        let body = found["body"].as_str().unwrap_or_default();
        output::say(&body.lines().map(output::visible).collect::<Vec<_>>().join("\n"));
    }
    Ok(Exit::Done)
}

async fn history(client: &Client, name: &TemplateName, json: bool, zone: &TimeZone) -> Result<Exit, Failure> {
    let answer: Value = client.ask(Method::GET, &path(name), None).await?;
    if json {
        output::json(&answer);
        return Ok(Exit::Done);
    }
    let mut table = output::table(&["VERSION", "SAVED", "BY", "ENCODING", "TEMPLATE"]);
    for it in answer.as_array().into_iter().flatten() {
        let saved = it["created_at"].as_str().and_then(|at| at.parse::<Timestamp>().ok());
        table.add_row([
            version(&it["version"]),
            saved.map(|at| when::show(at, zone)).unwrap_or_default(),
            text(&it["created_by"]),
            text(&it["encoding"]),
            text(&it["body"]),
        ]);
    }
    output::say(&table.to_string());
    Ok(Exit::Done)
}

/// The characters that force UCS-2, with their places; of a text in another script the first few.
fn forcing(forcing: &[Value]) {
    let shown: Vec<String> = forcing
        .iter()
        .take(FORCING_SHOWN)
        .map(|it| {
            let becomes = it["rewording"].as_str().map(|it| format!(" (could be \"{it}\")")).unwrap_or_default();
            output::visible(&format!("{} at {}{becomes}", it["character"].as_str().unwrap_or_default(), it["place"]))
        })
        .collect();
    let more = forcing.len().saturating_sub(FORCING_SHOWN);
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    if !shown.is_empty() {
        output::say(&format!("  not in GSM-7 as written: {}{more}", shown.join(", ")));
    }
}

fn segments(count: &Value) -> String {
    format!("{count} {}", if count == &json!(1) { "segment" } else { "segments" })
}

fn preview(answer: &Value) {
    let unit = |encoding: &Value| if encoding == "ucs2" { "UCS-2 units" } else { "septets" };
    output::say(&format!(
        "{} ({}), encoding {}: with long values {}; one segment leaves {} {} for all variables",
        text(&answer["kind"]),
        text(&answer["lang"]),
        text(&answer["policy"]),
        segments(&answer["longest_segments"]),
        answer["room"],
        unit(&answer["room_encoding"]),
    ));
    let texts = answer["texts"].as_array().map(Vec::as_slice).unwrap_or_default();
    if texts.is_empty() {
        output::say("the garage has no row to try it on yet");
    }
    for it in texts {
        output::say(&format!("\n#{}", it["source_id"]));
        if let Some(problem) = it["problem"].as_str() {
            output::say(&format!("  not sent: {}", output::visible(problem)));
        }
        if !it["text"].is_null() {
            output::say(&format!("  {}", text(&it["text"])));
            let price = it["price"].as_f64().map(|price| format!(", {price:.3} DT")).unwrap_or_default();
            output::say(&format!(
                "  {}, {} {}, {}{price}",
                if it["encoding"] == "ucs2" { "UCS-2" } else { "GSM-7" },
                it["units"],
                unit(&it["encoding"]),
                segments(&it["segments"]),
            ));
        }
        forcing(it["forcing"].as_array().map(Vec::as_slice).unwrap_or_default());
        if it["encoding"] == "ucs2" && it["segments"] != json!(1) && answer["room_encoding"] != "ucs2" {
            output::say(
                "  warning: a value of this row puts the whole text into UCS-2, where a segment holds 70 and not 160",
            );
        }
        if let Some(cheaper) = it["cheaper"]["text"].as_str() {
            output::say(&format!("  {} as: {}", segments(&it["cheaper"]["segments"]), output::visible(cheaper)));
        }
    }
}
