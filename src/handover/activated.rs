//! Socket activation: a listener that the parent process has opened.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use actix::prelude::*;

use super::Error;
use crate::address::Address;
use crate::ids::{AppId, ServerSocketId};
use crate::registry::{AdoptListener, Registry};
use crate::tcp_server::SocketProperties;

/// A listening socket that systemd, or another parent process, has opened: socket
/// activation.
#[derive(Debug)]
pub struct Activated {
    pub(super) name: Option<String>,
    pub(super) address: Option<Address>,
    pub(super) listener: OwnedFd,
}

impl Activated {
    /// Its name: `FileDescriptorName=` of the socket unit, by default the unit's
    /// name.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The address that it is bound to; `None` if it is not an IP socket.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.address.as_ref()?.socket_addr()
    }

    /// As [`local_addr`](Self::local_addr), for a Unix socket too. Its file is left to
    /// systemd: closing the server socket does not remove it.
    pub fn address(&self) -> Option<&Address> {
        self.address.as_ref()
    }

    /// Makes it a new server socket of `app`, which listens already. The app's
    /// permissions are not checked, because the parent process has opened the
    /// socket.
    ///
    /// # Errors
    /// [`Error::Os`] if it is not a listening TCP or Unix stream socket, [`Error::Refused`]
    /// if the name is too long.
    pub async fn adopt(
        self,
        registry: &Addr<Registry>,
        app: impl Into<AppId>,
        properties: SocketProperties,
    ) -> Result<ServerSocketId, Error> {
        let adopted = registry.send(AdoptListener {
            app: app.into(),
            properties,
            listener: self.listener,
        });
        let adopted = adopted.await.map_err(|_| Error::Stopped)?;
        adopted
            .map_err(Error::os("adopting an activated listener"))?
            .map_err(|error| Error::Refused(error.to_string()))
    }
}

/// The listening socket itself, for a program that has other uses for it.
impl From<Activated> for OwnedFd {
    fn from(activated: Activated) -> Self {
        activated.listener
    }
}
