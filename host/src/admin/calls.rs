//! The calls of an admin connection: paged lists of apps and sockets, and actions on a socket of
//! any app.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use chrome_sockets::tcp_server::{self, BlockReason};
use chrome_sockets::{App, AppId, Error, tcp, udp};
use futures::future::join_all;
use futures::{FutureExt, StreamExt, stream};
use serde_json::{Value, json};

use crate::admin::list_rate::ListRate;
use crate::limits::{
    BLOCKED_BY_QUERIES, DRAINS, MAX_DRAIN, NAME, ROWS, SEARCH_CONCURRENCY, SEARCHED_SERVERS,
};
use crate::protocol::arguments::{Arguments, CallError};
use crate::protocol::frame::Data;
use crate::protocol::message::Message;
use crate::protocol::outcome::{
    Outcome, OutcomeFuture, empty_outcome, pause_outcome, server_info, tcp_info, udp_info,
};
use crate::sessions::directory::SessionDirectory;
use crate::sessions::event_sink::ClosedByAdmin;
use crate::sessions::stats::{Counters, Namespace, Order, PageRange, Rank, SocketStats, severity};

/// Carries out the calls of one admin connection.
#[derive(Clone)]
pub(crate) struct AdminCalls {
    pub(crate) directory: SessionDirectory,
    /// The position of the next server socket to ask what blocks it, among those of all apps.
    pub(crate) next_server: Rc<Cell<usize>>,
    pub(crate) list_rate: ListRate,
    /// Every running drain holds a clone.
    pub(crate) drains: Rc<()>,
}

/// The lowest severity of a problem that does not end by itself.
const NEEDS_ACTION: u8 = 2;

/// Reads a call.
pub(crate) fn read(
    message: Message<'_>,
    data: &mut Data,
    calls: &AdminCalls,
) -> Result<OutcomeFuture, CallError> {
    let mut arguments = Arguments::read(message, data)?;
    let function = arguments.function.clone();
    let calls = calls.clone();
    match &*function {
        "host.listApps" => {
            let (range, rank) = (range(&mut arguments)?, rank(&mut arguments)?);
            arguments.expect_end()?;
            Ok(calls.list_rate.clone().limit(calls.list_apps(rank, range)))
        }
        "host.listServers" => {
            let app = arguments.text()?.into();
            let (range, rank) = (range(&mut arguments)?, rank(&mut arguments)?);
            arguments.expect_end()?;
            Ok(calls
                .list_rate
                .clone()
                .limit(calls.list_servers(app, rank, range)))
        }
        "host.listClients" => {
            let app = arguments.text()?.into();
            let server = arguments.optional_socket_id()?;
            let (order, range) = (order(&mut arguments)?, range(&mut arguments)?);
            arguments.expect_end()?;
            let list = calls.clone().list_clients(app, server, order, range);
            Ok(calls.list_rate.clone().limit(list))
        }
        "host.listUdp" => {
            let app = arguments.text()?.into();
            let (order, range) = (order(&mut arguments)?, range(&mut arguments)?);
            arguments.expect_end()?;
            let list = calls.clone().list_udp(app, order, range);
            Ok(calls.list_rate.clone().limit(list))
        }
        "host.find" => {
            let text = arguments.text()?;
            let range = range(&mut arguments)?;
            arguments.expect_end()?;
            Ok(calls.list_rate.clone().limit(calls.find(text, range)))
        }
        "host.setPaused" => {
            let (app, namespace, id) = socket(&mut arguments)?;
            let paused = arguments.flag()?;
            arguments.expect_end()?;
            Ok(calls.set_paused(&app, namespace, id, paused))
        }
        "host.drain" => {
            let app = arguments.text()?.into();
            let server = arguments.optional_socket_id()?;
            let seconds = arguments.int()?;
            arguments.expect_end()?;
            let deadline = Duration::from_secs(seconds.try_into().unwrap_or(0)).min(MAX_DRAIN);
            Ok(calls.drain(app, server, deadline).boxed_local())
        }
        "host.close" => {
            let (app, namespace, id) = socket(&mut arguments)?;
            arguments.expect_end()?;
            Ok(calls.close(app, namespace, id).boxed_local())
        }
        _ => Err(arguments.unknown_function()),
    }
}

