//! Operations on client sockets and apps, carried out on the real side and on the model.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use actix::prelude::*;
use chrome_sockets::lifecycle::EventPage;
use chrome_sockets::tcp::{
    self, ClientSocket, DnsQueryType, ResumeOptions, SendMarks, SocketListeners, WhenDead,
};
use chrome_sockets::{
    App, AppLimits, ClientSocketId, Endpoint, Error, InvalidArgument, Permissions,
};

use super::app::{ALL_LISTENERS, AppChange, AppState, KINDS, Kind, LISTENERS, ListenerMap};
use super::client::{CONNECT_TIMEOUT, Call, Client, Own, Target};
use super::connection::{Connection, outgoing_byte};
use super::drive::{V4, choose, done, name};
use super::event_log::{Answer, CallId, LoggingListener, listen, listens};
use super::harness::{Harness, PeerConnection};
use super::mistakes;
use super::ops::{
    AppOp, ClientOp, ConnectOptions, ConnectTarget, OwnListeners, Properties, SocketChoice,
};
use super::possible_states::Step;
use super::server::{MAX_NAME, net};

/// At most this many sockets are created, so that operations meet on the same ones.
const MAX_CLIENTS: usize = 10;

/// Injected panics of the crate's own actors per batch.
const MAX_PANICS_PER_BATCH: usize = 2;

/// The arguments of `setPermissions`, as in a manifest.
const PERMISSIONS: [&str; 3] = [
    r#"{ "tcpServer": { "listen": "" }, "tcp": { "connect": "" } }"#,
    r#"{ "tcpServer": { "listen": "127.0.0.1:*" }, "tcp": { "connect": "127.0.0.1:*" } }"#,
    r#"{ "tcpServer": { "listen": "*:7001" } }"#,
];

/// Each connect has a port of its own, from here on.
const FIRST_PORT: u16 = 10_000;

/// A call by socket id or by handle.
enum Api {
    Id(tcp_api::Tcp, ClientSocketId),
    Handle(ClientSocket),
}

use chrome_sockets as tcp_api;

macro_rules! by {
    ($api:expr, $name:ident($($argument:expr),*)) => {
        match $api {
            Api::Id(api, id) => api.$name(*id, $($argument),*),
            Api::Handle(socket) => socket.$name($($argument),*),
        }
    };
}

impl Harness {
    pub async fn client_op(&mut self, choice: SocketChoice, op: &ClientOp) -> Result<(), String> {
        let app = choice.app.0;
        let api = self.apps[app].app.tcp.clone();
        match op {
            ClientOp::Create(properties) => {
                let open = self
                    .clients
                    .iter()
                    .filter(|model| model.possible.any(|s| s.open));
                if open.count() < MAX_CLIENTS {
                    self.rest_after_suspending().await?;
                    let mut client = Client::new(0, self.apps[app].state);
                    let set = client.set(&model_properties(properties));
                    let real = real_properties(properties);
                    let wrap = |result: Result<tcp::CreateInfo, Error>| {
                        Answer::ClientId(result.map(|info| info.socket_id.get()))
                    };
                    let call = self.call(|_| api.create(real), wrap);
                    self.creates_client(call, app, set.map(|()| client));
                }
                return Ok(());
            }
            ClientOp::GetSockets => {
                let mut own = self.clients.iter().filter(|model| model.app == app);
                if own.any(|model| model.by_handle == Some(true)) {
                    // Calls by handle may overtake it.
                    self.rest().await?;
                }
                let wrap = |result: Result<Vec<_>, _>| Answer::Clients(result.unwrap_or_default());
                let call = self.call(|_| api.get_sockets(), wrap);
                for model in self.clients.iter_mut().filter(|model| model.app == app) {
                    model.by_handle = Some(false);
                    model.steps.push(Step::Call(call, Call::GetSockets));
                }
                // Later calls may already show in its answer.
                return self.rest().await;
            }
            _ => {}
        }
        let ids = |harness: &Harness| harness.clients.iter().map(|k| (k.app, k.id)).collect();
        if let Some(unknown) = self.unknown_id(choice, ids) {
            let call = self.call(|_| api.get_info(unknown.into()), Answer::Client);
            self.expect(call, Answer::Client(Err(Error::SocketNotFound)));
            return Ok(());
        }
        let Some(place) = choose(&self.clients, choice, |s| s.any(|s| s.open)) else {
            return Ok(());
        };
        let model = &self.clients[place];
        let is_call = |step: &Step<_>| matches!(step, Step::Call(..));
        let updates = |step: &Step<_>| matches!(step, Step::Call(_, Call::Update(_)));
        let watched =
            model.possible.any(Client::watches_send_queue) || model.steps.iter().any(updates);
        if matches!(op, ClientOp::Send(_)) && watched && model.steps.iter().any(is_call) {
            // The queue is compared with the limit when the send is called, and earlier calls may
            // still change it.
            self.rest().await?;
        }
        let model = &mut self.clients[place];
        let by_handle = *model.by_handle.get_or_insert(choice.by_handle);
        let api = match &model.handle {
            Some(handle) if by_handle => Api::Handle(handle.clone()),
            _ => Api::Id(api, model.id.into()),
        };
        if let ClientOp::Connect { to, options, held } = op {
            return self
                .client_connects(place, &api, *to, *options, *held)
                .await;
        }
        let (call, model) = self.client_call(app, &api, op);
        let steps = &mut self.clients[place].steps;
        if matches!(model, Call::SetPaused(false)) {
            for step in &mut *steps {
                if let Step::Call(_, before @ Call::SetPaused(true)) = step {
                    *before = Call::PausedUntilResumed;
                }
            }
        }
        steps.push(Step::Call(call, model));
        Ok(())
    }

