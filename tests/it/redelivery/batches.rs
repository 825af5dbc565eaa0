//! A batch that is handled in part: what the handler has taken out and dropped is handled, the rest
//! is raised again, and a panic counts for the event that was being handled.

use std::sync::mpsc;

use chrome_sockets::MAX_PANICS;
use chrome_sockets::tcp::ReceiveBatch;

use super::*;

/// How a listener of batches goes through them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Loop {
    /// `for info in batch`.
    Take,
    /// `for info in &batch`.
    Borrow,
    /// It panics before it looks at any event.
    Ignore,
}

impl Handler<ReceiveBatch> for ScriptedListener {
    type Result = ();

    fn handle(&mut self, batch: ReceiveBatch, ctx: &mut Self::Context) {
        for info in batch {
            self.handle(info, ctx);
        }
    }
}

/// Starts a scripted listener of batches.
async fn start_listener(fixture: &Fixture, reactions: &[Reaction]) -> ScriptedListenerHandle {
    ScriptedListenerHandle::of_batches(&fixture.test.app, reactions).await
}

#[actix_rt::test]
async fn a_panic_in_the_middle_of_a_batch_returns_what_was_not_handled_in_order_and_once() {
    let mut fixture = Fixture::new().await;
    let listener = start_listener(&fixture, &[Handle, Handle, Panic]).await;
    fixture.peer.send("abcdef");
    assert_eq!(listener.wait_for_death().await, data("ab"));
    // The next one gets batches too, and after it a listener of single events.
    let listener = start_listener(&fixture, &[Handle, Panic]).await;
    assert_eq!(listener.wait_for_death().await, data("c"));
    fixture.listen().await;
    fixture.expect_data("def").await;
    fixture.assert_alive().await;
}

#[actix_rt::test]
async fn what_was_taken_out_of_an_event_of_a_batch_is_handled() {
    let mut fixture = Fixture::new().await;
    let listener = start_listener(&fixture, &[Handle, TakeAndPanic]).await;
    fixture.peer.send("abc");
    assert_eq!(listener.wait_for_death().await, data("ab"));
    fixture.listen().await;
    fixture.expect_data("c").await;
    fixture.assert_alive().await;
}

#[actix_rt::test]
async fn events_that_were_not_taken_out_yet_are_not_suspected() {
    let mut fixture = Fixture::new().await;
    // The first event is gone when its handler panics.
    let listener = start_listener(&fixture, &[ForwardAndPanic]).await;
    fixture.peer.send("ab");
    assert_eq!(listener.wait_for_death().await, []);
    // So it takes all panics to end the connection, and these are too few.
    for _ in 1..MAX_PANICS {
        let listener = start_listener(&fixture, &[Panic]).await;
        assert_eq!(listener.wait_for_death().await, []);
    }
    fixture.listen().await;
    fixture.expect_data("b").await;
    assert_eq!(fixture.peer.received(), b"a");
    fixture.assert_alive().await;
}

#[actix_rt::test]
async fn events_of_a_batch_that_the_listener_kept_return_when_it_dies() {
    let mut fixture = Fixture::new().await;
    let listener = start_listener(&fixture, &[Handle, Keep, Keep, Panic]).await;
    fixture.peer.send("abcdef");
    assert_eq!(listener.wait_for_death().await, data("abc"));
    fixture.listen().await;
    fixture.expect_data("bcdef").await;
    fixture.assert_alive().await;
}

#[actix_rt::test]
async fn events_of_a_batch_that_another_listener_handled_do_not_return() {
    let mut fixture = Fixture::new().await;
    let first = start_listener(&fixture, &[Handle, Panic]).await;
    let mut second = fixture.start_listener(&[]).await;
    let third = start_listener(&fixture, &[Panic]).await;
    fixture.peer.send("abc");
    assert_eq!(first.wait_for_death().await, data("a"));
    assert_eq!(third.wait_for_death().await, []);
    for reported in data("abc") {
        assert_eq!(within("data", second.handled.recv()).await, Some(reported));
    }
    fixture.listen().await;
    fixture.assert_alive().await;
    let handled = within("data", second.handled.recv()).await;
    assert_eq!(handled, Some(HandledEvent::Data("!".into())));
    assert!(second.handled.try_recv().is_err(), "nothing comes twice");
}

#[actix_rt::test]
async fn events_that_no_listener_of_either_kind_handled_return_once() {
    let mut fixture = Fixture::new().await;
    let first = start_listener(&fixture, &[Handle, Panic]).await;
    let second = fixture.start_listener(&[Handle, Handle, Panic]).await;
    let third = start_listener(&fixture, &[Panic]).await;
    fixture.peer.send("abcd");
    assert_eq!(first.wait_for_death().await, data("a"));
    assert_eq!(second.wait_for_death().await, data("ab"));
    assert_eq!(third.wait_for_death().await, []);
    fixture.listen().await;
    fixture.expect_data("cd").await;
    fixture.assert_alive().await;
}

/// Keeps batches, whole or after their first event was taken out. Another message blocks its
/// thread until the test lets go, and then makes it panic.
#[derive(Default)]
struct Keeper {
    begun: Vec<chrome_sockets::BatchIntoIter<ReceiveInfo>>,
    whole: Vec<ReceiveBatch>,
}

impl Actor for Keeper {
    type Context = Context<Self>;
}

impl Handler<ReceiveBatch> for Keeper {
    type Result = ();

