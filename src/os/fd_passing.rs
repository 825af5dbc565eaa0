//! A byte stream between two processes that passes descriptors with its data (`SCM_RIGHTS`).

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg,
    sendmsg, socketpair, sockopt,
};
use tokio::io::Interest;
use tokio::net::UnixStream;

/// The most descriptors that one read accepts; a sender passes at most one at a time.
const MAX_DESCRIPTORS: usize = 4;

/// Received descriptors are closed on `exec`. Other systems than Linux have no such flag: there
/// the sockets are marked when they are adopted.
#[cfg(target_os = "linux")]
const RECV_FLAGS: RecvFlags = RecvFlags::CMSG_CLOEXEC;
#[cfg(not(target_os = "linux"))]
const RECV_FLAGS: RecvFlags = RecvFlags::empty();

/// One end of a Unix stream socket.
#[derive(Debug)]
pub(crate) struct Channel {
    socket: UnixStream,
    /// Received with data that was read, and not taken yet.
    descriptors: VecDeque<OwnedFd>,
}

/// A connected pair of Unix stream sockets.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::empty();
    #[cfg(target_os = "linux")]
    let flags = flags | SocketFlags::CLOEXEC;
    let (one, other) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    Ok((one, other))
}

/// Takes the Unix stream socket that is this process's standard input, and replaces standard
/// input by `/dev/null`.
pub(crate) fn take_stdin() -> io::Result<OwnedFd> {
    let stdin = io::stdin().as_fd().try_clone_to_owned()?;
    check(&stdin)?;
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    Ok(stdin)
}

/// Fails unless the descriptor is a Unix stream socket.
fn check(descriptor: &OwnedFd) -> io::Result<()> {
    let kind = sockopt::socket_type(descriptor);
    let is_unix = rustix::net::getsockname(descriptor)
        .is_ok_and(|name| name.address_family() == AddressFamily::UNIX);
    if kind == Ok(SocketType::STREAM) && is_unix {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        "the descriptor is not a Unix stream socket",
    ))
}

impl Channel {
    /// Wraps one end of a pair. Called inside a tokio runtime.
    pub(crate) fn new(socket: OwnedFd) -> io::Result<Self> {
        check(&socket)?;
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Channel {
            socket: UnixStream::from_std(socket.into())?,
            descriptors: VecDeque::new(),
        })
    }

    /// Sends all of `data`, the descriptors with its first byte.
    pub(crate) async fn send(
        &self,
        mut data: &[u8],
        mut descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        while !data.is_empty() {
            let sent = || send(&self.socket, data, descriptors);
            let sent = self.socket.async_io(Interest::WRITABLE, sent).await?;
            data = &data[sent..];
            descriptors = &[];
        }
        Ok(())
    }

    /// Fills `buffer`; `false` if the other end has closed before its first byte. The descriptors
    /// that came with it are returned by [`take_descriptors`](Self::take_descriptors).
    pub(crate) async fn fill(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        let mut filled = 0;
        while filled < buffer.len() {
            let (socket, descriptors) = (&self.socket, &mut self.descriptors);
            let rest = &mut buffer[filled..];
            let received = || receive(socket, rest, descriptors);
            match socket.async_io(Interest::READABLE, received).await? {
                0 if filled == 0 => return Ok(false),
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                received => filled += received,
            }
        }
        Ok(true)
    }

    /// The descriptors that came with the data read so far.
    pub(crate) fn take_descriptors(&mut self) -> VecDeque<OwnedFd> {
        std::mem::take(&mut self.descriptors)
    }
}

fn send(socket: &UnixStream, data: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // Without it, writing to a process that has exited is a signal.
    let flags = SendFlags::NOSIGNAL;
    Ok(sendmsg(socket, &[IoSlice::new(data)], &mut control, flags)?)
}

fn receive(
    socket: &UnixStream,
    buffer: &mut [u8],
    descriptors: &mut VecDeque<OwnedFd>,
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(buffer)];
    let received = recvmsg(socket, &mut parts, &mut control, RECV_FLAGS)?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    if received.flags.contains(ReturnFlags::CTRUNC) || descriptors.len() > MAX_DESCRIPTORS {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "more descriptors were passed than announced",
        ));
    }
    Ok(received.bytes)
}