    fn client_call(&mut self, app: usize, api: &Api, op: &ClientOp) -> (CallId, Call) {
        match op {
            ClientOp::Update(properties) => {
                let real = real_properties(properties);
                let call = self.call(|_| by!(api, update(real)), done);
                (call, Call::Update(model_properties(properties)))
            }
            ClientOp::SetPaused(paused) => {
                let call = self.call(
                    |_| match api {
                        // Without options it is the same.
                        Api::Handle(socket) if !*paused => socket.resume_with(ResumeOptions::new()),
                        _ => by!(api, set_paused(*paused)),
                    },
                    done,
                );
                (call, Call::SetPaused(*paused))
            }
            ClientOp::SetKeepAlive(enable, delay) => {
                let call = self.call(|_| by!(api, set_keep_alive(*enable, *delay)), done);
                let (enable, delay) = (*enable, *delay);
                (call, Call::SetKeepAlive { enable, delay })
            }
            ClientOp::SetNoDelay(no_delay) => (
                self.call(|_| by!(api, set_no_delay(*no_delay)), done),
                Call::SetNoDelay(*no_delay),
            ),
            ClientOp::Send(bytes) => {
                let data = |call| {
                    (0..*bytes)
                        .map(|i| outgoing_byte(call, i))
                        .collect::<Vec<_>>()
                };
                let wrap = |result: Result<tcp::SendInfo, Error>| {
                    Answer::Sent(result.map(|info| info.bytes_sent))
                };
                let call = self.call(|call| by!(api, send(data(call))), wrap);
                (call, Call::Send(*bytes))
            }
            ClientOp::ShutdownWrite => (
                self.call(|_| by!(api, shutdown_write()), done),
                Call::ShutdownWrite,
            ),
            ClientOp::Disconnect => (
                self.call(|_| by!(api, disconnect()), done),
                Call::Disconnect,
            ),
            ClientOp::Reset => (self.call(|_| by!(api, reset()), done), Call::Reset),
            ClientOp::SetListeners(own) => {
                let all = &self.apps[app].listeners;
                let real = own.map(|own| real_listeners(own, all));
                let call = self.call(|_| by!(api, set_listeners(real)), done);
                (call, Call::SetListeners(own.map(Own::from)))
            }
            ClientOp::Mistake(which) => {
                let (timeouts, error) = mistakes::timeouts(*which);
                let call = self.call(|_| by!(api, set_timeouts(timeouts)), done);
                (call, Call::Mistake(error))
            }
            ClientOp::Close => (self.call(|_| by!(api, close()), done), Call::Close),
            _ => (
                self.call(|_| by!(api, get_info()), Answer::Client),
                Call::GetInfo,
            ),
        }
    }

