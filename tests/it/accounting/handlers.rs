//! Handlers of connections that panic and stop at random: each ends its own connection only, and
//! every other byte is accounted for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use chrome_sockets::tcp::{ClientSocket, ReceiveErrorInfo, ReceiveInfo};
use chrome_sockets::{ClientSocketId, NetError};

use super::*;

/// Number of connections.
const CONNECTIONS: u32 = 3_000;

/// What the handler of a connection does, chosen by the connection's number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Echo,
    /// It panics at the first data, before it has sent anything.
    PanicAtOnce,
    /// It echoes the first half at least, and panics at later data.
    PanicLater,
    /// It has echoed everything, and panics when the connection has ended.
    PanicAtEnd,
    /// It echoes the first data, and stops.
    Stop,
}

impl Fate {
    fn of(number: u32) -> Self {
        match (number ^ seed()).wrapping_mul(0x9e37_79b9) >> 24 {
            0..=7 => Fate::PanicAtOnce,
            8..=15 => Fate::PanicLater,
            16..=23 => Fate::PanicAtEnd,
            24..=31 => Fate::Stop,
            _ => Fate::Echo,
        }
    }
}

/// What all handlers and the app's listener have learned.
#[derive(Default)]
struct Ledger {
    /// The numbers of the connections, by the ids of their sockets.
    numbers: HashMap<ClientSocketId, u32>,
    /// How many bytes were given to `try_send`, and whether the end was reported to the handler.
    handled: HashMap<u32, (u32, Option<NetError>)>,
    /// The ids of the sockets whose end was reported to the app's listener.
    reported: Vec<ClientSocketId>,
    dropped: u32,
}

type Shared = Arc<Mutex<Ledger>>;

/// The ledger, also behind the panic of a handler.
fn open(ledger: &Shared) -> std::sync::MutexGuard<'_, Ledger> {
    ledger
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

struct ConnectionHandler {
    client: ClientSocket,
    data: Vec<u8>,
    sent: usize,
    ledger: Shared,
}

impl Actor for ConnectionHandler {
    type Context = Context<Self>;
}

impl Handler<ReceiveInfo> for ConnectionHandler {
    type Result = ();

    fn handle(&mut self, info: ReceiveInfo, ctx: &mut Self::Context) {
        assert_eq!(info.client(), &self.client);
        self.data.extend_from_slice(&info.data);
        let Some(number) = self.data.first_chunk().map(|it| u32::from_be_bytes(*it)) else {
            return;
        };
        open(&self.ledger).numbers.insert(self.client.id(), number);
        match Fate::of(number) {
            Fate::PanicAtOnce => panic!("injected panic of a handler"),
            Fate::PanicLater if self.sent > 0 => panic!("injected panic of a handler"),
            Fate::Stop => ctx.stop(),
            _ => {}
        }
        let rest = bytes::Bytes::copy_from_slice(&self.data[self.sent..]);
        self.sent = self.data.len();
        let is_sent = self.client.try_send(rest).is_ok();
        if is_sent {
            let mut ledger = open(&self.ledger);
            ledger.handled.entry(number).or_default().0 = self.sent as u32;
        }
    }
}

impl Handler<ReceiveErrorInfo> for ConnectionHandler {
    type Result = ();

    fn handle(&mut self, info: ReceiveErrorInfo, _: &mut Self::Context) {
        assert_eq!(info.client(), &self.client);
        let number = self.data.first_chunk().map(|it| u32::from_be_bytes(*it));
        let number = number.expect("each peer sends all of its data");
        {
            let mut ledger = open(&self.ledger);
            let handled = ledger.handled.entry(number).or_default();
            let before = handled.1.replace(info.result_code);
            assert_eq!(before, None, "it ends once");
        }
        assert_ne!(Fate::of(number), Fate::PanicAtEnd, "injected panic");
    }
}

impl Drop for ConnectionHandler {
    fn drop(&mut self) {
        open(&self.ledger).dropped += 1;
    }
}

/// The app's listener.
struct Reports(Shared);

impl Actor for Reports {
    type Context = Context<Self>;
}

impl Handler<ReceiveErrorInfo> for Reports {
    type Result = ();

    fn handle(&mut self, info: ReceiveErrorInfo, _: &mut Self::Context) {
        assert_eq!(info.result_code, NetError::FAILED);
        open(&self.0).reported.push(info.socket_id);
    }
}

/// Sends the first half, reads the start of the echo, and sends the rest. Returns what came back,
/// and whether the end was clean.
async fn handled_peer(number: u32, at: (Ipv4Addr, u16)) -> PeerResult {
    let connected = within("a connection", TcpStream::connect(at)).await;
    let mut peer = connected.expect("nothing fails but handlers");
    let input = pattern(number);
    let (first, rest) = input.split_at(input.len() / 2);
    let mut back = Vec::new();
    let wrote = peer.write_all(first).await;
    // The rest is an event of its own.
    let answered = within("the echo", peer.read_buf(&mut back)).await;
    if wrote.is_ok() && matches!(answered, Ok(1..)) {
        let _ = peer.write_all(rest).await;
        let _ = peer.shutdown().await;
    }
    let end = within("the end", peer.read_to_end(&mut back)).await;
    assert!(input.starts_with(&back), "{number} got {back:?}");
    PeerResult {
        bytes: back.len() as u32,
        reset: end.is_err() || answered.is_err(),
    }
}

