//! The gateway: HTTP and WebSocket on one port.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::Addr;
use bytes::Bytes;
use chrome_sockets::os::{Listener, Stream};
use chrome_sockets::proxy_protocol::{DEFAULT_TIMEOUT, read_header};
use chrome_sockets::{AppId, DenyConnect, NetError, Registry};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use crate::access::admin_key::AdminKey;
use crate::access::peers::{PeerSlot, Peers};
use crate::access::policy::{PeerIdentity, Policy};
use crate::access::request_head;
use crate::access::request_head::{Requested, WebSocketRequest};
use crate::access::wrong_tokens::WrongTokens;
use crate::excerpt::for_log;
use crate::protocol::close_reason::{CloseReason, Code};
use crate::sessions::budget::ReceiveBudget;
use crate::sessions::directory::SessionDirectory;
use crate::settings::Settings;
use crate::transport::control::Control;
use crate::transport::io::Io;
use crate::transport::{http, listening, static_files, web_socket};

/// A WebSocket gateway to a [`Registry`], which also serves the admin page.
///
/// It answers only to `localhost` and IP addresses. Clients that are not pages may connect, and
/// so may the gateway's own page and the pages of its [`Origins`](crate::Origins); all of them must
/// show the token if the [`Policy`] has one. Apps cannot connect to the gateway's port.
#[derive(derive_more::Debug)]
pub struct Gateway {
    #[debug(skip)]
    listener: Box<dyn Listener>,
    address: SocketAddr,
    #[debug(skip)]
    shared: Shared,
}

/// What all connections share.
#[derive(Clone)]
struct Shared {
    directory: SessionDirectory,
    /// The only app of this gateway, an extension. Such a gateway serves no page.
    extension: Option<AppId>,
    connections: Peers,
    /// Rejected connections that still receive the reason.
    rejections: Peers,
    /// Closed connections whose output is not acknowledged.
    lingering: Peers,
    /// Connections of proxies that owe their PROXY header.
    headers: Peers,
    wrong_tokens: Rc<WrongTokens>,
    key: Rc<AdminKey>,
    address: SocketAddr,
}

/// The most rejected connections at once that still receive the reason.
const REJECTIONS: usize = 64;

/// How long a stopping gateway waits for its connections to close.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

impl Gateway {
    /// Starts to listen. Clients are accepted by [`run`](Self::run).
    ///
    /// # Errors
    /// The OS error of listening or of random numbers; `InvalidInput` if other machines can reach
    /// the address and the policy has no token.
    pub fn listen(
        address: SocketAddr,
        registry: &Addr<Registry>,
        settings: Settings,
    ) -> io::Result<Self> {
        settings.policy.check_address(address)?;
        Self::new(listening::listen(address)?, registry, settings)
    }

    /// As [`listen`](Self::listen), with a listening socket that another process has opened, such
    /// as systemd.
    ///
    /// # Errors
    /// As [`listen`](Self::listen); it is not a listening TCP socket.
    pub fn adopt(
        listener: OwnedFd,
        registry: &Addr<Registry>,
        settings: Settings,
    ) -> io::Result<Self> {
        let listener = listening::adopt(listener)?;
        settings
            .policy
            .check_address(listening::local_addr(&*listener)?)?;
        Self::new(listener, registry, settings)
    }

    fn new(
        listener: Box<dyn Listener>,
        registry: &Addr<Registry>,
        settings: Settings,
    ) -> io::Result<Self> {
        let key = Rc::new(AdminKey::new()?);
        let address = listening::local_addr(&*listener)?;
        // Otherwise an app with permission for loopback could become another app.
        registry.do_send(DenyConnect(address));
        Ok(Gateway {
            address,
            listener,
            shared: Shared {
                extension: None,
                connections: Peers::new(settings.limits.connections),
                rejections: Peers::new(REJECTIONS),
                lingering: Peers::new(settings.limits.connections),
                headers: Peers::new(settings.limits.connections),
                directory: SessionDirectory::new(registry.clone(), settings),
                wrong_tokens: Rc::default(),
                key,
                address,
            },
        })
    }

    /// Listens for one extension on a loopback port that the OS chooses. The policy must have a
    /// token.
    ///
    /// # Errors
    /// The OS error of listening.
    pub(crate) fn listen_for_extension(
        registry: &Addr<Registry>,
        policy: Policy,
        extension: &AppId,
    ) -> io::Result<Self> {
        let address = (Ipv4Addr::LOCALHOST, 0).into();
        let settings = Settings {
            policy,
            ..Settings::default()
        };
        let mut gateway = Self::listen(address, registry, settings)?;
        gateway.shared.extension = Some(extension.clone());
        Ok(gateway)
    }

    /// The address that it listens on, with the actual port.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The URL of the admin page, with the admin key. The key permits to list, pause, drain and
    /// close the sockets of all apps, so show it only to the owner of the host. Each gateway has a
    /// new key.
    pub fn admin_url(&self) -> String {
        format!("http://{}/#key={}", self.address, self.shared.key)
    }

