//! The L2T family, by the pages its customers see of versions 0 (XML) and 1 (JSON).

use super::local::{Local, accepted, check_answers, outgoing, provider, push};
use crate::provider::generic::HttpProvider;
use crate::provider::receipt::{DeliveryStatus, PushError};
use crate::provider::vendor::{Vendor, VendorConfig};

/// As keys of this vendor look.
const KEY: &str = "Ye3r/-/0ggs+YlQbSvBZMYA==";
const SENT: &str = r#"{"success":true,"message":"the message is saved in the queue","code":"message_queued","status":"200","data":{"message_id":12345,"msisdn":"21620000123","ref":"abc123"}}"#;
const SENT_V0: &str = "<?xml version=\"1.0\"?><response><status><status_code>200</status_code><status_msg>OK</status_msg><message_id>778899</message_id></status></response>";

fn l2t(url: &str) -> HttpProvider {
    provider(
        "l2t",
        VendorConfig {
            api_key: Some(KEY.into()),
            base_url: Some(format!("{url}/Api/Api.aspx")),
            sender_id: Some("Garage Ali".into()),
            ..VendorConfig::default()
        },
    )
}

#[tokio::test]
async fn a_message_is_one_get_with_the_key_as_it_is_and_spaces_as_plus() {
    let local = Local::answering(200, SENT).await;
    assert_eq!(l2t(&local.url).send(&outgoing("Prix: 12 & +1=é")).await, accepted("12345"));
    let asked = local.only();
    assert_eq!(
        asked.line,
        format!(
            "GET /Api/Api.aspx?fct=sms&key={KEY}&mobile=21620000123&sms=Prix%3A+12+%26+%2B1%3D%C3%A9\
             &sender=Garage+Ali&content-type=json"
        )
    );
    assert_eq!((asked.header("authorization"), asked.body.as_str()), ("", ""));
}

#[test]
fn a_key_that_would_end_its_parameter_is_refused_at_start_and_not_quoted() {
    for key in ["abc&fct=balance", "abc def", "abc#def"] {
        let written = VendorConfig {
            api_key: Some(key.into()),
            base_url: Some("https://sms.example/api".into()),
            ..VendorConfig::default()
        };
        let config = Vendor::named("l2t").unwrap().configure(written).unwrap();
        let error = HttpProvider::new("l2t".into(), config, super::local::tls()).err().unwrap().to_string();
        assert!(error.starts_with("query.key: ") && !error.contains("abc"), "{error}");
    }
}

