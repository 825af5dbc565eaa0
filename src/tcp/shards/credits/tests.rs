//! Windows: when what was full is looked at again. They stand apart, since a
//! model checker compiles `credits.rs` with primitives of its own.

use std::cell::Cell;
use std::rc::Rc;

use super::{AppWindow, EVENT, Starving, SocketWindow};
use crate::tcp::{RESUME_BELOW, WINDOW};

#[derive(Clone, Default)]
struct SocketState {
    starved: Rc<Cell<bool>>,
    looks: Rc<Cell<u32>>,
}

impl Starving for SocketState {
    fn mark_starved(&self) -> bool {
        !self.starved.replace(true)
    }

    fn clear_starved(&self) {
        self.starved.set(false);
    }

    fn make_ready(&self) {
        self.looks.set(self.looks.get() + 1);
    }
}

#[test]
fn sockets_of_an_app_are_read_again_when_half_is_handled() {
    let (window, row) = (AppWindow::new(100), SocketState::default());
    window.take(99);
    assert!(window.may_read(&row), "there is room");
    window.take(1);
    assert!(!window.may_read(&row), "there is none");
    assert!(!window.may_read(&row), "nor is it looked at twice");
    window.give_back(49);
    assert_eq!(row.looks.get(), 0, "not for every event");
    window.give_back(1);
    assert_eq!(row.looks.get(), 1);
    assert!(window.may_read(&row));
    window.keep(50);
    assert!(!window.may_read(&row), "what has come back counts");
    window.let_go(50);
    assert_eq!(row.looks.get(), 2);
}

#[test]
fn a_socket_is_looked_at_again_when_half_a_window_is_handled() {
    let unhandled = SocketWindow::default();
    let half = (WINDOW - RESUME_BELOW) as u64;
    unhandled.take(2 * EVENT + WINDOW as u64);
    assert!(!unhandled.release(1), "nobody waits");
    unhandled.take(1);
    unhandled.begin_look();
    assert!(!unhandled.has_window());
    assert!(!unhandled.release(half - 1), "not yet");
    assert!(unhandled.release(1));
    assert!(unhandled.has_window());
    unhandled.begin_look();
    assert!(!unhandled.are_handled());
    assert!(unhandled.release(2 * EVENT + RESUME_BELOW as u64));
    assert!(unhandled.are_handled());
}
