//! The write queue: quota, memory and panics.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use actix_rt::Arbiter;

use super::*;
use crate::address::Address;
use crate::app_activity::AppActivity;
use crate::ids::ClientSocketId;
use crate::manifest::Permissions;
use crate::os::TokioNetwork;
use crate::supervision::{RegistryLink, SupervisedActor};
use crate::tcp::command::QueuedCall;
use crate::tcp::command_queue::CommandQueue;
use crate::tcp::shards::shard::AppShard;
use crate::tcp::shards::write_quota::WriteQuota;
use crate::tcp::{AppContext, Shard, SocketTable};
use crate::tls;

const QUOTA: usize = 10_000;

/// A stream whose writes take everything or nothing.
struct Sink {
    takes: bool,
}

impl Stream for Sink {
    fn poll_read(&mut self, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
        Poll::Pending
    }

    fn poll_peek(&mut self, _: &mut Context<'_>) -> Poll<io::Result<bool>> {
        Poll::Pending
    }

    fn poll_write(&mut self, _: &mut Context<'_>, data: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self.takes {
            true => Poll::Ready(Ok(data.iter().map(|slice| slice.len()).sum())),
            false => Poll::Pending,
        }
    }

    fn local_addr(&self) -> io::Result<Address> {
        Err(io::ErrorKind::NotConnected.into())
    }

    fn set_nodelay(&self, _: bool) -> io::Result<()> {
        Ok(())
    }

    fn set_keepalive(&self, _: Option<Duration>) -> io::Result<()> {
        Ok(())
    }
}

/// A socket without state. Its actor lives as long as the returned values.
pub(in crate::tcp) fn socket() -> (
    ClientSocket,
    Arc<CommandQueue>,
    SupervisedActor<SocketTable>,
) {
    let app = crate::ids::AppId::from("a");
    let command_queue = Arc::<CommandQueue>::default();
    let network = Arc::new(TokioNetwork);
    let table = SocketTable::start(
        network,
        tls::Client::default(),
        command_queue.clone(),
        Arc::default(),
        RegistryLink::default(),
        None,
    );
    let here = Arbiter::current();
    let shard = Shard::new(
        0,
        false,
        table.stable_addr.clone(),
        command_queue.clone(),
        Arc::default(),
        here,
    );
    let permissions = Arc::new(Permissions::all());
    let app_context = AppContext::new(
        app.clone(),
        WriteQuota::new(QUOTA, Arc::default()),
        permissions,
        Arc::default(),
    );
    let app_shard = AppShard::new(
        Arc::new(app_context),
        Arc::new(AppActivity::new(app, RegistryLink::default())),
        Arc::new(shard),
        Arc::default(),
        Arc::default(),
        1,
    );
    let socket = ClientSocket::new(ClientSocketId::new(1), Arc::new(app_shard));
    (socket, command_queue, table)
}

fn pending(socket: &ClientSocket, length: usize, credit: Option<Credit>) -> PendingSend {
    let data = Bytes::from(vec![7; length]);
    PendingSend::new(
        socket.clone(),
        data,
        Charge::default(),
        credit,
        Reply::discard(),
    )
}

#[actix_rt::test]
async fn forwarded_bytes_count_in_the_quota_while_they_wait() {
    let (socket, _command_queue, _table) = socket();
    let app_context = &socket.app_shard().app_context;
    let mut cx = Context::from_waker(Waker::noop());
    let mut queue = WriteQueue::default();
    let mut sink = Sink { takes: false };
    let credit = Credit::acquire(&socket, QUOTA / 2);
    let forwarded = pending(&socket, QUOTA / 2, Some(credit));
    queue
        .write(forwarded, &mut sink, &mut cx)
        .expect("it is queued");
    assert!(app_context.write_quota.is_sending());
    let refused = app_context.write_quota.charge(QUOTA / 2 + 1);
    assert!(matches!(refused, Err(Error::WriteQuotaExceeded)));
    sink.takes = true;
    assert!(queue.poll_flush(&mut sink, &mut cx).is_ready());
    assert!(!app_context.write_quota.is_sending());
}

#[actix_rt::test]
async fn an_idle_queue_frees_its_memory() {
    let (socket, _command_queue, _table) = socket();
    let mut cx = Context::from_waker(Waker::noop());
    let mut queue = WriteQueue::default();
    for _ in 0..100 {
        queue.push(pending(&socket, 10, None));
    }
    assert!(queue.0.capacity() >= 100);
    let flushed = queue.poll_flush(&mut Sink { takes: true }, &mut cx);
    assert!(matches!(flushed, Poll::Ready(Ok(()))));
    assert_eq!(queue.0.capacity(), 0);
}

#[actix_rt::test]
async fn a_panic_does_not_lose_the_error_of_a_send() {
    let (socket, command_queue, _table) = socket();
    let error = io::Error::from_raw_os_error(105);
    let send = pending(&socket, 10, None).with_progress(20, Some(error));
    let turn = AssertUnwindSafe(|| {
        let _in_hand = send;
        panic!("a turn that fails");
    });
    assert!(catch_unwind(turn).is_err());
    let Some(QueuedCall::Send(mut again)) = command_queue.queue.take_interrupted() else {
        panic!("the send was not returned");
    };
    assert_eq!((again.data.len(), again.bytes), (10, 20));
    let mut cx = Context::from_waker(Waker::noop());
    let written = again.write(&mut Sink { takes: true }, &mut cx);
    let Poll::Ready(Err(error)) = written else {
        panic!("the error was lost");
    };
    assert_eq!(error.raw_os_error(), Some(105));
}
