//! `chrome.sockets.udp` of one app.

use std::net::IpAddr;

use bytes::Bytes;

use crate::answer::Answer;
use crate::app::caller::Caller;
use crate::app::event::OnEvent;
use crate::ids::UdpSocketId;
use crate::udp::{
    Bind, Close, Create, CreateInfo, DnsQueryType, GetInfo, GetJoinedGroups, GetSocket, GetSockets,
    JoinGroup, LeaveGroup, ReceiveBatch, ReceiveErrorInfo, ReceiveInfo, Send, SendInfo,
    SetBroadcast, SetMulticastLoopbackMode, SetMulticastTimeToLive, SetPaused, Socket, SocketInfo,
    SocketProperties, Update,
};

/// `chrome.sockets.udp`: the sockets of an [`App`](crate::App) that send and
/// receive datagrams.
///
/// Each function answers [`Error::SocketNotFound`](crate::Error::SocketNotFound)
/// for an id that was never allocated, was closed, or belongs to another app,
/// and [`Error::Stopped`](crate::Error::Stopped) after the registry has ended.
/// For many calls on one socket, its [`Socket`] is faster. The functions that
/// begin with `do_` have no answer: an error is ignored.
///
/// ```
/// use actix::prelude::*;
/// use chrome_sockets::udp::{DnsQueryType, ReceiveInfo};
/// use chrome_sockets::{App, Registry};
///
/// struct Echo;
///
/// impl Actor for Echo {
///     type Context = Context<Self>;
/// }
///
/// impl Handler<ReceiveInfo> for Echo {
///     type Result = ();
///
///     fn handle(&mut self, info: ReceiveInfo, _: &mut Self::Context) {
///         let (socket, to) = (info.socket().clone(), info.remote_addr());
///         // It fails only if the quota is used up; then the datagram is lost.
///         let _ = socket.try_send_to(info.into_data(), to);
///     }
/// }
///
/// # actix_rt::System::new().block_on(async {
/// let app = App::new("echo", &Registry::new().start());
/// app.udp.on_receive.do_add_listener(Echo.start().recipient());
/// let socket = app.udp.create(Default::default()).await?.socket_id;
/// app.udp.bind(socket, "127.0.0.1", 0).await?;
/// let address = app.udp.get_info(socket).await?.local_addr().expect("it is bound");
/// println!("echoes datagrams at {address}");
/// # let peer = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a port");
/// # peer.send_to(b"hello", address).await.expect("sent");
/// # let mut reply = [0; 6];
/// # assert_eq!(peer.recv(&mut reply).await.expect("an answer"), 5);
/// # assert_eq!(&reply[..5], b"hello");
/// # Ok::<_, chrome_sockets::Error>(())
/// # }).expect("every call succeeds");
/// ```
#[derive(Clone, Debug)]
pub struct Udp {
    /// `onReceive`: a datagram was received. Without a listener, nothing is received:
    /// datagrams wait in the OS's buffer, which drops further ones when it is full.
    pub on_receive: OnEvent<ReceiveInfo>,
    /// Beyond Chrome: `onReceive` in batches. A listener gets the datagrams that a turn of an
    /// arbiter has received, on all of the app's sockets there, in one message, which costs less when
    /// many come: [`Batch`](crate::Batch) describes it. An app may have listeners of both kinds.
    pub on_receive_batch: OnEvent<ReceiveBatch>,
    /// `onReceiveError`: receiving has failed, and the socket is paused. Raised too
    /// when a bound socket that is not paused is closed.
    pub on_receive_error: OnEvent<ReceiveErrorInfo>,
    caller: Caller,
}

impl Udp {
    pub(super) fn new(caller: Caller) -> Self {
        Udp {
            on_receive: OnEvent::new(caller.clone()),
            on_receive_batch: OnEvent::new(caller.clone()),
            on_receive_error: OnEvent::new(caller.clone()),
            caller,
        }
    }

    /// `udp.create`: creates a socket, which is not bound. By default it is not
    /// persistent, not paused, and has neither a name nor a buffer size.
    ///
    /// # Errors
    /// No socket is created then.
    /// [`InvalidArgument`](crate::Error::InvalidArgument) for a name
    /// above [`MAX_NAME`](crate::MAX_NAME) bytes.
    /// [`TooManySockets`](crate::Error::TooManySockets) if the app has as many
    /// sockets as its limits allow.
    pub fn create(&self, properties: SocketProperties) -> Answer<CreateInfo> {
        self.caller.call(|app| Create::new(app, properties))
    }

