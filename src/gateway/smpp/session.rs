//! One link of a client with the simulated centre.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::StatusCode;
use rusmpp::pdus::{BindTransceiver, BindTransceiverResp, SubmitSm, SubmitSmResp};
use rusmpp::tokio_codec::CommandCodec;
use rusmpp::types::COctetString;
use rusmpp::values::Ton;
use rusmpp::{Command, CommandStatus, Pdu};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_util::codec::Framed;

use super::centre::Centre;
use super::mail::Letter;
use super::text::Text;
use crate::gateway::desk::Verdict;
use crate::gateway::director::Act;
use crate::gateway::post::Post;
use crate::gateway::rule::{Action, Fault};
use crate::gateway::script::IdForm;

/// Receipts and replies that may be unanswered by the client.
const WINDOW: usize = 10;
/// What the centre calls itself.
const NAME: &[u8] = b"simulated\0";
/// Largest PDU taken, octets: a `message_payload` of 64 KiB.
const PDU_LIMIT_OCTETS: usize = 66 * 1024;
/// Time for a client to bind.
const BIND_TIMEOUT: Duration = Duration::from_secs(30);

type Wire = Framed<TcpStream, CommandCodec>;
type Waiting = Pin<Box<dyn Future<Output = Step> + Send>>;

/// What is done once the scripted time is over.
enum Step {
    Answer(Command),
    Nothing,
    Half(Command),
    Garbage,
    Cut,
}

/// Serves one client, from its bind to the end of the link.
pub(super) async fn serve(centre: Arc<Centre>, stream: TcpStream) {
    // Without it answers would wait for each other; the link works all the same.
    let _ = stream.set_nodelay(true);
    let mut wire = Framed::new(stream, CommandCodec::new().with_max_length(PDU_LIMIT_OCTETS));
    let bound = tokio::time::timeout(BIND_TIMEOUT, bind(&centre, &mut wire)).await;
    let Ok(Some(password)) = bound else { return };
    centre.counters.bound.fetch_add(1, Ordering::Relaxed);
    let mut unanswered: HashMap<u32, Letter> = HashMap::new();
    work(&centre, &mut wire, &password, &mut unanswered).await;
    centre.counters.bound.fetch_sub(1, Ordering::Relaxed);
    for letter in unanswered.into_values() {
        centre.counters.repeated.fetch_add(1, Ordering::Relaxed);
        centre.mail.again(letter);
    }
}

/// The password of a client that may come in.
async fn bind(centre: &Centre, wire: &mut Wire) -> Option<String> {
    let command = wire.next().await?.ok()?;
    let sequence = command.sequence_number();
    let Some(Pdu::BindTransceiver(BindTransceiver { system_id, password, .. })) = command.pdu() else {
        let _ = wire.send(Command::new(CommandStatus::EsmeRinvbndsts, sequence, Pdu::GenericNack)).await;
        return None;
    };
    let script = centre.desk.smpp();
    let status = if script.system_id.as_deref().is_some_and(|wanted| wanted != system_id.as_str()) {
        CommandStatus::EsmeRinvsysid
    } else if !centre.desk.key_ok(password.as_str()) {
        CommandStatus::EsmeRinvpaswd
    } else if script.binds.is_some_and(|most| centre.counters.bound.load(Ordering::Relaxed) >= most) {
        CommandStatus::EsmeRalybnd
    } else {
        CommandStatus::EsmeRok
    };
    let counter =
        if status == CommandStatus::EsmeRok { &centre.counters.binds } else { &centre.counters.refused_binds };
    counter.fetch_add(1, Ordering::Relaxed);
    let password = password.as_str().to_owned();
    let response = BindTransceiverResp::builder().system_id(COctetString::from_static_slice(NAME).ok()?).build();
    wire.send(Command::new(status, sequence, response)).await.ok()?;
    (status == CommandStatus::EsmeRok).then_some(password)
}

async fn work(centre: &Arc<Centre>, wire: &mut Wire, password: &str, unanswered: &mut HashMap<u32, Letter>) {
    let mut cut = centre.cut.subscribe();
    let mut waiting: FuturesUnordered<Waiting> = FuturesUnordered::new();
    let mut sequence = 0;
    loop {
        let sent = tokio::select! {
            _ = cut.recv() => return,
            command = wire.next() => match command {
                Some(Ok(command)) => match hear(centre, command, password, unanswered, &mut waiting) {
                    Heard::Answer(answer) => wire.send(answer).await,
                    Heard::Nothing => Ok(()),
                    Heard::Last(answer) => {
                        // The client may not wait for it.
                        let _ = wire.send(answer).await;
                        return;
                    }
                    Heard::Cut => return,
                },
                Some(Err(_)) | None => return,
            },
            letter = centre.mail.next(), if unanswered.len() < WINDOW => {
                sequence += 1;
                let command = Command::new(CommandStatus::EsmeRok, sequence, letter.pdu.clone());
                unanswered.insert(sequence, letter);
                wire.send(command).await
            }
            Some(step) = waiting.next(), if !waiting.is_empty() => match step {
                Step::Answer(answer) => wire.send(answer).await,
                Step::Nothing => Ok(()),
                Step::Cut => return,
                Step::Garbage => {
                    let _ = wire.get_mut().write_all(&[0xFF; 64]).await;
                    return;
                }
                Step::Half(answer) => {
                    // The first octets of the answer, and no more.
                    let length = [0, 0, 0, 0x40];
                    let id = u32::from(answer.id()).to_be_bytes();
                    let _ = wire.get_mut().write_all(&[length, id].concat()).await;
                    return;
                }
            },
        };
        if sent.is_err() {
            return;
        }
    }
}

