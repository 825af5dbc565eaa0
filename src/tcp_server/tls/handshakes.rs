//! TLS on accepted connections: the handshakes that go on, off the accept
//! path, and what came of them.

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use actix_rt::time::{Instant, Sleep, sleep_until, timeout};
use tokio::task::{AbortHandle, JoinSet};

use crate::answer::Reply;
use crate::events::Listeners;
use crate::ids::ServerSocketId;
use crate::net_error::NetError;
use crate::os::Stream;
use crate::tcp::ConnectionMeta;
use crate::tcp_server::HANDSHAKE_GRACE;
use crate::tcp_server::tls::handshake_errors::{Failures, HandshakeErrorInfo};
use crate::tls::Server;

/// A connection whose peer is known.
pub(in crate::tcp_server) type AcceptedStream = (Box<dyn Stream>, Box<ConnectionMeta>);

#[derive(Default)]
pub(in crate::tcp_server) struct Handshakes {
    /// How connections that are accepted from now on are encrypted, if they
    /// are.
    server: Option<Server>,
    /// Another process has encrypted, and the app has not said yet how this
    /// one is to: none may go on without.
    undecided: bool,
    /// By age.
    going: BTreeMap<u64, Going>,
    tasks: JoinSet<Ended>,
    started: u64,
    /// Accepted while there was no room for another handshake, or nobody had
    /// said how it is to be encrypted.
    next: Option<AcceptedStream>,
    /// Wakes the accept loop when the oldest one may be given up.
    grace: Option<Pin<Box<Sleep>>>,
    /// Encrypted, and heard of by nobody.
    finished: VecDeque<AcceptedStream>,
    failures: Failures,
    /// Who waits for an end of all that.
    settling: Vec<Reply<()>>,
}

/// Which one, and what came of it.
type Ended = (u64, Result<AcceptedStream, NetError>);

struct Going {
    since: Instant,
    peer: SocketAddr,
    task: AbortHandle,
}

/// What a drain's deadline has ended before `onAccept`.
#[derive(Default)]
pub(crate) struct EndedHandshakes {
    /// Handshakes.
    pub(crate) unfinished: usize,
    /// Connections whose handshake was done.
    pub(crate) undelivered: usize,
}

impl Handshakes {
    /// Of a socket whose connections another process has encrypted.
    pub(in crate::tcp_server) fn undecided() -> Self {
        Handshakes {
            undecided: true,
            ..Handshakes::default()
        }
    }

    #[cfg(feature = "tls")]
    pub(in crate::tcp_server) fn set(&mut self, server: Option<Server>) {
        self.undecided = false;
        self.server = server;
    }

    pub(in crate::tcp_server) fn is_undecided(&self) -> bool {
        self.undecided
    }

    /// Whether what is accepted is to be encrypted.
    pub(in crate::tcp_server) fn encrypts(&self) -> bool {
        self.undecided || self.server.is_some()
    }

    /// How many have failed.
    pub(in crate::tcp_server) fn failed(&self) -> u64 {
        self.failures.count()
    }

    pub(in crate::tcp_server) fn dropped_events(&self) -> u64 {
        self.failures.dropped()
    }

    /// Answers when every handshake has ended, and `onAccept` has been raised
    /// for what came of it.
    pub(in crate::tcp_server) fn when_settled(&mut self, reply: Reply<()>) {
        self.settling.push(reply);
    }

    /// Ends every handshake, which is a failure of each, and closes what no
    /// listener has heard of.
    pub(in crate::tcp_server) fn abort_all(&mut self) -> EndedHandshakes {
        self.tasks.abort_all();
        let going = mem::take(&mut self.going).into_values();
        let waiting = self.next.take().map(|(_, ends)| ends.peer());
        let mut unfinished = 0;
        for peer in going.map(|it| it.peer).chain(waiting) {
            self.failures.add(peer, NetError::ABORTED);
            unfinished += 1;
        }
        EndedHandshakes {
            unfinished,
            undelivered: mem::take(&mut self.finished).len(),
        }
    }

    fn is_settled(&self) -> bool {
        self.going.is_empty() && self.next.is_none() && self.finished.is_empty()
    }

    /// The thread of the handshakes is gone, and they with it. What stands
    /// before or behind its own goes on in this one.
    pub(in crate::tcp_server) fn reregister(&mut self) {
        self.grace = None;
        self.failures.forget_clock();
        self.tasks = JoinSet::new();
        for going in mem::take(&mut self.going).into_values() {
            self.failures.add(going.peer, NetError::FAILED);
        }
        let rest = self.next.take().into_iter();
        let rest = rest.map(|it| (it, true));
        let finished = mem::take(&mut self.finished).into_iter();
        for ((mut stream, ends), is_next) in rest.chain(finished.map(|it| (it, false))) {
            match stream.reregister() {
                Ok(()) if is_next => self.next = Some((stream, ends)),
                Ok(()) => self.finished.push_back((stream, ends)),
                Err(_) => self.failures.add(ends.peer(), NetError::FAILED),
            }
        }
    }

