//! actix's usual design: an actor per connection, which reads a stream and sends through a
//! `FramedWrite`.
#![expect(
    clippy::disallowed_types,
    reason = "this server is what the library is compared with"
)]

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::rc::Rc;

use actix::io::{FramedWrite, WriteHandler};
use actix::prelude::*;
use bytes::{Bytes, BytesMut};
use tokio::io::WriteHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::codec::{BytesCodec, FramedRead};

use super::{MibCounter, PAYLOAD, RECEIVED, listen, not_compared};
use crate::Result;
use crate::plan::Mode;

/// All connections, by number.
type AllConnections = Rc<RefCell<HashMap<usize, Addr<Connection>>>>;

pub fn run(mode: Mode) -> Result<()> {
    if mode == Mode::Pause {
        return Err(not_compared(mode));
    }
    System::new().block_on(async {
        let all = AllConnections::default();
        let mut loops = Vec::new();
        for listener in listen(mode.listeners())? {
            let listener = TcpListener::from_std(listener)?;
            loops.push(actix_rt::spawn(accept(listener, mode, all.clone())));
        }
        for ended in loops {
            ended.await??;
        }
        Ok(())
    })
}

async fn accept(listener: TcpListener, mode: Mode, all: AllConnections) -> Result<()> {
    for number in 0.. {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let all = all.clone();
        Connection::create(|context| {
            let (reads, writes) = tokio::io::split(stream);
            if mode != Mode::Accept {
                context.add_stream(FramedRead::new(reads, BytesCodec::new()));
            }
            if mode == Mode::FanOut {
                all.borrow_mut().insert(number, context.address());
            }
            let subscribers = match mode {
                Mode::Subscribers => subscribers(&context.address()),
                _ => Vec::new(),
            };
            Connection {
                number,
                mode,
                sends: FramedWrite::new(writes, BytesCodec::new(), context),
                received: MibCounter::default(),
                subscribers,
                all,
            }
        });
    }
    Ok(())
}

struct Connection {
    number: usize,
    mode: Mode,
    sends: FramedWrite<Bytes, WriteHalf<TcpStream>, BytesCodec>,
    received: MibCounter,
    subscribers: Vec<Recipient<Data>>,
    all: AllConnections,
}

impl Actor for Connection {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        if self.mode == Mode::Accept {
            context.stop();
        }
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.all.borrow_mut().remove(&self.number);
    }
}

impl WriteHandler<io::Error> for Connection {}

impl StreamHandler<io::Result<BytesMut>> for Connection {
    fn handle(&mut self, data: io::Result<BytesMut>, context: &mut Self::Context) {
        let data = match data {
            Ok(data) => data.freeze(),
            Err(error) => {
                log::warn!("actix: {error}");
                return context.stop();
            }
        };
        match self.mode {
            Mode::Echo { .. } => self.sends.write(data),
            Mode::Receive => {
                for _ in 0..self.received.add(data.len()) {
                    self.sends.write(Bytes::from_static(RECEIVED));
                }
            }
            Mode::Send => {
                for _ in 0..data.len() {
                    self.sends.write(PAYLOAD.clone());
                }
            }
            Mode::Subscribers => {
                for subscriber in &self.subscribers {
                    subscriber.do_send(Data(data.clone()));
                }
            }
            Mode::FanOut => {
                for other in self.all.borrow().values() {
                    other.do_send(Data(data.clone()));
                }
            }
            Mode::Accept
            | Mode::Batches
            | Mode::Pause
            | Mode::Stream
            | Mode::Udp
            | Mode::UdpBatches => context.stop(),
        }
    }
}

/// Data that one connection received.
#[derive(Message)]
#[rtype(result = "()")]
struct Data(Bytes);

impl Handler<Data> for Connection {
    type Result = ();

    fn handle(&mut self, data: Data, _: &mut Self::Context) {
        self.sends.write(data.0);
    }
}

/// The subscribers; the last one echoes.
struct Subscriber(Option<actix::WeakAddr<Connection>>);

impl Actor for Subscriber {
    type Context = Context<Self>;
}

impl Handler<Data> for Subscriber {
    type Result = ();

    fn handle(&mut self, data: Data, _: &mut Self::Context) {
        if let Some(connection) = self.0.as_ref().and_then(actix::WeakAddr::upgrade) {
            connection.do_send(data);
        }
    }
}

fn subscribers(connection: &Addr<Connection>) -> Vec<Recipient<Data>> {
    let numbers = 1..=Mode::SUBSCRIBERS;
    let echoes = numbers.map(|number| number == Mode::SUBSCRIBERS);
    echoes
        .map(|echoes| {
            Subscriber(echoes.then(|| connection.downgrade()))
                .start()
                .recipient()
        })
        .collect()
}
