//! An echo server that writes down what it was told of each connection.

use std::collections::HashMap;
use std::fmt;

use actix::prelude::*;
use chrome_sockets::tcp::{ClientSocket, ReceiveErrorInfo, ReceiveInfo, SendInfo};
use chrome_sockets::tcp_server::{AcceptErrorInfo, AcceptInfo};
use chrome_sockets::{App, ClientSocketId, Error, NetError};

use super::{insist, pattern};

/// One connection, until its end is told and every send is answered.
#[derive(Default)]
struct Account {
    data: Vec<u8>,
    /// Sends that are not answered.
    waiting: usize,
    /// A send was told to have failed.
    failed: bool,
    end: Option<NetError>,
}

/// What was told so far.
#[derive(Clone, Default)]
pub struct Balance {
    /// Connections that have not ended.
    pub open: usize,
    /// Those that brought all and got all back.
    pub whole: u64,
    /// Those of which the app was told that they did not.
    pub lost: u64,
    /// Those of which it was told that they were lost before it heard of them.
    pub lost_before: u64,
    /// What came on each, by its number, of those that are whole.
    received: Vec<u16>,
}

impl Balance {
    /// What came on this connection, if it is whole.
    pub fn whole_bytes(&self, number: u32) -> Option<usize> {
        let received = self.received[number as usize].into();
        (received > 0).then_some(received)
    }
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
    open: HashMap<ClientSocketId, (ClientSocket, Account)>,
    balance: Balance,
}

impl Books {
    pub fn new(app: App, connections: u32) -> Self {
        Books {
            app,
            open: HashMap::new(),
            balance: Balance {
                received: vec![0; connections as usize],
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
        let Some(end) = account.end.filter(|_| account.waiting == 0) else {
            return;
        };
        let Some((client, account)) = self.open.remove(&id) else {
            return;
        };
        actix_rt::spawn(async move {
            insist(async || match client.close().await {
                Err(Error::SocketNotFound) => Ok(()),
                closed => closed,
            })
            .await;
        });
        let number = account.data.first_chunk().map(|it| u32::from_be_bytes(*it));
        let came = number.map(pattern).unwrap_or_default();
        assert!(
            number.is_none() || came.starts_with(&account.data),
            "as it was sent"
        );
        let all = number.filter(|_| came.len() == account.data.len());
        match all.filter(|_| !account.failed && end == NetError::CONNECTION_CLOSED) {
            Some(number) => {
                let received = &mut self.balance.received[number as usize];
                assert_eq!(*received, 0, "it is delivered once");
                *received = account.data.len() as u16;
                self.balance.whole += 1;
            }
            None => self.balance.lost += 1,
        }
    }
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
        let client = info.client().clone();
        let account = self.account(client.id());
        assert!(account.end.is_none(), "nothing comes after the end");
        account.data.extend_from_slice(&info.data);
        account.waiting += 1;
        let id = client.id();
        let books = ctx.address();
        let answer = client.send(info.into_data());
        actix_rt::spawn(async move { books.do_send(Sent(id, answer.await)) });
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
        account.failed |= sent.is_err();
        self.settle(id);
    }
}

impl Handler<ReceiveErrorInfo> for Books {
    type Result = ();

    fn handle(&mut self, info: ReceiveErrorInfo, _: &mut Self::Context) {
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
        MessageResult(self.balance.clone())
    }
}