/// Reads `from?, most?`: the first row and the number of rows.
fn range(arguments: &mut Arguments<'_, '_>) -> Result<PageRange, CallError> {
    let mut number = || {
        let number = arguments.optional_int()?;
        Ok::<_, CallError>(number.map(|number| number.try_into().unwrap_or(0)))
    };
    let from = number()?.unwrap_or(0);
    let max = number()?.unwrap_or(ROWS).min(ROWS);
    Ok(PageRange { from, max })
}

/// Reads `byBytes`.
fn order(arguments: &mut Arguments<'_, '_>) -> Result<Order, CallError> {
    Ok(match arguments.flag()? {
        true => Order::Bytes,
        false => Order::Id,
    })
}

/// Reads `problemsFirst?`.
fn rank(arguments: &mut Arguments<'_, '_>) -> Result<Rank, CallError> {
    Ok(match arguments.optional_flag()? {
        true => Rank::Problems,
        false => Rank::Name,
    })
}

/// Reads `app, namespace, socketId`.
fn socket(arguments: &mut Arguments<'_, '_>) -> Result<(AppId, Namespace, u64), CallError> {
    let app = arguments.text()?.into();
    let namespace = match arguments.text()?.as_str() {
        "tcpServer" => Namespace::Server,
        "tcp" => Namespace::Client,
        "udp" => Namespace::Udp,
        _ => return Err(arguments.invalid("tcpServer, tcp or udp as the namespace")),
    };
    Ok((app, namespace, arguments.socket_id()?))
}

fn no_such_app() -> Outcome {
    Outcome::refused("There is no such app")
}

impl AdminCalls {
    fn answer(&self, mut list: Value) -> Outcome {
        let time = self.directory.uptime().as_millis();
        list["at"] = u64::try_from(time).unwrap_or(u64::MAX).into();
        Outcome::value(list)
    }

    /// Asks server sockets what keeps them from accepting: up to [`BLOCKED_BY_QUERIES`], and the
    /// next ones at the next call.
    async fn refresh_blocked_by(&self, apps: &[(AppId, Rc<RefCell<SocketStats>>)]) {
        let counts = apps
            .iter()
            .map(|(_, stats)| stats.borrow().count(Namespace::Server));
        let total: usize = counts.sum();
        if total == 0 {
            return;
        }
        let mut from = self.next_server.get() % total;
        let mut left = total.min(BLOCKED_BY_QUERIES);
        self.next_server.set((from + left) % total);
        let mut infos = Vec::with_capacity(left);
        for (app, stats) in apps.iter().cycle() {
            let (count, ids) = {
                let stats = stats.borrow();
                let range = PageRange { from, max: left };
                (stats.count(Namespace::Server), stats.server_ids(range))
            };
            // The range begins in a later app.
            if ids.is_empty() {
                from -= count.min(from);
                continue;
            }
            from = 0;
            left -= ids.len();
            let handle = self.directory.app(app);
            infos.extend(ids.into_iter().map(|id| {
                let info = handle.tcp_server.get_info(id.into());
                async move { (stats, id, info.await) }
            }));
            if left == 0 {
                break;
            }
        }
        self.list_rate.add_servers(infos.len());
        for (stats, id, info) in join_all(infos).await {
            let mut reasons = info.map(|info| info.blocked_by).unwrap_or_default();
            if reasons.contains(&BlockReason::Suspended) {
                // Both follow from the suspension, so they are no problems of their own.
                let implied = [BlockReason::NoListener, BlockReason::Unhandled];
                reasons.retain(|reason| !implied.contains(reason));
            }
            stats.borrow_mut().set_blocked_by(id, &reasons);
        }
    }

    fn app_row(&self, app: &AppId, stats: &SocketStats) -> Value {
        let problems = stats.problems().into_iter().map(|problem| {
            let mut row = reason_row(problem.reason);
            row["servers"] = problem.servers.into();
            row
        });
        let mut row = stats.totals().to_json();
        row["app"] = app.as_str().into();
        row["connected"] = self.directory.is_connected(app).into();
        row["servers"] = stats.count(Namespace::Server).into();
        row["clients"] = stats.count(Namespace::Client).into();
        row["udp"] = stats.count(Namespace::Udp).into();
        row["problems"] = problems.collect();
        row
    }

