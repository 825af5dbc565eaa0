//! A server that writes down what it was told of each connection.

use std::collections::{HashMap, HashSet};
use std::fmt;

use actix::prelude::*;
use bytes::Bytes;
use chrome_sockets::tcp::{ClientSocket, ReceiveErrorInfo, ReceiveInfo, SendInfo};
use chrome_sockets::tcp_server::{AcceptErrorInfo, AcceptInfo};
use chrome_sockets::{App, ClientSocketId, Error, NetError};

use super::behaviour::{Act, Acts};
use super::insist;

/// One connection, until its end is told and every call is answered.
#[derive(Default)]
struct Account {
    data: Vec<u8>,
    /// How much of it was sent back.
    echoed: usize,
    /// Calls that are not answered.
    waiting: usize,
    /// How many bytes were answered as sent.
    sent: u32,
    /// A send was told to have failed.
    failed: bool,
    end: Option<NetError>,
    /// The app ends it, and the answer to its `close` is the end.
    closes: bool,
}

/// What the app knows of a connection that is over.
#[derive(Clone, Copy, Default)]
pub struct Known {
    /// How many bytes were answered as sent.
    pub sent: u32,
    /// A send was told to have failed: it may have left in part.
    pub failed: bool,
    /// It brought all and was answered in full, as far as the app was told.
    pub whole: bool,
}

/// What was told so far.
#[derive(Clone, Default)]
pub struct Balance {
    /// Connections that have not ended.
    pub open: usize,
    /// Those that brought all and were answered in full.
    pub whole: u64,
    /// Those of which the app was told that they were not.
    pub lost: u64,
    /// Those of which it was told that they were lost before it heard of them.
    pub lost_before: u64,
    /// Each connection that brought its number.
    pub known: Vec<Option<Known>>,
}

impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Balance {
            whole,
            lost,
            lost_before,
            ..
        } = self;
        write!(
            f,
            "{whole} whole, {lost} told lost, {lost_before} before they were delivered"
        )
    }
}

pub struct Books {
    app: App,
    acts: Acts,
    /// Every other connection's events, with their credits, are kept until what
    /// they brought is answered. Not behind listeners that die: what they have
    /// handed on would come again.
    keeps_events: bool,
    open: HashMap<ClientSocketId, (ClientSocket, Account)>,
    /// Those that the app has ended, whose end may be told as well.
    closed: HashSet<ClientSocketId>,
    balance: Balance,
}

impl Books {
    pub fn new(app: App, acts: Acts, connections: u32, keeps_events: bool) -> Self {
        Books {
            app,
            acts,
            keeps_events,
            open: HashMap::new(),
            closed: HashSet::new(),
            balance: Balance {
                known: vec![None; connections as usize],
                ..Balance::default()
            },
        }
    }

    fn account(&mut self, id: ClientSocketId) -> &mut Account {
        let open = self.open.get_mut(&id);
        &mut open
            .expect("nothing comes of a connection that was not delivered, or has ended")
            .1
    }

    /// Closes the account if nothing more is to come.
    fn settle(&mut self, id: ClientSocketId) {
        let account = self.account(id);
        let is_over = account.closes || account.end.is_some();
        if account.waiting > 0 || !is_over {
            return;
        }
        let Some((client, account)) = self.open.remove(&id) else {
            return;
        };
        match account.closes {
            true => drop(self.closed.insert(id)),
            false => drop(actix_rt::spawn(close(client))),
        }
        let Some(number) = number(&account.data) else {
            self.balance.lost += 1;
            return;
        };
        let input = self.acts.input(number);
        assert!(input.starts_with(&account.data), "as it was sent");
        let all = account.closes || input.len() == account.data.len();
        let ends = [None, Some(NetError::CONNECTION_CLOSED)];
        let whole = all && !account.failed && ends.contains(&account.end);
        match whole {
            true => self.balance.whole += 1,
            false => self.balance.lost += 1,
        }
        let known = Known {
            sent: account.sent,
            failed: account.failed,
            whole,
        };
        let before = self.balance.known[number as usize].replace(known);
        assert!(before.is_none(), "it is delivered once");
    }
}

