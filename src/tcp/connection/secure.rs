//! `tcp.secure`: the same connection, encrypted from here on.

use actix_rt::task::JoinHandle;

use crate::answer::Reply;
use crate::app_activity::PendingCall;
use crate::error::Error;
use crate::net_error::NetError;
use crate::os::Stream;
use crate::tcp::actor::SocketTable;
use crate::tcp::command::Command;
use crate::tcp::connection::state::SocketState;
use crate::tcp::connection::write::{PendingSend, WriteQueue};
use crate::tcp::connection::{Connection, ConnectionMeta, Link};
use crate::tcp::recovery::CompletionGuard;
use crate::tcp::socket::ClientSocket;
use crate::tcp::{HANDSHAKE_TIMEOUT, SecureOptions};
use crate::tls::{Client, Versions};

/// The call, and what comes of its handshake.
pub(crate) enum Secure {
    Start(SecureOptions, Reply<()>),
    Done(u64, Result<Box<dyn Stream>, NetError>),
}

/// A connection that is being encrypted.
pub(in crate::tcp) struct Securing {
    attempt: u64,
    reply: Reply<()>,
    client: Client,
    versions: Versions,
    stage: Stage,
    /// What the app sends meanwhile: it must not leave unencrypted.
    waiting: WriteQueue,
    timer: JoinHandle<()>,
    _pending: PendingCall,
}

enum Stage {
    /// What was sent before leaves as it is.
    Plain(Connection),
    /// The stream is with a task, and comes back encrypted.
    Handshake(Box<ConnectionMeta>, JoinHandle<()>),
    /// Between the two, and after them.
    CompletionGuard,
}

impl SocketTable {
    pub(in crate::tcp) fn secure(&mut self, socket: &ClientSocket, step: Secure) {
        match step {
            Secure::Start(options, reply) => self.start_securing(socket, &options, reply),
            Secure::Done(attempt, made) => self.secured(socket, attempt, made),
        }
    }

    fn start_securing(&mut self, socket: &ClientSocket, options: &SecureOptions, reply: Reply<()>) {
        self.attempts += 1;
        let attempt = self.attempts;
        let client = self.tls.clone();
        let Some(row) = self.row(socket) else {
            return reply.send(Err(Error::SocketNotFound));
        };
        row.acknowledge();
        if matches!(row.link, Link::None | Link::Connecting(_)) {
            return reply.send(Err(Error::SocketNotConnected));
        }
        match row.may_secure(options) {
            Ok(_) if !Client::IS_BUILT => reply.send(Err(NetError::NOT_IMPLEMENTED.into())),
            Ok(versions) => row.secure(attempt, client, versions, reply),
            Err(NetError::FAILED) => {
                // So does Chromium: who calls this in the wrong state may have
                // lost what the peer said already.
                self.give_up(socket, NetError::FAILED);
                reply.send(Err(NetError::FAILED.into()));
            }
            Err(error) => reply.send(Err(error.into())),
        }
    }

    fn secured(
        &mut self,
        socket: &ClientSocket,
        attempt: u64,
        made: Result<Box<dyn Stream>, NetError>,
    ) {
        let Some(row) = self.row(socket) else { return };
        match std::mem::replace(&mut row.link, Link::None) {
            Link::Securing(securing) if securing.attempt == attempt => match made {
                Ok(stream) => {
                    row.link = securing.done(stream);
                    row.restart_time_outs();
                    socket.make_ready();
                }
                Err(error) => {
                    row.link = Link::Securing(securing);
                    self.give_up(socket, error);
                }
            },
            // The attempt was given up just before it was over.
            other => row.link = other,
        }
    }

    /// Closes a socket that could not be secured.
    pub(in crate::tcp) fn give_up(&mut self, socket: &ClientSocket, error: NetError) {
        let last = socket.mark_closed();
        if last {
            socket.app_shard().table.remove(socket.id());
        }
        let ended = self.row(socket).and_then(|row| row.end(error));
        self.linger(ended, socket);
        if last {
            // Else the app's own `close` is on its way.
            let _ = self.close(socket);
        }
    }
}

impl SocketState {
    fn may_secure(&self, options: &SecureOptions) -> Result<Versions, NetError> {
        let Link::Connected(connection) = &self.link else {
            return Err(NetError::INVALID_ARGUMENT);
        };
        match &connection.ends.dialled {
            Some(dialled) if dialled.is_secured => Err(NetError::INVALID_ARGUMENT),
            Some(_) if self.paused && !self.has_returned_data() => options.versions(),
            _ => Err(NetError::FAILED),
        }
    }

