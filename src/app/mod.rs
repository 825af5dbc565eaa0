//! What a Rust caller holds: one documented function per Chrome function.

mod caller;
mod event;
mod handle;
mod lifecycle;
mod local;
mod tcp;
mod tcp_server;

pub use event::OnEvent;
pub use handle::App;
pub use local::Local;
pub use tcp::Tcp;
pub use tcp_server::TcpServer;
