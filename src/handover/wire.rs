//! The wire format of a handover: records, each with its descriptors.
//!
//! A record is the length of a JSON header (4 bytes, big endian), the header, and as many bytes of
//! unsent data as the header says. Descriptors are passed with a record's first byte.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use bytes::Bytes;
use futures::FutureExt;
use serde::{Deserialize, Serialize};

use super::Error;
use crate::handover_state::{
    ClientRecord, ConnectionRecord, HandoverState, MAX_UNSENT, ServerRecord, TransferredClient,
    TransferredServer, TransferredUdp, UdpRecord,
};
use crate::os::fd_passing::Channel;

/// The version of the format. A process refuses every other version.
const VERSION: u32 = 1;
const PROTOCOL: &str = "chrome-sockets handover";

/// The longest header, in bytes. An app's id and a name are shorter, even with every character
/// escaped.
const MAX_HEADER: usize = 256 * 1024;

/// The most sockets, and bytes of unsent data, of one handover.
const MAX_SOCKETS: u64 = 1 << 20;
const MAX_DATA: usize = 1024 * 1024 * 1024;

/// How much memory is reserved at once for announced data.
const READ_STEP: usize = 256 * 1024;

#[derive(Serialize, Deserialize)]
struct Header<R> {
    descriptors: usize,
    data: usize,
    record: R,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Record {
    /// From the successor: it has started.
    Greeting(Greeting),
    /// From the predecessor: how many records follow.
    Inventory(Inventory),
    Server(ServerRecord),
    Client(Box<ClientRecord>),
    /// A version of this program without UDP refuses the handover.
    Udp(UdpRecord),
    /// From the successor: it has received everything, and uses nothing of it yet.
    Ready,
    /// From the predecessor: the sockets belong to the successor.
    Committed,
    /// From the successor: it adopts nothing.
    Refused(String),
}

/// The first record of both sides begins with this. Another version may have other fields besides
/// these, so unknown fields are ignored.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Greeting {
    protocol: String,
    version: u32,
}

impl Greeting {
    pub(super) fn new() -> Self {
        Greeting {
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

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Inventory {
    #[serde(flatten)]
    greeting: Greeting,
    servers: u64,
    clients: u64,
    last_server: u64,
    last_client: u64,
    /// A version of this program without UDP has none.
    udp_sockets: u64,
    last_udp: u64,
}

/// Where records are read from.
pub(super) trait Source {
    /// Fills the buffer; `false` at the end.
    async fn fill(&mut self, buffer: &mut [u8]) -> io::Result<bool>;

    /// The descriptors of the record that was read last.
    fn descriptors(&mut self, record: &Record) -> VecDeque<OwnedFd>;

    /// Whether an announced descriptor may be missing. Then only its connection is lost, or its
    /// port is closed.
    fn may_lack_descriptors(&self) -> bool {
        false
    }
}

impl Source for Channel {
    async fn fill(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        Channel::fill(self, buffer).await
    }

    fn descriptors(&mut self, _: &Record) -> VecDeque<OwnedFd> {
        self.take_descriptors()
    }
}

/// Records in memory, and descriptors by the [name](descriptor_name) of their record.
struct Stored<'a> {
    records: &'a [u8],
    descriptors: HashMap<String, OwnedFd>,
}

impl Source for Stored<'_> {
    async fn fill(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        Ok(self.records.read_exact(buffer).is_ok())
    }

    fn descriptors(&mut self, record: &Record) -> VecDeque<OwnedFd> {
        let name = descriptor_name(record);
        let descriptor = name.and_then(|name| self.descriptors.remove(&name));
        descriptor.into_iter().collect()
    }

    /// systemd stores a limited number of descriptors.
    fn may_lack_descriptors(&self) -> bool {
        true
    }
}

/// The name of a record's descriptor in systemd's store.
pub(super) fn descriptor_name(record: &Record) -> Option<String> {
    match record {
        Record::Server(server) => Some(format!("chrome-sockets-server-{}", server.id)),
        Record::Client(client) => Some(format!("chrome-sockets-client-{}", client.id)),
        Record::Udp(socket) => Some(format!("chrome-sockets-udp-{}", socket.id)),
        _ => None,
    }
}

/// A record to write, with its descriptor and data.
pub(super) struct OutgoingRecord<'a> {
    pub(super) record: Record,
    pub(super) descriptor: Option<BorrowedFd<'a>>,
    data: &'a [Bytes],
}

impl From<Record> for OutgoingRecord<'_> {
    fn from(record: Record) -> Self {
        OutgoingRecord {
            record,
            descriptor: None,
            data: &[],
        }
    }
}

