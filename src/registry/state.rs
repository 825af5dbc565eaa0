//! The state of a registry and of its apps: only data.
//!
//! These types refer to each other, because the callbacks of an app are given
//! the registry's address. What the registry does with them is in the other
//! files of this folder.

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
use crate::registry::handover::types::{OutgoingHandover, PreparedImport};
use crate::registry::lifecycle::orphaned::OrphanBackoff;
use crate::registry::lifecycle::timer::Timer;
use crate::supervision::{RegistryLink, RestartCounter, RestartInfo, StableAddr, SupervisedActor};
use crate::tcp::{self, AppShards, IdTable};
use crate::tcp_server::{self, EscalationTarget, Limiter, ServerSocket};
use crate::tls;
use crate::udp;

/// Owns every socket of its apps.
///
/// It is a plain actor: start it with [`start`](Self::start), and send it the
/// messages of [`tcp_server`](crate::tcp_server) and [`tcp`](crate::tcp), or
/// use an [`App`](crate::App), which sends them. Calls are carried out in the
/// order in which they are sent. Its mailbox is unbounded, so that no call
/// overtakes another; the bounds are the answers that callers await, and the
/// write quota. The registry ends, and closes every socket, when its last
/// address is dropped or by [`Shutdown`](crate::Shutdown).
#[derive(derive_more::Debug)]
pub struct Registry {
    #[debug(skip)]
    pub(super) network: Arc<dyn Network>,
    /// Addresses that no app may connect to.
    #[debug(skip)]
    pub(super) denied_addresses: DeniedAddresses,
    pub(super) write_quota: usize,
    /// For apps that have no permissions of their own.
    pub(super) permissions: Arc<Permissions>,
    #[debug(skip)]
    pub(super) limiter: Arc<Limiter>,
    #[debug(skip)]
    pub(super) escalation_target: Arc<EscalationTarget>,
    #[debug(skip)]
    pub(super) lookups: Arc<tcp::Lookups>,
    #[debug(skip)]
    pub(super) send_reserve: Arc<tcp::SendReserve>,
    #[debug(skip)]
    pub(super) tls: tls::Client,
    #[debug(skip)]
    pub(super) server_ids: IdAllocator,
    #[debug(skip)]
    pub(super) apps: HashMap<AppId, AppState>,
    /// The client sockets of every app.
    #[debug(skip)]
    pub(super) id_table: Arc<IdTable>,
    /// The sockets of `chrome.sockets.udp` of every app.
    #[debug(skip)]
    pub(super) udp_ids: Arc<udp::IdTable>,
    pub(super) arbiter_count: usize,
    /// Empty until they are needed.
    #[debug(skip)]
    pub(super) shard_slots: Vec<ShardSlot>,
    #[debug(skip)]
    pub(super) registry_link: RegistryLink,
    /// Of the metrics.
    #[cfg(feature = "metrics")]
    pub(super) publish_interval: Option<Duration>,
    #[debug(skip)]
    pub(super) recovery: RecoveryState,
    #[debug(skip)]
    pub(super) outgoing: Option<OutgoingHandover>,
    #[debug(skip)]
    pub(super) incoming: Option<PreparedImport>,
}

/// What the registry needs to continue after a failure of its actor.
#[derive(Default)]
pub(super) struct RecoveryState {
    pub(super) restart_counter: Option<Arc<RestartCounter>>,
    /// Where it may be restarted: in its own arbiter, or else in the system's.
    pub(super) arbiters: Vec<ArbiterHandle>,
    /// Holders of its address, to be updated when it moves.
    pub(super) addresses: Vec<Weak<StableAddr<Registry>>>,
    /// Whether it was restarted, and has to restart what its failure ended.
    pub(super) was_restarted: bool,
    /// Whether an injected fault stops it after this message.
    pub(super) stop_requested: bool,
    /// Whether its end is intended.
    pub(super) has_ended: bool,
}

/// The state of one app.
pub(super) struct AppState {
    pub(super) lifecycle: Lifecycle,
    pub(super) on_suspend: Listeners<SuspendInfo>,
    pub(super) on_restart: Listeners<RestartInfo>,
    /// Shared with the `onRestart` events in flight, whose number it tells.
    pub(super) unhandled_restarts: Arc<()>,
    /// How many restarts were not reported since the last event.
    pub(super) missed_restarts: u64,
    /// The listeners of server sockets, and their shared limits.
    pub(super) app_listeners: Arc<tcp_server::AppListeners>,
    /// The app's client sockets, their listeners and their shared bounds.
    pub(super) app_shards: Arc<AppShards>,
    /// The app's sockets of `chrome.sockets.udp`, and their listeners.
    pub(super) udp: Arc<udp::AppShards>,
    /// Start the app's listeners in each arbiter of client sockets.
    pub(super) arbiter_inits: Vec<ArbiterInit>,
    pub(super) servers: BTreeMap<ServerSocketId, SupervisedActor<ServerSocket>>,
    /// How many sockets the app may create; `None` for no limit.
    pub(super) socket_limit: Option<usize>,
}

/// Starts an app's listeners in the arbiter with this index.
pub(crate) type ArbiterInit = Arc<dyn Fn(&AppId, &Addr<Registry>, usize) + Send + Sync>;

/// The suspensions and loads of one app.
#[derive(Default)]
pub(super) struct Lifecycle {
    pub(super) event_page: Option<EventPage>,
    /// Transitions that wait for the running one.
    pub(super) queue: VecDeque<(Transition, Reply<()>)>,
    pub(super) running: Option<Transition>,
    /// The next delay, while the event page fails to start.
    pub(super) load_backoff: Option<Duration>,
    pub(super) orphan_backoff: OrphanBackoff,
    /// Loads the app again when it fires.
    pub(super) retry_timer: Option<Timer>,
    pub(super) idle_timer: Option<Timer>,
    /// How many checks in a row have found the app idle.
    pub(super) idle_checks: u32,
}

#[derive(Clone, Copy)]
pub(super) enum Transition {
    Suspend,
    Resume,
}

/// Starts an app when its sockets have something to report: Chrome's event page.
///
/// The function is called in the registry's arbiter. The event page has started
/// when the function's future is complete; by then it has added the app's
/// listeners. If the future fails, panics, or takes longer than
/// [`LOAD_LIMIT`](crate::lifecycle::LOAD_LIMIT), the app stays suspended and its
/// sockets keep what they have to report. The page is started again after 100
/// ms; the delay doubles with each failure, up to 30 s.
///
/// The page is also started when a socket has something to report (`onAccept`,
/// `onAcceptError`, `onReceive` or `onReceiveError`) and the last listener of
/// that event has died without a suspension, for instance by a panic. Then the
/// app's other listeners are removed, since the page adds all of them. Its
/// sockets stay, persistent or not, and raise nothing until the page has
/// started. If listeners die soon after each start (within ten delays), the next
/// start is delayed too: by 100 ms, doubled each time up to 30 s. An app that
/// has removed its listeners itself is not loaded.
#[derive(Clone, derive_more::Debug)]
pub struct EventPage {
    #[debug(skip)]
    pub(super) start: Arc<Start>,
    pub(super) idle_timeout: Option<Duration>,
}

type Start =
    dyn Fn(AppId, Addr<Registry>) -> LocalBoxFuture<'static, Result<(), Error>> + Send + Sync;
