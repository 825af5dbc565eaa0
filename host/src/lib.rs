//! Chrome's own JavaScript on these sockets: the host that programs without
//! sockets talk to, over WebSocket ([`Gateway`]) or by Chrome's native
//! messaging ([`native_messaging`]).
//!
//! The program `chrome-sockets` is these with a command line. `docs/protocol.md` in the
//! repository tells what is spoken, `docs/security.md` who may do what.

mod arguments;
mod books;
mod budget;
mod call;
mod caretaker;
mod door;
mod ear;
mod end;
mod excerpt;
mod frame;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod gateway;
mod guesses;
mod handshake;
pub mod install;
mod io;
mod key;
mod limits;
mod lines;
mod lobby;
mod manifests;
mod message;
mod native;
mod outbox;
mod outcome;
mod page;
mod peers;
mod policy;
mod rounds;
mod session;
mod state;
mod turn;
mod web_socket;

pub use door::{OriginError, Origins};
pub use gateway::Gateway;
pub use native::{calling_extension, native_messaging};
pub use policy::Policy;
