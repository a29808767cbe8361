//! Look-ups: what became of a message whose answer is missing.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::oauth::{count, oauth_gateway};
use super::*;

/// A provider that carries our reference, with this look-up of the gateway at `url`.
pub(super) fn asking(url: &str, lookup: &str) -> HttpProvider {
    configured(&format!(
        "url = '{url}'\nfields = [{{ name = 'reference', value = '{{{{ reference }}}}' }}]\n[lookup]\n{lookup}"
    ))
}

pub(super) fn by_reference(url: &str) -> HttpProvider {
    asking(url, &format!("by = 'reference'\nurl = '{url}?r={{{{ reference }}}}'"))
}

pub(super) fn by_recipient(url: &str) -> HttpProvider {
    asking(
        url,
        &format!(
            "by = 'recipient'\nurl = '{url}?to={{{{ phone }}}}&from={{{{ since }}}}'\n\
             items = '$.messages[*]'\ntext = '$.message'"
        ),
    )
}

pub(super) fn inquiry() -> Inquiry {
    Inquiry {
        reference: "ecar-123-1".into(),
        recipient: Some("+21620000123".into()),
        text: Some("Bonjour".into()),
        since: "2026-03-02T11:03:04.5Z".parse().unwrap(),
        deadline: Duration::from_secs(10),
    }
}

pub(super) fn taken(ids: &[Option<&str>]) -> Finding {
    let message = |id: &Option<&str>| TakenMessage { provider_message_id: id.map(str::to_owned) };
    Finding::Taken(ids.iter().map(message).collect())
}

pub(super) fn is_unclear(finding: &Finding) -> bool {
    matches!(finding, Finding::Unclear { detail } if !detail.is_empty())
}

#[tokio::test]
async fn a_look_up_carries_its_variables_encoded_and_the_credentials_of_the_send() {
    let gateway = Gateway::answering(&http(404, "", "{}")).await;
    let provider = configured(&format!(
        "url = '{0}/{{{{ reference }}}}'\nnumber_style = 'digits'\nauth = {{ type = 'bearer' }}\n[lookup]\n\
         by = 'reference'\nmethod = 'POST'\nurl = '{0}?r={{{{ reference }}}}&to={{{{ phone }}}}&at={{{{ since }}}}'\n\
         query = [{{ name = 'u', value = '{{{{ since_unix }}}}' }}, {{ name = 's', value = '{{{{ sender_id }}}}' }}]\n\
         headers = {{ X-Reference = '{{{{ reference }}}}' }}",
        gateway.url
    ));
    assert_eq!(provider.look_up(&Inquiry { reference: "a&b".into(), ..inquiry() }).await, Finding::Absent);
    let request = gateway.only_request();
    let line = "POST /send?r=a%26b&to=21620000123&at=2026-03-02T11%3A03%3A04.5Z&u=1772449384&s=ECAR HTTP/1.1\r\n";
    assert!(request.starts_with(line), "{request}");
    for header in ["authorization: Bearer top/secret==\r\n", "x-reference: a&b\r\n"] {
        assert!(request.contains(header), "{request}");
    }
    assert!(request.ends_with("\r\n\r\n"), "a look-up has no body: {request}");
}

