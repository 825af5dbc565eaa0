//! `tcp.secure` and `secure_as_server`: start TLS on an existing connection.

use std::time::Duration;

use actix_rt::task::JoinHandle;
use actix_rt::time::Instant;

use crate::answer::Reply;
use crate::app_activity::PendingCall;
use crate::error::Error;
use crate::invalid_argument::InvalidArgument;
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
use crate::telemetry::{Outcome, Side};
#[cfg(feature = "tls")]
use crate::tls;
use crate::tls::{Client, Offer};

/// The call, and the result of its handshake.
pub(crate) enum Secure {
    Start(SecureAs, Reply<()>),
    Done(u64, Result<Box<dyn Stream>, NetError>),
}

/// Which side of TLS the socket becomes.
pub(crate) enum SecureAs {
    Client(SecureOptions),
    #[cfg(feature = "tls")]
    Server(tls::Server),
}

/// How the handshake is made.
#[derive(Clone)]
enum Role {
    Client(Client, Offer),
    #[cfg(feature = "tls")]
    Server(tls::Server),
}

/// A connection on which TLS starts.
pub(in crate::tcp) struct Securing {
    attempt: u64,
    reply: Reply<()>,
    role: Role,
    stage: Stage,
    /// Sends during the handshake. They must not leave unencrypted.
    queued_sends: WriteQueue,
    timer: JoinHandle<()>,
    /// When the call was made.
    began: Instant,
    _pending: PendingCall,
}

enum Stage {
    /// Earlier sends leave unencrypted first.
    Plain(Connection),
    /// A task has the stream, and returns it encrypted.
    Handshake(Box<ConnectionMeta>, JoinHandle<()>),
    /// Neither: while the stage changes, and at the end.
    Empty,
}

impl SocketTable {
    pub(in crate::tcp) fn start_securing(
        &mut self,
        socket: &ClientSocket,
        secure_as: SecureAs,
        reply: Reply<()>,
    ) {
        self.attempts += 1;
        let attempt = self.attempts;
        let client = self.tls.clone();
        let Some(state) = self.get(socket) else {
            return reply.send(Err(Error::SocketNotFound));
        };
        state.acknowledge();
        let is_connected = match &state.link {
            Link::None | Link::Connecting(_) => false,
            // A handshake needs both directions.
            Link::Connected(connection) => !connection.is_half_open(),
            Link::Securing(_) => true,
        };
        if !is_connected {
            return reply.send(Err(Error::SocketNotConnected));
        }
        match state.may_secure(secure_as, client) {
            Ok(_) if !Client::IS_BUILT => reply.send(Err(NetError::NOT_IMPLEMENTED.into())),
            Ok(role) => state.secure(attempt, role, reply),
            Err(Error::Net(NetError::FAILED)) => {
                // As Chromium does: a call in the wrong state may have lost data of the peer
                // already.
                self.fail_secure(socket, NetError::FAILED);
                reply.send(Err(NetError::FAILED.into()));
            }
            Err(error) => reply.send(Err(error)),
        }
    }

    pub(in crate::tcp) fn secure_finished(
        &mut self,
        socket: &ClientSocket,
        attempt: u64,
        result: Result<Box<dyn Stream>, NetError>,
    ) {
        let Some(state) = self.get(socket) else {
            return;
        };
        match std::mem::replace(&mut state.link, Link::None) {
            Link::Securing(securing) if securing.attempt == attempt => match result {
                Ok(stream) => {
                    securing.count_ended(Outcome::Success, socket);
                    state.link = securing.into_connected(stream);
                    // It may have been set during the handshake.
                    state.apply_user_timeout();
                    state.restart_timeouts();
                    state.restart_rate();
                    self.watch(socket.slot());
                    socket.make_ready();
                }
                Err(error) => {
                    securing.count_ended(Outcome::Failure, socket);
                    state.link = Link::Securing(securing);
                    self.fail_secure(socket, error);
                }
            },
            // The attempt was cancelled just before it finished.
            other => state.link = other,
        }
    }

    /// Closes a socket whose `secure` has failed.
    pub(in crate::tcp) fn fail_secure(&mut self, socket: &ClientSocket, error: NetError) {
        let last = socket.mark_closed();
        if last {
            socket.app_shard().id_table.remove(socket.id());
        }
        let closed = self.get(socket).and_then(|state| state.disconnect(error));
        self.linger(closed, socket);
        if last {
            // Otherwise the app's own `close` is in the command queue.
            let _ = self.close(socket);
        }
    }
}

impl SocketState {
    fn may_secure(&self, secure_as: SecureAs, client: Client) -> Result<Role, Error> {
        let Link::Connected(connection) = &self.link else {
            return Err(InvalidArgument::AlreadySecured.into());
        };
        let meta = &connection.meta;
        match secure_as {
            // Chrome's code for every accepted socket, encrypted or not.
            SecureAs::Client(_) if meta.outbound.is_none() => Err(NetError::FAILED.into()),
            _ if meta.is_encrypted => Err(InvalidArgument::AlreadySecured.into()),
            // Unencrypted data must not be read, or raised again, after the call.
            _ if !self.paused || self.has_returned_data() || self.has_unread_stream() => {
                Err(NetError::FAILED.into())
            }
            SecureAs::Client(options) => Ok(Role::Client(client, options.offer()?)),
            #[cfg(feature = "tls")]
            SecureAs::Server(server) => Ok(Role::Server(server)),
        }
    }

