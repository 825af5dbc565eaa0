//! Every call that names a socket, and the way to it.
//!
//! The registry does not wait for an answer: it passes the caller's reply on
//! with the call, and whoever has the socket answers directly. So calls reach
//! a socket in the order in which they were sent.

use actix::dev::{MessageResponse, OneshotSender};
use actix::prelude::*;
use futures::future::join_all;

use super::state::Registry;
use crate::answer::{Answer, Ask, Reply};
use crate::error::Error;
use crate::ids::{AppId, ClientSocketId, ServerSocketId};
use crate::supervision::Child;
use crate::tcp::{self, ClientSocket, Command, SecureStep, Target};
use crate::tcp_server::{self, Bound, ServerSocket};

/// A call on its way: an answer now, or somebody who will give it.
pub struct Routed<T>(Route<T>);

enum Route<T> {
    Answered(Result<T, Error>),
    Passed(Box<dyn FnOnce(Reply<T>)>),
}

impl<T> Routed<T> {
    fn answered(answer: Result<T, Error>) -> Self {
        Routed(Route::Answered(answer))
    }

    /// Passed on to `target`, or answered with the reason why there is none.
    fn passed<U: 'static>(
        target: Result<U, Error>,
        pass: impl FnOnce(U, Reply<T>) + 'static,
    ) -> Self {
        match target {
            Ok(target) => Routed(Route::Passed(Box::new(move |reply| pass(target, reply)))),
            Err(error) => Routed::answered(Err(error)),
        }
    }
}

impl<M, T> MessageResponse<Registry, M> for Routed<T>
where
    M: Message<Result = Result<T, Error>>,
{
    fn handle(self, _: &mut Context<Registry>, sender: Option<OneshotSender<Result<T, Error>>>) {
        let reply = Reply::from(sender);
        match self.0 {
            Route::Answered(answer) => reply.send(answer),
            Route::Passed(pass) => pass(reply),
        }
    }
}

impl Registry {
    fn server<M, T>(&self, target: Result<&Child<ServerSocket>, Error>, message: M) -> Routed<T>
    where
        ServerSocket: Handler<Ask<M, T>>,
        M: Message<Result = Result<T, Error>> + Send + 'static,
        T: Send + 'static,
    {
        Routed::passed(target.map(Child::address), |server, reply| {
            server.do_send(Ask { message, reply });
        })
    }

    fn client(&self, app: &AppId, id: ClientSocketId) -> Result<ClientSocket, Error> {
        let socket = self.table.get(app, id).ok_or(Error::SocketNotFound)?;
        socket.app_shard().activity.mark_active();
        socket.app_shard().called_by_id();
        Ok(socket)
    }
}

/// What [`App`](crate::App) sends: the same calls, which are carried out even
/// if nobody waits for the answer.
impl<M, T> Handler<Ask<M, T>> for Registry
where
    Registry: Handler<M>,
    M: Message<Result = Result<T, Error>>,
{
    type Result = ();

    fn handle(&mut self, ask: Ask<M, T>, ctx: &mut Self::Context) {
        let Ask { message, reply } = ask;
        let response = Handler::<M>::handle(self, message, ctx);
        response.handle(ctx, reply.into());
        self.stop_if_asked(ctx);
    }
}

macro_rules! routes {
    ($($message:path => $answer:ty: |$registry:ident, $call:ident| $body:expr;)*) => {$(
        impl Handler<$message> for Registry {
            type Result = Routed<$answer>;

            fn handle(&mut self, $call: $message, _: &mut Self::Context) -> Self::Result {
                let $registry = self;
                $registry.begin();
                $body
            }
        }
    )*};
}

