//! Chrome's `chrome.sockets.tcpServer`, `chrome.sockets.tcp` and
//! `chrome.sockets.udp` as an actor system on [`actix`]: servers that pause,
//! resume, survive faults and report them.
//!
//! # Overview
//!
//! A [`Registry`] actor owns the sockets. An [`App`] is a caller's handle to it,
//! with one function per Chrome function, in the three namespaces
//! [`App::tcp_server`], [`App::tcp`] and [`App::udp`]. Events are sent to any actor that
//! handles them and was added as a listener: [`AcceptInfo`](tcp_server::AcceptInfo),
//! [`AcceptErrorInfo`](tcp_server::AcceptErrorInfo),
//! [`ReceiveInfo`](tcp::ReceiveInfo) and
//! [`ReceiveErrorInfo`](tcp::ReceiveErrorInfo). This is an echo server, and a
//! client that uses it:
//!
//! ```
//! use actix::prelude::*;
//! use chrome_sockets::tcp::{ReceiveErrorInfo, ReceiveInfo};
//! use chrome_sockets::tcp_server::AcceptInfo;
//! use chrome_sockets::{App, Registry, Shutdown};
//!
//! struct Echo;
//!
//! impl Actor for Echo {
//!     type Context = Context<Self>;
//! }
//!
//! impl Handler<AcceptInfo> for Echo {
//!     type Result = ();
//!
//!     // A connection was accepted. It is paused until the app resumes it.
//!     fn handle(&mut self, info: AcceptInfo, _: &mut Self::Context) {
//!         info.client().do_set_paused(false);
//!     }
//! }
//!
//! impl Handler<ReceiveInfo> for Echo {
//!     type Result = ();
//!
//!     // Data was received. Until it is sent back, its window is occupied, so
//!     // that a peer that does not read is not read either.
//!     fn handle(&mut self, info: ReceiveInfo, _: &mut Self::Context) {
//!         let client = info.client().clone();
//!         client.forward(info).expect("its end was not reported yet");
//!     }
//! }
//!
//! impl Handler<ReceiveErrorInfo> for Echo {
//!     type Result = ();
//!
//!     // The connection has ended. Every socket has to be closed after use.
//!     fn handle(&mut self, info: ReceiveErrorInfo, _: &mut Self::Context) {
//!         info.client().do_close();
//!     }
//! }
//!
//! # actix_rt::System::new().block_on(async {
//! let registry = Registry::new().start();
//! let app = App::new("echo", &registry);
//! let echo = Echo.start();
//! app.tcp_server.on_accept.do_add_listener(echo.clone().recipient());
//! app.tcp.on_receive.do_add_listener(echo.clone().recipient());
//! app.tcp.on_receive_error.do_add_listener(echo.recipient());
//!
//! let server = app.tcp_server.create(Default::default()).await?.socket_id;
//! app.tcp_server.listen(server, "127.0.0.1", 0, None).await?;
//! let address = app.tcp_server.get_info(server).await?.local_addr();
//!
//! # let reply = tokio::task::spawn_blocking(move || {
//! use std::io::{Read, Write};
//! let mut client = std::net::TcpStream::connect(address.expect("it listens"))?;
//! client.write_all(b"hello")?;
//! let mut reply = [0; 5];
//! client.read_exact(&mut reply)?;
//! # std::io::Result::Ok(reply)
//! # }).await.expect("joined").expect("echoed");
//! assert_eq!(&reply, b"hello");
//!
//! registry.send(Shutdown).await.expect("it runs")?;
//! # Ok::<_, chrome_sockets::Error>(())
//! # }).expect("every call succeeds");
//! ```
//!
//! # Guarantees
//!
//! - **Calls are sent when they are made**, in that order. An [`Answer`] may be
//!   awaited or dropped; the forms that begin with `do_` have none.
//! - **Memory does not grow with a slow listener or a fast peer.** Events have a
//!   credit. When listeners hold a [`WINDOW`](tcp::WINDOW) of a socket's data, the
//!   socket is not read, and TCP slows its peer. Without a listener, connections
//!   stay in the kernel's backlog.
//! - **A pause is exact**: after the answer to `setPaused(true)` no handler is
//!   called for that socket.
//! - **An accept error pauses the socket and is reported**, as in Chrome. The app
//!   decides when to resume, or sets another
//!   [policy](tcp_server::AcceptPolicy).
//! - **An event whose listener died unread is raised again** for the next
//!   listener, so no accepted connection and no received byte is lost. An event at
//!   which [three listeners](MAX_PANICS) have panicked is dropped, so that it does
//!   not stop the others.
//! - **The crate's own actors survive their panics** and the end of their arbiter,
//!   with their state ([`supervision`]).
//! - **Apps are unrestricted unless you set permissions**, for instance those of
//!   the `sockets` key of a manifest ([`App::set_permissions`], [`manifest`]).
//! - **Errors are Chromium's**: [`NetError`] has its numbers and names, [`Error`]
//!   its texts. Beyond them [`InvalidArgument`] names the field and the reason.
//!
//! # In a plain tokio program
//!
//! A [`Registry`] and its listeners are actors, so they need an actix `System`. A
//! program that is asynchronous already may become one by `#[actix_rt::main]` in place
//! of `#[tokio::main]`: an actix `System` is a tokio runtime. A program that keeps
//! its runtime runs a `System` in a thread of its own. An [`App`] works in every thread
//! and on every runtime, and so do its answers:
//!
//! ```
//! use actix::prelude::*;
//! use chrome_sockets::tcp_server::AcceptInfo;
//! use chrome_sockets::{App, Registry, Shutdown};
//!
//! struct Listener;
//!
//! impl Actor for Listener {
//!     type Context = Context<Self>;
//! }
//!
//! impl Handler<AcceptInfo> for Listener {
//!     type Result = ();
//!
//!     fn handle(&mut self, info: AcceptInfo, _: &mut Self::Context) {
//!         info.client().do_close();
//!     }
//! }
//!
//! # /*
//! #[tokio::main]
//! # */
//! # #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let (started, start) = tokio::sync::oneshot::channel();
//!     let thread = std::thread::spawn(move || {
//!         let runner = System::new();
//!         let registry = runner.block_on(async { Registry::new().start() });
//!         // It fails if the program has ended meanwhile.
//!         let _ = started.send((registry, System::current()));
//!         runner.run()
//!     });
//!     let (registry, system) = start.await?;
//!
//!     let app = App::new("my-app", &registry);
//!     let listener = Listener::start_in_arbiter(system.arbiter(), |_| Listener);
//!     app.tcp_server.on_accept.add_listener(listener.recipient()).await?;
//!     let server = app.tcp_server.create(Default::default()).await?.socket_id;
//!     app.tcp_server.listen(server, "127.0.0.1", 0, None).await?;
//! #   let address = app.tcp_server.get_info(server).await?.local_addr().expect("it listens");
//! #   let mut client = tokio::net::TcpStream::connect(address).await?;
//! #   let mut rest = Vec::new();
//! #   tokio::io::AsyncReadExt::read_to_end(&mut client, &mut rest).await?;
//!
//!     // The rest of the program. At its end:
//!     registry.send(Shutdown).await??;
//!     system.stop();
//!     thread.join().expect("it has not panicked")?;
//!     Ok(())
//! }
//! ```
//!
//! # Features
//!
//! - `tls` adds TLS: [`Tcp::secure`], and server sockets that encrypt their
//!   connections. Building it needs a C compiler.
//! - `metrics` adds [`telemetry`]: counters, gauges and histograms for an exporter, and what each
//!   socket has transferred, in `getInfo`.
//! - `tracing` adds a span for each connection and each call. Log lines go to `log` either way.
//! - `testing` adds a scripted network, which a test controls completely, and a
//!   network of real sockets that fail by rules.
//!
//! The program `chrome-sockets` is the crate `chrome-sockets-host`.
//! `ARCHITECTURE.md` in the repository describes the implementation.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod sync;

