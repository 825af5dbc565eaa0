//! One message per function of `chrome.sockets.udp`, for the [`Registry`](crate::Registry). The
//! method of [`Udp`](crate::Udp) with the same name documents the call and its edge cases.

use std::net::IpAddr;

use bytes::Bytes;

use crate::answer::messages;
use crate::ids::UdpSocketId;
use crate::udp::{CreateInfo, DnsQueryType, SendInfo, Socket, SocketInfo, SocketProperties};

messages! {
    /// `udp.create`.
    Create {
        /// The properties of the new socket.
        properties: SocketProperties,
    } -> CreateInfo;

    /// `udp.update`.
    Update {
        /// The socket.
        socket_id: UdpSocketId,
        /// The properties that change.
        properties: SocketProperties,
    } -> ();

    /// `udp.setPaused`.
    SetPaused {
        /// The socket.
        socket_id: UdpSocketId,
        /// `true` to stop receiving, `false` to receive.
        paused: bool,
    } -> ();

    /// `udp.bind`.
    Bind {
        /// The socket.
        socket_id: UdpSocketId,
        /// An IP address of this machine.
        address: String,
        /// The port, 0–65535. With 0 the OS chooses one.
        port: i32,
    } -> ();

    /// `udp.send`.
    Send {
        /// The socket.
        socket_id: UdpSocketId,
        /// The datagram.
        data: Bytes,
        /// A host name or an IP address.
        address: String,
        /// The port of the receiver.
        port: i32,
        /// Which addresses of the name are allowed.
        dns_query_type: DnsQueryType,
    } -> SendInfo;

    /// `udp.close`.
    Close {
        /// The socket.
        socket_id: UdpSocketId,
    } -> ();

    /// `udp.getInfo`.
    GetInfo {
        /// The socket.
        socket_id: UdpSocketId,
    } -> SocketInfo;

    /// `udp.getSockets`.
    GetSockets {} -> Vec<SocketInfo>;

    /// `udp.joinGroup`.
    JoinGroup {
        /// The socket.
        socket_id: UdpSocketId,
        /// The IP address of the group.
        address: String,
    } -> ();

    /// `udp.leaveGroup`.
    LeaveGroup {
        /// The socket.
        socket_id: UdpSocketId,
        /// The IP address of the group.
        address: String,
    } -> ();

    /// `udp.setMulticastTimeToLive`.
    SetMulticastTimeToLive {
        /// The socket.
        socket_id: UdpSocketId,
        /// 0–255.
        ttl: i32,
    } -> ();

    /// `udp.setMulticastLoopbackMode`.
    SetMulticastLoopbackMode {
        /// The socket.
        socket_id: UdpSocketId,
        /// Whether groups that this machine has joined receive the socket's datagrams too.
        enabled: bool,
    } -> ();

    /// `udp.getJoinedGroups`.
    GetJoinedGroups {
        /// The socket.
        socket_id: UdpSocketId,
    } -> Vec<IpAddr>;

    /// `udp.setBroadcast`.
    SetBroadcast {
        /// The socket.
        socket_id: UdpSocketId,
        /// Whether datagrams may be sent to broadcast addresses.
        enabled: bool,
    } -> ();

    /// Returns the handle of a socket. Calls through the handle bypass the registry.
    GetSocket {
        /// The socket.
        socket_id: UdpSocketId,
    } -> Socket;
}
