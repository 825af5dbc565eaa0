//! A server that records everything it learns of each connection.

use std::collections::{HashMap, HashSet};
use std::fmt;

use actix::prelude::*;
use bytes::Bytes;
use chrome_sockets::tcp::{ClientSocket, ReceiveErrorInfo, ReceiveInfo, SendInfo};
use chrome_sockets::tcp_server::{AcceptErrorInfo, AcceptInfo};
use chrome_sockets::{App, ClientSocketId, Error, NetError};

use super::behaviour::{Behaviour, Behaviours};
use super::retry_panics;

/// A connection whose end was not reported yet, or that has unanswered calls.
#[derive(Default)]
struct OpenConnection {
    data: Vec<u8>,
    /// How many bytes of `data` were sent back.
    echoed: usize,
    /// Number of unanswered calls.
    waiting: usize,
    /// How many bytes were answered as sent.
    sent: u32,
    /// A send failed.
    failed: bool,
    end: Option<NetError>,
    /// The app closes the connection, so the answer to `close` is its end.
    closes: bool,
}

/// What the app knows of a connection that ended.
#[derive(Clone, Copy, Default)]
pub struct Outcome {
    /// How many bytes were answered as sent.
    pub sent: u32,
    /// A send failed; it may have been written in part.
    pub failed: bool,
    /// All data arrived and all of the answer was sent, as far as the app knows.
    pub complete: bool,
}

/// Counts of all connections so far.
#[derive(Clone, Default)]
pub struct Totals {
    /// Connections that have not ended.
    pub open: usize,
    /// Connections on which everything arrived and was answered.
    pub complete: u64,
    /// Connections that the app knows were not complete.
    pub lost: u64,
    /// Connections that were reported lost before `onAccept`.
    pub lost_before: u64,
    /// Each connection whose number arrived.
    pub outcome: Vec<Option<Outcome>>,
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Totals {
            complete,
            lost,
            lost_before,
            ..
        } = self;
        write!(
            f,
            "{complete} complete, {lost} reported lost, {lost_before} before they were delivered"
        )
    }
}

pub struct Recorder {
    app: App,
    behaviours: Behaviours,
    /// Keeps every other connection's events, with their credits, until their data is answered.
    /// Not behind listeners that die: events that those passed on would be raised again.
    keeps_events: bool,
    open: HashMap<ClientSocketId, (ClientSocket, OpenConnection)>,
    /// Connections that the app closed; their end may still be reported.
    closed: HashSet<ClientSocketId>,
    totals: Totals,
}

impl Recorder {
    pub fn new(app: App, behaviours: Behaviours, connections: u32, keeps_events: bool) -> Self {
        Recorder {
            app,
            behaviours,
            keeps_events,
            open: HashMap::new(),
            closed: HashSet::new(),
            totals: Totals {
                outcome: vec![None; connections as usize],
                ..Totals::default()
            },
        }
    }

    fn open_connection(&mut self, id: ClientSocketId) -> &mut OpenConnection {
        let open = self.open.get_mut(&id);
        &mut open
            .expect("events come only for delivered, open connections")
            .1
    }

    /// Removes the connection if no event or answer is outstanding.
    fn finish_if_complete(&mut self, id: ClientSocketId) {
        let connection = self.open_connection(id);
        let is_over = connection.closes || connection.end.is_some();
        if connection.waiting > 0 || !is_over {
            return;
        }
        let Some((client, connection)) = self.open.remove(&id) else {
            return;
        };
        match connection.closes {
            true => drop(self.closed.insert(id)),
            false => drop(actix_rt::spawn(close(client))),
        }
        let Some(number) = number(&connection.data) else {
            self.totals.lost += 1;
            return;
        };
        let input = self.behaviours.input(number);
        assert!(input.starts_with(&connection.data), "received as sent");
        let all = connection.closes || input.len() == connection.data.len();
        let ends = [None, Some(NetError::CONNECTION_CLOSED)];
        let complete = all && !connection.failed && ends.contains(&connection.end);
        match complete {
            true => self.totals.complete += 1,
            false => self.totals.lost += 1,
        }
        let outcome = Outcome {
            sent: connection.sent,
            failed: connection.failed,
            complete,
        };
        let before = self.totals.outcome[number as usize].replace(outcome);
        assert!(before.is_none(), "it is delivered once");
    }
}

