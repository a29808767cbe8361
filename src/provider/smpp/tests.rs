//! The provider against a centre that says what each test wants, octet by octet.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::SocketAddr;

use futures_util::{SinkExt as _, StreamExt as _};
use rusmpp::pdus::{BindTransceiverResp, DataSm, SubmitSmResp};
use rusmpp::tokio_codec::CommandCodec;
use rusmpp::types::{AnyOctetString, COctetString};
use rusmpp::{Command, CommandId, CommandStatus, Pdu};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::codec::Framed;

use super::*;
use crate::message::encoding::Encoding;
use crate::provider::receipt::Pushed;

const OK: CommandStatus = CommandStatus::EsmeRok;

struct Centre(TcpListener);

type Peer<S> = Framed<S, CommandCodec>;

impl Centre {
    async fn new() -> (Self, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (Self(listener), address)
    }

    /// The next client, bound.
    async fn bound(&self) -> Peer<TcpStream> {
        let accepted = tokio::time::timeout(Duration::from_secs(30), self.0.accept()).await;
        bind(accepted.expect("within 30 s").unwrap().0).await
    }
}

async fn bind<S: AsyncRead + AsyncWrite + Unpin>(stream: S) -> Peer<S> {
    let mut peer = Framed::new(stream, CommandCodec::new());
    let bind = peer.next().await.unwrap().unwrap();
    assert_eq!(bind.id(), CommandId::BindTransceiver);
    peer.send(Command::new(OK, bind.sequence_number(), BindTransceiverResp::default())).await.unwrap();
    peer
}

async fn heard<S: AsyncRead + AsyncWrite + Unpin>(peer: &mut Peer<S>) -> Command {
    let heard = tokio::time::timeout(Duration::from_secs(30), peer.next()).await;
    heard.expect("within 30 s").expect("the link is open").unwrap()
}

fn config(address: SocketAddr, more: &str) -> SmppConfig {
    toml::from_str(&format!(
        "host = \"localhost\"\nport = {}\nsystem_id = \"ecar\"\npassword = \"pw\"\nsender_id = \"ECAR\"\n{more}",
        address.port()
    ))
    .unwrap()
}

/// A provider whose session runs, and what comes on it.
fn provider(config: SmppConfig) -> (Arc<SmppProvider>, mpsc::Receiver<Delivery>) {
    let tls = crate::db::connect::verified(config.tls_root.as_deref()).unwrap();
    let provider = Arc::new(SmppProvider::new("centre".into(), config, tls).unwrap());
    let (sender, deliveries) = mpsc::channel(8);
    tokio::spawn(provider.session(&sender, CancellationToken::new()).unwrap());
    (provider, deliveries)
}

fn outgoing(text: &str) -> Outgoing {
    Outgoing {
        reference: "ecar-1-1-0".into(),
        recipient: "+21620000123".into(),
        text: text.into(),
        encoding: Encoding::Gsm7,
        segments: 1,
        deadline: Duration::from_secs(30),
    }
}

fn sending(provider: &Arc<SmppProvider>) -> tokio::task::JoinHandle<Outcome> {
    let provider = Arc::clone(provider);
    tokio::spawn(async move { provider.send(&outgoing("Bonjour")).await })
}

#[tokio::test]
async fn nothing_was_sent_while_nobody_is_bound() {
    let (centre, address) = Centre::new().await;
    drop(centre);
    let (provider, _deliveries) = provider(config(address, "response_timeout = \"1s\""));
    let outcome = provider.send(&outgoing("Bonjour")).await;
    assert_eq!(outcome.word(), "temporary_failure", "{outcome:?}");
    assert!(provider.problem().is_some());
}

