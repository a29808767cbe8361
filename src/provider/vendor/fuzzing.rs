//! What must hold of what is pushed to the listener, for any input; the fuzz target runs it for hours, the tests for a moment
//! (docs/FUZZING.md). A property that does not hold panics.

use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};

use super::{VENDORS, VendorConfig};
use crate::message::facts::turns_text;
use crate::message::outcome::DETAIL_LIMIT_CHARS;
use crate::provider::generic::HttpProvider;
use crate::provider::receipt::{Push, PushError, Pushed, RECEIPTS_LIMIT};

/// The secret of every signature, which nothing that comes in knows.
const SECRET: &str = "a-secret-that-nobody-guesses";

/// A provider, and whether it signs what it pushes.
type Pushing = (HttpProvider, bool);

/// Every known provider, signing as it does and not at all. Made once, because an input takes less time.
static PROVIDERS: LazyLock<Vec<Pushing>> = LazyLock::new(|| {
    let made = VENDORS.iter().flat_map(|vendor| {
        [Some(false), None].into_iter().filter_map(|signed| {
            let head = vendor.head().ok()?;
            let written = VendorConfig {
                account: head.account.map(|_| "account".to_owned()),
                api_key: Some(SECRET.into()),
                base_url: head.base_url.is_none().then(|| "https://vendor.example".to_owned()),
                push_token: Some("b6Yw0Qm4Zs8Rk2Tn".into()),
                signature_secret: head.signature_secret.filter(|_| signed.is_none()).map(|_| SECRET.into()),
                signed,
                ..VendorConfig::default()
            };
            let config = vendor.configure(written).ok()?;
            let signs = !matches!(config.signature, crate::provider::generic::SignatureConfig::None {});
            Some((HttpProvider::new(vendor.name.to_owned(), config, no_tls()?).ok()?, signs))
        })
    });
    let made: Vec<Pushing> = made.collect();
    assert_eq!(made.len(), 2 * VENDORS.len(), "a description cannot be made");
    made
});

fn no_tls() -> Option<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().ok()?;
    Some(builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

/// Beginnings for [`push`]: the query, the content type, a signature, a time, and the body; one a line.
pub const PUSH_SEEDS: &[&str] = &[
    "\napplication/x-www-form-urlencoded\nAAAA\n\nMessageSid=SM1&MessageStatus=delivered&From=%2B21620000001&Body=STOP",
    "messageId=0A1&status=delivered&client-ref=ecar-1-1-a&sig=00&timestamp=0&msisdn=21620000001&text=STOP\n\n\n\n",
    "\napplication/json\n\n\n{\"results\":[{\"messageId\":\"ecar-1-1-a\",\"status\":{\"name\":\"DELIVERED_TO_HANDSET\"},\"doneAt\":\"2026-01-01T00:00:00.000+0000\"}]}",
    "\napplication/json\n00\n0\n{\"event\":\"sms:delivered\",\"payload\":{\"messageId\":\"ecar-1-1-a\",\"deliveredAt\":\"x\"}}",
    "\napplication/json\n\n\n{\"deliveryInfoNotification\":{\"callbackData\":\"1\",\"deliveryInfo\":{\"deliveryStatus\":\"DeliveredToTerminal\"}}}",
    "a=1&a=2&%ff=%00\ntext/plain\n\u{7f}\n99999999999999999999\n[[[[[[[[[[null]]]]]]]]]]",
];

/// What is pushed is read or refused; nothing that is not signed is believed where the vendor signs; what is read is short, clean and without
/// the secret.
pub fn push(data: &[u8]) {
    let mut parts = data.splitn(5, |byte| *byte == b'\n');
    let mut part = || parts.next().unwrap_or_default();
    let mut text = || String::from_utf8_lossy(part()).into_owned();
    let [query, content_type, signature, time]: [String; 4] = std::array::from_fn(|_| text());
    let body = parts.next().unwrap_or_default();
    let url = format!("https://sms.garage.example/receipts/x/y{}{query}", if query.is_empty() { "" } else { "?" });
    let header = |name: &str| match name {
        "content-type" => Some(content_type.as_str()),
        "x-timestamp" => Some(time.as_str()),
        _ => Some(signature.as_str()),
    };
    let method = if body.is_empty() { "GET" } else { "POST" };
    let push = Push { method, url: &url, header: &header, body, now: Timestamp::UNIX_EPOCH };
    for (provider, signs) in PROVIDERS.iter() {
        match provider.read_push(&push) {
            Ok(pushed) => {
                assert!(!signs, "{} believes what nobody has signed", provider.name());
                assert!(pushed.len() <= RECEIPTS_LIMIT);
                pushed.iter().for_each(is_clean);
            }
            Err(PushError::Malformed(problem)) => assert!(problem.chars().count() <= DETAIL_LIMIT_CHARS),
            Err(PushError::Forged(_) | PushError::NotConfigured) => {}
        }
    }
}

fn is_clean(pushed: &Pushed) {
    let Pushed::Receipt(receipt) = pushed else { return };
    let texts = [Some(&receipt.provider_message_id), receipt.reference.as_ref(), Some(&receipt.words)];
    for text in texts.into_iter().flatten() {
        assert!(text.chars().count() <= DETAIL_LIMIT_CHARS, "{text:?}");
        assert!(!text.chars().any(|c| c.is_control() || turns_text(c)), "{text:?}");
        assert!(!text.contains(SECRET), "{text:?}");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_property_holds_for_the_beginnings_of_the_fuzz_target() {
        PUSH_SEEDS.iter().for_each(|seed| push(seed.as_bytes()));
    }

    proptest! {
        #[test]
        fn any_push_is_read_or_refused(
            head in "[a-zA-Z0-9=&%+-]{0,40}\n(application/json|application/x-www-form-urlencoded|.{0,10})\n.{0,20}\n[0-9]{0,12}\n",
            body in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..200),
                prop::sample::select(PUSH_SEEDS).prop_map(|seed| seed.splitn(5, '\n').nth(4).unwrap_or_default().as_bytes().to_vec()),
            ],
        ) {
            push(&[head.as_bytes(), &body].concat());
        }
    }
}
