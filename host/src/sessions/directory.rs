//! Where clients come in: each app is one client's at a time.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::rc::Rc;
use std::time::Duration;

use actix::{Addr, WeakAddr};
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, timeout};

use crate::access::manifests::FileReader;
use crate::access::peers::{PeerSlot, Peers};
use crate::access::policy;
use crate::access::policy::{PeerIdentity, Policy};
use crate::excerpt::{Excerpt, line, repeated};
use crate::limits::{CALLS, DATA, FRAME, FRAMES, NAME, PATIENCE, SENDS, SOCKETS, VERSION, WINDOW};
use crate::lines::LogLines;
use crate::protocol::close_reason::{CloseReason, Code};
use crate::protocol::frame;
use crate::protocol::frame::{Encoding, Frame, Hello};
use crate::sessions::budget::{Charge, Memory, SendBudget};
use crate::sessions::event_sink::{EventSink, Taken};
use crate::sessions::session::Session;
use crate::sessions::state::Setup;
use crate::sessions::stats::{Counters, Namespace, SocketStats};
use chrome_sockets::App;
use chrome_sockets::AppId;
use chrome_sockets::Permissions;
use chrome_sockets::Registry;
use chrome_sockets::tcp::DEFAULT_WRITE_QUOTA;

/// Lets clients in.
#[derive(Clone)]
pub(crate) struct SessionDirectory(Rc<Inner>);

struct Inner {
    registry: Addr<Registry>,
    policy: Policy,
    files: FileReader,
    /// The run of this host.
    instance: String,
    seats: RefCell<HashMap<AppId, State>>,
    /// Who is in: so many at once, and of one address and one page.
    clients: Peers,
    memory: Memory,
    sends: SendBudget,
    lines: LogLines,
    /// Admin sessions have their lists made one at a time, no sooner than this.
    lists: Rc<Mutex<Instant>>,
    stopping: watch::Sender<bool>,
    /// Those that have a client or a socket.
    apps: RefCell<BTreeMap<AppId, Record>>,
    /// What has passed through those that have neither any more.
    gone: Cell<Counters>,
    start: Instant,
    /// Every caretaker has it too.
    caretakers: Rc<()>,
}

/// What is known of one app.
struct Record {
    socket_stats: Rc<RefCell<SocketStats>>,
    /// What its sockets take of the memory.
    sockets: Rc<RefCell<Charge>>,
    /// Where its client can be told something.
    ear: Option<WeakAddr<EventSink>>,
}

/// Whether an app's client is there.
enum State {
    Here,
    /// It is gone, and its app is being suspended: told when that is done.
    Leaving(watch::Receiver<()>),
}

/// A client that is in.
pub(crate) struct ClientSession {
    app: AppId,
    directory: SessionDirectory,
    lines: LogLines,
    _seat: PeerSlot,
    pub(crate) session: Session,
    /// The answer to its hello.
    pub(crate) welcome: Bytes,
}

impl SessionDirectory {
    pub(crate) fn new(registry: Addr<Registry>, policy: Policy, most: usize) -> Self {
        // Seeded by the OS.
        let number = || RandomState::new().build_hasher().finish();
        let sends = SendBudget::new(policy.send_budget.unwrap_or(SENDS));
        SessionDirectory(Rc::new(Inner {
            registry,
            policy,
            clients: Peers::new(most),
            memory: Memory::default(),
            sends,
            lines: LogLines::default(),
            lists: Rc::new(Mutex::new(Instant::now())),
            files: FileReader::new(),
            instance: format!("{:016x}{:016x}", number(), number()),
            seats: RefCell::default(),
            stopping: watch::Sender::new(false),
            apps: RefCell::default(),
            gone: Cell::default(),
            start: Instant::now(),
            caretakers: Rc::default(),
        }))
    }

    /// Whether a client that shows this may come in.
    pub(crate) fn is_token(&self, shown: Option<&str>) -> bool {
        self.0.policy.is_token(shown)
    }

    pub(crate) fn has_token(&self) -> bool {
        self.0.policy.token.is_some()
    }

    pub(crate) fn memory(&self) -> &Memory {
        &self.0.memory
    }

    pub(crate) fn lines(&self) -> &LogLines {
        &self.0.lines
    }

    pub(crate) fn lists(&self) -> Rc<Mutex<Instant>> {
        self.0.lists.clone()
    }

    /// Every client is told that the host stops.
    pub(crate) fn stop(&self) {
        self.0.stopping.send_replace(true);
    }

    /// Waits until the host stops.
    pub(crate) fn stopped(&self) -> impl Future<Output = CloseReason> + use<> {
        let mut stopping = self.0.stopping.subscribe();
        async move {
            // It can only end with the host.
            let _ = stopping.wait_for(|stopping| *stopping).await;
            CloseReason::new(Code::Stopping, "the host stops")
        }
    }