    async fn client_connects(
        &mut self,
        place: usize,
        api: &Api,
        to: ConnectTarget,
        options: Option<ConnectOptions>,
        held: bool,
    ) -> Result<(), String> {
        let mut options = match to {
            // A port of 16 bits cannot be wrong.
            ConnectTarget::WrongPort => None,
            _ => options,
        };
        let number = self.conns.len();
        let app = self.clients[place].app;
        let permissions = self.apps[app].permissions;
        let port = FIRST_PORT + u16::try_from(number).expect("it fits the type");
        let at = SocketAddr::new(V4, port);
        let mut wrong = None;
        let mut port = i32::from(port);
        let host = match to {
            ConnectTarget::Localhost => "localhost",
            ConnectTarget::UnknownName => "nobody.example",
            ConnectTarget::NoInterface => "fe80::1%eth0",
            _ => "127.0.0.1",
        };
        if let (None, ConnectTarget::NoInterface) = (options, to) {
            return Ok(());
        }
        if let (Some(options), ConnectTarget::PortZero) = (&mut options, to) {
            // Which of two mistakes is answered is not specified.
            options.timeout = options.timeout.filter(|timeout| !timeout.is_zero());
        }
        let local = options.and_then(|options| options.local);
        let from_v6 = local.is_some_and(|local| local.is_ipv6());
        let mut dns = DnsQueryType::Any;
        let mut end = match to {
            // Nobody listens on `::1`.
            ConnectTarget::Localhost if from_v6 => Err(net(-102)),
            ConnectTarget::Literal | ConnectTarget::Nobody | ConnectTarget::Fault(..)
                if from_v6 =>
            {
                Err(net(-108))
            }
            ConnectTarget::Literal | ConnectTarget::Localhost => Ok(()),
            ConnectTarget::Nobody => Err(net(-102)),
            ConnectTarget::Fault(errno, code) => {
                self.network.connect_error(at, errno);
                Err(net(code))
            }
            ConnectTarget::UnknownName => Err(net(-105)),
            ConnectTarget::V4AsV6 => {
                dns = DnsQueryType::Ipv6;
                Err(net(-105))
            }
            ConnectTarget::WrongPort => {
                port = 65_536;
                wrong = Some(InvalidArgument::PeerPortOutOfRange.into());
                Err(InvalidArgument::PeerPortOutOfRange.into())
            }
            ConnectTarget::PortZero => {
                port = 0;
                wrong = Some(net(-108));
                Err(net(-108))
            }
            ConnectTarget::NoInterface => Err(net(-108)),
        };
        if options.is_some_and(|options| options.timeout == Some(Duration::ZERO)) {
            let error = InvalidArgument::ConnectTimeoutZero.into();
            wrong = Some(error);
            end = Err(error);
        }
        let permitted = match permissions {
            0 => true,
            1 => host == "127.0.0.1",
            _ => false,
        };
        if permissions != 0 && i32::from(at.port()) != port {
            // Whether a pattern covers an invalid port is not specified.
            return Ok(());
        }
        let held = held
            && wrong.is_none()
            && !from_v6
            && matches!(
                to,
                ConnectTarget::Literal
                    | ConnectTarget::Localhost
                    | ConnectTarget::Nobody
                    | ConnectTarget::Fault(..)
            );
        if held {
            self.holds
                .push((place, number, self.network.block_connect(at)));
        }
        // The port is used up, whatever the outcome.
        let peer = end.is_ok().then(|| self.network.server(at));
        let chosen = peer.as_ref().map(|peer| peer.stream_addr());
        let local = chosen.map(|mut chosen| {
            if let Some(local) = local {
                chosen.set_ip(local.ip());
                if local.port() != 0 {
                    chosen.set_port(local.port());
                }
            }
            chosen
        });
        let connection = Connection::new(number, at, local);
        let timeout = options.and_then(|options| options.timeout);
        let target = Target {
            permitted,
            wrong,
            end: end.map(|()| connection.clone()),
            held: held.then_some(number),
            has_timeout: timeout == Some(CONNECT_TIMEOUT),
            is_timed_out: false,
        };
        self.conns.push(PeerConnection {
            peer,
            possible: vec![connection],
            client: Some(place),
            sent: 0,
            shut: false,
            is_new: true,
        });
        let call = match options {
            None => self.call(|_| by!(api, connect(host, port, dns)), done),
            Some(options) => {
                let port = u16::try_from(port).expect("it fits the type");
                let endpoint = match host.parse::<IpAddr>() {
                    Ok(ip) if !options.text => (ip, port).into(),
                    _ => Endpoint::from((host, port)),
                };
                let options = tcp::ConnectOptions {
                    dns_query_type: dns,
                    timeout: options.timeout,
                    local: options.local,
                    ..Default::default()
                };
                self.call(|_| by!(api, connect_to(endpoint, options)), done)
            }
        };
        let step = Step::Call(call, Call::Connect(Box::new(target)));
        self.clients[place].steps.push(step);
        if held {
            self.rest().await?;
        }
        Ok(())
    }

