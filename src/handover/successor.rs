//! The old process: starts its successor and hands its sockets over.

use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use actix::prelude::*;
use actix_rt::time::timeout;

use super::wire::{self, Record};
use super::{Error, PREDECESSOR, Receipt, TIMEOUT};
use crate::handover_state::HandoverState;
use crate::ids::{AppId, ServerSocketId};
use crate::os::fd_passing::{self, Channel};
use crate::registry::{Deliver, Export, FinishExport, HandoverToken, Quiesce, Registry};

/// A process that will adopt the persistent sockets.
#[derive(Debug)]
pub struct Successor {
    socket: Option<OwnedFd>,
    child: Option<Child>,
}

impl Successor {
    /// Starts the successor. Its standard input is connected to this process, whatever
    /// the command sets.
    ///
    /// # Errors
    /// [`Error::Os`], for instance if the program does not exist.
    pub fn spawn(mut command: Command) -> Result<Self, Error> {
        let (own, theirs) = fd_passing::pair().map_err(Error::os("opening a socket pair"))?;
        command
            .env(PREDECESSOR, std::process::id().to_string())
            .stdin(Stdio::from(theirs));
        let child = command.spawn();
        let child = child.map_err(Error::os("starting the successor"))?;
        Ok(Successor {
            socket: Some(own),
            child: Some(child),
        })
    }

    /// A successor that was started in another way, and is connected by this Unix
    /// stream socket. It passes the other end of the pair to
    /// [`Inheritance::from_socket`](super::Inheritance::from_socket).
    pub fn from_socket(socket: OwnedFd) -> Self {
        Successor {
            socket: Some(socket),
            child: None,
        }
    }
}

/// Kills a spawned successor that has not adopted the sockets: it may have their descriptors.
impl Drop for Successor {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // Both fail only if the process was waited for already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Hands every persistent socket of the registry to a successor, and removes
/// them here: their ids are "Socket not found" from then on. The [module](crate::handover)
/// says what happens to calls meanwhile. Dropping the future cancels the handover.
///
/// It returns when the peers of connections that were closed before have received
/// everything, and at most [`TIMEOUT`] after the handover. Then this process may end.
///
/// # Errors
/// Nothing was handed over, and all sockets go on here. A
/// [spawned](Successor::spawn) successor is killed.
pub async fn hand_over(
    registry: &Addr<Registry>,
    mut successor: Successor,
) -> Result<Receipt, Error> {
    let socket = successor.socket.take().ok_or(Error::Closed)?;
    let mut channel = Channel::new(socket).map_err(Error::os("using the socket"))?;
    // The sockets go on while the successor starts.
    timeout(TIMEOUT, wire::receive_greeting(&mut channel))
        .await
        .map_err(|_| Error::TimedOut)??;
    let (export, state) = ExportGuard::new(registry).await?;
    timeout(TIMEOUT, transfer(&mut channel, &state))
        .await
        .map_err(|_| Error::TimedOut)??;
    let receipt = export.commit(&state);
    // The successor must survive this handle now.
    successor.child = None;
    wait_for_delivery(registry).await;
    Ok(receipt)
}

/// Waits until the peers of closed connections have received everything.
pub(super) async fn wait_for_delivery(registry: &Addr<Registry>) {
    // A registry that has stopped has waited for them.
    let _ = registry.send(Deliver(TIMEOUT)).await;
}

async fn transfer(channel: &mut Channel, state: &HandoverState) -> Result<(), Error> {
    if let Err(error) = wire::send_state(channel, state).await {
        // A successor that closed the connection may have sent the reason before.
        return match wire::receive(channel).await {
            Ok(Record::Refused(reason)) => Err(Error::Refused(reason)),
            _ => Err(error),
        };
    }
    match wire::receive(channel).await? {
        Record::Ready => wire::send(channel, Record::Committed).await,
        other => Err(wire::unexpected(&other)),
    }
}

/// Keeps the persistent sockets of a registry frozen. Dropping it lets them go on.
pub(super) struct ExportGuard {
    registry: Addr<Registry>,
    token: Option<HandoverToken>,
}

impl ExportGuard {
    /// Freezes the sockets, and exports them.
    pub(super) async fn new(registry: &Addr<Registry>) -> Result<(Self, HandoverState), Error> {
        let token = HandoverToken::default();
        // From here on a failure, or a dropped future, must release the sockets.
        let guard = ExportGuard {
            registry: registry.clone(),
            token: Some(token.clone()),
        };
        let quiesced = registry.send(Quiesce(token.clone())).await;
        match quiesced.map_err(|_| Error::Stopped)? {
            Ok(true) => {}
            Ok(false) => return Err(Error::Busy),
            Err(_) => return Err(Error::Stopped),
        }
        let state = registry.send(Export(token)).await;
        let state = state.map_err(|_| Error::Stopped)?;
        Ok((guard, state.map_err(|_| Error::Stopped)?))
    }

    /// Removes the sockets from the registry: they belong to the successor.
    pub(super) fn commit(mut self, state: &HandoverState) -> Receipt {
        let receipt = Receipt::of(state);
        self.finish(Some(receipt.servers.clone()));
        receipt
    }

    fn finish(&mut self, transferred: Option<Vec<(AppId, ServerSocketId)>>) {
        if let Some(token) = self.token.take() {
            self.registry.do_send(FinishExport { token, transferred });
        }
    }
}

impl Drop for ExportGuard {
    fn drop(&mut self) {
        self.finish(None);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn a_dropped_successor_is_killed_and_waited_for() {
        let mut command = Command::new("sleep");
        command.arg("600");
        let successor = Successor::spawn(command).expect("it starts");
        let child = successor.child.as_ref().expect("it was started");
        let process = format!("/proc/{}", child.id());
        assert!(Path::new(&process).exists());
        drop(successor);
        // A process that was not waited for would still exist, as a zombie.
        assert!(!Path::new(&process).exists());
    }
}
