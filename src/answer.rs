//! Answers to calls, and how a reply reaches its caller.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use actix::Message;
use tokio::sync::oneshot;

use crate::error::Error;
use crate::telemetry::Span;

/// The answer to a call that has already been sent.
///
/// The call is carried out, in the order of the calls, whether or not this is
/// awaited. Await it to learn the outcome. To ignore the outcome, use the form of
/// the call that has no answer and so costs less: `do_close`, `do_set_paused` and
/// so on, which are to `close` and `set_paused` what [`Addr::do_send`] is to
/// [`Addr::send`].
///
/// These calls have such a form, because an app can often do nothing about their
/// failure:
///
/// - of a client socket, by id and by handle: `close`, `disconnect`, `reset`,
///   `shutdown_write`, `set_paused`, `update`, `set_keep_alive`, `set_no_delay`,
///   `set_timeouts` and `set_listeners`; `send` has [`try_send`], which still returns
///   what is known at once;
/// - of a server socket: `close`, `disconnect`, `set_paused`, `update`,
///   `set_timeouts`, `serve` and `stop_serving`;
/// - of an event: `add_listener` and `remove_listener`.
///
/// The others have none. Either the answer is the reason for the call (`create`,
/// `get_info`, `drain`), or a program that ignores its failure goes on without a
/// listener, a connection, encryption, a limit or a permission (`listen`, `connect`,
/// `secure`, `set_tls`, `set_limits`, `set_permissions`).
///
/// [`try_send`]: crate::tcp::ClientSocket::try_send
/// [`Addr::do_send`]: actix::Addr::do_send
/// [`Addr::send`]: actix::Addr::send
#[must_use = "the call is made, but its error would be ignored: await the answer, \
              or make the call without one (`do_close`, `do_set_paused` …)"]
#[derive(derive_more::Debug)]
pub struct Answer<T>(#[debug(skip)] Inner<T>);

enum Inner<T> {
    Ready(Option<Result<T, Error>>),
    Waiting(oneshot::Receiver<Result<T, Error>>),
    /// If the answer is dropped, an error is logged.
    Logged(LoggedAnswer<T>),
}

impl<T> Answer<T> {
    pub(crate) fn ready(answer: Result<T, Error>) -> Self {
        Answer(Inner::Ready(Some(answer)))
    }

    /// An answer, and the reply that resolves it.
    pub(crate) fn pair() -> (Self, Reply<T>) {
        let (sender, receiver) = oneshot::channel();
        (Answer(Inner::Waiting(receiver)), Reply::to(sender))
    }

    /// As [`pair`](Self::pair), but if the answer is dropped, `log` gets the error
    /// that it has already. An error that comes later is the answering actor's to
    /// log: [`Reply::deliver`] returns it.
    pub(crate) fn logged_pair(log: impl FnOnce(Error) + Send + Sync + 'static) -> (Self, Reply<T>) {
        let (sender, receiver) = oneshot::channel();
        let log = Some(Box::new(log) as _);
        let answer = LoggedAnswer { receiver, log };
        (Answer(Inner::Logged(answer)), Reply::to(sender))
    }
}

struct LoggedAnswer<T> {
    receiver: oneshot::Receiver<Result<T, Error>>,
    log: Option<Box<dyn FnOnce(Error) + Send + Sync>>,
}

impl<T> Drop for LoggedAnswer<T> {
    fn drop(&mut self) {
        // From here on the sender finds out that the answer was dropped.
        self.receiver.close();
        if let Ok(Err(error)) = self.receiver.try_recv()
            && let Some(log) = self.log.take()
        {
            log(error);
        }
    }
}

impl<T: Unpin> Future for Answer<T> {
    type Output = Result<T, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.get_mut().0 {
            Inner::Ready(answer) => Poll::Ready(answer.take().unwrap_or(Err(Error::Stopped))),
            Inner::Waiting(receiver) => Pin::new(receiver)
                .poll(cx)
                .map(|answer| answer.unwrap_or(Err(Error::Stopped))),
            Inner::Logged(answer) => Pin::new(&mut answer.receiver)
                .poll(cx)
                .map(|answer| answer.unwrap_or(Err(Error::Stopped))),
        }
    }
}

/// Resolves an [`Answer`]. If it is dropped without an answer, the caller gets
/// [`Error::Panicked`] during a panic, and [`Error::Stopped`] otherwise.
pub(crate) struct Reply<T> {
    sender: Option<oneshot::Sender<Result<T, Error>>>,
    /// Of the call. It ends with the reply.
    span: Span,
}

/// The sender of a message that is handled now, in the span of its call.
impl<T> From<Option<oneshot::Sender<Result<T, Error>>>> for Reply<T> {
    fn from(sender: Option<oneshot::Sender<Result<T, Error>>>) -> Self {
        let span = Span::current();
        Reply { sender, span }
    }
}

impl<T> Reply<T> {
    /// A reply without a caller: its answer is dropped.
    pub(crate) fn discard() -> Self {
        Reply {
            sender: None,
            span: Span::default(),
        }
    }

    fn to(sender: oneshot::Sender<Result<T, Error>>) -> Self {
        Reply {
            sender: Some(sender),
            span: Span::default(),
        }
    }

    /// The same reply, to a call that has this span.
    pub(crate) fn in_span(mut self, span: &Span) -> Self {
        self.span = span.clone();
        self
    }

    /// The span of the call.
    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    fn record(&self, answer: &Result<T, Error>) {
        if let Err(error) = answer {
            self.span.set_error(error);
        }
    }

    /// Whether there is a caller.
    pub(crate) fn has_caller(&self) -> bool {
        self.sender.is_some()
    }

    pub(crate) fn send(mut self, answer: Result<T, Error>) {
        self.record(&answer);
        if let Some(sender) = self.sender.take() {
            // Fails if the caller has dropped its `Answer`, which is allowed.
            let _ = sender.send(answer);
        }
    }

    /// As [`send`](Self::send), but returns the error if the answer was dropped.
    pub(crate) fn deliver(mut self, answer: Result<T, Error>) -> Result<(), Error> {
        self.record(&answer);
        let unread = match self.sender.take() {
            Some(sender) => sender.send(answer).err(),
            None => Some(answer),
        };
        unread.map_or(Ok(()), |answer| answer.map(drop))
    }
}

impl<T> From<Reply<T>> for Option<oneshot::Sender<Result<T, Error>>> {
    fn from(mut reply: Reply<T>) -> Self {
        reply.sender.take()
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        if let Some(sender) = self.sender.take()
            && std::thread::panicking()
        {
            let _ = sender.send(Err(Error::Panicked));
        }
    }
}

/// A call with its reply. Unlike a message of actix's own `send`, it is carried
/// out even if its caller has stopped waiting.
pub(crate) struct Request<M, T> {
    pub(crate) message: M,
    pub(crate) reply: Reply<T>,
}

impl<M: Message<Result = Result<T, Error>>, T> Message for Request<M, T> {
    type Result = ();
}

/// Declares messages. Each has the id of the calling app, and is answered by a
/// `Result` of the type behind the arrow.
macro_rules! messages {
    ($(
        $(#[$doc:meta])*
        $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* } -> $answer:ty;
    )*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $name {
            /// The app that calls.
            pub app: $crate::ids::AppId,
            $($(#[$field_doc])* pub $field: $type,)*
        }

        impl $name {
            pub(crate) fn new(app: $crate::ids::AppId, $($field: $type),*) -> Self {
                $name { app, $($field),* }
            }
        }

        impl actix::Message for $name {
            type Result = Result<$answer, $crate::error::Error>;
        }
    )*};
}
pub(crate) use messages;