/// The number of the connection, if enough bytes have arrived.
fn number(data: &[u8]) -> Option<u32> {
    data.first_chunk().map(|it| u32::from_be_bytes(*it))
}

async fn close(client: ClientSocket) {
    retry_panics(async || match client.close().await {
        Err(Error::SocketNotFound) => Ok(()),
        closed => closed,
    })
    .await;
}

impl Actor for Recorder {
    type Context = Context<Self>;
}

impl Handler<AcceptInfo> for Recorder {
    type Result = ();

    fn handle(&mut self, info: AcceptInfo, _: &mut Self::Context) {
        let client = info.client().clone();
        let outcome = (client.clone(), OpenConnection::default());
        let before = self.open.insert(client.id(), outcome);
        assert!(before.is_none(), "it is delivered once");
        actix_rt::spawn(async move {
            retry_panics(async || client.set_paused(false).await).await;
        });
    }
}

impl Handler<AcceptErrorInfo> for Recorder {
    type Result = ();

    fn handle(&mut self, info: AcceptErrorInfo, _: &mut Self::Context) {
        assert_eq!(info.missed, 0);
        if info.errno.is_none() && info.result_code == NetError::FAILED {
            self.totals.lost_before += 1;
        }
        let tcp_server = self.app.tcp_server.clone();
        actix_rt::spawn(async move {
            retry_panics(async || tcp_server.set_paused(info.socket_id, false).await).await;
        });
    }
}

impl Handler<ReceiveInfo> for Recorder {
    type Result = ();

    fn handle(&mut self, info: ReceiveInfo, ctx: &mut Self::Context) {
        let (behaviours, id) = (self.behaviours, info.socket_id);
        let client = info.client().clone();
        let connection = self.open_connection(id);
        assert!(connection.end.is_none(), "nothing comes after the end");
        connection.data.extend_from_slice(&info.data);
        let Some(number) = number(&connection.data).filter(|_| !connection.closes) else {
            return;
        };
        connection.waiting += 1;
        let recorder = ctx.address();
        if behaviours.of(number) == Behaviour::CloseOnUnread {
            connection.closes = true;
            // Both calls are made before the event is handled, so they precede an end behind it.
            let paused = client.set_paused(true);
            let answer = client.send(Bytes::from(behaviours.output(number)));
            actix_rt::spawn(async move {
                if paused.await.is_err() {
                    retry_panics(async || client.set_paused(true).await).await;
                }
                let answer = answer.await;
                close(client).await;
                recorder.do_send(Sent(id, answer));
            });
            return;
        }
        let data = Bytes::copy_from_slice(&connection.data[connection.echoed..]);
        connection.echoed = connection.data.len();
        let answer = client.send(data);
        let held = (self.keeps_events && number.is_multiple_of(2)).then_some(info);
        actix_rt::spawn(async move {
            recorder.do_send(Sent(id, answer.await));
            drop(held);
        });
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Sent(ClientSocketId, Result<SendInfo, Error>);

impl Handler<Sent> for Recorder {
    type Result = ();

    fn handle(&mut self, Sent(id, sent): Sent, _: &mut Self::Context) {
        let connection = self.open_connection(id);
        connection.waiting -= 1;
        match sent {
            Ok(sent) => connection.sent += sent.bytes_sent as u32,
            Err(_) => connection.failed = true,
        }
        self.finish_if_complete(id);
    }
}

impl Handler<ReceiveErrorInfo> for Recorder {
    type Result = ();

    fn handle(&mut self, info: ReceiveErrorInfo, _: &mut Self::Context) {
        if self.closed.contains(&info.socket_id) {
            return;
        }
        let connection = self.open_connection(info.socket_id);
        assert_eq!(
            connection.end.replace(info.result_code),
            None,
            "it ends once"
        );
        self.finish_if_complete(info.socket_id);
    }
}

#[derive(Message)]
#[rtype(result = "Totals")]
pub struct GetTotals;

impl Handler<GetTotals> for Recorder {
    type Result = MessageResult<GetTotals>;

    fn handle(&mut self, _: GetTotals, _: &mut Self::Context) -> Self::Result {
        self.totals.open = self.open.len();
        MessageResult(match self.totals.open {
            0 => self.totals.clone(),
            open => Totals {
                open,
                ..Totals::default()
            },
        })
    }
}