mod ids;

mod address;

mod net_error;

mod invalid_argument;

mod error;

#[cfg(feature = "metrics")]
pub mod telemetry;
#[cfg(not(feature = "metrics"))]
mod telemetry;

mod answer;
mod name;
mod pending_pauses;

pub mod manifest;

pub mod os;

#[cfg(feature = "testing")]
pub mod testing;

#[cfg(feature = "tls")]
pub mod tls;
#[cfg(not(feature = "tls"))]
mod tls;

pub mod proxy_protocol;

mod events;
mod handover_state;

pub mod supervision;

mod app_activity;

mod connections;
pub mod draining;

pub mod tcp;
pub mod tcp_server;
pub mod udp;

mod registry;

mod app;

pub mod handover;

#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;

/// Suspended apps, which are loaded again when an event waits for them: see
/// [`App::suspend`].
pub mod lifecycle {
    pub use crate::app_activity::SuspendInfo;
    pub use crate::registry::{
        EventPage, IsSuspended, LOAD_LIMIT, Resume, SetEventPage, Suspend, Unload,
    };
}

pub use address::{Address, Endpoint, PeerCredentials, UnixAddress};
pub use answer::Answer;
pub use app::{App, LocalArbiter, OnEvent, SystemNetwork, Tcp, TcpServer, Udp};
pub use error::Error;
pub use events::{
    AddListener, Batch, BatchIntoIter, BatchIter, Event, HasListener, MAX_BATCH, MAX_PANICS,
    RemoveListener,
};
pub use ids::{AppId, ClientSocketId, MAX_ID, ServerSocketId, UdpSocketId};
pub use invalid_argument::InvalidArgument;
pub use manifest::Permissions;
pub use name::MAX_NAME;
pub use net_error::NetError;
pub use pending_pauses::PAUSE_GRACE;
pub use registry::{
    AppLimits, DenyConnect, EscalateTo, GetNetworkInterfaces, Registry, SetAppLimits,
    SetPermissions, SetRegistryLimits, Shutdown,
};
#[cfg(feature = "tls")]
pub use tokio_rustls::rustls;
