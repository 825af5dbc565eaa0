//! Chrome's native messaging: frames on the standard streams of a process that the browser
//! starts for one extension.

use std::future::Future;
use std::io::{self, Read, Write};
use std::thread;

use actix::Addr;
use bytes::Bytes;
use chrome_sockets::Registry;
use serde_json::json;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::timeout;

use crate::access::policy::{PeerIdentity, Policy};
use crate::access::secrets::random_hex;
use crate::limits::Limits;
use crate::protocol::frame;
use crate::protocol::frame::{Encoding, Frame, FrameError, Hello};
use crate::sessions::directory::SessionDirectory;
use crate::settings::Settings;
use crate::transport::connection::{Closed, Connection, receive_hello, run};
use crate::transport::gateway::Gateway;

/// The frames that may wait between the event loop and each thread.
const QUEUED_FRAMES: usize = 1;

/// Serves one extension on these streams, usually the standard ones, until the browser closes
/// `input` or `end` completes. Must be called within an actix system.
///
/// `extension` is the extension that the browser started the process for; it is the app.
/// Nothing else may write to `output`: one stray byte makes the browser close the port. A thread
/// reads `input`, and keeps waiting for it if the host ends first.
///
/// # Errors
/// The OS cannot start a thread.
pub async fn native_messaging(
    input: impl Read + Send + 'static,
    output: impl Write + Send + 'static,
    extension: &str,
    registry: &Addr<Registry>,
    policy: Policy,
    end: impl Future<Output = ()>,
) -> io::Result<()> {
    let limits = Limits::default();
    let settings = Settings {
        policy: policy.clone(),
        limits: Limits {
            clients: 1,
            ..limits
        },
        ..Settings::default()
    };
    let directory = SessionDirectory::new(registry.clone(), settings);
    let (received, input_frames) = channel(QUEUED_FRAMES);
    let (output_frames, unsent) = channel(QUEUED_FRAMES);
    thread::Builder::new().spawn(move || read(input, limits.frame, &received))?;
    let writer = thread::Builder::new().spawn(move || write(output, unsent))?;
    let mut connection = NativeConnection {
        input: input_frames,
        output: output_frames,
    };
    let peer = PeerIdentity {
        app: Some(extension.into()),
        ..PeerIdentity::default()
    };
    let stop = async {
        end.await;
        directory.stop();
        std::future::pending().await
    };
    let open_gateway = || {
        let token = random_hex::<32>()?;
        let policy = Policy {
            token: Some(token.clone()),
            ..policy.clone()
        };
        let gateway = Gateway::listen_for_extension(registry, policy, &extension.into())?;
        Ok((gateway, token))
    };
    let closed = tokio::select! {
        closed = serve(&mut connection, &directory, &peer, open_gateway) => closed,
        never = stop => never,
    };
    if let Some(reason) = closed {
        let (code, message) = (reason.code.name(), &reason.message);
        log::warn!("extension {extension}: connection closed ({code}): {message}");
        let frame = frame::write(Encoding::Text, &[&reason.field()], &[]);
        // The extension may have disconnected.
        let _ = timeout(limits.handshake_timeout, connection.output.send(frame)).await;
    }
    // The writer ends with the channel. Wait for it, so that the last frame is written before
    // the process ends, unless the browser does not read it.
    drop(connection);
    let written = tokio::task::spawn_blocking(move || writer.join());
    let _ = timeout(limits.handshake_timeout, written).await;
    Ok(())
}

/// The extension that a browser started this process for, from the arguments of the process:
/// Chrome's first one is `chrome-extension://ID/`, Firefox's second one is the id.
pub fn calling_extension(arguments: &[String]) -> Option<&str> {
    let chrome = arguments.iter().find_map(|argument| {
        let id = argument.strip_prefix("chrome-extension://")?;
        Some(id.trim_end_matches('/'))
    });
    let firefox = || match arguments {
        [manifest, id, ..] if manifest.ends_with(".json") => Some(id.as_str()),
        _ => None,
    };
    chrome.or_else(firefox).filter(|id| !id.is_empty())
}

struct NativeConnection {
    input: Receiver<Result<Bytes, FrameError>>,
    output: Sender<Bytes>,
}

impl Connection for NativeConnection {
    async fn receive(&mut self) -> Result<(Encoding, Bytes), Closed> {
        match self.input.recv().await {
            Some(Ok(bytes)) => Ok((Encoding::Text, bytes)),
            Some(Err(error)) => Err(Some(error.into())),
            None => Err(None),
        }
    }

