//! The credits of received events, which bound what listeners hold.

use actix_rt::Arbiter;

use crate::tcp::shards::receive_windows::EVENT;
use crate::tcp::socket::ClientSocket;

/// The part of a socket's window that one event takes. Dropping the credit releases it.
pub(crate) struct Credit {
    socket: ClientSocket,
    /// Bytes, and one [`EVENT`] until the event is handled: as in [`SocketWindow`].
    amount: u64,
}

impl Credit {
    pub(in crate::tcp) fn acquire(socket: &ClientSocket, bytes: usize) -> Self {
        let amount = EVENT + bytes as u64;
        socket.0.unhandled.acquire(amount);
        socket.0.app_shard.acquire(bytes);
        socket.0.app_shard.stats.events_raised(1);
        Credit {
            socket: socket.clone(),
            amount,
        }
    }

    /// For a part of the window that is taken already.
    pub(in crate::tcp) fn from_amount(socket: &ClientSocket, amount: u64) -> Self {
        Credit {
            socket: socket.clone(),
            amount,
        }
    }

    pub(in crate::tcp) fn socket(&self) -> &ClientSocket {
        &self.socket
    }

    /// Moves the amount into another credit.
    pub(in crate::tcp) fn take(&mut self) -> Credit {
        Credit {
            socket: self.socket.clone(),
            amount: std::mem::take(&mut self.amount),
        }
    }

    /// The same amount for another owner: [`forget`](Self::forget) has to end this one.
    #[cold]
    pub(in crate::tcp) fn alias(&self) -> Credit {
        Credit {
            socket: self.socket.clone(),
            amount: self.amount,
        }
    }

    #[cold]
    pub(in crate::tcp) fn forget(&mut self) {
        self.amount = 0;
    }

    /// The event is handled, but its bytes are still in memory. From now on they count for their
    /// own socket only: a peer that does not read must not stop the app's other sockets.
    pub(in crate::tcp) fn mark_handled(&mut self) {
        if self.amount >= EVENT {
            self.amount -= EVENT;
            self.release(EVENT);
            self.socket.0.app_shard.release(self.amount as usize);
            self.socket.0.app_shard.stats.events_handled(1);
        }
    }

    /// Releases the credit when the current handler returns, if this thread has an arbiter.
    pub(in crate::tcp) fn release_after_handler(self) {
        if let Some(arbiter) = Arbiter::try_current() {
            // An arbiter that has ended runs no handler.
            arbiter.spawn(async move { drop(self) });
        }
    }

    #[inline]
    fn release(&self, amount: u64) {
        if self.socket.0.unhandled.release(amount) {
            self.socket.make_ready();
        }
    }

    #[inline(always)]
    fn give_back(&self) {
        self.release(self.amount);
        if self.amount >= EVENT {
            let app_shard = &self.socket.0.app_shard;
            app_shard.release((self.amount % EVENT) as usize);
            app_shard.stats.events_handled(1);
        }
    }
}

impl Clone for Credit {
    fn clone(&self) -> Self {
        let shared = &self.socket.0;
        shared.unhandled.acquire(self.amount);
        if self.amount >= EVENT {
            let bytes = (self.amount % EVENT) as usize;
            shared.app_shard.acquire_copy(bytes);
            shared.app_shard.stats.events_raised(1);
        }
        Credit {
            socket: self.socket.clone(),
            amount: self.amount,
        }
    }
}

impl Drop for Credit {
    #[inline(always)]
    fn drop(&mut self) {
        if self.amount > 0 {
            self.give_back();
        }
    }
}

/// For a stream, which needs no handle for each part of the window.
impl ClientSocket {
    /// Takes a part of the window, as [`Credit::acquire`] does. Returns what
    /// [`release`](Self::release) gives back.
    #[inline]
    pub(in crate::tcp) fn acquire(&self, bytes: usize) -> u64 {
        let amount = EVENT + bytes as u64;
        self.0.unhandled.acquire(amount);
        self.0.app_shard.acquire(bytes);
        self.0.app_shard.stats.events_raised(1);
        amount
    }

    /// Releases one or several parts of the window.
    #[inline]
    pub(in crate::tcp) fn release(&self, amount: u64) {
        if self.0.unhandled.release(amount) {
            self.make_ready();
        }
        self.0.app_shard.release((amount % EVENT) as usize);
        let events = (amount / EVENT) as usize;
        self.0.app_shard.stats.events_handled(events);
    }
}
