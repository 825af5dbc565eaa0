//! `chrome.sockets.udp`: sockets that send and receive datagrams.
//!
//! As in [`tcp`](crate::tcp), a socket is neither a task nor an actor but an entry of one actor per
//! arbiter.

mod actor;
mod binding;
mod bulk;
mod command;
mod events;
mod handover;
mod messages;
mod recovery;
mod shards;
mod socket;
mod types;

pub(crate) use actor::SocketTable;
pub(crate) use binding::destination::Destination;
pub(crate) use bulk::{GetInfos, ListenersChanged, Stop};
pub(crate) use command::{Command, CommandQueue};
pub use events::{ReceiveBatch, ReceiveErrorInfo, ReceiveInfo};
pub(crate) use handover::{Export, Inherited, Quiesce, are_valid_groups};
pub use messages::{
    Bind, Close, Create, GetInfo, GetJoinedGroups, GetSocket, GetSockets, JoinGroup, LeaveGroup,
    Send, SetBroadcast, SetMulticastLoopbackMode, SetMulticastTimeToLive, SetPaused, Update,
};
pub(crate) use shards::{AppShards, IdTable, Shard};
pub use socket::Socket;
pub use types::{CreateInfo, SocketInfo, SocketProperties};

pub use crate::tcp::{DEFAULT_BUFFER_SIZE, DnsQueryType, SendInfo};
