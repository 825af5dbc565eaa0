//! Runs every order of four steps on one connection: calls, network events and a handover.

use std::io::IoSlice;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use parking_lot::Mutex;
use tokio::task::unconstrained;

use super::state::{Claim, SocketState, Transfer};
use super::write::tests::socket;
use super::*;
use crate::answer::Answer;
use crate::os::Writer;
use crate::tcp::SendInfo;
use crate::tcp::connection::buffer_pool::BufferPool;
use crate::tcp::connection::ending::CallsAhead;
use crate::tcp::connection::read::ListenerCache;
use crate::tcp::shards::write_quota::Charge;
use crate::telemetry::Span;

/// One step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Step {
    /// `tcp.send`, while the OS takes everything, takes nothing, or fails.
    Send(Network),
    /// `try_send`, which has no answer.
    TrySend(Network),
    /// The socket is writable again, or a write fails.
    Flush(Network),
    /// `shutdown_write`, while the OS sends the end, or cannot yet.
    ShutdownWrite(Network),
    /// The actor reports an end that was read.
    Report,
    /// The peer closes its side, or is gone, and the actor reads.
    PeerEnds,
    PeerIsGone,
    /// The app calls the socket for the first time; pauses or resumes it.
    Acknowledge,
    SetPaused(bool),
    /// A handover quiesces or freezes the socket, or fails.
    Transfer(Transfer),
    /// The actor terminates the connection, for instance after a timeout.
    Terminate,
    Disconnect,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Network {
    #[default]
    TakesAll,
    TakesNothing,
    /// `ENOBUFS`, after which reading goes on.
    IsShort,
    /// `EPIPE`.
    IsBroken,
}

const STEPS: [Step; 22] = [
    Step::Send(Network::TakesAll),
    Step::Send(Network::TakesNothing),
    Step::Send(Network::IsShort),
    Step::Send(Network::IsBroken),
    Step::TrySend(Network::TakesNothing),
    Step::TrySend(Network::IsShort),
    Step::Flush(Network::TakesAll),
    Step::Flush(Network::IsShort),
    Step::Flush(Network::IsBroken),
    Step::ShutdownWrite(Network::TakesAll),
    Step::ShutdownWrite(Network::TakesNothing),
    Step::Report,
    Step::PeerEnds,
    Step::PeerIsGone,
    Step::Acknowledge,
    Step::SetPaused(false),
    Step::SetPaused(true),
    Step::Transfer(Transfer::None),
    Step::Transfer(Transfer::Quiescing),
    Step::Transfer(Transfer::Frozen),
    Step::Terminate,
    Step::Disconnect,
];

/// The number of steps in each order.
const LENGTH: u32 = 4;

/// The results of the scripted stream, and the number of writes.
#[derive(Default)]
struct Script {
    network: Network,
    has_ended: bool,
    is_gone: bool,
    /// The end was sent.
    is_shut: bool,
    writes: usize,
}

/// The reference count shows whether the stream is still open.
#[derive(Clone)]
struct Scripted(Arc<Mutex<Script>>);

fn ready_if<T>(is_ready: bool, value: T) -> Poll<T> {
    match is_ready {
        true => Poll::Ready(value),
        false => Poll::Pending,
    }
}

impl Stream for Scripted {
    fn poll_read(&mut self, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
        ready_if(self.0.lock().has_ended, Ok(0))
    }

    fn poll_peek(&mut self, _: &mut Context<'_>) -> Poll<io::Result<bool>> {
        ready_if(self.0.lock().has_ended, Ok(false))
    }

    fn poll_error_ready(&mut self, _: &mut Context<'_>) -> Poll<()> {
        ready_if(self.0.lock().is_gone, ())
    }

