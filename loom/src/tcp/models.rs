//! A socket's credits, its app's window, the order of its sends, and the end of its connection.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use futures::future::poll_fn;
use loom::future::block_on;
use loom::sync::{Arc, Mutex};
use loom::thread;

use super::ending::{CallsAhead, Ending};
use super::receive_windows::{AppWindow, EVENT, SocketWindow, Starving};
use crate::sync::{ReadyFlag, SharedWriter, WorkQueue};

/// The parts of `ClientSocket` that a socket, its credits and its handles share.
struct Shared {
    slot: u32,
    queued: ReadyFlag,
    starved: ReadyFlag,
    unhandled: SocketWindow,
    queue: Arc<WorkQueue<Call>>,
}

#[derive(Clone)]
struct Socket(Arc<Shared>);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Call {
    Op,
    Send(u8),
    /// The part of a send that the OS has not accepted.
    Rest(u8),
    /// The last call of a caller.
    Done,
}

impl Socket {
    fn new(slot: u32, queue: &Arc<WorkQueue<Call>>) -> Self {
        Socket(Arc::new(Shared {
            slot,
            queued: ReadyFlag::default(),
            starved: ReadyFlag::default(),
            unhandled: SocketWindow::default(),
            queue: queue.clone(),
        }))
    }

    /// A handler drops its event of one byte.
    fn release(&self) {
        if self.0.unhandled.release(EVENT + 1) {
            self.make_ready();
        }
    }
}

impl Starving for Socket {
    fn mark_starved(&self) -> bool {
        self.0.starved.set()
    }

    fn clear_starved(&self) {
        self.0.starved.clear();
    }

    fn make_ready(&self) {
        if self.0.queued.set() {
            self.0.queue.push_ready(self.0.slot);
        }
    }
}

/// The turns of the actor of client sockets: carries out calls, and then looks at ready sockets,
/// until `look` has returned `Ready` once for each socket.
fn run(
    queue: &WorkQueue<Call>,
    sockets: &[Socket],
    mut carry_out: impl FnMut(Call),
    mut look: impl FnMut(&Socket, u64) -> Poll<()>,
) {
    let (mut calls, mut slots, mut takes) = (VecDeque::new(), VecDeque::new(), 0);
    let mut open = sockets.len();
    for socket in sockets {
        socket.make_ready();
    }
    block_on(poll_fn(|cx: &mut Context<'_>| {
        queue.drain_into(&mut calls, &mut slots, cx);
        takes += 1;
        calls.drain(..).for_each(&mut carry_out);
        for slot in slots.drain(..) {
            let socket = &sockets[slot as usize];
            socket.0.queued.clear();
            socket.0.unhandled.begin_poll();
            if look(socket, takes).is_ready() {
                open -= 1;
            }
        }
        match open {
            0 => Poll::Ready(()),
            _ => Poll::Pending,
        }
    }));
}

#[test]
fn a_socket_that_waits_for_its_window_and_then_for_all_credits_is_woken() {
    crate::every_interleaving(|| {
        let queue = Arc::default();
        let socket = Socket::new(0, &queue);
        let handlers = [1, 2].map(|_| {
            // Two events are a full window here.
            socket.0.unhandled.acquire(EVENT + 1);
            socket.clone()
        });
        let handlers = handlers.map(|socket| thread::spawn(move || socket.release()));
        let mut has_window = false;
        let look = |socket: &Socket, _| {
            has_window = has_window || socket.0.unhandled.has_window();
            match has_window && socket.0.unhandled.are_handled() {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        };
        run(&queue, &[socket], |_| {}, look);
        for handler in handlers {
            handler.join().expect("a handler");
        }
    });
}

/// Sockets that find their app's window full, while another thread makes room.
fn starve(sockets: u32, make_room: impl Fn(&AppWindow<Socket>) + Send + Sync + Copy + 'static) {
    crate::every_interleaving(move || {
        let queue = Arc::default();
        let window = Arc::new(AppWindow::new(2));
        window.acquire(1);
        window.add_returned(1);
        let sockets: Vec<_> = (0..sockets).map(|slot| Socket::new(slot, &queue)).collect();
        let listener = {
            let window = window.clone();
            thread::spawn(move || make_room(&window))
        };
        let look = |socket: &Socket, _| match window.may_read(socket) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        };
        run(&queue, &sockets, |_| {}, look);
        listener.join().expect("a listener");
    });
}

#[test]
fn a_starved_socket_is_woken_when_an_event_is_handled() {
    starve(1, |window| {
        window.release(1);
    });
}

#[test]
fn starved_sockets_are_woken_when_returned_data_is_raised() {
    starve(2, |window| window.remove_returned(1));
}

/// The bytes that the OS got, and the calls that were carried out, in order.
type Log = Arc<Mutex<Vec<Call>>>;

