//! Runs the gateway as a service: signals, reloads, drains, and messages to the service manager.

use std::ffi::OsString;
use std::future::{Future, pending};
use std::io::{self, IsTerminal};
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use actix::Addr;
use chrome_sockets::draining::DrainAll;
use chrome_sockets::handover::Inheritance;
use chrome_sockets::{DenyConnect, Permissions, Registry, Shutdown};
use futures::future::OptionFuture;
use rustix::io::Errno;
use rustix::stdio::stdin;
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use crate::access::manifests::FileReader;
use crate::service::monitor::Monitor;
use crate::service::options::{Options, OptionsError};
use crate::transport::control::Control;
use crate::transport::gateway::Gateway;
use crate::transport::listening;

/// The name of the listener for monitoring, if systemd passes several (`FileDescriptorName=`).
const METRICS: &str = "metrics";

/// Serves until a signal, and drains on SIGTERM. `arguments` are those that `options` come from,
/// for reloads. Must be called within an actix system, before the process opens descriptors.
///
/// # Errors
/// The OS error of listening; `InvalidInput` for invalid manifests or an unsafe address.
pub async fn serve(options: Options, arguments: Vec<OsString>) -> io::Result<()> {
    let passed = PassedListeners::take()?;
    // Before the first output: a program that waits for it may send a signal at once.
    let signals = Signals::new()?;
    let hangup = Hangup::new()?;
    let monitor = Rc::new(Monitor::new());
    let registry = configure(options.limits.limits().write_quota);
    // Published whenever the metrics are asked for.
    let registry = registry.metrics(monitor.metrics(), None).start();
    let metrics = match (passed.metrics, options.metrics_listen) {
        (Some(listener), _) => Some(listening::adopt(listener)?),
        (None, Some(address)) => Some(listening::listen(address)?),
        (None, None) => None,
    };
    let metrics_address = metrics.as_ref().map(|it| listening::local_addr(&**it));
    let metrics_address = metrics_address.transpose()?;
    if let Some((listener, address)) = metrics.zip(metrics_address) {
        registry.do_send(DenyConnect(address));
        actix_rt::spawn(monitor.clone().serve(listener));
    }
    let files = Rc::new(FileReader::new());
    let options = check_manifests(&files, options).await?;
    let input_end = match options.until_stdin_ends {
        true => Some(end_of_input()?),
        false => None,
    };
    for warning in &options.warnings {
        log::warn!("{warning}");
    }
    let settings = options.settings();
    let is_restricted = settings.policy.manifest.is_none() && !settings.policy.dev;
    let gateway = match passed.gateway {
        Some(listener) => Gateway::adopt(listener, &registry, settings)?,
        None => Gateway::listen(options.listen, &registry, settings)?,
    };
    let address = gateway.local_addr();
    println!("listening on {address}");
    // To standard output only: the URL contains the admin key, which must not go to a log.
    println!("Admin page: {}", gateway.admin_url());
    if is_restricted {
        println!("without --manifest or --dev apps may neither listen nor connect");
    }
    if let Some(address) = metrics_address {
        println!("metrics on http://{address}/metrics");
    }
    let control = gateway.control();
    monitor.set_ready(control.clone());
    notify(&[NotifyState::Ready]);
    let service = Service {
        options,
        arguments,
        files,
        monitor,
        control,
    };
    let drained = async |(end, mut signals): (End, Signals)| {
        if let End::Drain(deadline) = end {
            tokio::select! {
                () = drain(&registry, deadline) => {}
                () = signals.stop() => log::warn!("a second signal: the drain ends now"),
            }
        }
    };
    gateway
        .run_and_drain(service.run(signals, hangup, input_end), drained)
        .await;
    // An error means that the registry has ended, and its sockets with it.
    let _ = registry.send(Shutdown).await;
    Ok(())
}

/// A registry in which apps may only do what their manifests permit, with the quota of one client.
pub fn registry(write_quota: usize) -> Addr<Registry> {
    configure(write_quota).start()
}

fn configure(write_quota: usize) -> Registry {
    Registry::new()
        .permissions(Permissions::none())
        // Sessions enforce the quota of their clients. The registry also counts sends of previous
        // clients, so its quota is larger.
        .write_quota(write_quota.saturating_mul(2))
}

/// Waits until the apps have no connection, or until the deadline ends them.
async fn drain(registry: &Addr<Registry>, deadline: Duration) {
    log::info!(
        "draining: no new connections; open ones may take {} s",
        deadline.as_secs()
    );
    // An error means that the registry has ended, and its sockets with it.
    if let Ok(Ok(drained)) = registry.send(DrainAll { deadline }).await {
        let (finished, forced) = (drained.finished, drained.forced.len());
        log::info!("drained: {finished} connections ended by themselves, {forced} at the deadline");
    }
}

/// How the service ends.
enum End {
    Now,
    Drain(Duration),
}

/// Ctrl-C and SIGTERM.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Completes at Ctrl-C or SIGTERM.
    async fn stop(&mut self) {
        tokio::select! {
            Some(()) = self.interrupt.recv() => {}
            Some(()) = self.terminate.recv() => {}
            else => pending().await,
        }
    }
}

/// SIGHUP, which means two things: a reload, and that the terminal of the host was closed.
struct Hangup {
    signal: Signal,
    had_terminal: bool,
}

