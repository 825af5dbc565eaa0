//! A client that shuts its writing side gets the whole answer, whichever arbiter its listener is
//! in.

use chrome_sockets::App;
use chrome_sockets::tcp::{ClientSocket, ReceiveErrorInfo};
use chrome_sockets::tcp_server::AcceptInfo;
use tokio::task::JoinSet;

use super::*;

/// Number of clients at the same time.
const AT_ONCE: usize = 100;

/// How a handler sends back what it received.
#[derive(Clone, Copy)]
enum ReplyMode {
    /// It takes the data out first.
    IntoData,
    /// It keeps the event, with its credit, until it has called `send`.
    Holding,
    /// The same, with calls by socket id.
    ById,
}

/// Sends back what it received, and closes at the end.
struct Replier {
    app: App,
    mode: ReplyMode,
    failed: UnboundedSender<String>,
}

impl Actor for Replier {
    type Context = Context<Self>;
}

impl Replier {
    fn check(
        &self,
        client: ClientSocket,
        answer: chrome_sockets::Answer<chrome_sockets::tcp::SendInfo>,
    ) {
        let failed = self.failed.clone();
        actix_rt::spawn(async move {
            if let Err(error) = answer.await {
                // The receiver is gone when the test has ended.
                let _ = failed.send(format!("{}: {error}", client.id()));
            }
        });
    }
}

impl Handler<AcceptInfo> for Replier {
    type Result = ();

    fn handle(&mut self, info: AcceptInfo, _: &mut Self::Context) {
        match self.mode {
            ReplyMode::ById => self.app.tcp.do_set_paused(info.client_socket_id, false),
            _ => info.client().do_set_paused(false),
        };
    }
}

impl Handler<ReceiveInfo> for Replier {
    type Result = ();

    fn handle(&mut self, info: ReceiveInfo, _: &mut Self::Context) {
        let client = info.client().clone();
        let answer = match self.mode {
            ReplyMode::IntoData => client.send(info.into_data()),
            ReplyMode::Holding => client.send(info.data.clone()),
            ReplyMode::ById => self.app.tcp.send(client.id(), info.data.clone()),
        };
        self.check(client, answer);
    }
}

impl Handler<ReceiveErrorInfo> for Replier {
    type Result = ();

    fn handle(&mut self, info: ReceiveErrorInfo, _: &mut Self::Context) {
        match self.mode {
            ReplyMode::ById => self.app.tcp.do_close(info.socket_id),
            _ => info.client().do_close(),
        };
    }
}

async fn half_close(arbiters: usize, mode: ReplyMode, clients: usize) {
    let test = TestApp::on(Registry::new().arbiters(arbiters)).await;
    let (server, tcp) = (&test.app.tcp_server, &test.app.tcp);
    server
        .on_accept
        .do_remove_listener(test.listener.clone().recipient());
    tcp.on_receive
        .do_remove_listener(test.listener.clone().recipient());
    tcp.on_receive_error
        .do_remove_listener(test.listener.clone().recipient());
    let (failed, mut failures) = unbounded_channel();
    let elsewhere = Arbiter::new();
    let app = test.app.clone();
    let answerer = Replier { app, mode, failed };
    let answerer = Replier::start_in_arbiter(&elsewhere.handle(), |_| answerer);
    server
        .on_accept
        .do_add_listener(answerer.clone().recipient());
    tcp.on_receive_error
        .do_add_listener(answerer.clone().recipient());
    let added = tcp.on_receive.add_listener(answerer.recipient());
    added.await.expect("the registry runs");
    let (_, at) = test.listen().await;

    let mut running = JoinSet::new();
    let mut short = 0;
    for number in 0..clients {
        if running.len() == AT_ONCE {
            short += running
                .join_next()
                .await
                .expect("a running task")
                .expect("it runs");
        }
        running.spawn_local(async move {
            let request = format!("request {number}");
            let mut peer = dial(at).await;
            write(&mut peer, request.as_bytes()).await;
            peer.shutdown().await.expect("its side ends");
            let mut answer = Vec::new();
            let end = within("the end", peer.read_to_end(&mut answer)).await;
            end.expect("a clean end");
            usize::from(answer != request.as_bytes())
        });
    }
    while let Some(done) = running.join_next().await {
        short += done.expect("it runs");
    }
    let failures: Vec<_> = std::iter::from_fn(|| failures.try_recv().ok()).collect();
    assert_eq!(short, 0, "of {clients} had no answer: {failures:?}");
    assert!(failures.is_empty(), "{failures:?}");
    elsewhere.stop();
}

#[actix_rt::test]
async fn a_reply_sent_while_taking_the_data_out_arrives() {
    half_close(1, ReplyMode::IntoData, 4_000).await;
    half_close(3, ReplyMode::IntoData, 4_000).await;
}

#[actix_rt::test]
async fn a_reply_sent_before_dropping_the_event_arrives() {
    half_close(1, ReplyMode::Holding, 10_000).await;
    half_close(3, ReplyMode::Holding, 10_000).await;
}

#[actix_rt::test]
async fn a_reply_sent_by_socket_id_arrives() {
    half_close(1, ReplyMode::ById, 4_000).await;
    half_close(3, ReplyMode::ById, 4_000).await;
}