/// Like `ClientSocket::write`. On the fast path the OS accepts a part of the send.
fn send(path: &SharedWriter<Log>, queue: &WorkQueue<Call>, number: u8) {
    let guard = path.lock();
    let call = match path.writer(&guard) {
        Some(log) => {
            log.lock().expect("no panic").push(Call::Send(number));
            Call::Rest(number)
        }
        None => Call::Send(number),
    };
    path.begin_call(1);
    assert!(queue.push_call(call).is_none());
    drop(guard);
}

fn call(path: &SharedWriter<Log>, queue: &WorkQueue<Call>, call: Call) {
    path.begin_call(1);
    assert!(queue.push_call(call).is_none());
}

/// Carries out the calls until each caller is done, and returns the log.
fn carry_out(
    path: &SharedWriter<Log>,
    queue: &WorkQueue<Call>,
    log: &Log,
    callers: usize,
    before: impl Fn(Call),
) -> Vec<Call> {
    let (mut calls, mut slots, mut done) = (VecDeque::new(), VecDeque::new(), 0);
    block_on(poll_fn(|cx| {
        queue.drain_into(&mut calls, &mut slots, cx);
        for call in calls.drain(..) {
            before(call);
            match call {
                Call::Done => done += 1,
                call => log.lock().expect("no panic").push(call),
            }
            path.finish_call(1);
        }
        match done == callers {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }));
    log.lock().expect("no panic").clone()
}

#[test]
fn sends_are_written_in_call_order_on_either_path() {
    crate::every_interleaving(|| {
        let (queue, log) = (Arc::new(WorkQueue::default()), Log::default());
        let path = Arc::new(SharedWriter::new());
        path.open(log.clone());
        let other = {
            let (path, queue) = (path.clone(), queue.clone());
            thread::spawn(move || {
                send(&path, &queue, 3);
                call(&path, &queue, Call::Done);
            })
        };
        let caller = {
            let (path, queue) = (path.clone(), queue.clone());
            thread::spawn(move || {
                call(&path, &queue, Call::Op);
                send(&path, &queue, 1);
                call(&path, &queue, Call::Done);
            })
        };
        let log = carry_out(&path, &queue, &log, 2, |_| {});
        let at = |call| log.iter().position(|it| *it == call);
        assert!(at(Call::Op) < at(Call::Send(1)), "{log:?}");
        for number in [1, 3] {
            let (first, rest) = (at(Call::Send(number)), at(Call::Rest(number)));
            if let (Some(first), Some(rest)) = (first, rest) {
                let between = &log[first + 1..rest];
                let mut sends = between.iter().filter(|it| **it != Call::Op);
                assert!(sends.next().is_none(), "{log:?}");
            }
        }
        other.join().expect("a sender");
        caller.join().expect("a sender");
    });
}

#[test]
fn the_fast_path_writes_nothing_after_it_was_closed() {
    crate::every_interleaving(|| {
        let (queue, log) = (Arc::new(WorkQueue::default()), Log::default());
        let path = Arc::new(SharedWriter::new());
        path.open(log.clone());
        let sender = {
            let (path, queue) = (path.clone(), queue.clone());
            thread::spawn(move || {
                send(&path, &queue, 1);
                call(&path, &queue, Call::Done);
            })
        };
        drop(path.close());
        log.lock().expect("no panic").push(Call::Op);
        let log = carry_out(&path, &queue, &log, 1, |_| {});
        let shut = log.iter().position(|it| *it == Call::Op);
        let rest = log.iter().position(|it| *it == Call::Rest(1));
        let sent = log.iter().position(|it| *it == Call::Send(1));
        assert!(rest.is_none() || sent < shut, "{log:?}");
        sender.join().expect("a sender");
    });
}

#[test]
fn the_end_is_reported_after_the_earlier_calls_of_handlers() {
    crate::every_interleaving(|| {
        let queue = Arc::default();
        let socket = Socket::new(0, &queue);
        socket.0.unhandled.acquire(EVENT + 1);
        let handler = {
            let (socket, queue) = (socket.clone(), queue.clone());
            thread::spawn(move || {
                assert!(queue.push_call(Call::Send(1)).is_none());
                socket.release();
            })
        };
        // Calls of another thread must not count as the handler's.
        let other = {
            let queue = queue.clone();
            thread::spawn(move || assert!(queue.push_call(Call::Op).is_none()))
        };
        let answered = std::cell::Cell::new(false);
        let mut ending = Ending::default();
        let look = |socket: &Socket, takes| {
            if !socket.0.unhandled.are_handled() {
                return Poll::Pending;
            }
            let ahead = CallsAhead {
                dequeues: takes,
                has_unexecuted: false,
                has_queued: queue.has_calls(),
            };
            if !ending.calls_are_done(ahead) {
                socket.make_ready();
                return Poll::Pending;
            }
            assert!(
                answered.get(),
                "the end was reported before the call was carried out"
            );
            Poll::Ready(())
        };
        let carry_out = |call| answered.set(answered.get() || call == Call::Send(1));
        run(&queue, &[socket], carry_out, look);
        handler.join().expect("a handler");
        other.join().expect("a caller");
    });
}