impl Hangup {
    fn new() -> io::Result<Self> {
        Ok(Hangup {
            signal: signal(SignalKind::hangup())?,
            had_terminal: io::stderr().is_terminal(),
        })
    }

    /// Whether the host ran in a terminal that is gone. It would be left behind unseen.
    fn lost_terminal(&self) -> bool {
        self.had_terminal && !io::stderr().is_terminal()
    }
}

/// Completes when standard input has ended. What it contains is not used.
///
/// # Errors
/// The OS cannot start a thread.
fn end_of_input() -> io::Result<oneshot::Receiver<()>> {
    let (ended, receiver) = oneshot::channel();
    // A thread, because standard input may be a file, which the event loop cannot wait for.
    thread::Builder::new().spawn(move || {
        let mut buffer = [0; 256];
        while let Ok(1..) | Err(Errno::INTR) = rustix::io::read(stdin(), &mut buffer) {}
        // Fails if the host ends already.
        let _ = ended.send(());
    })?;
    Ok(receiver)
}

/// Completes at Ctrl-C or SIGTERM.
///
/// # Errors
/// The OS error of handling signals.
pub fn end_signal() -> io::Result<impl Future<Output = ()>> {
    let mut signals = Signals::new()?;
    Ok(async move { signals.stop().await })
}

/// The listeners that systemd has passed.
#[derive(Default)]
struct PassedListeners {
    gateway: Option<OwnedFd>,
    metrics: Option<OwnedFd>,
}

impl PassedListeners {
    fn take() -> io::Result<Self> {
        let mut passed = PassedListeners::default();
        let inheritance = Inheritance::from_env().map_err(io::Error::other)?;
        let listeners = inheritance.map(|mut it| it.activated()).unwrap_or_default();
        for listener in listeners {
            let place = match listener.name() {
                Some(METRICS) => &mut passed.metrics,
                _ => &mut passed.gateway,
            };
            if place.is_some() {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "systemd passed several listeners: one may be named metrics, and one not",
                ));
            }
            *place = Some(listener.into());
        }
        Ok(passed)
    }
}

/// What a reload needs.
struct Service {
    options: Options,
    arguments: Vec<OsString>,
    files: Rc<FileReader>,
    monitor: Rc<Monitor>,
    control: Control,
}

impl Service {
    /// Handles signals until one ends the service, and connections need no longer be accepted.
    async fn run(
        mut self,
        mut signals: Signals,
        mut hangup: Hangup,
        input_end: Option<oneshot::Receiver<()>>,
    ) -> (End, Signals) {
        let input_end = OptionFuture::from(input_end);
        let mut end = self
            .handle_signals(&mut signals, &mut hangup, input_end)
            .await;
        self.monitor.set_draining();
        notify(&[NotifyState::Stopping]);
        let delay = self.options.drain_delay();
        if matches!(end, End::Drain(_)) && !delay.is_zero() {
            log::info!(
                "draining: no longer ready; connections are accepted for {} s",
                delay.as_secs()
            );
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = signals.stop() => {
                    log::warn!("a second signal: there is no drain");
                    end = End::Now;
                }
            }
        }
        (end, signals)
    }

    async fn handle_signals(
        &mut self,
        signals: &mut Signals,
        hangup: &mut Hangup,
        input_end: OptionFuture<oneshot::Receiver<()>>,
    ) -> End {
        let mut input_end = pin!(input_end);
        loop {
            tokio::select! {
                Some(()) = signals.interrupt.recv() => return End::Now,
                Some(()) = signals.terminate.recv() => {
                    return End::Drain(self.options.drain_deadline());
                }
                Some(_) = &mut input_end => return End::Now,
                Some(()) = hangup.signal.recv() => match hangup.lost_terminal() {
                    true => return End::Now,
                    false => self.reload().await,
                },
                else => pending().await,
            }
        }
    }

    /// Reads the configuration and the manifests again. If anything is invalid, nothing changes.
    async fn reload(&mut self) {
        if let Ok(now) = NotifyState::monotonic_usec_now() {
            notify(&[NotifyState::Reloading, now]);
        }
        let reloaded = self.read_again().await;
        self.monitor.count_reload(reloaded.is_ok());
        match reloaded {
            Ok(mut options) => {
                for warning in &options.warnings {
                    log::warn!("{warning}");
                }
                for name in options.keep_fixed(&self.options) {
                    log::warn!("{name} cannot change at run time: restart the host for it");
                }
                self.control.reload(options.settings()).await;
                self.options = options;
                log::info!("the configuration and the manifests were read again");
            }
            Err(error) => {
                // Each line names its own file.
                for line in error.to_string().lines() {
                    log::error!("not reloaded, nothing changes: {line}");
                }
            }
        }
        notify(&[NotifyState::Ready]);
    }

    async fn read_again(&self) -> io::Result<Options> {
        let arguments = self.arguments.clone();
        let read = self.files.run(move || Options::load(&arguments)).await?;
        let options = read.map_err(invalid)?;
        check_manifests(&self.files, options).await
    }
}

fn invalid(error: OptionsError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}

/// Adds the warnings about the manifests. They are read outside the event loop.
async fn check_manifests(files: &FileReader, mut options: Options) -> io::Result<Options> {
    files
        .run(move || options.check_manifests().map(|()| options))
        .await?
}

/// Tells the service manager, if there is one.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        log::warn!("cannot notify the service manager: {error}");
    }
}
