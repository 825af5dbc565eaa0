//! The state of a registry and of its apps: only data.
//!
//! These types refer to each other, since an app's callbacks are given the registry's address. What the
//! registry does with them is in the other files of this folder.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Weak};
use std::time::Duration;

use actix::prelude::*;
use futures::future::LocalBoxFuture;

use crate::answer::Reply;
use crate::app_activity::SuspendInfo;
use crate::error::Error;
use crate::events::Listeners;
use crate::ids::{AppId, IdAllocator, ServerSocketId};
use crate::manifest::Permissions;
use crate::os::{DeniedAddresses, Network};
use crate::registry::arbiters::shard_slot::ShardSlot;
use crate::registry::handover::types::{Leaving, Prepared};
use crate::registry::lifecycle::orphaned::OrphanBackoff;
use crate::registry::lifecycle::timer::Timer;
use crate::supervision::{Child, RegistryLink, RestartCounter, RestartInfo, StableAddr};
use crate::tcp::{self, AppShards, IdTable};
use crate::tcp_server::{self, EscalationTarget, Limiter, ServerSocket};
use crate::tls;

/// Owns every socket of its apps.
///
/// It is a plain actor: start it with [`start`](Self::start), send it the
/// messages of [`tcp_server`](crate::tcp_server) and [`tcp`](crate::tcp), or
/// hold an [`App`](crate::App), which does that. Calls are carried out in the
/// order in which they are sent. Its mailbox takes every message, so that
/// none overtakes another; what bounds the work are the answers that the
/// callers wait for, and the write quota. It ends, and closes every socket,
/// when its last address is dropped or by [`Shutdown`].
#[derive(derive_more::Debug)]
pub struct Registry {
    #[debug(skip)]
    pub(super) network: Arc<dyn Network>,
    /// Where in it no app may connect to.
    #[debug(skip)]
    pub(super) denied: DeniedAddresses,
    pub(super) write_quota: usize,
    /// Of apps that have none of their own.
    pub(super) permissions: Arc<Permissions>,
    #[debug(skip)]
    pub(super) limits: Arc<Limiter>,
    #[debug(skip)]
    pub(super) escalation_target: Arc<EscalationTarget>,
    #[debug(skip)]
    pub(super) lookups: Arc<tcp::Lookups>,
    #[debug(skip)]
    pub(super) tls: tls::Client,
    #[debug(skip)]
    pub(super) server_ids: IdAllocator,
    #[debug(skip)]
    pub(super) apps: Apps,
    /// The client sockets of every app.
    #[debug(skip)]
    pub(super) table: Arc<IdTable>,
    pub(super) arbiters: usize,
    #[debug(skip)]
    pub(super) seats: Vec<ShardSlot>,
    /// The way back, for what its apps have.
    #[debug(skip)]
    pub(super) registry_link: RegistryLink,
    #[debug(skip)]
    pub(super) fall: RecoveryState,
    #[debug(skip)]
    pub(super) leaving: Option<Leaving>,
    #[debug(skip)]
    pub(super) prepared: Option<Prepared>,
}

/// What the registry needs to go on after a fall.
#[derive(Default)]
pub(super) struct RecoveryState {
    pub(super) restart_counter: Option<Arc<RestartCounter>>,
    /// Where it goes on: the arbiter that it lives in, or else the system's.
    pub(super) arbiters: Vec<ArbiterHandle>,
    /// Who has to know its new address.
    pub(super) doors: Vec<Weak<StableAddr<Registry>>>,
    /// Whether it has begun anew and what it waited for has not.
    pub(super) is_new: bool,
    /// Whether it is to stop: a fault.
    pub(super) stops: bool,
    /// Whether its end is meant.
    pub(super) ended: bool,
}

/// What is kept of one app.
pub(super) struct AppState {
    pub(super) lifecycle: Lifecycle,
    pub(super) on_suspend: Listeners<SuspendInfo>,
    pub(super) on_restart: Listeners<RestartInfo>,
    /// Of the restarts that listeners have not handled, and how many were not
    /// told since.
    pub(super) untold_restarts: (Arc<()>, u64),
    pub(super) on_accept: Arc<tcp_server::AppListeners>,
    /// Its ways to the rows actors, its listeners and its bounds.
    pub(super) app_shards: Arc<AppShards>,
    /// What starts its listeners in the arbiters of client sockets.
    pub(super) setups: Vec<ArbiterInit>,
    pub(super) servers: BTreeMap<ServerSocketId, Child<ServerSocket>>,
    /// How many sockets it may make.
    pub(super) sockets: Option<usize>,
}

#[derive(Default)]
pub(super) struct Apps(pub(super) HashMap<AppId, AppState>);

/// What the registry does with one app's life.
#[derive(Default)]
pub(super) struct Lifecycle {
    pub(super) page: Option<EventPage>,
    /// The calls that wait for the one that is being carried out.
    pub(super) calls: VecDeque<(Call, Reply<()>)>,
    /// What is being carried out.
    pub(super) busy: Option<Call>,
    /// How long the next rest is, while the page does not start.
    pub(super) rest: Option<Duration>,
    pub(super) desertion: OrphanBackoff,
    pub(super) retry: Option<Timer>,
    pub(super) idle_watch: Option<Timer>,
    /// How often it was found idle, one time after the other.
    pub(super) idle: u32,
}

#[derive(Clone, Copy)]
pub(super) enum Call {
    Suspend,
    Resume,
}

/// How an app is started when something waits for it: Chrome's event page.
///
/// It is called in the registry's arbiter, and has started when its future is
/// done: by then it has added its listeners. An error, a panic, or taking
/// longer than [`LOAD_LIMIT`](crate::lifecycle::LOAD_LIMIT) means that it did not start: the app stays
/// suspended, what waits for it goes on waiting, and it is tried again after a
/// rest of 100 ms, doubled each time up to 30 s.
///
/// It is called too when something is to be told (`onAccept`, `onAcceptError`,
/// `onReceive` or `onReceiveError`) and nobody hears it because the last of
/// its listeners has died, without a suspension: its actor panicked, for
/// instance. The app's other listeners are forgotten then, as it adds all of
/// them; its sockets, persistent or not, stay, and raise nothing until it has
/// started. Listeners that die soon after each start (within ten rests) have
/// it rest too, 100 ms and twice as long each time up to 30 s. An app that has
/// removed its listeners itself is not loaded.
#[derive(Clone, derive_more::Debug)]
pub struct EventPage {
    #[debug(skip)]
    pub(super) start: Arc<Start>,
    pub(super) idle_time_out: Option<Duration>,
}

type Start =
    dyn Fn(AppId, Addr<Registry>) -> LocalBoxFuture<'static, Result<(), Error>> + Send + Sync;

/// Starts an app's listeners in an arbiter: the one with this number.
pub(crate) type ArbiterInit = Arc<dyn Fn(&AppId, &Addr<Registry>, usize) + Send + Sync>;
