//! What is refused, and what the answers say.

use chrome_sockets::tcp::ConnectOptions;
use chrome_sockets::tcp_server::ListenOptions;
use chrome_sockets::{Address, InvalidArgument, Permissions};

use super::*;

const MANIFEST: &str = r#"{ "tcpServer": {"listen": "*"}, "tcp": {"connect": "*"} }"#;

#[actix_rt::test]
async fn an_app_with_a_manifest_gets_a_permission_error_and_others_are_not_restricted() {
    let folder = Folder::new();
    let mut test = TestApp::new().await;
    let manifest = Permissions::from_sockets(MANIFEST).expect("a manifest");
    assert!(!manifest.may_use_unix_sockets() && Permissions::all().may_use_unix_sockets());
    test.app.set_permissions(manifest).await.expect("set");
    // Checked before the name.
    for at in [UnixAddress::from(folder.path()), UnixAddress::Unnamed] {
        let error = listen_error(&test, at.clone()).await;
        assert_eq!(error, Error::UnixPermissionDenied);
        let text = "Unix sockets are only for apps that no manifest restricts";
        assert_eq!(error.to_string(), text);
        let client = test.create().await;
        let connected = test.app.tcp.connect_unix(client, at).await;
        assert_eq!(connected, Err(Error::UnixPermissionDenied));
    }
    assert_eq!(folder.names(), [""; 0], "nothing was opened");
    let written = serde_json::to_string(&Permissions::all()).expect("it is written");
    let read = Permissions::from_sockets(&written).expect("a manifest");
    assert!(!read.may_use_unix_sockets(), "no manifest permits it");

    test.app
        .set_permissions(Permissions::all())
        .await
        .expect("set");
    listen(&test, folder.path()).await;
    expect_service(&mut test, &folder.path()).await;
}

#[actix_rt::test]
async fn each_mistake_has_its_own_reason_and_leaves_nothing_behind() {
    let folder = Folder::new();
    let test = TestApp::new().await;
    let id = create(&test).await;
    let server = &test.app.tcp_server;
    let named = UnixAddress::from_abstract("a name of these tests");
    let long = UnixAddress::from("x".repeat(108));
    let options = |mode| ListenOptions {
        mode,
        ..ListenOptions::default()
    };
    let ipv6_only = ListenOptions {
        ipv6_only: true,
        ..ListenOptions::default()
    };
    let at = || UnixAddress::from(folder.path());
    for (address, options, error) in [
        (
            long.clone(),
            options(None),
            InvalidArgument::UnixNameTooLong,
        ),
        ("".into(), options(None), InvalidArgument::UnixNameEmpty),
        (
            "a\0b".into(),
            options(None),
            InvalidArgument::UnixPathWithNul,
        ),
        (
            named,
            options(Some(0o600)),
            InvalidArgument::ModeWithoutFile,
        ),
        (at(), options(Some(0o1000)), InvalidArgument::ModeOutOfRange),
        (at(), ipv6_only, InvalidArgument::Ipv6OnlyForUnix),
    ] {
        let answer = server.listen_on(id, address.clone(), options).await;
        assert_eq!(answer, Err(error.into()), "{address}");
    }
    let backlog = server.listen_unix(id, at(), None, Some(0)).await;
    assert_eq!(backlog, Err(InvalidArgument::BacklogBelowOne.into()));
    let tcp = server.listen_on(id, ("127.0.0.1", 0), options(Some(0o600)));
    assert_eq!(tcp.await, Err(InvalidArgument::ModeWithoutFile.into()));
    server.set_reuse_port(id, true).await.expect("set");
    let shared = server.listen_unix(id, at(), None, None).await;
    assert_eq!(shared, Err(InvalidArgument::ReusePortForUnix.into()));
    server.set_reuse_port(id, false).await.expect("set");
    assert_eq!(folder.names(), [""; 0]);

    let client = test.create().await;
    let tcp = &test.app.tcp;
    let connected = tcp.connect_unix(client, long).await;
    assert_eq!(connected, Err(InvalidArgument::UnixNameTooLong.into()));
    let local = ConnectOptions {
        local: Some(([127, 0, 0, 1], 0).into()),
        ..ConnectOptions::default()
    };
    let connected = tcp.connect_to(client, at(), local).await;
    assert_eq!(connected, Err(InvalidArgument::LocalForUnix.into()));
    server
        .listen_unix(id, at(), None, None)
        .await
        .expect("listen");
    tcp.connect_unix(client, at()).await.expect("connect");
}

#[actix_rt::test]
async fn the_errors_of_the_os_have_their_codes() {
    let folder = Folder::new();
    let test = TestApp::new().await;
    let missing = folder.0.path().join("no folder/s");
    let error = listen_error(&test, &missing).await;
    assert_eq!(error, NetError::FILE_NOT_FOUND.into());
    let client = test.create().await;
    let tcp = &test.app.tcp;
    for (path, code) in [
        (missing, NetError::FILE_NOT_FOUND),
        (folder.path(), NetError::CONNECTION_REFUSED),
    ] {
        std::fs::write(folder.path(), "not a socket").expect("a file");
        let connected = tcp.connect_unix(client, path).await;
        assert_eq!(connected, Err(code.into()));
    }
    let listener = listen(&test, folder.0.path().join("other")).await;
    let other = folder.0.path().join("another");
    let twice = test.app.tcp_server.listen_unix(listener, other, None, None);
    assert_eq!(twice.await, Err(NetError::SOCKET_IS_CONNECTED.into()));
}

#[actix_rt::test]
async fn get_info_has_names_in_place_of_ip_addresses() {
    let folder = Folder::new();
    let mut test = TestApp::new().await;
    let path = folder.path();
    let server = listen(&test, &path).await;
    let at = Address::Unix(UnixAddress::from(&path));
    let info = test.app.tcp_server.get_info(server).await.expect("info");
    assert_eq!((info.local_address, info.local_port), (None, None));
    assert_eq!((info.local.as_ref(), info.local_addr()), (Some(&at), None));

    let client = test.create().await;
    test.app
        .tcp
        .connect_unix(client, &path)
        .await
        .expect("connect");
    let accepted = test.accepted().await;
    let info = test.app.tcp.get_info(client).await.expect("info");
    let unnamed = Address::Unix(UnixAddress::Unnamed);
    assert!(info.connected);
    assert_eq!((info.peer_address, info.peer_port), (None, None));
    assert_eq!((info.local_address, info.local_port), (None, None));
    assert_eq!(info.peer, Some(at.clone()));
    assert_eq!(info.local, Some(unnamed.clone()));
    let info = accepted.get_info().await.expect("info");
    assert_eq!((info.peer, info.local), (Some(unnamed), Some(at)));
}