async fn account(arbiters: usize, shares_port: bool) {
    let connections = setting("ACCOUNT_CONNECTIONS", CONNECTIONS);
    println!("ACCOUNT_SEED={} ACCOUNT_CONNECTIONS={connections}", seed());
    let registry = Registry::new().arbiters(arbiters).start();
    let app = App::new("account", &registry);
    let ledger = Shared::default();
    let reports = Reports(ledger.clone()).start();
    let added = app.tcp.on_receive_error.add_listener(reports.recipient());
    added.await.expect("it runs");
    let server = app.tcp_server.create(Default::default()).await;
    let server = server.expect("create").socket_id;
    let shared = ledger.clone();
    let serving = app
        .tcp_server
        .serve(server, move |_, client| ConnectionHandler {
            client,
            data: Vec::new(),
            sent: 0,
            ledger: shared.clone(),
        });
    serving.await.expect("it exists");
    let sharing = app.tcp_server.set_reuse_port(server, shares_port);
    sharing.await.expect("it exists");
    let listening = app.tcp_server.listen(server, "0.0.0.0", 0, None);
    listening.await.expect("listen");
    let info = app.tcp_server.get_info(server).await.expect("it exists");
    let port = info.local_addr().expect("it listens").port();

    let mut received = vec![PeerResult::default(); connections as usize];
    let mut running = tokio::task::JoinSet::new();
    for number in 0..connections {
        if running.len() == AT_ONCE {
            let done = running.join_next().await.expect("a running task");
            let (number, it) = done.expect("it runs");
            received[number as usize] = it;
        }
        let at = Ipv4Addr::new(127, 0, 0, 1 + (number % 128) as u8);
        running.spawn_local(async move { (number, handled_peer(number, (at, port)).await) });
    }
    while let Some(done) = running.join_next().await {
        let (number, it) = done.expect("it runs");
        received[number as usize] = it;
    }
    within("the end of every handler and of every socket", async {
        while open(&ledger).dropped < connections
            || !app.tcp.get_sockets().await.expect("it runs").is_empty()
        {
            actix_rt::task::yield_now().await;
        }
    })
    .await;
    // Behind every report.
    app.tcp.get_sockets().await.expect("it runs");
    let info = app.tcp_server.get_info(server).await.expect("it exists");
    assert_eq!(info.counts.accepted, u64::from(connections));
    assert_eq!(info.counts.delivered, u64::from(connections));

    let panics = (0..connections).filter(|number| {
        let panics = [Fate::PanicAtOnce, Fate::PanicLater, Fate::PanicAtEnd];
        panics.contains(&Fate::of(*number))
    });
    let panics = panics.count();
    within("every report", async {
        while open(&ledger).reported.len() < panics {
            actix_rt::task::yield_now().await;
        }
    })
    .await;
    let ledger = open(&ledger);
    let mut reported: Vec<_> = ledger
        .reported
        .iter()
        .map(|id| ledger.numbers[id])
        .collect();
    reported.sort_unstable();
    let mut counts = HashMap::<_, u32>::new();
    for (number, received) in (0..).zip(&received) {
        let fate = Fate::of(number);
        let (sent, end) = ledger.handled.get(&number).copied().unwrap_or_default();
        let all = pattern(number).len() as u32;
        let is_reported = reported.binary_search(&number).is_ok();
        let what = format!("{number} {fate:?}: {received:?}, sent {sent}, {end:?}");
        *counts.entry(format!("{fate:?}")).or_default() += 1;
        match fate {
            Fate::Echo | Fate::PanicAtEnd => {
                assert!(!received.reset, "{what}");
                assert_eq!((received.bytes, sent), (all, all), "{what}");
                assert_eq!(end, Some(NetError::CONNECTION_CLOSED), "{what}");
                assert_eq!(is_reported, fate == Fate::PanicAtEnd, "{what}");
            }
            Fate::PanicAtOnce => {
                assert_eq!((received.bytes, sent), (0, 0), "{what}");
                assert_eq!((end, is_reported), (None, true), "{what}");
            }
            Fate::PanicLater => {
                assert!(sent >= all / 2 && sent < all, "{what}");
                assert_eq!(received.bytes, sent, "{what}");
                assert_eq!((end, is_reported), (None, true), "{what}");
            }
            Fate::Stop => {
                assert!(!received.reset && sent >= all / 2, "{what}");
                assert_eq!(received.bytes, sent, "{what}");
                assert_eq!((end, is_reported), (None, false), "{what}");
            }
        }
    }
    println!("{counts:?}, {} reported", reported.len());
    assert_eq!(reported.len(), panics, "each panic once");
    assert_eq!(counts.len(), 5, "it proves little");
}

#[actix_rt::test]
async fn a_handler_that_panics_loses_its_own_connection_only() {
    account(1, false).await;
}

#[actix_rt::test]
async fn a_handler_that_panics_on_three_arbiters_loses_its_own_connection_only() {
    account(3, false).await;
}

#[actix_rt::test]
async fn a_handler_that_panics_behind_a_shared_port_loses_its_own_connection_only() {
    account(3, true).await;
}