    /// Lets in who sends this first frame, and answers in the form that it is
    /// to be told in.
    pub(crate) async fn enter(
        &self,
        visitor: &PeerIdentity,
        form: Encoding,
        bytes: Bytes,
        answer: Encoding,
    ) -> Result<ClientSession, CloseReason> {
        let Some(hello) = Frame::read(form, bytes)?.into_hello()? else {
            let what = "the first frame is a hello, and nothing else";
            return Err(CloseReason::new(Code::BadHello, what));
        };
        let hello: Hello<'_> = frame::object(&hello)?;
        let id = self.0.policy.admit(&hello, visitor)?;
        let client = hello.client.as_ref().map_or("", |client| &client.0);
        let client = Excerpt(client, NAME).to_string();
        let lines = match visitor.peer {
            Some(peer) => self.0.lines.about(peer),
            None => self.0.lines.clone(),
        };
        let clients = &self.0.clients;
        let peer_seat = clients.reserve(visitor.peer, visitor.origin.clone());
        let peer_seat = peer_seat.ok_or_else(|| {
            let what = "as many clients are in as may be, of all or of this address or page";
            CloseReason::new(Code::Busy, what)
        })?;
        let permissions = self.permissions(&id, &hello, &lines).await?;
        let seat = self.reserve(&id).await?;
        let app = App::new(id.clone(), &self.0.registry);
        let begun = async {
            app.set_permissions(permissions).await?;
            app.resume().await?;
            let (socket_stats, sockets) = {
                let mut apps = self.0.apps.borrow_mut();
                let record = apps.entry(id.clone()).or_insert_with(|| Record {
                    socket_stats: Rc::default(),
                    sockets: Rc::new(RefCell::new(self.0.memory.charge())),
                    ear: None,
                });
                (record.socket_stats.clone(), record.sockets.clone())
            };
            Session::begin(Setup {
                app,
                form: answer,
                quota: DEFAULT_WRITE_QUOTA,
                socket_stats,
                sockets,
                memory: self.0.memory.clone(),
                sends: self.0.sends.clone(),
                lines: lines.clone(),
            })
            .await
        };
        let session = begun
            .await
            .map_err(|error| CloseReason::new(Code::Stopping, error))?;
        if let Some(record) = self.0.apps.borrow_mut().get_mut(&id) {
            record.ear = Some(session.ear());
        }
        if lines.may_write() {
            let page = visitor.origin.as_deref().unwrap_or("no page");
            let page = repeated(page);
            let peer = visitor
                .peer
                .map_or_else(String::new, |peer| format!(" from {peer}"));
            log::info!("app {id} connected{peer}: {client:?}, {page}");
        }
        seat.keep();
        let welcome = format!(
            r#""welcome":{}"#,
            json!({
                "protocol": VERSION,
                "host": self.name(),
                "instance": self.0.instance,
                "app": id.as_str(),
                "limits": self.limits(),
            })
        );
        Ok(ClientSession {
            app: id,
            directory: self.clone(),
            lines,
            _seat: peer_seat,
            session,
            welcome: frame::write(answer, &[&welcome], &[]),
        })
    }

    /// What the app may do; where a file says so, it is read away from the event loop.
    async fn permissions(
        &self,
        app: &AppId,
        hello: &Hello<'_>,
        lines: &LogLines,
    ) -> Result<Permissions, CloseReason> {
        let policy = &self.0.policy;
        if let Some(manifest) = policy.brought(hello) {
            let (permissions, warnings) = policy::read(app, manifest)?;
            for warning in warnings {
                if lines.may_write() {
                    log::warn!("app {app}: its manifest: {}", line(&warning.to_string()));
                }
            }
            return Ok(permissions);
        }
        let Some(path) = policy.manifest.clone() else {
            return Ok(Permissions::none());
        };
        let id = app.clone();
        let read = self.0.files.run(move || policy::read_file(&path, &id));
        read.await.unwrap_or_else(|error| {
            if lines.may_write() {
                log::warn!("app {app}: its manifest file: {error}");
            }
            Err(CloseReason::new(
                Code::Busy,
                format!("the app's manifest: {error}"),
            ))
        })
    }

    /// Takes the app's seat, when who had it has left.
    async fn reserve(&self, app: &AppId) -> Result<Reservation, CloseReason> {
        let in_use = || {
            let what = format!(
                "another client is the app {:?}",
                repeated(app.as_str()).to_string()
            );
            CloseReason::new(Code::AppInUse, what)
        };
        loop {
            let mut leaving = match self.0.seats.borrow().get(app) {
                None => break,
                Some(State::Here) => return Err(in_use()),
                Some(State::Leaving(left)) => left.clone(),
            };
            // It ends when the other has left.
            if timeout(PATIENCE, leaving.changed()).await.is_err() {
                return Err(in_use());
            }
        }
        self.0.seats.borrow_mut().insert(app.clone(), State::Here);
        Ok(Reservation {
            directory: self.clone(),
            app: app.clone(),
            kept: false,
        })
    }

    fn release(&self, app: &AppId) {
        self.0.seats.borrow_mut().remove(app);
    }

