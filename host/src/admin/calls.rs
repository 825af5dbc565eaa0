//! What a caretaker calls: lists of what there is, a slice at a time, and
//! what is done to a socket of any app.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::future::{Future, poll_fn};
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures::future::{LocalBoxFuture, join_all};
use futures::{FutureExt, StreamExt, stream};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use crate::limits::{
    DRAINS, FIND_APPS, FIND_SERVERS, LOOKS, MAX_DRAIN, MAX_REST, MIN_REST, NAME, ROWS,
};
use crate::protocol::arguments::Arguments;
use crate::protocol::call::CallError;
use crate::protocol::frame::Data;
use crate::protocol::message::Message;
use crate::protocol::outcome::{Outcome, nothing, paused_now, server_info, tcp_info};
use crate::sessions::directory::{SessionDirectory, shortened};
use crate::sessions::event_sink::Taken;
use crate::sessions::stats::{Counters, Namespace, Order, PageRange, Rank, SocketStats, severity};
use chrome_sockets::App;
use chrome_sockets::AppId;
use chrome_sockets::Error;
use chrome_sockets::tcp;
use chrome_sockets::tcp_server::{self, BlockReason};

/// A caretaker's way to what it looks after.
#[derive(Clone)]
pub(crate) struct AdminCalls {
    pub(crate) directory: SessionDirectory,
    /// Which server socket is asked next, of all.
    pub(crate) next_server: Rc<Cell<usize>>,
    /// What the sockets that the list asked have spent on it, about.
    pub(crate) asked: Rc<Cell<Duration>>,
    /// Every drain that goes on has a copy.
    pub(crate) drains: Rc<()>,
}

/// What a server socket takes to tell of itself: its backlog is the OS's.
const SERVER_COST: Duration = Duration::from_micros(100);

/// What a client socket takes.
const CLIENT_COST: Duration = Duration::from_micros(2);

/// From this severity on a problem does not end by itself.
const NEEDS_SOMEBODY: u8 = 2;

type Doing = LocalBoxFuture<'static, Outcome>;

/// Reads a call.
pub(crate) fn read(
    message: Message<'_>,
    data: &mut Data,
    rounds: &AdminCalls,
) -> Result<Doing, CallError> {
    let Some((function, left)) = message.into_call() else {
        return Err(CallError::Call(
            "Invalid call: it names no function".to_owned(),
        ));
    };
    let mut arguments = Arguments {
        function,
        left,
        data,
    };
    let function = arguments.function.clone();
    let rounds = rounds.clone();
    match &*function {
        "host.listApps" => {
            let slice = slice(&mut arguments)?;
            let rank = rank(&mut arguments)?;
            arguments.end()?;
            Ok(rounds.in_time(move |rounds| async move { rounds.apps(rank, slice).await }))
        }
        "host.listServers" => {
            let app = arguments.text()?.into();
            let slice = slice(&mut arguments)?;
            let rank = rank(&mut arguments)?;
            arguments.end()?;
            let list =
                move |rounds: AdminCalls| async move { rounds.servers(&app, rank, slice).await };
            Ok(rounds.in_time(list))
        }
        "host.find" => {
            let text = arguments.text()?;
            let slice = slice(&mut arguments)?;
            arguments.end()?;
            Ok(rounds.in_time(move |rounds| async move { rounds.find(&text, slice).await }))
        }
        "host.listClients" => {
            let app = arguments.text()?.into();
            let server = arguments.optional_id()?;
            let order = match arguments.flag()? {
                true => Order::Bytes,
                false => Order::Id,
            };
            let slice = slice(&mut arguments)?;
            arguments.end()?;
            let list = move |rounds: AdminCalls| async move {
                rounds.clients(&app, server, order, slice).await
            };
            Ok(rounds.in_time(list))
        }
        "host.setPaused" => {
            let (app, namespace, id) = socket(&mut arguments)?;
            let paused = arguments.flag()?;
            arguments.end()?;
            Ok(rounds.set_paused(&app, namespace, id, paused))
        }
        "host.drain" => {
            let app = arguments.text()?.into();
            let server = arguments.optional_id()?;
            let seconds = arguments.int()?;
            arguments.end()?;
            let deadline = Duration::from_secs(seconds.try_into().unwrap_or(0)).min(MAX_DRAIN);
            let draining = async move { rounds.drain(app, server, deadline).await };
            Ok(draining.boxed_local())
        }
        "host.close" => {
            let (app, namespace, id) = socket(&mut arguments)?;
            arguments.end()?;
            let closing = async move { rounds.close(app, namespace, id).await };
            Ok(closing.boxed_local())
        }
        _ => Err(arguments.unknown()),
    }
}

