//! Where clients come in: each app is one client's at a time.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::rc::Rc;

use actix::Addr;
use bytes::Bytes;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::timeout;

use super::end::{Code, End};
use super::frame::{self, Form, Frame};
use super::limits::{CALLS, DATA, FRAME, FRAMES, PATIENCE, SOCKETS, VERSION, WINDOW};
use super::policy::{Policy, Visitor};
use super::session::Session;
use crate::app::App;
use crate::ids::AppId;
use crate::registry::Registry;
use crate::tcp::DEFAULT_WRITE_QUOTA;

/// Lets clients in.
#[derive(Clone)]
pub(super) struct Lobby(Rc<Inner>);

struct Inner {
    registry: Addr<Registry>,
    policy: Policy,
    /// The run of this host.
    instance: String,
    seats: RefCell<HashMap<AppId, State>>,
    /// How many clients may be in at once.
    most: usize,
    taken: Cell<usize>,
    stopping: watch::Sender<bool>,
}

/// Whether an app's client is there.
enum State {
    Here,
    /// It is gone, and its app is being suspended: told when that is done.
    Leaving(watch::Receiver<()>),
}

/// A client that is in.
pub(super) struct Guest {
    app: AppId,
    lobby: Lobby,
    pub(super) session: Session,
    /// The answer to its hello.
    pub(super) welcome: Bytes,
}

impl Lobby {
    pub(super) fn new(registry: Addr<Registry>, policy: Policy, most: usize) -> Self {
        // Seeded by the OS.
        let number = || RandomState::new().build_hasher().finish();
        Lobby(Rc::new(Inner {
            registry,
            policy,
            instance: format!("{:016x}{:016x}", number(), number()),
            seats: RefCell::default(),
            most,
            taken: Cell::new(0),
            stopping: watch::Sender::new(false),
        }))
    }

    /// Whether clients may come by a token.
    pub(super) fn has_token(&self) -> bool {
        self.0.policy.token.is_some()
    }

    /// Every client is told that the host stops.
    pub(super) fn stop(&self) {
        self.0.stopping.send_replace(true);
    }

    /// Waits until the host stops.
    pub(super) fn stopped(&self) -> impl Future<Output = End> + use<> {
        let mut stopping = self.0.stopping.subscribe();
        async move {
            // It can only end with the host.
            let _ = stopping.wait_for(|stopping| *stopping).await;
            End::new(Code::Stopping, "the host stops")
        }
    }

    /// Lets in who sends this first frame, and answers in the form that it is
    /// to be told in.
    pub(super) async fn enter(
        &self,
        visitor: &Visitor,
        form: Form,
        bytes: Bytes,
        answer: Form,
    ) -> Result<Guest, End> {
        let Frame { header, data } = Frame::read(form, bytes)?;
        data.end()?;
        let hello = match header.hello {
            Some(hello) if header.messages.is_empty() => hello,
            _ => {
                let what = "the first frame is a hello, and nothing else";
                return Err(End::new(Code::BadHello, what));
            }
        };
        let (id, permissions) = self.0.policy.admit(&hello, visitor)?;
        let seat = self.sit_down(&id).await?;
        let app = App::new(id.clone(), &self.0.registry);
        let begun = async {
            app.set_permissions(permissions).await?;
            app.resume().await?;
            Session::begin(app, answer, DEFAULT_WRITE_QUOTA).await
        };
        let session = begun
            .await
            .map_err(|error| End::new(Code::Stopping, error))?;
        let client = hello.client.unwrap_or_default();
        log::info!("app {id}: {:?} has come", shortened(&client));
        seat.keep();
        let welcome = format!(
            r#""welcome":{}"#,
            json!({
                "protocol": VERSION,
                "host": concat!("chrome-sockets/", env!("CARGO_PKG_VERSION")),
                "instance": self.0.instance,
                "app": id.as_str(),
                "limits": {
                    "frame": FRAME,
                    "data": DATA,
                    "frames": FRAMES,
                    "window": WINDOW,
                    "quota": DEFAULT_WRITE_QUOTA,
                    "calls": CALLS,
                    "sockets": SOCKETS,
                },
            })
        );
        Ok(Guest {
            app: id,
            lobby: self.clone(),
            session,
            welcome: frame::write(answer, &[&welcome], &[]),
        })
    }

    /// Takes the app's seat, when who had it has left.
    async fn sit_down(&self, app: &AppId) -> Result<Seat, End> {
        let in_use = || {
            let what = format!("another client is the app {app:?}");
            End::new(Code::AppInUse, what)
        };
        loop {
            let mut leaving = match self.0.seats.borrow().get(app) {
                None => break,
                Some(State::Here) => return Err(in_use()),
                Some(State::Leaving(left)) => left.clone(),
            };
            // It ends when the other has left.
            if timeout(PATIENCE, leaving.changed()).await.is_err() {
                return Err(in_use());
            }
        }
        if self.0.taken.get() >= self.0.most {
            return Err(End::new(Code::Busy, "as many clients are in as may be"));
        }
        self.0.taken.set(self.0.taken.get() + 1);
        self.0.seats.borrow_mut().insert(app.clone(), State::Here);
        Ok(Seat {
            lobby: self.clone(),
            app: app.clone(),
            kept: false,
        })
    }

    fn stand_up(&self, app: &AppId) {
        self.0.seats.borrow_mut().remove(app);
        self.0.taken.set(self.0.taken.get() - 1);
    }
}

/// An app's seat; dropping it frees it, unless it is kept.
struct Seat {
    lobby: Lobby,
    app: AppId,
    kept: bool,
}

impl Seat {
    fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if !self.kept {
            self.lobby.stand_up(&self.app);
        }
    }
}

impl Guest {
    /// The client is gone.
    pub(super) async fn leave(self) {
        let Guest {
            app,
            lobby,
            session,
            ..
        } = self;
        let (left, leaving) = watch::channel(());
        let leaving = State::Leaving(leaving);
        lobby.0.seats.borrow_mut().insert(app.clone(), leaving);
        session.leave().await;
        log::info!("app {app}: its client has gone");
        lobby.stand_up(&app);
        drop(left);
    }
}

/// What a client says of itself, for the log.
fn shortened(text: &str) -> String {
    text.chars().take(64).collect()
}
