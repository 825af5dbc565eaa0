//! The gateway: HTTP and WebSocket on one port.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use actix::Addr;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};

use crate::access::admin_key::AdminKey;
use crate::access::handshake;
use crate::access::handshake::Asked;
use crate::access::origins::Origins;
use crate::access::peers::{PeerSlot, Peers};
use crate::access::policy::{PeerIdentity, Policy};
use crate::access::wrong_tokens::WrongTokens;
use crate::excerpt::line;
use crate::limits::{CLIENTS, PATIENCE};
use crate::protocol::close_reason::{CloseReason, Code};
use crate::sessions::budget::Intake;
use crate::sessions::directory::SessionDirectory;
use crate::transport::io::Io;
use crate::transport::{static_files, web_socket};
use chrome_sockets::AppId;
use chrome_sockets::os::{self, Listener, Network, TokioNetwork};
use chrome_sockets::{DenyConnect, Registry};

/// A WebSocket gateway to a [`Registry`], and the page that it serves.
///
/// It answers to `localhost` and IP addresses alone. It lets in the pages
/// that [`Origins`] names, its own, and what is no page; all of them must show the token, if the
/// [`Policy`] has one. No app may connect to its port.
#[derive(derive_more::Debug)]
pub struct Gateway {
    #[debug(skip)]
    listener: Box<dyn Listener>,
    address: SocketAddr,
    #[debug(skip)]
    rooms: Rooms,
}

/// What every connection shares.
#[derive(Clone)]
struct Rooms {
    directory: SessionDirectory,
    origins: Rc<Origins>,
    /// Who alone comes here: then there is no page.
    app: Option<AppId>,
    connections: Peers,
    /// Those that are told why they are not let in.
    farewells: Peers,
    /// Those that end, until their peers have what was said last.
    ending: Peers,
    guesses: Rc<WrongTokens>,
    key: Rc<AdminKey>,
    address: SocketAddr,
}

/// The most connections at once, those that are not clients yet included.
const CONNECTIONS: usize = 256;

/// The most connections at once that are told why they are refused.
const FAREWELLS: usize = 64;

/// The most bytes of a request's head.
const HEAD: usize = 16 * 1024;

/// How long is waited when there is no descriptor for a connection.
const REST: Duration = Duration::from_millis(100);

/// The connections that may wait to be accepted.
const BACKLOG: u32 = 128;

impl Gateway {
    /// Listens. Clients are let in when it [runs](Self::run).
    ///
    /// # Errors
    /// What the OS says, also if it has no random numbers; `InvalidInput` for an address that others reach, if
    /// the policy has no token.
    pub fn listen(
        address: SocketAddr,
        registry: &Addr<Registry>,
        policy: Policy,
        origins: Origins,
    ) -> io::Result<Self> {
        if !address.ip().is_loopback() && policy.token.is_none() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "other machines reach this address: give a token that their clients must show",
            ));
        }
        let key = Rc::new(AdminKey::new()?);
        let listener = TokioNetwork
            .listen(address, BACKLOG)
            .map_err(|error| not_listening(address, &error))?;
        let address = listener.local_addr()?;
        // An app that may reach loopback must not become another app by this port.
        registry.do_send(DenyConnect(address));
        Ok(Gateway {
            address,
            listener,
            rooms: Rooms {
                directory: SessionDirectory::new(registry.clone(), policy, CLIENTS),
                origins: Rc::new(origins),
                app: None,
                connections: Peers::new(CONNECTIONS),
                farewells: Peers::new(FAREWELLS),
                ending: Peers::new(CONNECTIONS),
                guesses: Rc::default(),
                key,
                address,
            },
        })
    }

    /// Listens for one app alone, where the OS says; the policy has a token.
    ///
    /// # Errors
    /// What the OS says.
    pub(crate) fn private(
        registry: &Addr<Registry>,
        policy: Policy,
        app: &AppId,
    ) -> io::Result<Self> {
        let address = (Ipv4Addr::LOCALHOST, 0).into();
        let mut gateway = Self::listen(address, registry, policy, Origins::default())?;
        gateway.rooms.app = Some(app.clone());
        Ok(gateway)
    }

    /// Where it listens, the port that the OS chose included.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Where the page is, with the key that lets it look after the host: see
    /// every socket of every app, and pause, resume and close it. The key is of this
    /// run alone, and nobody else has it: tell it to the host's owner only.
    pub fn page(&self) -> String {
        format!("http://{}/#key={}", self.address, self.rooms.key)
    }

    /// Lets clients in until `end` is done; then tells those that are in, and
    /// gives them a moment to hear it. To be called where actix runs.
    pub async fn run(mut self, end: impl Future<Output = ()>) {
        let mut end = std::pin::pin!(end);
        loop {
            let accept = poll_fn(|cx| {
                if end.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(None);
                }
                os::retry_if_spurious(self.listener.poll_accept(cx), cx).map(Some)
            });
            match accept.await {
                None => break,
                Some(Ok((stream, peer))) => {
                    // A frame is written whole: it must not wait for another.
                    if let Err(error) = stream.set_nodelay(true) {
                        log::debug!("a connection is slow: {error}");
                    }
                    let intake = Intake::new(self.rooms.directory.memory());
                    let peer = peer.ip().to_canonical();
                    let io = Io::new(stream, intake, peer, self.rooms.ending.clone());
                    self.rooms.welcome(io, peer);
                }
                Some(Err(error)) => {
                    log::warn!("no connection could be accepted: {error}");
                    tokio::time::sleep(REST).await;
                }
            }
        }
        drop(self.listener);
        self.rooms.directory.stop();
        let start = tokio::time::Instant::now();
        let is_busy = || self.rooms.connections.count() + self.rooms.ending.count() > 0;
        while is_busy() && start.elapsed() < Duration::from_secs(2) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// An error of the OS that says at which address.
