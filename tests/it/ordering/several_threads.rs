//! Across arbiters, with full mailboxes.

use super::*;

/// A registry on an arbiter of its own.
async fn registry_in(arbiter: &Arbiter) -> Addr<Registry> {
    let (sender, started) = oneshot::channel();
    arbiter.spawn_fn(|| {
        let registry = Registry::new().write_quota(64 * 1024 * 1024).start();
        assert!(sender.send(registry).is_ok(), "the test waits for it");
    });
    let registry = within("the registry", started).await;
    registry.expect("it has started")
}

/// What a [`NotingListener`] sends to its test.
#[derive(Debug, PartialEq)]
enum NotedEvent {
    Accept(ClientSocketId),
    Receive(ClientSocketId, Bytes),
    End(ClientSocketId, NetError),
}

/// Notes its events once its gate is open. The first listener resumes the clients.
struct NotingListener {
    events: UnboundedSender<NotedEvent>,
    gate: Option<mpsc::Receiver<()>>,
    resumes: bool,
}

impl Actor for NotingListener {
    type Context = Context<Self>;
}

impl NotingListener {
    fn record(&mut self, note: NotedEvent) {
        if let Some(gate) = self.gate.take() {
            // Its mailbox fills in the meantime. A failing test closes the gate.
            let _ = gate.recv();
        }
        let _ = self.events.send(note);
    }
}

impl Handler<AcceptInfo> for NotingListener {
    type Result = ();

    fn handle(&mut self, info: AcceptInfo, _: &mut Self::Context) {
        if self.resumes {
            info.client().do_set_paused(false);
        }
        self.record(NotedEvent::Accept(info.client_socket_id));
    }
}

impl Handler<ReceiveInfo> for NotingListener {
    type Result = ();

    fn handle(&mut self, info: ReceiveInfo, _: &mut Self::Context) {
        self.record(NotedEvent::Receive(info.socket_id, info.into_data()));
    }
}

impl Handler<ReceiveErrorInfo> for NotingListener {
    type Result = ();

    fn handle(&mut self, info: ReceiveErrorInfo, _: &mut Self::Context) {
        self.record(NotedEvent::End(info.socket_id, info.result_code));
    }
}

/// Fills a mailbox.
#[derive(Message)]
#[rtype(result = "()")]
struct MailboxFiller;

impl Handler<MailboxFiller> for NotingListener {
    type Result = ();

    fn handle(&mut self, _: MailboxFiller, _: &mut Self::Context) {}
}

/// A listener on an arbiter of its own, for all events of an app.
struct ThreadListener {
    arbiter: Arbiter,
    actor: Addr<NotingListener>,
    events: UnboundedReceiver<NotedEvent>,
    /// Used or dropped, it lets the listener continue.
    gate: Option<mpsc::Sender<()>>,
}

impl ThreadListener {
    async fn of(app: &App, gated: bool, resumes: bool) -> Self {
        let arbiter = Arbiter::new();
        let (sender, events) = unbounded_channel();
        let (open, gate) = mpsc::channel();
        let actor = NotingListener::start_in_arbiter(&arbiter.handle(), move |_| NotingListener {
            events: sender,
            gate: gated.then_some(gate),
            resumes,
        });
        let (server, tcp) = (&app.tcp_server, &app.tcp);
        for added in [
            server.on_accept.add_listener(actor.clone().recipient()),
            tcp.on_receive.add_listener(actor.clone().recipient()),
            tcp.on_receive_error.add_listener(actor.clone().recipient()),
        ] {
            within("addListener", added).await.expect("added");
        }
        ThreadListener {
            arbiter,
            actor,
            events,
            gate: gated.then_some(open),
        }
    }

    async fn next(&mut self) -> NotedEvent {
        let note = within("an event", self.events.recv()).await;
        note.expect("the listener lives")
    }
}

impl Drop for ThreadListener {
    fn drop(&mut self) {
        self.gate = None;
        self.arbiter.stop();
    }
}

