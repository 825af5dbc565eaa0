//! A listener that holds what it hears until the test lets it go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use actix::prelude::*;
use chrome_sockets::lifecycle::SuspendInfo;
use chrome_sockets::tcp::ReceiveInfo;
use chrome_sockets::tcp_server::AcceptInfo;
use tokio::sync::{mpsc, oneshot};

/// Takes its time for what it hears, and says when it has begun.
pub struct SlowListener {
    began: mpsc::UnboundedSender<()>,
    release: Option<oneshot::Receiver<()>>,
    done: Arc<AtomicBool>,
}

impl SlowListener {
    /// It, what tells that it has begun, what lets it go on, and whether it has.
    pub fn start() -> (
        Addr<Self>,
        mpsc::UnboundedReceiver<()>,
        oneshot::Sender<()>,
        Arc<AtomicBool>,
    ) {
        let (began, has_begun) = mpsc::unbounded_channel();
        let (release, released) = oneshot::channel();
        let done = Arc::new(AtomicBool::new(false));
        let slow_listener = SlowListener {
            began,
            release: Some(released),
            done: done.clone(),
        };
        (Actor::start(slow_listener), has_begun, release, done)
    }

    /// Holds `event` until it is released.
    fn hold<E: 'static>(&mut self, event: E, ctx: &mut Context<Self>) {
        let _ = self.began.send(());
        let released = self.release.take();
        let hold = async move {
            if let Some(released) = released {
                let _ = released.await;
            }
        };
        ctx.wait(hold.into_actor(self).map(move |(), slow_listener, _| {
            slow_listener.done.store(true, SeqCst);
            drop(event);
        }));
    }
}

impl Actor for SlowListener {
    type Context = Context<Self>;
}

macro_rules! holds {
    ($($event:ty)*) => {$(
        impl Handler<$event> for SlowListener {
            type Result = ();

            fn handle(&mut self, event: $event, ctx: &mut Self::Context) {
                self.hold(event, ctx);
            }
        }
    )*};
}

holds! { AcceptInfo ReceiveInfo SuspendInfo }