fn not_listening(address: SocketAddr, error: &io::Error) -> io::Error {
    let what = match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!(
                "{address} is in use: stop the program that listens there, or choose another address"
            )
        }
        _ => format!("cannot listen on {address}: {error}"),
    };
    io::Error::new(error.kind(), what)
}

/// A connection's place, until it is somebody's.
enum Place {
    PeerSlot(PeerSlot),
    /// There is none: it is told so.
    Farewell {
        _seat: PeerSlot,
    },
    Used,
}

impl Rooms {
    fn welcome(&self, io: Io, peer: IpAddr) {
        let place = match self.connections.reserve(Some(peer), None) {
            Some(seat) => Place::PeerSlot(seat),
            // Too many even of those: it is closed, which is all that costs nothing.
            None => match self.farewells.reserve(Some(peer), None) {
                Some(_seat) => Place::Farewell { _seat },
                None => return,
            },
        };
        let place = Rc::new(Cell::new(place));
        let rooms = self.clone();
        actix_rt::spawn(async move {
            let service = service_fn(|request| {
                let response = rooms.answer(request, peer, &place);
                async { Ok::<_, Infallible>(response) }
            });
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .max_buf_size(HEAD)
                .serve_connection(TokioIo::new(io), service)
                .with_upgrades();
            // One request is answered, and quickly.
            match tokio::time::timeout(PATIENCE, served).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => log::debug!("a request: {}", line(&error.to_string())),
                Err(_) => log::debug!("a request took too long"),
            }
        });
    }

    fn answer(
        &self,
        request: Request<Incoming>,
        peer: IpAddr,
        place: &Cell<Place>,
    ) -> Response<Full<Bytes>> {
        let lines = self.directory.lines().about(peer);
        let asked = match handshake::read(&request) {
            Ok(asked) => asked,
            Err(refused) => {
                if refused.is_worth_a_line() && lines.may_write() {
                    log::info!("{peer}: a request was refused: {}", line(&refused.text));
                }
                return refused.into_response();
            }
        };
        let response = match &asked {
            Asked::Page { .. } if self.app.is_some() => static_files::missing(),
            // Its name is two addresses, and somebody else may listen on the other one.
            Asked::Page { path, host } if host.is_localhost => {
                static_files::moved(&self.literal(), path)
            }
            Asked::Page { path, .. } => static_files::file(path),
            Asked::WebSocket(socket) => {
                if let Some(response) = self.turns_away(socket) {
                    if lines.may_write() {
                        let origin = socket.origin.as_deref().unwrap_or("none");
                        log::warn!("{peer}: origin {:?} refused", line(origin).to_string());
                    }
                    return response;
                }
                socket.accepted()
            }
        };
        if let Asked::WebSocket(socket) = asked {
            let rooms = self.clone();
            // What asks for a page keeps its place until it is closed.
            let place = place.replace(Place::Used);
            actix_rt::spawn(async move {
                if let Ok(upgraded) = hyper::upgrade::on(request).await
                    && let Ok(parts) = upgraded.downcast::<TokioIo<Io>>()
                {
                    let io = parts.io.into_inner();
                    rooms.serve(io, parts.read_buf, socket, peer, place).await;
                }
            });
        }
        response
    }

    /// The answer to a WebSocket to which this gateway has nothing to say: what comes from
    /// elsewhere than its own page, or its extension, learns nothing.
    fn turns_away(&self, socket: &handshake::WebSocket) -> Option<Response<Full<Bytes>>> {
        match &self.app {
            Some(app) if socket.is_caretaker || !socket.is_of_extension(app.as_str()) => {
                Some(static_files::missing())
            }
            None if socket.is_caretaker => {
                let refused = socket.is_own().err()?;
                Some(static_files::text(StatusCode::FORBIDDEN, refused))
            }
            _ => None,
        }
    }

    /// Where the page is, by address.
    fn literal(&self) -> SocketAddr {
        let ip = match self.address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        SocketAddr::new(ip, self.address.port())
    }

    async fn serve(
        &self,
        io: Io,
        read: Bytes,
        socket: handshake::WebSocket,
        peer: IpAddr,
        place: Place,
    ) {
        let lines = self.directory.lines().about(peer);
        let origin = socket.origin.clone();
        match self.admit(socket, peer, place) {
            Ok((_seat, None)) => {
                web_socket::serve_caretaker(io, read, &self.directory, &self.key, &lines).await;
            }
            Ok((_seat, Some(visitor))) => {
                web_socket::serve(io, read, &self.directory, visitor, &lines).await;
            }
            Err(end) => {
                if lines.may_write() {
                    let (code, message) = (end.code.name(), &end.message);
                    let page = origin.as_deref().unwrap_or("no page");
                    let page = line(page).to_string();
                    log::warn!("{peer}, {page:?}: refused ({code}): {message}");
                }
                // It takes no place, but one of few that are for this.
                if let Some(_seat) = self.farewells.reserve(Some(peer), None) {
                    web_socket::refuse(io, read, &end).await;
                }
            }
        }
    }

    /// Whether a WebSocket is let in, before anything that it sends is read: its place, and who
    /// it is; a caretaker is nobody here.
    fn admit(
        &self,
        socket: handshake::WebSocket,
        peer: IpAddr,
        place: Place,
    ) -> Result<(PeerSlot, Option<PeerIdentity>), CloseReason> {
        let origin: Option<Arc<str>> = socket.origin.as_deref().map(Into::into);
        let busy = || CloseReason::new(Code::Busy, "as many connections are open as may be");
        let seat = match place {
            Place::PeerSlot(seat) => seat.of_page(origin.clone()).ok_or_else(busy)?,
            Place::Farewell { .. } | Place::Used => return Err(busy()),
        };
        if socket.is_caretaker {
            return Ok((seat, None));
        }
        let apps = match &self.app {
            Some(_) => None,
            None => match socket.apps(&self.origins) {
                Ok(apps) => apps,
                Err(refusal) => return Err(CloseReason::new(Code::Origin, refusal)),
            },
        };
        if self.directory.has_token() {
            let from = (peer, origin.clone());
            if self.guesses.must_wait(&from) {
                let what = "too many wrong tokens came from here: try again in a moment";
                return Err(CloseReason::new(Code::Busy, what));
            }
            if !self.directory.is_token(socket.token.as_deref()) {
                self.guesses.wrong(from);
                return Err(CloseReason::new(Code::Forbidden, "missing or wrong token"));
            }
            self.guesses.right(&from);
        }
        let app = self.app.clone();
        let peer = Some(peer);
        Ok((
            seat,
            Some(PeerIdentity {
                app,
                apps,
                peer,
                origin,
            }),
        ))
    }
}
