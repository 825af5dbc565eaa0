//! The admin connection, which lists and controls the sockets of all apps.

pub(crate) mod calls;
pub(crate) mod list_rate;
pub(crate) mod session;
