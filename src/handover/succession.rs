//! The old process: starts its successor and hands over.

use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use actix::prelude::*;
use actix_rt::time::timeout;

use super::wire::{self, Record};
use super::{Error, LIMIT, PREDECESSOR, Receipt};
use crate::handover_state::HandoverState;
use crate::os::fd_passing;
use crate::os::fd_passing::Channel;
use crate::registry::{Deliver, Export, FinishExport, HandoverToken, Quiesce, Registry};

/// A process that is to take the persistent sockets over.
#[derive(Debug)]
pub struct Successor {
    socket: Option<OwnedFd>,
    child: Option<Child>,
}

impl Successor {
    /// Starts it. Its standard input is the way back here; whatever the
    /// command says about it is replaced.
    ///
    /// # Errors
    /// [`Error::Os`], for instance if there is no such program.
    pub fn spawn(mut command: Command) -> Result<Self, Error> {
        let (here, there) = fd_passing::pair().map_err(Error::os("opening a socket pair"))?;
        command
            .env(PREDECESSOR, std::process::id().to_string())
            .stdin(Stdio::from(there));
        let child = command.spawn();
        let child = child.map_err(Error::os("starting the successor"))?;
        Ok(Successor {
            socket: Some(here),
            child: Some(child),
        })
    }

    /// One that is reached by this Unix stream socket, whoever has started it:
    /// its end of the pair goes to
    /// [`Inheritance::from_socket`](super::Inheritance::from_socket).
    pub fn over(socket: OwnedFd) -> Self {
        Successor {
            socket: Some(socket),
            child: None,
        }
    }
}

/// What was started and has not taken over ends with this: it may hold
/// descriptors of the sockets.
impl Drop for Successor {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // Both fail only if it has ended and was waited for.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Hands every persistent socket of the registry to a successor, and forgets
/// them; their ids are "Socket not found" from then on. What the module says
/// about calls holds. Dropping the future gives up.
///
/// The answer comes when the peers of connections that were closed before have
/// what was sent to them, but not later than [`LIMIT`] after the end of the
/// handover: then this process may end.
///
/// # Errors
/// Nothing was handed over, and everything goes on here. A successor that
/// was [spawned](Successor::spawn) is killed.
pub async fn hand_over(
    registry: &Addr<Registry>,
    mut successor: Successor,
) -> Result<Receipt, Error> {
    let socket = successor.socket.take().ok_or(Error::Gone)?;
    let mut channel = Channel::new(socket).map_err(Error::os("using the socket"))?;
    // It takes its time to start: nothing stands still for that.
    timeout(LIMIT, wire::expect_here(&mut channel))
        .await
        .map_err(|_| Error::TimedOut)??;
    let (held, handover_state) = Held::take(registry).await?;
    timeout(LIMIT, offer(&mut channel, &handover_state))
        .await
        .map_err(|_| Error::TimedOut)??;
    let receipt = held.let_go(&handover_state);
    // It lives its own life now.
    successor.child = None;
    delivered(registry).await;
    Ok(receipt)
}

/// Waits until the peers of connections that have ended have what was sent: this
/// process may end now.
pub(super) async fn delivered(registry: &Addr<Registry>) {
    // If it has ended, it has waited for them.
    let _ = registry.send(Deliver(LIMIT)).await;
}

async fn offer(channel: &mut Channel, handover_state: &HandoverState) -> Result<(), Error> {
    let sent = wire::send_estate(channel, handover_state).await;
    if let Err(error) = sent {
        // If it has closed its end, it may have said why.
        return match wire::receive(channel).await {
            Ok(Record::Refused(reason)) => Err(Error::Refused(reason)),
            _ => Err(error),
        };
    }
    match wire::receive(channel).await? {
        Record::Ready => wire::send(channel, Record::Yours).await,
        Record::Refused(reason) => Err(Error::Refused(reason)),
        _ => Err(Error::Malformed("an answer was expected".into())),
    }
}

/// The persistent sockets of a registry, standing still. Dropping it lets them
/// go on.
pub(super) struct Held {
    registry: Addr<Registry>,
    token: Option<HandoverToken>,
}

impl Held {
    pub(super) async fn take(registry: &Addr<Registry>) -> Result<(Self, HandoverState), Error> {
        let token = HandoverToken::default();
        let held = Held {
            registry: registry.clone(),
            token: Some(token.clone()),
        };
        let quiet = registry.send(Quiesce(token.clone())).await;
        match quiet.map_err(|_| Error::Stopped)? {
            Ok(true) => {}
            Ok(false) => return Err(Error::Busy),
            Err(_) => return Err(Error::Stopped),
        }
        let handover_state = registry.send(Export(token)).await;
        let handover_state = handover_state.map_err(|_| Error::Stopped)?;
        Ok((held, handover_state.map_err(|_| Error::Stopped)?))
    }

    /// They are another's now.
    pub(super) fn let_go(mut self, handover_state: &HandoverState) -> Receipt {
        let receipt = Receipt::of(handover_state);
        if let Some(token) = self.token.take() {
            self.registry.do_send(FinishExport {
                token,
                transferred: Some(receipt.servers.clone()),
            });
        }
        receipt
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(token) = self.token.take() {
            self.registry.do_send(FinishExport {
                token,
                transferred: None,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn a_successor_that_is_given_up_is_killed_and_waited_for() {
        let mut command = Command::new("sleep");
        command.arg("600");
        let successor = Successor::spawn(command).expect("it starts");
        let child = successor.child.as_ref().expect("it was started");
        let process = format!("/proc/{}", child.id());
        assert!(Path::new(&process).exists());
        drop(successor);
        // One that nobody has waited for would still be there, as a zombie.
        assert!(!Path::new(&process).exists());
    }
}
