//! Order, credit and bounds of what goes to a client.

use std::cell::Cell;
use std::rc::Rc;

use crate::limits::FRAME;
use crate::protocol::frame::Frame;
use crate::protocol::outbox::*;

/// What is held, and how much of it there is.
struct Held(Rc<Cell<usize>>);

impl Held {
    fn one(count: &Rc<Cell<usize>>) -> Self {
        count.set(count.get() + 1);
        Held(count.clone())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

fn next(outbox: &mut Outbox<Held>) -> Option<Bytes> {
    let frame = outbox.next_frame().expect("all is acknowledged");
    if let Some(frame) = &frame {
        assert!(frame.len() <= FRAME, "a frame of {} bytes", frame.len());
    }
    frame
}

/// The header of the next frame, as text, and its data.
fn shown(outbox: &mut Outbox<Held>, form: Encoding) -> Option<(String, Bytes)> {
    let frame = next(outbox)?;
    let length = match form {
        Encoding::Binary => {
            u32::from_le_bytes(frame[..4].try_into().expect("4 bytes")) as usize + 4
        }
        Encoding::Text => frame.len(),
    };
    let start = if form == Encoding::Binary { 4 } else { 0 };
    let header = String::from_utf8(frame[start..length].to_vec()).expect("UTF-8");
    Frame::read(form, frame.clone()).expect("it can be read");
    Some((header, frame.slice(length..)))
}

#[test]
fn messages_that_come_together_go_together_in_order() {
    let held = Rc::new(Cell::new(0));
    for form in [Encoding::Binary, Encoding::Text] {
        let mut outbox = Outbox::new(form);
        assert!(next(&mut outbox).is_none());
        outbox.push(r#"["answer",1]"#);
        outbox.push_receive(7, &"abc".into(), 4, Held::one(&held));
        outbox.push_receive(7, &"d".into(), 4, Held::one(&held));
        outbox.push_receive(7, &"e".into(), 4, Held::one(&held));
        outbox.push_receive(8, &"f".into(), 4, Held::one(&held));
        outbox.push(r#"["answer",2]"#);
        let (header, data) = shown(&mut outbox, form).expect("a frame");
        let messages = match form {
            Encoding::Binary => {
                assert_eq!(data, "abcdef");
                r#"["tcp.onReceive",7,4],["tcp.onReceive",7,1],["tcp.onReceive",8,1]"#
            }
            Encoding::Text => {
                r#"["tcp.onReceive",7,"YWJjZA=="],["tcp.onReceive",7,"ZQ=="],["tcp.onReceive",8,"Zg=="]"#
            }
        };
        let expected = format!(r#"{{"messages":[["answer",1],{messages},["answer",2]]}}"#);
        assert_eq!(header, expected);
        assert!(next(&mut outbox).is_none());
    }
}

#[test]
fn few_frames_are_unacknowledged_unless_they_are_full() {
    let mut outbox: Outbox<Held> = Outbox::new(Encoding::Binary);
    for id in 1..=FRAMES {
        outbox.push(&format!(r#"["answer",{id}]"#));
        assert!(next(&mut outbox).is_some());
    }
    outbox.push(r#"["answer",8]"#);
    outbox.push(r#"["answer",9]"#);
    assert!(next(&mut outbox).is_none(), "it waits for company");
    outbox.acknowledge(1).expect("it was sent");
    let (header, _) = shown(&mut outbox, Encoding::Binary).expect("there is room for one");
    assert_eq!(header, r#"{"messages":[["answer",8],["answer",9]]}"#);
    let long = format!(r#"["answer",10,"{}"]"#, "x".repeat(FULL));
    outbox.push(&long);
    assert!(next(&mut outbox).is_some(), "a full one waits for nobody");
}

#[test]
fn the_window_of_a_socket_and_of_all_bounds_what_is_let_go() {
    let held = Rc::new(Cell::new(0));
    let mut outbox = Outbox::new(Encoding::Binary);
    let piece = Bytes::from(vec![0; 64 * 1024]);
    let count = SOCKET_WINDOW / piece.len();
    for _ in 0..count {
        outbox.push_receive(1, &piece, 0, Held::one(&held));
    }
    assert_eq!(held.get(), 0, "the window is not full");
    outbox.push_receive(1, &piece, 0, Held::one(&held));
    assert_eq!(held.get(), 1, "it is now");
    outbox.push_receive(2, &piece, 0, Held::one(&held));
    assert_eq!(held.get(), 1, "another socket has its own");
    for socket in 2..2 + 3 * count as u64 {
        outbox.push_receive(socket, &piece, 0, Held::one(&held));
    }
    assert_eq!(held.get(), 3, "and all together have theirs");
    let mut frames = 0;
    while next(&mut outbox).is_some() {
        frames += 1;
    }
    assert!(held.get() == 3 && frames > 8, "{frames} frames");
    for frame in 1..=frames {
        outbox.acknowledge(frame).expect("it was sent");
    }
    assert_eq!(held.get(), 0, "all was handled");
    assert!(outbox.sockets.is_empty() && outbox.starved.is_empty());
    assert_eq!(outbox.used, 0);
}

#[test]
fn nothing_is_let_go_while_all_together_have_no_window() {
    let held = Rc::new(Cell::new(0));
    let mut outbox = Outbox::new(Encoding::Binary);
    let piece = Bytes::from(vec![0; FULL / 2]);
    // Each socket has a window of its own that is nearly empty.
    let (fit, over) = (WINDOW / piece.len(), 8);
    for socket in 0..(fit + over) as u64 {
        outbox.push_receive(socket, &piece, 0, Held::one(&held));
    }
    assert_eq!(held.get(), over);
    while next(&mut outbox).is_some() {}
    let mut looks = [0, 0];
    for frame in 1..=outbox.sent {
        outbox.acknowledge(frame).expect("it was sent");
        let is_full = outbox.used > WINDOW;
        looks[usize::from(is_full)] += 1;
        assert_eq!(held.get(), if is_full { over } else { 0 });
    }
    assert!(looks.iter().all(|looks| *looks > 0), "{looks:?}");
}

#[test]
fn tiny_events_count_too() {
    let held = Rc::new(Cell::new(0));
    let mut outbox = Outbox::new(Encoding::Binary);
    for _ in 0..SOCKET_WINDOW / MIN_EVENT {
        outbox.push_receive(1, &"x".into(), 0, Held::one(&held));
    }
    assert_eq!(held.get(), 0);
    outbox.push_receive(1, &"x".into(), 0, Held::one(&held));
    assert_eq!(held.get(), 1);
}

#[test]
fn what_is_held_is_let_go_by_its_own_frame() {
    let held = Rc::new(Cell::new(0));
    let mut outbox = Outbox::new(Encoding::Binary);
    outbox.push_held(r#"["tcpServer.onAccept",1,1]"#, Held::one(&held));
    assert!(next(&mut outbox).is_some());
    outbox.push_held(r#"["tcpServer.onAccept",1,2]"#, Held::one(&held));
    assert!(next(&mut outbox).is_some());
    outbox.acknowledge(1).expect("it was sent");
    assert_eq!(held.get(), 1);
    let rest = outbox.into_held();
    assert_eq!(held.get(), 1, "the other is still held");
    drop(rest);
    assert_eq!(held.get(), 0);
}

#[test]
fn who_acknowledges_what_was_never_sent_is_found_out() {
    let mut outbox: Outbox<Held> = Outbox::new(Encoding::Binary);
    assert_eq!(outbox.acknowledge(0), Ok(()));
    assert_eq!(outbox.acknowledge(1), Err(Overrun));
    for _ in 0..2 {
        outbox.push("[]");
        next(&mut outbox);
    }
    assert_eq!(outbox.acknowledge(2), Ok(()));
    assert_eq!(
        outbox.acknowledge(1),
        Err(Overrun),
        "it cannot be taken back"
    );
    assert_eq!(outbox.acknowledge(u64::MAX), Err(Overrun));
}

#[test]
fn who_never_acknowledges_is_found_out() {
    let mut outbox: Outbox<Held> = Outbox::new(Encoding::Binary);
    let long = format!(r#""{}""#, "x".repeat(FULL));
    for _ in 0..MAX_IN_FLIGHT {
        outbox.push(&long);
        assert!(next(&mut outbox).is_some());
    }
    outbox.push(&long);
    assert!(outbox.next_frame().is_err());
}

#[test]
fn the_clients_frames_are_acknowledged_with_what_there_is_or_in_time() {
    let mut outbox: Outbox<Held> = Outbox::new(Encoding::Text);
    outbox.handled(false, 100);
    assert!(next(&mut outbox).is_none(), "it says nothing");
    outbox.handled(true, 100);
    assert!(next(&mut outbox).is_none(), "it can wait");
    outbox.push("[1]");
    assert_eq!(
        next(&mut outbox),
        Some(r#"{"ack":1,"messages":[[1]]}"#.into())
    );
    outbox.handled(true, 100);
    outbox.handled(true, 100);
    assert_eq!(
        next(&mut outbox),
        Some(r#"{"ack":3}"#.into()),
        "half of the frames"
    );
    assert!(next(&mut outbox).is_none());
    outbox.handled(true, WINDOW / 8);
    assert_eq!(
        next(&mut outbox),
        Some(r#"{"ack":4}"#.into()),
        "much of the window"
    );
}

#[test]
fn a_client_is_not_read_while_it_leaves_whole_frames_unsent() {
    let mut outbox: Outbox<Held> = Outbox::new(Encoding::Binary);
    let long = format!(r#""{}""#, "x".repeat(FULL));
    assert!(outbox.has_room());
    outbox.push(&long);
    outbox.push(&long);
    assert!(!outbox.has_room());
    assert!(next(&mut outbox).is_some());
    assert!(outbox.has_room());
}
