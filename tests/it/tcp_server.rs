//! `chrome.sockets.tcpServer`: a test for each sentence of its promises.

use chrome_sockets::tcp_server::SocketProperties;
use chrome_sockets::{Error, NetError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Heard, World, within};

#[actix_rt::test]
async fn an_accepted_client_starts_paused_and_receives_when_resumed() {
    let mut world = World::new().await;
    let (_, address) = world.listen().await;
    let mut peer = TcpStream::connect(address).await.expect("connect");
    peer.write_all(b"early").await.expect("write");
    let client = world.accepted().await;
    world.nothing().await;
    client.set_paused(false).await.expect("resume");
    assert_eq!(world.received(client.id(), 5).await, b"early");
    client.send(&b"back"[..]).await.expect("send");
    let mut back = [0; 4];
    within("the echo", peer.read_exact(&mut back))
        .await
        .expect("read");
    assert_eq!(&back, b"back");
}
