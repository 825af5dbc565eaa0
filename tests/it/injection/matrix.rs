//! Every error in the manual pages of the socket calls, on real sockets.

use tokio::net::TcpListener;

use super::*;

/// The effect of an error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Outcome {
    /// `listen` answers this code.
    NotListening(i32),
    /// `connect` answers this code.
    NotConnected(i32),
    /// `onAcceptError` with this code.
    Paused(i32),
    /// The next accept returns the client.
    AcceptedAgain,
    /// The client is lost.
    Aborted,
    /// `onReceiveError` with this code.
    Ended(i32),
    /// The next read returns the data.
    ReadAgain,
    /// `send` answers this code.
    Unwritable(i32),
    /// `send` answers the first code, and `onReceiveError` has the second.
    Broken(i32, i32),
    /// The next write succeeds.
    WrittenAgain,
}

use Outcome::*;

/// A manual page with all its errors.
pub(super) struct Page {
    /// Its citation.
    pub(super) name: &'static str,
    /// The test below that covers its rows.
    pub(super) test: &'static str,
    pub(super) rows: &'static [(&'static str, Outcome)],
}

pub(super) const PAGES: [Page; 6] = [ACCEPT, READ, WRITE, CONNECT, BIND, LISTEN];

const ACCEPT: Page = Page {
    name: "accept(2)",
    test: "each_accept_error",
    rows: &[
        ("EAGAIN", AcceptedAgain),
        ("EBADF", Paused(-5)),
        ("ECONNABORTED", Aborted),
        ("EFAULT", Paused(-4)),
        ("EINTR", AcceptedAgain),
        ("EINVAL", Paused(-4)),
        ("EMFILE", Paused(-12)),
        ("ENFILE", Paused(-12)),
        ("ENOBUFS", Paused(-176)),
        ("ENOMEM", Paused(-13)),
        ("ENOTSOCK", Paused(-2)),
        ("EOPNOTSUPP", AcceptedAgain),
        ("EPERM", Paused(-10)),
        ("EPROTO", AcceptedAgain),
        // Section "Error handling": errors of the new connection.
        ("ENETDOWN", AcceptedAgain),
        ("ENOPROTOOPT", AcceptedAgain),
        ("EHOSTDOWN", AcceptedAgain),
        ("ENONET", AcceptedAgain),
        ("EHOSTUNREACH", AcceptedAgain),
        ("ENETUNREACH", AcceptedAgain),
        // "Various Linux kernels can return other errors."
        ("ENOSR", Paused(-2)),
        ("ESOCKTNOSUPPORT", Paused(-2)),
        ("EPROTONOSUPPORT", Paused(-2)),
        ("ETIMEDOUT", Paused(-7)),
    ],
};

const READ: Page = Page {
    name: "read(2), recv(2)",
    test: "each_read_error",
    rows: &[
        ("EAGAIN", ReadAgain),
        ("EBADF", Ended(-5)),
        ("ECONNREFUSED", Ended(-102)),
        ("ECONNRESET", Ended(-100)),
        ("EFAULT", Ended(-4)),
        ("EHOSTUNREACH", Ended(-109)),
        ("EINTR", ReadAgain),
        ("EINVAL", Ended(-4)),
        ("EIO", Ended(-2)),
        ("EISDIR", Ended(-10)),
        ("ENETDOWN", Ended(-106)),
        ("ENETUNREACH", Ended(-109)),
        ("ENOMEM", Ended(-13)),
        ("ENOTCONN", Ended(-15)),
        ("ENOTSOCK", Ended(-2)),
        ("ETIMEDOUT", Ended(-7)),
    ],
};

