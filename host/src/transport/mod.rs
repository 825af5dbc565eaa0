//! Carries frames: over HTTP and WebSocket, and over native messaging.

pub(crate) mod connection;
pub(crate) mod control;
pub(crate) mod gateway;
pub(crate) mod http;
pub(crate) mod io;
pub(crate) mod listening;
pub(crate) mod native;
pub(crate) mod static_files;
pub(crate) mod web_socket;