    /// `udp.update`: sets the given properties and keeps the others.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::Error::InvalidArgument) for a name
    /// above [`MAX_NAME`](crate::MAX_NAME) bytes; nothing changes then.
    pub fn update(&self, socket_id: UdpSocketId, properties: SocketProperties) -> Answer<()> {
        self.caller
            .call(|app| Update::new(app, socket_id, properties))
    }

    /// `udp.setPaused`: a paused socket reports nothing. Datagrams wait in the OS's
    /// buffer, which drops further ones when it is full. The answer to `true` means
    /// that every earlier `onReceive` was handled, and that none is raised until the
    /// socket is resumed. Legal in every state.
    ///
    /// # Errors
    /// [`EventsInFlight`](crate::Error::EventsInFlight) if a listener has not
    /// handled an earlier event within [`PAUSE_GRACE`](crate::PAUSE_GRACE). The
    /// socket is paused nevertheless.
    pub fn set_paused(&self, socket_id: UdpSocketId, paused: bool) -> Answer<()> {
        self.caller
            .call(|app| SetPaused::new(app, socket_id, paused))
    }

    /// [`set_paused`](Self::set_paused) without an answer. Handlers may still be
    /// called after `do_set_paused(id, true)`: only an answer tells when none is.
    pub fn do_set_paused(&self, socket_id: UdpSocketId, paused: bool) {
        self.caller
            .do_call(|app| SetPaused::new(app, socket_id, paused));
    }

    /// `udp.bind`: binds to an IP address of this machine and receives from then on.
    /// With port 0 the OS chooses one, which [`get_info`](Self::get_info) tells. `::`
    /// receives from IPv4 too.
    ///
    /// # Errors
    /// After an error the socket is as before.
    /// - [`UdpPermissionDenied`](crate::Error::UdpPermissionDenied): checked first.
    /// - [`CONNECTION_FAILED`](crate::NetError::CONNECTION_FAILED): it is bound
    ///   already.
    /// - [`InvalidArgument`](crate::Error::InvalidArgument): the address is no
    ///   canonical IP literal, or the port is outside 0–65535.
    /// - [`ADDRESS_INVALID`](crate::NetError::ADDRESS_INVALID): not an address of
    ///   this machine.
    /// - [`ADDRESS_IN_USE`](crate::NetError::ADDRESS_IN_USE)
    /// - any other error of the OS.
    pub fn bind(
        &self,
        socket_id: UdpSocketId,
        address: impl Into<String>,
        port: i32,
    ) -> Answer<()> {
        self.caller
            .call(|app| Bind::new(app, socket_id, address.into(), port))
    }

    /// `udp.send`: sends a datagram, whole or not at all, to a host name or an IP
    /// address. A name is resolved to the family of the socket, outside the actor's
    /// thread; later sends do not wait for it. The answer means that the OS has taken
    /// the datagram. That no one receives it is no error.
    ///
    /// # Errors
    /// - [`UdpPermissionDenied`](crate::Error::UdpPermissionDenied): the app may not
    ///   send to this host and port. Checked first, before the name is resolved.
    /// - [`SOCKET_NOT_CONNECTED`](crate::NetError::SOCKET_NOT_CONNECTED): the socket
    ///   is not bound.
    /// - [`MSG_TOO_BIG`](crate::NetError::MSG_TOO_BIG): above 65,507 bytes over IPv4.
    /// - [`NAME_NOT_RESOLVED`](crate::NetError::NAME_NOT_RESOLVED)
    /// - [`ACCESS_DENIED`](crate::NetError::ACCESS_DENIED): a broadcast address, and
    ///   [`set_broadcast`](Self::set_broadcast) was not called.
    /// - [`InvalidArgument`](crate::Error::InvalidArgument): a port outside 0–65535.
    /// - [`WriteQuotaExceeded`](crate::Error::WriteQuotaExceeded): nothing was sent.
    /// - any other error of the OS.
    pub fn send(
        &self,
        socket_id: UdpSocketId,
        data: impl Into<Bytes>,
        address: impl Into<String>,
        port: i32,
        dns_query_type: DnsQueryType,
    ) -> Answer<SendInfo> {
        self.caller.call(|app| {
            Send::new(
                app,
                socket_id,
                data.into(),
                address.into(),
                port,
                dns_query_type,
            )
        })
    }

    /// `udp.close`: releases the port and removes the socket; its id is unknown at
    /// once, and the answer means that the port is free. A bound socket that is not
    /// paused raises `onReceiveError`
    /// ([`CONNECTION_CLOSED`](crate::NetError::CONNECTION_CLOSED)) before the answer,
    /// as in Chrome. Sends for which the OS had no room yet answer
    /// [`ABORTED`](crate::NetError::ABORTED).
    pub fn close(&self, socket_id: UdpSocketId) -> Answer<()> {
        self.caller.call(|app| Close::new(app, socket_id))
    }

