//! Extreme and invalid arguments.

use super::*;

/// Texts that are not canonical IP addresses, though some parsers accept them.
fn hostile_addresses() -> Vec<String> {
    #[rustfmt::skip]
    let short = [
        "", " ", "\t", "\n", "\0", ".", ":", "::::", ":::", "*", "-", "%", "[", "]", "[]", "/",
        "\\", "127.0.0.1\0", "127.0.0.1\0.example", "\x00127.0.0.1", "::1\0", " 127.0.0.1",
        "127.0.0.1 ", "127.0.0.1\n", "127.0.0.1\r\n", "127. 0.0.1", "\u{a0}127.0.0.1",
        "[127.0.0.1]", "[::1]", "[::]", "[::1", "::1]", "[[::1]]", "[::1]:80", "127.0.0.1:80",
        "127.0.0.1/8", "::1/128", "tcp://127.0.0.1", "127.0.0.1#x", "a@127.0.0.1", "127.1",
        "127.0.1", "127", "2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "127.0.0.01",
        "127.0.0.00", "127.0.0.256", "256.256.256.256", "127.0.0.1.", ".127.0.0.1", "127..0.1",
        "127.0.0.0.1", "+127.0.0.1", "-127.0.0.1", "1e2.0.0.1", "4294967296", "1.2.3.4.5",
        "99999999999999999999.0.0.1", "::ffff:127.1", "::127.0.0.1:80", "1::2::3", "12345::",
        "g::", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "::-1", "::0x1", "fe80::1%lo", "fe80::1%1",
        "::1%", "::1%25lo", "127.0.0.1%lo", "fe80::1%99999999999",
        // Digits and dots of other scripts, and invisible characters.
        "١٢٧.٠.٠.١", "127.0.0.１", "１２７.0.0.1", "127。0。0。1", "①②⑦.0.0.1", "127.0.0.1\u{200b}",
        "\u{202e}127.0.0.1", "\u{feff}127.0.0.1", "127.0.0.1\u{301}", "💥", "../../etc/passwd",
        "%s%s%s%n", "$(id)", "'; --",
    ];
    let mut all: Vec<_> = short.map(String::from).into();
    for unit in [
        "a", "1", ".", ":", "1.", "f:", "[", "\0", " ", "é", "💥", "a.",
    ] {
        all.push(unit.repeat(MIB / unit.len()));
    }
    all.push("127.0.0.1".to_owned() + &" ".repeat(MIB));
    all.push("127.0.0.1\0".to_owned() + &"a".repeat(MIB));
    all
}

/// A text that may be long, shortened for a failure message.
fn shortened(text: &str) -> String {
    let start: String = text.chars().take(40).collect();
    format!("{start:?} of {} bytes", text.len())
}

#[actix_rt::test]
async fn listening_at_a_hostile_address_is_an_invalid_argument() {
    let mut fixture = Fixture::new().await;
    let server = fixture.test.app.tcp_server.clone();
    let id = server.create(Default::default()).await.expect("create");
    let id = id.socket_id;
    let before = server.get_info(id).await;
    for address in hostile_addresses()
        .iter()
        .map(String::as_str)
        .chain(["localhost", "example.com"])
    {
        let what = shortened(address);
        let answer = within(&what, server.listen(id, address, 0, None)).await;
        assert_eq!(code(answer), -4, "{what}");
        assert_eq!(server.get_info(id).await, before, "{what}");
    }
    let listening = server.listen(id, "127.0.0.1", 0, None).await;
    listening.expect("it can listen after all refusals");
    fixture.assert_alive().await;
}

#[actix_rt::test]
async fn listening_at_an_address_that_is_not_this_machines_is_answered_by_the_os() {
    let mut fixture = Fixture::new().await;
    let server = fixture.test.app.tcp_server.clone();
    let id = server.create(Default::default()).await.expect("create");
    let id = id.socket_id;
    let before = server.get_info(id).await;
    for (address, expected) in [
        ("192.0.2.1", Some(-108)),
        ("203.0.113.255", Some(-108)),
        ("2001:db8::1", Some(-108)),
        // A link-local address without its scope.
        ("fe80::1", Some(-4)),
        // Multicast and broadcast addresses, which some systems bind to.
        ("224.0.0.1", None),
        ("255.255.255.255", None),
        ("ff02::1", None),
        ("0.0.0.1", None),
    ] {
        let answer = within(address, server.listen(id, address, 0, None)).await;
        match (answer, expected) {
            (Ok(()), None) => server.disconnect(id).await.expect("disconnect"),
            (answer, Some(expected)) => assert_eq!(code(answer), expected, "{address}"),
            (answer, None) => assert!(code(answer) < 0, "{address}"),
        }
        assert_eq!(server.get_info(id).await, before, "{address}");
    }
    let listening = server.listen(id, "127.0.0.1", 0, None).await;
    listening.expect("it can listen after all refusals");
    fixture.assert_alive().await;
}