#[tokio::test]
async fn by_reference_an_id_is_taken_a_404_absent_and_everything_else_unclear() {
    for (answer, expected) in [
        (http(200, "", r#"{"id":"m1"}"#), taken(&[Some("m1")])),
        (http(202, "", r#"{"sid":7,"status":"sent"}"#), taken(&[Some("7")])),
        // It is found, and its id is no id that could be kept.
        (http(200, "", &format!(r#"{{"id":"{KEY}"}}"#)), taken(&[None])),
        (http(404, "", r#"{"error":"unknown"}"#), Finding::Absent),
    ] {
        let gateway = Gateway::answering(&answer).await;
        assert_eq!(by_reference(&gateway.url).look_up(&inquiry()).await, expected, "{answer}");
    }
    let huge = format!(r#"{{"id":"m1","x":"{}"}}"#, "x".repeat(70_000));
    for answer in [
        http(200, "", "{}"),
        http(200, "", "[]"),
        http(200, "", r#"{"id":null}"#),
        http(200, "", "<html>It works!</html>"),
        http(200, "", ""),
        http(200, "", &huge),
        http(200, "", &"[".repeat(60_000)),
        http(204, "", ""),
        // From a portal, or from a server that knows no such path.
        http(404, "", "<html>Not Found</html>"),
        http(404, "", ""),
        http(301, "Location: /elsewhere\r\n", "{}"),
        http(400, "", r#"{"id":"m1"}"#),
        http(401, "", "{}"),
        http(410, "", "{}"),
        http(429, "", "{}"),
        http(500, "", r#"{"id":"m1"}"#),
        http(501, "", "{}"),
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"id\":1}".into(),
        "HTTP/1.1 404 X\r\nContent-Length: 100\r\n\r\n{}".into(),
        "SMTP 220 hello\r\n\r\n".into(),
        String::new(),
    ] {
        let gateway = Gateway::answering(&answer).await;
        let finding = by_reference(&gateway.url).look_up(&inquiry()).await;
        assert!(is_unclear(&finding), "{finding:?} for {:.100}", answer);
        assert_eq!(gateway.requests().len(), 1, "no redirect may be followed, nothing repeated");
    }
}

#[tokio::test]
async fn by_recipient_the_same_texts_are_taken_and_only_a_list_can_be_empty() {
    for (body, expected) in [
        (r#"{"messages":[{"id":"a","message":"Bonjour"}]}"#, taken(&[Some("a")])),
        (
            r#"{"messages":[{"id":"a","message":"Bonjour"},{"id":"b","message":"Bonsoir"},{"message":"Bonjour"}]}"#,
            taken(&[Some("a"), None]),
        ),
        // One that cannot be compared does not hide one that is ours.
        (r#"{"messages":[{"id":"a"},{"id":"b","message":"Bonjour"}]}"#, taken(&[Some("b")])),
        (r#"{"messages":[]}"#, Finding::Absent),
        (r#"{"messages":[{"id":"a","message":"bonjour"},{"id":"b","message":"Bonjour "}]}"#, Finding::Absent),
    ] {
        let gateway = Gateway::answering(&http(200, "", body)).await;
        assert_eq!(by_recipient(&gateway.url).look_up(&inquiry()).await, expected, "{body}");
        let line = "GET /send?to=%2B21620000123&from=2026-03-02T11%3A03%3A04.5Z HTTP/1.1\r\n";
        assert!(gateway.only_request().starts_with(line), "{}", gateway.only_request());
    }
    for (status, body) in [
        (200, "{}"),
        (200, "[]"),
        (200, r#"{"error":"try later"}"#),
        (200, r#"{"messages":null}"#),
        (200, r#"{"messages":{"0":{"message":"Bonsoir"}}}"#),
        (200, r#"{"messages":[{"id":"a"}]}"#),
        (200, r#"{"messages":[{"message":["Bonjour"]}]}"#),
        (200, "<html>"),
        (404, r#"{"messages":[]}"#),
        (404, "{}"),
        (500, r#"{"messages":[{"message":"Bonjour"}]}"#),
    ] {
        let gateway = Gateway::answering(&http(status, "", body)).await;
        let finding = by_recipient(&gateway.url).look_up(&inquiry()).await;
        assert!(is_unclear(&finding), "{finding:?} for {status} {body}");
    }
}

#[tokio::test]
async fn rules_judge_a_look_up_first_and_never_half_an_answer() {
    let rules = "match = [{ outcome = 'taken', json = { path = '$.code', equals = 0 } },\
                 { outcome = 'absent', json = { path = '$.code', equals = 7 } },\
                 { outcome = 'unclear', status = 404 }]";
    let one = |url: &str| asking(url, &format!("by = 'reference'\nurl = '{url}?{{{{ reference }}}}'\n{rules}"));
    for (answer, expected) in [
        (http(200, "", r#"{"code":0}"#), Some(taken(&[None]))),
        (http(500, "", r#"{"code":"7"}"#), Some(Finding::Absent)),
        (http(404, "", "{}"), None),
        // No rule matches: what is clear by itself counts.
        (http(200, "", r#"{"id":"m1"}"#), Some(taken(&[Some("m1")]))),
        (http(200, "", r#"{"code":1}"#), None),
        ("HTTP/1.1 500 X\r\nContent-Length: 100\r\n\r\n{\"code\":7}".into(), None),
    ] {
        let gateway = Gateway::answering(&answer).await;
        let finding = one(&gateway.url).look_up(&inquiry()).await;
        assert!(
            expected.as_ref().map_or(is_unclear(&finding), |expected| finding == *expected),
            "{answer}: {finding:?}"
        );
    }
    // By recipient, `taken` says that the answer is the list; the texts still decide.
    let list = |url: &str| {
        let paths = "items = '$.data[*]'\ntext = '$.body'\nid = { json = '$.ref' }";
        asking(url, &format!("by = 'recipient'\nurl = '{url}?{{{{ phone }}}}'\n{paths}\n{rules}"))
    };
    for (body, expected) in [
        (r#"{"code":0,"data":[{"ref":"r","body":"Bonjour"}]}"#, Some(taken(&[Some("r")]))),
        (r#"{"code":0,"data":[{"ref":"r","body":"x"}]}"#, Some(Finding::Absent)),
        (r#"{"code":0}"#, None),
        (r#"{"code":7}"#, Some(Finding::Absent)),
    ] {
        let gateway = Gateway::answering(&http(200, "", body)).await;
        let finding = list(&gateway.url).look_up(&inquiry()).await;
        assert!(expected.as_ref().map_or(is_unclear(&finding), |expected| finding == *expected), "{body}: {finding:?}");
    }
}

#[tokio::test]
async fn a_look_up_without_what_it_needs_is_unclear_and_asks_nobody() {
    let gateway = Gateway::answering(&http(404, "", "{}")).await;
    let forgotten = Inquiry { recipient: None, text: None, ..inquiry() };
    let provider = by_recipient(&gateway.url);
    for (inquiry, word) in [
        (forgotten.clone(), "recipient of the attempt is not known"),
        (Inquiry { text: None, ..inquiry() }, "text of the attempt is not known"),
        (Inquiry { recipient: Some("20000123\r\n".into()), ..inquiry() }, "E.164"),
        (Inquiry { deadline: Duration::ZERO, ..inquiry() }, "no time left"),
    ] {
        let Finding::Unclear { detail } = provider.look_up(&inquiry).await else { panic!("{word}") };
        assert!(detail.contains(word), "{detail}");
    }
    assert!(is_unclear(&garage(&gateway.url).look_up(&inquiry()).await));
    assert!(gateway.requests().is_empty());
    // By reference neither is needed.
    assert_eq!(by_reference(&gateway.url).look_up(&forgotten).await, Finding::Absent);
}

#[tokio::test]
async fn a_gateway_that_hangs_floods_or_is_gone_makes_a_look_up_unclear_in_time() {
    let gateway = Gateway::start(|number, _| match number {
        0 => Reply::Stall(String::new()),
        1 => Reply::Stall("HTTP/1.1 404 X\r\nContent-Length: 100\r\n\r\n{}".into()),
        2 => Reply::Flood("HTTP/1.1 200 X\r\nContent-Length: 104857600\r\n\r\n".into()),
        _ => Reply::Reset,
    })
    .await;
    let provider = by_reference(&gateway.url);
    let started = std::time::Instant::now();
    for _ in 0..4 {
        let short = Inquiry { deadline: Duration::from_millis(300), ..inquiry() };
        assert!(is_unclear(&provider.look_up(&short).await));
    }
    assert!(started.elapsed() < Duration::from_secs(10));
    assert!(is_unclear(&by_reference("http://127.0.0.1:1/").look_up(&inquiry()).await));
}

#[tokio::test]
async fn a_finding_quotes_neither_secrets_nor_what_a_list_says_of_customers() {
    let body = format!(r#"{{"messages":[{{"phone":"+21620000555","said":"Facture {KEY}"}}]}}"#);
    for status in [200, 500] {
        let gateway = Gateway::answering(&http(status, "", &body)).await;
        let shown = format!("{:?}", by_recipient(&gateway.url).look_up(&inquiry()).await);
        assert!(shown.contains(&format!("HTTP {status}")), "{shown}");
        assert!(!shown.contains("Facture") && !shown.contains("20000555") && !shown.contains("secret"), "{shown}");
    }
}

#[tokio::test]
async fn a_look_up_renews_a_refused_token_once() {
    let gateway = oauth_gateway(2, "3600").await;
    let provider = configured(&format!(
        "url = '{0}?{{{{ reference }}}}'\nauth = {{ type = 'oauth2', token_url = '{1}', client_id = 'c' }}\n\
         lookup = {{ by = 'reference', url = '{0}?{{{{ reference }}}}' }}",
        gateway.url,
        gateway.url.replace("/send", "/token"),
    ));
    assert_eq!(provider.look_up(&inquiry()).await, taken(&[Some("1")]));
    assert_eq!(count(&gateway, "/token"), 2);
}

#[test]
fn look_ups_that_cannot_work_are_refused_at_start_with_their_key() {
    let knows = "url = 'http://x/?{{ reference }}'\n[lookup]\n";
    let blind = "url = 'http://x/'\n[lookup]\n";
    let one = "by = 'reference'\nurl = 'http://x/?{{ reference }}'\n";
    let list = "by = 'recipient'\nurl = 'http://x/?{{ phone }}'\n";
    for (text, key) in [
        ("url = 'http://x/'\ndeduplicates = true".to_owned(), "deduplicates"),
        (format!("{blind}{one}"), "lookup.by"),
        (format!("{knows}by = 'reference'\nurl = 'http://x/?{{{{ phone }}}}'"), "lookup.url"),
        (format!("{knows}by = 'recipient'\nurl = 'http://x/?{{{{ reference }}}}'"), "lookup.url"),
        (format!("{knows}by = 'reference'\nurl = 'http://{{{{ reference }}}}.example/'"), "lookup.url"),
        (format!("{knows}by = 'recipient'\nurl = 'http://h{{{{ phone|raw }}}}.example/'"), "lookup.url"),
        (format!("{knows}by = 'reference'\nurl = 'ftp://x/?{{{{ reference }}}}'"), "lookup.url"),
        (format!("{knows}by = 'reference'\nurl = 'http://x/?{{{{ reference }}}}{{{{ message }}}}'"), "lookup.url"),
        (format!("{knows}{one}query = [{{ name = 'm', value = '{{{{ text }}}}' }}]"), "lookup.query.m"),
        (format!("{knows}{one}headers = {{ 'a b' = 'x' }}"), "lookup.headers.a b"),
        (format!("{knows}{one}items = '$[*]'"), "lookup.items"),
        (format!("{knows}{one}text = '$'"), "lookup.text"),
        (format!("{knows}{one}id = {{ json = '$[' }}"), "lookup.id.json"),
        (format!("{knows}{one}match = [{{ outcome = 'absent', status = 42 }}]"), "lookup.match[0].status"),
        (format!("{knows}{one}absent_after = '61m'"), "lookup.absent_after"),
        (format!("{blind}{list}text = '$'"), "lookup.items"),
        (format!("{blind}{list}items = '$.a[*]'"), "lookup.text"),
        (format!("{blind}{list}items = '$.a'\ntext = '$'"), "lookup.items"),
        (format!("{blind}{list}items = '$.[*]'\ntext = '$'"), "lookup.items"),
        (format!("{blind}{list}items = '$[*]'\ntext = '$'\nid = {{ regex = 'x' }}"), "lookup.id"),
    ] {
        let error = try_configured(&text).err().unwrap_or_else(|| panic!("accepted: {text}")).to_string();
        assert!(error.starts_with(&format!("{key}: ")), "{text}\n{error}");
        assert!(!error.contains("secret"), "{error}");
    }
    for text in [
        format!("{knows}{one}absent_after = '0s'"),
        format!(
            "{knows}by = 'reference'\nurl = 'http://x/'\nquery = [{{ name = 'r', value = '{{{{ reference }}}}' }}]"
        ),
        format!("{blind}{list}items = '$[*]'\ntext = '$'"),
        "url = 'http://x/?{{ reference }}'\ndeduplicates = true".to_owned(),
    ] {
        assert!(try_configured(&text).is_ok(), "{text}");
    }
}

#[test]
fn a_provider_says_what_it_can_be_asked() {
    let make = |config: &str| {
        let config = format!("url = 'http://x/?{{{{ reference }}}}'\n{config}");
        Provider::generic("x", toml::from_str(&config).unwrap(), tls()).unwrap()
    };
    let plain = make("");
    assert!(!plain.can_look_up() && !plain.deduplicates());
    assert_eq!(plain.absent_after(), Duration::from_secs(60));
    let able = make(
        "deduplicates = true\n\
         lookup = { by = 'reference', url = 'http://x/?{{ reference }}', absent_after = '2s' }",
    );
    assert!(able.can_look_up() && able.deduplicates());
    assert_eq!(able.absent_after(), Duration::from_secs(2));
}
