//! Redelivery on real sockets: a listener that panics at random, and is restarted by its app,
//! misses nothing and receives nothing twice that it has handled.

use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use chrome_sockets::tcp_server::AcceptInfo;
use chrome_sockets::{ClientSocketId, MAX_PANICS, ServerSocketId};

use super::*;

const CONNECTIONS: u64 = 16;
const BYTES: usize = 1 << 20;
const SEED: u64 = 0x5eed_0004;

/// One event in this many panics.
const PANICS: u64 = 60;

/// What a handler noted; `true` if it panicked afterwards, so that it will be raised again.
enum NotedEvent {
    Accept(ClientSocket),
    Data(ClientSocketId, Bytes, bool),
    End(ClientSocketId, NetError, bool),
}

/// Panics often. Its app is notified, and starts another one.
struct PanickingListener {
    random: u64,
    events: UnboundedSender<NotedEvent>,
    dies: UnboundedSender<()>,
    panics: Panics,
}

/// Panics in a row at events of each socket: a third one would end it.
type Panics = Arc<Mutex<HashMap<ClientSocketId, u32>>>;

impl Actor for PanickingListener {
    type Context = Context<Self>;
}

impl Drop for PanickingListener {
    fn drop(&mut self) {
        let _ = self.dies.send(());
    }
}

impl PanickingListener {
    fn is_random_hit(&mut self, id: ClientSocketId) -> bool {
        let hit = self.draws_panic();
        let mut panics = self.panics.lock().expect("no panic while locked");
        let panics = panics.entry(id).or_default();
        let hit = hit && *panics + 1 < MAX_PANICS;
        *panics += u32::from(hit);
        hit
    }

    fn reset_panics(&self, id: ClientSocketId) {
        let mut panics = self.panics.lock().expect("no panic while locked");
        panics.remove(&id);
    }

    fn draws_panic(&mut self) -> bool {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random.is_multiple_of(PANICS)
    }

    /// Handles an event, and panics now and then before or after.
    fn handle(&mut self, id: ClientSocketId, note: impl FnOnce(bool) -> NotedEvent) {
        assert!(!self.is_random_hit(id), "before it was handled");
        let afterwards = self.is_random_hit(id);
        let _ = self.events.send(note(afterwards));
        assert!(!afterwards, "after it was handled");
        self.reset_panics(id);
    }
}

impl Handler<AcceptInfo> for PanickingListener {
    type Result = ();

    fn handle(&mut self, info: AcceptInfo, _: &mut Self::Context) {
        let client = info.client().clone();
        assert!(
            !self.is_random_hit(client.id()),
            "before the client was touched"
        );
        self.reset_panics(client.id());
        let _ = self.events.send(NotedEvent::Accept(client));
    }
}

impl Handler<ReceiveInfo> for PanickingListener {
    type Result = ();

    fn handle(&mut self, info: ReceiveInfo, _: &mut Self::Context) {
        let (id, data) = (info.socket_id, info.data.clone());
        self.handle(id, |again| NotedEvent::Data(id, data, again));
    }
}

impl Handler<ReceiveErrorInfo> for PanickingListener {
    type Result = ();

    fn handle(&mut self, info: ReceiveErrorInfo, _: &mut Self::Context) {
        let (id, code) = (info.socket_id, info.result_code);
        self.handle(id, |again| NotedEvent::End(id, code, again));
    }
}

/// The bytes of one connection: its number first.
fn stream(number: u64) -> Vec<u8> {
    let mut random = SEED ^ (number << 32);
    let mut bytes = number.to_be_bytes().to_vec();
    while bytes.len() < BYTES {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        bytes.extend_from_slice(&random.to_be_bytes());
    }
    bytes
}

/// What arrived on one connection.
#[derive(Default)]
struct ReceivedStream {
    bytes: Vec<u8>,
    /// What a handler noted before it panicked: it is raised again next.
    again: Option<Bytes>,
    end: Option<NetError>,
}

impl ReceivedStream {
    fn add(&mut self, data: Bytes, comes_again: bool) {
        assert!(self.end.is_none(), "nothing comes after the end");
        if let Some(again) = self.again.take() {
            assert!(again == data, "it is the same as before");
        }
        match comes_again {
            true => self.again = Some(data),
            false => self.bytes.extend_from_slice(&data),
        }
    }
}