routes! {
    tcp_server::Create => tcp_server::CreateInfo: |registry, call| {
        let created = registry
            .app(&call.app)
            .may_make()
            .and_then(|()| registry.insert_server(call.app, call.properties, None));
        Routed::answered(created.map(|socket_id| tcp_server::CreateInfo { socket_id }))
    };
    tcp_server::Update => (): |registry, call| {
        registry.server(registry.apps.server(&call.app, call.socket_id), call)
    };
    tcp_server::SetPaused => (): |registry, call| {
        registry.server(registry.apps.server(&call.app, call.socket_id), call)
    };
    tcp_server::SetAcceptPolicy => (): |registry, call| {
        registry.server(registry.apps.server(&call.app, call.socket_id), call)
    };
    tcp_server::SetLimits => (): |registry, call| {
        registry.server(registry.apps.server(&call.app, call.socket_id), call)
    };
    tcp_server::SetReusePort => (): |registry, call| {
        registry.server(registry.apps.server(&call.app, call.socket_id), call)
    };
    tcp_server::SetTimeouts => (): |registry, call| {
        registry.server(registry.apps.server(&call.app, call.socket_id), call)
    };
    tcp_server::Listen => (): |registry, call| {
        registry.server(registry.apps.server(&call.app, call.socket_id), call)
    };
    tcp_server::Disconnect => (): |registry, call| {
        registry.server(registry.apps.server(&call.app, call.socket_id), call)
    };
    tcp_server::Close => (): |registry, call| {
        let removed = registry.apps.remove_server(&call.app, call.socket_id);
        registry.server(removed.as_ref().map_err(|error| *error), call)
    };
    tcp_server::GetInfo => tcp_server::SocketInfo: |registry, call| {
        registry.server(registry.apps.server(&call.app, call.socket_id), call)
    };

    tcp::Create => tcp::CreateInfo: |registry, call| {
        let app = registry.app(&call.app);
        let app_shard = app.may_make().map(|()| app.app_shards.least_loaded());
        let socket = app_shard.map(|app_shard| {
            let socket = ClientSocket::new(registry.table.allocate(), app_shard);
            registry.table.insert_made(socket.clone());
            socket
        });
        Routed::passed(socket, |socket, reply| {
            socket.do_send(Command::Create(Box::new(call.properties), reply));
        })
    };
    tcp::Update => (): |registry, call| {
        Routed::passed(registry.client(&call.app, call.socket_id), |socket, reply| {
            socket.do_send(Command::Update(Box::new(call.properties), reply));
        })
    };
    tcp::SetPaused => (): |registry, call| {
        Routed::passed(registry.client(&call.app, call.socket_id), move |socket, reply| {
            socket.do_send(Command::SetPaused(call.paused, reply));
        })
    };
    tcp::SetKeepAlive => (): |registry, call| {
        Routed::passed(registry.client(&call.app, call.socket_id), move |socket, reply| {
            socket.do_send(Command::SetKeepAlive(call.enable, call.delay.unwrap_or(0), reply));
        })
    };
    tcp::SetNoDelay => (): |registry, call| {
        Routed::passed(registry.client(&call.app, call.socket_id), move |socket, reply| {
            socket.do_send(Command::SetNoDelay(call.no_delay, reply));
        })
    };
    tcp::SetTimeouts => (): |registry, call| {
        Routed::passed(registry.client(&call.app, call.socket_id), move |socket, reply| {
            socket.do_send(Command::SetTimeouts(Box::new(call.timeouts), reply));
        })
    };
    tcp::Connect => (): |registry, call| {
        Routed::passed(registry.client(&call.app, call.socket_id), move |socket, reply| {
            let target = Target::new(&call.peer_address, call.peer_port, call.dns_query_type);
            socket.do_send(Command::Connect(Box::new(target), reply));
        })
    };
    tcp::Secure => (): |registry, call| {
        Routed::passed(registry.client(&call.app, call.socket_id), move |socket, reply| {
            socket.do_send(Command::Secure(Box::new(SecureStep::Start(call.options, reply))));
        })
    };
    tcp::Disconnect => (): |registry, call| {
        Routed::passed(registry.client(&call.app, call.socket_id), |socket, reply| {
            socket.do_send(Command::Disconnect(reply));
        })
    };
    tcp::Send => tcp::SendInfo: |registry, call| {
        Routed::passed(registry.client(&call.app, call.socket_id), |socket, reply| {
            socket.send_to(call.data, reply);
        })
    };
    tcp::Close => (): |registry, call| {
        Routed::passed(registry.client(&call.app, call.socket_id), |socket, reply| {
            socket.close_to(reply);
        })
    };
    tcp::GetInfo => tcp::SocketInfo: |registry, call| {
        Routed::passed(registry.client(&call.app, call.socket_id), |socket, reply| {
            socket.do_send(Command::GetInfo(reply));
        })
    };
    tcp::GetSocket => ClientSocket: |registry, call| {
        Routed::answered(registry.client(&call.app, call.socket_id))
    };
}

#[cfg(feature = "tls")]
routes! {
    tcp_server::SetTls => (): |registry, call| {
        registry.server(registry.apps.server(&call.app, call.socket_id), call)
    };
}

impl Registry {
    /// A new server socket, which listens already if there is a listener.
    pub(super) fn insert_server(
        &mut self,
        app: AppId,
        properties: tcp_server::SocketProperties,
        listener: Option<Bound>,
    ) -> Result<ServerSocketId, Error> {
        let socket_id = self.server_ids.allocate().into();
        let deps = self.deps(&app);
        let server = ServerSocket::start(socket_id, properties, listener, deps)?;
        self.app(&app).insert_server(socket_id, server);
        Ok(socket_id)
    }
}

impl Handler<tcp_server::GetSockets> for Registry {
    type Result = ResponseFuture<Result<Vec<tcp_server::SocketInfo>, Error>>;

    fn handle(&mut self, call: tcp_server::GetSockets, _: &mut Self::Context) -> Self::Result {
        let app = self.apps.get(&call.app);
        // Asked now, so that the answers show this moment.
        let infos: Vec<_> = app
            .into_iter()
            .flat_map(|app| app.servers())
            .map(|server| {
                let (answer, reply) = Answer::pair();
                let message = tcp_server::GetInfo {
                    app: call.app.clone(),
                    // Each answers for itself.
                    socket_id: 0.into(),
                };
                server.address().do_send(Ask { message, reply });
                answer
            })
            .collect();
        Box::pin(async move {
            let infos = join_all(infos).await;
            // One that ended meanwhile is not open.
            Ok(infos.into_iter().flatten().collect())
        })
    }
}

impl Handler<tcp::GetSockets> for Registry {
    type Result = ResponseFuture<Result<Vec<tcp::SocketInfo>, Error>>;

    fn handle(&mut self, call: tcp::GetSockets, _: &mut Self::Context) -> Self::Result {
        let infos = self.rows();
        let infos = infos.map(|rows| rows.ask(tcp::GetInfos(call.app.clone())));
        let infos: Vec<_> = infos.collect();
        Box::pin(async move {
            let infos: Option<Vec<_>> = join_all(infos).await.into_iter().collect();
            let mut infos = infos.ok_or(Error::Stopped)?.concat();
            infos.sort_by_key(|info| info.socket_id);
            Ok(infos)
        })
    }
}
