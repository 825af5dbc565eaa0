//! The host that gives programs without sockets Chrome's `chrome.sockets`, over WebSocket
//! ([`Gateway`]) or Chrome's native messaging ([`native_messaging`]).
//!
//! The program `chrome-sockets` is a command line around this library. In the repository,
//! `docs/protocol.md` specifies the protocol and `docs/security.md` the permissions.

mod access;
mod admin;
pub mod cli;
mod excerpt;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod install;
mod limits;
mod log_limiter;
mod protocol;
pub mod service;
mod sessions;
mod settings;
mod traffic;
mod transport;

pub use crate::access::origins::{OriginError, Origins};
pub use crate::access::policy::Policy;
pub use crate::limits::Limits;
pub use crate::settings::Settings;
pub use crate::transport::control::Control;
pub use crate::transport::gateway::Gateway;
pub use crate::transport::native::{calling_extension, native_messaging};