    fn handle(&mut self, batch: ReceiveBatch, _: &mut Self::Context) {
        match self.begun.is_empty() {
            true => {
                let mut begun = batch.into_iter();
                begun.next();
                self.begun.push(begun);
            }
            false => self.whole.push(batch),
        }
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct BlockAndPanic(mpsc::Receiver<()>);

impl Handler<BlockAndPanic> for Keeper {
    type Result = ();

    fn handle(&mut self, BlockAndPanic(released): BlockAndPanic, _: &mut Self::Context) {
        let _ = released.recv();
        panic!("with batches in the mailbox");
    }
}

/// Waits until what peers have sent is raised: the actor of the sockets had two turns.
async fn until_raised(fixture: &Fixture) {
    for _ in 0..2 {
        fixture.client.get_info().await.expect("it is open");
    }
}

#[actix_rt::test]
async fn batches_in_the_mailbox_or_the_hands_of_a_listener_that_dies_return() {
    let mut fixture = Fixture::new().await;
    let arbiter = Arbiter::new();
    let keeper = Keeper::start_in_arbiter(&arbiter.handle(), |_| Keeper::default());
    let on_receive = &fixture.test.app.tcp.on_receive_batch;
    let added = on_receive.add_listener(keeper.clone().recipient()).await;
    added.expect("the registry runs");
    for piece in ["abc", "def"] {
        fixture.peer.send(piece);
        until_raised(&fixture).await;
    }
    let (release, released) = mpsc::channel();
    keeper.do_send(BlockAndPanic(released));
    fixture.peer.send("ghi");
    until_raised(&fixture).await;
    release.send(()).expect("it waits");
    support::until("its death", || !keeper.connected()).await;
    fixture.listen().await;
    fixture.expect_data("bcdefghi").await;
    fixture.assert_alive().await;
    arbiter.stop();
}

/// Records the data of each event in order, and panics at `poison`.
struct Victim {
    how: Loop,
    seen: UnboundedSender<Bytes>,
}

impl Actor for Victim {
    type Context = Context<Self>;
}

impl Victim {
    fn look_at(&self, info: &ReceiveInfo) {
        let _ = self.seen.send(info.data.clone());
        assert!(info.data != "poison", "this input is poison");
    }
}

impl Handler<ReceiveBatch> for Victim {
    type Result = ();

    fn handle(&mut self, batch: ReceiveBatch, _: &mut Self::Context) {
        match self.how {
            Loop::Take => batch.into_iter().for_each(|info| self.look_at(&info)),
            Loop::Borrow => batch.iter().for_each(|info| self.look_at(info)),
            Loop::Ignore => panic!("at {} events", batch.len()),
        }
    }
}

/// Adds listeners one after the other until one outlives `data`. Returns what each has seen.
async fn die_by(test: &TestApp, how: Loop, deaths: u32) -> Vec<Vec<Bytes>> {
    let mut all = Vec::new();
    for _ in 0..deaths {
        let (seen, mut events) = unbounded_channel();
        let victim = Victim { how, seen }.start();
        let on_receive = &test.app.tcp.on_receive_batch;
        let added = on_receive.add_listener(victim.clone().recipient()).await;
        added.expect("the registry runs");
        support::until("its death", || !victim.connected()).await;
        all.push(std::iter::from_fn(|| events.try_recv().ok()).collect());
    }
    all
}

async fn expect_only_poison_ends_its_connection(how: Loop) {
    let network = ScriptedNetwork::new();
    let mut test = TestApp::with_network(network.clone()).await;
    // The listener of the end stays.
    let listener = test.listener.clone();
    let on_receive = &test.app.tcp.on_receive;
    let removed = on_receive.remove_listener(listener.clone().recipient());
    removed.await.expect("the registry runs");
    let (before, poison, after) = (
        connected(&test, &network, 100).await,
        connected(&test, &network, 100).await,
        connected(&test, &network, 100).await,
    );
    // One turn reads all of them.
    before.1.send("before");
    poison.1.send("poison");
    after.1.send("after");
    let seen = die_by(&test, how, MAX_PANICS).await;
    assert_eq!(seen[0], ["before", "poison"]);
    // The others come before the suspect.
    match how {
        Loop::Take => assert_eq!(seen[1], ["after", "poison"]),
        _ => assert_eq!(seen[1], ["before", "after", "poison"]),
    }
    assert_eq!(seen[2], ["poison"]);
    let added = test.app.tcp.on_receive.add_listener(listener.recipient());
    added.await.expect("the registry runs");
    assert_eq!(test.ended(poison.0.id()).await, NetError::FAILED);
    for (client, peer) in [&before, &after] {
        peer.send("alive");
        assert_eq!(test.received(client.id(), 5).await, b"alive");
    }
    test.expect_no_event().await;
}

#[actix_rt::test]
async fn a_panic_counts_for_the_event_that_was_taken_out() {
    expect_only_poison_ends_its_connection(Loop::Take).await;
}

#[actix_rt::test]
async fn a_panic_counts_for_the_borrowed_event_that_was_looked_at_last() {
    expect_only_poison_ends_its_connection(Loop::Borrow).await;
}

#[actix_rt::test]
async fn a_listener_that_panics_at_every_batch_ends_the_connection_at_the_third() {
    let mut fixture = Fixture::new().await;
    let ends = fixture.test.listener.clone().recipient();
    let on_receive_error = &fixture.test.app.tcp.on_receive_error;
    on_receive_error.do_add_listener(ends);
    fixture.peer.send("ab");
    die_by(&fixture.test, Loop::Ignore, MAX_PANICS).await;
    fixture.listen().await;
    fixture.expect_end(NetError::FAILED).await;
    fixture.peer = reconnect(&fixture.client, &fixture.network).await;
    fixture.client.set_paused(false).await.expect("it is open");
    fixture.assert_alive().await;
}
