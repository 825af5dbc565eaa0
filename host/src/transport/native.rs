//! Chrome's native messaging: frames on the standard streams, of a process that
//! the browser starts for one extension.

use std::fs::File;
use std::future::Future;
use std::io::{self, Read, Write};
use std::thread;

use actix::Addr;
use bytes::Bytes;
use serde_json::json;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::timeout;

use crate::access::policy::{PeerIdentity, Policy};
use crate::limits::{FRAME, PATIENCE, SILENCE};
use crate::protocol::close_reason::{CloseReason, Code};
use crate::protocol::frame;
use crate::protocol::frame::{Encoding, Frame, FrameError, Hello};
use crate::sessions::directory::{ClientSession, SessionDirectory};
use crate::sessions::turn::Turn;
use crate::transport::gateway::Gateway;
use chrome_sockets::Registry;

/// Frames that were read and not looked at, and that were not written.
const WAITING: usize = 1;

/// Serves one extension on these streams, the process's own standard ones as a
/// rule, until the browser closes `input` or `end` is done. To be called where
/// actix runs.
///
/// `extension` is what the browser has started the process for; it is the app.
/// Nothing else may write to `output`: one stray byte ends the extension's port. A thread
/// reads `input`, and is left behind in it if the host ends first.
///
/// # Errors
/// A thread could not be started.
pub async fn native_messaging(
    input: impl Read + Send + 'static,
    output: impl Write + Send + 'static,
    extension: &str,
    registry: &Addr<Registry>,
    policy: Policy,
    end: impl Future<Output = ()>,
) -> io::Result<()> {
    let elsewhere = policy.clone();
    let directory = SessionDirectory::new(registry.clone(), policy, 1);
    let (frames_in, mut frames) = channel(WAITING);
    let (out, frames_out) = channel(WAITING);
    thread::Builder::new().spawn(move || read(input, &frames_in))?;
    let writer = thread::Builder::new().spawn(move || write(output, frames_out))?;
    let visitor = PeerIdentity {
        app: Some(extension.into()),
        ..PeerIdentity::default()
    };
    let stop = async {
        end.await;
        directory.stop();
        std::future::pending().await
    };
    let door = |token| {
        let policy = Policy {
            token: Some(token),
            ..elsewhere.clone()
        };
        Gateway::private(registry, policy, &extension.into())
    };
    let last = tokio::select! {
        last = serve(&mut frames, &out, &directory, &visitor, door) => last,
        never = stop => never,
    };
    if let Some(end) = last {
        log::warn!(
            "the extension was ended ({}): {}",
            end.code.name(),
            end.message
        );
        let words = frame::write(Encoding::Text, &[&end.key()], &[]);
        // It may have gone.
        let _ = timeout(PATIENCE, out.send(words)).await;
    }
    drop(out);
    // What was written leaves before the process ends, if it is taken.
    let written = tokio::task::spawn_blocking(move || writer.join());
    let _ = timeout(PATIENCE, written).await;
    Ok(())
}

/// The extension that a browser has started this process for, by the arguments
/// that it gave: Chrome's first is `chrome-extension://ID/`, Firefox's second
/// is the id.
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

/// A frame as it was read.
type Incoming = Result<Bytes, FrameError>;

