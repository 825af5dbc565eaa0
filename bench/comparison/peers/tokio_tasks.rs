//! Plain tokio: one thread, with a task and a buffer per connection.
#![expect(
    clippy::disallowed_types,
    reason = "this server is what the library is compared with"
)]

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;

use super::{MibCounter, PAYLOAD, RECEIVED, listen, not_compared};
use crate::Result;
use crate::plan::Mode;

/// Size of the buffer of each connection.
const BUFFER: usize = 16 * 1024;
/// Messages that a broadcast channel keeps.
const CHANNEL: usize = 64;

pub fn run(mode: Mode) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let (all, _) = broadcast::channel(CHANNEL);
        let mut tasks = tokio::task::JoinSet::new();
        for listener in listen(mode.listeners())? {
            let listener = TcpListener::from_std(listener)?;
            tasks.spawn(accept(listener, mode, all.clone()));
        }
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
        Ok(())
    })
}

async fn accept(listener: TcpListener, mode: Mode, all: broadcast::Sender<Bytes>) -> Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        if mode == Mode::FanOut {
            // Subscribed before the next accept, so it receives everything from now on.
            let receiver = all.subscribe();
            tokio::spawn(logged(fan_out(stream, all.clone(), receiver)));
        } else {
            tokio::spawn(logged(serve(stream, mode)));
        }
    }
}

async fn logged(connection: impl Future<Output = Result<()>>) {
    if let Err(error) = connection.await {
        log::warn!("tokio: {error}");
    }
}

/// A connection, except for a fan-out.
pub async fn serve(mut stream: TcpStream, mode: Mode) -> Result<()> {
    if mode == Mode::Accept {
        return Ok(());
    }
    stream.set_nodelay(true)?;
    if mode == Mode::Subscribers {
        return subscribers(stream).await;
    }
    let mut buffer = vec![0; BUFFER];
    let mut received = MibCounter::default();
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        match mode {
            Mode::Echo { .. } | Mode::Stream => stream.write_all(&buffer[..count]).await?,
            Mode::Receive => {
                for _ in 0..received.add(count) {
                    stream.write_all(RECEIVED).await?;
                }
            }
            Mode::Send => {
                for _ in 0..count {
                    stream.write_all(&PAYLOAD).await?;
                }
            }
            Mode::Accept
            | Mode::Batches
            | Mode::Pause
            | Mode::Subscribers
            | Mode::FanOut
            | Mode::Udp
            | Mode::UdpBatches => {
                return Err(not_compared(mode));
            }
        }
    }
}

/// A task for each subscriber.
async fn subscribers(stream: TcpStream) -> Result<()> {
    let (mut reads, mut writes) = stream.into_split();
    let (sender, _) = broadcast::channel::<Bytes>(CHANNEL);
    for _ in 1..Mode::SUBSCRIBERS {
        let mut receiver = sender.subscribe();
        tokio::spawn(async move { while receiver.recv().await.is_ok() {} });
    }
    let mut receiver = sender.subscribe();
    tokio::spawn(logged(async move {
        while let Ok(data) = receiver.recv().await {
            writes.write_all(&data).await?;
        }
        Ok(())
    }));
    let mut buffer = vec![0; BUFFER];
    loop {
        let count = reads.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        sender.send(Bytes::copy_from_slice(&buffer[..count]))?;
    }
}

async fn fan_out(
    mut stream: TcpStream,
    all: broadcast::Sender<Bytes>,
    mut receiver: broadcast::Receiver<Bytes>,
) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; BUFFER];
    loop {
        tokio::select! {
            count = stream.read(&mut buffer) => {
                let count = count?;
                if count == 0 {
                    return Ok(());
                }
                all.send(Bytes::copy_from_slice(&buffer[..count]))?;
            }
            data = receiver.recv() => stream.write_all(&data?).await?,
        }
    }
}
