//! Shared helpers: an app with a listener that records its events, and waits with a time limit
//! that name what did not come.
#![expect(missing_docs, reason = "the names of these helpers say enough")]
#![expect(clippy::panic, reason = "this is how a test fails")]
#![expect(
    clippy::disallowed_types,
    reason = "tests look at sockets from outside"
)]

pub mod corpus;
pub mod descriptors;
pub mod polled_network;
pub mod process;
pub mod programs;

use std::fmt::Debug;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use actix::prelude::*;
use actix_rt::ArbiterHandle;
use bytes::Bytes;
use chrome_sockets::os::Network;
use chrome_sockets::tcp::{self, ClientSocket, ReceiveErrorInfo, ReceiveInfo};
use chrome_sockets::tcp_server::{AcceptErrorInfo, AcceptInfo};
use chrome_sockets::{
    Answer, App, ClientSocketId, Error, Event, NetError, Registry, ServerSocketId, UdpSocketId, udp,
};
use polled_network::PolledNetwork;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Time limit of every wait: far longer than it takes.
pub const LIMIT: Duration = Duration::from_secs(20);

/// How long a test waits for what must not come.
pub const QUIET: Duration = Duration::from_millis(100);

/// The environment variable with the number of arbiters of the registries of a test process.
pub const ARBITERS: &str = "CHROME_SOCKETS_TEST_ARBITERS";

/// If this environment variable is set, [`TestApp::new`] has every connection watched by the
/// arbiter's poller, not only from the fifth one on.
pub const POLLED: &str = "CHROME_SOCKETS_TEST_POLLED";

/// An event at the test's listener.
#[derive(Debug)]
pub enum ListenerEvent {
    Accept(ServerSocketId, ClientSocket),
    AcceptError(ServerSocketId, NetError),
    Receive(ClientSocketId, Bytes),
    ReceiveError(ClientSocketId, NetError),
    Datagram(UdpSocketId, SocketAddr, Bytes),
    UdpError(UdpSocketId, NetError),
}

/// Passes all its events to the test.
pub struct Listener(UnboundedSender<ListenerEvent>);

impl Actor for Listener {
    type Context = Context<Self>;
}

impl Listener {
    pub fn new(sender: UnboundedSender<ListenerEvent>) -> Self {
        Listener(sender)
    }

    fn notify(&self, events: ListenerEvent) {
        // The receiver is gone when the test has ended.
        let _ = self.0.send(events);
    }
}

impl Handler<AcceptInfo> for Listener {
    type Result = ();

    fn handle(&mut self, info: AcceptInfo, _: &mut Self::Context) {
        assert_eq!(info.client().id(), info.client_socket_id);
        self.notify(ListenerEvent::Accept(info.socket_id, info.client().clone()));
    }
}

impl Handler<AcceptErrorInfo> for Listener {
    type Result = ();

    fn handle(&mut self, info: AcceptErrorInfo, _: &mut Self::Context) {
        self.notify(ListenerEvent::AcceptError(info.socket_id, info.result_code));
    }
}

impl Handler<ReceiveInfo> for Listener {
    type Result = ();

    fn handle(&mut self, info: ReceiveInfo, _: &mut Self::Context) {
        self.notify(ListenerEvent::Receive(info.socket_id, info.into_data()));
    }
}

impl Handler<ReceiveErrorInfo> for Listener {
    type Result = ();

    fn handle(&mut self, info: ReceiveErrorInfo, _: &mut Self::Context) {
        self.notify(ListenerEvent::ReceiveError(
            info.socket_id,
            info.result_code,
        ));
    }
}

impl Handler<udp::ReceiveInfo> for Listener {
    type Result = ();

    fn handle(&mut self, info: udp::ReceiveInfo, _: &mut Self::Context) {
        let (id, from) = (info.socket_id, info.remote_addr());
        assert_eq!(from, (info.remote_address, info.remote_port).into());
        self.notify(ListenerEvent::Datagram(id, from, info.into_data()));
    }
}

impl Handler<udp::ReceiveErrorInfo> for Listener {
    type Result = ();

    fn handle(&mut self, info: udp::ReceiveErrorInfo, _: &mut Self::Context) {
        self.notify(ListenerEvent::UdpError(info.socket_id, info.result_code));
    }
}

/// Answered by a [`Listener`] after it has handled all earlier events.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Flush;

impl Handler<Flush> for Listener {
    type Result = ();

    fn handle(&mut self, _: Flush, _: &mut Self::Context) {}
}

/// Passes its events to the test unhandled.
pub struct EventSender<E>(pub UnboundedSender<E>);

impl<E: Event> Actor for EventSender<E> {
    type Context = Context<Self>;
}

impl<E: Event> Handler<E> for EventSender<E> {
    type Result = ();