/// Serves until one side ends. `None`: the extension has gone. `door` opens the
/// way by WebSocket for who shows this token.
async fn serve(
    frames: &mut Receiver<Incoming>,
    out: &Sender<Bytes>,
    directory: &SessionDirectory,
    visitor: &PeerIdentity,
    door: impl Fn(String) -> io::Result<Gateway>,
) -> Option<CloseReason> {
    let mut first = match timeout(PATIENCE, frames.recv()).await {
        Ok(None) => return None,
        Ok(Some(Err(error))) => return Some(error.into()),
        Ok(Some(Ok(first))) => first,
        Err(_) => return Some(CloseReason::new(Code::BadHello, "no hello has come")),
    };
    if asks_for_elsewhere(&first) {
        let opened = token().and_then(|token| Ok((door(token.clone())?, token)));
        match opened {
            Ok((gateway, token)) => {
                let url = format!("ws://{}/", gateway.local_addr());
                let elsewhere = json!({ "url": url, "token": token });
                let key = format!(r#""elsewhere":{elsewhere}"#);
                out.send(frame::write(Encoding::Text, &[&key], &[]))
                    .await
                    .ok()?;
                // Until it has gone, or says hello here after all.
                let mut next = None;
                let until = async {
                    next = tokio::select! {
                        frame = frames.recv() => frame.map(|frame| frame.map_err(CloseReason::from)),
                        end = directory.stopped() => Some(Err(end)),
                    };
                };
                gateway.run(until).await;
                match next? {
                    Ok(frame) => first = frame,
                    Err(end) => return Some(end),
                }
            }
            Err(error) => log::warn!("there is no way by WebSocket: {error}"),
        }
    }
    let guest = match directory
        .enter(visitor, Encoding::Text, first, Encoding::Text)
        .await
    {
        Ok(guest) => guest,
        Err(end) => return Some(end),
    };
    let end = tokio::select! {
        end = talk(frames, out, &guest) => end,
        end = directory.stopped() => Some(end),
    };
    guest.leave().await;
    end
}

/// Whether the extension would rather come by WebSocket, which is many times
/// as fast.
fn asks_for_elsewhere(first: &Bytes) -> bool {
    let read = Frame::read(Encoding::Text, first.clone());
    // What is wrong with it is told when it is taken.
    let hello = read.ok().and_then(|frame| frame.hello);
    hello.is_some_and(|hello| {
        let hello = frame::object::<Hello<'_>>(&hello);
        hello.is_ok_and(|hello| hello.elsewhere)
    })
}

/// What nobody can guess.
fn token() -> io::Result<String> {
    let mut random = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

async fn talk(
    frames: &mut Receiver<Incoming>,
    out: &Sender<Bytes>,
    guest: &ClientSession,
) -> Option<CloseReason> {
    let session = &guest.session;
    let mut next = Some(guest.welcome.clone());
    let mut turn = Turn::new();
    loop {
        while let Some(frame) = next.take() {
            match timeout(SILENCE, out.send(frame)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return None,
                Err(_) => {
                    let what = "nothing has been taken for too long";
                    return Some(CloseReason::new(Code::TooSlow, what));
                }
            }
            match session.next_frame() {
                Ok(frame) => next = frame,
                Err(end) => return Some(end),
            }
        }
        if turn.is_over() {
            // The app's sockets have their turn too.
            tokio::task::yield_now().await;
            turn = Turn::new();
        }
        let done = tokio::select! {
            biased;
            frame = frames.recv(), if session.has_room() => match frame {
                Some(Ok(bytes)) => session.take(Encoding::Text, bytes, &mut turn),
                Some(Err(error)) => Err(error.into()),
                None => return None,
            },
            () = async {}, if session.has_work() => session.go_on(&mut turn),
            () = session.news() => {
                // What comes together is told together.
                tokio::task::yield_now().await;
                Ok(())
            }
        };
        if let Err(end) = done {
            return Some(end);
        }
        match session.next_frame() {
            Ok(frame) => next = frame,
            Err(end) => return Some(end),
        }
    }
}

/// Reads frames until the browser closes the stream, or sends what is none.
fn read(mut input: impl Read, frames: &Sender<Incoming>) {
    loop {
        let mut length = [0; size_of::<u32>()];
        if input.read_exact(&mut length).is_err() {
            return;
        }
        let length = u32::from_ne_bytes(length) as usize;
        if length > FRAME {
            let _ = frames.blocking_send(Err(FrameError::TooLarge(length)));
            return;
        }
        let mut frame = vec![0; length];
        if input.read_exact(&mut frame).is_err() || frames.blocking_send(Ok(frame.into())).is_err()
        {
            return;
        }
    }
}

/// Writes frames until there are no more, or nobody reads them.
fn write(mut output: impl Write, mut frames: Receiver<Bytes>) {
    while let Some(frame) = frames.blocking_recv() {
        // A frame is shorter than this can say.
        let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        let written = output
            .write_all(&length.to_ne_bytes())
            .and_then(|()| output.write_all(&frame))
            .and_then(|()| output.flush());
        if let Err(error) = written {
            log::debug!("the browser reads no more: {error}");
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::calling_extension;

    #[test]
    fn each_browser_says_for_whom_it_starts_the_host() {
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
