//! How a server socket accepts: reasons that block it, accept errors, and limits.
#![expect(clippy::panic, reason = "tests fail by panics")]

mod app_limits;
mod backlog;
mod block_reasons;
mod errors;
mod escalation;
pub mod limits;
mod shared_limits;

use std::net::SocketAddr;

use chrome_sockets::ServerSocketId;
use chrome_sockets::tcp_server::SocketInfo;
use chrome_sockets::testing::ScriptedNetwork;
use support::{TestApp, within};

/// A server socket on a scripted network.
pub struct Fixture {
    pub test: TestApp,
    pub network: ScriptedNetwork,
    pub id: ServerSocketId,
    pub at: SocketAddr,
}

impl Fixture {
    pub async fn new() -> Self {
        let network = ScriptedNetwork::new();
        let test = TestApp::with_network(network.clone()).await;
        let (id, at) = test.listen().await;
        Fixture {
            test,
            network,
            id,
            at,
        }
    }

    pub async fn info(&self) -> SocketInfo {
        let info = self.test.app.tcp_server.get_info(self.id).await;
        info.expect("it exists")
    }

    async fn set_paused(&self, paused: bool) {
        let set = self.test.app.tcp_server.set_paused(self.id, paused);
        within("the answer", set).await.expect("it exists");
    }
}
