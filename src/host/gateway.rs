//! The gateway: HTTP and WebSocket on one port.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix::Addr;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::door::{self, Origins};
use super::key::Key;
use super::limits::PATIENCE;
use super::lobby::Lobby;
use super::policy::{Policy, Visitor};
use super::{page, web_socket};
use crate::ids::AppId;
use crate::os::{self, Listener, Network, TokioNetwork};
use crate::registry::Registry;

/// A WebSocket gateway to a [`Registry`], and the page that it serves.
///
/// It answers to `localhost` and IP addresses alone, and lets in the pages
/// that [`Origins`] names, its own, and what is no page; or, if the [`Policy`] has
/// a token, whoever shows that.
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
    lobby: Lobby,
    origins: Rc<Origins>,
    /// Who alone comes here: then there is no page.
    app: Option<AppId>,
    connections: Rc<Cell<usize>>,
    key: Rc<Key>,
}

/// Where a WebSocket looks after the host; at `/` it is an app.
const CARETAKER: &str = "/admin";

/// The most connections at once, those that are not clients yet included.
const CONNECTIONS: usize = 256;

/// The most clients at once: the others are for those who only look.
const CLIENTS: usize = 192;

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
        let key = Rc::new(Key::new()?);
        let listener = TokioNetwork
            .listen(address, BACKLOG)
            .map_err(|error| not_listening(address, &error))?;
        Ok(Gateway {
            address: listener.local_addr()?,
            listener,
            rooms: Rooms {
                lobby: Lobby::new(registry.clone(), policy, CLIENTS),
                origins: Rc::new(origins),
                app: None,
                connections: Rc::default(),
                key,
            },
        })
    }

    /// Listens for one app alone, where the OS says; the policy has a token.
    ///
    /// # Errors
    /// What the OS says.
    pub(super) fn private(
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
                os::again(self.listener.poll_accept(cx), cx).map(Some)
            });
            match accept.await {
                None => break,
                Some(Ok((stream, _))) => {
                    // A frame is written whole: it must not wait for another.
                    if let Err(error) = stream.set_nodelay(true) {
                        log::debug!("a connection is slow: {error}");
                    }
                    self.rooms.welcome(Io(stream));
                }
                Some(Err(error)) => {
                    log::warn!("no connection could be accepted: {error}");
                    tokio::time::sleep(REST).await;
                }
            }
        }
        drop(self.listener);
        self.rooms.lobby.stop();
        let start = tokio::time::Instant::now();
        while self.rooms.connections.get() > 0 && start.elapsed() < Duration::from_secs(2) {
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

impl Rooms {
    fn welcome(&self, io: Io) {
        let Some(place) = self.place() else {
            // Too many: it is closed, which is all that costs nothing.
            return;
        };
        let place = Rc::new(Cell::new(Some(place)));
        let rooms = self.clone();
        actix_rt::spawn(async move {
            let service = service_fn(|request| {
                let response = rooms.answer(request, &place);
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
                Ok(Err(error)) => log::debug!("a request: {error}"),
                Err(_) => log::debug!("a request took too long"),
            }
        });
    }

    fn place(&self) -> Option<Place> {
        let count = self.connections.get();
        (count < CONNECTIONS).then(|| {
            self.connections.set(count + 1);
            Place(self.connections.clone())
        })
    }

    fn answer(
        &self,
        request: Request<Incoming>,
        place: &Cell<Option<Place>>,
    ) -> Response<Full<Bytes>> {
        let headers = request.headers();
        let said = door::Request {
            host: only(headers, &header::HOST),
            origin: only(headers, &header::ORIGIN),
        };
        if let Err(refused) = Origins::is_host(said) {
            return page::text(StatusCode::FORBIDDEN, refused);
        }
        if request.method() != Method::GET {
            return page::text(StatusCode::METHOD_NOT_ALLOWED, "There is only GET here.");
        }
        if !has_word(headers, &header::UPGRADE, "websocket") {
            if self.app.is_some() {
                return page::text(StatusCode::NOT_FOUND, "There is no page here.");
            }
            return page::file(request.uri().path());
        }
        let trusted = !self.lobby.has_token();
        let is_caretaker = request.uri().path() == CARETAKER;
        if is_caretaker && self.app.is_some() {
            return page::text(StatusCode::NOT_FOUND, "There is no admin connection here.");
        }
        let allowed = match is_caretaker {
            true => Origins::is_own(said),
            false if trusted => self.origins.is_origin(said),
            false => Ok(()),
        };
        if let Err(refused) = allowed {
            return page::text(StatusCode::FORBIDDEN, refused);
        }
        let key = only(headers, &header::SEC_WEBSOCKET_KEY);
        let (Some(key), true, Some("13"), "/" | CARETAKER) = (
            key,
            has_word(headers, &header::CONNECTION, "upgrade"),
            only(headers, &header::SEC_WEBSOCKET_VERSION),
            request.uri().path(),
        ) else {
            return page::text(StatusCode::BAD_REQUEST, "This is no WebSocket request.");
        };
        let accept = derive_accept_key(key.as_bytes());
        let Ok(accept) = HeaderValue::try_from(accept) else {
            return page::text(StatusCode::BAD_REQUEST, "This is no WebSocket key.");
        };
        let rooms = self.clone();
        let place = place.take();
        actix_rt::spawn(async move {
            let _place = place;
            if let Ok(upgraded) = hyper::upgrade::on(request).await
                && let Ok(parts) = upgraded.downcast::<TokioIo<Io>>()
            {
                let (io, read, lobby) = (parts.io.into_inner(), parts.read_buf, &rooms.lobby);
                if is_caretaker {
                    web_socket::serve_caretaker(io, read, lobby, &rooms.key).await;
                } else {
                    let app = rooms.app.clone();
                    let visitor = Visitor { app, trusted };
                    web_socket::serve(io, read, lobby, visitor).await;
                }
            }
        });
        let mut response = Response::new(Full::new(Bytes::new()));
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
        response
    }
}

/// A header that is there once, and is text.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        // What is not text is as wrong as what nobody knows.
        (Some(value), None) => Some(value.to_str().unwrap_or("?")),
        (Some(_), Some(_)) => Some("?"),
        (None, _) => None,
    }
}

/// Whether a list of words has this one.
fn has_word(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    let values = headers.get_all(name).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|value| value.trim().eq_ignore_ascii_case(word))
}

/// One of the connections that may be; dropping it frees it.
struct Place(Rc<Cell<usize>>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// A stream of `os`, as tokio has them.
pub(super) struct Io(Box<dyn os::Stream>);

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = self.0.poll_read(cx, buffer.initialize_unfilled());
        let count = ready!(os::again(read, cx))?;
        buffer.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = self.0.poll_write(cx, &[IoSlice::new(data)]);
        os::again(written, cx)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Dropping it ends it.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
