//! Replaces TLS in a build without the feature `tls`: nothing can be encrypted.

use std::time::Duration;

use super::Offer;
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
        _: Offer,
    ) -> Result<Box<dyn Stream>, NetError> {
        Err(NetError::NOT_IMPLEMENTED)
    }
}

/// Has no values: no server socket can be given a TLS configuration.
#[derive(Clone, Debug)]
pub(crate) enum Server {}

impl Server {
    pub(crate) fn max_handshakes(&self) -> usize {
        match *self {}
    }

    pub(crate) fn handshake_timeout(&self) -> Duration {
        match *self {}
    }

    pub(crate) async fn handshake(self, _: Box<dyn Stream>) -> Result<Box<dyn Stream>, NetError> {
        match self {}
    }
}