#[actix_rt::test]
async fn connecting_to_a_hostile_address_is_name_not_resolved() {
    let network = ScriptedNetwork::new();
    let mut test = TestApp::with_network(network.clone()).await;
    let (_, at) = test.listen().await;
    let peer = network.client(at).expect("it listens");
    let client = test.accepted().await;
    let id = test.create().await;
    let before = test.app.tcp.get_info(id).await;
    let by_handle = test.app.tcp.socket(id).await.expect("it exists");
    for address in &hostile_addresses() {
        let what = shortened(address);
        let answer = within(&what, test.app.tcp.connect(id, address, 80, ANY)).await;
        assert_eq!(code(answer), -105, "{what}");
        let answer = within(&what, by_handle.connect(address, 80, ANY)).await;
        assert_eq!(code(answer), -105, "{what} by handle");
        assert_eq!(test.app.tcp.get_info(id).await, before, "{what}");
    }
    // The resolver does not see invalid names.
    for call in network.calls() {
        if let Call::Resolve { host } = call {
            assert!(
                !host.is_empty() && host.len() <= 253,
                "{}",
                shortened(&host)
            );
            assert!(!host.contains(['\0', ' ', '\n', '\t']), "{host:?}");
        }
    }
    let host = at.ip().to_string();
    let connecting = test.app.tcp.connect(id, host, at.port().into(), ANY);
    within("connect", connecting)
        .await
        .expect("it may connect after all of these");
    test.accepted().await;
    assert_scripted_talks(&mut test, &client, &peer).await;
}

#[actix_rt::test]
async fn names_are_kept_unchanged_or_refused_for_their_length() {
    let mut fixture = Fixture::new().await;
    let app = fixture.test.app.clone();
    let fits = ["web", "\0", "a\0b", "\u{202e}", "💥", " ", "'; --", "%s%n"];
    let fits: Vec<String> = fits
        .map(String::from)
        .into_iter()
        .chain(["x".repeat(MAX_NAME), "é".repeat(MAX_NAME / 2)])
        .collect();
    let too_long = [
        "x".repeat(MAX_NAME + 1),
        "é".repeat(MAX_NAME / 2) + "x",
        "é".repeat(MAX_NAME),
        "💥".repeat(MIB / 4),
        "\0".repeat(MIB),
    ];
    let server_named = |name: &String| tcp_server::SocketProperties {
        name: Some(name.clone()),
        persistent: None,
    };
    let client_named = |name: &String| tcp::SocketProperties {
        name: Some(name.clone()),
        ..Default::default()
    };
    for name in &fits {
        let what = shortened(name);
        let created = app.tcp_server.create(server_named(name)).await;
        let server = created.expect(&what).socket_id;
        let created = app.tcp.create(client_named(name)).await;
        let client = created.expect(&what).socket_id;
        for long in &too_long {
            let answer = app.tcp_server.update(server, server_named(long)).await;
            assert_eq!(code(answer), -4, "{}", shortened(long));
            let answer = app.tcp.update(client, client_named(long)).await;
            assert_eq!(code(answer), -4, "{}", shortened(long));
        }
        let info = app.tcp_server.get_info(server).await.expect("it exists");
        assert!(info.name.as_ref() == Some(name), "{what}");
        let info = app.tcp.get_info(client).await.expect("it exists");
        assert!(info.name.as_ref() == Some(name), "{what}");
        // An empty name removes the name.
        let none = String::new();
        let answer = app.tcp_server.update(server, server_named(&none)).await;
        answer.expect("update");
        let info = app.tcp_server.get_info(server).await.expect("it exists");
        assert_eq!(info.name, None);
        app.tcp_server.close(server).await.expect("close");
        app.tcp.close(client).await.expect("close");
    }
    for long in &too_long {
        let answer = app.tcp_server.create(server_named(long)).await;
        assert_eq!(code(answer), -4, "{}", shortened(long));
        let answer = app.tcp.create(client_named(long)).await;
        assert_eq!(code(answer), -4, "{}", shortened(long));
    }
    let servers = app.tcp_server.get_sockets().await.expect("alive");
    assert_eq!(servers.len(), 1, "a refused create makes no socket");
    let clients = app.tcp.get_sockets().await.expect("alive");
    assert_eq!(clients.len(), 1, "a refused create makes no socket");
    fixture.assert_alive().await;
}

