//! What is pushed: items that are none of the kind that is read.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;

/// What a push of this body says: the words of receipts, the texts of replies.
fn read(config: &str, body: &str) -> Vec<String> {
    let provider = configured(&format!("url = 'http://x/'\n{config}"));
    let push = Push {
        method: "POST",
        url: "https://sms.garage.example/receipts/test/0123456789abcdef",
        header: &|_| None,
        body: body.as_bytes(),
        now: Timestamp::UNIX_EPOCH,
    };
    let pushed = provider.read_push(&push).unwrap();
    pushed
        .into_iter()
        .map(|one| match one {
            Pushed::Receipt(receipt) => receipt.words,
            Pushed::Reply(reply) => reply.text,
        })
        .collect()
}

#[test]
fn a_condition_is_asked_of_each_item_and_not_of_the_body() {
    let receipts = "receipts = { items = '$.all[*]', when = { path = '$.kind', in = ['dlr', 7] }, id = '$.id', \
                    status = '$.status', delivered = [], undelivered = [] }";
    let replies =
        "replies = { items = '$.all[*]', when = { path = '$.kind', equals = 'mo' }, from = '$.id', text = '$.status' }";
    let body = r#"{"kind":"dlr","all":[{"kind":"dlr","id":"1","status":"a"},{"kind":"mo","id":"2","status":"b"},
        {"kind":"7","id":"3","status":"c"},{"id":"4","status":"d"},{"kind":"ping","id":"5","status":"e"},"dlr",null]}"#;
    assert_eq!(read(receipts, body), ["a", "c"]);
    assert_eq!(read(replies, body), ["b"]);
    assert_eq!(read(&format!("{receipts}\n{replies}"), body), ["a", "c", "b"]);
    let anything = receipts.replace("when = { path = '$.kind', in = ['dlr', 7] }, ", "");
    assert_eq!(read(&anything, body), ["a", "b", "c", "d", "e"]);
    let absence = receipts.replace("in = ['dlr', 7]", "exists = false");
    assert_eq!(read(&absence, body), ["d"]);
}

#[test]
fn a_body_that_is_one_item_or_a_list_of_them_has_the_condition_asked_too() {
    let config = "receipts = { when = { path = '$.event', equals = 'sent' }, id = '$.id', status = '$.event', \
                  delivered = [], undelivered = [] }";
    assert_eq!(read(config, r#"{"event":"sent","id":1}"#), ["sent"]);
    assert_eq!(read(config, r#"[{"event":"sent","id":1},{"event":"ping","id":2}]"#), ["sent"]);
    for body in [r#"{"event":"ping","id":1}"#, r#"{"id":1}"#, "[]", "7", "null"] {
        assert!(read(config, body).is_empty(), "{body}");
    }
}
