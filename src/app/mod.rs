//! The Rust API of an app: one documented function per Chrome function.

mod caller;
mod event;
mod handle;
mod lifecycle;
mod local;
mod system_network;
mod tcp;
mod tcp_server;
mod udp;
mod unix;

pub use event::OnEvent;
pub use handle::App;
pub use local::LocalArbiter;
pub use system_network::SystemNetwork;
pub use tcp::Tcp;
pub use tcp_server::TcpServer;
pub use udp::Udp;
