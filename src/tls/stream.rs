//! An encrypted connection as a [`Stream`].

use std::cell::OnceCell;
use std::io::{self, IoSlice, Read};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsStream;
use tokio_rustls::rustls::{CommonState, Reader};

use super::codes::{handshake_code, with_code};
use crate::address::{Address, PeerCredentials};
use crate::net_error::NetError;
use crate::os::{
    PollerHandle, Readiness, Stream, TlsInfo, Token, retry_if_spurious, try_close_gracefully,
    without_budget,
};

/// How many reads of the transport one poll makes. They need not contain data, so without a bound
/// a peer could keep one poll busy forever.
const READS_PER_POLL: usize = 16;

/// An encrypted stream over a plain one.
struct EncryptedStream {
    tls: TlsStream<Transport>,
    /// How many bytes of the current `poll_write` are encrypted but not reported as written yet:
    /// they are reported when the transport has accepted all of them.
    encrypted: usize,
    /// A failure, which is reported after the data that was decrypted before it.
    failure: Option<io::Error>,
    /// `close_notify` was sent, or the connection is to be reset: the drop sends nothing.
    write_closed: bool,
    /// Built for the first caller that asks, because few do, and a client would keep a copy of its
    /// server's certificates for it.
    info: OnceCell<Arc<TlsInfo>>,
}

/// The stream after a handshake with `peer`, or the error of the handshake.
pub(super) fn encrypted(
    handshake: io::Result<impl Into<TlsStream<Transport>>>,
    peer: &str,
) -> Result<Box<dyn Stream>, NetError> {
    match handshake {
        Ok(tls) => Ok(Box::new(EncryptedStream {
            tls: tls.into(),
            encrypted: 0,
            failure: None,
            write_closed: false,
            info: OnceCell::new(),
        })),
        Err(error) => {
            log::debug!("no TLS with {peer}: {error}");
            Err(handshake_code(&error))
        }
    }
}

impl EncryptedStream {
    /// Reads what is decrypted already.
    fn decrypted(&mut self) -> Reader<'_> {
        match &mut self.tls {
            TlsStream::Client(client) => client.get_mut().1.reader(),
            TlsStream::Server(server) => server.get_mut().1.reader(),
        }
    }

    /// Sends what TLS itself has to answer to the input, such as a refused renegotiation or new
    /// keys. Otherwise that would wait for the app's next data. A failure is reported by reads.
    fn flush_answers(&mut self, cx: &mut Context<'_>) {
        if self.tls.get_ref().1.wants_write() {
            let _ = Pin::new(&mut self.tls).poll_flush(cx);
        }
    }

    /// `None` before the end of the handshake.
    fn agreed(&self) -> Option<TlsInfo> {
        let (connection, server_name): (&CommonState, _) = match &self.tls {
            TlsStream::Client(client) => (client.get_ref().1, None),
            TlsStream::Server(server) => {
                let connection = server.get_ref().1;
                (connection, connection.server_name())
            }
        };
        Some(TlsInfo {
            version: connection.protocol_version()?,
            cipher_suite: connection.negotiated_cipher_suite()?.suite(),
            alpn: connection.alpn_protocol().map(<[u8]>::to_vec),
            server_name: server_name.map(str::to_owned),
            peer_certificates: connection.peer_certificates().unwrap_or_default().to_vec(),
        })
    }

    fn transport(&self) -> &dyn Stream {
        &*self.tls.get_ref().0.stream
    }

    fn transport_mut(&mut self) -> &mut Transport {
        self.tls.get_mut().0
    }
}