/// `from?, most?`: where a list begins, and how long it may be.
fn slice(arguments: &mut Arguments<'_, '_>) -> Result<PageRange, CallError> {
    let mut number = || {
        let number = arguments.optional_int()?;
        Ok::<_, CallError>(number.map(|number| number.try_into().unwrap_or(0)))
    };
    let from = number()?.unwrap_or(0);
    let most = number()?.unwrap_or(ROWS).min(ROWS);
    Ok(PageRange { from, most })
}

/// `problemsFirst?`.
fn rank(arguments: &mut Arguments<'_, '_>) -> Result<Rank, CallError> {
    Ok(match arguments.optional_flag()? {
        true => Rank::Problems,
        false => Rank::Name,
    })
}

/// `app, namespace, socketId`.
fn socket(arguments: &mut Arguments<'_, '_>) -> Result<(AppId, Namespace, u64), CallError> {
    let app = arguments.text()?.into();
    let namespace = match arguments.text()?.as_str() {
        "tcpServer" => Namespace::Server,
        "tcp" => Namespace::Client,
        _ => return Err(arguments.wrong("tcpServer or tcp as the namespace")),
    };
    Ok((app, namespace, arguments.id()?))
}

fn no_such_app() -> Outcome {
    Outcome::failed("There is no such app")
}

