//! Unix sockets of this machine.

mod file;
mod listener;
mod names;
mod stream;

pub(super) use crate::os::net::unix::listener::UnixSocketListener;
pub(super) use crate::os::net::unix::names::local_address;
pub(super) use crate::os::net::unix::stream::connect;