#[actix_rt::test]
async fn extreme_buffer_sizes_lose_no_byte() {
    let mut fixture = Fixture::new().await;
    let app = fixture.test.app.clone();
    let data: Vec<u8> = (0..200_000u32).map(|i| (i ^ (i >> 8)) as u8).collect();
    for (size, shown, most) in [
        (i32::MIN, None, 4096),
        (-1, None, 4096),
        (0, None, 4096),
        (1, Some(1), 1),
        (65_537, Some(65_537), 65_536),
        (i32::MAX, Some(i32::MAX), 65_536),
    ] {
        let properties = tcp::SocketProperties {
            buffer_size: Some(size),
            ..Default::default()
        };
        let created = app.tcp.create(properties.clone()).await;
        let info = app.tcp.get_info(created.expect("create").socket_id).await;
        assert_eq!(info.expect("it exists").buffer_size, shown, "{size}");

        let mut peer = dial(fixture.at).await;
        let client = fixture.test.accepted().await;
        client.update(properties).await.expect("update");
        client.set_paused(false).await.expect("resume");
        // Events of one byte are slow, so this case uses less data.
        let data = &data[..if most == 1 { 5_000 } else { data.len() }];
        let writing = peer.write_all(data);
        let reading = async {
            let mut received = Vec::new();
            while received.len() < data.len() {
                match fixture.test.next().await {
                    ListenerEvent::Receive(id, bytes) if id == client.id() => {
                        assert!((1..=most).contains(&bytes.len()), "{size}");
                        received.extend_from_slice(&bytes);
                    }
                    other => panic!("expected onReceive, not {other:?}"),
                }
            }
            received
        };
        let (written, received) = tokio::join!(writing, reading);
        written.expect("write");
        assert!(received == data, "not what was sent, with {size}");
        client.set_paused(true).await.expect("pause");
    }
    fixture.assert_alive().await;
}

#[actix_rt::test]
async fn extreme_ports_and_backlogs_are_invalid_or_accepted() {
    let mut fixture = Fixture::new().await;
    let app = fixture.test.app.clone();
    let created = app.tcp_server.create(Default::default()).await;
    let server = created.expect("create").socket_id;
    let client = fixture.test.create().await;
    for port in [i32::MIN, -65_536, -1, 65_536, 65_536 + 80, i32::MAX] {
        let answer = app.tcp_server.listen(server, "127.0.0.1", port, None).await;
        assert_eq!(code(answer), -4, "listen on {port}");
        let answer = within("connect", app.tcp.connect(client, "127.0.0.1", port, ANY)).await;
        assert_eq!(code(answer), -4, "connect to {port}");
    }
    let answer = within("connect", app.tcp.connect(client, "127.0.0.1", 0, ANY)).await;
    assert_eq!(code(answer), -108);
    for backlog in [i32::MIN, -1, 0] {
        let answer = app.tcp_server.listen(server, "127.0.0.1", 0, Some(backlog));
        assert_eq!(code(answer.await), -4, "a backlog of {backlog}");
    }
    let answer = app
        .tcp_server
        .listen(server, "127.0.0.1", 0, Some(i32::MAX));
    answer.await.expect("the OS cuts it to its own limit");
    let info = app.tcp_server.get_info(server).await.expect("it exists");
    let _peer = dial(info.local_addr().expect("it listens")).await;
    fixture.test.accepted().await;
    fixture.assert_alive().await;
}

#[actix_rt::test]
async fn extreme_keep_alive_delays_are_set_or_fail_and_the_connection_continues() {
    let mut fixture = Fixture::new().await;
    let app = fixture.test.app.clone();
    let client = fixture.client.clone();
    for enable in [true, false] {
        for delay in [i32::MIN, -1] {
            let what = format!("setKeepAlive({enable}, {delay})");
            let answer = app.tcp.set_keep_alive(client.id(), enable, Some(delay));
            assert_eq!(code(answer.await), -2, "{what}");
            let answer = client.set_keep_alive(enable, Some(delay)).await;
            assert_eq!(code(answer), -2, "{what} by handle");
        }
        for delay in [Some(0), Some(1), None] {
            let answer = client.set_keep_alive(enable, delay).await;
            assert_eq!(answer, Ok(()), "setKeepAlive({enable}, {delay:?})");
        }
    }
    // No OS accepts 68 years; one that does would be right too.
    let answer = client.set_keep_alive(true, Some(i32::MAX)).await;
    assert!(answer.is_ok() || code(answer) == -2);
    fixture.assert_alive().await;
}

#[actix_rt::test]
async fn a_send_above_the_quota_sends_nothing_and_one_of_exactly_the_quota_works() {
    let mut fixture = Fixture::on(Registry::new().write_quota(MIB)).await;
    let tcp = fixture.test.app.tcp.clone();
    let client = fixture.client.clone();
    let exceeded = Err(Error::WriteQuotaExceeded);
    for round in 0..3u8 {
        for size in [MIB + 1, 2 * MIB, 64 * MIB] {
            let data = Bytes::from(vec![b'x'; size]);
            let answer = tcp.send(client.id(), data.clone()).await;
            assert_eq!(answer.map(drop), exceeded, "{size} by id");
            let answer = client.send(data.clone()).await;
            assert_eq!(answer.map(drop), exceeded, "{size} by handle");
            assert_eq!(client.try_send(data), exceeded, "{size}");
        }
        let exact = vec![round; MIB];
        let sending = match round {
            0 => tcp.send(client.id(), exact.clone()),
            _ => client.send(exact.clone()),
        };
        let mut events = vec![0; MIB];
        within("the sent data", fixture.peer.read_exact(&mut events))
            .await
            .expect("read");
        assert!(events == exact, "something else came");
        let sent = within("the send", sending).await;
        assert_eq!(sent.map(|sent| sent.bytes_sent), Ok(MIB));
    }
    fixture.assert_alive().await;
}
