//! Streams in other threads than their sockets' arbiters.

use chrome_sockets::Registry;
use tokio::task::JoinHandle;

use super::*;

/// Echoes until the peer's end.
async fn echo(stream: ClientStream) -> io::Result<u64> {
    let (mut reads, mut writes) = tokio::io::split(stream);
    let copied = tokio::io::copy(&mut reads, &mut writes).await?;
    writes.shutdown().await?;
    Ok(copied)
}

/// Writes everything and reads it back.
async fn expect_echo(mut peer: TcpStream, length: usize) {
    let (mut reads, mut writes) = peer.split();
    let sending = async {
        writes.write_all(&pattern(length)).await.expect("write");
        writes.shutdown().await.expect("its side ends");
    };
    let mut echo = Vec::new();
    let both = futures::future::join(sending, reads.read_to_end(&mut echo));
    within("the echo", both).await.1.expect("read");
    assert!(echo == pattern(length), "another echo came");
}

/// Echoes in a thread of its own.
fn echo_elsewhere(client: ClientSocket) -> JoinHandle<io::Result<u64>> {
    tokio::task::spawn_blocking(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.expect("a runtime").block_on(async {
            let stream = client.into_stream().await.expect("it is open");
            echo(stream).await
        })
    })
}

async fn expect_copied(echo: JoinHandle<io::Result<u64>>, length: usize) {
    let copied = within("the echo's end", echo).await.expect("no panic");
    assert_eq!(copied.expect("an echo"), length as u64);
}

#[actix_rt::test]
async fn a_stream_works_in_another_thread() {
    let mut test = TestApp::new().await;
    let (client, peer) = pair(&mut test).await;
    let echo = echo_elsewhere(client);
    expect_echo(peer, LARGE).await;
    expect_copied(echo, LARGE).await;
}

#[actix_rt::test]
async fn streams_work_in_several_threads_with_several_arbiters() {
    let mut test = TestApp::at(Registry::new().arbiters(3).start()).await;
    let (_, at) = test.listen().await;
    let (mut echoes, mut peers) = (Vec::new(), Vec::new());
    for _ in 0..12 {
        let peer = crate::tcp_server::dial(at).await;
        echoes.push(echo_elsewhere(test.accepted().await));
        peers.push(actix_rt::spawn(expect_echo(peer, 1_000_000)));
    }
    for (echo, peer) in echoes.into_iter().zip(peers) {
        within("the peer's end", peer).await.expect("no panic");
        expect_copied(echo, 1_000_000).await;
    }
    test.expect_no_event().await;
}