    /// Takes up what has come to its end. It is to be called in every turn.
    pub(in crate::tcp_server) fn settle(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(ended)) = self.tasks.poll_join_next(cx) {
            let (number, made) = match ended {
                Ok(ended) => ended,
                // It was given up, which has been told.
                Err(error) if error.is_cancelled() => continue,
                Err(error) => match self.number(error.id()) {
                    Some(number) => (number, Err(NetError::FAILED)),
                    None => continue,
                },
            };
            // One that was given up when it was just over is not there.
            if let Some(Going { peer, .. }) = self.going.remove(&number) {
                match made {
                    Ok(peered) => self.finished.push_back(peered),
                    Err(error) => self.failures.add(peer, error),
                }
            }
        }
        self.start_next(cx);
        if self.is_settled() {
            for reply in self.settling.drain(..) {
                reply.send(Ok(()));
            }
        }
    }

    fn number(&self, id: tokio::task::Id) -> Option<u64> {
        let mut all = self.going.iter();
        let found = all.find(|(_, going)| going.task.id() == id);
        found.map(|(number, _)| *number)
    }

    /// The next one that `onAccept` can be raised for.
    pub(in crate::tcp_server) fn finished(&mut self, cx: &Context<'_>) -> Option<AcceptedStream> {
        let finished = self.finished.pop_front();
        if !self.settling.is_empty() && self.finished.is_empty() {
            // To see that it was the last.
            cx.waker().wake_by_ref();
        }
        finished
    }

    /// Whether there is something for the app: a connection to be heard of, or
    /// one that it has to decide on.
    pub(in crate::tcp_server) fn wants_app(&self) -> bool {
        !self.finished.is_empty() || (self.undecided && self.next.is_some())
    }

    /// Whether another connection may be accepted.
    pub(in crate::tcp_server) fn has_room(&mut self, cx: &mut Context<'_>) -> bool {
        self.start_next(cx);
        // Where all have their end behind them, only listeners make room.
        let most = self
            .server
            .as_ref()
            .map_or(usize::MAX, Server::max_handshakes);
        self.next.is_none() && self.finished.len() < most
    }

    /// Takes an accepted connection, which is given back if it is not to be
    /// encrypted.
    pub(in crate::tcp_server) fn take(
        &mut self,
        accepted: AcceptedStream,
        cx: &mut Context<'_>,
    ) -> Option<AcceptedStream> {
        if !self.encrypts() {
            return Some(accepted);
        }
        self.next = Some(accepted);
        self.start_next(cx);
        None
    }

    fn start_next(&mut self, cx: &mut Context<'_>) {
        if self.undecided || self.next.is_none() {
            return;
        }
        let Some(server) = self.server.clone() else {
            // By now it is not to be encrypted.
            return self.finished.extend(self.next.take());
        };
        if self.make_room(server.max_handshakes(), cx)
            && let Some((stream, ends)) = self.next.take()
        {
            self.start(stream, ends, server);
            // The set of the tasks has to see this waker.
            cx.waker().wake_by_ref();
        }
    }

    /// Whether there is room for one more, after the oldest was given up if it
    /// is old enough.
    fn make_room(&mut self, most: usize, cx: &mut Context<'_>) -> bool {
        if self.going.len() + self.finished.len() < most {
            return true;
        }
        let Some(oldest) = self.going.first_entry() else {
            return false;
        };
        let due = oldest.get().since + HANDSHAKE_GRACE;
        if due <= Instant::now() {
            let Going { peer, task, .. } = oldest.remove();
            task.abort();
            self.failures.add(peer, NetError::INSUFFICIENT_RESOURCES);
            return true;
        }
        let mut grace = Box::pin(sleep_until(due));
        // Registered by the poll; if it is over already, that is another turn.
        if grace.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        self.grace = Some(grace);
        false
    }

    fn start(&mut self, stream: Box<dyn Stream>, ends: Box<ConnectionMeta>, server: Server) {
        self.started += 1;
        let number = self.started;
        let peer = ends.peer();
        let task = self.tasks.spawn(async move {
            let made = timeout(server.handshake_timeout(), server.handshake(stream)).await;
            let made = made.unwrap_or(Err(NetError::TIMED_OUT));
            (number, made.map(|stream| (stream, ends)))
        });
        let since = Instant::now();
        self.going.insert(number, Going { since, peer, task });
    }

    /// Tells of the failures that may be told now.
    pub(in crate::tcp_server) fn tell(
        &mut self,
        id: ServerSocketId,
        to: &Listeners<HandshakeErrorInfo>,
        cx: &mut Context<'_>,
    ) {
        self.failures.tell(id, to, cx);
    }
}