    /// A handle to it, also while it runs.
    pub fn control(&self) -> Control {
        Control {
            directory: self.shared.directory.clone(),
            connections: self.shared.connections.clone(),
            rejections: self.shared.rejections.clone(),
            lingering: self.shared.lingering.clone(),
            headers: self.shared.headers.clone(),
        }
    }

    /// Accepts clients until `end` completes. Then closes all connections with the reason
    /// `stopping`, and waits up to 2 seconds for them. Must be called within an actix system.
    pub async fn run(self, end: impl Future<Output = ()>) {
        self.run_and_drain(end, async |()| ()).await;
    }

    /// Accepts clients until `end` completes. Then stops listening, and serves its clients until
    /// `drain`, which gets the result of `end`, completes. Then closes all connections as
    /// [`run`](Self::run).
    pub async fn run_and_drain<T>(
        mut self,
        end: impl Future<Output = T>,
        drain: impl AsyncFnOnce(T),
    ) {
        let mut end = std::pin::pin!(end);
        let traffic = self.shared.directory.traffic().clone();
        let ended = loop {
            let (stream, peer) = tokio::select! {
                biased;
                ended = &mut end => break ended,
                accepted = listening::accept(&mut self.listener, &traffic) => accepted,
            };
            match self.shared.is_proxy(peer) {
                true => self.shared.read_header(stream, peer),
                false => self.shared.serve_stream(stream, peer),
            }
        };
        drop(self.listener);
        drain(ended).await;
        self.shared.directory.stop();
        let start = tokio::time::Instant::now();
        let is_busy = || self.shared.connections.count() + self.shared.lingering.count() > 0;
        while is_busy() && start.elapsed() < STOP_TIMEOUT {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// The slot of a connection, until a WebSocket uses it.
enum ConnectionSlot {
    Free(PeerSlot),
    /// All slots are used. The connection receives a rejection.
    Rejection {
        _slot: PeerSlot,
    },
    Used,
}

impl Shared {
    fn is_proxy(&self, peer: IpAddr) -> bool {
        let settings = self.directory.settings();
        settings.proxies.iter().any(|it| it.contains(peer))
    }

    /// Serves the connection of a proxy for the client that its header names.
    fn read_header(&self, mut stream: Box<dyn Stream>, proxy: IpAddr) {
        // For the proxy as a whole, because all its clients share its address.
        let Some(slot) = self.headers.reserve(None, None) else {
            self.directory.traffic().count_refused(Code::Busy);
            return;
        };
        let shared = self.clone();
        actix_rt::spawn(async move {
            let header = read_header(&mut *stream);
            let header = timeout(DEFAULT_TIMEOUT, header).await;
            drop(slot);
            match header.unwrap_or(Err(NetError::TIMED_OUT.into())) {
                Ok(header) => {
                    let client = header.source().map(|it| it.ip().to_canonical());
                    shared.serve_stream(stream, client.unwrap_or(proxy));
                }
                Err(error) => {
                    shared.directory.traffic().proxy_errors.add(1);
                    if shared.directory.log_limiter().for_peer(proxy).allows() {
                        log::warn!("{proxy}: connection rejected: {error}");
                    }
                }
            }
        });
    }

    fn serve_stream(&self, stream: Box<dyn Stream>, peer: IpAddr) {
        let directory = &self.directory;
        let limits = directory.settings().limits;
        let budget = ReceiveBudget::new(directory.memory(), limits);
        let traffic = directory.traffic().clone();
        let io = Io::new(stream, budget, peer, self.lingering.clone(), traffic);
        self.serve_http(io, peer);
    }

    /// Serves the first request of a connection.
    fn serve_http(&self, io: Io, peer: IpAddr) {
        let slot = match self.connections.reserve(Some(peer), None) {
            Some(slot) => ConnectionSlot::Free(slot),
            None => match self.rejections.reserve(Some(peer), None) {
                Some(_slot) => ConnectionSlot::Rejection { _slot },
                // Drops the connection, which needs no further resources.
                None => {
                    self.directory.traffic().count_refused(Code::Busy);
                    return;
                }
            },
        };
        let slot = Rc::new(Cell::new(slot));
        let shared = self.clone();
        let limit = self.directory.settings().limits.handshake_timeout;
        actix_rt::spawn(http::serve(io, limit, move |request| {
            shared.respond(request, peer, &slot)
        }));
    }

    fn respond(
        &self,
        request: Request<Incoming>,
        peer: IpAddr,
        slot: &Cell<ConnectionSlot>,
    ) -> Response<Full<Bytes>> {
        let log_limiter = self.directory.log_limiter().for_peer(peer);
        let socket = match request_head::read(&request) {
            Ok(Requested::File { .. }) if self.extension.is_some() => {
                return static_files::not_found();
            }
            // `localhost` resolves to two addresses, and another program may listen on the other
            // one. The page must not share its origin with that program.
            Ok(Requested::File { path, is_localhost }) if is_localhost => {
                return static_files::redirect(&self.page_address(), &path);
            }
            Ok(Requested::File { path, .. }) => return static_files::file(&path),
            Ok(Requested::WebSocket(socket)) => socket,
            Err(rejection) => {
                self.directory.traffic().bad_requests.add(1);
                if rejection.is_logged() && log_limiter.allows() {
                    log::info!("{peer}: request rejected: {}", for_log(&rejection.text));
                }
                return rejection.into_response();
            }
        };
        if let Some(response) = self.reject_foreign(&socket) {
            self.directory.traffic().count_refused(Code::Origin);
            if log_limiter.allows() {
                let origin = for_log(socket.origin.as_deref().unwrap_or("none")).to_string();
                log::warn!("{peer}: WebSocket rejected: origin {origin:?}");
            }
            return response;
        }
        let response = socket.response();
        let shared = self.clone();
        // A file request keeps its slot until its connection closes; a WebSocket moves it to its session.
        let slot = slot.replace(ConnectionSlot::Used);
        actix_rt::spawn(async move {
            if let Ok(upgraded) = hyper::upgrade::on(request).await
                && let Ok(parts) = upgraded.downcast::<TokioIo<Io>>()
            {
                let io = parts.io.into_inner();
                shared.serve(io, parts.read_buf, socket, peer, slot).await;
            }
        });
        response
    }

    /// The error response to a WebSocket of a foreign origin, where only the gateway's own page or
    /// its extension may connect. They learn nothing, not even a close reason.
    fn reject_foreign(&self, socket: &WebSocketRequest) -> Option<Response<Full<Bytes>>> {
        match &self.extension {
            Some(extension) if socket.is_admin || !socket.is_of_extension(extension.as_str()) => {
                Some(static_files::not_found())
            }
            None if socket.is_admin => {
                let refusal = socket.check_own_page().err()?;
                Some(static_files::text(StatusCode::FORBIDDEN, refusal))
            }
            _ => None,
        }
    }

    /// The IP address of the page.
    fn page_address(&self) -> SocketAddr {
        let ip = match self.address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        SocketAddr::new(ip, self.address.port())
    }

    /// Serves a WebSocket.
    async fn serve(
        &self,
        io: Io,
        read: Bytes,
        socket: WebSocketRequest,
        peer: IpAddr,
        slot: ConnectionSlot,
    ) {
        let (directory, log_limiter) =
            (&self.directory, self.directory.log_limiter().for_peer(peer));
        match self.authorize(&socket, peer, slot) {
            Ok((_slot, None)) => {
                web_socket::serve_admin(io, read, directory, &self.key, &log_limiter).await;
            }
            Ok((_slot, Some(identity))) => {
                web_socket::serve(io, read, directory, identity, &log_limiter).await;
            }
            Err(reason) => {
                directory.traffic().count_refused(reason.code);
                if log_limiter.allows() {
                    let (code, message) = (reason.code.name(), &reason.message);
                    let origin = for_log(socket.origin.as_deref().unwrap_or("none")).to_string();
                    log::warn!(
                        "client rejected ({code}): {message} (address {peer}, origin {origin:?})"
                    );
                }
                // Its connection slot is released, so that rejections cannot use all of those.
                if let Some(_slot) = self.rejections.reserve(Some(peer), None) {
                    web_socket::reject(io, read, reason).await;
                }
            }
        }
    }

    /// Decides whether a WebSocket may connect, before any of its frames is read. Returns its slot
    /// and its identity; admin connections have no identity.
    fn authorize(
        &self,
        socket: &WebSocketRequest,
        peer: IpAddr,
        slot: ConnectionSlot,
    ) -> Result<(PeerSlot, Option<PeerIdentity>), CloseReason> {
        let origin: Option<Arc<str>> = socket.origin.as_deref().map(Into::into);
        let slot = match slot {
            ConnectionSlot::Free(slot) => slot.with_origin(origin.clone()),
            ConnectionSlot::Rejection { .. } | ConnectionSlot::Used => None,
        };
        let slot = slot.ok_or_else(|| {
            let text = "too many connections in total, from this address or from this page";
            CloseReason::new(Code::Busy, text)
        })?;
        if socket.is_admin {
            return Ok((slot, None));
        }
        let settings = self.directory.settings();
        let apps = match &self.extension {
            Some(_) => None,
            None => socket
                .allowed_apps(&settings.origins)
                .map_err(|refusal| CloseReason::new(Code::Origin, refusal))?,
        };
        let policy = &settings.policy;
        if policy.token.is_some() {
            let source = (peer, origin.clone());
            // Before the comparison, so that waiting attempts learn nothing about their token.
            if self.wrong_tokens.is_delayed(&source) {
                let text = "too many wrong tokens: try again in a moment";
                return Err(CloseReason::new(Code::Busy, text));
            }
            if !policy.accepts_token(socket.token.as_deref()) {
                self.wrong_tokens.record(&source);
                return Err(CloseReason::new(Code::Forbidden, "missing or wrong token"));
            }
            self.wrong_tokens.clear(&source);
        }
        let identity = PeerIdentity {
            app: self.extension.clone(),
            apps,
            address: Some(peer),
            origin,
        };
        Ok((slot, Some(identity)))
    }
}
