//! Suspending an app, and loading it again.

use std::future::Future;

use crate::answer::Answer;
use crate::app::handle::App;
use crate::error::Error;
use crate::registry::{EventPage, IsSuspended, Resume, SetEventPage, Suspend, Unload};

impl App {
    /// Suspends the app, as Chrome does when it unloads an event page.
    ///
    /// `on_suspend` is raised, events that are on their way are handled, and
    /// no other comes. Then sockets that are not persistent are closed, in both
    /// namespaces, and all listeners are forgotten. Persistent ones stay as they
    /// are, server sockets go on listening, and what is to be told waits: a
    /// server socket accepts one connection at most, and no client is read.
    /// The first thing that waits has the app loaded again, if it has an
    /// [event page](Self::set_event_page). Connections that were accepted and
    /// that nobody has heard of wait too.
    ///
    /// The answer means that it has happened. A suspended app is left as it
    /// is. Its functions can be called all the same; `add_listener` is for
    /// when it is [resumed](Self::resume).
    ///
    /// # Errors
    /// [`EventsInFlight`](Error::EventsInFlight) if a listener has not handled an
    /// event within [`PAUSE_GRACE`](crate::PAUSE_GRACE); the app is suspended
    /// all the same. [`Unloaded`](Error::Unloaded), [`Stopped`](Error::Stopped).
    pub fn suspend(&self) -> Answer<()> {
        self.caller.call(|app| Suspend::new(app))
    }

    /// Loads the app: starts its [event page](Self::set_event_page), if it has
    /// one, and lets the events come that have waited. An app that is loaded is
    /// left as it is.
    ///
    /// # Errors
    /// The event page's own; [`NotLoaded`](Error::NotLoaded) if it panicked or
    /// took too long: the app is still suspended.
    /// [`Unloaded`](Error::Unloaded), [`Stopped`](Error::Stopped).
    pub fn resume(&self) -> Answer<()> {
        self.caller.call(|app| Resume::new(app))
    }

    /// Closes everything that the app has, persistent or not, and forgets it:
    /// its listeners, its event page and whatever else was set for it. Chrome
    /// does that when an app is uninstalled. The answer means that its ports
    /// are free. Calls after it are those of a new app.
    ///
    /// # Errors
    /// [`Stopped`](Error::Stopped).
    pub fn unload(&self) -> Answer<()> {
        self.caller.call(|app| Unload::new(app))
    }

    /// Whether the app is suspended, or being suspended or loaded.
    ///
    /// # Errors
    /// [`Stopped`](Error::Stopped).
    pub fn is_suspended(&self) -> Answer<bool> {
        self.caller.call(|app| IsSuspended::new(app))
    }

    /// How the app is loaded from now on when it is suspended and something
    /// waits for it; with `None` only [`resume`](Self::resume) loads it. It
    /// starts nothing now: an app that is not suspended counts as loaded,
    /// until [its listeners have died](EventPage).
    ///
    /// ```
    /// use actix::prelude::*;
    /// use chrome_sockets::lifecycle::EventPage;
    /// use chrome_sockets::tcp_server::AcceptInfo;
    /// use chrome_sockets::{App, Error, Registry};
    ///
    /// struct Page;
    ///
    /// impl Actor for Page {
    ///     type Context = Context<Self>;
    /// }
    ///
    /// impl Handler<AcceptInfo> for Page {
    ///     type Result = ();
    ///     fn handle(&mut self, info: AcceptInfo, _: &mut Self::Context) {
    ///         println!("client {}", info.client_socket_id);
    ///     }
    /// }
    ///
    /// async fn start(app: App) -> Result<(), Error> {
    ///     let page = Page.start();
    ///     app.tcp_server.on_accept.add_listener(page.recipient()).await
    /// }
    ///
    /// # actix_rt::System::new().block_on(async {
    /// let app = App::new("my-app", &Registry::new().start());
    /// app.set_event_page(Some(EventPage::new(start))).await?;
    /// app.suspend().await?; // from here on a connection starts it
    /// # app.resume().await?;
    /// # assert!(app.tcp_server.on_accept.has_listeners().await?);
    /// # Ok::<_, Error>(())
    /// # }).expect("every call succeeds");
    /// ```
    ///
    /// # Errors
    /// [`Stopped`](Error::Stopped).
    pub fn set_event_page(&self, page: Option<EventPage>) -> Answer<()> {
        self.caller.call(|app| SetEventPage::new(app, page))
    }
}

impl EventPage {
    /// An event page that this function starts: it makes the app's actors and
    /// adds their listeners. An actor that adds its own when it starts must
    /// have done so when the future is done: await a message to it.
    pub fn new<F, R>(start: F) -> Self
    where
        F: Fn(App) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), Error>> + 'static,
    {
        EventPage::from_fn(move |app, registry| Box::pin(start(App::new(app, &registry))))
    }
}
