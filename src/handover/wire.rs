//! How an estate travels: records, each with its descriptors.
//!
//! A record is 4 bytes with the length of a JSON header (big endian), the
//! header, and as many bytes of unsent data as the header says. Descriptors
//! come with a record's first byte.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Error;
use crate::handover_state::{
    ClientRecord, ConnectionRecord, HandoverState, MAX_UNSENT, ServerRecord, TransferredClient,
    TransferredServer,
};
use crate::os::fd_passing::Channel;

/// What both sides must agree on; another version is refused.
const VERSION: u32 = 1;
const PROTOCOL: &str = "chrome-sockets handover";

/// The longest header: an app's id and a name, with every character escaped,
/// are shorter.
const MAX_HEADER: usize = 256 * 1024;

/// The most sockets, and bytes of unsent data, of one estate.
const MAX_SOCKETS: u64 = 1 << 20;
const MAX_DATA: usize = 1024 * 1024 * 1024;

/// How much room is made for data that has been announced and not come yet.
const STEP: usize = 256 * 1024;

#[derive(Serialize, Deserialize)]
struct Header<R> {
    descriptors: usize,
    data: usize,
    record: R,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Record {
    /// The successor: it is there, and knows this version.
    Here(Here),
    Hello(Hello),
    Server(ServerRecord),
    Client(Box<ClientRecord>),
    /// The successor: it has everything, and uses nothing of it yet.
    Ready,
    /// The predecessor: it has let go.
    Yours,
    /// The successor: it does not take anything.
    Refused(String),
}

/// What both sides begin with. Another version may know other fields: none but
/// these is needed to tell it.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Here {
    protocol: String,
    version: u32,
}

impl Here {
    fn new() -> Self {
        Here {
            protocol: PROTOCOL.into(),
            version: VERSION,
        }
    }

    fn check(&self) -> Result<(), Error> {
        if self.protocol != PROTOCOL || self.version != VERSION {
            let text = format!("{:.100?} of version {}", self.protocol, self.version);
            return Err(Error::Malformed(text));
        }
        Ok(())
    }
}

pub(super) fn here() -> Record {
    Record::Here(Here::new())
}

/// Waits until the successor is there.
pub(super) async fn expect_here(channel: &mut Channel) -> Result<(), Error> {
    match receive(channel).await? {
        Record::Here(here) => here.check(),
        other => Err(unexpected(&other)),
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Hello {
    #[serde(flatten)]
    here: Here,
    servers: u64,
    clients: u64,
    last_server: u64,
    last_client: u64,
}

/// Where records come from.
pub(super) trait Source {
    /// Fills the buffer; `false` if there is nothing more.
    async fn fill(&mut self, buffer: &mut [u8]) -> io::Result<bool>;

    /// The descriptors of the record that has just been read.
    fn descriptors(&mut self, record: &Record) -> VecDeque<OwnedFd>;

    /// Whether one that was announced may be missing: then its connection is
    /// lost, or its port is closed, and the others are not.
    fn may_lack(&self) -> bool {
        false
    }
}

impl Source for Channel {
    async fn fill(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        Channel::fill(self, buffer).await
    }

    fn descriptors(&mut self, _: &Record) -> VecDeque<OwnedFd> {
        Channel::descriptors(self)
    }
}

/// A record on its way, with what goes along.
pub(super) struct Piece<'a> {
    pub(super) record: Record,
    pub(super) descriptor: Option<BorrowedFd<'a>>,
    pub(super) data: &'a [Bytes],
}

impl Piece<'_> {
    /// The bytes of the record; its data follows.
    pub(super) fn head(&self) -> Result<Vec<u8>, Error> {
        let header = Header {
            descriptors: self.descriptor.iter().count(),
            data: self.data.iter().map(Bytes::len).sum(),
            record: &self.record,
        };
        let mut bytes = vec![0; 4];
        serde_json::to_writer(&mut bytes, &header).map_err(malformed)?;
        let length = bytes.len() - 4;
        if length > MAX_HEADER {
            return Err(Error::Malformed("a record is too long".into()));
        }
        let length = u32::try_from(length).map_err(malformed)?;
        bytes[..4].copy_from_slice(&length.to_be_bytes());
        Ok(bytes)
    }

    async fn send(&self, channel: &Channel) -> Result<(), Error> {
        let head = self.head()?;
        let sent = channel.send(&head, self.descriptor.as_slice());
        sent.await.map_err(sending)?;
        for part in self.data {
            channel.send(part, &[]).await.map_err(sending)?;
        }
        Ok(())
    }
}

/// Whether one estate may have that much.
pub(super) fn fits(sockets: u64, data: usize) -> bool {
    sockets <= MAX_SOCKETS && data <= MAX_DATA
}

/// All that there is to an estate.
pub(super) fn pieces(handover_state: &HandoverState) -> Result<Vec<Piece<'_>>, Error> {
    let servers = handover_state.servers.len() as u64;
    let clients = handover_state.clients.len() as u64;
    let data = handover_state
        .clients
        .iter()
        .flat_map(|client| &client.unsent);
    if !fits(servers + clients, data.map(Bytes::len).sum()) {
        return Err(Error::Refused("too many sockets, or too much data".into()));
    }
    let hello = Piece {
        record: Record::Hello(Hello {
            here: Here::new(),
            servers,
            clients,
            last_server: handover_state.last_server,
            last_client: handover_state.last_client,
        }),
        descriptor: None,
        data: &[],
    };
    let servers = handover_state.servers.iter().map(|server| Piece {
        record: Record::Server(server.record.clone()),
        descriptor: server.listener.as_ref().map(AsFd::as_fd),
        data: &[],
    });
    let clients = handover_state.clients.iter().map(|client| Piece {
        record: Record::Client(Box::new(client.record.clone())),
        descriptor: client.stream.as_ref().map(AsFd::as_fd),
        data: &client.unsent,
    });
    Ok([hello].into_iter().chain(servers).chain(clients).collect())
}