    fn poll_write(&mut self, _: &mut Context<'_>, data: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut script = self.0.lock();
        script.writes += 1;
        assert!(!script.is_shut, "nothing is written behind the end");
        match script.network {
            Network::TakesAll => Poll::Ready(Ok(data.iter().map(|slice| slice.len()).sum())),
            Network::TakesNothing => Poll::Pending,
            Network::IsShort => Poll::Ready(Err(io::Error::from_raw_os_error(105))),
            Network::IsBroken => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut script = self.0.lock();
        match script.network {
            Network::TakesAll => {
                script.is_shut = true;
                Poll::Ready(Ok(()))
            }
            Network::TakesNothing => Poll::Pending,
            Network::IsShort => Poll::Ready(Err(io::Error::from_raw_os_error(105))),
            Network::IsBroken => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn writer(&self) -> Option<Arc<dyn Writer>> {
        Some(Arc::new(NoWriter))
    }

    fn local_addr(&self) -> io::Result<Address> {
        Err(io::ErrorKind::NotConnected.into())
    }

    fn set_nodelay(&self, _: bool) -> io::Result<()> {
        Ok(())
    }

    fn set_keepalive(&self, _: Option<Duration>) -> io::Result<()> {
        Ok(())
    }
}

/// A fast path to which the test does not write.
struct NoWriter;

impl Writer for NoWriter {
    fn try_write(&self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

/// A socket, the script of its stream, and the unanswered calls.
pub(super) struct Fixture {
    pub(super) state: SocketState,
    script: Arc<Mutex<Script>>,
    pool: BufferPool,
    answers: Vec<Answer<SendInfo>>,
    shutdowns: Vec<Answer<()>>,
    answered: usize,
    half_closed: usize,
}

impl Fixture {
    pub(super) fn new(socket: &ClientSocket) -> Self {
        let script = Arc::<Mutex<Script>>::default();
        let peer = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
        let guard = ConnectionGuard::opened(Arc::default(), true);
        let stream = Box::new(Scripted(script.clone()));
        let mut state = SocketState::new(socket.clone());
        let meta = ConnectionMeta::accepted(peer.into(), guard, Span::default());
        state.link = Link::Connected(Connection::new(stream, meta));
        state.claim = Claim::Offered(Arc::new(NoAccept));
        Fixture {
            state,
            script,
            pool: BufferPool::new(),
            answers: Vec::new(),
            shutdowns: Vec::new(),
            answered: 0,
            half_closed: 0,
        }
    }

    pub(super) fn run_step(&mut self, step: Step) {
        let state = &mut self.state;
        let is_frozen = state.transfer == Transfer::Frozen;
        match step {
            // The actor defers calls of a frozen socket.
            Step::Send(_)
            | Step::TrySend(_)
            | Step::ShutdownWrite(_)
            | Step::Acknowledge
            | Step::SetPaused(_)
                if is_frozen => {}
            Step::Send(network) => {
                self.script.lock().network = network;
                let (answer, reply) = Answer::pair();
                self.answers.push(answer);
                send(state, reply);
            }
            Step::TrySend(network) => {
                self.script.lock().network = network;
                send(state, Reply::discard());
            }
            Step::Flush(network) => {
                self.script.lock().network = network;
                state.flush();
            }
            Step::ShutdownWrite(network) => {
                self.script.lock().network = network;
                let (answer, reply) = Answer::pair();
                self.shutdowns.push(answer);
                state.shutdown_write(reply);
            }
            Step::Report => {
                let had_end = state.connection().and_then(Connection::end).is_some();
                let ended = state.report_end_if_due(CallsAhead {
                    dequeues: 0,
                    has_unexecuted: false,
                    has_queued: false,
                });
                assert!(had_end || ended.is_none(), "an end is reported once");
                if let Some(mut left) = ended {
                    left.queue.fail(NetError::ABORTED.into());
                }
            }
            Step::PeerEnds => self.script.lock().has_ended = true,
            Step::PeerIsGone => {
                let mut script = self.script.lock();
                (script.has_ended, script.is_gone) = (true, true);
            }
            Step::Acknowledge => state.acknowledge(),
            Step::SetPaused(paused) => {
                state.acknowledge();
                state.paused = paused;
                if !paused {
                    state.mark_claimed();
                }
            }
            Step::Transfer(transfer) => {
                if let Link::Connected(connection) = &mut state.link {
                    connection.close_fast_path();
                }
                state.transfer = transfer;
            }
            Step::Terminate if is_frozen => {}
            Step::Terminate => {
                if let Link::Connected(connection) = &mut state.link {
                    drop(connection.terminate(NetError::TIMED_OUT));
                }
            }
            Step::Disconnect => {
                if let Some(mut left) = state.disconnect(NetError::ABORTED) {
                    left.queue.fail(NetError::ABORTED.into());
                }
            }
        }
        self.state
            .read(&mut self.pool, &mut ListenerCache::default());
        self.state.release_if_gone();
        self.state.update_fast_path();
        if let Some(over) = self.state.take_if_over() {
            assert!(over.queue.is_empty(), "what waits keeps a connection");
        }
    }

    /// Checks the invariants of the state.
    fn check(&mut self, before: &Observation) -> Observation {
        let pending = self.answers.len();
        // Outside tokio's budget of 128 operations.
        self.answers
            .retain_mut(|answer| unconstrained(answer).now_or_never().is_none());
        self.answered += pending - self.answers.len();
        self.shutdowns
            .retain_mut(|answer| unconstrained(answer).now_or_never().is_none());
        let state = &self.state;
        let is_open = state.socket.fast_path().lock().is_some();
        let (mut queued, mut end, mut error) = (0, None, None);
        let (mut is_fast, mut is_waiting, mut is_half_closed) = (false, false, false);
        let is_frozen = state.transfer == Transfer::Frozen;
        if let Link::Connected(connection) = &state.link {
            queued = connection.queue.bytes();
            is_waiting = !connection.queue.is_empty();
            is_half_closed = connection.is_half_closed();
            let is_shut = self.script.lock().is_shut;
            if is_half_closed {
                assert!(before.end.is_some() || before.is_half_closed, "it was read");
                assert!(!connection.is_over() || is_frozen, "a side is open");
            }
            (end, error) = (connection.end(), connection.write_error());
            match &connection.write_side {
                WriteSide::Fast { .. } => {
                    is_fast = true;
                    assert!(
                        !matches!(state.claim, Claim::Offered(_)),
                        "the app has not called the socket"
                    );
                    assert!(
                        state.transfer == Transfer::None,
                        "a handover is in progress"
                    );
                }
                WriteSide::Failed(..) => {
                    assert_eq!(queued, 0, "a failed write side has an empty queue")
                }
                WriteSide::Shut => {
                    assert_eq!(is_shut, !is_waiting, "the end follows what waits")
                }
                WriteSide::Queued => assert!(!is_shut, "the app has not shut it"),
            }
            if matches!(connection.read_side, ReadSide::Released(_)) {
                assert!(error.is_some(), "a released connection fails sends");
                assert_eq!(Arc::strong_count(&self.script), 1, "its stream is closed");
            }
            if before.end.is_some() {
                assert!(end.is_some() || is_half_closed, "an end is final");
            }
            if before.is_half_closed {
                assert!(is_half_closed, "an end is reported once");
            }
            if before.error.is_some() {
                assert!(error.is_some(), "a write error is final");
            }
        } else {
            assert_eq!(Arc::strong_count(&self.script), 1, "its stream is closed");
        }
        assert_eq!(state.socket.queued_bytes(), queued, "each byte is counted");
        assert_eq!(
            is_fast, is_open,
            "callers and the actor agree on the fast path"
        );
        assert!(
            self.answers.len() <= queued,
            "each send is answered or queued"
        );
        assert!(
            self.shutdowns.is_empty() || is_waiting,
            "each call is answered or queued"
        );
        self.half_closed += usize::from(is_half_closed);
        let writes = self.script.lock().writes;
        if before.error.is_some() || state.transfer == Transfer::Frozen {
            assert_eq!(writes, before.writes, "no write is allowed");
        }
        Observation {
            end,
            error,
            writes,
            is_half_closed,
        }
    }
}

#[derive(Default)]
struct Observation {
    end: Option<NetError>,
    error: Option<NetError>,
    writes: usize,
    is_half_closed: bool,
}

fn send(state: &mut SocketState, reply: Reply<SendInfo>) {
    let data = Bytes::from_static(b"x");
    state.send(PendingSend::new(
        state.socket.clone(),
        data,
        Charge::default(),
        None,
        reply,
    ));
}

/// A server socket's notifier that does nothing.
struct NoAccept;

impl crate::tcp::AcceptNotifier for NoAccept {
    fn acknowledged(self: Arc<Self>) {}

    fn is_open(&self) -> bool {
        true
    }

    fn timeouts(&self) -> Option<crate::tcp::Timeouts> {
        None
    }

    fn proxy_peer(&self) -> Option<&crate::proxy_protocol::ProxyPeer> {
        None
    }
}

#[actix_rt::test]
async fn no_order_of_steps_reaches_an_illegal_state() {
    let (socket, _command_queue, _actor) = socket();
    let count = STEPS.len();
    let (mut answered, mut half_closed) = (0, 0);
    for order in 0..count.pow(LENGTH) {
        let steps = (0..LENGTH).map(|at| STEPS[order / count.pow(at) % count]);
        let steps: Vec<Step> = steps.collect();
        for allowed in [false, true] {
            let mut fixture = Fixture::new(&socket);
            fixture.state.allow_half_open = allowed;
            let mut observed = Observation::default();
            let run = std::panic::AssertUnwindSafe(|| {
                for step in &steps {
                    fixture.run_step(*step);
                    observed = fixture.check(&observed);
                }
                answered += fixture.answered;
                half_closed += fixture.half_closed;
                assert!(allowed || fixture.half_closed == 0, "by default it ends");
            });
            let result = std::panic::catch_unwind(run);
            assert!(result.is_ok(), "after {steps:?}, half-open: {allowed}");
        }
    }
    assert!(
        answered > count.pow(LENGTH - 1),
        "too few sends were answered"
    );
    assert!(half_closed > count, "too few connections were half-closed");
}