    /// `host.listApps`.
    async fn list_apps(self, rank: Rank, range: PageRange) -> Outcome {
        let mut apps = self.directory.apps();
        self.refresh_blocked_by(&apps).await;
        let (mut servers, mut clients, mut udp, mut with_problems) = (0, 0, 0, 0);
        let mut totals = vec![self.directory.removed_counters()];
        let worst = |stats: &Rc<RefCell<SocketStats>>| {
            let problems = stats.borrow().problems();
            problems.first().map_or(0, |it| severity(it.reason))
        };
        for (_, stats) in &apps {
            with_problems += usize::from(worst(stats) >= NEEDS_ACTION);
            let stats = stats.borrow();
            servers += stats.count(Namespace::Server);
            clients += stats.count(Namespace::Client);
            udp += stats.count(Namespace::Udp);
            totals.push(stats.totals());
        }
        if rank == Rank::Problems {
            // The sort is stable, so equal problems stay ordered by name.
            apps.sort_by_cached_key(|(_, stats)| Reverse(worst(stats)));
        }
        let (total, apps) = range.select(apps);
        let rows = apps.into_iter();
        let rows = rows.map(|(app, stats)| self.app_row(&app, &stats.borrow()));
        let rows: Value = rows.collect();
        let mut all = Counters::sum(totals).to_json();
        all["servers"] = servers.into();
        all["clients"] = clients.into();
        all["udp"] = udp.into();
        all["problems"] = with_problems.into();
        self.answer(json!({ "total": total, "all": all, "apps": rows }))
    }

    /// `host.listServers`.
    async fn list_servers(self, app: AppId, rank: Rank, range: PageRange) -> Outcome {
        let Some(stats) = self.directory.socket_stats(&app) else {
            return no_such_app();
        };
        let (total, servers) = stats.borrow().servers(rank, range);
        self.list_rate.add_servers(servers.len());
        let handle = self.directory.app(&app);
        let ids = servers.iter().map(|(id, ..)| (*id).into());
        let infos = join_all(ids.map(|id| handle.tcp_server.get_info(id))).await;
        let rows = infos.into_iter().zip(servers);
        let rows = rows.filter_map(|(info, (_, clients, counters))| {
            Some(server_row(info.ok()?, clients, counters))
        });
        let rows: Value = rows.collect();
        self.answer(json!({ "total": total, "sockets": rows }))
    }

    /// `host.listClients`.
    async fn list_clients(
        self,
        app: AppId,
        server: Option<u64>,
        order: Order,
        range: PageRange,
    ) -> Outcome {
        let Some(stats) = self.directory.socket_stats(&app) else {
            return no_such_app();
        };
        let (total, ids) = stats.borrow().clients(server, order, range);
        self.list_rate.add_clients(ids.len());
        let handle = self.directory.app(&app);
        let infos = ids.iter().map(|id| handle.tcp.get_info((*id).into()));
        let infos = join_all(infos.collect::<Vec<_>>()).await;
        let stats = stats.borrow();
        let rows = infos.into_iter().flatten();
        let rows: Value = rows.map(|info| client_row(info, &stats)).collect();
        self.answer(json!({ "total": total, "sockets": rows }))
    }

    /// `host.listUdp`.
    async fn list_udp(self, app: AppId, order: Order, range: PageRange) -> Outcome {
        let Some(stats) = self.directory.socket_stats(&app) else {
            return no_such_app();
        };
        let (total, ids) = stats.borrow().udp_ids(order, range);
        // Each asks the OS how many datagrams it has dropped.
        self.list_rate.add_servers(ids.len());
        let handle = self.directory.app(&app);
        let infos = ids.iter().map(|id| handle.udp.get_info((*id).into()));
        let infos = join_all(infos.collect::<Vec<_>>()).await;
        let stats = stats.borrow();
        let rows = infos.into_iter().flatten();
        let rows: Value = rows.map(|info| udp_row(info, &stats)).collect();
        self.answer(json!({ "total": total, "sockets": rows }))
    }

