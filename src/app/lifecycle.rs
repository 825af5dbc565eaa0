//! Suspends an app, and loads it again.

use std::future::Future;

use crate::answer::Answer;
use crate::app::handle::App;
use crate::error::Error;
use crate::registry::{EventPage, IsSuspended, Resume, SetEventPage, Suspend, Unload};

impl App {
    /// Suspends the app, as Chrome does when it unloads an event page.
    ///
    /// `on_suspend` is raised, events in flight are handled, and no further event
    /// is raised. Then the sockets that are not persistent are closed, in both
    /// namespaces, and all listeners are removed. Persistent sockets stay as they
    /// are, and server sockets keep listening. Their events wait: a server socket
    /// accepts one connection at most, and no client is read. Accepted
    /// connections that were not delivered yet wait too. The first event that
    /// waits has the app loaded again, if it has an
    /// [event page](Self::set_event_page).
    ///
    /// The answer means that the app is suspended. Suspending a suspended app
    /// does nothing. Its functions can still be called; listeners that are added
    /// get events when the app is [resumed](Self::resume).
    ///
    /// # Errors
    /// [`EventsInFlight`](Error::EventsInFlight) if a listener has not handled an
    /// event within [`PAUSE_GRACE`](crate::PAUSE_GRACE); the app is suspended
    /// nevertheless. [`Unloaded`](Error::Unloaded), [`Stopped`](Error::Stopped).
    pub fn suspend(&self) -> Answer<()> {
        self.caller.call(Suspend::new)
    }

    /// Loads the app: starts its [event page](Self::set_event_page), if it has
    /// one, and raises the events that have waited. Resuming a loaded app does
    /// nothing.
    ///
    /// # Errors
    /// The error of the event page; [`NotLoaded`](Error::NotLoaded) if it panicked
    /// or took too long. The app is still suspended then.
    /// [`Unloaded`](Error::Unloaded), [`Stopped`](Error::Stopped).
    pub fn resume(&self) -> Answer<()> {
        self.caller.call(Resume::new)
    }

    /// Closes all sockets of the app, persistent or not, and forgets its
    /// listeners, event page and settings. Chrome does that when an app is
    /// uninstalled. The answer means that its ports are free. Later calls belong
    /// to a new app.
    ///
    /// # Errors
    /// [`Stopped`](Error::Stopped).
    pub fn unload(&self) -> Answer<()> {
        self.caller.call(Unload::new)
    }

    /// Whether the app is suspended, is being suspended, or is being loaded.
    ///
    /// # Errors
    /// [`Stopped`](Error::Stopped).
    pub fn is_suspended(&self) -> Answer<bool> {
        self.caller.call(IsSuspended::new)
    }

    /// Sets the event page, which loads the app when it is suspended and an event
    /// waits. With `None`, only [`resume`](Self::resume) loads it. The page is
    /// not started now: an app that is not suspended counts as loaded, until
    /// [its listeners have died](EventPage).
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
    /// app.suspend().await?; // From now on a connection starts it.
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
    /// An event page that is started by this function, which starts the app's
    /// actors and adds their listeners. All listeners must be added when the
    /// future completes. If an actor adds its own when it starts, await a message
    /// to it.
    pub fn new<F, R>(start: F) -> Self
    where
        F: Fn(App) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), Error>> + 'static,
    {
        EventPage::from_fn(move |app, registry| Box::pin(start(App::new(app, &registry))))
    }
}