impl AdminCalls {
    /// Makes a list when the host has rested from the one before, so that lists
    /// take no more than a tenth of its time however often they are asked for.
    fn in_time<F>(self, list: impl FnOnce(Self) -> F + 'static) -> Doing
    where
        F: Future<Output = Outcome>,
    {
        let listed = async move {
            // One list at a time, whoever asks: all have one budget of time.
            let lists = self.directory.lists();
            let mut rested = lists.lock().await;
            sleep_until(*rested).await;
            let asked = self.asked.clone();
            asked.set(Duration::ZERO);
            let mut took = Duration::ZERO;
            let mut list = pin!(list(self));
            // What others do meanwhile is not counted: under load lists would hardly come.
            let outcome = poll_fn(|cx| {
                let start = Instant::now();
                let polled = list.as_mut().poll(cx);
                took += start.elapsed();
                polled
            });
            let outcome = outcome.await;
            let took = took + asked.get();
            *rested = Instant::now() + (took * 9).clamp(MIN_REST, MAX_REST);
            outcome
        };
        listed.boxed_local()
    }

    fn spent(&self, sockets: usize, each: Duration) {
        let more = each * u32::try_from(sockets).unwrap_or(u32::MAX);
        self.asked.set(self.asked.get().saturating_add(more));
    }

    fn answer(&self, mut list: Value) -> Outcome {
        let at = self.directory.age().as_millis();
        list["at"] = u64::try_from(at).unwrap_or(u64::MAX).into();
        Outcome {
            last_error: None,
            values: vec![list],
        }
    }

    /// Asks server sockets what keeps them from accepting: all of them, or, if they are
    /// many, so many at a time, and the next ones the next time.
    async fn look_at_servers(&self, apps: &[(AppId, Rc<RefCell<SocketStats>>)]) {
        let counts = apps
            .iter()
            .map(|(_, socket_stats)| socket_stats.borrow().server_count());
        let total: usize = counts.sum();
        if total == 0 {
            return;
        }
        let mut from = self.next_server.get() % total;
        let mut left = total.min(LOOKS);
        self.next_server.set((from + left) % total);
        let mut asked = Vec::with_capacity(left);
        for (app, socket_stats) in apps.iter().cycle() {
            let (count, ids) = {
                let socket_stats = socket_stats.borrow();
                let slice = PageRange { from, most: left };
                (socket_stats.server_count(), socket_stats.server_ids(slice))
            };
            if ids.is_empty() {
                from -= count.min(from);
                continue;
            }
            from = 0;
            left -= ids.len();
            let handle = self.directory.app(app);
            asked.extend(ids.into_iter().map(|id| {
                let info = handle.tcp_server.get_info(id.into());
                async move { (socket_stats, id, info.await) }
            }));
            if left == 0 {
                break;
            }
        }
        self.spent(asked.len(), SERVER_COST);
        for (socket_stats, id, info) in join_all(asked).await {
            let mut reasons = info.map(|info| info.blocked_by).unwrap_or_default();
            if reasons.contains(&BlockReason::Suspended) {
                // Its listeners are gone, as they should be, with what they had in hand.
                let follows = [BlockReason::NoListener, BlockReason::Unhandled];
                reasons.retain(|reason| !follows.contains(reason));
            }
            socket_stats.borrow_mut().blocked(id, &reasons);
        }
    }

    fn app_row(&self, app: &AppId, socket_stats: &SocketStats) -> Value {
        let problems = socket_stats.problems().into_iter().map(|problem| {
            let mut shown = reason(problem.reason);
            shown["servers"] = problem.servers.into();
            shown
        });
        let mut row = socket_stats.sums().shown();
        row["app"] = app.as_str().into();
        row["here"] = self.directory.is_here(app).into();
        row["servers"] = socket_stats.server_count().into();
        row["clients"] = socket_stats.client_count().into();
        row["problems"] = problems.collect();
        row
    }

    /// `host.listApps`.
    async fn apps(&self, rank: Rank, slice: PageRange) -> Outcome {
        let mut apps = self.directory.apps();
        self.look_at_servers(&apps).await;
        let (mut servers, mut clients, mut with_problems) = (0, 0, 0);
        let mut sums = vec![self.directory.gone()];
        let worst = |socket_stats: &Rc<RefCell<SocketStats>>| {
            let problems = socket_stats.borrow().problems();
            problems.first().map_or(0, |it| severity(it.reason))
        };
        for (_, socket_stats) in &apps {
            with_problems += usize::from(worst(socket_stats) >= NEEDS_SOMEBODY);
            let socket_stats = socket_stats.borrow();
            servers += socket_stats.server_count();
            clients += socket_stats.client_count();
            sums.push(socket_stats.sums());
        }
        if rank == Rank::Problems {
            // Those that are as bad stay in the order of their names.
            apps.sort_by_cached_key(|(_, socket_stats)| Reverse(worst(socket_stats)));
        }
        let (total, listed) = slice.of(apps.into_iter());
        let listed = listed.into_iter();
        let listed: Value = listed
            .map(|(app, socket_stats)| self.app_row(&app, &socket_stats.borrow()))
            .collect();
        let mut all = Counters::of(sums.into_iter()).shown();
        all["servers"] = servers.into();
        all["clients"] = clients.into();
        all["problems"] = with_problems.into();
        self.answer(json!({ "total": total, "all": all, "apps": listed }))
    }

    /// `host.listServers`.
    async fn servers(&self, app: &AppId, rank: Rank, slice: PageRange) -> Outcome {
        let Some(socket_stats) = self.directory.socket_stats(app) else {
            return no_such_app();
        };
        let (total, listed) = socket_stats.borrow().servers(rank, slice);
        self.spent(listed.len(), SERVER_COST);
        let handle = self.directory.app(app);
        let infos = listed
            .iter()
            .map(|(id, ..)| handle.tcp_server.get_info((*id).into()));
        let infos = join_all(infos.collect::<Vec<_>>()).await;
        let rows = infos.into_iter().zip(listed);
        let rows = rows.filter_map(|(info, (_, clients, sums))| {
            let mut row = server_row(info.ok()?);
            row["clients"] = clients.into();
            with_sums(&mut row, sums);
            Some(row)
        });
        let rows: Value = rows.collect();
        self.answer(json!({ "total": total, "sockets": rows }))
    }

    /// `host.find`: the apps whose id has this text in it, and the sockets whose name or address has.
    async fn find(&self, text: &str, slice: PageRange) -> Outcome {
        let wanted = Wanted(shortened(text).to_lowercase());
        let mut found = Found::new(slice);
        let mut looks = FIND_SERVERS;
        // Some at a time: one after the other takes long under load, and all hold much at once.
        let lists = stream::iter(self.directory.apps()).map(|(app, socket_stats)| {
            let handle = self.directory.app(&app);
            let most = PageRange {
                from: 0,
                most: looks,
            };
            let ids = socket_stats.borrow().server_ids(most);
            looks -= ids.len();
            let servers = ids
                .into_iter()
                .map(|id| handle.tcp_server.get_info(id.into()));
            let servers = join_all(servers.collect::<Vec<_>>());
            let clients = handle.tcp.get_sockets();
            async move { (app, socket_stats, servers.await, clients.await) }
        });
        let mut lists = pin!(lists.buffered(FIND_APPS));
        while let Some((app, socket_stats, servers, clients)) = lists.next().await {
            self.spent(servers.len(), SERVER_COST);
            if wanted.is_in(app.as_str()) {
                found.push("app", &app, || self.app_row(&app, &socket_stats.borrow()));
            }
            for info in servers.into_iter().flatten() {
                if wanted.is_socket(info.name.as_deref(), info.local_address, info.local_port) {
                    found.push("tcpServer", &app, || {
                        let id = info.socket_id.get();
                        let mut row = server_row(info);
                        let (clients, sums) = socket_stats.borrow().server(id);
                        row["clients"] = clients.into();
                        with_sums(&mut row, sums);
                        row
                    });
                }
            }
            let clients = clients.unwrap_or_default();
            self.spent(clients.len(), CLIENT_COST);
            for info in clients {
                if wanted.is_socket(info.name.as_deref(), info.peer_address, info.peer_port) {
                    found.push("tcp", &app, || client_row(info, &socket_stats.borrow()));
                }
            }
        }
        self.answer(json!({ "total": found.total, "found": found.rows }))
    }

    /// `host.listClients`.
    async fn clients(
        &self,
        app: &AppId,
        server: Option<u64>,
        order: Order,
        slice: PageRange,
    ) -> Outcome {
        let Some(socket_stats) = self.directory.socket_stats(app) else {
            return no_such_app();
        };
        let (total, ids) = socket_stats.borrow().clients(server, order, slice);
        self.spent(ids.len(), CLIENT_COST);
        let handle = self.directory.app(app);
        let infos = ids.iter().map(|id| handle.tcp.get_info((*id).into()));
        let infos = join_all(infos.collect::<Vec<_>>()).await;
        let socket_stats = socket_stats.borrow();
        let rows = infos.into_iter().flatten();
        let rows: Value = rows.map(|info| client_row(info, &socket_stats)).collect();
        self.answer(json!({ "total": total, "sockets": rows }))
    }

    /// `host.setPaused`.
    fn set_paused(&self, app: &AppId, namespace: Namespace, id: u64, paused: bool) -> Doing {
        let Some(app) = self.known(app) else {
            return async { no_such_app() }.boxed_local();
        };
        paused_now(match namespace {
            Namespace::Server => app.tcp_server.set_paused(id.into(), paused),
            Namespace::Client => app.tcp.set_paused(id.into(), paused),
        })
    }

    /// `host.drain`: begins it. How far it has come is in the lists.
    async fn drain(self, id: AppId, server: Option<u64>, deadline: Duration) -> Outcome {
        let Some(app) = self.known(&id) else {
            return no_such_app();
        };
        // One is the session's own.
        if Rc::strong_count(&self.drains) > DRAINS {
            return Outcome::failed("Too many drains are going on");
        }
        let drained = match server {
            None => app.drain(deadline),
            Some(server) => {
                // A drain answers when it is over.
                if let Err(error) = app.tcp_server.get_info(server.into()).await {
                    return Outcome::failed(error);
                }
                app.tcp_server.drain(server.into(), deadline)
            }
        };
        let going_on = self.drains.clone();
        actix_rt::spawn(async move {
            match drained.await {
                Ok(drained) => log::info!(
                    "app {id}: drained by the admin: {} connections finished, {} were closed at the deadline",
                    drained.finished,
                    drained.forced.len()
                ),
                Err(error) => log::warn!("app {id}: a drain failed: {error}"),
            }
            drop(going_on);
        });
        Outcome::default()
    }

    /// `host.close`: the app is told as if the network had failed.
    async fn close(self, id: AppId, namespace: Namespace, socket: u64) -> Outcome {
        let Some(app) = self.known(&id) else {
            return no_such_app();
        };
        let closed = match namespace {
            Namespace::Server => {
                let info = app.tcp_server.get_info(socket.into()).await;
                let closed = nothing(app.tcp_server.close(socket.into())).await;
                let listened = info.map(|info| info.local_port.is_some());
                (closed, listened, Taken::Server(socket.into()))
            }
            Namespace::Client => {
                let info = app.tcp.get_info(socket.into()).await;
                let closed = nothing(app.tcp.close(socket.into())).await;
                // One that is not paused says so by itself, as Chrome's do.
                let untold = info.map(|info| info.connected && info.paused);
                (closed, untold, Taken::Client(socket.into()))
            }
        };
        let (outcome, is_untold, taken) = closed;
        if outcome.last_error.is_none() {
            self.directory
                .taken(&id, taken, is_untold == Ok::<_, Error>(true));
            self.directory.clear_away(&id).await;
        }
        outcome
    }

    fn known(&self, app: &AppId) -> Option<App> {
        self.directory
            .socket_stats(app)
            .map(|_| self.directory.app(app))
    }
}

/// What is looked for, in small letters.
struct Wanted(String);

impl Wanted {
    fn is_in(&self, text: &str) -> bool {
        text.to_lowercase().contains(&self.0)
    }