const WRITE: Page = Page {
    name: "write(2), send(2)",
    test: "each_write_error",
    rows: &[
        ("EACCES", Unwritable(-10)),
        ("EAGAIN", WrittenAgain),
        ("EALREADY", Unwritable(-2)),
        ("EBADF", Broken(-5, -5)),
        ("ECONNRESET", Broken(-101, -100)),
        ("EDESTADDRREQ", Unwritable(-2)),
        ("EDQUOT", Unwritable(-18)),
        ("EFAULT", Unwritable(-4)),
        ("EFBIG", Unwritable(-8)),
        ("EHOSTUNREACH", Broken(-109, -109)),
        ("EINTR", WrittenAgain),
        ("EINVAL", Unwritable(-4)),
        ("EIO", Unwritable(-2)),
        ("EISCONN", Unwritable(-23)),
        ("EMSGSIZE", Unwritable(-142)),
        ("ENETDOWN", Broken(-106, -106)),
        ("ENETUNREACH", Broken(-109, -109)),
        ("ENOBUFS", Unwritable(-176)),
        ("ENOMEM", Unwritable(-13)),
        ("ENOSPC", Unwritable(-18)),
        ("ENOTCONN", Broken(-15, -15)),
        ("ENOTSOCK", Broken(-2, -2)),
        ("EOPNOTSUPP", Unwritable(-11)),
        ("EPERM", Unwritable(-10)),
        ("EPIPE", Unwritable(-101)),
        ("ETIMEDOUT", Broken(-7, -7)),
    ],
};

const CONNECT: Page = Page {
    name: "connect(2)",
    test: "each_connect_error",
    rows: &[
        ("EACCES", NotConnected(-138)),
        ("EADDRINUSE", NotConnected(-147)),
        ("EADDRNOTAVAIL", NotConnected(-108)),
        ("EAFNOSUPPORT", NotConnected(-109)),
        ("EAGAIN", NotConnected(-104)),
        ("EALREADY", NotConnected(-104)),
        ("EBADF", NotConnected(-5)),
        ("ECONNREFUSED", NotConnected(-102)),
        ("EFAULT", NotConnected(-4)),
        ("EINPROGRESS", NotConnected(-104)),
        ("EINTR", NotConnected(-104)),
        ("EISCONN", NotConnected(-23)),
        ("ENETUNREACH", NotConnected(-109)),
        ("ENOTSOCK", NotConnected(-104)),
        ("EPERM", NotConnected(-138)),
        ("EPROTOTYPE", NotConnected(-104)),
        ("ETIMEDOUT", NotConnected(-118)),
    ],
};

const BIND: Page = Page {
    name: "bind(2)",
    test: "each_bind_and_listen_error",
    rows: &[
        ("EACCES", NotListening(-10)),
        ("EADDRINUSE", NotListening(-147)),
        ("EADDRNOTAVAIL", NotListening(-108)),
        ("EBADF", NotListening(-5)),
        ("EFAULT", NotListening(-4)),
        ("EINVAL", NotListening(-4)),
        ("ELOOP", NotListening(-2)),
        ("ENAMETOOLONG", NotListening(-17)),
        ("ENOENT", NotListening(-6)),
        ("ENOMEM", NotListening(-13)),
        ("ENOTDIR", NotListening(-6)),
        ("ENOTSOCK", NotListening(-2)),
        ("EROFS", NotListening(-10)),
    ],
};

const LISTEN: Page = Page {
    name: "listen(2)",
    test: "each_bind_and_listen_error",
    rows: &[
        ("EADDRINUSE", NotListening(-147)),
        ("EBADF", NotListening(-5)),
        ("ENOTSOCK", NotListening(-2)),
        ("EOPNOTSUPP", NotListening(-11)),
    ],
};

/// A rule that must apply exactly once.
struct OneShotRule<'a>(&'a FaultyNetwork, RuleId, &'a str);

impl<'a> OneShotRule<'a> {
    fn inject(network: &'a FaultyNetwork, text: &'a str) -> Self {
        let id = network.inject(rule(text).times(1));
        OneShotRule(network, id, text)
    }

