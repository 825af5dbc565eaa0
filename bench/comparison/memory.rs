//! Resident memory of a server, each time in a new process, whose memory has no remains of
//! earlier work.

use crate::Result;
use crate::load::{Connection, Messages};
use crate::plan::{Kind, Mode, Peer};
use crate::process::{Cores, Server};
use crate::report::Memory;

/// Connections that are opened and closed first, so that one-time allocations do not count.
const WARM_UP: usize = 2000;
/// Number of them at the same time.
const AT_ONCE: usize = 32;
/// Connections that may be opened before the server has accepted them: a part of its backlog.
const UNACCEPTED: usize = 1000;
const ECHOED: usize = 64;

/// One round.
pub fn measure(peer: Peer, kind: Kind, cores: Option<Cores>) -> Result<Memory> {
    match kind {
        Kind::Idle { connections } => idle(peer, connections, cores),
        Kind::Listeners { count } => listeners(peer, count, cores),
        _ => Err("not a workload of memory".into()),
    }
}

fn idle(peer: Peer, count: usize, cores: Option<Cores>) -> Result<Memory> {
    let server = Server::start(peer, Mode::of(Kind::Idle { connections: count }), cores)?;
    let mut messages = Messages::echo(ECHOED);
    warm_up(&server, &mut messages)?;
    let without = server.stats().resident()?;

    let mut clients = Vec::with_capacity(count);
    for number in 1..=count {
        let mut client = Connection::open(server.port, number)?;
        // The server accepts in order: when the last one is answered, it has accepted all.
        if number % UNACCEPTED == 0 || number == count {
            client.messages(&mut messages)?;
        }
        clients.push(client);
    }
    let with = server.stats().resident()?;
    for client in &mut clients {
        client.messages(&mut messages)?;
    }
    Ok(Memory {
        count,
        without,
        with,
        used: Some(server.stats().resident()?),
    })
}

fn warm_up(server: &Server, messages: &mut Messages) -> Result<()> {
    for first in (0..WARM_UP).step_by(AT_ONCE) {
        let numbers = first..first + AT_ONCE;
        let clients = numbers.map(|number| Connection::open(server.port, number));
        for mut client in clients.collect::<Result<Vec<_>>>()? {
            client.messages(messages)?;
        }
    }
    Ok(())
}

/// A server with one socket, and another with this many more.
fn listeners(peer: Peer, count: usize, cores: Option<Cores>) -> Result<Memory> {
    let resident = |listeners: usize| -> Result<u64> {
        let server = Server::start(peer, Mode::Echo { listeners }, cores)?;
        Connection::open(server.port, 0)?.messages(&mut Messages::echo(ECHOED))?;
        let open = server.stats().descriptors()?;
        if open < listeners {
            return Err(format!("{open} descriptors instead of {listeners} sockets").into());
        }
        server.stats().resident()
    };
    Ok(Memory {
        count,
        without: resident(1)?,
        with: resident(1 + count)?,
        used: None,
    })
}