    fn is_socket(&self, name: Option<&str>, address: Option<IpAddr>, port: Option<u16>) -> bool {
        let address = address.zip(port).map(SocketAddr::from);
        name.is_some_and(|name| self.is_in(name))
            || address.is_some_and(|address| self.is_in(&address.to_string()))
    }
}

/// A slice of what was found, and how much that is.
struct Found {
    slice: PageRange,
    total: usize,
    rows: Vec<Value>,
}

impl Found {
    fn new(slice: PageRange) -> Self {
        Found {
            slice,
            total: 0,
            rows: Vec::new(),
        }
    }

    fn push(&mut self, kind: &str, app: &AppId, row: impl FnOnce() -> Value) {
        if self.total >= self.slice.from && self.rows.len() < self.slice.most {
            let mut row = row();
            row["kind"] = kind.into();
            row["app"] = app.as_str().into();
            self.rows.push(row);
        }
        self.total += 1;
    }
}

fn client_row(info: tcp::SocketInfo, socket_stats: &SocketStats) -> Value {
    let id = info.socket_id.get();
    let mut row = tcp_info(info);
    shorten_name(&mut row);
    with_sums(&mut row, socket_stats.client_sums(id));
    row["age"] = socket_stats.age(id).into();
    row
}

fn with_sums(row: &mut Value, sums: Counters) {
    row["received"] = sums.received.into();
    row["sent"] = sums.sent.into();
}

fn server_row(info: tcp_server::SocketInfo) -> Value {
    let counts = info.counts;
    let blocked_by: Value = info.blocked_by.iter().copied().map(reason).collect();
    let backlog = info.backlog;
    let mut row = server_info(info);
    shorten_name(&mut row);
    row["blockedBy"] = blocked_by;
    row["accepted"] = counts.accepted.into();
    row["delivered"] = counts.delivered.into();
    row["refused"] = counts.refused.into();
    row["failed"] = counts.failed.into();
    if let Some(backlog) = backlog {
        row["backlog"] = backlog.into();
    }
    row
}

fn reason(reason: BlockReason) -> Value {
    let (why, code) = match reason {
        BlockReason::App => ("app", None),
        BlockReason::AcceptError(code) => ("acceptError", Some(code)),
        BlockReason::BackingOff(code) => ("backingOff", Some(code)),
        BlockReason::Limit(_) => ("limit", None),
        BlockReason::NoListener => ("noListener", None),
        BlockReason::Unhandled => ("unhandled", None),
        BlockReason::Suspended => ("suspended", None),
        BlockReason::Draining => ("draining", None),
        BlockReason::Handover => ("handover", None),
        BlockReason::TlsNotSet => ("tlsNotSet", None),
        // One that this host does not know yet.
        _ => ("other", None),
    };
    match code {
        None => json!({ "why": why }),
        Some(code) => json!({ "why": why, "resultCode": code.code(), "error": code.name() }),
    }
}

/// A name may be far longer than what anybody looks at.
fn shorten_name(row: &mut Value) {
    if let Some(name) = row["name"].as_str()
        && name.chars().nth(NAME).is_some()
    {
        row["name"] = format!("{}…", shortened(name)).into();
    } else if row["name"].is_null()
        && let Some(row) = row.as_object_mut()
    {
        // To look was to make it.
        row.remove("name");
    }
}
