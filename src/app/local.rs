//! Handlers that live where their connections do.

use std::sync::Arc;

use actix::{Handler, Recipient};

use crate::answer::Answer;
use crate::app::handle::App;
use crate::events::Event;
use crate::registry::{AddLocalListener, OnEachArbiter, Registry};

/// An arbiter that client sockets live in, for listeners of those alone: see
/// [`App::on_each_arbiter`].
#[derive(Clone, Debug)]
pub struct Local {
    /// The app whose listeners these are. A listener that keeps it keeps the
    /// registry, as every `App` does, until it ends.
    pub app: App,
    index: usize,
}

impl Local {
    /// Which of the registry's arbiters it is, from 0, which is its own.
    pub fn index(&self) -> usize {
        self.index
    }

    /// `addListener` of `onReceive` or `onReceiveError`, for the client sockets
    /// of this arbiter alone. It is removed as any other
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
}

impl App {
    /// Beyond Chrome: runs `setup` in every arbiter that client sockets live in
    /// ([`Registry::arbiters`]), which starts an actor there and adds it as a
    /// listener of `onReceive` and `onReceiveError` of the sockets of that
    /// arbiter alone. What such a socket receives, and what its listener sends on
    /// it, never leaves their thread.
    ///
    /// The answer means that all have run and their listeners are added. A
    /// listener that was added for all sockets hears them as well. If an arbiter
    /// ends, its listeners have died with it: `setup` runs again in the one that
    /// takes its place, which raises again what they have not handled. That goes on
    /// until the app is suspended or unloaded. An app with an
    /// [event page](App::set_event_page) calls this there, and the page is
    /// started again instead.
    ///
    /// `setup` itself must not hold an `App`, which would keep the registry from
    /// ending with its last address; [`Local::app`] is one.
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
    ///         client.forward(info).expect("the client is open until its end is told");
    ///     }
    /// }
    ///
    /// # actix_rt::System::new().block_on(async {
    /// let registry = Registry::new().arbiters(2).start();
    /// let app = App::new("echo", &registry);
    /// app.on_each_arbiter(|local| {
    ///     local.add_listener::<ReceiveInfo>(Echo.start().recipient());
    /// })
    /// .await?;
    /// # registry.send(chrome_sockets::Shutdown).await.expect("it runs")?;
    /// # Ok::<_, chrome_sockets::Error>(())
    /// # }).expect("every call succeeds");
    /// ```
    ///
    /// # Errors
    /// [`Error::Stopped`](crate::Error::Stopped).
    pub fn on_each_arbiter(&self, setup: impl Fn(Local) + Send + Sync + 'static) -> Answer<()> {
        self.caller.call(|app| OnEachArbiter {
            app,
            init: Arc::new(move |app, registry, index| {
                let app = App::new(app.clone(), registry);
                setup(Local { app, index });
            }),
        })
    }
}
