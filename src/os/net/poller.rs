//! Watches many connections of one thread for less than tokio's event loop, which watches this one.
//!
//! tokio allocates, locks and wakes for each connection that is ready. This announces a number, by
//! which the caller finds the connection.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Events, Interest};
use tokio::io::unix::AsyncFd;

use crate::os::net::watched::watched;

/// How many connections one call of the OS announces.
const EVENTS: usize = 64;

/// Names a connection for a poller: its slot, and a number that tells it from earlier connections
/// of that slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Token(usize);

impl Token {
    pub(crate) fn new(slot: u32, generation: u32) -> Self {
        // Where `usize` has 32 bits there is no room for the generation. It is a second safeguard:
        // a connection that closes is no longer announced.
        Token((u64::from(generation) << u32::BITS | u64::from(slot)) as usize)
    }

    pub(crate) fn slot(self) -> u32 {
        self.0 as u32
    }
}

/// What the OS has announced of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Readiness(u8);

impl Readiness {
    const READABLE: u8 = 1;
    const WRITABLE: u8 = 2;
    const READ_CLOSED: u8 = 4;
    const ERROR: u8 = 8;

    fn of(event: &Event) -> Self {
        let mut bits = 0;
        if event.is_readable() {
            bits |= Self::READABLE;
        }
        if event.is_writable() || event.is_write_closed() {
            bits |= Self::WRITABLE;
        }
        if event.is_read_closed() {
            bits |= Self::READABLE | Self::READ_CLOSED;
        }
        if event.is_error() {
            bits |= Self::ERROR;
        }
        Readiness(bits)
    }

    /// A new connection: nothing has had to wait yet.
    pub(super) fn new() -> Self {
        Readiness(Self::READABLE | Self::WRITABLE)
    }

    /// `true` if that is new.
    pub(super) fn add(&mut self, other: Self) -> bool {
        let before = self.0;
        self.0 |= other.0;
        self.0 != before
    }

    pub(super) fn add_error(&mut self) {
        self.0 |= Self::ERROR;
    }

    pub(super) fn is_readable(self) -> bool {
        self.0 & Self::READABLE != 0
    }

    pub(super) fn is_writable(self) -> bool {
        self.0 & Self::WRITABLE != 0
    }

    pub(super) fn is_read_closed(self) -> bool {
        self.0 & Self::READ_CLOSED != 0
    }

    pub(super) fn is_error(self) -> bool {
        self.0 & Self::ERROR != 0
    }

    pub(super) fn clear_readable(&mut self) {
        self.0 &= !Self::READABLE;
    }

    pub(super) fn clear_writable(&mut self) {
        self.0 &= !Self::WRITABLE;
    }
}

/// Has a poller watch connections.
#[derive(Clone, Debug)]
pub struct PollerHandle(Arc<mio::Registry>);

impl PollerHandle {
    pub(super) fn register(&self, descriptor: RawFd, token: Token) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        self.0
            .register(&mut SourceFd(&descriptor), mio::Token(token.0), both)
    }

    pub(super) fn change_token(&self, descriptor: RawFd, token: Token) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        self.0
            .reregister(&mut SourceFd(&descriptor), mio::Token(token.0), both)
    }

    pub(super) fn deregister(&self, descriptor: RawFd) -> io::Result<()> {
        self.0.deregister(&mut SourceFd(&descriptor))
    }
}

/// Watches connections.
pub(crate) struct Poller {
    poll: AsyncFd<PollFd>,
    events: Events,
    handle: PollerHandle,
}

struct PollFd(mio::Poll);