enum Heard {
    Answer(Command),
    Nothing,
    Last(Command),
    Cut,
}

fn hear(
    centre: &Arc<Centre>,
    command: Command,
    password: &str,
    unanswered: &mut HashMap<u32, Letter>,
    waiting: &mut FuturesUnordered<Waiting>,
) -> Heard {
    let sequence = command.sequence_number();
    let ok = |pdu: Pdu| Command::new(CommandStatus::EsmeRok, sequence, pdu);
    match command.pdu() {
        Some(Pdu::SubmitSm(submit)) => {
            if centre.desk.before_read().is_some() {
                return Heard::Cut;
            }
            waiting.push(take(centre, submit, password, sequence));
            Heard::Nothing
        }
        Some(Pdu::EnquireLink) => Heard::Answer(ok(Pdu::EnquireLinkResp)),
        Some(Pdu::Unbind) => {
            centre.counters.unbinds.fetch_add(1, Ordering::Relaxed);
            Heard::Last(ok(Pdu::UnbindResp))
        }
        Some(Pdu::DeliverSmResp(_)) => {
            if let Some(letter) = unanswered.remove(&sequence) {
                if command.status() == CommandStatus::EsmeRok {
                    centre.counters.taken.fetch_add(1, Ordering::Relaxed);
                } else {
                    centre.counters.repeated.fetch_add(1, Ordering::Relaxed);
                    centre.mail.again(letter);
                }
            }
            Heard::Nothing
        }
        _ if command.id().is_response() => Heard::Nothing,
        _ => Heard::Answer(Command::new(CommandStatus::EsmeRinvcmdid, sequence, Pdu::GenericNack)),
    }
}

/// Enters a submission; what is to be answered, when its time has come.
fn take(centre: &Arc<Centre>, submit: &SubmitSm, password: &str, sequence: u32) -> Waiting {
    let text = Text::of(submit);
    let path = text.path();
    let number = submit.destination_addr.as_str();
    let post = Post {
        key: Some(password.to_owned()),
        sender_id: submit.source_addr.as_str().to_owned(),
        phone: if submit.dest_addr_ton == Ton::International { format!("+{number}") } else { number.to_owned() },
        message: text.text,
        ..Post::default()
    };
    let script = centre.desk.smpp();
    let refused = |status| Step::Answer(Command::new(status, sequence, SubmitSmResp::default()));
    let (delay, step) = match centre.desk.receive(post, &path) {
        Verdict::Play(cue, received) => {
            if received.taken
                && let Some(after) = script.receipts
            {
                let id = message_id(received.seq, script.receipt_ids);
                centre.mail.post(Letter::receipt(submit, &id, &script.stat, after.0));
            }
            let accepted = || {
                let id = COctetString::from_string(message_id(received.seq, script.submit_ids));
                let response = SubmitSmResp::builder().message_id(id.unwrap_or_default()).build();
                Command::new(CommandStatus::EsmeRok, sequence, response)
            };
            let step = match &cue.act {
                Act::Accept => Step::Answer(accepted()),
                Act::Error(status) => refused(command_status(*status)),
                Act::Rule(rule) => match &rule.action {
                    Action::Answer { status, .. } if status.is_success() => Step::Answer(accepted()),
                    Action::Answer { status, .. } => refused(command_status(*status)),
                    Action::Refuse { code, .. } => refused(status_named(code)),
                    Action::Fault(Fault::Silence) => Step::Nothing,
                    Action::Fault(Fault::Truncated) => Step::Half(accepted()),
                    Action::Fault(Fault::Garbage) => Step::Garbage,
                    Action::Fault(_) => Step::Cut,
                },
            };
            (cue.delay, step)
        }
        Verdict::Repeat(delay, _) => (delay, refused(CommandStatus::EsmeRsubmitfail)),
        Verdict::Complain(_) => (Duration::ZERO, refused(CommandStatus::EsmeRinvdstadr)),
        Verdict::WrongKey => (Duration::ZERO, refused(CommandStatus::EsmeRinvpaswd)),
        Verdict::Full => (Duration::ZERO, refused(CommandStatus::EsmeRmsgqful)),
    };
    let desk = Arc::clone(&centre.desk);
    Box::pin(async move {
        let _counted = desk.answering();
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        step
    })
}

/// The status that a rule names by its number, such as `0x58`; a system error where it names none.
fn status_named(code: &str) -> CommandStatus {
    let number = match code.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => code.parse().ok(),
    };
    number.filter(|number| *number != 0).map_or(CommandStatus::EsmeRsyserr, CommandStatus::from)
}

/// The id of a message: large, so that its two forms cannot be mistaken for other messages.
fn message_id(seq: u64, form: IdForm) -> String {
    let number = 0x5000_0000 + seq;
    match form {
        IdForm::Decimal => number.to_string(),
        IdForm::Hex => format!("{number:08X}"),
    }
}

/// What a scripted status is called here.
fn command_status(status: StatusCode) -> CommandStatus {
    match status.as_u16() {
        400 | 404 => CommandStatus::EsmeRinvdstadr,
        401 | 403 => CommandStatus::EsmeRinvsrcadr,
        413 => CommandStatus::EsmeRinvmsglen,
        429 => CommandStatus::EsmeRthrottled,
        500 => CommandStatus::EsmeRunknownerr,
        507 => CommandStatus::EsmeRmsgqful,
        502..=599 => CommandStatus::EsmeRsyserr,
        _ => CommandStatus::EsmeRxRAppn,
    }
}
