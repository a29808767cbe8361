//! A rate and a quota of the day, to the message, for two daemons together.

use std::sync::Arc;

use ecar_sms::gateway::Received;

use crate::fault::{Scale, Verdict};
use crate::stage::{Ladder, Stage};
use crate::support::{API_KEY, until};

/// Messages a second that the provider allows.
const RATE: usize = 10;

/// A second in microseconds.
const SECOND_US: i64 = 1_000_000;

/// Where the gateway takes what the first provider may not carry.
const SPARE: &str = "/v1/spare";

/// More messages than a provider may carry in a day: it carries exactly so many, never more than its rate in a second, and another
/// one has the rest.
pub async fn rate_and_quota(scale: Scale) -> Verdict {
    let mut stage = Stage::new(scale, Ladder::Hold).await;
    let (quota, messages) = scale.pick((60, 80), (1_000, 1_200));
    let spare = stage.world.gateway.url().replace("/v1/messages", SPARE);
    let toml = provider("limited", &stage.world.gateway.url(), &format!("rate = {RATE}.0"), quota)
        + &provider("spare", &spare, "", 1_000_000);
    stage.world.configure(&toml);
    let daemons: Vec<_> = (0..2).map(|it| stage.world.spawn(stage.command(it))).collect();
    until("both know of each other", async || daemons.iter().all(|daemon| daemon.log().contains("daemons=2"))).await;
    stage.enqueue(1, messages).await;
    let received = stage.reaches(usize::try_from(messages).unwrap(), scale.patience() * 3).await;
    let gateway = stage.world.gateway.received();
    let limited: Vec<i64> = arrivals(&gateway, |it| it.path != SPARE);
    let days = stage.number("SELECT count(DISTINCT day) FROM sms_quota WHERE provider = 'limited'").await;
    let used = stage.number("SELECT sum(used) FROM sms_quota WHERE provider = 'limited'").await;
    let senders = stage
        .number("SELECT count(DISTINCT lease_owner) FROM sms_history WHERE provider = 'limited' AND status = 'sent'")
        .await;
    let span_s = limited.last().zip(limited.first()).map_or(0, |(last, first)| last - first) as f64 / 1e6;
    let done = format!("{RATE} a second, {quota} a day, 2 daemons");
    let mut verdict = stage.finish(done, daemons, 0).await;
    if days > 1 {
        return Verdict::skipped("the day of the quota ended meanwhile");
    }
    verdict.require(received.is_some(), || "not all messages were sent".to_owned());
    verdict.require(limited.len() == quota && used == quota as i64, || {
        format!("the first provider carried {} messages, {used} are counted, and {quota} are allowed", limited.len())
    });
    verdict.require(senders == 2, || format!("{senders} daemons sent through it: it proves nothing about two"));
    let most = most_within(&limited, SECOND_US);
    verdict.require(most <= RATE, || format!("{most} messages in a second"));
    verdict.note(format!(
        "{} in {span_s:.1} s through the first provider, {} through the other; {:.2} a second; most in any second: {most}",
        limited.len(),
        arrivals(&gateway, |it| it.path == SPARE).len(),
        limited.len().saturating_sub(1) as f64 / span_s.max(0.001),
    ));
    verdict
}

fn provider(name: &str, url: &str, more: &str, quota: usize) -> String {
    format!(
        r#"[[provider]]
name = "{name}"
[provider.generic]
url = "{url}"
api_key = "{API_KEY}"
{more}
fields = [
    {{ name = "api_key", value = "{{{{ api_key }}}}" }},
    {{ name = "sender_id", value = "{{{{ sender_id }}}}" }},
    {{ name = "phone", value = "{{{{ phone }}}}" }},
    {{ name = "message", value = "{{{{ message }}}}" }},
]
[provider.route]
daily_quota = {quota}
"#
    )
}

/// When the messages arrived, in order, microseconds.
fn arrivals(received: &[Arc<Received>], counts: impl Fn(&Received) -> bool) -> Vec<i64> {
    let mut arrivals: Vec<i64> = received.iter().filter(|it| it.taken && counts(it)).map(|it| it.at_us()).collect();
    arrivals.sort_unstable();
    arrivals
}

/// The most arrivals in a time of this length, wherever it begins; its end does not belong to it.
fn most_within(arrivals: &[i64], window_us: i64) -> usize {
    let within = |at: usize| arrivals[at..].iter().take_while(|it| **it < arrivals[at] + window_us).count();
    (0..arrivals.len()).map(within).max().unwrap_or_default()
}
