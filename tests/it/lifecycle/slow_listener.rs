//! A listener that holds an event until the test releases it.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;

use actix::prelude::*;
use chrome_sockets::lifecycle::SuspendInfo;
use chrome_sockets::tcp::ReceiveInfo;
use chrome_sockets::tcp_server::AcceptInfo;
use tokio::sync::{mpsc, oneshot};

/// Signals when it begins to handle an event, and holds it.
pub struct SlowListener {
    began: mpsc::UnboundedSender<()>,
    release: Option<oneshot::Receiver<()>>,
    done: Arc<AtomicBool>,
}

impl SlowListener {
    /// The listener, the signal that it began, the release, and whether it has finished.
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
