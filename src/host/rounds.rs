//! What a caretaker calls: lists of what there is, a slice at a time, and
//! what is done to a socket of any app.

use std::future::Future;

use futures::FutureExt;
use futures::future::{LocalBoxFuture, join_all};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use super::arguments::Arguments;
use super::books::{Books, Namespace, Order, Slice, Sums};
use super::call::Wrong;
use super::ear::Taken;
use super::frame::Data;
use super::limits::{MAX_REST, MIN_REST, NAME, ROWS};
use super::lobby::{Lobby, shortened};
use super::message::Message;
use super::outcome::{Outcome, nothing, paused_now, server_info, tcp_info};
use crate::app::App;
use crate::error::Error;
use crate::ids::AppId;
use crate::tcp_server::{self, HeldUpBy};

/// A caretaker's way to what it looks after.
#[derive(Clone)]
pub(super) struct Rounds {
    pub(super) lobby: Lobby,
}

type Doing = LocalBoxFuture<'static, Outcome>;

/// Reads a call.
pub(super) fn read(message: Message<'_>, data: &mut Data, rounds: &Rounds) -> Result<Doing, Wrong> {
    let Some((function, left)) = message.into_call() else {
        return Err(Wrong::Call("Invalid call: it names no function".to_owned()));
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
            arguments.end()?;
            Ok(rounds.in_time(move |rounds| async move { rounds.apps(slice) }))
        }
        "host.listServers" => {
            let app = arguments.text()?.into();
            let slice = slice(&mut arguments)?;
            arguments.end()?;
            Ok(rounds.in_time(move |rounds| async move { rounds.servers(&app, slice).await }))
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
            let list = move |rounds: Rounds| async move {
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
fn slice(arguments: &mut Arguments<'_, '_>) -> Result<Slice, Wrong> {
    let mut number = || {
        let number = arguments.optional_int()?;
        Ok::<_, Wrong>(number.map(|number| number.try_into().unwrap_or(0)))
    };
    let from = number()?.unwrap_or(0);
    let most = number()?.unwrap_or(ROWS).min(ROWS);
    Ok(Slice { from, most })
}

/// `app, namespace, socketId`.
fn socket(arguments: &mut Arguments<'_, '_>) -> Result<(AppId, Namespace, u64), Wrong> {
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

impl Rounds {
    /// Makes a list when the host has rested from the one before, so that lists
    /// take no more than a tenth of its time however often they are asked for.
    fn in_time<F>(self, list: impl FnOnce(Self) -> F + 'static) -> Doing
    where
        F: Future<Output = Outcome>,
    {
        let listed = async move {
            // One list at a time, whoever asks: all have one budget of time.
            let lists = self.lobby.lists();
            let mut rested = lists.lock().await;
            sleep_until(*rested).await;
            let start = Instant::now();
            let outcome = list(self).await;
            let took = start.elapsed();
            *rested = Instant::now() + (took * 9).clamp(MIN_REST, MAX_REST);
            outcome
        };
        listed.boxed_local()
    }

    fn answer(&self, mut list: Value) -> Outcome {
        let at = self.lobby.age().as_millis();
        list["at"] = u64::try_from(at).unwrap_or(u64::MAX).into();
        Outcome {
            last_error: None,
            values: vec![list],
        }
    }

    /// `host.listApps`.
    fn apps(&self, slice: Slice) -> Outcome {
        let (mut servers, mut clients) = (0, 0);
        let mut sums = vec![self.lobby.gone()];
        let apps = self.lobby.apps();
        for (_, books) in &apps {
            let books = books.borrow();
            servers += books.server_count();
            clients += books.client_count();
            sums.push(books.sums());
        }
        let (total, listed) = slice.of(apps.into_iter());
        let listed = listed.into_iter().map(|(app, books)| {
            let here = self.lobby.is_here(&app);
            let books = books.borrow();
            let mut row = books.sums().shown();
            row["app"] = app.as_str().into();
            row["here"] = here.into();
            row["servers"] = books.server_count().into();
            row["clients"] = books.client_count().into();
            row
        });
        let listed: Value = listed.collect();
        let mut all = Sums::of(sums.into_iter()).shown();
        all["servers"] = servers.into();
        all["clients"] = clients.into();
        self.answer(json!({ "total": total, "all": all, "apps": listed }))
    }

    /// `host.listServers`.
    async fn servers(&self, app: &AppId, slice: Slice) -> Outcome {
        let Some(books) = self.lobby.books(app) else {
            return no_such_app();
        };
        let (total, listed) = books.borrow().servers(slice);
        let handle = self.lobby.app(app);
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

    /// `host.listClients`.
    async fn clients(
        &self,
        app: &AppId,
        server: Option<u64>,
        order: Order,
        slice: Slice,
    ) -> Outcome {
        let Some(books) = self.lobby.books(app) else {
            return no_such_app();
        };
        let (total, ids) = books.borrow().clients(server, order, slice);
        let handle = self.lobby.app(app);
        let infos = ids.iter().map(|id| handle.tcp.get_info((*id).into()));
        let infos = join_all(infos.collect::<Vec<_>>()).await;
        let books = books.borrow();
        let rows = infos.into_iter().zip(ids).filter_map(|(info, id)| {
            let mut row = tcp_info(info.ok()?);
            shorten_name(&mut row);
            with_sums(&mut row, Books::client_sums(&books, id));
            Some(row)
        });
        let rows: Value = rows.collect();
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
            self.lobby
                .taken(&id, taken, is_untold == Ok::<_, Error>(true));
            self.lobby.clear_away(&id).await;
        }
        outcome
    }

    fn known(&self, app: &AppId) -> Option<App> {
        self.lobby.books(app).map(|_| self.lobby.app(app))
    }
}

fn with_sums(row: &mut Value, sums: Sums) {
    row["received"] = sums.received.into();
    row["sent"] = sums.sent.into();
}

fn server_row(info: tcp_server::SocketInfo) -> Value {
    let counts = info.counts;
    let held_up_by: Value = info.held_up_by.iter().copied().map(reason).collect();
    let backlog = info.backlog;
    let mut row = server_info(info);
    shorten_name(&mut row);
    row["heldUpBy"] = held_up_by;
    row["accepted"] = counts.accepted.into();
    row["delivered"] = counts.delivered.into();
    row["refused"] = counts.refused.into();
    row["failed"] = counts.failed.into();
    if let Some(backlog) = backlog {
        row["backlog"] = backlog.into();
    }
    row
}

fn reason(reason: HeldUpBy) -> Value {
    let (why, code) = match reason {
        HeldUpBy::App => ("app", None),
        HeldUpBy::AcceptError(code) => ("acceptError", Some(code)),
        HeldUpBy::BackingOff(code) => ("backingOff", Some(code)),
        HeldUpBy::Limit(_) => ("limit", None),
        HeldUpBy::NoListener => ("noListener", None),
        HeldUpBy::Unhandled => ("unhandled", None),
        HeldUpBy::Suspended => ("suspended", None),
        HeldUpBy::Draining => ("draining", None),
        HeldUpBy::Handover => ("handover", None),
        HeldUpBy::TlsNotSet => ("tlsNotSet", None),
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