    fn assert_applied(self) {
        let OneShotRule(network, id, text) = self;
        let report = network.remove(id).expect("it was injected");
        assert_eq!(report.triggered, 1, "{text}");
    }
}

#[actix_rt::test]
async fn each_accept_error() {
    let mut fixture = Fixture::new().await;
    for (errno, outcome) in ACCEPT.rows {
        let network = fixture.network.clone();
        let text = format!("accept={errno}");
        let once = OneShotRule::inject(&network, &text);
        let mut during = dial(fixture.at).await;
        match *outcome {
            Paused(code) => {
                assert_eq!(fixture.accept_error().await.code(), code, "{errno}");
                fixture.assert_paused(true).await;
                once.assert_applied();
                fixture.resume().await;
                fixture.assert_alive(vec![during]).await;
            }
            AcceptedAgain => {
                // The next event is the client's.
                fixture.assert_alive(vec![during]).await;
                once.assert_applied();
                fixture.assert_paused(false).await;
            }
            Aborted => {
                assert_eq!(end(&mut during).await, Err(io::ErrorKind::ConnectionReset));
                once.assert_applied();
                fixture.assert_alive(vec![]).await;
                fixture.assert_paused(false).await;
            }
            other => panic!("{other:?} does not come of an accept"),
        }
    }
}

#[actix_rt::test]
async fn each_read_error() {
    let mut fixture = Fixture::new().await;
    let network = fixture.network.clone();
    for (errno, outcome) in READ.rows {
        let (client, mut peer) = fixture.accepted().await;
        client.set_paused(false).await.expect("resume");
        write(&mut peer, b"before").await;
        let received = fixture.test.received(client.id(), 6).await;
        assert_eq!(received, b"before", "{errno}");

        let from = peer.local_addr().expect("it is connected");
        let text = format!("read={errno},peer={from}");
        let once = OneShotRule::inject(&network, &text);
        write(&mut peer, b"after").await;
        match *outcome {
            Ended(code) => {
                let ended = fixture.test.ended(client.id()).await;
                assert_eq!(ended.code(), code, "{errno}");
                let info = client.get_info().await.expect("the id stays valid");
                assert!(!info.connected && info.paused, "{info:?}");
                // Unread input makes the end a reset for the peer.
                let _ = end(&mut peer).await;
                once.assert_applied();

                let far = TcpListener::bind("127.0.0.1:0").await.expect("a port");
                let to = far.local_addr().expect("it is bound");
                let again = connect(&fixture.test, client.id(), to);
                within("connect", again)
                    .await
                    .expect("it can connect afterwards");
                let (mut peer, _) = far.accept().await.expect("it connected");
                assert_talks(&mut fixture.test, &client, &mut peer).await;
            }
            ReadAgain => {
                let received = fixture.test.received(client.id(), 5).await;
                assert_eq!(received, b"after", "{errno}");
                once.assert_applied();
                assert_talks(&mut fixture.test, &client, &mut peer).await;
            }
            other => panic!("{other:?} does not come of a read"),
        }
        let during = dial(fixture.at).await;
        fixture.assert_alive(vec![during]).await;
    }
}