    fn secure(&mut self, attempt: u64, role: Role, reply: Reply<()>) {
        // Unencrypted data that returns must not be raised as encrypted data.
        self.next_epoch();
        match std::mem::replace(&mut self.link, Link::None) {
            Link::Connected(mut connection) => {
                connection.close_fast_path();
                // What waits for it from now on is not this slot: the handshake has its own task.
                connection.stream.detach();
                let mut securing = Securing {
                    attempt,
                    reply,
                    timer: spawn_timeout(&self.socket, attempt, role.timeout()),
                    role,
                    stage: Stage::Plain(connection),
                    queued_sends: WriteQueue::default(),
                    began: Instant::now(),
                    _pending: PendingCall::new(&self.socket.app_shard().activity),
                };
                securing.flush_then_handshake(&self.socket);
                self.link = Link::Securing(Box::new(securing));
            }
            other => self.link = other,
        }
    }
}

impl Role {
    fn side(&self) -> Side {
        match self {
            Role::Client(..) => Side::Client,
            #[cfg(feature = "tls")]
            Role::Server(_) => Side::Server,
        }
    }

    /// How long the call may take.
    fn timeout(&self) -> Duration {
        match self {
            Role::Client(..) => HANDSHAKE_TIMEOUT,
            #[cfg(feature = "tls")]
            Role::Server(server) => server.handshake_timeout(),
        }
    }
}

impl Securing {
    fn count_ended(&self, outcome: Outcome, socket: &ClientSocket) {
        let side = self.role.side();
        socket
            .telemetry()
            .handshake_ended(side, outcome, self.began);
    }

    /// Waits until earlier sends have left, then starts the handshake.
    pub(in crate::tcp) fn flush_then_handshake(&mut self, socket: &ClientSocket) {
        let Stage::Plain(connection) = &mut self.stage else {
            return;
        };
        connection.flush(socket, None);
        if let Some(error) = connection.write_error() {
            return socket.do_send(finished(self.attempt, Err(error)));
        }
        if !connection.queue.is_empty() {
            return;
        }
        if let Stage::Plain(connection) = std::mem::replace(&mut self.stage, Stage::Empty) {
            self.start_handshake(connection, socket);
        }
    }

    fn start_handshake(&mut self, connection: Connection, socket: &ClientSocket) {
        let Connection { stream, meta, .. } = connection;
        let host = meta.outbound.as_ref().map(|outbound| outbound.host.clone());
        let (role, attempt) = (self.role.clone(), self.attempt);
        let guard = CompletionGuard::new(socket, finished(attempt, Err(NetError::FAILED)));
        let task = actix_rt::spawn(guard.run(async move {
            let result = match role {
                Role::Client(client, offer) => {
                    let host = host.unwrap_or_default();
                    client.handshake(stream, &host, offer).await
                }
                #[cfg(feature = "tls")]
                Role::Server(server) => server.handshake(stream).await,
            };
            finished(attempt, result)
        }));
        self.stage = Stage::Handshake(meta, task);
    }

    /// The connection is in another thread now. A handshake task of the old thread reports its own
    /// end.
    pub(in crate::tcp) fn reregister(&mut self, socket: &ClientSocket) {
        self.timer = spawn_timeout(socket, self.attempt, self.role.timeout());
        if let Stage::Plain(connection) = &mut self.stage {
            connection.reregister();
        }
    }

    /// Queues a send until the handshake is done.
    pub(in crate::tcp) fn send(&mut self, pending: PendingSend) {
        self.queued_sends.push(pending);
    }

    pub(in crate::tcp) fn meta(&self) -> Option<&ConnectionMeta> {
        match &self.stage {
            Stage::Plain(connection) => Some(&connection.meta),
            Stage::Handshake(meta, _) => Some(meta),
            Stage::Empty => None,
        }
    }

    /// The encrypted connection. The next poll writes the queued sends.
    fn into_connected(mut self, stream: Box<dyn Stream>) -> Link {
        let Stage::Handshake(mut meta, _) = std::mem::replace(&mut self.stage, Stage::Empty) else {
            return Link::None;
        };
        meta.is_encrypted = true;
        let queue = std::mem::take(&mut self.queued_sends);
        self.answer(Ok(()));
        Link::Connected(Connection::encrypted(stream, meta, queue))
    }

    /// Answers with an error. Before the handshake, returns the connection, whose earlier sends
    /// still leave.
    pub(in crate::tcp) fn fail(mut self, error: NetError) -> Option<Connection> {
        self.queued_sends.fail(error.into());
        self.answer(Err(error.into()));
        match std::mem::replace(&mut self.stage, Stage::Empty) {
            Stage::Plain(connection) => Some(connection),
            Stage::Handshake(_, task) => {
                task.abort();
                None
            }
            Stage::Empty => None,
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

/// Fails the attempt at its time limit.
fn spawn_timeout(socket: &ClientSocket, attempt: u64, timeout: Duration) -> JoinHandle<()> {
    let socket = socket.clone();
    actix_rt::spawn(async move {
        actix_rt::time::sleep(timeout).await;
        socket.do_send(finished(attempt, Err(NetError::TIMED_OUT)));
    })
}

fn finished(attempt: u64, result: Result<Box<dyn Stream>, NetError>) -> Command {
    Command::Secure(Box::new(Secure::Done(attempt, result)))
}
