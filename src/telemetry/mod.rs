//! What registries count about themselves (the feature `metrics`).
//!
//! Sockets and actors count in fields of their own. [`Metrics::publish`] copies the counts to a
//! recorder of the facade [`metrics`](https://docs.rs/metrics), which belongs to one exporter: no
//! event, send or accept calls the facade, and publishing takes no lock that one of them takes. Only
//! a TLS handshake and, twice a second, a busy arbiter record a duration directly.
//!
//! [`METRICS`] lists the metrics; `docs/metrics.md` in the repository is the same list as a page.
//!
//! ```
//! use std::sync::Arc;
//!
//! use chrome_sockets::Registry;
//! use chrome_sockets::telemetry::Metrics;
//!
//! # fn start(exporter: impl metrics::Recorder + Send + Sync + 'static) {
//! // The exporter's recorder, which stays with the exporter too.
//! let recorder = Arc::new(exporter);
//! let metrics = Metrics::new(recorder.clone());
//! // An exporter that is asked publishes first. One that sends by itself needs an interval.
//! let registry = Registry::new().metrics(&metrics, None);
//! metrics.publish();
//! # drop((registry, recorder));
//! # }
//! ```
//!
//! # Labels
//!
//! The number of series is bounded. The label `server` is the name of a server socket
//! ([`SocketProperties::name`](crate::tcp_server::SocketProperties::name)), which an app chooses: the
//! first [`MAX_SERVER_NAMES`] names of at most [`MAX_SERVER_NAME`] bytes have their own value, for as
//! long as the `Metrics` exist. All others share `other`; the empty value stands for server sockets
//! without a name. The label `arbiter` is the index of an arbiter
//! ([`Registry::arbiters`](crate::Registry::arbiters)).

#[cfg(feature = "metrics")]
mod arbiter;
mod labels;
#[cfg(feature = "metrics")]
mod list;
#[cfg(not(feature = "metrics"))]
mod off;
#[cfg(feature = "metrics")]
mod publisher;
#[cfg(feature = "metrics")]
mod readings;
#[cfg(feature = "metrics")]
mod registry;
#[cfg(feature = "metrics")]
mod servers;
mod spans;
#[cfg(feature = "metrics")]
mod traffic;

#[cfg(feature = "metrics")]
pub(crate) use arbiter::ArbiterStats;
pub(crate) use labels::{
    DrainEnd, ErrorClass, FailedActor, FailureCause, FullWindow, LostBy, Outcome, RefusedBy, Side,
};
#[cfg(feature = "metrics")]
pub use list::{METRICS, Metric, MetricKind};
#[cfg(not(feature = "metrics"))]
pub(crate) use off::{ArbiterStats, Readings, ServerStats, SocketTraffic, Telemetry};
#[cfg(feature = "metrics")]
pub(crate) use readings::Readings;
#[cfg(feature = "metrics")]
pub use registry::Metrics;
#[cfg(feature = "metrics")]
pub(crate) use registry::Telemetry;
#[cfg(feature = "metrics")]
pub(crate) use servers::ServerStats;
#[cfg(feature = "metrics")]
pub use servers::{MAX_SERVER_NAME, MAX_SERVER_NAMES};
pub(crate) use spans::Span;
#[cfg(feature = "metrics")]
pub(crate) use traffic::SocketTraffic;
#[cfg(feature = "metrics")]
pub use traffic::Traffic;
