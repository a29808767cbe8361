//! `list`, `show`, `resend`, `cancel`, `release`, `send`.

use hyper::Method;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::args::{ListArgs, SendArgs, SendWhat, Which};
use super::client::Client;
use super::exit::{Exit, Failure};
use super::{output, when};
use crate::message::kind::Kind;
use crate::outbox::staff::Message;

/// Characters of a text shown in a list.
const LIST_TEXT_CHARS: usize = 60;

/// Lists messages.
///
/// # Errors
/// As the client's.
pub async fn list(client: &Client, filter: &ListArgs, zone: &TimeZone) -> Result<Exit, Failure> {
    let mut path = format!("/v1/messages?limit={}", filter.limit);
    for (name, value) in
        [("status", &filter.status), ("phone", &filter.phone), ("kind", &filter.kind), ("since", &filter.since)]
    {
        if let Some(value) = value {
            path.push_str(&format!("&{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)));
        }
    }
    let answer: Value = client.ask(Method::GET, &path, None).await?;
    if filter.json {
        output::json(&answer);
        return Ok(Exit::Done);
    }
    let messages: Vec<Message> = serde_json::from_value(answer).map_err(Failure::failed)?;
    if messages.is_empty() {
        output::say("no messages");
        return Ok(Exit::Done);
    }
    let mut table = output::table(&["ID", "CREATED", "STATUS", "WHY", "TO", "KIND", "TEXT"]);
    for message in messages {
        let text = message.body.as_deref().unwrap_or_default();
        let mut shown: String = text.chars().take(LIST_TEXT_CHARS).collect();
        if shown.len() < text.len() {
            shown.push_str("...");
        }
        table.add_row([
            message.id.to_string(),
            when::show(message.created_at, zone),
            message.status,
            message.reason.unwrap_or_default(),
            output::visible(message.recipient.as_deref().unwrap_or_default()),
            message.kind,
            output::visible(&shown),
        ]);
    }
    output::say(&table.to_string());
    Ok(Exit::Done)
}

/// One message and its story.
///
/// # Errors
/// As the client's.
pub async fn show(client: &Client, id: i64, json: bool, zone: &TimeZone) -> Result<Exit, Failure> {
    let answer: Value = client.ask(Method::GET, &format!("/v1/messages/{id}"), None).await?;
    if json {
        output::json(&answer);
    } else {
        print(&serde_json::from_value(answer).map_err(Failure::failed)?, zone);
    }
    Ok(Exit::Done)
}

fn print(message: &Message, zone: &TimeZone) {
    let line = |label: &str, text: String| output::say(&format!("{label:<12}{}", output::visible(&text)));
    let source = message.source_id.map(|id| format!(" {id}")).unwrap_or_default();
    line("message", format!("{}, {}{source}", message.id, message.kind));
    line(
        "status",
        [
            Some(message.status.clone()),
            message.reason.clone().filter(|reason| *reason != message.status),
            message.detail.clone(),
        ]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(": "),
    );
    if message.status == "held" {
        let id = message.id;
        line("next", format!("it waits for you: ecar-sms release {id} sends it, ecar-sms cancel {id} does not"));
    }
    if let Some(recipient) = &message.recipient {
        line("to", recipient.clone());
    }
    if let Some(body) = &message.body {
        line("text", body.clone());
    }
    if let (Some(encoding), Some(segments)) = (&message.encoding, message.segments) {
        line("size", format!("{segments} {}, {encoding}", if segments == 1 { "segment" } else { "segments" }));
    }
    if let Some(version) = message.template_version {
        let version = if version == 0 { "built in".to_owned() } else { format!("version {version}") };
        line("template", [Some(version), message.lang.clone()].into_iter().flatten().collect::<Vec<_>>().join(", "));
    }
    if let Some(provider) = &message.provider {
        line(
            "provider",
            [Some(provider.clone()), message.provider_message_id.clone()]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join(", id "),
        );
    }
    if let Some(of) = message.resend_of {
        line("again", format!("sent again for message {of}"));
    }
    for (label, at) in [
        ("not before", message.not_before),
        ("next look", message.next_at),
        ("sent", message.sent_at),
        ("delivered", message.delivered_at),
    ] {
        if let Some(at) = at {
            line(label, when::show(at, zone));
        }
    }
    output::say("");
    for step in &message.story {
        let by = match (&step.by, step.what.as_str()) {
            (Some(by), _) => format!(" by {by}"),
            (None, "created") => " by an event in the garage".to_owned(),
            (None, _) => String::new(),
        };
        let detail = step.detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default();
        output::say(&format!(
            "{}  {}",
            when::show(step.at, zone),
            output::visible(&format!("{}{by}{detail}", step.what))
        ));
    }
}

/// Resends, cancels or releases each of the messages; goes on after one that is refused.
///
/// # Errors
/// As the client's, when the daemon is out of reach.
pub async fn act(client: &Client, action: &str, ids: &[i64], as_json: bool) -> Result<Exit, Failure> {
    let mut exit = Exit::Done;
    let mut done = Vec::new();
    for id in ids {
        match client.ask::<Message>(Method::POST, &format!("/v1/messages/{id}/{action}"), None).await {
            Ok(message) => {
                if !as_json {
                    output::say(&match action {
                        "resend" => format!("message {id} is sent again as message {}", message.id),
                        _ => format!("message {id} is now {}", message.status),
                    });
                }
                done.push(message);
            }
            Err(failure) if failure.exit == Exit::Failed => {
                output::complain(&format!("ecar-sms: {action} {id}: {:#}", failure.error));
                exit = Exit::Failed;
            }
            Err(failure) => return Err(failure),
        }
    }
    if as_json {
        output::json(&serde_json::to_value(done).map_err(Failure::failed)?);
    }
    Ok(exit)
}

/// Cancels or releases messages by their ids, or all that match; says how many.
///
/// # Errors
/// As the client's, and wrong usage.
pub async fn act_on(client: &Client, action: &str, which: &Which, as_json: bool) -> Result<Exit, Failure> {
    if !which.ids.is_empty() {
        return act(client, action, &which.ids, as_json).await;
    }
    if let Some(kind) = &which.kind {
        kind.parse::<Kind>().map_err(|error| Failure::usage(error.to_string()))?;
    }
    for age in [&which.since, &which.until].into_iter().flatten() {
        when::duration(age).map_err(Failure::usage)?;
    }
    let body = json!({
        "kind": which.kind, "reason": which.reason, "since": which.since, "until": which.until, "all": which.all,
    });
    let answer: Value = client.ask(Method::POST, &format!("/v1/messages/{action}"), Some(&body)).await?;
    if as_json {
        output::json(&answer);
    } else {
        let done = if action == "release" { "released" } else { "cancelled" };
        output::say(&format!("{} messages {done}", answer["messages"]));
    }
    Ok(Exit::Done)
}

/// Sends by hand. With `--wait`: exit 0 when it was sent, 75 when that is still open, 1 otherwise.
///
/// # Errors
/// As the client's.
pub async fn send(client: &Client, send: &SendArgs, zone: &TimeZone) -> Result<Exit, Failure> {
    let options = &send.options;
    let mut body = match &send.what {
        SendWhat::Service { id } => json!({"kind": "service_completed", "source_id": id}),
        SendWhat::Invoice { id } => json!({"kind": "invoice_created", "source_id": id}),
        SendWhat::Appointment { id } => json!({"kind": "appointment_reminder", "source_id": id}),
        SendWhat::Text { phone, text } => json!({"kind": "custom", "recipient": phone, "body": text}),
    };
    if let Some(at) = &options.at {
        let now = Timestamp::now().to_zoned(zone.clone());
        body["not_before"] = json!(when::parse(at, &now).map_err(Failure::usage)?);
    }
    if let Some(lang) = &options.lang {
        body["lang"] = json!(lang);
    }
    let wait = options.wait.as_deref().map(when::duration).transpose().map_err(Failure::usage)?;
    let answer: Value = client.ask(Method::POST, "/v1/messages", Some(&body)).await?;
    let id = answer["id"].as_i64().unwrap_or_default();
    let Some(wait) = wait else {
        if options.json {
            output::json(&answer);
        } else {
            output::say(&format!("message {id} is queued"));
        }
        return Ok(Exit::Done);
    };
    let message: Message =
        client.ask(Method::GET, &format!("/v1/messages/{id}?wait={}ms", wait.as_millis()), None).await?;
    let exit = match message.status.as_str() {
        "sent" | "delivered" => Exit::Done,
        "queued" | "sending" => Exit::TryAgain,
        _ => Exit::Failed,
    };
    if options.json {
        output::json(&serde_json::to_value(&message).map_err(Failure::failed)?);
    } else {
        let why =
            [message.reason, message.detail].into_iter().flatten().map(|it| format!(": {it}")).collect::<String>();
        output::say(&format!("message {id} is {}{}", message.status, output::visible(&why)));
    }
    Ok(exit)
}
