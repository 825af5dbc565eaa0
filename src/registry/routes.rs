//! Routes each call that names a socket to that socket.
//!
//! The registry does not wait for answers. It passes the caller's reply on with
//! the call, and the socket answers directly. So calls reach a socket in the
//! order in which they were sent.

mod udp;

use actix::dev::{MessageResponse, OneshotSender};
use actix::prelude::*;
use futures::future::join_all;

use crate::answer::{Answer, Reply, Request};
use crate::error::Error;
use crate::ids::{AppId, ClientSocketId, ServerSocketId};
use crate::registry::state::Registry;
use crate::supervision::{SupervisedActor, ask_all};
use crate::tcp::{self, ClientSocket, Command, SecureAs, SecureStep, Target};
use crate::tcp_server::{self, BoundListener, ListenCall, ServerSocket};
use crate::telemetry::Span;

/// A call that is answered later, by the function that gets its reply.
pub struct Routed<T>(Box<dyn FnOnce(Reply<T>)>);

impl<T: 'static> Routed<T> {
    fn answered(answer: Result<T, Error>) -> Self {
        Routed(Box::new(|reply| reply.send(answer)))
    }

    /// Passes the reply on to `target`, or answers with the target's error.
    fn passed<U: 'static>(
        target: Result<U, Error>,
        pass: impl FnOnce(U, Reply<T>) + 'static,
    ) -> Self {
        match target {
            Ok(target) => Routed(Box::new(move |reply| pass(target, reply))),
            Err(error) => Routed::answered(Err(error)),
        }
    }
}

impl<M, T> MessageResponse<Registry, M> for Routed<T>
where
    M: Message<Result = Result<T, Error>>,
{
    fn handle(self, _: &mut Context<Registry>, sender: Option<OneshotSender<Result<T, Error>>>) {
        (self.0)(Reply::from(sender));
    }
}

/// A call that creates or names a socket.
pub trait SocketCall: Message<Result = Result<<Self as SocketCall>::Answer, Error>> {
    type Answer: 'static;

    fn route(self, registry: &mut Registry) -> Routed<Self::Answer>;
}

impl<C: SocketCall> Handler<C> for Registry {
    type Result = Routed<C::Answer>;

    fn handle(&mut self, call: C, _: &mut Self::Context) -> Self::Result {
        self.checkpoint();
        call.route(self)
    }
}

/// What [`App`](crate::App) sends: the same calls, which are carried out even if
/// their callers do not wait for the answer.
impl<M, T> Handler<Request<M, T>> for Registry
where
    Registry: Handler<M>,
    M: Message<Result = Result<T, Error>>,
{
    type Result = ();

    fn handle(&mut self, request: Request<M, T>, ctx: &mut Self::Context) {
        let Request { message, reply } = request;
        // What answers the message finds the span of the call here.
        let _entered = reply.span().enter();
        let response = Handler::<M>::handle(self, message, ctx);
        response.handle(ctx, reply.into());
        self.stop_if_requested(ctx);
    }
}

fn pass_to_server<M, T>(
    server: Result<&SupervisedActor<ServerSocket>, Error>,
    message: M,
) -> Routed<T>
where
    ServerSocket: Handler<Request<M, T>>,
    M: Message<Result = Result<T, Error>> + Send + 'static,
    T: Send + 'static,
{
    Routed::passed(server.map(SupervisedActor::address), |server, reply| {
        server.do_send(Request { message, reply });
    })
}