    /// `host.find`: apps whose id contains the text, and sockets whose name or address does.
    async fn find(self, text: String, range: PageRange) -> Outcome {
        let query = Query(truncate_name(&text).to_lowercase());
        let mut results = SearchResults {
            range,
            total: 0,
            rows: Vec::new(),
        };
        let (mut servers_left, mut udp_left) = (SEARCHED_SERVERS, SEARCHED_SERVERS);
        // Several apps at a time: one by one takes long on a busy host, and all at once takes
        // much memory.
        let apps = stream::iter(self.directory.apps()).map(|(app, stats)| {
            let handle = self.directory.app(&app);
            let range = PageRange {
                from: 0,
                max: servers_left,
            };
            let ids = stats.borrow().server_ids(range).into_iter();
            servers_left -= ids.len();
            let servers = join_all(ids.map(|id| handle.tcp_server.get_info(id.into())));
            let range = PageRange {
                from: 0,
                max: udp_left,
            };
            let (_, ids) = stats.borrow().udp_ids(Order::Id, range);
            udp_left -= ids.len();
            let udp = ids.into_iter().map(|id| handle.udp.get_info(id.into()));
            let udp = join_all(udp);
            let clients = handle.tcp.get_sockets();
            async move { (app, stats, servers.await, clients.await, udp.await) }
        });
        let mut apps = pin!(apps.buffered(SEARCH_CONCURRENCY));
        while let Some((app, stats, servers, clients, udp)) = apps.next().await {
            self.list_rate.add_servers(servers.len() + udp.len());
            if query.matches(app.as_str()) {
                results.push("app", &app, || self.app_row(&app, &stats.borrow()));
            }
            for info in servers.into_iter().flatten() {
                if query.matches_socket(info.name.as_deref(), info.local_address, info.local_port) {
                    results.push("tcpServer", &app, || {
                        let (clients, counters) = stats.borrow().server(info.socket_id.get());
                        server_row(info, clients, counters)
                    });
                }
            }
            let clients = clients.unwrap_or_default();
            self.list_rate.add_clients(clients.len());
            for info in clients {
                if query.matches_socket(info.name.as_deref(), info.peer_address, info.peer_port) {
                    results.push("tcp", &app, || client_row(info, &stats.borrow()));
                }
            }
            for info in udp.into_iter().flatten() {
                if query.matches_socket(info.name.as_deref(), info.local_address, info.local_port) {
                    results.push("udp", &app, || udp_row(info, &stats.borrow()));
                }
            }
        }
        self.answer(json!({ "total": results.total, "found": results.rows }))
    }

    /// `host.setPaused`.
    fn set_paused(
        &self,
        app: &AppId,
        namespace: Namespace,
        id: u64,
        is_paused: bool,
    ) -> OutcomeFuture {
        let Some(app) = self.listed_app(app) else {
            return async { no_such_app() }.boxed_local();
        };
        pause_outcome(match namespace {
            Namespace::Server => app.tcp_server.set_paused(id.into(), is_paused),
            Namespace::Client => app.tcp.set_paused(id.into(), is_paused),
            Namespace::Udp => app.udp.set_paused(id.into(), is_paused),
        })
    }

    /// `host.drain`: starts a drain. The lists show its progress.
    async fn drain(self, id: AppId, server: Option<u64>, deadline: Duration) -> Outcome {
        let Some(app) = self.listed_app(&id) else {
            return no_such_app();
        };
        // The session and this call hold one clone each.
        if Rc::strong_count(&self.drains) > DRAINS + 1 {
            return Outcome::refused("Too many drains are running");
        }
        let drained = match server {
            None => app.drain(deadline),
            Some(server) => {
                // The drain itself would report a missing socket only at its end.
                if let Err(error) = app.tcp_server.get_info(server.into()).await {
                    return error.into();
                }
                app.tcp_server.drain(server.into(), deadline)
            }
        };
        let running = self.drains.clone();
        actix_rt::spawn(async move {
            match drained.await {
                Ok(drained) => log::info!(
                    "app {id}: drained by the admin: {} connections finished, {} were closed at the deadline",
                    drained.finished,
                    drained.forced.len()
                ),
                Err(error) => log::warn!("app {id}: a drain failed: {error}"),
            }
            drop(running);
        });
        Outcome::default()
    }