    /// Adds the app's first listener to every event.
    pub fn listen_to_all(&mut self, app: usize) {
        for kind in KINDS {
            self.listener(app, kind, 0, true);
        }
    }

    fn listener(&mut self, app: usize, kind: Kind, listener: usize, add: bool) {
        let side = &self.apps[app];
        let (of, ear_of) = (side.app.clone(), side.listeners[listener].clone());
        let call = self.call(|_| listen(&of, kind, listener, &ear_of, add), done);
        self.expect(call, Answer::Done(Ok(())));
        self.change(app, AppChange::Listens(kind, listener, add));
    }

    pub async fn app_op(&mut self, app: usize, op: &AppOp) -> Result<(), String> {
        if let AppOp::Panic(of_a_server) = op {
            let (kind, rule) = match of_a_server {
                true => (0, "panic=server,times=1"),
                false => (1, "panic=clients,times=1"),
            };
            // The third panic in a row at one socket ends its connection. That has its own
            // tests.
            if self.panics[kind].len() < MAX_PANICS_PER_BATCH {
                let rule = self.faults.inject(rule.parse().expect("it is right"));
                self.panics[kind].push(rule);
            }
            return Ok(());
        }
        if !matches!(op, AppOp::Listen(..) | AppOp::HasListener(..)) {
            self.rest().await?;
        }
        let api = self.apps[app].app.clone();
        match op {
            AppOp::Listen(kind, listener, add) => {
                self.rest_after_suspending().await?;
                self.listener(app, *kind, *listener, *add);
                return Ok(());
            }
            AppOp::HasListener(kind, listener) => {
                self.rest().await?;
                let listeners = self.apps[app].state.listeners(*kind);
                let has = listener.map_or(listeners, |listener| listeners & (1 << listener)) != 0;
                let listeners = self.apps[app].listeners.clone();
                let listener = listener.map(|number| (number, &listeners[number]));
                let call = self.call(|_| listens(&api, *kind, listener), Answer::Flag);
                self.expect(call, Answer::Flag(Ok(has)));
                return Ok(());
            }
            AppOp::Die(0..LISTENERS) if self.apps[app].page.is_some() => {}
            AppOp::SetEventPage(Some(_)) if self.apps[app].has_dead_listener => {}
            AppOp::Die(listener) => {
                let side = &mut self.apps[app];
                side.has_dead_listener |= *listener < LISTENERS;
                side.listeners[*listener].do_send(support::Stop);
                side.listeners[*listener] = LoggingListener::start(*listener, self.slow, &self.log);
                self.change(app, AppChange::Died(*listener));
            }
            AppOp::Suspend => {
                let call = self.call(|_| api.suspend(), done);
                self.expect(call, Answer::Done(Ok(())));
                self.change(app, AppChange::Suspend);
                // Concurrent calls may come before or after.
                if self.apps[app].page.is_none() {
                    return Ok(());
                }
            }
            AppOp::Resume => {
                let call = self.call(|_| api.resume(), done);
                self.expect(call, Answer::Done(Ok(())));
                let page = self.apps[app].page.unwrap_or(0);
                self.change(app, AppChange::Resume(page));
            }
            AppOp::IsSuspended => {
                let suspended = self.apps[app].state.suspended;
                let call = self.call(|_| api.is_suspended(), Answer::Flag);
                self.expect(call, Answer::Flag(Ok(suspended)));
            }
            AppOp::SetEventPage(page) => {
                let real = page.map(|page| event_page(page, &self.apps[app].listeners));
                let call = self.call(|_| api.set_event_page(real), done);
                self.expect(call, Answer::Done(Ok(())));
                self.apps[app].page = *page;
                self.apps[app].page_is_new = true;
            }
            AppOp::Unload => {
                let call = self.call(|_| api.unload(), done);
                self.expect(call, Answer::Done(Ok(())));
                self.change(app, AppChange::Unload);
                self.apps[app].page = None;
                self.apps[app].has_dead_listener = false;
                self.apps[app].permissions = 0;
                self.rest().await?;
                debug_assert_eq!(self.apps[app].state, AppState::default());
                self.listen_to_all(app);
            }
            AppOp::SetPermissions(which) => {
                // Mostly all permissions.
                let which = if usize::from(*which) < PERMISSIONS.len() {
                    *which
                } else {
                    0
                };
                let key = PERMISSIONS[usize::from(which)];
                let permissions = Permissions::from_sockets(key).expect("it is right");
                let call = self.call(|_| api.set_permissions(permissions), done);
                self.expect(call, Answer::Done(Ok(())));
                self.apps[app].permissions = which;
            }
            AppOp::Mistake(which) => {
                let (accepted, error) = mistakes::limits(*which);
                let limits = AppLimits {
                    accepted,
                    sockets: Some(0),
                };
                let call = self.call(|_| api.set_limits(limits), done);
                self.expect(call, Answer::Done(Err(error)));
            }
            AppOp::Panic(_) => {}
        }
        self.rest().await
    }
}

