//! The apps of the host and their clients. Each app has one client at a time.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::{Addr, WeakAddr};
use bytes::Bytes;
use chrome_sockets::{App, AppId, Permissions, Registry};
use serde_json::{Value, json};
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, timeout};

use crate::access::manifests::FileReader;
use crate::access::peers::{PeerSlot, Peers};
use crate::access::policy;
use crate::access::policy::{PeerIdentity, Policy, quoted};
use crate::excerpt::{Excerpt, for_answer, for_log};
use crate::limits::{Limits, NAME, VERSION};
use crate::log_limiter::LogLimiter;
use crate::protocol::close_reason::{CloseReason, Code};
use crate::protocol::frame;
use crate::protocol::frame::{Encoding, Frame, Hello};
use crate::sessions::budget::{Charge, MemoryBudget, SendBudget};
use crate::sessions::event_sink::{ClosedByAdmin, EventSink};
use crate::sessions::session::Session;
use crate::sessions::state::SessionContext;
use crate::sessions::stats::{Counters, SocketStats};
use crate::settings::Settings;
use crate::traffic::Traffic;

mod reload;

/// What the host sends as its name and version.
const HOST_NAME: &str = concat!("chrome-sockets/", env!("CARGO_PKG_VERSION"));

/// The apps and clients of a host. Clones share them.
#[derive(Clone)]
pub(crate) struct SessionDirectory(Rc<Inner>);

struct Inner {
    registry: Addr<Registry>,
    /// Replaced as a whole, so that each client sees one version.
    settings: RefCell<Rc<Settings>>,
    traffic: Arc<Traffic>,
    files: FileReader,
    /// Identifies this run of the host.
    instance: String,
    clients: RefCell<HashMap<AppId, ClientState>>,
    /// Limits clients in total, per address and per page.
    slots: Peers,
    memory: MemoryBudget,
    send_budget: SendBudget,
    log_limiter: LogLimiter,
    /// The earliest time of the next admin list. The lock makes one list at a time.
    next_list: Rc<Mutex<Instant>>,
    stopping: watch::Sender<bool>,
    /// The apps that have a client or a socket.
    apps: RefCell<BTreeMap<AppId, AppEntry>>,
    /// The counters of apps that have neither any more.
    removed: Cell<Counters>,
    start: Instant,
    /// Every admin connection holds a clone.
    admins: Rc<()>,
}

struct AppEntry {
    /// Its client has sent the manifest that is in force.
    has_client_manifest: bool,
    socket_stats: Rc<RefCell<SocketStats>>,
    /// The memory of its sockets.
    socket_charge: Rc<RefCell<Charge>>,
    /// Receives the events for its client.
    sink: Option<WeakAddr<EventSink>>,
}

/// The client of an app. An app without a client has none.
enum ClientState {
    Connected,
    /// The app is being suspended. The sender is dropped when that is done.
    Disconnecting(watch::Receiver<()>),
}

/// A connected client. Call [`close`](Self::close) when it disconnects.
pub(crate) struct ClientSession {
    app: AppId,
    directory: SessionDirectory,
    log_limiter: LogLimiter,
    _slot: PeerSlot,
    pub(crate) session: Session,
    /// The frame that answers the hello.
    pub(crate) welcome: Bytes,
}

impl SessionDirectory {
    pub(crate) fn new(registry: Addr<Registry>, settings: Settings) -> Self {
        // `RandomState` is seeded by the OS.
        let random = || RandomState::new().build_hasher().finish();
        let limits = settings.limits;
        SessionDirectory(Rc::new(Inner {
            registry,
            settings: RefCell::new(Rc::new(settings)),
            traffic: Arc::default(),
            slots: Peers::new(limits.clients),
            memory: MemoryBudget::new(&limits),
            send_budget: SendBudget::new(&limits),
            log_limiter: LogLimiter::default(),
            next_list: Rc::new(Mutex::new(Instant::now())),
            files: FileReader::new(),
            instance: format!("{:016x}{:016x}", random(), random()),
            clients: RefCell::default(),
            stopping: watch::Sender::new(false),
            apps: RefCell::default(),
            removed: Cell::default(),
            start: Instant::now(),
            admins: Rc::default(),
        }))
    }

