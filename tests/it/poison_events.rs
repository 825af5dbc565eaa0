//! A client whose data makes the app's handler panic stops no other client: the app's supervisor
//! starts another listener, and the third panic ends that client.

mod other_events;
mod panic_count;

use std::net::SocketAddr;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use actix::prelude::*;
use chrome_sockets::lifecycle::EventPage;
use chrome_sockets::tcp::{ReceiveErrorInfo, ReceiveInfo};
use chrome_sockets::tcp_server::AcceptInfo;
use chrome_sockets::{App, MAX_PANICS, NetError, Registry, tcp_server};
use support::{TestApp, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const HONEST: usize = 20;

const POISON: &[u8] = b"poison";

/// What all listeners of an app share.
#[derive(Default)]
struct Shared {
    panics: AtomicUsize,
    third: Mutex<Option<Instant>>,
    ends: Mutex<Vec<NetError>>,
}

impl Shared {
    fn panic(&self) -> ! {
        if self.panics.fetch_add(1, SeqCst) + 1 == MAX_PANICS as usize {
            *self.third.lock().expect("no panic while locked") = Some(Instant::now());
        }
        panic!("this input is poison");
    }

    fn panics(&self) -> usize {
        self.panics.load(SeqCst)
    }

    fn ends(&self) -> Vec<NetError> {
        self.ends.lock().expect("no panic while locked").clone()
    }
}

/// Starts another service when one dies.
struct Supervisor {
    app: App,
    shared: Arc<Shared>,
}

impl Actor for Supervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.notify(Died);
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Died;

impl Handler<Died> for Supervisor {
    type Result = ();

    fn handle(&mut self, _: Died, ctx: &mut Self::Context) {
        let service = EchoService {
            shared: self.shared.clone(),
            supervisor: Some(ctx.address().recipient()),
        };
        listen(&self.app, &service.start());
    }
}

fn listen(app: &App, service: &Addr<EchoService>) {
    let (tcp, server) = (&app.tcp, &app.tcp_server);
    tcp.on_receive.do_add_listener(service.clone().recipient());
    let ends = &tcp.on_receive_error;
    ends.do_add_listener(service.clone().recipient());
    server
        .on_accept
        .do_add_listener(service.clone().recipient());
}

/// Echoes data, and panics at poisonous data.
struct EchoService {
    shared: Arc<Shared>,
    supervisor: Option<Recipient<Died>>,
}

impl Actor for EchoService {
    type Context = Context<Self>;
}

impl Drop for EchoService {
    fn drop(&mut self) {
        if let Some(supervisor) = &self.supervisor {
            supervisor.do_send(Died);
        }
    }
}

impl Handler<AcceptInfo> for EchoService {
    type Result = ();

    fn handle(&mut self, info: AcceptInfo, _: &mut Self::Context) {
        info.client().do_set_paused(false);
    }
}

impl Handler<ReceiveInfo> for EchoService {
    type Result = ();

    fn handle(&mut self, info: ReceiveInfo, _: &mut Self::Context) {
        if &*info.data == POISON {
            self.shared.panic();
        }
        // The client may be gone.
        let _ = info.client().clone().forward(info);
    }
}

impl Handler<ReceiveErrorInfo> for EchoService {
    type Result = ();

    fn handle(&mut self, info: ReceiveErrorInfo, _: &mut Self::Context) {
        let mut ends = self.shared.ends.lock().expect("no panic while locked");
        ends.push(info.result_code);
    }
}

async fn dial(at: SocketAddr) -> TcpStream {
    within("a connection", TcpStream::connect(at))
        .await
        .expect("it listens")
}

async fn echo(peer: &mut TcpStream, text: &[u8]) {
    let mut answer = vec![0; text.len()];
    let round = async {
        peer.write_all(text).await?;
        peer.read_exact(&mut answer).await
    };
    within("an echo", round).await.expect("it is open");
    assert_eq!(answer, text);
}

/// Sends and expects echoes until `stop`. Returns the largest number of listener panics between
/// a send and its echo.
async fn honest_client(mut peer: TcpStream, shared: Arc<Shared>, stop: Arc<AtomicBool>) -> usize {
    let mut most = 0;
    let mut last = false;
    while !last {
        // One more round after `stop`.
        last = stop.load(SeqCst);
        let before = shared.panics();
        echo(&mut peer, b"honest").await;
        most = most.max(shared.panics() - before);
    }
    most
}

async fn ends_of(mut peer: TcpStream) {
    let mut rest = Vec::new();
    // A reset is an end, too.
    let _ = within("its end", peer.read_to_end(&mut rest)).await;
    assert!(rest.is_empty());
}

/// The app's server socket, and what its listeners recorded.
struct Fixture {
    app: App,
    at: SocketAddr,
    shared: Arc<Shared>,
    _test_app: TestApp,
}

impl Fixture {
    async fn new(test: TestApp) -> Self {
        let app = test.app.clone();
        test.remove_listener().await;
        let (id, at) = test.listen().await;
        let persistent = tcp_server::SocketProperties {
            persistent: Some(true),
            ..Default::default()
        };
        let updated = app.tcp_server.update(id, persistent).await;
        updated.expect("it exists");
        Fixture {
            app,
            at,
            shared: Arc::default(),
            _test_app: test,
        }
    }

    fn supervise(&self, arbiter: Option<&Arbiter>) {
        let (app, shared) = (self.app.clone(), self.shared.clone());
        match arbiter {
            None => {
                Supervisor { app, shared }.start();
            }
            Some(arbiter) => {
                Supervisor::start_in_arbiter(&arbiter.handle(), |_| Supervisor { app, shared });
            }
        }
    }

    /// One poisonous client, which connects first, and honest ones that send in the meantime.
    async fn check(&self) {
        let mut bad = dial(self.at).await;
        echo(&mut bad, b"the first word").await;
        let stop = Arc::new(AtomicBool::new(false));
        let mut others = Vec::new();
        for _ in 0..HONEST {
            let mut peer = dial(self.at).await;
            echo(&mut peer, b"hello").await;
            let talk = honest_client(peer, self.shared.clone(), stop.clone());
            others.push(actix_rt::spawn(talk));
        }
        bad.write_all(POISON).await.expect("it is open");
        ends_of(bad).await;
        stop.store(true, SeqCst);
        for other in others {
            let delayed = within("an honest client's last answer", other).await;
            let delayed = delayed.expect("it was answered");
            assert!(delayed <= 1, "an answer took {delayed} restarts");
        }
        let third = *self.shared.third.lock().expect("no panic while locked");
        let since = third.expect("it has panicked three times").elapsed();
        println!("all are served {since:?} after the third panic");
        assert!(since < support::LIMIT);
        assert_eq!(self.shared.panics(), MAX_PANICS as usize);
        let failed = |shared: &Shared| {
            let ends = shared.ends();
            ends.iter().filter(|end| **end == NetError::FAILED).count()
        };
        until("the end", || failed(&self.shared) > 0).await;
        assert_eq!(failed(&self.shared), 1);
        // The server socket and the listener still work.
        echo(&mut dial(self.at).await, b"are you there?").await;
    }
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    within(what, async {
        while !holds() {
            actix_rt::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    })
    .await;
}

#[actix_rt::test]
async fn one_poisonous_client_delays_no_other_by_more_than_one_restart() {
    let fixture = Fixture::new(TestApp::new().await).await;
    fixture.supervise(None);
    fixture.check().await;
}

#[actix_rt::test]
async fn one_poisonous_client_delays_no_other_with_the_listener_in_another_arbiter() {
    let fixture = Fixture::new(TestApp::new().await).await;
    let arbiter = Arbiter::new();
    fixture.supervise(Some(&arbiter));
    fixture.check().await;
    arbiter.stop();
}

#[actix_rt::test]
async fn one_poisonous_client_delays_no_other_with_client_sockets_in_three_arbiters() {
    let fixture = Fixture::new(TestApp::on(Registry::new().arbiters(3)).await).await;
    let arbiter = Arbiter::new();
    fixture.supervise(Some(&arbiter));
    fixture.check().await;
    arbiter.stop();
}

#[actix_rt::test]
async fn one_poisonous_client_delays_no_other_with_an_event_page_as_supervisor() {
    let fixture = Fixture::new(TestApp::new().await).await;
    let shared = fixture.shared.clone();
    let page = EventPage::new(move |app: App| {
        let shared = shared.clone();
        async move {
            let supervisor = None;
            listen(&app, &EchoService { shared, supervisor }.start());
            app.tcp.on_receive.has_listeners().await.map(drop)
        }
    });
    let set = fixture.app.set_event_page(Some(page)).await;
    set.expect("the registry runs");
    fixture.app.suspend().await.expect("nothing is on its way");
    fixture.app.resume().await.expect("the page starts");
    fixture.check().await;
}
