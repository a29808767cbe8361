//! `setting list` and `setting set`.

use hyper::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::args::SettingAction;
use super::client::Client;
use super::exit::{Exit, Failure};
use super::output;

/// Runs one of them.
///
/// # Errors
/// As the client's.
pub async fn run(client: &Client, action: SettingAction) -> Result<Exit, Failure> {
    match action {
        SettingAction::List { json } => {
            let settings: Value = client.ask(Method::GET, "/v1/settings", None).await?;
            if json {
                output::json(&settings);
                return Ok(Exit::Done);
            }
            let mut table = output::table(&["NAME", "VALUE", "WHAT IT DOES", "CHANGED BY"]);
            for setting in settings.as_array().into_iter().flatten() {
                let text = |name: &str| output::visible(setting[name].as_str().unwrap_or_default());
                table.add_row([text("name"), text("value"), text("description"), text("updated_by")]);
            }
            output::say(&table.to_string());
        }
        SettingAction::Set { name, value } => {
            let path = format!("/v1/settings/{}", utf8_percent_encode(&name, NON_ALPHANUMERIC));
            let stored: Value = client.ask(Method::PUT, &path, Some(&json!({ "value": value }))).await?;
            output::say(&format!("{} = {}", name, output::visible(stored["value"].as_str().unwrap_or_default())));
        }
    }
    Ok(Exit::Done)
}
