//! When full windows make sockets ready again. In a file of its own, because `loom/` compiles
//! `credits.rs` with other primitives.

use std::cell::Cell;
use std::rc::Rc;

use super::{AppWindow, EVENT, Starving, SocketWindow};
use crate::tcp::{RESUME_BELOW, WINDOW};

#[derive(Clone, Default)]
struct FakeSocket {
    starved: Rc<Cell<bool>>,
    ready_count: Rc<Cell<u32>>,
}

impl Starving for FakeSocket {
    fn mark_starved(&self) -> bool {
        !self.starved.replace(true)
    }

    fn clear_starved(&self) {
        self.starved.set(false);
    }

    fn make_ready(&self) {
        self.ready_count.set(self.ready_count.get() + 1);
    }
}

#[test]
fn sockets_of_an_app_are_read_again_when_half_is_handled() {
    let (window, socket) = (AppWindow::new(100), FakeSocket::default());
    window.acquire(99);
    assert!(window.may_read(&socket), "there is room");
    window.acquire(1);
    assert!(!window.may_read(&socket), "there is no room");
    assert!(!window.may_read(&socket), "the socket is in the list once");
    window.release(49);
    assert_eq!(socket.ready_count.get(), 0, "not for every event");
    window.release(1);
    assert_eq!(socket.ready_count.get(), 1);
    assert!(window.may_read(&socket));
    window.add_returned(50);
    assert!(!window.may_read(&socket), "returned bytes count");
    window.remove_returned(50);
    assert_eq!(socket.ready_count.get(), 2);
}

#[test]
fn a_socket_is_polled_again_when_half_a_window_is_handled() {
    let unhandled = SocketWindow::default();
    let half = (WINDOW - RESUME_BELOW) as u64;
    unhandled.acquire(2 * EVENT + WINDOW as u64);
    assert!(!unhandled.release(1), "the socket does not wait");
    unhandled.acquire(1);
    unhandled.begin_poll();
    assert!(!unhandled.has_window());
    assert!(!unhandled.release(half - 1), "not yet");
    assert!(unhandled.release(1));
    assert!(unhandled.has_window());
    unhandled.begin_poll();
    assert!(!unhandled.are_handled());
    assert!(unhandled.release(2 * EVENT + RESUME_BELOW as u64));
    assert!(unhandled.are_handled());
}