pub(super) async fn send_estate(
    channel: &Channel,
    handover_state: &HandoverState,
) -> Result<(), Error> {
    for piece in pieces(handover_state)? {
        piece.send(channel).await?;
    }
    Ok(())
}

pub(super) async fn send(channel: &Channel, record: Record) -> Result<(), Error> {
    let piece = Piece {
        record,
        descriptor: None,
        data: &[],
    };
    piece.send(channel).await
}

/// A record that comes without descriptors or data.
pub(super) async fn receive(channel: &mut Channel) -> Result<Record, Error> {
    let (record, descriptors, data) = next(channel).await?;
    match descriptors.is_empty() && data.is_empty() {
        true => Ok(record),
        false => Err(unexpected(&record)),
    }
}

pub(super) async fn receive_estate(source: &mut impl Source) -> Result<HandoverState, Error> {
    let hello = match next(source).await? {
        (Record::Hello(hello), descriptors, _) if descriptors.is_empty() => hello,
        (other, ..) => return Err(unexpected(&other)),
    };
    hello.here.check()?;
    let sockets = hello.servers.checked_add(hello.clients);
    if !sockets.is_some_and(|sockets| fits(sockets, 0)) {
        return Err(Error::Malformed("too many sockets are announced".into()));
    }
    let mut handover_state = HandoverState {
        last_server: hello.last_server,
        last_client: hello.last_client,
        ..HandoverState::default()
    };
    for _ in 0..hello.servers {
        match next(source).await? {
            (Record::Server(record), mut descriptors, data) if data.is_empty() => {
                let listener = descriptors.pop_front();
                handover_state
                    .servers
                    .push(TransferredServer { record, listener });
            }
            (other, ..) => return Err(unexpected(&other)),
        }
    }
    let mut total = 0;
    for _ in 0..hello.clients {
        match next(source).await? {
            (Record::Client(record), mut descriptors, data) => {
                total += data.len();
                if !fits(0, total) {
                    return Err(Error::Malformed("too much unsent data".into()));
                }
                let stream = descriptors.pop_front();
                let is_open = |it: &ConnectionRecord| it.end.is_none();
                let needs_stream = record.connection.as_ref().is_some_and(is_open);
                if stream.is_none() && needs_stream && source.may_lack() {
                    log::warn!("client socket {} was not kept", record.id);
                    continue;
                }
                handover_state.clients.push(TransferredClient {
                    record: *record,
                    stream,
                    unsent: vec![data],
                });
            }
            (other, ..) => return Err(unexpected(&other)),
        }
    }
    Ok(handover_state)
}

async fn next(source: &mut impl Source) -> Result<(Record, VecDeque<OwnedFd>, Bytes), Error> {
    let mut length = [0; 4];
    if !source.fill(&mut length).await.map_err(receiving)? {
        return Err(Error::Gone);
    }
    let length = u32::from_be_bytes(length) as usize;
    if length > MAX_HEADER {
        return Err(Error::Malformed(format!("a header of {length} bytes")));
    }
    let header = read(source, length).await?;
    let header: Header<Record> = serde_json::from_slice(&header).map_err(malformed)?;
    if header.descriptors > 1 || header.data > MAX_UNSENT {
        return Err(unexpected(&header.record));
    }
    let descriptors = source.descriptors(&header.record);
    let lacking = descriptors.is_empty() && source.may_lack();
    if descriptors.len() != header.descriptors && !lacking {
        return Err(Error::Malformed(format!(
            "{} of {} descriptors came",
            descriptors.len(),
            header.descriptors
        )));
    }
    let data = read(source, header.data).await?;
    Ok((header.record, descriptors, data.into()))
}

/// Reads as many bytes as were announced; makes room as they come.
async fn read(source: &mut impl Source, length: usize) -> Result<Vec<u8>, Error> {
    let mut data = Vec::new();
    while data.len() < length {
        let filled = data.len();
        data.resize(length.min(filled + STEP), 0);
        if !source.fill(&mut data[filled..]).await.map_err(receiving)? {
            return Err(Error::Gone);
        }
    }
    Ok(data)
}

fn unexpected(record: &Record) -> Error {
    let name = match record {
        Record::Here(_) | Record::Hello(_) => "the beginning",
        Record::Server(_) => "a server socket",
        Record::Client(_) => "a client socket",
        Record::Ready => "readiness",
        Record::Yours => "the end",
        Record::Refused(reason) => return Error::Refused(reason.chars().take(1000).collect()),
    };
    Error::Malformed(format!("{name} is out of place"))
}

fn malformed(error: impl std::error::Error) -> Error {
    Error::Malformed(error.to_string())
}

/// A broken pipe is a peer that is gone.
fn sending(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Error::Gone,
        _ => Error::os("sending to the other process")(error),
    }
}

fn receiving(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => Error::Gone,
        io::ErrorKind::InvalidData => Error::Malformed(error.to_string()),
        _ => Error::os("receiving from the other process")(error),
    }
}
