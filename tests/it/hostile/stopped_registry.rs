//! A registry that has stopped or is stopping.

use super::*;

/// Every function of an app, including those without an id.
async fn app_functions(app: &App, server: ServerSocketId, client: ClientSocketId) -> Answers {
    let mut answers = vec![
        answer_of(
            "tcpServer.create",
            app.tcp_server.create(Default::default()),
        )
        .await,
        answer_of("tcpServer.getSockets", app.tcp_server.get_sockets()).await,
        answer_of("tcp.create", app.tcp.create(Default::default())).await,
        answer_of("tcp.getSockets", app.tcp.get_sockets()).await,
        answer_of(
            "onAccept.hasListeners",
            app.tcp_server.on_accept.has_listeners(),
        )
        .await,
        answer_of(
            "onAcceptError.hasListeners",
            app.tcp_server.on_accept_error.has_listeners(),
        )
        .await,
        answer_of("onReceive.hasListeners", app.tcp.on_receive.has_listeners()).await,
        answer_of(
            "onReceiveError.hasListeners",
            app.tcp.on_receive_error.has_listeners(),
        )
        .await,
    ];
    answers.extend(server_functions(app, server).await);
    answers.extend(client_functions(app, client).await);
    answers
}

async fn listener_functions(test: &TestApp) -> Answers {
    let recipient = || test.listener.clone().recipient();
    let events = &test.app.tcp_server.on_accept;
    let data = &test.app.tcp.on_receive;
    vec![
        answer_of("onAccept.addListener", events.add_listener(recipient())).await,
        answer_of("onAccept.hasListener", events.has_listener(recipient())).await,
        answer_of(
            "onAccept.removeListener",
            events.remove_listener(recipient()),
        )
        .await,
        answer_of(
            "onReceive.addListener",
            data.add_listener(test.listener.clone().recipient()),
        )
        .await,
    ]
}

#[actix_rt::test]
async fn a_stopped_registry_answers_every_call_and_its_ports_are_free() {
    let mut fixture = Fixture::new().await;
    let Fixture {
        test,
        server,
        client,
        peer,
        ..
    } = &mut fixture;
    let connected = client.clone();
    let closed = test.create().await;
    let closed = test.app.tcp.socket(closed).await.expect("it exists");
    closed.close().await.expect("close");
    let sending = connected.send(&b"before"[..]);
    let shutdown = within("the answer to Shutdown", test.registry.send(Shutdown)).await;
    shutdown.expect("it is alive").expect("it has ended");

    // An earlier call is carried out first.
    within("the send", sending).await.expect("send");
    let mut rest = Vec::new();
    within("the end", peer.read_to_end(&mut rest))
        .await
        .expect("read");
    assert_eq!(rest, b"before");

    let stopped = Err(Error::Stopped);
    for (function, answer) in app_functions(&test.app, *server, connected.id()).await {
        assert_eq!(answer, stopped, "{function}");
    }
    for (function, answer) in listener_functions(test).await {
        assert_eq!(answer, stopped, "{function}");
    }
    for (function, answer) in handle_functions(&closed).await {
        assert_eq!(answer, NOT_FOUND, "{function} of a closed one");
    }
    for (function, answer) in handle_functions(&connected).await {
        assert_eq!(answer, stopped, "{function}");
    }
    let plain = join_all(messages(&test.registry, &test.app, *server, connected.id()));
    for (message, answer) in plain.await {
        assert_eq!(answer, Err(MailboxError::Closed), "{message}");
    }
    let app = test.app.id().clone();
    let recipient = test.listener.clone().recipient::<AcceptErrorInfo>();
    for (message, answer) in [
        send_message(&test.registry, Shutdown).await,
        send_message(&test.registry, tcp::GetSockets { app: app.clone() }).await,
        send_message(
            &test.registry,
            HasListener::<ReceiveErrorInfo> {
                app: app.clone(),
                recipient: None,
            },
        )
        .await,
        send_message(
            &test.registry,
            AddListener {
                app: app.clone(),
                recipient: recipient.clone(),
            },
        )
        .await,
        send_message(&test.registry, RemoveListener { app, recipient }).await,
    ] {
        assert_eq!(answer, Err(MailboxError::Closed), "{message}");
    }

    // A new registry works.
    Fixture::new().await.assert_alive().await;
}

#[actix_rt::test]
async fn the_answer_to_shutdown_means_that_every_port_is_free() {
    // The registry has a thread of its own, so that this thread would be faster than anything
    // done after the answer. It has an address of its own, so that no other test gets its ports.
    const SERVERS: usize = 1000;
    const ADDRESS: &str = "127.0.73.1";
    let arbiter = Arbiter::new();
    let (sender, started) = tokio::sync::oneshot::channel();
    arbiter.spawn_fn(|| drop(sender.send(Registry::new().start())));
    let registry = within("the registry", started).await.expect("it starts");
    let server = App::new("test", &registry).tcp_server;
    let mut addresses = Vec::new();
    for _ in 0..SERVERS {
        let created = server.create(Default::default()).await;
        let id = created.expect("create").socket_id;
        let listening = server.listen(id, ADDRESS, 0, None).await;
        listening.expect("listen");
        let info = server.get_info(id).await.expect("it exists");
        addresses.push(info.local_addr().expect("it listens"));
    }
    let shutdown = within("the answer to Shutdown", registry.send(Shutdown)).await;
    shutdown.expect("it is alive").expect("it has ended");
    for address in addresses.iter().rev() {
        let free = std::net::TcpListener::bind(address);
        assert!(free.is_ok(), "{address}: {free:?}");
    }

    // Another registry can use one of the ports.
    let mut next = TestApp::new().await;
    let server = next.app.tcp_server.clone();
    let created = server.create(Default::default()).await;
    let id = created.expect("create").socket_id;
    let port = addresses[0].port().into();
    let listening = server.listen(id, ADDRESS, port, None).await;
    listening.expect("the port is free");
    let mut peer = dial(addresses[0]).await;
    let client = next.accepted().await;
    assert_talks(&mut next, &client, &mut peer).await;
    arbiter.stop();
}