#[tokio::test]
async fn what_was_answered_before_the_cut_is_taken_and_what_was_not_is_unknown() {
    let (centre, address) = Centre::new().await;
    let (provider, _deliveries) = provider(config(address, ""));
    let (one, other) = (sending(&provider), sending(&provider));
    let mut peer = centre.bound().await;
    let (first, _) = (heard(&mut peer).await, heard(&mut peer).await);
    let response = SubmitSmResp::builder().message_id(COctetString::from_string("A7".into()).unwrap()).build();
    peer.send(Command::new(OK, first.sequence_number(), response)).await.unwrap();
    drop(peer);
    let outcomes = [one.await.unwrap(), other.await.unwrap()];
    let words = outcomes.each_ref().map(Outcome::word);
    assert!(words.contains(&"accepted") && words.contains(&"unknown"), "{outcomes:?}");
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_unknown_and_one_without_an_id_is_taken() {
    let (centre, address) = Centre::new().await;
    let (provider, _deliveries) = provider(config(address, "response_timeout = \"3s\""));
    let unanswered = sending(&provider);
    let mut peer = centre.bound().await;
    heard(&mut peer).await;
    assert_eq!(unanswered.await.unwrap().word(), "unknown");
    let taken = sending(&provider);
    let submitted = heard(&mut peer).await;
    let empty = Pdu::Other { command_id: CommandId::SubmitSmResp, body: AnyOctetString::empty() };
    peer.send(Command::new(OK, submitted.sequence_number(), empty)).await.unwrap();
    assert_eq!(taken.await.unwrap(), Outcome::Accepted { provider_message_id: None, segments: Some(1) });
}

#[tokio::test]
async fn a_centre_that_is_silent_is_left_and_bound_again() {
    let (centre, address) = Centre::new().await;
    let (_provider, _deliveries) = provider(config(address, "enquire_link = \"1s\"\nresponse_timeout = \"3s\""));
    let mut silent = centre.bound().await;
    assert_eq!(heard(&mut silent).await.id(), CommandId::EnquireLink);
    let mut peer = centre.bound().await;
    let tried = heard(&mut peer).await;
    peer.send(Command::new(OK, tried.sequence_number(), Pdu::EnquireLinkResp)).await.unwrap();
    assert_eq!(heard(&mut peer).await.id(), CommandId::EnquireLink, "a link that answers is kept");
}

#[tokio::test]
async fn the_centres_requests_are_answered_and_a_delivery_only_once_it_is_written() {
    let (centre, address) = Centre::new().await;
    let (_provider, mut deliveries) = provider(config(address, ""));
    let mut peer = centre.bound().await;
    peer.send(Command::new(OK, 71, Pdu::EnquireLink)).await.unwrap();
    let answer = heard(&mut peer).await;
    assert_eq!((answer.id(), answer.sequence_number()), (CommandId::EnquireLinkResp, 71));
    peer.send(Command::new(OK, 72, DataSm::default())).await.unwrap();
    let answer = heard(&mut peer).await;
    assert_eq!((answer.id(), answer.sequence_number()), (CommandId::GenericNack, 72));
    let body = AnyOctetString::from_static_slice(
        b"\0\x01\x0121620000123\0\x05\0ECAR\0\x04\0\0\0\0\0\0\0\0\x11id:7 stat:DELIVRD\0\x1E\0\x03A-9",
    );
    let delivery = Pdu::Other { command_id: CommandId::DeliverSm, body };
    peer.send(Command::new(OK, 73, delivery)).await.unwrap();
    peer.send(Command::new(OK, 74, Pdu::EnquireLink)).await.unwrap();
    assert_eq!(heard(&mut peer).await.sequence_number(), 74, "the delivery is not written yet");
    let Delivery { provider, pushed, taken } = deliveries.recv().await.unwrap();
    let Pushed::Receipt(receipt) = pushed else { panic!("{pushed:?}") };
    // The library refuses this id, which lacks its last NUL.
    assert_eq!((provider.as_str(), receipt.provider_message_id.as_str()), ("centre", "A-9"));
    taken.send(true).unwrap();
    let answer = heard(&mut peer).await;
    assert_eq!((answer.id(), answer.status(), answer.sequence_number()), (CommandId::DeliverSmResp, OK, 73));
    peer.send(Command::new(OK, 75, Pdu::Unbind)).await.unwrap();
    assert_eq!(heard(&mut peer).await.id(), CommandId::UnbindResp);
    centre.bound().await;
}

#[tokio::test]
async fn a_session_that_nobody_needs_unbinds() {
    let (centre, address) = Centre::new().await;
    let (provider, _deliveries) = provider(config(address, ""));
    let mut peer = centre.bound().await;
    drop(provider);
    let unbind = heard(&mut peer).await;
    assert_eq!(unbind.id(), CommandId::Unbind);
    peer.send(Command::new(OK, unbind.sequence_number(), Pdu::UnbindResp)).await.unwrap();
    assert!(peer.next().await.is_none());
}

#[tokio::test]
async fn a_link_under_tls_is_bound_and_a_certificate_that_nobody_signed_is_not_believed() {
    let (centre, address) = Centre::new().await;
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let root = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(root.path(), made.cert.pem()).unwrap();
    let certificate = CertificateDer::from_pem_slice(made.cert.pem().as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(made.signing_key.serialize_pem().as_bytes()).unwrap();
    let crypto = Arc::new(rustls::crypto::ring::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(crypto)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
    let trusting = format!("tls = true\ntls_root = {:?}\nresponse_timeout = \"10s\"", root.path());
    let (provider_one, _deliveries) = provider(config(address, &trusting));
    let (stream, _) = centre.0.accept().await.unwrap();
    let mut peer = bind(acceptor.accept(stream).await.unwrap()).await;
    let sent = sending(&provider_one);
    let submitted = heard(&mut peer).await;
    peer.send(Command::new(OK, submitted.sequence_number(), SubmitSmResp::default())).await.unwrap();
    assert_eq!(sent.await.unwrap().word(), "accepted");
    let (_doubting, _deliveries) = provider(config(address, "tls = true"));
    let (stream, _) = centre.0.accept().await.unwrap();
    assert!(acceptor.accept(stream).await.is_err());
}