macro_rules! server_calls {
    ($($(#[$cfg:meta])* $call:ident -> $answer:ty;)*) => {$(
        $(#[$cfg])*
        impl SocketCall for tcp_server::$call {
            type Answer = $answer;

            fn route(self, registry: &mut Registry) -> Routed<$answer> {
                pass_to_server(registry.server(&self.app, self.socket_id), self)
            }
        }
    )*};
}

server_calls! {
    Update -> ();
    SetPaused -> ();
    SetAcceptPolicy -> ();
    SetLimits -> ();
    SetProxyProtocol -> ();
    SetReusePort -> ();
    Serve -> ();
    SetTimeouts -> ();
    #[cfg(feature = "tls")]
    SetTls -> ();
    Disconnect -> ();
    GetInfo -> tcp_server::SocketInfo;
}

macro_rules! listen_calls {
    ($($call:ident)*) => {$(
        impl SocketCall for tcp_server::$call {
            type Answer = ();

            fn route(self, registry: &mut Registry) -> Routed<()> {
                match registry.server(&self.app, self.socket_id) {
                    Err(error) => Routed(Box::new(move |reply| self.answer(reply, Err(error)))),
                    server => pass_to_server(server, self),
                }
            }
        }
    )*};
}

listen_calls! { Listen ListenOn }

impl SocketCall for tcp_server::Create {
    type Answer = tcp_server::CreateInfo;

    fn route(self, registry: &mut Registry) -> Routed<Self::Answer> {
        let created = registry.app(&self.app).check_socket_limit();
        let created =
            created.and_then(|()| registry.insert_server(self.app, self.properties, None));
        Routed::answered(created.map(|socket_id| tcp_server::CreateInfo { socket_id }))
    }
}

impl SocketCall for tcp_server::Close {
    type Answer = ();

    fn route(self, registry: &mut Registry) -> Routed<()> {
        let removed = registry.remove_server(&self.app, self.socket_id);
        pass_to_server(removed.as_ref().map_err(|error| *error), self)
    }
}

/// The calls of the sockets of a module, which this method of the registry finds.
macro_rules! socket_calls {
    ($module:ident by $find:ident:
        $($(#[$cfg:meta])* $call:ident -> $answer:ty:
        |$it:ident, $socket:ident, $reply:ident| $pass:expr;)*) => {$(
        $(#[$cfg])*
        impl SocketCall for $module::$call {
            type Answer = $answer;

            fn route(self, registry: &mut Registry) -> Routed<$answer> {
                let $it = self;
                let socket = registry.$find(&$it.app, $it.socket_id);
                Routed::passed(socket, move |$socket, $reply| $pass)
            }
        }
    )*};
}
use socket_calls;

socket_calls! {
    tcp by client:
    Update -> (): |it, socket, reply| {
        socket.do_send(Command::Update(Box::new(it.properties), reply))
    };
    SetPaused -> (): |it, socket, reply| socket.do_send(Command::SetPaused(it.paused, reply));
    SetKeepAlive -> (): |it, socket, reply| {
        socket.do_send(Command::SetKeepAlive(it.enable, it.delay.unwrap_or(0), reply))
    };
    SetNoDelay -> (): |it, socket, reply| socket.do_send(Command::SetNoDelay(it.no_delay, reply));
    SetTimeouts -> (): |it, socket, reply| {
        socket.do_send(Command::SetTimeouts(Box::new(it.timeouts), reply))
    };
    SetListeners -> (): |it, socket, reply| socket.set_listeners_with_reply(it.listeners, reply);
    Connect -> (): |it, socket, reply| {
        let target = Target::new(&it.peer_address, it.peer_port, it.dns_query_type);
        socket.do_send(Command::Connect(Box::new(target), reply))
    };
    ConnectTo -> (): |it, socket, reply| {
        let target = Target::of(it.endpoint, it.options);
        socket.do_send(Command::Connect(Box::new(target), reply))
    };
    Secure -> (): |it, socket, reply| {
        let secure_as = SecureAs::Client(it.options);
        socket.do_send(Command::Secure(Box::new(SecureStep::Start(secure_as, reply))))
    };
    #[cfg(feature = "tls")]
    SecureAsServer -> (): |it, socket, reply| {
        let secure_as = SecureAs::Server(it.tls);
        socket.do_send(Command::Secure(Box::new(SecureStep::Start(secure_as, reply))))
    };
    ShutdownWrite -> (): |it, socket, reply| socket.do_send(Command::ShutdownWrite(reply));
    Disconnect -> (): |it, socket, reply| socket.do_send(Command::Disconnect(reply));
    Reset -> (): |it, socket, reply| socket.do_send(Command::Reset(reply));
    Send -> tcp::SendInfo: |it, socket, reply| socket.send_with_reply(it.data, reply);
    Close -> (): |it, socket, reply| socket.close_with_reply(reply);
    GetInfo -> tcp::SocketInfo: |it, socket, reply| socket.do_send(Command::GetInfo(reply));
    GetSocket -> ClientSocket: |it, socket, reply| reply.send(Ok(socket));
}

impl SocketCall for tcp::Create {
    type Answer = tcp::CreateInfo;

    fn route(self, registry: &mut Registry) -> Routed<Self::Answer> {
        let app = registry.app(&self.app);
        let app_shard = app
            .check_socket_limit()
            .map(|()| app.app_shards.least_loaded());
        let socket = app_shard.map(|app_shard| {
            let socket = ClientSocket::new(registry.id_table.allocate(), app_shard);
            registry.id_table.insert_created(socket.clone());
            Span::current().set_socket(socket.id());
            socket
        });
        Routed::passed(socket, |socket, reply| {
            socket.do_send(Command::Create(Box::new(self.properties), reply));
        })
    }
}

impl Registry {
    fn client(&self, app: &AppId, id: ClientSocketId) -> Result<ClientSocket, Error> {
        Span::current().set_socket(id);
        let socket = self.id_table.get(app, id).ok_or(Error::SocketNotFound)?;
        socket.app_shard().activity.mark_active();
        socket.app_shard().mark_called_by_id();
        Ok(socket)
    }

    /// Creates a server socket, which listens already if it is given a listener.
    pub(super) fn insert_server(
        &mut self,
        app: AppId,
        properties: tcp_server::SocketProperties,
        listener: Option<BoundListener>,
    ) -> Result<ServerSocketId, Error> {
        let socket_id = self.server_ids.allocate().into();
        Span::current().set_socket(socket_id);
        let deps = self.server_deps(&app);
        let server = ServerSocket::start(socket_id, properties, listener, deps)?;
        self.app(&app).servers.insert(socket_id, server);
        Ok(socket_id)
    }
}

impl Handler<tcp_server::GetSockets> for Registry {
    type Result = ResponseFuture<Result<Vec<tcp_server::SocketInfo>, Error>>;

    fn handle(&mut self, call: tcp_server::GetSockets, _: &mut Self::Context) -> Self::Result {
        let app = self.apps.get(&call.app);
        let servers = app.into_iter().flat_map(|app| app.servers.values());
        // The requests are sent now, so that the answers show this moment.
        let infos: Vec<_> = servers
            .map(|server| {
                let (answer, reply) = Answer::pair();
                // The socket does not read its own id.
                let message = tcp_server::GetInfo::new(call.app.clone(), 0.into());
                server.address().do_send(Request { message, reply });
                answer
            })
            .collect();
        Box::pin(async move {
            let infos = join_all(infos).await;
            // A socket that was closed meanwhile has no answer.
            Ok(infos.into_iter().flatten().collect())
        })
    }
}

impl Handler<tcp::GetSockets> for Registry {
    type Result = ResponseFuture<Result<Vec<tcp::SocketInfo>, Error>>;

    fn handle(&mut self, call: tcp::GetSockets, _: &mut Self::Context) -> Self::Result {
        let tables = self.socket_tables();
        let infos = ask_all(&tables, &tcp::GetInfos(call.app));
        Box::pin(async move {
            let infos = infos.await;
            // The list would be incomplete without the sockets of an actor that
            // has ended.
            if infos.len() < tables.len() {
                return Err(Error::Stopped);
            }
            let mut infos = infos.concat();
            infos.sort_by_key(|info| info.socket_id);
            Ok(infos)
        })
    }
}