impl AsRawFd for PollFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        let poll = mio::Poll::new()?;
        let handle = PollerHandle(Arc::new(poll.registry().try_clone()?));
        Ok(Poller {
            poll: watched(PollFd(poll))?,
            events: Events::with_capacity(EVENTS),
            handle,
        })
    }

    pub(crate) fn handle(&self) -> &PollerHandle {
        &self.handle
    }

    /// Announces each connection that has become ready since the last call, at most [`EVENTS`].
    /// Has `cx` woken for later ones. `true` if there may be more now.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut announce: impl FnMut(Token, Readiness),
    ) -> io::Result<bool> {
        // Ends with `Pending`, because only that has `cx` woken.
        while let Poll::Ready(guard) = self.poll.poll_read_ready_mut(cx) {
            let mut guard = guard?;
            let poll = &mut guard.get_inner_mut().0;
            match poll.poll(&mut self.events, Some(Duration::ZERO)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                polled => polled?,
            }
            let mut count = 0;
            for event in &self.events {
                count += 1;
                announce(Token(event.token().0), Readiness::of(event));
            }
            if count == EVENTS {
                return Ok(true);
            }
            // If more has become ready since, tokio keeps the readiness.
            guard.clear_ready();
        }
        Ok(false)
    }

    /// Registers with the current thread's event loop, because the previous one has ended.
    pub(crate) fn reregister(self) -> io::Result<Self> {
        let Poller {
            poll,
            events,
            handle,
        } = self;
        Ok(Poller {
            poll: watched(poll.into_inner())?,
            events,
            handle,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::task::Waker;

    use tokio::net;

    use super::*;
    use crate::os::Stream;
    use crate::os::net::socket_stream::SocketStream;

    const HERE: Token = Token(7);

    /// Both ends; the poller announces the first.
    fn pair(poller: &Poller) -> (SocketStream<net::TcpStream>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = listener.local_addr().expect("an address");
        let peer = TcpStream::connect(at).expect("a listener");
        let (stream, _) = listener.accept().expect("a client");
        stream.set_nonblocking(true).expect("the option is set");
        let mut stream = SocketStream::new(stream.into());
        stream.attach(poller.handle(), HERE);
        (stream, peer)
    }

    fn read(stream: &mut SocketStream<net::TcpStream>) -> Poll<io::Result<usize>> {
        stream.poll_read(&mut Context::from_waker(Waker::noop()), &mut [0; 100])
    }

    /// Waits until the poller announces something, and returns all of it.
    async fn announced(poller: &mut Poller) -> Vec<(Token, Readiness)> {
        let mut all = Vec::new();
        poll_fn(|cx| {
            let has_more = poller.poll(cx, |token, readiness| all.push((token, readiness)));
            assert!(!has_more.expect("it works"));
            match all.is_empty() {
                true => Poll::Pending,
                false => Poll::Ready(()),
            }
        })
        .await;
        all
    }

    /// Waits until the stream has to be polled.
    async fn ready(poller: &mut Poller, stream: &mut SocketStream<net::TcpStream>) {
        loop {
            let mut is_news = false;
            for (token, readiness) in announced(poller).await {
                is_news |= stream.add_readiness(token, readiness);
            }
            if is_news {
                return;
            }
        }
    }

    #[actix_rt::test]
    async fn data_is_announced_once_and_a_short_read_needs_no_second_one() {
        let mut poller = Poller::new().expect("a poller");
        let (mut stream, mut peer) = pair(&poller);
        assert!(read(&mut stream).is_pending());
        for _ in 0..3 {
            peer.write_all(b"data").expect("it is open");
            ready(&mut poller, &mut stream).await;
            assert!(matches!(read(&mut stream), Poll::Ready(Ok(4))));
            assert!(stream.awaits_input(), "the short read took everything");
            assert!(read(&mut stream).is_pending());
        }
    }

    #[actix_rt::test]
    async fn an_end_that_comes_with_data_is_read_after_it() {
        let mut poller = Poller::new().expect("a poller");
        let (mut stream, mut peer) = pair(&poller);
        assert!(read(&mut stream).is_pending());
        peer.write_all(b"last").expect("it is open");
        drop(peer);
        // Both have arrived before they are announced, so the end is not announced again.
        let mut is_ended = false;
        while !is_ended {
            for (token, readiness) in announced(&mut poller).await {
                is_ended |= readiness.is_read_closed();
                stream.add_readiness(token, readiness);
            }
        }
        assert!(matches!(read(&mut stream), Poll::Ready(Ok(4))));
        assert!(matches!(read(&mut stream), Poll::Ready(Ok(0))));
        assert!(stream.reached_eof());
    }

    #[actix_rt::test]
    async fn an_announcement_for_another_connection_of_the_slot_is_ignored() {
        let poller = Poller::new().expect("a poller");
        let (mut stream, _peer) = pair(&poller);
        assert!(read(&mut stream).is_pending());
        let readable = Readiness(Readiness::READABLE);
        assert!(!stream.add_readiness(Token::new(7, 1), readable));
        assert!(stream.add_readiness(HERE, readable));
        assert!(!stream.add_readiness(HERE, readable), "it is known");
    }

    #[actix_rt::test]
    async fn a_stream_that_changes_its_slot_is_announced_by_the_new_token() {
        let mut poller = Poller::new().expect("a poller");
        let (mut stream, mut peer) = pair(&poller);
        assert!(read(&mut stream).is_pending());
        stream.change_token(Token::new(8, 1));
        peer.write_all(b"data").expect("it is open");
        ready(&mut poller, &mut stream).await;
        assert!(matches!(read(&mut stream), Poll::Ready(Ok(4))));
    }

    #[actix_rt::test]
    async fn a_detached_stream_calls_wakers() {
        let poller = Poller::new().expect("a poller");
        let (mut stream, mut peer) = pair(&poller);
        assert!(read(&mut stream).is_pending());
        let descriptor = |stream: &SocketStream<net::TcpStream>| {
            stream.socket().expect("it is watched").as_raw_fd()
        };
        let before = descriptor(&stream);
        stream.detach();
        assert_eq!(descriptor(&stream), before, "it needs no other one");
        peer.write_all(b"data").expect("it is open");
        let mut buffer = [0; 100];
        let read = poll_fn(|cx| stream.poll_read(cx, &mut buffer)).await;
        assert_eq!(read.expect("it is open"), 4);
    }

    #[actix_rt::test]
    async fn a_dropped_stream_is_not_announced_though_a_descriptor_is_left() {
        let mut poller = Poller::new().expect("a poller");
        let (mut stream, mut peer) = pair(&poller);
        let (mut written, mut other) = pair(&poller);
        assert!(read(&mut stream).is_pending() && read(&mut written).is_pending());
        let _duplicate = stream.duplicate().expect("a descriptor");
        let _writer = written.writer().expect("it has one");
        drop((stream, written));
        let (mut next, mut last) = pair(&poller);
        next.change_token(Token::new(8, 1));
        assert!(read(&mut next).is_pending());
        for peer in [&mut peer, &mut other, &mut last] {
            peer.write_all(b"data").expect("it is open");
        }
        // Written last, so the others would have been announced with it.
        while read(&mut next).is_pending() {
            for (token, readiness) in announced(&mut poller).await {
                assert_eq!(token, Token::new(8, 1));
                next.add_readiness(token, readiness);
            }
        }
    }

    #[actix_rt::test]
    async fn a_reset_is_announced_though_nothing_is_read() {
        let mut poller = Poller::new().expect("a poller");
        let (mut stream, peer) = pair(&poller);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(stream.poll_error_ready(&mut cx).is_pending());
        let linger = socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO));
        linger.expect("the option is set");
        drop(peer);
        while stream.poll_error_ready(&mut cx).is_pending() {
            ready(&mut poller, &mut stream).await;
        }
    }
}