/// The connection's number, if that much has come.
fn number(data: &[u8]) -> Option<u32> {
    data.first_chunk().map(|it| u32::from_be_bytes(*it))
}

async fn close(client: ClientSocket) {
    insist(async || match client.close().await {
        Err(Error::SocketNotFound) => Ok(()),
        closed => closed,
    })
    .await;
}

impl Actor for Books {
    type Context = Context<Self>;
}

impl Handler<AcceptInfo> for Books {
    type Result = ();

    fn handle(&mut self, info: AcceptInfo, _: &mut Self::Context) {
        let client = info.client().clone();
        let known = (client.clone(), Account::default());
        let before = self.open.insert(client.id(), known);
        assert!(before.is_none(), "it is delivered once");
        actix_rt::spawn(async move {
            insist(async || client.set_paused(false).await).await;
        });
    }
}

impl Handler<AcceptErrorInfo> for Books {
    type Result = ();

    fn handle(&mut self, info: AcceptErrorInfo, _: &mut Self::Context) {
        assert_eq!(info.missed, 0);
        if info.errno.is_none() && info.result_code == NetError::FAILED {
            self.balance.lost_before += 1;
        }
        let tcp_server = self.app.tcp_server.clone();
        actix_rt::spawn(async move {
            insist(async || tcp_server.set_paused(info.socket_id, false).await).await;
        });
    }
}

impl Handler<ReceiveInfo> for Books {
    type Result = ();

    fn handle(&mut self, info: ReceiveInfo, ctx: &mut Self::Context) {
        let (acts, id) = (self.acts, info.socket_id);
        let client = info.client().clone();
        let account = self.account(id);
        assert!(account.end.is_none(), "nothing comes after the end");
        account.data.extend_from_slice(&info.data);
        let Some(number) = number(&account.data).filter(|_| !account.closes) else {
            return;
        };
        account.waiting += 1;
        let books = ctx.address();
        if acts.of(number) == Act::CloseOnUnread {
            account.closes = true;
            // Both are called before the event is handled, so before an end
            // that stands behind it can be told.
            let paused = client.set_paused(true);
            let answer = client.send(Bytes::from(acts.output(number)));
            actix_rt::spawn(async move {
                if paused.await.is_err() {
                    insist(async || client.set_paused(true).await).await;
                }
                let answer = answer.await;
                close(client).await;
                books.do_send(Sent(id, answer));
            });
            return;
        }
        let data = Bytes::copy_from_slice(&account.data[account.echoed..]);
        account.echoed = account.data.len();
        let answer = client.send(data);
        let held = (self.keeps_events && number.is_multiple_of(2)).then_some(info);
        actix_rt::spawn(async move {
            books.do_send(Sent(id, answer.await));
            drop(held);
        });
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Sent(ClientSocketId, Result<SendInfo, Error>);

impl Handler<Sent> for Books {
    type Result = ();

    fn handle(&mut self, Sent(id, sent): Sent, _: &mut Self::Context) {
        let account = self.account(id);
        account.waiting -= 1;
        match sent {
            Ok(sent) => account.sent += sent.bytes_sent as u32,
            Err(_) => account.failed = true,
        }
        self.settle(id);
    }
}

impl Handler<ReceiveErrorInfo> for Books {
    type Result = ();

    fn handle(&mut self, info: ReceiveErrorInfo, _: &mut Self::Context) {
        if self.closed.contains(&info.socket_id) {
            return;
        }
        let account = self.account(info.socket_id);
        assert_eq!(account.end.replace(info.result_code), None, "it ends once");
        self.settle(info.socket_id);
    }
}

#[derive(Message)]
#[rtype(result = "Balance")]
pub struct TakeBalance;

impl Handler<TakeBalance> for Books {
    type Result = MessageResult<TakeBalance>;

    fn handle(&mut self, _: TakeBalance, _: &mut Self::Context) -> Self::Result {
        self.balance.open = self.open.len();
        MessageResult(match self.balance.open {
            0 => self.balance.clone(),
            open => Balance {
                open,
                ..Balance::default()
            },
        })
    }
}