impl OutgoingRecord<'_> {
    /// The length and the header; the data follows.
    fn encode_header(&self) -> Result<Vec<u8>, Error> {
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
        let header = self.encode_header()?;
        let sent = channel.send(&header, self.descriptor.as_slice());
        sent.await.map_err(send_error)?;
        for part in self.data {
            channel.send(part, &[]).await.map_err(send_error)?;
        }
        Ok(())
    }

    /// Writes everything but the descriptor.
    pub(super) fn write_to(&self, mut output: impl Write) -> Result<(), Error> {
        let header = self.encode_header()?;
        let mut parts = [&header[..]]
            .into_iter()
            .chain(self.data.iter().map(|part| &part[..]));
        let written = parts.try_for_each(|part| output.write_all(part));
        written.map_err(Error::os("writing the records"))
    }
}

/// Whether one handover may have that many sockets and bytes of data.
pub(super) fn is_within_limits(sockets: u64, data: usize) -> bool {
    sockets <= MAX_SOCKETS && data <= MAX_DATA
}

/// All records of a handover.
pub(super) fn records(state: &HandoverState) -> Result<Vec<OutgoingRecord<'_>>, Error> {
    let servers = state.servers.len() as u64;
    let clients = state.clients.len() as u64;
    let udp_sockets = state.udp_sockets.len() as u64;
    let data = state.clients.iter().flat_map(|client| &client.unsent);
    if !is_within_limits(servers + clients + udp_sockets, data.map(Bytes::len).sum()) {
        return Err(Error::Refused("too many sockets, or too much data".into()));
    }
    let inventory = Record::Inventory(Inventory {
        greeting: Greeting::new(),
        servers,
        clients,
        last_server: state.last_server,
        last_client: state.last_client,
        udp_sockets,
        last_udp: state.last_udp,
    });
    let servers = state.servers.iter().map(|server| OutgoingRecord {
        record: Record::Server(server.record.clone()),
        descriptor: server.listener.as_ref().map(AsFd::as_fd),
        data: &[],
    });
    let clients = state.clients.iter().map(|client| OutgoingRecord {
        record: Record::Client(Box::new(client.record.clone())),
        descriptor: client.stream.as_ref().map(AsFd::as_fd),
        data: &client.unsent,
    });
    let udp_sockets = state.udp_sockets.iter().map(|socket| OutgoingRecord {
        record: Record::Udp(socket.record.clone()),
        descriptor: socket.socket.as_ref().map(AsFd::as_fd),
        data: &[],
    });
    let records = [inventory.into()].into_iter().chain(servers).chain(clients);
    Ok(records.chain(udp_sockets).collect())
}

pub(super) async fn send_state(channel: &Channel, state: &HandoverState) -> Result<(), Error> {
    for record in records(state)? {
        record.send(channel).await?;
    }
    Ok(())
}

/// Sends a record without descriptors and data.
pub(super) async fn send(channel: &Channel, record: Record) -> Result<(), Error> {
    OutgoingRecord::from(record).send(channel).await
}

/// Receives a record without descriptors and data.
pub(super) async fn receive(channel: &mut Channel) -> Result<Record, Error> {
    let (record, descriptors, data) = read_record(channel).await?;
    match descriptors.is_empty() && data.is_empty() {
        true => Ok(record),
        false => Err(unexpected(&record)),
    }
}

/// Waits until the successor has started.
pub(super) async fn receive_greeting(channel: &mut Channel) -> Result<(), Error> {
    match receive(channel).await? {
        Record::Greeting(greeting) => greeting.check(),
        other => Err(unexpected(&other)),
    }
}

/// Reads the records of a handover that systemd has stored.
pub(super) fn read_stored(
    records: &[u8],
    descriptors: HashMap<String, OwnedFd>,
) -> Result<HandoverState, Error> {
    let mut stored = Stored {
        records,
        descriptors,
    };
    // Reading from memory never waits.
    let state = receive_state(&mut stored).now_or_never();
    match state.unwrap_or(Err(Error::Closed)) {
        Err(Error::Closed) => Err(Error::Malformed("the stored records are cut short".into())),
        state => state,
    }
}