    pub(crate) fn settings(&self) -> Rc<Settings> {
        self.0.settings.borrow().clone()
    }

    pub(crate) fn memory(&self) -> &MemoryBudget {
        &self.0.memory
    }

    pub(crate) fn send_budget(&self) -> &SendBudget {
        &self.0.send_budget
    }

    pub(crate) fn traffic(&self) -> &Arc<Traffic> {
        &self.0.traffic
    }

    pub(crate) fn client_count(&self) -> usize {
        self.0.slots.count()
    }

    pub(crate) fn log_limiter(&self) -> &LogLimiter {
        &self.0.log_limiter
    }

    /// Closes every connection with the reason that the host stops.
    pub(crate) fn stop(&self) {
        self.0.stopping.send_replace(true);
    }

    /// Waits until the host stops.
    pub(crate) fn stopped(&self) -> impl Future<Output = CloseReason> + use<> {
        let mut stopping = self.0.stopping.subscribe();
        async move {
            // An error means that the directory was dropped, which is a stop too.
            let _ = stopping.wait_for(|stopping| *stopping).await;
            CloseReason::new(Code::Stopping, "the host is stopping")
        }
    }

    /// Opens the session of a client that sent this first frame. `output` is the encoding of
    /// the frames to it.
    pub(crate) async fn open_session(
        &self,
        peer: &PeerIdentity,
        encoding: Encoding,
        bytes: Bytes,
        output: Encoding,
    ) -> Result<ClientSession, CloseReason> {
        let settings = self.settings();
        let limits = settings.limits;
        let hello = Frame::read(encoding, bytes, limits.frame)?.into_hello()?;
        let hello: Hello<'_> = frame::parse_object(&hello)?;
        let id = settings.policy.resolve_app(&hello, peer)?;
        let log_limiter = match peer.address {
            Some(address) => self.0.log_limiter.for_peer(address),
            None => self.0.log_limiter.clone(),
        };
        let slot = self.0.slots.reserve(peer.address, peer.origin.clone());
        let slot = slot.ok_or_else(|| {
            let text = "too many clients in total, from this address or from this page";
            CloseReason::new(Code::Busy, text)
        })?;
        let permissions = self
            .permissions(&settings.policy, &id, &hello, &log_limiter)
            .await?;
        let reservation = self.reserve(&id, limits.handshake_timeout).await?;
        let app = App::new(id.clone(), &self.0.registry);
        let started = async {
            app.set_permissions(permissions).await?;
            app.resume().await?;
            let (socket_stats, socket_charge) = {
                let mut apps = self.0.apps.borrow_mut();
                let entry = apps.entry(id.clone()).or_insert_with(|| AppEntry {
                    socket_stats: Rc::default(),
                    socket_charge: Rc::new(RefCell::new(self.0.memory.charge())),
                    sink: None,
                    has_client_manifest: false,
                });
                entry.has_client_manifest = settings.policy.client_manifest(&hello).is_some();
                (entry.socket_stats.clone(), entry.socket_charge.clone())
            };
            Session::start(SessionContext {
                app,
                encoding: output,
                limits,
                socket_stats,
                socket_charge,
                memory: self.0.memory.clone(),
                send_budget: self.0.send_budget.clone(),
                log_limiter: log_limiter.clone(),
                proxy_protocol: settings.app_proxy_protocol(),
            })
            .await
        };
        // Only a registry that has ended fails here.
        let session = started
            .await
            .map_err(|error| CloseReason::new(Code::Stopping, error))?;
        if let Some(entry) = self.0.apps.borrow_mut().get_mut(&id) {
            entry.sink = Some(session.sink());
        }
        if !Rc::ptr_eq(&settings, &self.settings()) {
            // A reload did not see the app yet.
            self.reload_permissions(&id).await;
        }
        if log_limiter.allows() {
            let client = hello.client.as_ref().map_or("", |client| &client.0);
            let client = Excerpt(client, NAME).to_string();
            let origin = for_answer(peer.origin.as_deref().unwrap_or("none"));
            let address = peer.address.map(|address| format!(" from {address}"));
            let address = address.unwrap_or_default();
            log::info!("app {id} connected{address}: client {client:?}, origin {origin}");
        }
        reservation.commit();
        Ok(ClientSession {
            welcome: self.welcome_frame(output, &limits, "app", id.as_str().into()),
            app: id,
            directory: self.clone(),
            log_limiter,
            _slot: slot,
            session,
        })
    }

