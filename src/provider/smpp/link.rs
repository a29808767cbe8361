//! The connection to a centre: TCP, with TLS where it is configured.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use futures_util::StreamExt as _;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::codec::{FramedRead, LengthDelimitedCodec};

use super::config::SmppConfig;
use super::wire::{self, Frame};

/// Time for the connection, TLS included: a host that does not answer in it is down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Time for one PDU to be written: a peer that reads nothing for so long is dead.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// Either kind of connection.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// An open connection.
pub(super) struct Link {
    reader: FramedRead<ReadHalf<Box<dyn Stream>>, LengthDelimitedCodec>,
    writer: WriteHalf<Box<dyn Stream>>,
}

impl Link {
    /// Connects.
    ///
    /// # Errors
    /// Why not, in a sentence.
    pub(super) async fn open(config: &SmppConfig, tls: Option<&Arc<ClientConfig>>) -> Result<Self, String> {
        let connecting = async {
            let tcp =
                TcpStream::connect((config.host.as_str(), config.port)).await.map_err(|error| error.to_string())?;
            // Small PDUs that wait for each other would add 40 ms to each message.
            tcp.set_nodelay(true).map_err(|error| error.to_string())?;
            let stream: Box<dyn Stream> = match tls {
                None => Box::new(tcp),
                Some(tls) => {
                    let name = ServerName::try_from(config.host.clone()).map_err(|error| error.to_string())?;
                    let connector = TlsConnector::from(Arc::clone(tls));
                    Box::new(connector.connect(name, tcp).await.map_err(|error| format!("TLS: {error}"))?)
                }
            };
            Ok::<_, String>(stream)
        };
        let stream = match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(connected) => connected?,
            Err(_) => return Err(format!("no connection within {CONNECT_TIMEOUT:?}")),
        };
        let (reader, writer) = tokio::io::split(stream);
        Ok(Self { reader: FramedRead::new(reader, wire::frames()), writer })
    }

    /// The next PDU. May be dropped while it waits.
    ///
    /// # Errors
    /// The link is at its end, or what comes is no SMPP.
    pub(super) async fn next(&mut self) -> Result<Frame, String> {
        match self.reader.next().await {
            Some(Ok(octets)) => {
                Frame::read(octets).ok_or_else(|| "a PDU came that is shorter than a header".to_owned())
            }
            Some(Err(error)) => Err(error.to_string()),
            None => Err("the centre closed the link".to_owned()),
        }
    }

    /// Writes a PDU. To be awaited to its end: one that is dropped leaves half a PDU.
    ///
    /// # Errors
    /// Any part of it may have left.
    pub(super) async fn write(&mut self, octets: &BytesMut) -> Result<(), String> {
        match tokio::time::timeout(WRITE_TIMEOUT, self.writer.write_all(octets)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("the centre reads nothing for {WRITE_TIMEOUT:?}")),
        }
    }

    /// Ends the connection in order.
    pub(super) async fn close(mut self) {
        // The peer may be gone already.
        let _ = tokio::time::timeout(WRITE_TIMEOUT, self.writer.shutdown()).await;
    }
}
