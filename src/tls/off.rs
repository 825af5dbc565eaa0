//! What stands for TLS in a crate without it: nothing can be encrypted.

use std::time::Duration;

use super::Versions;
use crate::net_error::NetError;
use crate::os::Stream;

#[derive(Clone, Debug, Default)]
pub(crate) struct Client(());

impl Client {
    pub(crate) const IS_BUILT: bool = false;

    pub(crate) async fn handshake(
        self,
        _: Box<dyn Stream>,
        _: &str,
        _: Versions,
    ) -> Result<Box<dyn Stream>, NetError> {
        Err(NetError::NOT_IMPLEMENTED)
    }
}

/// There is none.
#[derive(Clone, Debug)]
pub(crate) enum Server {}

impl Server {
    pub(crate) fn most(&self) -> usize {
        match *self {}
    }

    pub(crate) fn limit(&self) -> Duration {
        match *self {}
    }

    pub(crate) async fn handshake(self, _: Box<dyn Stream>) -> Result<Box<dyn Stream>, NetError> {
        match self {}
    }
}
