//! One test binary with one file for each promise.
#![expect(
    clippy::disallowed_types,
    reason = "the peers of a test are ordinary sockets"
)]
#![expect(clippy::panic, reason = "helpers of tests fail by panics")]

mod accounting;
mod arbiters;
mod batches;
mod chrome_traces;
mod direct_accepts;
mod draining;
mod examples;
mod exhaustion;
mod faults;
mod fuzz_corpus;
mod handover;
mod hostile;
mod injection;
mod invalid_arguments;
mod lifecycle;
mod lingering;
mod memory;
mod model;
mod ordering;
mod pause;
mod permissions;
mod poison_events;
mod policy;
mod polling;
mod proxy_protocol;
mod redelivery;
mod serving;
mod spans;
mod starting;
mod system_network;
mod system_stop;
mod tcp;
mod tcp_server;
mod telemetry;
mod tidy;
mod timeouts;
mod tls;
mod udp;
mod unanswered_calls;
mod unix_sockets;
mod unread_connections;
