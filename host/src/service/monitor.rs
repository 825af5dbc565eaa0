//! `/healthz`, `/readyz` and `/metrics`, on a listener of their own.

use std::cell::{Cell, OnceCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrome_sockets::os::Listener;
use chrome_sockets::telemetry::Metrics;
use http_body_util::Full;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use crate::access::origins::Origins;
use crate::access::peers::Peers;
use crate::limits::Limits;
use crate::service::exporter::{CONTENT_TYPE, Exporter, ServiceState};
use crate::sessions::budget::{MemoryBudget, ReceiveBudget};
use crate::traffic::Traffic;
use crate::transport::control::Control;
use crate::transport::io::Io;
use crate::transport::{http, listening, static_files};

/// The most connections. One address can use three quarters of them.
const CONNECTIONS: usize = 32;

/// How long a connection may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What the service does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    Starting,
    Ready,
    Draining,
}

/// What monitoring may know.
pub(super) struct Monitor {
    phase: Cell<Phase>,
    gateway: OnceCell<Control>,
    reloads: Cell<u64>,
    failed_reloads: Cell<u64>,
    exporter: Exporter,
}

impl Monitor {
    pub(super) fn new() -> Self {
        Monitor {
            phase: Cell::new(Phase::Starting),
            gateway: OnceCell::new(),
            reloads: Cell::new(0),
            failed_reloads: Cell::new(0),
            exporter: Exporter::new(),
        }
    }

    /// The metrics of the registry, which are shown with those of the host.
    pub(super) fn metrics(&self) -> &Metrics {
        self.exporter.metrics()
    }

    /// The gateway accepts clients.
    pub(super) fn set_ready(&self, gateway: Control) {
        // It is the only gateway.
        let _ = self.gateway.set(gateway);
        self.phase.set(Phase::Ready);
    }

    pub(super) fn set_draining(&self) {
        self.phase.set(Phase::Draining);
    }

    pub(super) fn count_reload(&self, succeeded: bool) {
        let count = match succeeded {
            true => &self.reloads,
            false => &self.failed_reloads,
        };
        count.set(count.get() + 1);
    }

    /// Answers requests until it is dropped.
    pub(super) async fn serve(self: Rc<Self>, mut listener: Box<dyn Listener>) {
        // A page can point its own name to this machine (DNS rebinding).
        let address = listening::local_addr(&*listener);
        let is_local = address.is_ok_and(|address| address.ip().is_loopback());
        let (open, lingering) = (Peers::new(CONNECTIONS), Peers::new(CONNECTIONS));
        let memory = MemoryBudget::new(&Limits::DEFAULT);
        let traffic = Arc::new(Traffic::default());
        loop {
            let (stream, peer) = listening::accept(&mut listener, &traffic).await;
            let Some(slot) = open.reserve(Some(peer), None) else {
                continue;
            };
            let budget = ReceiveBudget::new(&memory, Limits::DEFAULT);
            let io = Io::new(stream, budget, peer, lingering.clone(), traffic.clone());
            let monitor = self.clone();
            actix_rt::spawn(async move {
                let respond = |request| monitor.respond(&request, is_local);
                http::serve(io, TIMEOUT, respond).await;
                drop(slot);
            });
        }
    }

    fn respond<B>(&self, request: &Request<B>, is_local: bool) -> Response<Full<Bytes>> {
        let host = request.headers().get(header::HOST);
        let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
        if is_local && let Err(refusal) = Origins::check_host(host) {
            return static_files::text(StatusCode::FORBIDDEN, refusal);
        }
        if ![Method::GET, Method::HEAD].contains(request.method()) {
            let mut response = static_files::text(StatusCode::METHOD_NOT_ALLOWED, "Use GET.\n");
            let allowed = HeaderValue::from_static("GET, HEAD");
            response.headers_mut().insert(header::ALLOW, allowed);
            return response;
        }
        match request.uri().path() {
            "/healthz" => static_files::text(StatusCode::OK, "ok\n"),
            "/readyz" => match self.phase.get() {
                Phase::Ready => static_files::text(StatusCode::OK, "ready\n"),
                Phase::Starting => unavailable("starting\n"),
                Phase::Draining => unavailable("draining\n"),
            },
            "/metrics" => {
                let text = self.exporter.render(self.state(), self.gateway.get());
                static_files::response(StatusCode::OK, CONTENT_TYPE, text)
            }
            _ => static_files::text(
                StatusCode::NOT_FOUND,
                "There are /healthz, /readyz and /metrics.\n",
            ),
        }
    }

    fn state(&self) -> ServiceState {
        ServiceState {
            is_ready: self.phase.get() == Phase::Ready,
            reloads: self.reloads.get(),
            failed_reloads: self.failed_reloads.get(),
        }
    }
}

fn unavailable(text: &str) -> Response<Full<Bytes>> {
    static_files::text(StatusCode::SERVICE_UNAVAILABLE, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(monitor: &Monitor, path: &str) -> StatusCode {
        let request = Request::get(path).header("host", "127.0.0.1").body(());
        let response = monitor.respond(&request.expect("a request"), true);
        response.status()
    }

    #[test]
    fn a_host_that_starts_or_drains_is_healthy_but_not_ready() {
        let monitor = Monitor::new();
        for phase in [Phase::Starting, Phase::Draining] {
            monitor.phase.set(phase);
            assert_eq!(status(&monitor, "/readyz"), StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(status(&monitor, "/healthz"), StatusCode::OK);
            assert_eq!(status(&monitor, "/metrics"), StatusCode::OK);
        }
        monitor.phase.set(Phase::Ready);
        assert_eq!(status(&monitor, "/readyz"), StatusCode::OK);
    }
}
