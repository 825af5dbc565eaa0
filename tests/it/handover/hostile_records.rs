//! Hostile bytes from the other process give an error, and leave no descriptor open.

use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use chrome_sockets::handover::{Error, Inheritance};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use support::{TestApp, within};

use super::{expect_service, port_is_free};

const INVENTORY: &str = r#"{"Inventory":{"protocol":"chrome-sockets handover","version":1,"servers":S,"clients":C,"last_server":9,"last_client":9}}"#;
const SERVER: &str = r#"{"Server":{"app":"test","id":3,"name":null,"paused":false,"unreported_error":null,"encrypts":false,"suspended":false}}"#;
const CLIENT: &str = r#"{"Client":{"app":"test","id":3,"name":null,"buffer_size":null,"paused":true,"suspended":false,"offered_by":null,"connection":{"peer":"127.0.0.1:1","dialled":null,"write_error":null,"end":null}}}"#;

pub fn frame(descriptors: usize, data: usize, record: &str) -> Vec<u8> {
    let header = format!(r#"{{"descriptors":{descriptors},"data":{data},"record":{record}}}"#);
    let mut frame = u32::try_from(header.len())
        .expect("short")
        .to_be_bytes()
        .to_vec();
    frame.extend_from_slice(header.as_bytes());
    frame
}

fn inventory(servers: u64, clients: u64) -> Vec<u8> {
    let record = INVENTORY.replace('S', &servers.to_string());
    frame(0, 0, &record.replace('C', &clients.to_string()))
}

pub fn send(socket: &UnixStream, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(descriptors)));
    let sent = sendmsg(
        socket,
        &[IoSlice::new(bytes)],
        &mut control,
        SendFlags::empty(),
    );
    assert_eq!(sent, Ok(bytes.len()));
}

/// A predecessor that sends this, and then nothing more.
pub async fn expect_refused(test: &TestApp, say: impl FnOnce(&UnixStream)) -> String {
    let (mut old, new) = UnixStream::pair().expect("a pair");
    say(&old);
    old.shutdown(std::net::Shutdown::Write).expect("shutdown");
    let incoming = Inheritance::from_socket(new.into()).adopt(&test.registry);
    let error = within("the refusal", incoming)
        .await
        .expect_err("it is refused");
    assert!(
        matches!(
            error,
            Error::Malformed(_) | Error::Refused(_) | Error::Closed | Error::Os { .. }
        ),
        "{error:?}"
    );
    let mut reported = String::new();
    // It may have closed with unread input, which resets the connection.
    let _ = old.read_to_string(&mut reported);
    let sockets = test.app.tcp_server.get_sockets().await;
    assert_eq!(sockets, Ok(Vec::new()), "nothing of it came");
    error.to_string()
}