/// A listening app on another thread's registry.
async fn listening_app_in(arbiter: &Arbiter) -> (App, SocketAddr) {
    let app = App::new("test", &registry_in(arbiter).await);
    let server = &app.tcp_server;
    let created = server.create(Default::default()).await;
    let id = created.expect("create").socket_id;
    let listening = server.listen(id, "127.0.0.1", 0, None).await;
    listening.expect("listen");
    let info = server.get_info(id).await.expect("it exists");
    (app, info.local_addr().expect("it listens"))
}

#[actix_rt::test]
async fn ten_thousand_sends_between_arbiters_with_full_mailboxes_arrive_in_order_and_complete() {
    let arbiter = Arbiter::new();
    let (app, at) = listening_app_in(&arbiter).await;
    let mut listener = ThreadListener::of(&app, true, true).await;
    let mut peer = dial(at).await;
    // It is in its handler of `onAccept` now, and later events fill its mailbox.
    let client = within("a client", async {
        loop {
            let sockets = app.tcp.get_sockets().await.expect("alive");
            match sockets.first() {
                Some(info) if !info.paused => return info.socket_id,
                _ => actix_rt::task::yield_now().await,
            }
        }
    })
    .await;
    for _ in 0..SENDS {
        listener.actor.do_send(MailboxFiller);
    }
    let flood = vec![b'x'; 4 * tcp::WINDOW];
    let handle = app.tcp.socket(client).await.expect("it exists");

    for way in ["by id", "by handle", "by plain message"] {
        let mut answers: Vec<futures::future::LocalBoxFuture<_>> = Vec::new();
        let mut others = Vec::new();
        for number in 0..SENDS {
            // The mailboxes on the way are as full as ten thousand sends and as many other calls
            // make them.
            others.push(match number % 2 {
                0 => app.tcp.get_info(client),
                _ => handle.get_info(),
            });
            answers.push(match way {
                "by id" => Box::pin(app.tcp.send(client, message(number))),
                "by handle" => Box::pin(handle.send(message(number))),
                _ => Box::pin(send_request(&app.registry(), &app, client, message(number))),
            });
        }
        let answers = within("the answers", join_all(answers));
        let ((), answers) = tokio::join!(assert_all_arrive(&mut peer), answers);
        assert!(answers.iter().all(Result::is_ok), "{way}");
        for info in within("the other answers", join_all(others)).await {
            assert!(info.expect(way).connected);
        }
        // Bytes of the other direction wait for the listener in the meantime.
        let stuffed = peer.try_write(&flood);
        assert!(stuffed.is_ok_and(|stuffed| stuffed > 0) || way != "by id");
    }

    drop(listener.gate.take());
    assert_eq!(listener.next().await, NotedEvent::Accept(client));
    match listener.next().await {
        NotedEvent::Receive(id, data) => assert_eq!((id, data[0]), (client, b'x')),
        other => panic!("expected onReceive, not {other:?}"),
    }
    handle.close().await.expect("close");
    arbiter.stop();
}

#[actix_rt::test]
async fn each_of_several_callers_on_several_arbiters_keeps_its_own_order() {
    const CALLERS: u32 = 4;
    const EACH: u32 = SENDS / CALLERS;
    let arbiter = Arbiter::new();
    let (app, at) = listening_app_in(&arbiter).await;
    let mut listener = ThreadListener::of(&app, false, false).await;
    let mut peer = dial(at).await;
    let client = match listener.next().await {
        NotedEvent::Accept(client) => client,
        other => panic!("expected onAccept, not {other:?}"),
    };
    let handle = app.tcp.socket(client).await.expect("it exists");
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let arbiter = Arbiter::new();
            let (app, handle) = (app.clone(), handle.clone());
            arbiter.spawn_fn(move || {
                for number in caller * EACH..(caller + 1) * EACH {
                    match caller % 2 {
                        0 => drop(app.tcp.send(client, message(number))),
                        _ => drop(handle.send(message(number))),
                    }
                }
            });
            arbiter
        })
        .collect();

    // The next message is a whole one of some caller, and that caller's next.
    let mut next: Vec<_> = (0..CALLERS).map(|caller| caller * EACH).collect();
    for _ in 0..SENDS {
        let number = within("a message", peer.read_u32()).await.expect("read");
        let caller = (number / EACH) as usize;
        assert!(next.get(caller) == Some(&number), "{number} after {next:?}");
        next[caller] += 1;
        let expected = message(number);
        let mut rest = vec![0; expected.len() - 4];
        within("its bytes", peer.read_exact(&mut rest))
            .await
            .expect("read");
        assert_eq!(rest, expected[4..], "message {number}");
    }
    for arbiter in callers.iter().chain([&arbiter]) {
        arbiter.stop();
    }
}

