//! One accept error.

use std::time::Duration;

use crate::net_error::{AcceptErrorClass, NetError};
use crate::tcp_server::AcceptAction;

/// An accept error and what was done about it: the content of an `onAcceptError`.
#[derive(Clone, Copy)]
pub(in crate::tcp_server) struct Failure {
    pub(in crate::tcp_server) result_code: NetError,
    pub(in crate::tcp_server) errno: Option<i32>,
    pub(in crate::tcp_server) class: AcceptErrorClass,
    pub(in crate::tcp_server) action: AcceptAction,
    pub(in crate::tcp_server) attempt: u32,
    pub(in crate::tcp_server) next_try: Option<Duration>,
}