    /// [`close`](Self::close) without an answer.
    pub fn do_close(&self, socket_id: UdpSocketId) {
        self.caller.do_call(|app| Close::new(app, socket_id));
    }

    /// `udp.getInfo`.
    pub fn get_info(&self, socket_id: UdpSocketId) -> Answer<SocketInfo> {
        self.caller.call(|app| GetInfo::new(app, socket_id))
    }

    /// `udp.getSockets`: the app's sockets, in the order of their ids.
    pub fn get_sockets(&self) -> Answer<Vec<SocketInfo>> {
        self.caller.call(GetSockets::new)
    }

    /// `udp.joinGroup`: receives what is sent to a multicast group, at the interface
    /// that the OS chooses.
    ///
    /// # Errors
    /// - [`UdpPermissionDenied`](crate::Error::UdpPermissionDenied): the manifest's
    ///   `multicastMembership` does not permit it. Checked first.
    /// - [`ADDRESS_INVALID`](crate::NetError::ADDRESS_INVALID): not an IP address, of
    ///   another family than the socket, or joined already.
    /// - [`UNEXPECTED`](crate::NetError::UNEXPECTED): the socket is not bound.
    /// - [`InvalidArgument`](crate::Error::InvalidArgument): not a multicast address.
    /// - any other error of the OS, which limits how many groups a socket joins.
    pub fn join_group(&self, socket_id: UdpSocketId, address: impl Into<String>) -> Answer<()> {
        self.caller
            .call(|app| JoinGroup::new(app, socket_id, address.into()))
    }

    /// `udp.leaveGroup`.
    ///
    /// # Errors
    /// [`UdpPermissionDenied`](crate::Error::UdpPermissionDenied), as
    /// [`join_group`](Self::join_group).
    /// [`ADDRESS_INVALID`](crate::NetError::ADDRESS_INVALID): the socket has not joined
    /// it.
    pub fn leave_group(&self, socket_id: UdpSocketId, address: impl Into<String>) -> Answer<()> {
        self.caller
            .call(|app| LeaveGroup::new(app, socket_id, address.into()))
    }

    /// `udp.getJoinedGroups`: in the order in which they were joined.
    pub fn get_joined_groups(&self, socket_id: UdpSocketId) -> Answer<Vec<IpAddr>> {
        self.caller.call(|app| GetJoinedGroups::new(app, socket_id))
    }

    /// `udp.setMulticastTimeToLive`: how many routers a datagram to a group passes, and
    /// one more. The OS's default is 1: the local network. Only before `bind`.
    ///
    /// # Errors
    /// [`SOCKET_IS_CONNECTED`](crate::NetError::SOCKET_IS_CONNECTED) after `bind`.
    /// [`InvalidArgument`](crate::Error::InvalidArgument) outside 0–255.
    pub fn set_multicast_time_to_live(&self, socket_id: UdpSocketId, ttl: i32) -> Answer<()> {
        self.caller
            .call(|app| SetMulticastTimeToLive::new(app, socket_id, ttl))
    }

    /// `udp.setMulticastLoopbackMode`: whether groups that this machine has joined
    /// receive the socket's datagrams too, which is the OS's default. Only before `bind`.
    ///
    /// # Errors
    /// [`SOCKET_IS_CONNECTED`](crate::NetError::SOCKET_IS_CONNECTED) after `bind`.
    pub fn set_multicast_loopback_mode(&self, socket_id: UdpSocketId, enabled: bool) -> Answer<()> {
        self.caller
            .call(|app| SetMulticastLoopbackMode::new(app, socket_id, enabled))
    }

    /// `udp.setBroadcast`: whether datagrams may be sent to broadcast addresses. Only
    /// after `bind`; by default they may not.
    ///
    /// # Errors
    /// [`SOCKET_NOT_CONNECTED`](crate::NetError::SOCKET_NOT_CONNECTED) before `bind`.
    pub fn set_broadcast(&self, socket_id: UdpSocketId, enabled: bool) -> Answer<()> {
        self.caller
            .call(|app| SetBroadcast::new(app, socket_id, enabled))
    }

    /// The handle of a socket. Its calls do not pass through the registry.
    pub fn socket(&self, socket_id: UdpSocketId) -> Answer<Socket> {
        self.caller.call(|app| GetSocket::new(app, socket_id))
    }
}