    fn handle(&mut self, event: E, _: &mut Self::Context) {
        // The receiver is gone when the test has ended.
        let _ = self.0.send(event);
    }
}

/// Keeps every event as long as it lives, so that none is handled.
pub struct KeepingListener<E>(Vec<E>);

impl<E> Default for KeepingListener<E> {
    fn default() -> Self {
        KeepingListener(Vec::new())
    }
}

impl<E> Unpin for KeepingListener<E> {}

impl<E: Event> Actor for KeepingListener<E> {
    type Context = Context<Self>;
}

impl<E: Event> Handler<E> for KeepingListener<E> {
    type Result = ();

    fn handle(&mut self, event: E, _: &mut Self::Context) {
        self.0.push(event);
    }
}

/// Echoes every client.
pub struct Echo;

impl Actor for Echo {
    type Context = Context<Self>;
}

impl Handler<AcceptInfo> for Echo {
    type Result = ();

    fn handle(&mut self, info: AcceptInfo, _: &mut Self::Context) {
        info.client().do_set_paused(false);
    }
}

impl Handler<ReceiveInfo> for Echo {
    type Result = ();

    fn handle(&mut self, info: ReceiveInfo, _: &mut Self::Context) {
        let client = info.client().clone();
        client
            .forward(info)
            .expect("it is open, and far below the quota");
    }
}

/// Stops a listener that is [`stoppable!`].
#[derive(Message)]
#[rtype(result = "()")]
pub struct Stop;

/// Has a listener of the test stop at a [`Stop`] message.
#[macro_export]
macro_rules! stoppable {
    ($listener:ty) => {
        impl ::actix::Handler<$crate::Stop> for $listener {
            type Result = ();

            fn handle(&mut self, _: $crate::Stop, ctx: &mut Self::Context) {
                ::actix::ActorContext::stop(ctx);
            }
        }
    };
}

stoppable!(Listener);

/// Adds a listener to every event of an app.
pub fn subscribe(app: &App, listener: &Addr<Listener>) -> Answer<()> {
    let (tcp, server) = (&app.tcp, &app.tcp_server);
    let on_accept = &server.on_accept;
    on_accept.do_add_listener(listener.clone().recipient());
    let errors = &server.on_accept_error;
    errors.do_add_listener(listener.clone().recipient());
    tcp.on_receive.do_add_listener(listener.clone().recipient());
    let udp = &app.udp;
    udp.on_receive.do_add_listener(listener.clone().recipient());
    let errors = &udp.on_receive_error;
    errors.do_add_listener(listener.clone().recipient());
    let ends = &tcp.on_receive_error;
    ends.add_listener(listener.clone().recipient())
}

/// An app on its own registry, with a listener that records its events.
pub struct TestApp {
    pub app: App,
    pub registry: Addr<Registry>,
    pub listener: Addr<Listener>,
    sender: UnboundedSender<ListenerEvent>,
    events: UnboundedReceiver<ListenerEvent>,
}

impl TestApp {
    pub async fn new() -> Self {
        Self::on(match std::env::var_os(POLLED) {
            None => Registry::new(),
            Some(_) => Registry::with_network(PolledNetwork),
        })
        .await
    }

    pub async fn with_network(network: impl Network) -> Self {
        Self::on(Registry::with_network(network)).await
    }

    /// On as many arbiters as [`ARBITERS`] says.
    pub async fn on(registry: Registry) -> Self {
        let arbiters = std::env::var(ARBITERS).ok();
        let arbiters = arbiters.map(|it| it.parse().expect("a number of arbiters"));
        let registry = match arbiters {
            None => registry,
            Some(arbiters) => registry.arbiters(arbiters),
        };
        Self::at(registry.start()).await
    }

    /// An app on a running registry.
    pub async fn at(registry: Addr<Registry>) -> Self {
        let app = App::new("test", &registry);
        let (sender, events) = unbounded_channel();
        let listener = Listener(sender.clone()).start();
        subscribe(&app, &listener).await.expect("the registry runs");
        TestApp {
            app,
            registry,
            listener,
            sender,
            events,
        }
    }

    /// Removes the test's own listener from all events.
    pub async fn remove_listener(&self) {
        let (tcp, server) = (&self.app.tcp, &self.app.tcp_server);
        let own = &self.listener;
        server.on_accept.do_remove_listener(own.clone().recipient());
        let errors = &server.on_accept_error;
        errors.do_remove_listener(own.clone().recipient());
        let ends = &tcp.on_receive_error;
        ends.do_remove_listener(own.clone().recipient());
        let udp = &self.app.udp;
        udp.on_receive.do_remove_listener(own.clone().recipient());
        let errors = &udp.on_receive_error;
        errors.do_remove_listener(own.clone().recipient());
        let removed = tcp.on_receive.remove_listener(own.clone().recipient());
        removed.await.expect("the registry runs");
    }

