//! The connected clients, and the sockets of their apps.

pub(crate) mod budget;
pub(crate) mod directory;
pub(crate) mod event_sink;
pub(crate) mod frame_handler;
pub(crate) mod session;
pub(crate) mod state;
pub(crate) mod stats;
pub(crate) mod turn;
