//! The new process: finds its inheritance, and adopts it into its registry.

use std::os::fd::OwnedFd;

use actix::prelude::*;
use actix_rt::time::timeout;

use super::activated::Activated;
#[cfg(target_os = "linux")]
use super::systemd::{self, PassedDescriptors, StoredState};
use super::wire::{self, Greeting, Record};
use super::{Error, PREDECESSOR, Receipt, TIMEOUT};
use crate::handover_state::HandoverState;
use crate::os::fd_passing::{self, Channel};
use crate::registry::{CommitImport, HandoverToken, PrepareImport, Registry};

/// The sockets that another process or systemd hands to this process.
///
/// Dropping it without [`adopt`](Self::adopt) refuses them: a predecessor goes on,
/// and sockets in systemd's store stay there.
#[derive(Debug)]
pub struct Inheritance {
    origin: Origin,
    activated: Vec<Activated>,
}

#[derive(Debug)]
enum Origin {
    /// Only activated listeners.
    Activation,
    Predecessor(OwnedFd),
    #[cfg(target_os = "linux")]
    Systemd(Box<StoredState>),
}

impl Inheritance {
    /// The inheritance of this process: from a predecessor that has
    /// [started](super::Successor::spawn) it, or else from systemd, as activated
    /// listeners and in its descriptor store. `None` if there is none.
    ///
    /// Call it once, early, before the process opens or closes descriptors
    /// below 3 + `LISTEN_FDS` itself. With a predecessor, standard input is
    /// `/dev/null` afterwards. Environment variables with another process id are
    /// ignored.
    ///
    /// # Errors
    /// The environment announces descriptors that were not passed, are of another
    /// kind, or were taken before.
    pub fn from_env() -> Result<Option<Self>, Error> {
        let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
        let predecessor = std::env::var(PREDECESSOR).ok();
        if predecessor.is_some() && predecessor == parent.map(|pid| pid.to_string()) {
            let socket = fd_passing::take_stdin();
            let socket = socket.map_err(Error::os("taking the predecessor's socket"))?;
            return Ok(Some(Self::from_socket(socket)));
        }
        #[cfg(target_os = "linux")]
        if let Some(PassedDescriptors { stored, activated }) = systemd::take_passed()? {
            let origin = stored.map_or(Origin::Activation, |stored| {
                Origin::Systemd(Box::new(stored))
            });
            return Ok(Some(Inheritance { origin, activated }));
        }
        Ok(None)
    }

    /// The inheritance from the process at the other end of this Unix stream socket,
    /// which calls [`Successor::from_socket`](super::Successor::from_socket).
    pub fn from_socket(socket: OwnedFd) -> Self {
        Inheritance {
            origin: Origin::Predecessor(socket),
            activated: Vec::new(),
        }
    }

    /// Takes the activated listeners, in the order in which they were passed.
    /// Without listeners that are server sockets in the descriptor store too.
    pub fn activated(&mut self) -> Vec<Activated> {
        std::mem::take(&mut self.activated)
    }

    /// Adopts all sockets into a registry, with their ids. Server sockets accept as
    /// soon as their app listens to `onAccept` and they are not paused; until then
    /// connections and data wait. An app without a listener here is suspended if it
    /// was suspended before, or if it has an event page, which should be set before
    /// this call. Permissions are not checked again. Dropping the future refuses the
    /// sockets.
    ///
    /// # Errors
    /// Nothing was adopted, for instance because an id is in use in this registry
    /// ([`Error::Refused`]). The predecessor gets the reason, and goes on.
    pub async fn adopt(self, registry: &Addr<Registry>) -> Result<Receipt, Error> {
        match self.origin {
            Origin::Activation => Ok(Receipt::default()),
            Origin::Predecessor(socket) => {
                let mut channel = Channel::new(socket).map_err(Error::os("using the socket"))?;
                let adopted = timeout(TIMEOUT, adopt_from(&mut channel, registry)).await;
                let adopted = adopted.unwrap_or(Err(Error::TimedOut));
                if let Err(error) = &adopted {
                    // The predecessor goes on at once, and need not wait for its timeout.
                    let refused = wire::send(&channel, Record::Refused(error.to_string()));
                    let _ = timeout(TIMEOUT, refused).await;
                }
                adopted
            }
            #[cfg(target_os = "linux")]
            Origin::Systemd(stored) => {
                let (state, names) = stored.open();
                // The store is emptied even if the state is unusable: a socket that is closed
                // here would stay open there.
                systemd::remove(names).await?;
                let (import, receipt) = ImportGuard::new(registry, state?).await?;
                import.commit().await?;
                Ok(receipt)
            }
        }
    }
}

async fn adopt_from(channel: &mut Channel, registry: &Addr<Registry>) -> Result<Receipt, Error> {
    // The predecessor freezes its sockets after it has received the greeting.
    wire::send(channel, Record::Greeting(Greeting::new())).await?;
    let state = wire::receive_state(channel).await?;
    let (import, receipt) = ImportGuard::new(registry, state).await?;
    wire::send(channel, Record::Ready).await?;
    match wire::receive(channel).await? {
        Record::Committed => import.commit().await?,
        other => return Err(wire::unexpected(&other)),
    }
    Ok(receipt)
}

/// Sockets that are prepared in a registry and not used yet. Dropping it closes them there.
struct ImportGuard {
    registry: Addr<Registry>,
    token: Option<HandoverToken>,
}

impl ImportGuard {
    async fn new(
        registry: &Addr<Registry>,
        handover_state: HandoverState,
    ) -> Result<(Self, Receipt), Error> {
        let receipt = Receipt::of(&handover_state);
        let token = HandoverToken::default();
        // From here on a failure, or a dropped future, must close the sockets.
        let guard = ImportGuard {
            registry: registry.clone(),
            token: Some(token.clone()),
        };
        let prepared = registry.send(PrepareImport {
            token,
            handover_state,
        });
        let prepared = prepared.await.map_err(|_| Error::Stopped)?;
        prepared.map_err(|refusal| Error::Refused(refusal.to_string()))?;
        Ok((guard, receipt))
    }

    async fn commit(mut self) -> Result<(), Error> {
        let Some(token) = self.token.take() else {
            return Ok(());
        };
        let committed = self.registry.send(CommitImport { token, ours: true });
        let committed = committed.await.map_err(|_| Error::Stopped)?;
        committed.map_err(|_| Error::Stopped)
    }
}

impl Drop for ImportGuard {
    fn drop(&mut self) {
        if let Some(token) = self.token.take() {
            self.registry.do_send(CommitImport { token, ours: false });
        }
    }
}
