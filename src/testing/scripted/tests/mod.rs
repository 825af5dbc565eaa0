//! The scripted network: its results, and the tasks that it wakes.

mod connecting;
mod listening;
mod peers;

use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddr};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;

use crate::os::{Listener, Network, Stream};
use crate::sync::tests::WakeCounter;
use crate::testing::scripted::*;

/// The result of a poll that must not be pending.
#[track_caller]
fn ready<T>(poll: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> T {
    match WakeCounter::new().with(poll) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("pending"),
    }
}

#[track_caller]
fn errno<T: Debug>(result: io::Result<T>) -> i32 {
    let error = result.expect_err("an error");
    error.raw_os_error().expect("an error of the OS")
}

fn read(stream: &mut dyn Stream, cx: &mut Context<'_>) -> Poll<io::Result<Vec<u8>>> {
    let mut buffer = [0; 64];
    let size = stream.poll_read(cx, &mut buffer);
    size.map_ok(|size| buffer[..size].to_vec())
}

fn write(stream: &mut dyn Stream, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
    stream.poll_write(cx, &[IoSlice::new(data)])
}

#[track_caller]
fn read_now(stream: &mut dyn Stream) -> Vec<u8> {
    ready(|cx| read(stream, cx)).expect("data, or the end")
}

#[track_caller]
fn read_errno(stream: &mut dyn Stream) -> i32 {
    errno(ready(|cx| read(stream, cx)))
}

#[track_caller]
fn write_now(stream: &mut dyn Stream, data: &[u8]) -> usize {
    ready(|cx| write(stream, cx, data)).expect("it is written")
}

#[track_caller]
fn write_errno(stream: &mut dyn Stream, data: &[u8]) -> i32 {
    errno(ready(|cx| write(stream, cx, data)))
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn listener(net: &ScriptedNetwork) -> (Box<dyn Listener>, SocketAddr) {
    let listener = net.listen(address("127.0.0.1:0"), 8).expect("a listener");
    let address = listener.local_addr().expect("a local address");
    let address = address.socket_addr().expect("an IP address");
    (listener, address)
}

#[track_caller]
fn push_error(net: &ScriptedNetwork, at: SocketAddr, errno: i32) {
    net.accept_error(at, errno).expect("a listener");
}

#[track_caller]
fn accept(listener: &mut dyn Listener) -> (Box<dyn Stream>, SocketAddr) {
    let (stream, peer) = ready(|cx| listener.poll_accept(cx)).expect("a waiting client");
    (stream, peer.socket_addr().expect("an IP address"))
}

#[track_caller]
fn accept_errno(listener: &mut dyn Listener) -> i32 {
    errno(ready(|cx| listener.poll_accept(cx)).map(|(_, from)| from))
}

#[track_caller]
fn connect(net: &ScriptedNetwork, to: SocketAddr) -> Box<dyn Stream> {
    ready(|cx| net.connect(to).poll_unpin(cx)).expect("a connection")
}

#[track_caller]
fn connect_errno(net: &ScriptedNetwork, to: SocketAddr) -> i32 {
    errno(ready(|cx| net.connect(to).poll_unpin(cx)).map(drop))
}

/// A connection of the app to a server that the test plays.
fn connection() -> (Box<dyn Stream>, Peer) {
    let net = ScriptedNetwork::new();
    let to = address("192.0.2.1:80");
    let server = net.server(to);
    let stream = connect(&net, to);
    (stream, server)
}
