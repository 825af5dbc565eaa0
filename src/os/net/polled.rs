//! A connection that a [`Poller`](super::poller::Poller) watches.

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use socket2::Socket;

use crate::os::Writer;
use crate::os::net::poller::{PollerHandle, Readiness, Token};

pub(super) struct PolledStream {
    /// What the poller has announced, and no call of the OS has disproved since.
    readiness: Readiness,
    pub(super) reached_eof: bool,
    /// Whether the poller watches it: from the first operation on that has to wait.
    is_registered: bool,
    token: Token,
    socket: Arc<PolledSocket>,
    poller: PollerHandle,
    /// Another descriptor of the connection exists, or did.
    is_duplicated: AtomicBool,
}

struct PolledSocket(Socket);

impl Writer for PolledSocket {
    fn try_write(&self, data: &[u8]) -> io::Result<usize> {
        Ok(send(&self.0, data, SendFlags::NOSIGNAL)?)
    }
}

impl PolledStream {
    /// `has_error`: the OS has reported an error, and will not report it again.
    pub(super) fn new(
        socket: Socket,
        reached_eof: bool,
        has_error: bool,
        poller: &PollerHandle,
        token: Token,
    ) -> Self {
        let mut readiness = Readiness::new();
        if has_error {
            readiness.add_error();
        }
        PolledStream {
            readiness,
            reached_eof,
            is_registered: false,
            token,
            socket: Arc::new(PolledSocket(socket)),
            poller: poller.clone(),
            is_duplicated: AtomicBool::new(false),
        }
    }

    /// The socket, which the poller does not watch any more.
    pub(super) fn into_socket(mut self) -> io::Result<Socket> {
        self.deregister();
        let socket = self.socket.clone();
        drop(self);
        // A second descriptor only if a writer in another thread still has this one: there may be no
        // free one.
        Arc::try_unwrap(socket).map_or_else(|shared| shared.0.try_clone(), |it| Ok(it.0))
    }

    #[inline]
    pub(super) fn awaits_input(&self) -> bool {
        self.is_registered && !self.readiness.is_readable()
    }

    pub(super) fn socket(&self) -> &Socket {
        &self.socket.0
    }

    pub(super) fn writer(&self) -> Arc<dyn Writer> {
        self.socket.clone()
    }

    pub(super) fn duplicate(&self) -> io::Result<OwnedFd> {
        self.is_duplicated.store(true, Relaxed);
        Ok(self.socket.0.try_clone()?.into())
    }

    /// The stream is found by another token now. In the same slot it keeps its own, which saves a
    /// call of the OS.
    pub(super) fn change_token(&mut self, token: Token) {
        if self.token.slot() == token.slot() {
            return;
        }
        self.token = token;
        if self.is_registered {
            let descriptor = self.socket.0.as_raw_fd();
            // If it fails, the next operation that has to wait registers it, or fails too.
            self.is_registered = self.poller.change_token(descriptor, token).is_ok();
        }
    }

    /// `true` if the announcement is of this connection, and tells it something new.
    #[inline]
    pub(super) fn add_readiness(&mut self, token: Token, readiness: Readiness) -> bool {
        self.token == token && self.readiness.add(readiness)
    }

    /// Has the poller announce the connection from now on. What is ready already is announced too.
    #[cold]
    fn register(&mut self) -> io::Result<()> {
        let descriptor = self.socket.0.as_raw_fd();
        self.poller.register(descriptor, self.token)?;
        self.is_registered = true;
        Ok(())
    }

    fn deregister(&mut self) {
        if std::mem::take(&mut self.is_registered) {
            let _ = self.poller.deregister(self.socket.0.as_raw_fd());
        }
    }

    /// The operation has to wait for the poller.
    #[inline]
    fn wait<T>(&mut self) -> Poll<io::Result<T>> {
        if !self.is_registered {
            self.register()?;
        }
        Poll::Pending
    }

    #[inline]
    pub(super) fn poll_read(&mut self, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if !self.readiness.is_readable() {
            return self.wait();
        }
        let room = buffer.len();
        match recv(&self.socket.0, buffer, RecvFlags::empty()) {
            Ok((read, _)) => {
                if read == 0 && room > 0 {
                    self.reached_eof = true;
                } else if read < room && self.is_registered && !self.readiness.is_read_closed() {
                    // Nothing is left, and what comes later is announced. An end that was announced
                    // together with this data is not announced again.
                    self.readiness.clear_readable();
                }
                Poll::Ready(Ok(read))
            }
            Err(Errno::AGAIN) => {
                self.readiness.clear_readable();
                self.wait()
            }
            Err(error) => Poll::Ready(Err(error.into())),
        }
    }

    pub(super) fn poll_peek(&mut self) -> Poll<io::Result<bool>> {
        if !self.readiness.is_readable() {
            return self.wait();
        }
        match recv(&self.socket.0, &mut [0; 1], RecvFlags::PEEK) {
            Ok((read, _)) => Poll::Ready(Ok(read > 0)),
            Err(Errno::AGAIN) => {
                self.readiness.clear_readable();
                self.wait()
            }
            Err(error) => Poll::Ready(Err(error.into())),
        }
    }

    pub(super) fn poll_error_ready(&mut self) -> Poll<()> {
        if !self.is_registered && self.register().is_err() {
            // Every operation that has to wait fails from now on.
            return Poll::Ready(());
        }
        match self.readiness.is_error() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    #[inline]
    pub(super) fn poll_write(&mut self, data: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if !self.readiness.is_writable() {
            return self.wait();
        }
        let written = match data {
            [one] => self.socket.try_write(one),
            many => self.socket.0.send_vectored(many),
        };
        match written {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.readiness.clear_writable();
                self.wait()
            }
            written => Poll::Ready(written),
        }
    }
}

impl Drop for PolledStream {
    fn drop(&mut self) {
        // The OS forgets a connection with its last descriptor. Another process may have one, or a
        // writer this one.
        if *self.is_duplicated.get_mut() || Arc::strong_count(&self.socket) > 1 {
            self.deregister();
        }
    }
}