impl Stream for EncryptedStream {
    /// Reads record after record until the buffer is full or nothing is there.
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.transport_mut().reads = 0;
        let mut buffer = ReadBuf::new(buffer);
        while buffer.remaining() > 0 && self.failure.is_none() {
            let before = buffer.filled().len();
            let read = Pin::new(&mut self.tls).poll_read(cx, &mut buffer);
            self.flush_answers(cx);
            match read {
                Poll::Ready(Ok(())) if buffer.filled().len() > before => {}
                // The next read finds the end again.
                Poll::Ready(Ok(())) => break,
                Poll::Pending if before == 0 => return Poll::Pending,
                Poll::Pending => break,
                Poll::Ready(Err(error)) => self.failure = Some(with_code(error)),
            }
        }
        if self.failure.is_some() && buffer.remaining() > 0 {
            let read = self.decrypted().read(buffer.initialize_unfilled());
            buffer.advance(read.unwrap_or(0));
        }
        match (buffer.filled().len(), &self.failure) {
            (0, Some(_)) => Poll::Ready(self.failure.take().map_or(Ok(0), Err)),
            (filled, _) => Poll::Ready(Ok(filled)),
        }
    }

    fn poll_peek(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if self.failure.is_none() {
            self.transport_mut().reads = 0;
            // Not the transport's `poll_peek`: its input need not contain data.
            let peeked = Pin::new(&mut self.tls).poll_fill_buf(cx);
            let peeked = peeked.map_ok(|data| !data.is_empty());
            self.flush_answers(cx);
            match ready!(peeked) {
                Ok(has_data) => return Poll::Ready(Ok(has_data)),
                Err(error) => self.failure = Some(with_code(error)),
            }
        }
        // Data that was decrypted before the failure is read before it.
        let decrypted = self.decrypted().into_first_chunk();
        if decrypted.is_ok_and(|data| !data.is_empty()) {
            return Poll::Ready(Ok(true));
        }
        Poll::Ready(self.failure.take().map_or(Ok(false), Err))
    }

    fn poll_error_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.transport_mut().stream.poll_error_ready(cx)
    }

    fn register(&mut self) {
        self.transport_mut().stream.register();
    }

    fn attach(&mut self, poller: &PollerHandle, token: Token) {
        self.transport_mut().stream.attach(poller, token);
    }

    fn change_token(&mut self, token: Token) {
        self.transport_mut().stream.change_token(token);
    }

    fn detach(&mut self) {
        self.transport_mut().stream.detach();
    }

    fn add_readiness(&mut self, token: Token, readiness: Readiness) -> bool {
        self.transport_mut().stream.add_readiness(token, readiness)
    }

    /// Reports data as written when the transport has accepted all of it, encrypted. Until then
    /// the caller polls with the same data.
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut tls = Pin::new(&mut self.tls);
        if self.encrypted == 0 {
            let encrypted = ready!(tls.as_mut().poll_write_vectored(cx, data));
            self.encrypted = encrypted.map_err(with_code)?;
        }
        ready!(tls.poll_flush(cx)).map_err(with_code)?;
        Poll::Ready(Ok(std::mem::take(&mut self.encrypted)))
    }

    /// Sends `close_notify`, and shuts down the transport.
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = ready!(Pin::new(&mut self.tls).poll_shutdown(cx));
        self.write_closed = true;
        Poll::Ready(shut.map_err(with_code))
    }

    fn poll_discard(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.transport_mut().stream.poll_discard(cx, buffer)
    }

    /// Of the transport: the peer may send more there after `close_notify`.
    fn reached_eof(&self) -> bool {
        self.transport().reached_eof()
    }

    fn unacknowledged(&self) -> Option<usize> {
        self.transport().unacknowledged()
    }

    fn local_addr(&self) -> io::Result<Address> {
        self.transport().local_addr()
    }

    fn peer_credentials(&self) -> Option<PeerCredentials> {
        self.transport().peer_credentials()
    }

    fn tls_info(&self) -> Option<Arc<TlsInfo>> {
        if self.info.get().is_none() {
            let _ = self.info.set(Arc::new(self.agreed()?));
        }
        self.info.get().cloned()
    }

    fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.transport().set_nodelay(nodelay)
    }

    fn set_keepalive(&self, after: Option<Duration>) -> io::Result<()> {
        self.transport().set_keepalive(after)
    }

    fn set_user_timeout(&self, milliseconds: u32) -> io::Result<()> {
        self.transport().set_user_timeout(milliseconds)
    }

    fn reregister(&mut self) -> io::Result<()> {
        self.transport_mut().stream.reregister()
    }

    fn set_reset_on_drop(&mut self) {
        // `close_notify` would announce a regular end.
        self.write_closed = true;
        let transport = self.transport_mut();
        transport.is_closed = true;
        transport.stream.set_reset_on_drop();
    }
}

impl Drop for EncryptedStream {
    /// Sends `close_notify` if the OS accepts it at once: without it the peer must take the end
    /// for a truncation attack.
    fn drop(&mut self) {
        if self.write_closed || std::thread::panicking() {
            // A panic while panicking would abort the process.
            return;
        }
        let tls = &mut self.tls;
        without_budget(|| {
            let mut cx = Context::from_waker(Waker::noop());
            let _ = Pin::new(&mut *tls).poll_shutdown(&mut cx);
        });
    }
}

/// The plain stream below, with tokio's traits.
pub(super) struct Transport {
    stream: Box<dyn Stream>,
    /// The reads since the last poll began.
    reads: usize,
    /// The connection will be reset: the drop does not close it gracefully.
    is_closed: bool,
}

impl Transport {
    pub(super) fn new(stream: Box<dyn Stream>) -> Self {
        Transport {
            stream,
            reads: 0,
            is_closed: false,
        }
    }
}

impl Drop for Transport {
    /// A failed handshake may have sent an alert. Unread input would turn the close into a reset,
    /// which destroys the alert.
    fn drop(&mut self) {
        if !self.is_closed && !std::thread::panicking() {
            try_close_gracefully(&mut *self.stream);
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.reads == READS_PER_POLL {
            this.reads = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        this.reads += 1;
        let read = this.stream.poll_read(cx, buffer.initialize_unfilled());
        let count = ready!(retry_if_spurious(read, cx))?;
        buffer.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(data)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        retry_if_spurious(self.get_mut().stream.poll_write(cx, data), cx)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().stream.poll_shutdown(cx)
    }
}