    /// `host.close`: the app gets the error event of a failed network.
    async fn close(self, id: AppId, namespace: Namespace, socket: u64) -> Outcome {
        let Some(app) = self.listed_app(&id) else {
            return no_such_app();
        };
        let (outcome, raise) = match namespace {
            Namespace::Server => {
                let info = app.tcp_server.get_info(socket.into()).await;
                let outcome = empty_outcome(app.tcp_server.close(socket.into())).await;
                (outcome, info.map(|info| info.local_port.is_some()))
            }
            Namespace::Client => {
                let info = app.tcp.get_info(socket.into()).await;
                let outcome = empty_outcome(app.tcp.close(socket.into())).await;
                // A connected socket that is not paused raises the event itself, and a half-closed one
                // has had its event.
                let is_missing =
                    |info: tcp::SocketInfo| info.connected && info.paused && !info.half_closed;
                (outcome, info.map(is_missing))
            }
            Namespace::Udp => {
                let info = app.udp.get_info(socket.into()).await;
                let outcome = empty_outcome(app.udp.close(socket.into())).await;
                // A bound socket that is not paused raises the event itself.
                let is_missing = |info: udp::SocketInfo| info.paused && info.local_port.is_some();
                (outcome, info.map(is_missing))
            }
        };
        if outcome.last_error.is_none() {
            let closed = ClosedByAdmin(namespace, socket);
            let raise = raise == Ok::<_, Error>(true);
            self.directory.closed_by_admin(&id, closed, raise);
            self.directory.remove_if_unused(&id).await;
        }
        outcome
    }

    fn listed_app(&self, app: &AppId) -> Option<App> {
        let stats = self.directory.socket_stats(app);
        stats.map(|_| self.directory.app(app))
    }
}

/// A search text, in lower case.
struct Query(String);

impl Query {
    fn matches(&self, text: &str) -> bool {
        text.to_lowercase().contains(&self.0)
    }

    fn matches_socket(
        &self,
        name: Option<&str>,
        address: Option<IpAddr>,
        port: Option<u16>,
    ) -> bool {
        let address = address.zip(port).map(SocketAddr::from);
        name.is_some_and(|name| self.matches(name))
            || address.is_some_and(|address| self.matches(&address.to_string()))
    }
}

/// A range of the search results, and the number of all.
struct SearchResults {
    range: PageRange,
    total: usize,
    rows: Vec<Value>,
}

impl SearchResults {
    fn push(&mut self, kind: &str, app: &AppId, row: impl FnOnce() -> Value) {
        if self.total >= self.range.from && self.rows.len() < self.range.max {
            let mut row = row();
            row["kind"] = kind.into();
            row["app"] = app.as_str().into();
            self.rows.push(row);
        }
        self.total += 1;
    }
}

fn client_row(info: tcp::SocketInfo, stats: &SocketStats) -> Value {
    let id = info.socket_id.get();
    let mut row = socket_row(tcp_info(info), stats.client_counters(id));
    row["age"] = stats.age(id).into();
    row
}

fn udp_row(info: udp::SocketInfo, stats: &SocketStats) -> Value {
    let (counters, age) = stats.udp_socket(info.socket_id.get());
    let dropped = info.dropped_datagrams;
    let mut row = socket_row(udp_info(info), counters);
    row["age"] = age.into();
    row["datagramsReceived"] = counters.datagrams_received.into();
    row["datagramsSent"] = counters.datagrams_sent.into();
    if let Some(dropped) = dropped {
        row["dropped"] = dropped.into();
    }
    row
}

fn server_row(info: tcp_server::SocketInfo, clients: usize, counters: Counters) -> Value {
    let (counts, backlog) = (info.counts, info.backlog);
    let blocked_by = info.blocked_by.iter().copied().map(reason_row);
    let blocked_by: Value = blocked_by.collect();
    let mut row = socket_row(server_info(info), counters);
    row["clients"] = clients.into();
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

fn socket_row(mut info: Value, counters: Counters) -> Value {
    if let Some(name) = info.get("name").and_then(Value::as_str)
        && name.chars().nth(NAME).is_some()
    {
        info["name"] = format!("{}…", truncate_name(name)).into();
    }
    info["received"] = counters.received.into();
    info["sent"] = counters.sent.into();
    info
}

fn reason_row(reason: BlockReason) -> Value {
    let (name, code) = match reason {
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
        // A later version of the crate may add reasons.
        _ => ("other", None),
    };
    match code {
        None => json!({ "reason": name }),
        Some(code) => json!({ "reason": name, "resultCode": code.code(), "error": code.name() }),
    }
}

fn truncate_name(name: &str) -> String {
    name.chars().take(NAME).collect()
}