    /// More listeners whose events come to this test.
    pub fn another_listener(&self) -> impl Fn() -> Listener + use<> {
        let sender = self.sender.clone();
        move || Listener(sender.clone())
    }

    /// A server socket that listens on a port of the OS's choice.
    pub async fn listen(&self) -> (ServerSocketId, SocketAddr) {
        let server = &self.app.tcp_server;
        let id = server
            .create(Default::default())
            .await
            .expect("create")
            .socket_id;
        server
            .listen(id, "127.0.0.1", 0, None)
            .await
            .expect("listen");
        let info = server.get_info(id).await.expect("it exists");
        (id, info.local_addr().expect("it listens"))
    }

    /// A client socket that is not connected.
    pub async fn create(&self) -> ClientSocketId {
        let created = self.app.tcp.create(tcp::SocketProperties::default()).await;
        created.expect("create").socket_id
    }

    /// The next event.
    pub async fn next(&mut self) -> ListenerEvent {
        within("an event", self.events.recv())
            .await
            .expect("the listener runs")
    }

    /// The next event, by a clock that the test may have paused.
    pub async fn next_before(&mut self, limit: Duration) -> ListenerEvent {
        match actix_rt::time::timeout(limit, self.events.recv()).await {
            Ok(events) => events.expect("the listener runs"),
            Err(_) => panic!("no event came within {limit:?}"),
        }
    }

    /// An event that has already come.
    pub fn try_next(&mut self) -> Option<ListenerEvent> {
        self.events.try_recv().ok()
    }

    /// The next event, which must be `onAccept`.
    pub async fn accepted(&mut self) -> ClientSocket {
        match self.next().await {
            ListenerEvent::Accept(_, client) => client,
            other => panic!("expected onAccept, not {other:?}"),
        }
    }

    /// The data of the next events, until it has this length.
    pub async fn received(&mut self, id: ClientSocketId, length: usize) -> Vec<u8> {
        let mut data = Vec::new();
        while data.len() < length {
            match self.next().await {
                ListenerEvent::Receive(from, bytes) if from == id => data.extend_from_slice(&bytes),
                other => panic!(
                    "expected onReceive of {id} after {} of {length} bytes, not {other:?}",
                    data.len()
                ),
            }
        }
        assert_eq!(data.len(), length, "more was received than was sent");
        data
    }

    /// The next event, which must be the end of this socket's connection.
    pub async fn ended(&mut self, id: ClientSocketId) -> NetError {
        match self.next().await {
            ListenerEvent::ReceiveError(from, code) if from == id => code,
            other => panic!("expected onReceiveError of {id}, not {other:?}"),
        }
    }

    /// Fails if any event comes within [`QUIET`].
    pub async fn expect_no_event(&mut self) {
        if let Ok(events) = actix_rt::time::timeout(QUIET, self.events.recv()).await {
            panic!("expected no event, not {events:?}");
        }
    }
}

/// The number that Chrome's API returns for a call that the network refused.
pub async fn code<T: Debug + Unpin>(call: &str, answer: Answer<T>) -> i32 {
    let answer = within(call, answer).await;
    match answer.as_ref().map_err(Error::net_error) {
        Err(Some(code)) => code.code(),
        _ => panic!("{call} should fail with a code, not answer {answer:?}"),
    }
}

/// The arbiter that is not the test's own, of two.
pub async fn remote_arbiter(app: &App) -> ArbiterHandle {
    let (sender, mut arbiters) = unbounded_channel();
    let set_up = app.on_each_arbiter(move |local| {
        if local.index() == 1 {
            let _ = sender.send(Arbiter::current());
        }
    });
    set_up.await.expect("it runs");
    let arbiter = within("an arbiter", arbiters.recv()).await;
    arbiter.expect("one of two results")
}

/// Keeps an arbiter busy from now on, until what is returned is dropped.
pub async fn block(arbiter: &ArbiterHandle) -> std::sync::mpsc::Sender<()> {
    let (release, blocked) = std::sync::mpsc::channel();
    let (begin, begun) = tokio::sync::oneshot::channel();
    arbiter.spawn_fn(move || {
        let _ = begin.send(());
        // Fails when the other end is dropped.
        let _ = blocked.recv();
    });
    within("the arbiter", begun).await.expect("it runs");
    release
}

/// Polls until the condition holds, with a turn of other tasks in between.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    within(what, async {
        while !holds() {
            actix_rt::task::yield_now().await;
        }
    })
    .await;
}

/// Waits no longer than [`LIMIT`], and names what did not come.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match actix_rt::time::timeout(LIMIT, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not come within {LIMIT:?}"),
    }
}
