//! Accept errors that an actor above the app decides on.

use std::time::Duration;

use actix::prelude::*;
use chrome_sockets::tcp_server::{
    AcceptAction, AcceptErrorClass, AcceptPolicy, BlockReason, Escalation, SocketProperties,
};
use chrome_sockets::{EscalateTo, NetError};
use support::within;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use super::Fixture;
use super::errors::next_error;

type Question = (Escalation, oneshot::Sender<AcceptAction>);

/// Passes every escalation on, and answers with the decision that comes back.
struct ForwardingTarget(UnboundedSender<Question>);

impl Actor for ForwardingTarget {
    type Context = Context<Self>;
}

impl Handler<Escalation> for ForwardingTarget {
    type Result = ResponseFuture<AcceptAction>;

    fn handle(&mut self, question: Escalation, _: &mut Self::Context) -> Self::Result {
        let (reply, answer) = oneshot::channel();
        let _ = self.0.send((question, reply));
        Box::pin(async move { answer.await.unwrap_or_default() })
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Terminate;

impl Handler<Terminate> for ForwardingTarget {
    type Result = ();

    fn handle(&mut self, _: Terminate, ctx: &mut Self::Context) {
        ctx.terminate();
    }
}

const ESCALATE: AcceptPolicy = AcceptPolicy {
    connection: AcceptAction::Escalate,
    resources: AcceptAction::Escalate,
    listener: AcceptAction::Escalate,
};

const NO_DESCRIPTOR: BlockReason = BlockReason::AcceptError(NetError::INSUFFICIENT_RESOURCES);

impl Fixture {
    async fn escalate_to(&self, to: Option<Recipient<Escalation>>) {
        let sent = self.test.registry.send(EscalateTo { to }).await;
        sent.expect("it runs").expect("it is set");
    }

    /// Sets an escalation target, and returns its escalations.
    async fn start_target(&self) -> (Addr<ForwardingTarget>, UnboundedReceiver<Question>) {
        let (sender, questions) = unbounded_channel();
        let target = ForwardingTarget(sender).start();
        self.escalate_to(Some(target.clone().recipient())).await;
        (target, questions)
    }
}

async fn next_question(questions: &mut UnboundedReceiver<Question>) -> Question {
    let question = within("an escalation", questions.recv()).await;
    question.expect("the target is alive")
}

#[actix_rt::test]
async fn a_socket_waits_paused_for_the_decision_and_carries_it_out() {
    let (mut fixture, mut errors) = Fixture::with(ESCALATE).await;
    let (_warden, mut questions) = fixture.start_target().await;
    let rest = Duration::from_millis(50);
    let back_off = AcceptAction::BackOff {
        first: rest,
        last: 10 * rest,
    };
    for (attempt, decision, next_try) in [
        (1, AcceptAction::Continue, Duration::ZERO),
        (2, back_off, 2 * rest),
        (3, back_off, 4 * rest),
    ] {
        fixture.fail(libc::EMFILE);
        let info = next_error(&mut errors).await;
        assert_eq!((info.action, info.next_try), (AcceptAction::Escalate, None));
        let (question, reply) = next_question(&mut questions).await;
        assert_eq!(question.app, *fixture.test.app.id());
        assert_eq!(question.socket_id, fixture.id);
        assert_eq!(question.result_code, NetError::INSUFFICIENT_RESOURCES);
        assert_eq!(question.errno, Some(libc::EMFILE));
        assert_eq!(question.class, AcceptErrorClass::Resources);
        assert_eq!(question.attempt, attempt);
        let info = fixture.info().await;
        assert_eq!((info.paused, info.blocked_by), (true, vec![NO_DESCRIPTOR]));
        reply.send(decision).expect("it waits");
        let info = next_error(&mut errors).await;
        assert_eq!((info.action, info.attempt), (decision, attempt));
        assert_eq!(info.next_try, Some(next_try));
        assert!(!fixture.info().await.paused);
    }
    let _peer = fixture.dial();
    fixture.test.accepted().await;
    assert_eq!(fixture.info().await.counts.failed, 3);
}

#[actix_rt::test]
async fn an_escalation_target_can_close_a_socket_of_a_suspended_app() {
    for asleep in [false, true] {
        let (fixture, mut errors) = Fixture::with(ESCALATE).await;
        let (_warden, mut questions) = fixture.start_target().await;
        let app = fixture.test.app.clone();
        if asleep {
            let persistent = SocketProperties {
                persistent: Some(true),
                ..Default::default()
            };
            let updated = app.tcp_server.update(fixture.id, persistent);
            updated.await.expect("it is open");
            within("suspend", app.suspend()).await.expect("suspend");
        }
        fixture.fail(libc::EBADF);
        let (question, reply) = next_question(&mut questions).await;
        assert_eq!(question.class, AcceptErrorClass::Listener);
        reply.send(AcceptAction::Close).expect("it waits");
        if asleep {
            errors = fixture.add_error_listener().await;
            within("resume", app.resume()).await.expect("resume");
        }
        assert_eq!(next_error(&mut errors).await.action, AcceptAction::Escalate);
        assert_eq!(next_error(&mut errors).await.action, AcceptAction::Close);
        within("its end", async {
            while fixture
                .test
                .app
                .tcp_server
                .get_info(fixture.id)
                .await
                .is_ok()
            {
                actix_rt::task::yield_now().await;
            }
        })
        .await;
    }
}

#[actix_rt::test]
async fn without_a_decision_the_socket_stays_paused() {
    let (fixture, mut errors) = Fixture::with(ESCALATE).await;
    fixture.fail(libc::EMFILE);
    assert_eq!(next_error(&mut errors).await.action, AcceptAction::Pause);
    assert!(fixture.info().await.paused);
    // A target that is dead by then, or dies without an answer.
    let (target, _questions) = fixture.start_target().await;
    target.send(Terminate).await.expect("the target stops");
    fixture.set_paused(false).await;
    fixture.fail(libc::EMFILE);
    assert_eq!(next_error(&mut errors).await.action, AcceptAction::Pause);

    let (target, mut questions) = fixture.start_target().await;
    fixture.set_paused(false).await;
    fixture.fail(libc::EMFILE);
    assert_eq!(next_error(&mut errors).await.action, AcceptAction::Escalate);
    let _question = next_question(&mut questions).await;
    target.do_send(Terminate);
    fixture.escalate_to(None).await;
    for _ in 0..100 {
        actix_rt::task::yield_now().await;
    }
    assert_eq!(fixture.info().await.blocked_by, [NO_DESCRIPTOR]);
    fixture.set_paused(false).await;
    fixture.fail(libc::EMFILE);
    assert_eq!(next_error(&mut errors).await.action, AcceptAction::Pause);
}

#[actix_rt::test]
async fn an_invalid_decision_is_a_pause() {
    let (fixture, mut errors) = Fixture::with(ESCALATE).await;
    let (_warden, mut questions) = fixture.start_target().await;
    let no_rest = AcceptAction::BackOff {
        first: Duration::ZERO,
        last: Duration::ZERO,
    };
    for bad in [AcceptAction::Shed, AcceptAction::Escalate, no_rest] {
        fixture.fail(libc::EMFILE);
        assert_eq!(next_error(&mut errors).await.action, AcceptAction::Escalate);
        let (_, reply) = next_question(&mut questions).await;
        reply.send(bad).expect("it waits");
        for _ in 0..100 {
            actix_rt::task::yield_now().await;
        }
        assert_eq!(fixture.info().await.blocked_by, [NO_DESCRIPTOR], "{bad:?}");
        assert!(errors.try_recv().is_err(), "{bad:?}");
        fixture.set_paused(false).await;
    }
}

#[actix_rt::test]
async fn an_app_that_resumes_its_socket_decides() {
    let (mut fixture, mut errors) = Fixture::with(ESCALATE).await;
    let (_warden, mut questions) = fixture.start_target().await;
    fixture.fail(libc::EMFILE);
    next_error(&mut errors).await;
    let (_, late) = next_question(&mut questions).await;
    fixture.set_paused(false).await;
    let _peer = fixture.dial();
    fixture.test.accepted().await;
    let _ = late.send(AcceptAction::Close);
    let _peer = fixture.dial();
    fixture.test.accepted().await;
    assert!(errors.try_recv().is_err());
    // A pause by the app outlasts a decision.
    fixture.fail(libc::EMFILE);
    next_error(&mut errors).await;
    let (_, reply) = next_question(&mut questions).await;
    fixture.set_paused(true).await;
    reply.send(AcceptAction::Continue).expect("it waits");
    assert_eq!(next_error(&mut errors).await.action, AcceptAction::Continue);
    assert_eq!(fixture.info().await.blocked_by, [BlockReason::App]);
}