#[actix_rt::test]
async fn calls_after_shutdown_answer_stopped_even_if_shutdown_is_not_awaited() {
    let fixture = Fixture::new().await;
    let (server, tcp) = (&fixture.test.app.tcp_server, &fixture.test.app.tcp);
    // More server sockets, so that closing them takes several turns.
    let _others = (fixture.test.listen().await, fixture.test.listen().await);
    let shutdown = fixture.test.registry.send(Shutdown);
    let id = fixture.server;
    let answers = (
        server.create(Default::default()),
        tcp.create(Default::default()),
        server.get_info(id),
        server.listen(id, "127.0.0.1", 0, None),
        tcp.get_info(fixture.client.id()),
        tcp.send(fixture.client.id(), &b"late"[..]),
        server.get_sockets(),
    );
    let stopped = Err(Error::Stopped);
    assert_eq!(within("create", answers.0).await.map(drop), stopped);
    assert_eq!(within("create", answers.1).await.map(drop), stopped);
    assert_eq!(within("getInfo", answers.2).await.map(drop), stopped);
    assert_eq!(within("listen", answers.3).await, stopped);
    assert_eq!(within("getInfo", answers.4).await.map(drop), stopped);
    assert_eq!(within("send", answers.5).await.map(drop), stopped);
    assert_eq!(within("getSockets", answers.6).await.map(drop), stopped);
    within("Shutdown", shutdown)
        .await
        .expect("it was alive")
        .expect("it has ended");
}

#[actix_rt::test]
async fn a_registry_without_an_address_ends_and_its_handles_answer_stopped() {
    let mut fixture = Fixture::new().await;
    let client = fixture.client.clone();
    let mut peer = std::mem::replace(&mut fixture.peer, dial(fixture.at).await);
    let at = fixture.at;
    drop(fixture);
    let end = within("the end", peer.read(&mut [0])).await;
    assert_eq!(end.expect("a clean end"), 0);
    for (function, answer) in handle_functions(&client).await {
        assert_eq!(answer, Err(Error::Stopped), "{function}");
    }
    within("a free port", async {
        while TcpStream::connect(at).await.is_ok() {
            actix_rt::task::yield_now().await;
        }
    })
    .await;
}

/// Calls until the registry has stopped. Returns the number of other answers before.
async fn call_until_stopped(app: App) -> usize {
    for calls in 0.. {
        let created = app.tcp_server.create(Default::default());
        let client = app.tcp.create(Default::default());
        let sockets = app.tcp_server.get_sockets();
        let clients = app.tcp.get_sockets();
        let (created, client, sockets, clients) = tokio::join!(created, client, sockets, clients);
        let mut stopped = [sockets.map(drop), clients.map(drop)].contains(&Err(Error::Stopped));
        match (created, client) {
            (Ok(server), Ok(client)) => {
                let id = server.socket_id;
                let listening = app.tcp_server.listen(id, "127.0.0.1", 0, None).await;
                let sent = app.tcp.send(client.socket_id, &b"x"[..]).await;
                let closed = app.tcp_server.close(id).await;
                for answer in [listening, closed, app.tcp.close(client.socket_id).await] {
                    assert!(
                        matches!(answer, Ok(()) | Err(Error::Stopped | Error::SocketNotFound)),
                        "{answer:?}"
                    );
                }
                assert!(
                    matches!(
                        sent,
                        Err(Error::Stopped
                            | Error::SocketNotFound
                            | Error::Net(NetError::SOCKET_NOT_CONNECTED))
                    ),
                    "{sent:?}"
                );
            }
            (server, client) => {
                assert!([server.map(drop), client.map(drop)].contains(&Err(Error::Stopped)));
                stopped = true;
            }
        }
        if stopped {
            return calls;
        }
    }
    unreachable!("it never stops to count")
}

#[actix_rt::test]
async fn calls_that_race_with_shutdown_all_get_an_answer() {
    for _ in 0..10 {
        let fixture = Fixture::new().await;
        let app = fixture.test.app.clone();
        let arbiters = [Arbiter::new(), Arbiter::new()];
        let (answered, mut all_answered) = unbounded_channel();
        for caller in 0..8 {
            let (app, answered) = (app.clone(), answered.clone());
            let call = async move {
                let _ = answered.send(call_until_stopped(app).await);
            };
            match arbiters.get(caller % 3) {
                Some(arbiter) => assert!(arbiter.spawn(call)),
                None => drop(actix_rt::spawn(call)),
            }
        }
        drop(answered);
        let client = fixture.client.clone();
        let handles = actix_rt::spawn(async move {
            while client.get_info().await.is_ok() {
                actix_rt::task::yield_now().await;
            }
        });
        // The calls are in progress when the shutdown comes.
        actix_rt::task::yield_now().await;
        let shutdown = within("Shutdown", fixture.test.registry.send(Shutdown)).await;
        shutdown.expect("it was alive").expect("it has ended");
        let mut callers = 0;
        while within("an answer to every call", all_answered.recv())
            .await
            .is_some()
        {
            callers += 1;
        }
        assert_eq!(callers, 8, "a caller has panicked");
        within("an answer by handle", handles)
            .await
            .expect("no panic");
        for arbiter in arbiters {
            arbiter.stop();
        }
    }
    Fixture::new().await.assert_alive().await;
}