async fn subscribe(app: &App, listener: &Addr<PanickingListener>) {
    let (server, tcp) = (&app.tcp_server, &app.tcp);
    tcp.on_receive.do_add_listener(listener.clone().recipient());
    tcp.on_receive_error
        .do_add_listener(listener.clone().recipient());
    let added = server.on_accept.add_listener(listener.clone().recipient());
    added.await.expect("the registry runs");
}

async fn server(app: &App) -> (ServerSocketId, std::net::SocketAddr) {
    let server = &app.tcp_server;
    let id = server
        .create(Default::default())
        .await
        .expect("create")
        .socket_id;
    let listening = server.listen(id, "127.0.0.1", 0, None).await;
    listening.expect("listen");
    let info = server.get_info(id).await.expect("it exists");
    (id, info.local_addr().expect("it listens"))
}

#[actix_rt::test]
async fn a_listener_that_panics_at_random_receives_every_byte_in_order() {
    // The registry runs in this thread, the listeners in another one.
    let registry = chrome_sockets::Registry::new().start();
    let app = App::new("panicking", &registry);
    let (_, at) = server(&app).await;
    let arbiter = Arbiter::new();
    let (events, mut noted) = unbounded_channel();
    let (dies, mut died) = unbounded_channel();
    let keeping_listener = {
        let (app, arbiter) = (app.clone(), arbiter.handle());
        actix_rt::spawn(async move {
            let mut deaths = 0_u64;
            let panics = Panics::default();
            loop {
                let (events, dies, panics) = (events.clone(), dies.clone(), panics.clone());
                let random = SEED + deaths * 0x9e37_79b9;
                let listener =
                    PanickingListener::start_in_arbiter(&arbiter, move |_| PanickingListener {
                        random,
                        events,
                        dies,
                        panics,
                    });
                subscribe(&app, &listener).await;
                died.recv().await;
                deaths += 1;
            }
        })
    };
    let peers: Vec<_> = (0..CONNECTIONS)
        .map(|number| {
            std::thread::spawn(move || {
                let mut peer = TcpStream::connect(at).expect("it listens");
                peer.write_all(&stream(number)).expect("it is read");
                peer.shutdown(Shutdown::Write).expect("it is open");
                peer.read(&mut [0]).expect("it is closed in the end")
            })
        })
        .collect();
    let mut received = BTreeMap::<ClientSocketId, ReceivedStream>::new();
    let (mut panics, mut ended) = (0, 0);
    while ended < CONNECTIONS {
        match within("the next event", noted.recv())
            .await
            .expect("it runs")
        {
            NotedEvent::Accept(client) => {
                let before = received.insert(client.id(), ReceivedStream::default());
                assert!(before.is_none(), "it is raised once");
                client.do_set_paused(false);
            }
            NotedEvent::Data(id, data, again) => {
                panics += u32::from(again);
                received
                    .get_mut(&id)
                    .expect("accepted before")
                    .add(data, again);
            }
            NotedEvent::End(id, code, again) => {
                panics += u32::from(again);
                let received = received.get_mut(&id).expect("accepted before");
                assert_eq!(code, NetError::CONNECTION_CLOSED);
                assert!(received.again.is_none() && received.end.is_none());
                if !again {
                    received.end = Some(code);
                    ended += 1;
                    let client = app.tcp.socket(id).await.expect("it is open");
                    client.close().await.expect("it is open");
                }
            }
        }
    }
    assert!(panics > 10, "only {panics} panics: it proves nothing");
    assert_eq!(received.len() as u64, CONNECTIONS);
    for received in received.into_values() {
        let (number, _) = received.bytes.split_first_chunk().expect("its number");
        let expected = stream(u64::from_be_bytes(*number));
        assert!(
            received.bytes == expected,
            "something is missing, or too much"
        );
    }
    for peer in peers {
        assert_eq!(peer.join().expect("no panic"), 0);
    }
    keeping_listener.abort();
    arbiter.stop();
}