    fn secure(&mut self, attempt: u64, client: Client, versions: Versions, reply: Reply<()>) {
        // What came unencrypted must not be taken for what comes encrypted.
        self.next_epoch();
        match std::mem::replace(&mut self.link, Link::None) {
            Link::Connected(mut connection) => {
                connection.close_fast_path();
                let mut securing = Securing {
                    attempt,
                    reply,
                    client,
                    versions,
                    stage: Stage::Plain(connection),
                    waiting: WriteQueue::default(),
                    timer: time_out(&self.socket, attempt),
                    _pending: PendingCall::new(&self.socket.app_shard().activity),
                };
                securing.go_on(&self.socket);
                self.link = Link::Securing(Box::new(securing));
            }
            other => self.link = other,
        }
    }
}

impl Securing {
    /// Lets what was sent before leave, then starts the handshake.
    pub(in crate::tcp) fn go_on(&mut self, socket: &ClientSocket) {
        let Stage::Plain(connection) = &mut self.stage else {
            return;
        };
        connection.flush(socket, None);
        if let Some(error) = connection.write_error() {
            return tell(socket, self.attempt, Err(error));
        }
        if !connection.queue.is_empty() {
            return;
        }
        if let Stage::Plain(connection) = std::mem::replace(&mut self.stage, Stage::CompletionGuard)
        {
            self.shake_hands(connection, socket);
        }
    }

    fn shake_hands(&mut self, connection: Connection, socket: &ClientSocket) {
        let Connection { stream, ends, .. } = connection;
        let host = ends.dialled.as_ref().map(|dialled| dialled.host.clone());
        let (client, versions, attempt) = (self.client.clone(), self.versions, self.attempt);
        let over = CompletionGuard::new(socket, move |made| {
            Command::Secure(Box::new(Secure::Done(attempt, made)))
        });
        let task = actix_rt::spawn(over.with(async move {
            let host = host.unwrap_or_default();
            client.handshake(stream, &host, versions).await
        }));
        self.stage = Stage::Handshake(ends, task);
    }

    /// Its thread is another one. A handshake that went on in the old one says
    /// itself that it is over.
    pub(in crate::tcp) fn reregister(&mut self, socket: &ClientSocket) {
        self.timer = time_out(socket, self.attempt);
        if let Stage::Plain(connection) = &mut self.stage {
            connection.reregister();
        }
    }

    /// Takes in what is to be sent when it is done.
    pub(in crate::tcp) fn send(&mut self, outgoing: PendingSend) {
        self.waiting.push(outgoing);
    }

    pub(in crate::tcp) fn ends(&self) -> Option<&ConnectionMeta> {
        match &self.stage {
            Stage::Plain(connection) => Some(&connection.ends),
            Stage::Handshake(ends, _) => Some(ends),
            Stage::CompletionGuard => None,
        }
    }

    /// The connection as it is from now on. What waits is written when the row
    /// is looked at.
    fn done(mut self, stream: Box<dyn Stream>) -> Link {
        let Stage::Handshake(mut ends, _) =
            std::mem::replace(&mut self.stage, Stage::CompletionGuard)
        else {
            return Link::None;
        };
        if let Some(dialled) = &mut ends.dialled {
            dialled.is_secured = true;
        }
        let queue = std::mem::take(&mut self.waiting);
        self.answer(Ok(()));
        Link::Connected(Connection::encrypted(stream, ends, queue))
    }

    /// Gives up. What was sent before and has not left is returned, and leaves.
    pub(in crate::tcp) fn fail(mut self, error: NetError) -> Option<Connection> {
        self.waiting.fail(error.into());
        self.answer(Err(error.into()));
        match std::mem::replace(&mut self.stage, Stage::CompletionGuard) {
            Stage::Plain(connection) => Some(connection),
            Stage::Handshake(_, task) => {
                task.abort();
                None
            }
            Stage::CompletionGuard => None,
        }
    }

    fn answer(&mut self, answer: Result<(), Error>) {
        std::mem::replace(&mut self.reply, Reply::discard()).send(answer);
    }
}

impl Drop for Securing {
    fn drop(&mut self) {
        self.timer.abort();
        if let Stage::Handshake(_, task) = &self.stage {
            task.abort();
        }
    }
}

fn time_out(socket: &ClientSocket, attempt: u64) -> JoinHandle<()> {
    let socket = socket.clone();
    actix_rt::spawn(async move {
        actix_rt::time::sleep(HANDSHAKE_TIMEOUT).await;
        tell(&socket, attempt, Err(NetError::TIMED_OUT));
    })
}

fn tell(socket: &ClientSocket, attempt: u64, made: Result<Box<dyn Stream>, NetError>) {
    socket.do_send(Command::Secure(Box::new(Secure::Done(attempt, made))));
}