    /// The frame that answers a hello, with one field more.
    pub(crate) fn welcome_frame(
        &self,
        output: Encoding,
        limits: &Limits,
        name: &str,
        value: Value,
    ) -> Bytes {
        let mut welcome = json!({
            "protocol": VERSION,
            "host": HOST_NAME,
            "instance": self.0.instance,
            "limits": {
                "frame": limits.frame,
                "data": Limits::data(limits.frame),
                "frames": limits.frames,
                "window": limits.window,
                "quota": limits.write_quota,
                "calls": limits.calls,
                "sockets": limits.sockets,
            },
        });
        welcome[name] = value;
        let field = format!(r#""welcome":{welcome}"#);
        frame::write(output, &[&field], &[])
    }

    /// What the app may do. Files are read outside the event loop.
    async fn permissions(
        &self,
        policy: &Policy,
        app: &AppId,
        hello: &Hello<'_>,
        log_limiter: &LogLimiter,
    ) -> Result<Permissions, CloseReason> {
        if let Some(manifest) = policy.client_manifest(hello) {
            let (permissions, warnings) = policy::parse_manifest(app, manifest)?;
            for warning in warnings {
                if log_limiter.allows() {
                    let warning = warning.to_string();
                    log::warn!("app {app}: its manifest: {}", for_log(&warning));
                }
            }
            return Ok(permissions);
        }
        let Some(path) = policy.manifest.clone() else {
            return Ok(Permissions::none());
        };
        let id = app.clone();
        let read = self.0.files.run(move || policy::read_manifest(&path, &id));
        read.await.unwrap_or_else(|error| {
            if log_limiter.allows() {
                log::warn!("app {app}: its manifest file: {error}");
            }
            let text = format!("the app's manifest: {error}");
            Err(CloseReason::new(Code::Busy, text))
        })
    }

    /// Reserves the app, waiting for a previous client that is still disconnecting.
    async fn reserve(&self, app: &AppId, limit: Duration) -> Result<Reservation, CloseReason> {
        let in_use = || {
            let text = format!("another client is the app {}", quoted(app));
            CloseReason::new(Code::AppInUse, text)
        };
        loop {
            let mut disconnecting = match self.0.clients.borrow().get(app) {
                None => break,
                Some(ClientState::Connected) => return Err(in_use()),
                Some(ClientState::Disconnecting(done)) => done.clone(),
            };
            // `changed` ends when the sender is dropped. Another client may be faster than this
            // one, so look again.
            if timeout(limit, disconnecting.changed()).await.is_err() {
                return Err(in_use());
            }
        }
        let mut clients = self.0.clients.borrow_mut();
        clients.insert(app.clone(), ClientState::Connected);
        Ok(Reservation {
            directory: self.clone(),
            app: app.clone(),
            is_committed: false,
        })
    }

    /// Makes later clients of the app wait until the sender is dropped.
    fn start_disconnect(&self, app: &AppId) -> watch::Sender<()> {
        let (done, disconnecting) = watch::channel(());
        let state = ClientState::Disconnecting(disconnecting);
        self.0.clients.borrow_mut().insert(app.clone(), state);
        done
    }

    fn release(&self, app: &AppId) {
        self.0.clients.borrow_mut().remove(app);
    }
}

/// For admin connections.
impl SessionDirectory {
    /// Counts the admin connections: each holds a clone.
    pub(crate) fn admins(&self) -> Rc<()> {
        self.0.admins.clone()
    }

