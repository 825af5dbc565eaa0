//! Makes the handlers of accepted clients.

use std::sync::Arc;

use actix::prelude::*;

use crate::tcp::{ClientSocket, ReceiveErrorInfo, ReceiveInfo};
use crate::tcp_server::events::AcceptInfo;

/// Makes the handler of each accepted client, for [`Serve`](crate::tcp_server::Serve).
#[derive(Clone, derive_more::Debug)]
#[debug("HandlerFactory")]
pub struct HandlerFactory(Arc<dyn Fn(AcceptInfo) + Send + Sync>);

impl HandlerFactory {
    /// Makes the handler of this client, in the current thread.
    pub(super) fn make(&self, info: AcceptInfo) {
        (self.0)(info);
    }

    /// See [`TcpServer::serve`](crate::TcpServer::serve).
    pub fn new<A>(factory: impl Fn(AcceptInfo, ClientSocket) -> A + Send + Sync + 'static) -> Self
    where
        A: Actor<Context = Context<A>> + Handler<ReceiveInfo> + Handler<ReceiveErrorInfo>,
    {
        HandlerFactory(Arc::new(move |info| {
            let client = info.client().clone();
            // From here on the client is the handler's: it is not raised again if the factory
            // panics.
            info.acknowledge();
            if !client.is_closed() {
                let handle = client.clone();
                client.start_handler(|| factory(info, handle));
            }
        }))
    }
}
