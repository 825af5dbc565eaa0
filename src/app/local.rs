//! Listeners that live in the arbiters of their connections.

use std::sync::Arc;

use actix::{Handler, Recipient};

use crate::answer::Answer;
use crate::app::handle::App;
use crate::events::Event;
use crate::registry::{AddLocalListener, OnEachArbiter, Registry};

/// One of the arbiters that client sockets live in: see
/// [`App::on_each_arbiter`].
#[derive(Clone, Debug)]
pub struct LocalArbiter {
    /// The app. A listener that keeps it keeps the registry alive until the
    /// listener ends, as every `App` does.
    pub app: App,
    index: usize,
}

impl LocalArbiter {
    /// The arbiter's number, from 0, which is the registry's own arbiter.
    pub fn index(&self) -> usize {
        self.index
    }

    /// `addListener` of `onReceive`, `onReceiveError` or
    /// [`on_send_queue`](crate::Tcp::on_send_queue), for the client sockets
    /// of this arbiter only; also of `onReceive` and `onReceiveError` of
    /// [`Udp`](crate::Udp). The listener is removed like any other
    /// ([`remove_listener`](crate::OnEvent::remove_listener)).
    ///
    /// # Errors
    /// [`Error::Stopped`](crate::Error::Stopped).
    pub fn add_listener<E: Event>(&self, recipient: Recipient<E>) -> Answer<()>
    where
        Registry: Handler<AddLocalListener<E>>,
    {
        let arbiter = self.index;
        self.app.caller.call(|app| AddLocalListener {
            app,
            arbiter,
            recipient,
        })
    }

    /// [`add_listener`](Self::add_listener) without an answer. The answer of
    /// [`App::on_each_arbiter`] means that these listeners are added too.
    pub fn do_add_listener<E: Event>(&self, recipient: Recipient<E>)
    where
        Registry: Handler<AddLocalListener<E>>,
    {
        let arbiter = self.index;
        self.app.caller.do_call(|app| AddLocalListener {
            app,
            arbiter,
            recipient,
        });
    }
}

impl App {
    /// Beyond Chrome: runs `setup` in every arbiter that client sockets live in
    /// ([`Registry::arbiters`]). `setup` starts an actor there and adds it as a
    /// listener of `onReceive` and `onReceiveError` of that arbiter's sockets.
    /// The data that such a socket receives, and the sends of its listener,
    /// never leave their thread.
    ///
    /// The answer means that `setup` has run in all arbiters and that the
    /// listeners are added. A listener that was added for all sockets gets the
    /// events of these sockets too. If an arbiter ends, its listeners end with it, and `setup`
    /// runs in the arbiter that replaces it; events that they have not handled
    /// are raised again. This continues until the app is suspended or unloaded.
    /// An app with an [event page](App::set_event_page) calls this function in
    /// the page; then the page is started again instead.
    ///
    /// `setup` must not hold an `App`, which would keep the registry alive. It is
    /// given one: [`LocalArbiter::app`].
    ///
    /// ```
    /// use actix::prelude::*;
    /// use chrome_sockets::tcp::ReceiveInfo;
    /// use chrome_sockets::{App, Registry};
    ///
    /// struct Echo;
    ///
    /// impl Actor for Echo {
    ///     type Context = Context<Self>;
    /// }
    ///
    /// impl Handler<ReceiveInfo> for Echo {
    ///     type Result = ();
    ///
    ///     fn handle(&mut self, info: ReceiveInfo, _: &mut Self::Context) {
    ///         let client = info.client().clone();
    ///         client.forward(info).expect("its end was not reported yet");
    ///     }
    /// }
    ///
    /// # actix_rt::System::new().block_on(async {
    /// let registry = Registry::new().arbiters(2).start();
    /// let app = App::new("echo", &registry);
    /// app.on_each_arbiter(|local| {
    ///     local.do_add_listener::<ReceiveInfo>(Echo.start().recipient());
    /// })
    /// .await?;
    /// # registry.send(chrome_sockets::Shutdown).await.expect("it runs")?;
    /// # Ok::<_, chrome_sockets::Error>(())
    /// # }).expect("every call succeeds");
    /// ```
    ///
    /// # Errors
    /// [`Error::Stopped`](crate::Error::Stopped).
    pub fn on_each_arbiter(
        &self,
        setup: impl Fn(LocalArbiter) + Send + Sync + 'static,
    ) -> Answer<()> {
        self.caller.call(|app| OnEachArbiter {
            app,
            init: Arc::new(move |app, registry, index| {
                let app = App::new(app.clone(), registry);
                setup(LocalArbiter { app, index });
            }),
        })
    }
}
