//! The state of one socket: what the app set, and what it is bound to.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::Context;

use crate::answer::Reply;
use crate::error::Error;
use crate::events::redelivery::EventQueue;
use crate::events::{Event, Listeners};
use crate::invalid_argument::InvalidArgument;
use crate::name::checked_name;
use crate::net_error::{self, NetError};
use crate::os::{DatagramSocket, MulticastOptions, Network};
use crate::pending_pauses::PendingPauses;
use crate::udp::actor::send_later;
use crate::udp::binding::redelivery::Redelivery;
use crate::udp::binding::write::{FastPath, Unsent};
use crate::udp::command::Command;
use crate::udp::events::ReceiveErrorInfo;
use crate::udp::socket::{ActiveEvent, Socket};
use crate::udp::{DEFAULT_BUFFER_SIZE, SocketInfo, SocketProperties};

pub(in crate::udp) struct SocketState {
    pub(in crate::udp) socket: Socket,
    pub(in crate::udp) paused: bool,
    pub(in crate::udp) persistent: bool,
    pub(in crate::udp) name: Option<Box<str>>,
    pub(in crate::udp) buffer_size: Option<i32>,
    /// For `bind`.
    pub(in crate::udp) options: MulticastOptions,
    pub(in crate::udp) binding: Option<Binding>,
    pub(in crate::udp) transfer: Transfer,
    /// The `setPaused(true)` calls that wait until events in flight are handled.
    pub(in crate::udp) pausing: PendingPauses,
    /// `onReceiveError` events that are not raised yet.
    pub(in crate::udp) errors: EventQueue<NetError>,
    /// The number of the last raised datagram.
    pub(in crate::udp) last_raised: u64,
    /// How many listeners of the app had died at the last read.
    pub(in crate::udp) deaths: u64,
    /// Datagrams that have returned from dead listeners, or may still return.
    pub(in crate::udp) redelivery: Option<Box<Redelivery>>,
    /// How many datagrams were dropped because of panics.
    pub(in crate::udp) dropped_events: u64,
}

/// What a bound socket has.
pub(in crate::udp) struct Binding {
    /// Declared before `datagrams`: dropping it closes the fast path first.
    pub(in crate::udp) fast_path: Option<FastPath>,
    pub(in crate::udp) datagrams: Box<dyn DatagramSocket>,
    pub(in crate::udp) local: SocketAddr,
    pub(in crate::udp) groups: Vec<IpAddr>,
    pub(in crate::udp) unsent: Unsent,
}

/// The progress of a handover to another process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::udp) enum Transfer {
    None,
    /// No events are raised. Calls are carried out.
    Quiescing,
    /// The socket is not touched, and calls wait: the other process may already use both.
    Frozen,
}

impl SocketState {
    pub(in crate::udp) fn new(socket: Socket) -> Self {
        SocketState {
            socket,
            paused: false,
            persistent: false,
            name: None,
            buffer_size: None,
            options: MulticastOptions::default(),
            binding: None,
            transfer: Transfer::None,
            pausing: PendingPauses::default(),
            errors: EventQueue::default(),
            last_raised: 0,
            deaths: 0,
            redelivery: None,
            dropped_events: 0,
        }
    }

    pub(in crate::udp) fn update(&mut self, properties: SocketProperties) -> Result<(), Error> {
        if let Some(name) = properties.name {
            self.name = checked_name(name)?;
        }
        if let Some(persistent) = properties.persistent {
            self.persistent = persistent;
        }
        if let Some(size) = properties.buffer_size {
            self.buffer_size = (size >= 1).then_some(size);
        }
        Ok(())
    }

    pub(in crate::udp) fn info(&self) -> SocketInfo {
        let binding = self.binding.as_ref();
        SocketInfo {
            socket_id: self.socket.id(),
            persistent: self.persistent,
            name: self.name.as_deref().map(str::to_owned),
            buffer_size: self.buffer_size,
            paused: self.paused,
            local_address: binding.map(|binding| binding.local.ip()),
            local_port: binding.map(|binding| binding.local.port()),
            dropped_datagrams: binding.and_then(|binding| binding.datagrams.dropped()),
            dropped_events: self.dropped_events + self.errors.dropped(),
            #[cfg(feature = "metrics")]
            traffic: self.socket.traffic(),
        }
    }

    /// The longest datagram that is received.
    pub(in crate::udp) fn max_length(&self) -> usize {
        self.buffer_size
            .and_then(|size| usize::try_from(size).ok())
            .unwrap_or(DEFAULT_BUFFER_SIZE)
    }