    async fn send(&mut self, frame: Bytes) -> Result<(), Closed> {
        self.output.send(frame).await.map_err(|_| None)
    }

    /// The browser closes the stream when the extension disconnects, so pings are not needed.
    async fn ping(&mut self) -> Result<(), Closed> {
        Ok(())
    }
}

/// Serves until one side ends. `open_gateway` opens the WebSocket gateway of the extension, and
/// returns its token.
async fn serve(
    connection: &mut NativeConnection,
    directory: &SessionDirectory,
    peer: &PeerIdentity,
    open_gateway: impl Fn() -> io::Result<(Gateway, String)>,
) -> Closed {
    let limits = directory.settings().limits;
    let mut first = match receive_hello(connection, &limits).await {
        Ok((_, first)) => first,
        Err(closed) => return closed,
    };
    if requests_web_socket(&first, &limits) {
        match open_gateway() {
            Ok((gateway, token)) => {
                let url = format!("ws://{}/", gateway.local_addr());
                let web_socket = json!({ "url": url, "token": token });
                let field = format!(r#""webSocket":{web_socket}"#);
                let frame = frame::write(Encoding::Text, &[&field], &[]);
                connection.send(frame).await.ok()?;
                // The gateway serves until the port closes, or until the extension sends a
                // second hello here because it cannot use the WebSocket.
                let mut next = None;
                let end = async {
                    next = Some(tokio::select! {
                        frame = connection.receive() => frame,
                        reason = directory.stopped() => Err(Some(reason)),
                    });
                };
                gateway.run(end).await;
                match next? {
                    Ok((_, frame)) => first = frame,
                    Err(closed) => return closed,
                }
            }
            // The extension can stay with native messaging.
            Err(error) => log::warn!("cannot open a WebSocket for the extension: {error}"),
        }
    }
    let session = directory.open_session(peer, Encoding::Text, first, Encoding::Text);
    let session = match session.await {
        Ok(session) => session,
        Err(reason) => return Some(reason),
    };
    let welcome = session.welcome.clone();
    let closed = run(connection, directory, &limits, welcome, &session.session).await;
    session.close().await;
    closed
}

/// Whether the hello asks for a WebSocket, which is several times as fast.
fn requests_web_socket(first: &Bytes, limits: &Limits) -> bool {
    // `open_session` reports the errors of this frame.
    let frame = Frame::read(Encoding::Text, first.clone(), limits.frame);
    let hello = frame.ok().and_then(|frame| frame.hello);
    hello.is_some_and(|hello| {
        let hello = frame::parse_object::<Hello<'_>>(&hello);
        hello.is_ok_and(|hello| hello.web_socket)
    })
}

/// Reads frames of at most `max` bytes until the browser closes the stream or sends an invalid frame.
fn read(mut input: impl Read, max: usize, frames: &Sender<Result<Bytes, FrameError>>) {
    loop {
        let mut length = [0; size_of::<u32>()];
        if input.read_exact(&mut length).is_err() {
            return;
        }
        let length = u32::from_ne_bytes(length) as usize;
        if length > max {
            let _ = frames.blocking_send(Err(FrameError::TooLarge { length, max }));
            return;
        }
        let mut frame = vec![0; length];
        if input.read_exact(&mut frame).is_err() || frames.blocking_send(Ok(frame.into())).is_err()
        {
            return;
        }
    }
}

/// Writes frames until the channel or the stream closes.
fn write(mut output: impl Write, mut frames: Receiver<Bytes>) {
    while let Some(frame) = frames.blocking_recv() {
        // A frame is far below 4 GiB, so its length fits.
        let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        let written = output
            .write_all(&length.to_ne_bytes())
            .and_then(|()| output.write_all(&frame))
            .and_then(|()| output.flush());
        if let Err(error) = written {
            log::debug!("the browser closed its end: {error}");
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::calling_extension;

    #[test]
    fn the_calling_extension_is_read_from_the_arguments() {
        let id = "knldjmfmopnpolahpmmgbagdohdnhkik";
        for (arguments, extension) in [
            (vec![format!("chrome-extension://{id}/")], Some(id)),
            (
                vec![
                    format!("chrome-extension://{id}/"),
                    "--parent-window=7".into(),
                ],
                Some(id),
            ),
            (
                vec![
                    "/a/chrome_sockets.json".into(),
                    "sockets@example.org".into(),
                ],
                Some("sockets@example.org"),
            ),
            (vec![], None),
            (vec!["chrome-extension:///".into()], None),
            (vec!["sockets@example.org".into()], None),
        ] {
            assert_eq!(calling_extension(&arguments), extension, "{arguments:?}");
        }
    }
}
