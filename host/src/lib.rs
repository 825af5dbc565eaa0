//! Chrome's own JavaScript on these sockets: the host that programs without
//! sockets talk to, over WebSocket ([`Gateway`]) or by Chrome's native
//! messaging ([`native_messaging`]).
//!
//! The program `chrome-sockets` is these with a command line. `docs/protocol.md` in the
//! repository tells what is spoken, `docs/security.md` who may do what.

mod access;
mod admin;
mod excerpt;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod install;
mod limits;
mod lines;
mod protocol;
mod sessions;
mod transport;

pub use crate::access::origins::{OriginError, Origins};
pub use crate::access::policy::Policy;
pub use crate::transport::gateway::Gateway;
pub use crate::transport::native::{calling_extension, native_messaging};