#[actix_rt::test]
async fn events_of_a_socket_reach_every_listener_in_order_on_any_arbiter() {
    const LENGTH: usize = 3_000_000;
    let arbiter = Arbiter::new();
    let (app, at) = listening_app_in(&arbiter).await;
    let mut listeners = Vec::new();
    for resumes in [true, false, false] {
        listeners.push(ThreadListener::of(&app, false, resumes).await);
    }
    let data: Vec<u8> = (0..LENGTH)
        .map(|i| (i ^ (i >> 8) ^ (i >> 16)) as u8)
        .collect();
    let sent = data.clone();
    let writing = actix_rt::spawn(async move {
        let mut peer = dial(at).await;
        peer.write_all(&sent).await.expect("write");
    });
    for (i, listener) in listeners.iter_mut().enumerate() {
        let client = match listener.next().await {
            NotedEvent::Accept(client) => client,
            other => panic!("listener {i}: expected onAccept, not {other:?}"),
        };
        let mut received = Vec::new();
        let end = loop {
            match listener.next().await {
                NotedEvent::Receive(id, bytes) if id == client => {
                    received.extend_from_slice(&bytes)
                }
                NotedEvent::End(id, code) if id == client => break code,
                other => panic!("listener {i}: expected its events, not {other:?}"),
            }
        };
        assert_eq!(end, NetError::CONNECTION_CLOSED, "listener {i}");
        assert!(received == data, "listener {i} received another order");
    }
    within("the write", writing).await.expect("no panic");
    arbiter.stop();
}

#[actix_rt::test]
async fn on_accept_of_a_client_precedes_its_on_receive_at_every_listener() {
    const CLIENTS: usize = 500;
    let arbiter = Arbiter::new();
    let (app, at) = listening_app_in(&arbiter).await;
    // The first resumes each client at once; the second is far behind.
    let mut fast = ThreadListener::of(&app, false, true).await;
    let mut slow = ThreadListener::of(&app, true, false).await;
    let storm = std::thread::spawn(move || {
        let peers = (0..CLIENTS).map(|_| {
            let mut peer = std::net::TcpStream::connect(at).expect("connect");
            std::io::Write::write_all(&mut peer, b"hello").expect("write");
            peer
        });
        peers.collect::<Vec<_>>()
    });
    for _ in 0..SENDS {
        slow.actor.do_send(MailboxFiller);
    }
    while !matches!(fast.next().await, NotedEvent::Receive(..)) {}
    drop(slow.gate.take());

    let mut known = HashSet::new();
    let mut greeted = HashSet::new();
    while greeted.len() < CLIENTS {
        match slow.next().await {
            NotedEvent::Accept(client) => assert!(known.insert(client), "{client} twice"),
            NotedEvent::Receive(client, data) => {
                assert!(known.contains(&client), "{client} was not reported");
                assert!(greeted.insert(client), "{client} greeted twice");
                assert_eq!(data, "hello");
            }
            NotedEvent::End(client, code) => panic!("{client} ended with {code}"),
        }
    }
    drop(storm.join().expect("every client has connected"));
    arbiter.stop();
}

#[actix_rt::test]
async fn answers_and_events_of_one_socket_come_in_a_consistent_order() {
    let mut test = TestApp::new().await;
    for _ in 0..100 {
        let (client, mut peer) = pair(&mut test).await;
        peer.write_all(b"first").await.expect("write");
        client.set_paused(false).await.expect("resume");
        assert_eq!(test.received(client.id(), 5).await, b"first");
        // The end is raised before `disconnect` is answered.
        client.disconnect().await.expect("disconnect");
        match test.next().await {
            ListenerEvent::ReceiveError(id, code) => {
                assert_eq!((id, code), (client.id(), NetError::CONNECTION_CLOSED));
            }
            other => panic!("expected onReceiveError, not {other:?}"),
        }
    }
}
