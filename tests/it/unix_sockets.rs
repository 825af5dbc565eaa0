//! Unix sockets: `listen_unix` and `connect_unix`.

mod arguments;
mod as_with_tcp;
mod ends;
mod files;
mod handover;
mod lifecycle;
mod limits;
mod programs;
mod races;
mod test_networks;
mod tls;

use std::path::{Path, PathBuf};

use actix::Actor;
use chrome_sockets::tcp::ClientSocket;
use chrome_sockets::tcp_server::AcceptInfo;
use chrome_sockets::{Error, NetError, ServerSocketId, UnixAddress};
use support::{EventSender, TestApp, within};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// More than the kernel holds for a peer that does not read.
const LARGE: usize = 4 * 1024 * 1024;

/// A folder with a path for a socket.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Folder(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("s")
    }

    /// The lock of that path.
    fn lock(&self) -> PathBuf {
        self.0.path().join(".s.chrome-sockets")
    }

    /// The names in it.
    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.path()).expect("the folder");
        let name = |entry: std::io::Result<std::fs::DirEntry>| entry.expect("an entry").file_name();
        let mut names: Vec<_> = entries
            .map(|entry| name(entry).to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

async fn create(test: &TestApp) -> ServerSocketId {
    let created = test.app.tcp_server.create(Default::default()).await;
    created.expect("create").socket_id
}

/// A server socket that listens here.
async fn listen(test: &TestApp, at: impl Into<UnixAddress>) -> ServerSocketId {
    let id = create(test).await;
    let listening = test.app.tcp_server.listen_unix(id, at, None, None);
    listening.await.expect("listen");
    id
}

async fn listen_error(test: &TestApp, at: impl Into<UnixAddress>) -> Error {
    let id = create(test).await;
    let listening = test.app.tcp_server.listen_unix(id, at, None, None);
    let error = listening.await.expect_err("it cannot listen");
    test.app.tcp_server.close(id).await.expect("close");
    error
}

/// The connections of this socket are in use, and others cannot listen here.
async fn assert_in_use(test: &TestApp, at: impl Into<UnixAddress>) {
    assert_eq!(
        listen_error(test, at).await,
        NetError::ADDRESS_IN_USE.into()
    );
}

async fn dial(at: &Path) -> UnixStream {
    UnixStream::connect(at).await.expect("it listens")
}

/// An accepted, resumed client, and its peer.
async fn pair(test: &mut TestApp, at: &Path) -> (ClientSocket, UnixStream) {
    let peer = dial(at).await;
    let client = test.accepted().await;
    client.set_paused(false).await.expect("resume");
    (client, peer)
}

async fn write(peer: &mut UnixStream, data: &[u8]) {
    let written = within("the peer's write", peer.write_all(data)).await;
    written.expect("written");
}

async fn read(peer: &mut UnixStream, length: usize) -> Vec<u8> {
    let mut data = vec![0; length];
    let read = within("the peer's data", peer.read_exact(&mut data)).await;
    read.expect("read");
    data
}

async fn read_to_end(peer: &mut UnixStream) -> Vec<u8> {
    let mut data = Vec::new();
    let read = within("the peer's end", peer.read_to_end(&mut data)).await;
    read.expect("an orderly end");
    data
}

/// Checks that a new client is accepted, and that data arrives both ways.
async fn expect_service(test: &mut TestApp, at: &Path) {
    let (client, mut peer) = pair(test, at).await;
    write(&mut peer, b"alive").await;
    assert_eq!(test.received(client.id(), 5).await, b"alive");
    client.send("yes").await.expect("sent");
    assert_eq!(read(&mut peer, 3).await, b"yes");
    drop(peer);
    assert_eq!(test.ended(client.id()).await, NetError::CONNECTION_CLOSED);
    client.close().await.expect("close");
}

/// Events of `onAccept`, besides the test's own listener.
async fn accepts(test: &TestApp) -> UnboundedReceiver<AcceptInfo> {
    let (sender, received) = unbounded_channel();
    let listener = EventSender(sender).start();
    let event = &test.app.tcp_server.on_accept;
    let added = event.add_listener(listener.recipient()).await;
    added.expect("added");
    received
}

fn pattern(length: usize) -> bytes::Bytes {
    (0..length)
        .map(|i| (i ^ (i >> 8) ^ (i >> 16)) as u8)
        .collect()
}
