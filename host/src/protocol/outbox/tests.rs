//! The order, windows and bounds of messages to a client.

use std::cell::Cell;
use std::rc::Rc;

use crate::limits::Limits;
use crate::protocol::frame::Frame;
use crate::protocol::outbox::*;

/// Counts what an outbox retains.
struct Retained(Rc<Cell<usize>>);

impl Retained {
    fn new(count: &Rc<Cell<usize>>) -> Self {
        count.set(count.get() + 1);
        Retained(count.clone())
    }
}

impl Drop for Retained {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

fn next(outbox: &mut Outbox<Retained>) -> Option<Bytes> {
    let frame = outbox.next_frame().expect("no overrun");
    if let Some(frame) = &frame {
        assert!(
            frame.len() <= Limits::DEFAULT.frame,
            "a frame of {} bytes",
            frame.len()
        );
    }
    frame
}

/// The header of the next frame, as text, and its data.
fn next_header(outbox: &mut Outbox<Retained>, encoding: Encoding) -> Option<(String, Bytes)> {
    let frame = next(outbox)?;
    let length = match encoding {
        Encoding::Binary => {
            u32::from_le_bytes(frame[..4].try_into().expect("4 bytes")) as usize + 4
        }
        Encoding::Text => frame.len(),
    };
    let start = if encoding == Encoding::Binary { 4 } else { 0 };
    let header = String::from_utf8(frame[start..length].to_vec()).expect("UTF-8");
    Frame::read(encoding, frame.clone(), Limits::DEFAULT.frame).expect("a valid frame");
    Some((header, frame.slice(length..)))
}

#[test]
fn messages_collect_into_one_frame_in_order() {
    let retained = Rc::new(Cell::new(0));
    for encoding in [Encoding::Binary, Encoding::Text] {
        let mut outbox = Outbox::new(encoding, Limits::DEFAULT);
        assert!(next(&mut outbox).is_none());
        outbox.push(r#"["answer",1]"#);
        outbox.push_receive(7, &"abc".into(), 4, Retained::new(&retained));
        outbox.push_receive(7, &"d".into(), 4, Retained::new(&retained));
        outbox.push_receive(7, &"e".into(), 4, Retained::new(&retained));
        outbox.push_receive(8, &"f".into(), 4, Retained::new(&retained));
        outbox.push(r#"["answer",2]"#);
        let (header, data) = next_header(&mut outbox, encoding).expect("a frame");
        let messages = match encoding {
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
fn datagrams_are_not_joined_and_have_windows_of_their_own() {
    let retained = Rc::new(Cell::new(0));
    let from = SocketAddr::from(([127, 0, 0, 1], 53));
    for encoding in [Encoding::Binary, Encoding::Text] {
        let mut outbox = Outbox::new(encoding, Limits::DEFAULT);
        outbox.push_receive(7, &"ab".into(), 4, Retained::new(&retained));
        outbox.push_datagram(7, &"cd".into(), from, Retained::new(&retained));
        outbox.push_datagram(7, &"".into(), from, Retained::new(&retained));
        outbox.push_datagram(7, &"e".into(), from, Retained::new(&retained));
        outbox.push_receive(7, &"fg".into(), 4, Retained::new(&retained));
        let (header, data) = next_header(&mut outbox, encoding).expect("a frame");
        let (ab, cd, none, e, fg) = match encoding {
            Encoding::Binary => ("2", "2", "0", "1", "2"),
            Encoding::Text => (r#""YWI=""#, r#""Y2Q=""#, r#""""#, r#""ZQ==""#, r#""Zmc=""#),
        };
        assert_eq!(data.len(), if encoding == Encoding::Binary { 7 } else { 0 });
        let datagram = |data| format!(r#"["udp.onReceive",7,{data},"127.0.0.1",53]"#);
        let messages = [
            format!(r#"["tcp.onReceive",7,{ab}]"#),
            datagram(cd),
            datagram(none),
            datagram(e),
            format!(r#"["tcp.onReceive",7,{fg}]"#),
        ];
        let expected = format!(r#"{{"messages":[{}]}}"#, messages.join(","));
        assert_eq!(header, expected);
    }
    let mut outbox = Outbox::new(Encoding::Binary, Limits::DEFAULT);
    let count = Limits::DEFAULT.socket_window() / MIN_EVENT;
    for _ in 0..count {
        outbox.push_datagram(1, &"".into(), from, Retained::new(&retained));
    }
    assert_eq!(retained.get(), 0, "the window is not full");
    outbox.push_datagram(1, &"".into(), from, Retained::new(&retained));
    assert_eq!(retained.get(), 1, "it is now");
    outbox.push_receive(1, &"x".into(), 4, Retained::new(&retained));
    assert_eq!(retained.get(), 1, "a socket of tcp has another window");
    let mut frames = 0;
    while next(&mut outbox).is_some() {
        frames += 1;
    }
    outbox.acknowledge(frames).expect("sent frames");
    assert!(retained.get() == 0 && outbox.used == 0 && outbox.sockets.is_empty());
}

#[test]
fn only_full_frames_are_sent_while_many_are_unacknowledged() {
    let mut outbox: Outbox<Retained> = Outbox::new(Encoding::Binary, Limits::DEFAULT);
    for id in 1..=Limits::DEFAULT.frames {
        outbox.push(&format!(r#"["answer",{id}]"#));
        assert!(next(&mut outbox).is_some());
    }
    outbox.push(r#"["answer",8]"#);
    outbox.push(r#"["answer",9]"#);
    assert!(next(&mut outbox).is_none(), "it waits for more messages");
    outbox.acknowledge(1).expect("a sent frame");
    let (header, _) = next_header(&mut outbox, Encoding::Binary).expect("a frame");
    assert_eq!(header, r#"{"messages":[["answer",8],["answer",9]]}"#);
    let long = format!(
        r#"["answer",10,"{}"]"#,
        "x".repeat(Limits::DEFAULT.full_frame())
    );
    outbox.push(&long);
    assert!(next(&mut outbox).is_some(), "a full frame is sent at once");
}

#[test]
fn windows_of_a_socket_and_of_the_client_bound_received_data() {
    let retained = Rc::new(Cell::new(0));
    let mut outbox = Outbox::new(Encoding::Binary, Limits::DEFAULT);
    let piece = Bytes::from(vec![0; 64 * 1024]);
    let count = Limits::DEFAULT.socket_window() / piece.len();
    for _ in 0..count {
        outbox.push_receive(1, &piece, 0, Retained::new(&retained));
    }
    assert_eq!(retained.get(), 0, "the window is not full");
    outbox.push_receive(1, &piece, 0, Retained::new(&retained));
    assert_eq!(retained.get(), 1, "it is now");
    outbox.push_receive(2, &piece, 0, Retained::new(&retained));
    assert_eq!(retained.get(), 1, "another socket has its own window");
    for socket in 2..2 + 3 * count as u64 {
        outbox.push_receive(socket, &piece, 0, Retained::new(&retained));
    }
    assert_eq!(retained.get(), 3, "the client has a window too");
    let mut frames = 0;
    while next(&mut outbox).is_some() {
        frames += 1;
    }
    assert!(retained.get() == 3 && frames > 8, "{frames} frames");
    for frame in 1..=frames {
        outbox.acknowledge(frame).expect("a sent frame");
    }
    assert_eq!(retained.get(), 0, "all frames were acknowledged");
    assert!(outbox.sockets.is_empty() && outbox.starved.is_empty());
    assert_eq!(outbox.used, 0);
}

#[test]
fn events_are_retained_while_the_clients_window_is_full() {
    let retained = Rc::new(Cell::new(0));
    let mut outbox = Outbox::new(Encoding::Binary, Limits::DEFAULT);
    let piece = Bytes::from(vec![0; Limits::DEFAULT.full_frame() / 2]);
    // The window of each socket is nearly empty.
    let (fit, over) = (Limits::DEFAULT.window / piece.len(), 8);
    for socket in 0..(fit + over) as u64 {
        outbox.push_receive(socket, &piece, 0, Retained::new(&retained));
    }
    assert_eq!(retained.get(), over);
    while next(&mut outbox).is_some() {}
    let mut counts = [0, 0];
    for frame in 1..=outbox.sent {
        outbox.acknowledge(frame).expect("a sent frame");
        let is_full = outbox.used > Limits::DEFAULT.window;
        counts[usize::from(is_full)] += 1;
        assert_eq!(retained.get(), if is_full { over } else { 0 });
    }
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
}

#[test]
fn small_events_count_for_a_minimum() {
    let retained = Rc::new(Cell::new(0));
    let mut outbox = Outbox::new(Encoding::Binary, Limits::DEFAULT);
    for _ in 0..Limits::DEFAULT.socket_window() / MIN_EVENT {
        outbox.push_receive(1, &"x".into(), 0, Retained::new(&retained));
    }
    assert_eq!(retained.get(), 0);
    outbox.push_receive(1, &"x".into(), 0, Retained::new(&retained));
    assert_eq!(retained.get(), 1);
}

#[test]
fn an_event_is_retained_until_its_own_frame_is_acknowledged() {
    let retained = Rc::new(Cell::new(0));
    let mut outbox = Outbox::new(Encoding::Binary, Limits::DEFAULT);
    outbox.push_retaining(r#"["tcpServer.onAccept",1,1]"#, Retained::new(&retained));
    assert!(next(&mut outbox).is_some());
    outbox.push_retaining(r#"["tcpServer.onAccept",1,2]"#, Retained::new(&retained));
    assert!(next(&mut outbox).is_some());
    outbox.acknowledge(1).expect("a sent frame");
    assert_eq!(retained.get(), 1);
    let rest = outbox.into_retained();
    assert_eq!(retained.get(), 1, "the other is still retained");
    drop(rest);
    assert_eq!(retained.get(), 0);
}

#[test]
fn acknowledging_an_unsent_frame_is_an_overrun() {
    let mut outbox: Outbox<Retained> = Outbox::new(Encoding::Binary, Limits::DEFAULT);
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
        "acknowledgements only grow"
    );
    assert_eq!(outbox.acknowledge(u64::MAX), Err(Overrun));
}

#[test]
fn never_acknowledging_is_an_overrun() {
    let mut outbox: Outbox<Retained> = Outbox::new(Encoding::Binary, Limits::DEFAULT);
    let long = format!(r#""{}""#, "x".repeat(Limits::DEFAULT.full_frame()));
    for _ in 0..MAX_IN_FLIGHT {
        outbox.push(&long);
        assert!(next(&mut outbox).is_some());
    }
    outbox.push(&long);
    assert!(outbox.next_frame().is_err());
}

#[test]
fn the_clients_frames_are_acknowledged_with_messages_or_at_a_limit() {
    let mut outbox: Outbox<Retained> = Outbox::new(Encoding::Text, Limits::DEFAULT);
    outbox.count_handled(false, 100);
    assert!(next(&mut outbox).is_none(), "it has no messages");
    outbox.count_handled(true, 100);
    assert!(next(&mut outbox).is_none(), "it can wait");
    outbox.push("[1]");
    assert_eq!(
        next(&mut outbox),
        Some(r#"{"ack":1,"messages":[[1]]}"#.into())
    );
    outbox.count_handled(true, 100);
    outbox.count_handled(true, 100);
    assert_eq!(
        next(&mut outbox),
        Some(r#"{"ack":3}"#.into()),
        "half of the frames"
    );
    assert!(next(&mut outbox).is_none());
    outbox.count_handled(true, Limits::DEFAULT.window / 8);
    assert_eq!(
        next(&mut outbox),
        Some(r#"{"ack":4}"#.into()),
        "much of the window"
    );
}

#[test]
fn a_client_is_not_read_while_full_frames_are_unsent() {
    let mut outbox: Outbox<Retained> = Outbox::new(Encoding::Binary, Limits::DEFAULT);
    let long = format!(r#""{}""#, "x".repeat(Limits::DEFAULT.full_frame()));
    assert!(outbox.has_room());
    outbox.push(&long);
    outbox.push(&long);
    assert!(!outbox.has_room());
    assert!(next(&mut outbox).is_some());
    assert!(outbox.has_room());
}