pub(super) async fn receive_state(source: &mut impl Source) -> Result<HandoverState, Error> {
    let inventory = match read_record(source).await? {
        (Record::Inventory(inventory), descriptors, _) if descriptors.is_empty() => inventory,
        (other, ..) => return Err(unexpected(&other)),
    };
    inventory.greeting.check()?;
    let sockets = inventory.servers.checked_add(inventory.clients);
    let sockets = sockets.and_then(|sockets| sockets.checked_add(inventory.udp_sockets));
    if !sockets.is_some_and(|sockets| is_within_limits(sockets, 0)) {
        return Err(Error::Malformed("too many sockets are announced".into()));
    }
    let mut state = HandoverState {
        last_server: inventory.last_server,
        last_client: inventory.last_client,
        last_udp: inventory.last_udp,
        ..HandoverState::default()
    };
    for _ in 0..inventory.servers {
        match read_record(source).await? {
            (Record::Server(record), mut descriptors, data) if data.is_empty() => {
                let listener = descriptors.pop_front();
                state.servers.push(TransferredServer { record, listener });
            }
            (other, ..) => return Err(unexpected(&other)),
        }
    }
    let mut total = 0;
    for _ in 0..inventory.clients {
        match read_record(source).await? {
            (Record::Client(record), mut descriptors, data) => {
                total += data.len();
                if !is_within_limits(0, total) {
                    return Err(Error::Malformed("too much unsent data".into()));
                }
                let stream = descriptors.pop_front();
                let is_open = |it: &ConnectionRecord| it.end.is_none();
                let needs_stream = record.connection.as_ref().is_some_and(is_open);
                if stream.is_none() && needs_stream && source.may_lack_descriptors() {
                    log::warn!(
                        "systemd has not kept the connection of client socket {}",
                        record.id
                    );
                    continue;
                }
                state.clients.push(TransferredClient {
                    record: *record,
                    stream,
                    unsent: vec![data],
                });
            }
            (other, ..) => return Err(unexpected(&other)),
        }
    }
    for _ in 0..inventory.udp_sockets {
        match read_record(source).await? {
            (Record::Udp(record), mut descriptors, data) if data.is_empty() => {
                let socket = descriptors.pop_front();
                state.udp_sockets.push(TransferredUdp { record, socket });
            }
            (other, ..) => return Err(unexpected(&other)),
        }
    }
    Ok(state)
}

async fn read_record(
    source: &mut impl Source,
) -> Result<(Record, VecDeque<OwnedFd>, Bytes), Error> {
    let mut length = [0; 4];
    if !source.fill(&mut length).await.map_err(receive_error)? {
        return Err(Error::Closed);
    }
    let length = u32::from_be_bytes(length) as usize;
    if length > MAX_HEADER {
        return Err(Error::Malformed(format!("a header of {length} bytes")));
    }
    let header = read_bytes(source, length).await?;
    let header: Header<Record> = serde_json::from_slice(&header).map_err(malformed)?;
    if header.descriptors > 1 || header.data > MAX_UNSENT {
        return Err(unexpected(&header.record));
    }
    let descriptors = source.descriptors(&header.record);
    let may_lack = descriptors.is_empty() && source.may_lack_descriptors();
    if descriptors.len() != header.descriptors && !may_lack {
        return Err(Error::Malformed(format!(
            "{} of {} descriptors came",
            descriptors.len(),
            header.descriptors
        )));
    }
    let data = read_bytes(source, header.data).await?;
    Ok((header.record, descriptors, data.into()))
}

/// Reads as many bytes as were announced. A sender that announces much and sends little does not
/// get the memory: it is reserved in steps.
async fn read_bytes(source: &mut impl Source, length: usize) -> Result<Vec<u8>, Error> {
    let mut data = Vec::new();
    while data.len() < length {
        let filled = data.len();
        data.resize(length.min(filled + READ_STEP), 0);
        let rest = &mut data[filled..];
        if !source.fill(rest).await.map_err(receive_error)? {
            return Err(Error::Closed);
        }
    }
    Ok(data)
}

pub(super) fn unexpected(record: &Record) -> Error {
    let name = match record {
        Record::Greeting(_) => "Greeting",
        Record::Inventory(_) => "Inventory",
        Record::Server(_) => "Server",
        Record::Client(_) => "Client",
        Record::Udp(_) => "Udp",
        Record::Ready => "Ready",
        Record::Committed => "Committed",
        Record::Refused(reason) => return Error::Refused(reason.chars().take(1000).collect()),
    };
    Error::Malformed(format!("unexpected record {name}"))
}

fn malformed(error: impl std::error::Error) -> Error {
    Error::Malformed(error.to_string())
}

fn send_error(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Error::Closed,
        _ => Error::os("sending to the other process")(error),
    }
}

fn receive_error(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => Error::Closed,
        io::ErrorKind::InvalidData => Error::Malformed(error.to_string()),
        _ => Error::os("receiving from the other process")(error),
    }
}
