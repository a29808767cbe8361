//! References: messages are looked up by them, and repeats are recognised.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;

fn referenced(phone: &str, text: &str, reference: &str) -> String {
    json!({"api_key": "s3cret", "sender_id": "ECAR", "phone": phone, "message": text, "reference": reference})
        .to_string()
}

async fn send_referenced(gateway: &Gateway, text: &str, reference: &str) -> (u16, Value) {
    call(gateway, "POST", "/v1/messages", &referenced("+21620000001", text, reference)).await
}

#[tokio::test]
async fn a_message_is_looked_up_by_its_reference() {
    let gateway = gateway("[[rule]]\ncontains = \"no\"\nstatus = 400").await;
    assert_eq!(send_referenced(&gateway, "x", "ecar-1-1").await.0, 200);
    assert_eq!(send_referenced(&gateway, "no", "ecar-2-1").await.0, 400);
    let found = json!({"id": "sim-000001", "status": "accepted", "reference": "ecar-1-1"});
    assert_eq!(call(&gateway, "GET", "/lookup?reference=ecar-1-1", "").await, (200, found));
    for unknown in ["ecar-2-1", "ecar-3-1", ""] {
        let (status, answer) = call(&gateway, "GET", &format!("/lookup?reference={unknown}"), "").await;
        assert_eq!((status, answer["error"].is_string()), (404, true), "{unknown}");
    }
    let (_, all) = call(&gateway, "GET", "/messages", "").await;
    assert_eq!(
        (&all[0]["reference"], &all[0]["taken"], &all[1]["taken"]),
        (&json!("ecar-1-1"), &json!(true), &json!(false))
    );
    assert_eq!(all[0]["body"]["reference"], "ecar-1-1");
    assert_eq!((gateway.stats().totals.taken, gateway.stats().lookups), (1, 4));
}

#[tokio::test]
async fn messages_are_looked_up_by_phone_and_time() {
    let gateway = gateway("").await;
    send_referenced(&gateway, "a", "ecar-1-1").await;
    send(&gateway, "+21620000002", "b").await;
    send(&gateway, "+21620000001", "c").await;
    let at = |place: usize| gateway.received()[place].at.to_string();
    let (status, answer) = call(&gateway, "GET", &format!("/lookup?phone=%2B21620000001&since={}", at(0)), "").await;
    let expected = json!({"messages": [
        {"id": "sim-000001", "phone": "+21620000001", "message": "a", "reference": "ecar-1-1", "at": at(0)},
        {"id": "sim-000003", "phone": "+21620000001", "message": "c", "reference": null, "at": at(2)},
    ]});
    assert_eq!((status, answer), (200, expected));
    let (_, later) = call(&gateway, "GET", &format!("/lookup?phone=+21620000001&since={}", at(2)), "").await;
    assert_eq!(later["messages"].as_array().unwrap().len(), 1);
    let (_, none) = call(&gateway, "GET", "/lookup?phone=+21620000009&since=2026-01-01T00:00:00Z", "").await;
    assert_eq!(none, json!({"messages": []}));
}

#[tokio::test]
async fn a_look_up_that_is_no_question_or_has_a_wrong_key_is_refused() {
    let gateway = gateway("api_key = \"s3cret\"").await;
    for query in ["", "?reference=a&phone=b", "?since=2026-01-01T00:00:00Z", "?phone=b&since=yesterday"] {
        assert_eq!(call(&gateway, "GET", &format!("/lookup{query}"), "").await.0, 400, "{query}");
    }
    assert_eq!(call(&gateway, "GET", "/lookup?reference=a&api_key=other", "").await.0, 401);
    assert_eq!(call(&gateway, "GET", "/lookup?reference=a&api_key=s3cret", "").await.0, 404);
    assert_eq!(call(&gateway, "POST", "/lookup", &message("+21620000001", "x")).await.0, 405);
}

#[tokio::test]
async fn a_look_up_that_the_script_does_not_offer_is_answered_501() {
    for (offered, reference, recipient) in
        [("[]", 501, 501), ("[\"reference\"]", 404, 501), ("[\"recipient\"]", 501, 200)]
    {
        let gateway = gateway(&format!("lookup = {offered}")).await;
        assert_eq!(call(&gateway, "GET", "/lookup?reference=a", "").await.0, reference, "{offered}");
        assert_eq!(call(&gateway, "GET", "/lookup?phone=b", "").await.0, recipient, "{offered}");
    }
}