    pub(crate) fn name(&self) -> &'static str {
        concat!("chrome-sockets/", env!("CARGO_PKG_VERSION"))
    }

    pub(crate) fn instance(&self) -> &str {
        &self.0.instance
    }

    /// The numbers of the protocol.
    pub(crate) fn limits(&self) -> Value {
        json!({
            "frame": FRAME,
            "data": DATA,
            "frames": FRAMES,
            "window": WINDOW,
            "quota": DEFAULT_WRITE_QUOTA,
            "calls": CALLS,
            "sockets": SOCKETS,
        })
    }
}

/// For caretakers.
impl SessionDirectory {
    /// What a caretaker has as long as it is in.
    pub(crate) fn caretakers(&self) -> Rc<()> {
        self.0.caretakers.clone()
    }

    /// How long the host has run.
    pub(crate) fn age(&self) -> Duration {
        self.0.start.elapsed()
    }

    /// Every app that has a client or a socket, in the order of their ids.
    pub(crate) fn apps(&self) -> Vec<(AppId, Rc<RefCell<SocketStats>>)> {
        let apps = self.0.apps.borrow();
        let apps = apps.iter();
        apps.map(|(id, app)| (id.clone(), app.socket_stats.clone()))
            .collect()
    }

    pub(crate) fn socket_stats(&self, app: &AppId) -> Option<Rc<RefCell<SocketStats>>> {
        let apps = self.0.apps.borrow();
        apps.get(app).map(|app| app.socket_stats.clone())
    }

    pub(crate) fn gone(&self) -> Counters {
        self.0.gone.get()
    }

    /// Whether the app's client is there.
    pub(crate) fn is_here(&self, app: &AppId) -> bool {
        matches!(self.0.seats.borrow().get(app), Some(State::Here))
    }

    pub(crate) fn app(&self, app: &AppId) -> App {
        App::new(app, &self.0.registry)
    }

    /// A socket was closed, not by its app, which hears of it here if it `is_untold`.
    pub(crate) fn taken(&self, app: &AppId, taken: Taken, is_untold: bool) {
        let apps = self.0.apps.borrow();
        let Some(app) = apps.get(app) else {
            return;
        };
        let mut socket_stats = app.socket_stats.borrow_mut();
        match taken {
            Taken::Server(id) => socket_stats.close(Namespace::Server, id.get()),
            Taken::Client(id) => socket_stats.close(Namespace::Client, id.get()),
        }
        app.sockets.borrow_mut().set(socket_stats.cost());
        let ear = app.ear.as_ref().and_then(WeakAddr::upgrade);
        if let Some(ear) = ear.filter(|_| is_untold) {
            ear.do_send(taken);
        }
    }

    /// Forgets an app that has no client, if it has no socket either.
    pub(crate) async fn clear_away(&self, app: &AppId) {
        let is_empty = self
            .socket_stats(app)
            .is_some_and(|it| it.borrow().is_empty());
        if !is_empty || self.0.seats.borrow().contains_key(app) {
            return;
        }
        // Who comes meanwhile waits.
        let (left, leaving) = watch::channel(());
        let leaving = State::Leaving(leaving);
        self.0.seats.borrow_mut().insert(app.clone(), leaving);
        // Its registry may have ended: then there is nothing to forget.
        let _ = self.app(app).unload().await;
        self.forget(app);
        self.release(app);
        drop(left);
    }

    /// Its client has gone.
    fn forget(&self, app: &AppId) {
        let mut apps = self.0.apps.borrow_mut();
        let Some(record) = apps.get_mut(app) else {
            return;
        };
        record.ear = None;
        let socket_stats = record.socket_stats.borrow();
        if socket_stats.is_empty() {
            let sums = [self.0.gone.get(), socket_stats.sums()];
            self.0.gone.set(Counters::of(sums.into_iter()));
            drop(socket_stats);
            apps.remove(app);
        }
    }
}

/// An app's seat; dropping it frees it, unless it is kept.
struct Reservation {
    directory: SessionDirectory,
    app: AppId,
    kept: bool,
}

impl Reservation {
    fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.kept {
            self.directory.release(&self.app);
        }
    }
}

impl ClientSession {
    pub(crate) fn app(&self) -> &AppId {
        &self.app
    }

    /// The client is gone.
    pub(crate) async fn leave(self) {
        let ClientSession {
            app,
            directory,
            lines,
            session,
            // It is taken until the app is suspended.
            _seat,
            ..
        } = self;
        let (left, leaving) = watch::channel(());
        let leaving = State::Leaving(leaving);
        directory.0.seats.borrow_mut().insert(app.clone(), leaving);
        session.leave().await;
        directory.forget(&app);
        if lines.may_write() {
            log::info!("app {app} disconnected");
        }
        directory.release(&app);
        drop(left);
    }
}

/// What a client says of itself, as much as anybody reads.
pub(crate) fn shortened(text: &str) -> String {
    text.chars().take(NAME).collect()
}