    pub(crate) fn next_list(&self) -> Rc<Mutex<Instant>> {
        self.0.next_list.clone()
    }

    /// The time since the host started.
    pub(crate) fn uptime(&self) -> Duration {
        self.0.start.elapsed()
    }

    /// The apps that have a client or a socket, by id.
    pub(crate) fn apps(&self) -> Vec<(AppId, Rc<RefCell<SocketStats>>)> {
        let apps = self.0.apps.borrow();
        let apps = apps.iter();
        apps.map(|(id, entry)| (id.clone(), entry.socket_stats.clone()))
            .collect()
    }

    pub(crate) fn socket_stats(&self, app: &AppId) -> Option<Rc<RefCell<SocketStats>>> {
        let apps = self.0.apps.borrow();
        apps.get(app).map(|entry| entry.socket_stats.clone())
    }

    /// The counters of apps that are no longer listed.
    pub(crate) fn removed_counters(&self) -> Counters {
        self.0.removed.get()
    }

    pub(crate) fn is_connected(&self, app: &AppId) -> bool {
        matches!(
            self.0.clients.borrow().get(app),
            Some(ClientState::Connected)
        )
    }

    pub(crate) fn app(&self, app: &AppId) -> App {
        App::new(app, &self.0.registry)
    }

    /// Records that the admin closed a socket. `raise`: the client gets an error event.
    pub(crate) fn closed_by_admin(&self, app: &AppId, closed: ClosedByAdmin, raise: bool) {
        let apps = self.0.apps.borrow();
        let Some(entry) = apps.get(app) else {
            return;
        };
        let mut socket_stats = entry.socket_stats.borrow_mut();
        socket_stats.close(closed.0, closed.1);
        entry.socket_charge.borrow_mut().set(socket_stats.cost());
        let sink = entry.sink.as_ref().and_then(WeakAddr::upgrade);
        if let Some(sink) = sink.filter(|_| raise) {
            sink.do_send(closed);
        }
    }

    /// Removes an app that has neither a client nor a socket.
    pub(crate) async fn remove_if_unused(&self, app: &AppId) {
        let socket_stats = self.socket_stats(app);
        let is_empty = socket_stats.is_some_and(|it| it.borrow().is_empty());
        if !is_empty || self.0.clients.borrow().contains_key(app) {
            return;
        }
        // A client that connects meanwhile waits.
        let done = self.start_disconnect(app);
        // An error means that the registry has ended, and the app with it.
        let _ = self.app(app).unload().await;
        self.client_disconnected(app);
        self.release(app);
        drop(done);
    }

    /// Removes the app if it has no sockets either, but keeps its counters.
    fn client_disconnected(&self, app: &AppId) {
        let mut apps = self.0.apps.borrow_mut();
        let Some(entry) = apps.get_mut(app) else {
            return;
        };
        entry.sink = None;
        let socket_stats = entry.socket_stats.borrow();
        if socket_stats.is_empty() {
            let removed = [self.0.removed.get(), socket_stats.totals()];
            self.0.removed.set(Counters::sum(removed));
            drop(socket_stats);
            apps.remove(app);
        }
    }
}

/// An app that is reserved for a new client. Dropping it before `commit` releases the app.
struct Reservation {
    directory: SessionDirectory,
    app: AppId,
    is_committed: bool,
}

impl Reservation {
    fn commit(mut self) {
        self.is_committed = true;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.is_committed {
            self.directory.release(&self.app);
        }
    }
}

impl ClientSession {
    pub(crate) fn app(&self) -> &AppId {
        &self.app
    }

    /// Suspends the app, and then releases it and the slot of its client.
    pub(crate) async fn close(self) {
        let ClientSession {
            app,
            directory,
            log_limiter,
            session,
            _slot,
            ..
        } = self;
        let done = directory.start_disconnect(&app);
        session.close().await;
        directory.client_disconnected(&app);
        if log_limiter.allows() {
            log::info!("app {app} disconnected");
        }
        directory.release(&app);
        drop(done);
    }
}