#[tokio::test]
async fn what_was_read_whole_is_taken_even_when_the_client_cannot_learn_it() {
    for (script, taken) in [
        (String::new(), true),
        (fault("reset_after_read"), true),
        (fault("close_after_read"), true),
        (fault("truncated"), true),
        (fault("garbage"), true),
        (fault("no_json"), true),
        (fault("redirect"), false),
        ("[[rule]]\nstatus = 204".into(), true),
        ("[[rule]]\nstatus = 302".into(), false),
        ("[[rule]]\nstatus = 429".into(), false),
        ("[[rule]]\nstatus = 504".into(), false),
        ("error_takes = true\n[[rule]]\nstatus = 504".into(), true),
        ("error_takes = true\n[[rule]]\nstatus = 400".into(), false),
        ("error_rate = 1.0".into(), false),
        ("error_rate = 1.0\nerror_takes = true".into(), true),
        ("api_key = \"other\"".into(), false),
    ] {
        let gateway = gateway(&script).await;
        raw(&gateway, &request("POST", "/", &referenced("+21620000001", "x", "ecar-1-1"))).await;
        assert_eq!(gateway.received()[0].taken, taken, "{script}");
        let status = call(&gateway, "GET", "/lookup?reference=ecar-1-1", "").await.0;
        assert_eq!(status, if taken { 200 } else { 404 }, "{script}");
    }
}

#[tokio::test]
async fn silence_huge_and_endless_answers_take_the_message() {
    for word in ["silence", "huge", "endless"] {
        let gateway = gateway(&fault(word)).await;
        let mut stream = TcpStream::connect(gateway.addr()).await.unwrap();
        stream.write_all(&request("POST", "/", &message("+21620000001", "x"))).await.unwrap();
        until(&gateway, "the message is recorded", |gateway| gateway.count() == 1).await;
        assert!(gateway.received()[0].taken, "{word}");
    }
}

#[tokio::test]
async fn a_gateway_that_deduplicates_answers_a_repeat_with_the_first_id_and_sends_nothing() {
    let gateway = gateway("deduplicate = true\n[[rule]]\ntimes = 1\nfault = \"reset_after_read\"").await;
    let first = request("POST", "/", &referenced("+21620000001", "x", "ecar-1-1"));
    assert_eq!(raw(&gateway, &first).await.1, Some(ErrorKind::ConnectionReset));
    let again = send_referenced(&gateway, "x", "ecar-1-1").await;
    assert_eq!(again, (200, json!({"id": "sim-000001", "status": "accepted"})));
    send_referenced(&gateway, "x", "ecar-1-2").await;
    send(&gateway, "+21620000001", "y").await;
    let seen: Vec<_> = gateway.received().iter().map(|one| (one.taken, one.repeat_of, one.id())).collect();
    let id = |id: &str| Some(id.to_owned());
    assert_eq!(
        seen,
        [
            (true, None, None),
            (false, Some(1), id("sim-000001")),
            (true, None, id("sim-000003")),
            (true, None, id("sim-000004"))
        ]
    );
    assert_eq!((gateway.stats().totals.taken, gateway.stats().totals.duplicates), (3, 0));
}

#[tokio::test]
async fn without_deduplication_a_repeat_is_a_second_text() {
    let gateway = gateway("").await;
    for id in ["sim-000001", "sim-000002"] {
        assert_eq!(send_referenced(&gateway, "x", "ecar-1-1").await.1["id"], id);
    }
    assert_eq!((gateway.stats().totals.taken, gateway.stats().totals.duplicates), (2, 1));
    let found = call(&gateway, "GET", "/lookup?reference=ecar-1-1", "").await.1;
    assert_eq!(found["id"], "sim-000001");
}

#[tokio::test]
async fn a_refused_message_is_no_repeat_when_it_comes_again() {
    let gateway = gateway("deduplicate = true\n[[rule]]\ntimes = 1\nstatus = 503").await;
    assert_eq!(send_referenced(&gateway, "x", "ecar-1-1").await.0, 503);
    assert_eq!(send_referenced(&gateway, "x", "ecar-1-1").await.1["id"], "sim-000002");
}

#[test]
fn look_ups_do_not_walk_the_record() {
    let mut ledger = ledger::Ledger::default();
    let accepted = ledger::Fate { answer: Answer::Status(200), accepted: true, taken: true, repeat_of: None };
    for place in 0..200_000 {
        let post = Post {
            phone: format!("+2162000{:04}", place % 1_000),
            reference: Some(format!("ecar-{place}-1")),
            ..Post::default()
        };
        ledger.enter(post, "/v1/messages", true, accepted);
    }
    let begun = Instant::now();
    for place in 0..1_000 {
        assert_eq!(ledger.taken_with(&format!("ecar-{place}-1")).unwrap().seq, place + 1);
        let phone = format!("+2162000{place:04}");
        assert_eq!(ledger.taken_for(&phone, jiff::Timestamp::MIN).len(), 200);
    }
    // A walk through the record for each of them takes minutes.
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}
