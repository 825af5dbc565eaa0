//! Unix sockets on the scripted network, and with faults.

use chrome_sockets::Address;
use chrome_sockets::os::TokioNetwork;
use chrome_sockets::testing::{Call, FaultyNetwork, Rule, ScriptedNetwork};

use super::*;

#[actix_rt::test]
async fn the_scripted_network_has_names_in_place_of_files() {
    let network = ScriptedNetwork::new();
    let mut test = TestApp::with_network(network.clone()).await;
    let mut accepts = accepts(&test).await;
    let id = create(&test).await;
    let at = UnixAddress::from("/run/app");
    let server = &test.app.tcp_server;
    server
        .listen_unix(id, at.clone(), Some(0o600), Some(5))
        .await
        .expect("listen");
    assert_in_use(&test, at.clone()).await;
    assert_eq!(network.listening_unix(), std::slice::from_ref(&at));
    assert_eq!(network.listening(), []);
    let call = Call::ListenUnix {
        address: at.clone(),
        mode: Some(0o600),
        backlog: 5,
    };
    assert_eq!(network.calls()[0], call);

    let peer = network.client_unix(at.clone()).expect("it listens");
    peer.set_credentials(Some(7), 8, 9);
    peer.send("hello");
    let client = test.accepted().await;
    let info = within("onAccept", accepts.recv()).await.expect("an event");
    let credentials = info.peer_credentials().expect("they are scripted");
    assert_eq!(
        (credentials.pid, credentials.uid, credentials.gid),
        (Some(7), 8, 9)
    );
    client.set_paused(false).await.expect("resume");
    assert_eq!(test.received(client.id(), 5).await, b"hello");

    let id = test.create().await;
    let tcp = &test.app.tcp;
    network.connect_error_unix("/run/db", libc::EACCES);
    let refused = tcp.connect_unix(id, "/run/db").await;
    assert_eq!(refused, Err(NetError::NETWORK_ACCESS_DENIED.into()));
    let server = network.server_unix("/run/db");
    tcp.connect_unix(id, "/run/db").await.expect("connect");
    tcp.send(id, &b"query"[..]).await.expect("sent");
    assert_eq!(server.received(), b"query");
    assert_eq!(server.address(), Address::Unix("/run/db".into()));
    network
        .accept_error_unix(at.clone(), libc::EMFILE)
        .expect("it listens");
    assert!(matches!(
        test.next().await,
        support::ListenerEvent::AcceptError(..)
    ));
    assert_eq!(network.waiting_unix(at), 0);
}

#[actix_rt::test]
async fn the_faulty_network_fails_calls_of_unix_sockets_by_rules_without_an_address() {
    let folder = Folder::new();
    let network = FaultyNetwork::new(TokioNetwork, 1);
    let mut test = TestApp::with_network(network.clone()).await;
    let inject = |rule: &str| network.inject(rule.parse::<Rule>().expect("a rule"));
    for (rule, code) in [
        ("listen=ENOBUFS,times=1", NetError::NO_BUFFER_SPACE),
        ("listen=EACCES,times=1", NetError::ACCESS_DENIED),
    ] {
        inject(rule);
        assert_eq!(listen_error(&test, folder.path()).await, code.into());
    }
    // Rules for an address are for IP addresses.
    inject("listen=EACCES,listener=127.0.0.1");
    let id = listen(&test, folder.path()).await;
    inject("connect=ECONNREFUSED,times=1");
    let client = test.create().await;
    let tcp = &test.app.tcp;
    let refused = tcp.connect_unix(client, folder.path()).await;
    assert_eq!(refused, Err(NetError::CONNECTION_REFUSED.into()));
    inject("read=ECONNRESET,times=1");
    let (accepted, _peer) = pair(&mut test, &folder.path()).await;
    assert_eq!(test.ended(accepted.id()).await, NetError::CONNECTION_CLOSED);
    expect_service(&mut test, &folder.path()).await;
    test.app.tcp_server.close(id).await.expect("close");
    assert_eq!(folder.names(), [""; 0], "the wrapped listener removes it");
}
