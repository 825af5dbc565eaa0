//! The calls of `chrome.sockets.udp`.

use actix::prelude::*;

use crate::error::Error;
use crate::ids::{AppId, UdpSocketId};
use crate::registry::routes::{Routed, SocketCall, socket_calls};
use crate::registry::state::Registry;
use crate::supervision::ask_all;
use crate::tcp::SendInfo;
use crate::telemetry::Span;
use crate::udp::{self, Command, Destination, Socket};

socket_calls! {
    udp by udp_socket:
    Update -> (): |it, socket, reply| {
        socket.do_send(Command::Update(Box::new(it.properties), reply))
    };
    SetPaused -> (): |it, socket, reply| socket.do_send(Command::SetPaused(it.paused, reply));
    Bind -> (): |it, socket, reply| {
        socket.do_send(Command::Bind(it.address.into(), it.port, reply))
    };
    Send -> SendInfo: |it, socket, reply| {
        let to = Destination::new(&it.address, it.port, it.dns_query_type);
        socket.send_with_reply(it.data, to, reply)
    };
    Close -> (): |_it, socket, reply| socket.close_with_reply(reply);
    GetInfo -> udp::SocketInfo: |_it, socket, reply| socket.do_send(Command::GetInfo(reply));
    JoinGroup -> (): |it, socket, reply| {
        socket.do_send(Command::JoinGroup(it.address.into(), reply))
    };
    LeaveGroup -> (): |it, socket, reply| {
        socket.do_send(Command::LeaveGroup(it.address.into(), reply))
    };
    GetJoinedGroups -> Vec<std::net::IpAddr>: |_it, socket, reply| {
        socket.do_send(Command::GetJoinedGroups(reply))
    };
    SetMulticastTimeToLive -> (): |it, socket, reply| {
        socket.do_send(Command::SetMulticastTimeToLive(it.ttl, reply))
    };
    SetMulticastLoopbackMode -> (): |it, socket, reply| {
        socket.do_send(Command::SetMulticastLoopbackMode(it.enabled, reply))
    };
    SetBroadcast -> (): |it, socket, reply| {
        socket.do_send(Command::SetBroadcast(it.enabled, reply))
    };
    GetSocket -> Socket: |_it, socket, reply| reply.send(Ok(socket));
}

impl SocketCall for udp::Create {
    type Answer = udp::CreateInfo;

    fn route(self, registry: &mut Registry) -> Routed<Self::Answer> {
        let app = registry.app(&self.app);
        let app_shard = app.check_socket_limit().map(|()| app.udp.least_loaded());
        let socket = app_shard.map(|app_shard| {
            let socket = Socket::new(registry.udp_ids.allocate(), app_shard);
            registry.udp_ids.insert(socket.clone());
            socket
        });
        Routed::passed(socket, |socket, reply| {
            socket.do_send(Command::Create(Box::new(self.properties), reply));
        })
    }
}

impl Registry {
    fn udp_socket(&self, app: &AppId, id: UdpSocketId) -> Result<Socket, Error> {
        Span::current().set_socket(id);
        let socket = self.udp_ids.get(app, id).ok_or(Error::SocketNotFound)?;
        socket.app_shard().activity.mark_active();
        Ok(socket)
    }
}

impl Handler<udp::GetSockets> for Registry {
    type Result = ResponseFuture<Result<Vec<udp::SocketInfo>, Error>>;

    fn handle(&mut self, call: udp::GetSockets, _: &mut Self::Context) -> Self::Result {
        let tables = self.udp_tables();
        let infos = ask_all(&tables, &udp::GetInfos(call.app));
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