#[actix_rt::test]
async fn bytes_that_are_not_a_handover_are_refused() {
    let mut test = TestApp::new().await;
    let huge = r#""x""#.repeat(100_000);
    let second = [inventory(1, 0), frame(0, 0, CLIENT)].concat();
    let cut = &inventory(1, 0)[..50];
    let old_version = INVENTORY
        .replace("\"version\":1", "\"version\":2")
        .replace(['S', 'C'], "0");
    let twice = [inventory(2, 0), frame(0, 0, SERVER), frame(0, 0, SERVER)].concat();
    let offered = CLIENT.replace("\"offered_by\":null", "\"offered_by\":7");
    for (bytes, reason) in [
        (&b""[..], "closed the connection"),
        (b"\0\0", "closed the connection"),
        (b"GET / HTTP/1.1\r\n\r\n", "a header of"),
        (&[0xff; 100], "a header of 4294967295 bytes"),
        (b"\0\0\0\0", "not a valid handover"),
        (b"\0\0\0\x02{}", "missing field"),
        (b"\0\0\0\x04\xff\xfe\0\0", "not a valid handover"),
        (&frame(0, 0, &huge), "a header of"),
        (&frame(0, 0, SERVER), "unexpected record"),
        (&frame(0, 0, "\"Committed\""), "unexpected record"),
        (&frame(0, 0, r#"{"Refused":"no"}"#), "refused: no"),
        (&frame(0, 0, &old_version), "of version 2"),
        (
            &frame(0, 0, r#"{"Inventory":{"version":77,"new":[]}}"#),
            "of version 77",
        ),
        (&inventory(u64::MAX, u64::MAX), "too many sockets"),
        (&inventory(1 << 40, 0), "too many sockets"),
        (&last_ids(u64::MAX, 9), "above 2^53"),
        (&last_ids(9, u64::MAX - 1), "above 2^53"),
        (&last_ids(9, (1 << 53) + 1), "above 2^53"),
        (
            &[inventory(1, 0), frame(0, 0, &with_id(SERVER))].concat(),
            "above 2^53",
        ),
        (cut, "closed the connection"),
        (&inventory(1, 0), "closed the connection"),
        (&second, "unexpected record"),
        (&twice, "occurs twice"),
        (
            &[inventory(0, 1), frame(0, 0, CLIENT)].concat(),
            "no descriptor",
        ),
        (
            &[inventory(0, 1), frame(1, 0, CLIENT)].concat(),
            "0 of 1 descriptors",
        ),
        (
            &[inventory(0, 1), frame(0, 0, &offered)].concat(),
            "no descriptor",
        ),
        (
            &[inventory(0, 1), frame(0, usize::MAX, CLIENT)].concat(),
            "unexpected record",
        ),
        (
            &[inventory(0, 1), frame(0, 1 << 27, CLIENT)].concat(),
            "closed the connection",
        ),
        (
            &[inventory(1, 0), frame(9, 0, SERVER)].concat(),
            "unexpected record",
        ),
    ] {
        let error = expect_refused(&test, |socket| {
            let mut socket = socket;
            // The test must not block if it cannot be read to its end.
            let _ = socket.set_nonblocking(true);
            let _ = socket.write_all(bytes);
        })
        .await;
        assert!(error.contains(reason), "{bytes:.80?}: {error}");
    }
    // Refused records have not moved the id counters.
    let (id, address) = test.listen().await;
    assert_eq!(id.get(), 1);
    assert_eq!(test.create().await.get(), 1);
    expect_service(&mut test, address).await;
}

/// A record with nothing but the last allocated ids.
fn last_ids(server: u64, client: u64) -> Vec<u8> {
    let hello = INVENTORY.replace(['S', 'C'], "0");
    let hello = hello.replace("\"last_server\":9", &format!("\"last_server\":{server}"));
    let hello = hello.replace("\"last_client\":9", &format!("\"last_client\":{client}"));
    frame(0, 0, &hello)
}

fn with_id(record: &str) -> String {
    record.replace("\"id\":3", &format!("\"id\":{}", u64::MAX))
}

#[actix_rt::test]
async fn unexpected_descriptors_are_closed() {
    let test = TestApp::new().await;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("it is bound");
    let file = std::fs::File::open("/dev/null").expect("it is there");
    let (one, other) = UnixStream::pair().expect("a pair");
    let udp = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let stream = TcpStream::connect(address).expect("it listens");
    let server = frame(1, 0, SERVER);
    let client = frame(1, 0, CLIENT);
    let not = "the descriptor is not";
    let cases: [(&[u8], &[BorrowedFd<'_>], &str); 9] = [
        (&server, &[file.as_fd()], not),
        (&server, &[one.as_fd()], not),
        (&server, &[udp.as_fd()], not),
        (
            &server,
            &[stream.as_fd()],
            "not a TCP or Unix socket that listens",
        ),
        (
            &server,
            &[listener.as_fd(), one.as_fd()],
            "2 of 1 descriptors",
        ),
        (&server, &[one.as_fd(); 12], "more descriptors"),
        (
            &frame(0, 0, SERVER),
            &[listener.as_fd()],
            "1 of 0 descriptors",
        ),
        (&client, &[listener.as_fd()], "not a connection"),
        (&client, &[file.as_fd()], not),
    ];
    for (bytes, descriptors, reason) in cases {
        let is_client = bytes == client;
        let error = expect_refused(&test, |mut socket| {
            let hello = if is_client {
                inventory(0, 1)
            } else {
                inventory(1, 0)
            };
            socket.write_all(&hello).expect("there is room");
            send(socket, bytes, descriptors);
        })
        .await;
        assert!(error.contains(reason), "{error}");
    }
    // No copy of the passed descriptors is open.
    drop(one);
    other
        .set_read_timeout(Some(support::LIMIT))
        .expect("a limit");
    assert_eq!((&other).read(&mut [0]).expect("the end"), 0);
    drop(listener);
    port_is_free(address).await;
}

#[actix_rt::test]
async fn a_predecessor_that_never_commits_transfers_nothing() {
    let mut test = TestApp::new().await;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let (mut old, new) = UnixStream::pair().expect("a pair");
    old.write_all(&inventory(1, 0)).expect("there is room");
    send(&old, &frame(1, 0, SERVER), &[listener.as_fd()]);
    let incoming = actix_rt::spawn({
        let registry = test.registry.clone();
        async move { Inheritance::from_socket(new.into()).adopt(&registry).await }
    });
    let ready = tokio::task::spawn_blocking(move || {
        let mut next = || {
            let mut length = [0; 4];
            old.read_exact(&mut length).expect("an answer");
            let mut header = vec![0; u32::from_be_bytes(length) as usize];
            old.read_exact(&mut header).expect("an answer");
            String::from_utf8(header).expect("JSON")
        };
        assert!(next().contains("Greeting"));
        let header = next();
        (old, header)
    });
    let (old, header) = within("readiness", ready).await.expect("the task ran");
    assert!(header.contains("Ready"), "{header}");
    let sockets = test.app.tcp_server.get_sockets().await;
    assert_eq!(sockets, Ok(Vec::new()), "it is not ours yet");
    // Its id is not allocated meanwhile.
    for id in [1, 2, 4] {
        let created = test.app.tcp_server.create(Default::default()).await;
        assert_eq!(created.expect("create").socket_id.get(), id);
    }
    drop(old);
    let incoming = within("the refusal", incoming).await.expect("the task ran");
    assert!(matches!(incoming, Err(Error::Closed)), "{incoming:?}");
    // The predecessor had allocated ids up to 9, which do not count here.
    let (id, address) = test.listen().await;
    assert_eq!(id.get(), 5);
    expect_service(&mut test, address).await;
}
