//! The list of all metrics.

/// The kind of a metric.
#[derive(Clone, Copy, PartialEq, Eq, Debug, derive_more::Display)]
pub enum MetricKind {
    /// It only grows.
    #[display("counter")]
    Counter,
    /// It is a value of the moment at which it was published.
    #[display("gauge")]
    Gauge,
    /// It is a distribution of recorded values.
    #[display("histogram")]
    Histogram,
}

/// A metric of the crate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Metric {
    /// Its name, as the exporter gets it.
    pub name: &'static str,
    /// Its kind.
    pub kind: MetricKind,
    /// `count`, `bytes` or `seconds`.
    pub unit: &'static str,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it means.
    pub help: &'static str,
}

macro_rules! metrics {
    ($($id:ident: $kind:ident, $name:literal, $unit:literal, [$($label:literal),*], $help:literal;)*) => {
        $(pub(super) const $id: Metric = Metric {
            name: $name,
            kind: MetricKind::$kind,
            unit: $unit,
            labels: &[$($label),*],
            help: $help,
        };)*

        /// All metrics of the crate. No registry publishes any other.
        pub const METRICS: &[Metric] = &[$($id),*];
    };
}

metrics! {
    CONNECTIONS: Gauge, "chrome_sockets_connections_open", "count", [],
        "Open connections of client sockets, accepted or connected.";
    SERVER_CONNECTIONS: Gauge, "chrome_sockets_server_connections_open", "count", ["server"],
        "Open connections that server sockets with this name have accepted.";
    ACCEPTED: Counter, "chrome_sockets_connections_accepted_total", "count", ["server"],
        "Connections that server sockets took from the backlog, refused ones included.";
    REFUSED: Counter, "chrome_sockets_connections_refused_total", "count", ["server", "limit"],
        "Accepted connections that were closed or reset at a limit.";
    FAILED: Counter, "chrome_sockets_connections_failed_total", "count", ["server", "reason"],
        "Accepted connections that became no client: their handshake or PROXY header failed, or a panic lost them.";
    ACCEPT_ERRORS: Counter, "chrome_sockets_accept_errors_total", "count", ["server", "class"],
        "Errors of accepting or listening, by what they affect.";
    ACCEPT_EVENTS: Gauge, "chrome_sockets_accept_events_waiting", "count", ["server"],
        "onAccept events that listeners have not handled.";
    CONNECTS: Counter, "chrome_sockets_connects_total", "count", ["outcome"],
        "Attempts of tcp.connect that have ended.";
    RECEIVED: Counter, "chrome_sockets_received_bytes_total", "bytes", ["arbiter"],
        "Bytes that client sockets have read from the OS.";
    SENT: Counter, "chrome_sockets_sent_bytes_total", "bytes", ["arbiter"],
        "Bytes of client sockets that the OS has accepted.";
    EVENTS: Gauge, "chrome_sockets_events_waiting", "count", ["arbiter"],
        "onReceive events of client sockets that listeners have not handled.";
    EVENT_BYTES: Gauge, "chrome_sockets_events_waiting_bytes", "bytes", ["arbiter"],
        "What these events take of their apps' windows: each counts 256 bytes at least.";
    FULL_WINDOWS: Counter, "chrome_sockets_credits_exhausted_total", "count", ["arbiter", "window"],
        "How often a client socket was not read because its window, or its app's, was full.";
    CALLS: Gauge, "chrome_sockets_command_queue_calls", "count", ["arbiter"],
        "The most calls that one turn has found in the command queue since the last publication.";
    READY: Gauge, "chrome_sockets_command_queue_ready", "count", ["arbiter"],
        "The most ready sockets that one turn has found there since the last publication.";
    SEND_QUEUE: Gauge, "chrome_sockets_send_queue_bytes", "bytes", [],
        "What the sends that wait take of the write quotas: each counts 64 bytes at least.";
    CLIENT_SOCKETS: Gauge, "chrome_sockets_client_sockets", "count", ["arbiter"],
        "Client sockets, connected or not.";
    LAG: Histogram, "chrome_sockets_loop_lag_seconds", "seconds", ["arbiter"],
        "How late a timer of 0.5 s fires in an arbiter that transfers data; the timer itself is up to 2 ms late.";
    HANDSHAKES: Counter, "chrome_sockets_tls_handshakes_total", "count", ["side", "outcome"],
        "TLS handshakes that have ended.";
    HANDSHAKE: Histogram, "chrome_sockets_tls_handshake_seconds", "seconds", ["side"],
        "How long these handshakes took.";
    RESTARTS: Counter, "chrome_sockets_restarts_total", "count", ["actor", "cause"],
        "Actors of the crate that have failed and were restarted.";
    GIVEN_UP: Counter, "chrome_sockets_actors_ended_total", "count", ["actor", "cause"],
        "Actors of the crate that have failed too often, and have ended.";
    DRAINS_RUNNING: Gauge, "chrome_sockets_drains_running", "count", [],
        "Drains that are running.";
    DRAINS: Counter, "chrome_sockets_drains_total", "count", [],
        "Drains that have ended, of an app or of a server socket.";
    DRAINED: Counter, "chrome_sockets_drained_connections_total", "count", ["end"],
        "Connections that have ended in drains: by themselves, or at the deadline.";
    UDP_SOCKETS: Gauge, "chrome_sockets_udp_sockets", "count", [],
        "UDP sockets, bound or not.";
    DATAGRAMS_RECEIVED: Counter, "chrome_sockets_datagrams_received_total", "count", ["arbiter"],
        "Datagrams that UDP sockets have received from the OS.";
    DATAGRAM_BYTES_RECEIVED: Counter, "chrome_sockets_datagram_received_bytes_total", "bytes", ["arbiter"],
        "The bytes of these datagrams.";
    DATAGRAMS_SENT: Counter, "chrome_sockets_datagrams_sent_total", "count", ["arbiter"],
        "Datagrams of UDP sockets that the OS has accepted.";
    DATAGRAM_BYTES_SENT: Counter, "chrome_sockets_datagram_sent_bytes_total", "bytes", ["arbiter"],
        "The bytes of these datagrams.";
}
