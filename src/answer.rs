//! How an answer finds its way back.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use actix::Message;
use tokio::sync::oneshot;

use crate::error::Error;

/// The answer to a call that has already been sent.
///
/// The call happens, in the order of the calls, whether or not this is
/// awaited: await it to learn the outcome, drop it to ignore it.
#[derive(derive_more::Debug)]
pub struct Answer<T>(#[debug(skip)] Inner<T>);

enum Inner<T> {
    Known(Option<Result<T, Error>>),
    Direct(oneshot::Receiver<Result<T, Error>>),
}

impl<T> Answer<T> {
    pub(crate) fn known(answer: Result<T, Error>) -> Self {
        Answer(Inner::Known(Some(answer)))
    }

    /// An answer, and the other end of it.
    pub(crate) fn pair() -> (Self, Reply<T>) {
        let (sender, receiver) = oneshot::channel();
        (Answer(Inner::Direct(receiver)), Reply(Some(sender)))
    }
}

impl<T: Unpin> Future for Answer<T> {
    type Output = Result<T, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.get_mut().0 {
            Inner::Known(answer) => Poll::Ready(answer.take().unwrap_or(Err(Error::Stopped))),
            Inner::Direct(receiver) => Pin::new(receiver)
                .poll(cx)
                .map(|answer| answer.unwrap_or(Err(Error::Stopped))),
        }
    }
}

/// Where an answer is given; dropped unanswered, it tells [`Error::Stopped`], or
/// [`Error::Panicked`] if that is why.
pub(crate) struct Reply<T>(Option<oneshot::Sender<Result<T, Error>>>);

impl<T> Reply<T> {
    /// Nobody waits.
    pub(crate) fn nobody() -> Self {
        Reply(None)
    }

    /// Whether somebody has asked for it.
    pub(crate) fn is_asked_for(&self) -> bool {
        self.0.is_some()
    }

    pub(crate) fn send(mut self, answer: Result<T, Error>) {
        if let Some(sender) = self.0.take() {
            // The asker may have dropped its end: then nobody wants to know.
            let _ = sender.send(answer);
        }
    }
}

impl<T> From<Option<oneshot::Sender<Result<T, Error>>>> for Reply<T> {
    fn from(sender: Option<oneshot::Sender<Result<T, Error>>>) -> Self {
        Reply(sender)
    }
}

impl<T> From<Reply<T>> for Option<oneshot::Sender<Result<T, Error>>> {
    fn from(mut reply: Reply<T>) -> Self {
        reply.0.take()
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        if let Some(sender) = self.0.take()
            && std::thread::panicking()
        {
            let _ = sender.send(Err(Error::Panicked));
        }
    }
}

/// A call and where its answer goes. Unlike actix's own `send`, it is carried
/// out even if the asker has stopped waiting.
pub(crate) struct Ask<M, T> {
    pub(crate) message: M,
    pub(crate) reply: Reply<T>,
}

impl<M: Message<Result = Result<T, Error>>, T> Message for Ask<M, T> {
    type Result = ();
}

/// Declares messages: each names its caller's app, and is answered by a
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

        impl actix::Message for $name {
            type Result = Result<$answer, $crate::error::Error>;
        }
    )*};
}
pub(crate) use messages;