/// An event page that adds these listeners to every event.
fn event_page(listeners: ListenerMap, all: &[Addr<LoggingListener>; ALL_LISTENERS]) -> EventPage {
    let numbers = (0..LISTENERS).filter(|listener| listeners & (1 << listener) != 0);
    let listeners: Vec<_> = numbers.map(|it| (it, all[it].clone())).collect();
    EventPage::new(move |app: App| {
        let listeners = listeners.clone();
        async move {
            for (number, listener) in &listeners {
                for kind in KINDS {
                    drop(listen(&app, kind, *number, listener, true));
                }
            }
            Ok(())
        }
    })
}

fn real_listeners(
    own: OwnListeners,
    all: &[Addr<LoggingListener>; ALL_LISTENERS],
) -> SocketListeners {
    let mut listeners = SocketListeners::new();
    if let Some(listener) = own.on_receive {
        listeners = listeners.on_receive(all[listener].clone().recipient());
    }
    if let Some(listener) = own.on_receive_error {
        listeners = listeners.on_receive_error(all[listener].clone().recipient());
    }
    if let Some(listener) = own.on_send_queue {
        listeners = listeners.on_send_queue(all[listener].clone().recipient());
    }
    listeners.when_dead(match own.waits {
        true => WhenDead::Wait,
        false => WhenDead::EndConnection,
    })
}

fn real_properties(properties: &Properties) -> tcp::SocketProperties {
    tcp::SocketProperties {
        persistent: properties.persistent,
        name: name(properties).map(str::to_owned),
        buffer_size: properties.buffer_size,
        allow_half_open: properties.allow_half_open,
        user_timeout: user_timeout(properties),
        send_limit: send_limit(properties),
        send_marks: send_marks(properties),
    }
}

fn model_properties(properties: &Properties) -> super::client::Properties {
    super::client::Properties {
        persistent: properties.persistent,
        name: name(properties),
        buffer_size: properties.buffer_size,
        allow_half_open: properties.allow_half_open,
        user_timeout: user_timeout(properties),
        send_limit: send_limit(properties),
        send_marks: send_marks(properties),
    }
}

// Which of several mistakes is answered is not specified, so each call has one.

fn has_right_name(properties: &Properties) -> bool {
    name(properties).is_none_or(|name| name.len() <= MAX_NAME)
}

fn send_marks(properties: &Properties) -> Option<SendMarks> {
    let is_right = has_right_name(properties);
    properties.send_marks.filter(|_| is_right)
}

fn send_limit(properties: &Properties) -> Option<usize> {
    let are_right = has_right_name(properties)
        && send_marks(properties).is_none_or(|marks| marks.low <= marks.high);
    properties.send_limit.filter(|_| are_right)
}

fn user_timeout(properties: &Properties) -> Option<Duration> {
    let are_right = has_right_name(properties)
        && send_marks(properties).is_none_or(|marks| marks.low <= marks.high)
        && send_limit(properties) != Some(0);
    let applies = are_right && cfg!(target_os = "linux");
    properties.user_timeout.filter(|_| applies)
}