    pub(in crate::udp) fn bind(
        &mut self,
        address: &str,
        port: i32,
        network: &Arc<dyn Network>,
    ) -> Result<(), Error> {
        let permissions = self.socket.app_shard().app_context.permissions();
        if !permissions.may_bind(address, port) {
            return Err(Error::UdpPermissionDenied);
        }
        if self.binding.is_some() {
            return Err(NetError::CONNECTION_FAILED.into());
        }
        let address: IpAddr = address.parse().map_err(|_| InvalidArgument::AddressNotIp)?;
        let port = u16::try_from(port).map_err(|_| InvalidArgument::PortOutOfRange)?;
        let bound = network.bind_datagram((address, port).into(), self.options);
        let bound = bound.and_then(Binding::new);
        self.binding = Some(bound.map_err(|error| net_error::listen(&error))?);
        self.socket.begin_traffic();
        self.socket.make_ready();
        Ok(())
    }

    /// Releases the port. If the socket was not paused, `onReceiveError` is raised.
    pub(in crate::udp) fn unbind(&mut self, why: NetError) {
        let Some(mut binding) = self.binding.take() else {
            return;
        };
        binding.fail_unsent(NetError::ABORTED);
        // Another process may own a frozen socket: only this process's descriptor is closed.
        if self.transfer != Transfer::Frozen && !self.paused {
            drop(binding);
            self.receiving_failed(why);
        }
    }

    /// Pauses the socket and raises `onReceiveError`.
    pub(in crate::udp) fn receiving_failed(&mut self, error: NetError) {
        self.paused = true;
        self.errors.push(error);
        self.raise_errors();
    }

    /// Raises `onReceiveError` events, unless the app is suspended. A persistent socket has it
    /// loaded.
    pub(in crate::udp) fn raise_errors(&mut self) {
        let socket = &self.socket;
        let app_shard = socket.app_shard();
        if self.transfer != Transfer::None {
            return;
        }
        if app_shard.activity.is_suspended() {
            if !self.errors.is_empty() {
                self.want_listeners(&app_shard.on_receive_error);
            }
            return;
        }
        let waker = socket.waker();
        let mut cx = Context::from_waker(&waker);
        let event = |result_code, _, token| ReceiveErrorInfo {
            socket_id: socket.id(),
            result_code,
            socket: socket.clone(),
            _token: token,
            _active: ActiveEvent::new(&app_shard.activity),
        };
        self.errors
            .raise(&app_shard.on_receive_error, &mut cx, event);
        if !self.errors.is_empty() {
            self.want_listeners(&app_shard.on_receive_error);
        }
    }

    /// Events wait for a listener: has the app loaded, if that brings one.
    pub(in crate::udp) fn want_listeners<E: Event>(&self, listeners: &Listeners<E>) {
        if self.may_load(listeners) {
            self.socket.app_shard().activity.request_load();
        }
    }

    /// Whether the app may be loaded for events that wait for these listeners.
    pub(in crate::udp) fn may_load<E: Event>(&self, listeners: &Listeners<E>) -> bool {
        let activity = &self.socket.app_shard().activity;
        match activity.is_suspended() {
            // A suspended app is loaded for persistent sockets only.
            true => self.persistent,
            false => activity.needs_reload(listeners),
        }
    }

    /// Answers when the events in flight are handled, but not later than after
    /// [`PAUSE_GRACE`](crate::PAUSE_GRACE).
    pub(in crate::udp) fn answer_when_handled(&mut self, reply: Reply<()>) {
        self.pausing.add(reply);
        self.arm_pause_timer();
        self.socket.make_ready();
    }

    pub(in crate::udp) fn pause_grace_elapsed(&mut self) {
        self.pausing.answer_overdue();
        self.pausing.timer_ended();
        self.arm_pause_timer();
    }

    /// Starts the timer for waiting pauses, if they need one.
    pub(in crate::udp) fn arm_pause_timer(&mut self) {
        if let Some(delay) = self.pausing.needs_timer() {
            send_later(delay, self.socket.clone(), Command::PauseGraceElapsed);
        }
    }
}

impl Binding {
    pub(in crate::udp) fn new(datagrams: Box<dyn DatagramSocket>) -> std::io::Result<Self> {
        Ok(Binding {
            fast_path: None,
            local: datagrams.local_addr()?,
            datagrams,
            groups: Vec::new(),
            unsent: Unsent::new(),
        })
    }
}
