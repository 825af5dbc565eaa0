//! The script is kept: what the scripted network answers, and whom it wakes.

mod connecting;
mod listening;
mod peers;

use std::fmt::Debug;
use std::io::IoSlice;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake};
use std::time::Duration;

use crate::testing::scripted::*;

/// Counts how often it is woken.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Bell {
    fn new() -> Arc<Self> {
        Arc::default()
    }

    fn rings(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    fn with<R>(self: &Arc<Self>, poll: impl FnOnce(&mut Context<'_>) -> R) -> R {
        poll(&mut Context::from_waker(&Waker::from(self.clone())))
    }
}

/// The answer of a poll that must not be pending.
#[track_caller]
fn now<T>(poll: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> T {
    match Bell::new().with(poll) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("pending"),
    }
}

#[track_caller]
fn errno<T: Debug>(result: io::Result<T>) -> i32 {
    result
        .expect_err("it fails")
        .raw_os_error()
        .expect("an error of the OS")
}

fn read(stream: &mut dyn Stream, cx: &mut Context<'_>) -> Poll<io::Result<Vec<u8>>> {
    let mut buffer = [0; 64];
    let size = stream.poll_read(cx, &mut buffer);
    size.map_ok(|size| buffer[..size].to_vec())
}

fn write(stream: &mut dyn Stream, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
    stream.poll_write(cx, &[IoSlice::new(data)])
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn listener(net: &ScriptedNetwork) -> (Box<dyn Listener>, SocketAddr) {
    let listener = net.listen(address("127.0.0.1:0"), 8).expect("it listens");
    let address = listener.local_addr().expect("it has an address");
    (listener, address)
}

fn accept(listener: &mut dyn Listener) -> io::Result<(Box<dyn Stream>, SocketAddr)> {
    now(|cx| listener.poll_accept(cx))
}

#[track_caller]
fn accept_errno(listener: &mut dyn Listener) -> i32 {
    errno(accept(listener).map(|(_, from)| from))
}

#[track_caller]
fn connect_errno(net: &ScriptedNetwork, to: SocketAddr) -> i32 {
    errno(now(|cx| net.connect(to).poll_unpin(cx)).map(drop))
}

/// A connection of the app to a server that the test plays.
fn connection() -> (Box<dyn Stream>, Peer) {
    let net = ScriptedNetwork::new();
    let to = address("192.0.2.1:80");
    let server = net.server(to);
    let stream = now(|cx| net.connect(to).poll_unpin(cx)).expect("it connects");
    (stream, server)
}