#[actix_rt::test]
async fn each_write_error() {
    let mut fixture = Fixture::new().await;
    let network = fixture.network.clone();
    for (errno, outcome) in WRITE.rows {
        let (client, mut peer) = fixture.accepted().await;
        client.set_paused(false).await.expect("resume");
        let from = peer.local_addr().expect("it is connected");
        let text = format!("write={errno},peer={from}");
        let once = OneShotRule::inject(&network, &text);
        let answers = [(); 3].map(|()| client.send(&b"data"[..]));
        match *outcome {
            Unwritable(expected) | Broken(expected, _) => {
                for answer in answers {
                    assert_eq!(code(errno, answer).await, expected, "{errno}");
                }
            }
            WrittenAgain => {
                for answer in answers {
                    let sent = within(errno, answer).await;
                    assert_eq!(sent, Ok(SendInfo { bytes_sent: 4 }), "{errno}");
                }
                assert_eq!(read(&mut peer, 12).await, b"datadatadata");
                assert_talks(&mut fixture.test, &client, &mut peer).await;
            }
            other => panic!("{other:?} does not come of a write"),
        }
        once.assert_applied();
        match *outcome {
            Unwritable(_) => {
                write(&mut peer, b"still read").await;
                let received = fixture.test.received(client.id(), 10).await;
                assert_eq!(received, b"still read", "{errno}");
                drop(peer);
                assert_eq!(fixture.test.ended(client.id()).await.code(), -100);
            }
            Broken(_, expected) => {
                let ended = fixture.test.ended(client.id()).await;
                assert_eq!(ended.code(), expected, "{errno}");
                assert_eq!(end(&mut peer).await, Ok(()), "{errno}");
            }
            _ => {}
        }
        let during = dial(fixture.at).await;
        fixture.assert_alive(vec![during]).await;
    }
}

#[actix_rt::test]
async fn each_connect_error() {
    let mut fixture = Fixture::new().await;
    let network = fixture.network.clone();
    let far = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let to = far.local_addr().expect("it is bound");
    for (errno, outcome) in CONNECT.rows {
        let NotConnected(expected) = *outcome else {
            panic!("{outcome:?} does not come of a connect");
        };
        let id = fixture.test.create().await;
        let before = fixture.test.app.tcp.get_info(id).await;
        let text = format!("connect={errno},peer={to}");
        let once = OneShotRule::inject(&network, &text);
        let refused = connect(&fixture.test, id, to);
        assert_eq!(code("connect", refused).await, expected, "{errno}");
        assert_eq!(fixture.test.app.tcp.get_info(id).await, before, "{errno}");
        once.assert_applied();
        let during = dial(fixture.at).await;

        let again = connect(&fixture.test, id, to);
        within("connect", again)
            .await
            .expect("it can connect afterwards");
        let (mut peer, _) = far.accept().await.expect("it connected");
        let client = fixture.test.app.tcp.socket(id).await.expect("it exists");
        // The accept event precedes all events of this connection.
        let arrived = expect_accept(&mut fixture.test, &during).await;
        assert_talks(&mut fixture.test, &client, &mut peer).await;
        let mut during = during;
        assert_talks(&mut fixture.test, &arrived, &mut during).await;
        fixture.assert_alive(vec![]).await;
    }
}

#[actix_rt::test]
async fn each_bind_and_listen_error() {
    let mut fixture = Fixture::new().await;
    let network = fixture.network.clone();
    let server = fixture.test.app.tcp_server.clone();
    for (errno, outcome) in BIND.rows.iter().chain(LISTEN.rows) {
        let NotListening(expected) = *outcome else {
            panic!("{outcome:?} does not come of a listen");
        };
        let created = server.create(Default::default()).await.expect("create");
        let id = created.socket_id;
        let before = server.get_info(id).await;
        let text = format!("listen={errno}");
        let once = OneShotRule::inject(&network, &text);
        let refused = server.listen(id, "127.0.0.1", 0, None);
        assert_eq!(code("listen", refused).await, expected, "{errno}");
        assert_eq!(server.get_info(id).await, before, "{errno}");
        once.assert_applied();

        let during = dial(fixture.at).await;
        let listening = server.listen(id, "127.0.0.1", 0, None).await;
        assert_eq!(listening, Ok(()), "after {errno}");
        fixture.assert_alive(vec![during]).await;
        let info = server.get_info(id).await.expect("it exists");
        let mut peer = dial(info.local_addr().expect("it listens")).await;
        let client = expect_accept(&mut fixture.test, &peer).await;
        assert_talks(&mut fixture.test, &client, &mut peer).await;
        server.close(id).await.expect("close");
    }
}
