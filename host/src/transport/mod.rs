//! How frames come and go: HTTP and WebSocket, and native messaging.

pub(crate) mod gateway;
pub(crate) mod io;
pub(crate) mod native;
pub(crate) mod static_files;
pub(crate) mod web_socket;
