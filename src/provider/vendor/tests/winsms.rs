//! WinSMS and others with the same script, by what its clients are given and by Arkesel's SMS API V1.

use super::local::{Local, accepted, check_answers, outgoing, provider, push};
use crate::provider::generic::HttpProvider;
use crate::provider::receipt::PushError;
use crate::provider::vendor::VendorConfig;

const KEY: &str = "Z2FyYWdlOmdhcmFnZQ==";
const SENT: &str = r#"{"code":"ok","message":"Successfully Send","reference":"a1b2c3","balance":"1499"}"#;

fn winsms(url: &str) -> HttpProvider {
    winsms_as(url, Some("GARAGE ALI"))
}

fn winsms_as(url: &str, sender_id: Option<&str>) -> HttpProvider {
    provider(
        "winsms",
        VendorConfig {
            api_key: Some(KEY.into()),
            base_url: Some(format!("{url}/sms/sms/api")),
            sender_id: sender_id.map(str::to_owned),
            ..VendorConfig::default()
        },
    )
}

#[tokio::test]
async fn a_message_is_one_get_with_everything_encoded() {
    let local = Local::answering(200, SENT).await;
    assert_eq!(winsms(&local.url).send(&outgoing("Prix: 12 & +1=2")).await, accepted("a1b2c3"));
    let asked = local.only();
    assert_eq!(
        asked.line,
        "GET /sms/sms/api?action=send-sms&api_key=Z2FyYWdlOmdhcmFnZQ%3D%3D&to=21620000123&from=GARAGE%20ALI\
         &sms=Prix%3A%2012%20%26%20%2B1%3D2&response=json"
    );
    assert_eq!((asked.header("authorization"), asked.body.as_str()), ("", ""));
}

#[tokio::test]
async fn arabic_is_announced_and_without_a_sender_id_the_accounts_own_is_shown() {
    let local = Local::answering(200, SENT).await;
    assert_eq!(winsms_as(&local.url, None).send(&outgoing("\u{645}")).await, accepted("a1b2c3"));
    assert_eq!(
        local.only().line,
        "GET /sms/sms/api?action=send-sms&api_key=Z2FyYWdlOmdhcmFnZQ%3D%3D&to=21620000123&sms=%D9%85&unicode=1&response=json"
    );
}

#[tokio::test]
async fn every_known_code_has_its_outcome_as_json_and_as_a_form() {
    for (code, expected) in [
        ("ok", "accepted"),
        ("100", "unknown"),
        ("101", "misconfigured"),
        ("102", "misconfigured"),
        ("103", "rejected"),
        ("104", "rejected"),
        ("105", "no_credit"),
        ("106", "misconfigured"),
        ("107", "misconfigured"),
        ("108", "misconfigured"),
        ("109", "misconfigured"),
        ("110", "misconfigured"),
        ("111", "unknown"),
        ("1050", "unknown"),
        ("112", "unknown"),
    ] {
        let json = format!(r#"{{"code":"{code}","message":"x","balance":"0"}}"#);
        let form = format!("code={code}&message=Some+words+105&balance=0");
        let middle = format!("message=Some+words&code={code}");
        let lines = format!("message=x\r\ncode={code}\r\nbalance=0");
        let cases =
            [(200, json.as_str(), expected), (200, &form, expected), (200, &middle, expected), (200, &lines, expected)];
        check_answers(winsms, &[KEY, "Z2FyYWdlOmdhcmFnZQ%3D%3D"], &cases).await;
        // A number, and a status that says no too.
        if code.parse::<u16>().is_ok() {
            let number = format!(r#"{{"code":{code}}}"#);
            check_answers(winsms, &[KEY], &[(200, &number, expected), (400, &number, expected)]).await;
        }
    }
}

#[tokio::test]
async fn what_is_no_answer_of_the_script_is_unknown_unless_the_status_tells() {
    check_answers(
        winsms,
        &[KEY],
        &[
            (500, SENT, "unknown"),
            (200, "", "unknown"),
            (200, "ok", "unknown"),
            (200, "<html>code=okay</html>", "unknown"),
            (200, r#"{"code":"okay"}"#, "unknown"),
            (200, r#"{"status":"ok"}"#, "unknown"),
            // Refused by its status, and may go out all the same by its code.
            (403, r#"{"code":"111"}"#, "unknown"),
            (429, r#"{"code":"100"}"#, "unknown"),
            (200, r#"{"code":null,"message":"code=105"}"#, "unknown"),
            (400, "", "unknown"),
            (401, "", "misconfigured"),
            (403, "", "misconfigured"),
            (404, "<html>", "misconfigured"),
            (301, "", "misconfigured"),
            (429, "", "throttled"),
            (500, "", "unknown"),
        ],
    )
    .await;
}

#[tokio::test]
async fn the_balance_is_asked_for_with_the_key_and_no_error_tells_it() {
    let local = Local::answering(200, r#"{"balance":"1499","user":"garage","country":"Tunisia"}"#).await;
    assert_eq!(winsms(&local.url).ask_balance().await, Ok(1499.0));
    assert_eq!(
        local.only().line,
        "GET /sms/sms/api?action=check-balance&api_key=Z2FyYWdlOmdhcmFnZQ%3D%3D&response=json"
    );
    let local = Local::answering(200, &format!(r#"{{"code":"102","message":"Authentication failed {KEY}"}}"#)).await;
    let error = winsms(&local.url).ask_balance().await.err().unwrap();
    assert!(error.contains("102") && !error.contains(KEY), "{error}");
}

#[tokio::test]
async fn a_server_that_is_gone_tells_no_key_and_there_are_no_receipts() {
    let gone = winsms("http://127.0.0.1:1");
    let outcome = gone.send(&outgoing("Bonjour")).await;
    assert_eq!(outcome.word(), "temporary_failure");
    assert!(!outcome.detail().contains("Z2Fy"), "{outcome:?}");
    assert_eq!(push(&gone, &[], "{}"), Err(PushError::NotConfigured));
    assert!(gone.poll_batch().is_none() && !gone.can_look_up());
}
