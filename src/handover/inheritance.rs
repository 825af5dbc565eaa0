//! The new process: what it inherits, and how that gets into its registry.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use actix::prelude::*;
use actix_rt::time::timeout;

use super::wire::{self, Record};
use super::{Error, LIMIT, PREDECESSOR, Receipt};
use crate::handover_state::HandoverState;
use crate::ids::{AppId, ServerSocketId};
use crate::os::fd_passing;
use crate::os::fd_passing::Channel;
use crate::registry::{AdoptListener, CommitImport, HandoverToken, PrepareImport, Registry};
use crate::tcp_server::SocketProperties;

#[cfg(target_os = "linux")]
use super::systemd::{self, Passed, Stored};

/// What another process or systemd has left to this one.
///
/// Dropped without [`adopt`](Self::adopt), it refuses: a predecessor goes on,
/// and what systemd has stored stays there.
#[derive(Debug)]
pub struct Inheritance {
    origin: Origin,
    activated: Vec<Activated>,
}

#[derive(Debug)]
enum Origin {
    /// Nothing but activated listeners.
    Nobody,
    Predecessor(OwnedFd),
    #[cfg(target_os = "linux")]
    Systemd(Box<Stored>),
}

/// A listening socket that systemd, or who else starts this process, has
/// opened: socket activation.
#[derive(Debug)]
pub struct Activated {
    pub(super) name: Option<String>,
    pub(super) address: Option<SocketAddr>,
    pub(super) listener: OwnedFd,
}

impl Inheritance {
    /// What was left to this process: by a predecessor that has
    /// [started](super::Successor::spawn) it, or else by systemd, as activated
    /// listeners and in its descriptor store. `None`: nothing was.
    ///
    /// Call it once, early, before the process opens or closes descriptors
    /// below 3 + `LISTEN_FDS` by itself. With a predecessor, standard input is
    /// `/dev/null` afterwards. Variables that are meant for another process,
    /// by the process id in them, count as none.
    ///
    /// # Errors
    /// The environment says that there is something, and it is not what it
    /// says or was taken before.
    pub fn from_env() -> Result<Option<Self>, Error> {
        let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
        let predecessor = std::env::var(PREDECESSOR).ok();
        if predecessor.is_some() && predecessor == parent.map(|pid| pid.to_string()) {
            let socket = fd_passing::take_stdin();
            let socket = socket.map_err(Error::os("taking the predecessor's socket"))?;
            return Ok(Some(Self::from_socket(socket)));
        }
        #[cfg(target_os = "linux")]
        if let Some(Passed { stored, activated }) = systemd::take()? {
            let origin = stored.map_or(Origin::Nobody, |stored| Origin::Systemd(Box::new(stored)));
            return Ok(Some(Inheritance { origin, activated }));
        }
        Ok(None)
    }

    /// What the process at the other end of this Unix stream socket
    /// [hands over](super::Successor::over).
    pub fn from_socket(socket: OwnedFd) -> Self {
        Inheritance {
            origin: Origin::Predecessor(socket),
            activated: Vec::new(),
        }
    }

    /// Takes the activated listeners out, in the order in which they were
    /// passed. One that has come back from the descriptor store as a server
    /// socket is not among them.
    pub fn activated(&mut self) -> Vec<Activated> {
        std::mem::take(&mut self.activated)
    }

    /// Takes everything into a registry, under the ids that it had. Server
    /// sockets accept as soon as their app listens to `onAccept` and they are
    /// not paused; nothing that waits is lost before. An app that nobody here
    /// listens for is suspended if it was, or if it has an event page, which
    /// is best set before this. Sockets are not checked for permissions again.
    /// Dropping the future refuses.
    ///
    /// # Errors
    /// Nothing was taken over: [`Error::Refused`] if an id is in use in this
    /// registry, for instance. The predecessor is told, and goes on.
    pub async fn adopt(self, registry: &Addr<Registry>) -> Result<Receipt, Error> {
        match self.origin {
            Origin::Nobody => Ok(Receipt::default()),
            Origin::Predecessor(socket) => {
                let mut channel = Channel::new(socket).map_err(Error::os("using the socket"))?;
                let adopted = timeout(LIMIT, take_over(&mut channel, registry)).await;
                let adopted = adopted.unwrap_or(Err(Error::TimedOut));
                if let Err(error) = &adopted {
                    // So that it need not wait; it may have gone.
                    let refused = wire::send(&channel, Record::Refused(error.to_string()));
                    let _ = timeout(LIMIT, refused).await;
                }
                adopted
            }
            #[cfg(target_os = "linux")]
            Origin::Systemd(stored) => {
                let (handover_state, names) = stored.open();
                // Whatever comes of it, it is not stored any more: what was
                // closed here would stay open there.
                systemd::remove(names).await?;
                let (prepared, receipt) = Prepared::new(registry, handover_state?).await?;
                prepared.enter().await?;
                Ok(receipt)
            }
        }
    }
}

async fn take_over(channel: &mut Channel, registry: &Addr<Registry>) -> Result<Receipt, Error> {
    // So that the predecessor's sockets stand still no longer than they must.
    wire::send(channel, wire::here()).await?;
    let handover_state = wire::receive_estate(channel).await?;
    let (prepared, receipt) = Prepared::new(registry, handover_state).await?;
    wire::send(channel, Record::Ready).await?;
    match wire::receive(channel).await? {
        Record::Yours => prepared.enter().await?,
        _ => return Err(Error::Malformed("the end was expected".into())),
    }
    Ok(receipt)
}

/// What a registry takes over if it may. Dropping it closes it there.
struct Prepared {
    registry: Addr<Registry>,
    token: Option<HandoverToken>,
}

impl Prepared {
    async fn new(
        registry: &Addr<Registry>,
        handover_state: HandoverState,
    ) -> Result<(Self, Receipt), Error> {
        let receipt = Receipt::of(&handover_state);
        let token = HandoverToken::default();
        let prepared = Prepared {
            registry: registry.clone(),
            token: Some(token.clone()),
        };
        let answer = registry
            .send(PrepareImport {
                token,
                handover_state,
            })
            .await;
        let answer = answer.map_err(|_| Error::Stopped)?;
        answer.map_err(|refusal| Error::Refused(refusal.to_string()))?;
        Ok((prepared, receipt))
    }

    async fn enter(mut self) -> Result<(), Error> {
        let Some(token) = self.token.take() else {
            return Ok(());
        };
        let entered = self.registry.send(CommitImport { token, ours: true }).await;
        entered
            .map_err(|_| Error::Stopped)?
            .map_err(|_| Error::Stopped)
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        if let Some(token) = self.token.take() {
            self.registry.do_send(CommitImport { token, ours: false });
        }
    }
}

impl Activated {
    /// Its name: `FileDescriptorName=` of the socket unit, which is the
    /// unit's name if it is not set.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The address it is bound to, if it is a network socket.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Makes it a new server socket of `app`, which listens already. Whether
    /// the app may listen there is not checked: who started this process has
    /// decided it.
    ///
    /// # Errors
    /// [`Error::Os`] if it is not a TCP socket that listens, [`Error::Refused`]
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