fn json(status: &str) -> String {
    format!(r#"{{"success":false,"message":"non","code":"error","status":{status}}}"#)
}

#[tokio::test]
async fn every_documented_code_has_its_outcome_in_json_in_xml_and_as_an_http_status() {
    let encoded = KEY.replace('/', "%2F").replace('+', "%2B").replace('=', "%3D");
    let secrets = [KEY, encoded.as_str()];
    for (code, expected) in [
        (400, "misconfigured"),
        (401, "misconfigured"),
        (402, "no_credit"),
        (420, "no_credit"),
        (430, "rejected"),
        (431, "rejected"),
        (440, "rejected"),
        (441, "rejected"),
        (442, "misconfigured"),
        (500, "unknown"),
        (499, "unknown"),
    ] {
        let (number, text) = (json(&code.to_string()), json(&format!("\"{code}\"")));
        let v1 = format!(
            "<?xml version=\"1.0\"?>\n<response><success>0</success><message>non</message><status>{code}</status></response>"
        );
        let v0 = format!(
            "\u{feff}<response>\n <status>\n  <status_code>{code}</status_code><status_msg>non</status_msg></status></response>"
        );
        // As the vendor's own sample has it: the end tag is none.
        let broken =
            format!("<response><status><status_code> {code}<status_code/><status_msg>non<status_msg/></response>");
        check_answers(
            l2t,
            &secrets,
            &[
                (200, &number, expected),
                (200, &text, expected),
                (200, &v1, expected),
                (200, &v0, expected),
                (200, &broken, expected),
                (code, "", expected),
                (code, &number, expected),
            ],
        )
        .await;
    }
}

#[tokio::test]
async fn accepted_is_only_what_has_an_id() {
    let broken = "<response><status><status_code>200<status_code/><status_msg>OK<status_msg/><message_id>778899<message_id/></response>";
    let v1 = "<?xml version=\"1.0\"?>\n<response><success>1</success><message>the message is saved in the queue</message><code>message_queued</code><status>200</status><data><message_id>778899</message_id></data></response>";
    for body in [SENT_V0, broken, v1, &SENT_V0.replace("<message_id>", "<message_id>\n ")] {
        let local = Local::answering(200, body).await;
        assert_eq!(l2t(&local.url).send(&outgoing("Bonjour")).await, accepted("778899"), "{body}");
    }
    let hostile = SENT.replace("12345", r#""1;2 3""#);
    let local = Local::answering(200, &hostile).await;
    assert_eq!(l2t(&local.url).send(&outgoing("Bonjour")).await, accepted("1"), "what ends a list is no part of an id");
    check_answers(
        l2t,
        &[KEY],
        &[
            (200, r#"{"success":true,"status":"200"}"#, "unknown"),
            (200, &SENT.replace("true", "false"), "unknown"),
            (200, &SENT_V0.replace("778899", ""), "unknown"),
            (500, SENT, "unknown"),
            (400, &json("500"), "unknown"),
            (200, "", "unknown"),
            (200, "<html><body>Service Unavailable</body></html>", "unknown"),
            // What a text says is no code.
            (200, r#"{"note":"<status_code>402</status_code>","status":"17"}"#, "unknown"),
            (302, "", "misconfigured"),
            (404, "<html>404</html>", "misconfigured"),
            (404, r#"{"success":false,"message":"Not Found","status":404}"#, "misconfigured"),
            (429, "", "throttled"),
            (502, "", "unknown"),
        ],
    )
    .await;
}

#[tokio::test]
async fn receipts_are_asked_for_in_a_list_divided_by_semicolons() {
    let body = r#"{"success":true,"message":"dlr response","code":"dlr_success","status":200,"data":[
        {"message_id":12345,"dlr":"DELIVERED","dlr_date":"2025-10-20 10:00:00","ref":"abc123"},
        {"message_id":"12346","dlr":"UNDELIVERED"},{"message_id":12347,"dlr":"EXPIRED"},{"message_id":12348,"dlr":"REJECTED"},
        {"message_id":12349,"dlr":"UNKNOWN"},{"message_id":12350,"dlr":null},{"dlr":"DELIVERED"}]}"#;
    let local = Local::answering(200, body).await;
    let l2t = l2t(&local.url);
    assert_eq!(l2t.poll_batch(), Some(50));
    let receipts = l2t.ask_receipts(&["12345", "12346"]).await.unwrap();
    assert_eq!(local.only().line, format!("GET /Api/Api.aspx?fct=dlr&key={KEY}&msg_id=12345;12346&content-type=json"));
    use DeliveryStatus::{Delivered, Pending, Undelivered};
    let read: Vec<_> = receipts.iter().map(|one| (one.provider_message_id.as_str(), one.status)).collect();
    assert_eq!(
        read,
        [
            ("12345", Delivered),
            ("12346", Undelivered),
            ("12347", Undelivered),
            ("12348", Undelivered),
            ("12349", Pending),
            ("12350", Pending)
        ]
    );
    let local = Local::answering(200, &format!("<Acknowledgement>{KEY}</Acknowledgement>")).await;
    let error = self::l2t(&local.url).ask_receipts(&["1"]).await.err().unwrap();
    assert!(!error.contains(KEY), "{error}");
}

#[tokio::test]
async fn the_balance_is_a_number_of_messages_however_it_is_written() {
    for (balance, expected) in [("250.00", 250.0), ("\"350\"", 350.0), ("0", 0.0)] {
        let body = format!(
            r#"{{"success":true,"message":"Account balance","code":"balance_success","status":200,"data":{{"id_client":123,"balance":{balance}}}}}"#
        );
        let local = Local::answering(200, &body).await;
        assert_eq!(l2t(&local.url).ask_balance().await, Ok(expected));
        assert_eq!(local.only().line, format!("GET /Api/Api.aspx?fct=balance&key={KEY}&content-type=json"));
    }
    let local = Local::answering(200, &format!("bad key {KEY}")).await;
    let error = l2t(&local.url).ask_balance().await.err().unwrap();
    assert!(error.contains("bad key") && !error.contains(KEY), "{error}");
}

#[tokio::test]
async fn a_server_that_is_gone_tells_no_key_and_nothing_is_taken_by_push() {
    let outcome = l2t("http://127.0.0.1:1").send(&outgoing("Bonjour")).await;
    assert_eq!(outcome.word(), "temporary_failure");
    assert!(!outcome.detail().contains("0ggs"), "{outcome:?}");
    assert_eq!(push(&l2t("http://127.0.0.1:1"), &[], "{}"), Err(PushError::NotConfigured));
}
