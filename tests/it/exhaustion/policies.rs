//! 60 clients and 40 descriptors, under each policy: which clients are served, closed, or wait.

use super::*;

const DESCRIPTORS: u64 = 40;
const CLIENTS: usize = 60;

/// A server that has had more clients than descriptors.
struct Fixture {
    server: ServerProcess,
    baseline: Baseline,
    honest_client: HonestClient,
    /// In the order in which they connected.
    clients: Vec<TcpStream>,
    /// Other accepted connections: the first client and the honest one.
    others: u64,
}

impl Fixture {
    fn new(policy: &str) -> Self {
        let mut server = ServerProcess::start(policy, 0, Some(DESCRIPTORS));
        let baseline = Baseline::after_first_client(&server.program, server.at);
        let honest_client = HonestClient::on_one_connection(server.at);
        // All of them are connected before the first is accepted.
        server.call("pause");
        let at = server.at;
        let clients = (0..CLIENTS).map(|_| send_probe(at)).collect();
        server.call("resume");
        Fixture {
            server,
            baseline,
            honest_client,
            clients,
            others: 2,
        }
    }

    /// Number of accepted clients. Checks that none was lost.
    fn accepted(&mut self) -> usize {
        let info = self.server.info();
        assert_eq!(info.refused, 0);
        assert!(info.delivered <= info.accepted, "{info:?}");
        usize::try_from(info.accepted - self.others).expect("it fits the type")
    }

    /// Whether it is paused, after this many pauses.
    fn stays_paused(&mut self, lasting: &str, times: usize) -> bool {
        let output = self.server.program.stdout.so_far();
        output.matches(lasting).count() >= times && self.server.info().paused
    }

    /// Checks that the first clients are served and the others wait, as the counts say.
    fn expect_first_served(&mut self) -> usize {
        let served = self.accepted();
        assert!(0 < served && served < CLIENTS, "{served} of {CLIENTS}");
        for (i, client) in self.clients.iter().enumerate() {
            let (outcome, expected) = match i < served {
                true => (outcome(client), ClientOutcome::Served),
                false => (outcome_now(client), ClientOutcome::Waiting),
            };
            assert_eq!(outcome, expected, "client {i}, where {served} are served");
        }
        served
    }

    /// Checks that the server is as before, with `fewer` descriptors less.
    fn finish(mut self, fewer: usize) {
        self.clients.clear();
        let amid = "60 clients on 40 descriptors";
        self.honest_client.assert_prompt(amid);
        self.baseline.descriptors -= fewer;
        self.baseline.assert_descriptors_released();
        echo_line(&dial(self.server.beside), "proof of life");
        self.baseline.assert_descriptors_released();
        self.baseline.assert_growth(SLACK, amid);
        self.server.expect_success();
    }
}

/// The server socket pauses, and all clients are served after enough resumes. The child prints
/// `lasting` at each pause.
fn expect_all_served_by_resuming(mut fixture: Fixture, lasting: &str) {
    eventually("the pause", || fixture.stays_paused(lasting, 1));
    let mut served = fixture.expect_first_served();
    let mut left = 0;
    let mut resumed = 0;
    while served < CLIENTS {
        // Their descriptors are free, and the socket still accepts nothing.
        drop(fixture.clients.drain(..served - left));
        left = served;
        eventually("the end of the served clients", || {
            fixture.baseline.extra_descriptors() <= 1 + POLLER
        });
        assert!(fixture.server.info().paused);
        assert_eq!(fixture.accepted(), served);
        for client in &fixture.clients {
            assert_eq!(outcome_now(client), ClientOutcome::Waiting, "it is paused");
        }
        fixture.server.call("resume");
        resumed += 1;
        eventually("the next ones, or a pause", || {
            fixture.accepted() == CLIENTS || fixture.stays_paused(lasting, resumed + 1)
        });
        served = fixture.accepted();
        let (now, later) = fixture.clients.split_at(served - left);
        assert!(!now.is_empty(), "there were descriptors");
        assert!(
            now.iter()
                .all(|client| outcome(client) == ClientOutcome::Served)
        );
        assert!(
            later
                .iter()
                .all(|client| outcome_now(client) == ClientOutcome::Waiting)
        );
    }
    let info = fixture.server.info();
    assert_eq!(info.delivered, info.accepted, "no client is lost");
    assert!(info.failed > 0);
    for client in &fixture.clients {
        assert_eq!(
            outcome_now(client),
            ClientOutcome::Waiting,
            "each is served once"
        );
    }
    fixture.clients.clear();
    fixture.server.call("resume");
    echo_line(&dial(fixture.server.at), "proof of life");
    fixture.finish(0);
}

#[test]
fn by_default_clients_without_a_descriptor_wait_and_are_all_served_after_a_resume() {
    let mut fixture = Fixture::new("default");
    let reported = fixture.server.program.stdout.line("error ");
    assert_eq!(reported, format!("error {} attempt 1 Pause", libc::EMFILE));
    expect_all_served_by_resuming(fixture, " Pause");
}

#[test]
fn go_on_is_refused_for_resources_and_the_default_stays() {
    let mut fixture = Fixture::new("go-on");
    let set = fixture.server.program.stdout.line("policy ");
    assert!(
        set.contains("Err(InvalidArgument(ContinueForResources))"),
        "{set}"
    );
    fixture.server.program.stdout.line("attempt 1 Pause");
    expect_all_served_by_resuming(fixture, " Pause");
}

#[test]
fn escalate_waits_for_a_decision_and_serves_waiting_clients_after_a_resume() {
    let mut fixture = Fixture::new("escalate");
    fixture.server.program.stdout.line("attempt 1 Escalate");
    for attempt in 1..=3 {
        let output = format!("attempt {attempt} BackOff");
        fixture.server.program.stdout.line(&output);
    }
    fixture
        .server
        .program
        .stdout
        .line("asked for the 4 attempt");
    expect_all_served_by_resuming(fixture, "asked for the 4 attempt");
}

#[test]
fn back_off_serves_waiting_clients_as_soon_as_descriptors_are_free() {
    let mut fixture = Fixture::new("back-off");
    for attempt in 1..=5 {
        let output = format!("error {} attempt {attempt} BackOff", libc::EMFILE);
        fixture.server.program.stdout.line(&output);
    }
    assert!(!fixture.server.info().paused, "it retries by itself");
    let served = fixture.expect_first_served();
    drop(fixture.clients.drain(..served));
    for client in fixture.clients.drain(..) {
        assert_eq!(outcome(&client), ClientOutcome::Served);
    }
    assert_eq!(fixture.accepted(), CLIENTS);
    let info = fixture.server.info();
    assert_eq!(info.delivered, info.accepted, "no client is lost");
    echo_line(&dial(fixture.server.at), "proof of life");
    fixture.finish(0);
}

#[test]
fn shed_closes_clients_without_a_descriptor_and_none_waits() {
    let mut fixture = Fixture::new("shed");
    let outcomes: Vec<ClientOutcome> = fixture.clients.iter().map(outcome).collect();
    let served = outcomes
        .iter()
        .take_while(|it| **it == ClientOutcome::Served)
        .count();
    let closed = outcomes[served..]
        .iter()
        .filter(|it| **it == ClientOutcome::Closed);
    let closed = closed.count();
    assert!(0 < served && 0 < closed, "{outcomes:?}");
    assert_eq!(served + closed, CLIENTS, "{outcomes:?}");
    let info = fixture.server.info();
    let others = usize::try_from(fixture.others).expect("it fits the type");
    let all = [info.accepted, info.delivered, info.refused].map(usize::try_from);
    assert_eq!(
        all.map(|count| count.expect("it fits the type")),
        [CLIENTS + others, served + others, closed]
    );
    for client in &fixture.clients[..served] {
        assert_eq!(outcome_now(client), ClientOutcome::Waiting, "it continues");
    }
    fixture.clients.clear();
    eventually("the end of the served clients", || {
        fixture.baseline.extra_descriptors() <= 1 + POLLER
    });
    echo_line(&dial(fixture.server.at), "proof of life");
    fixture.finish(0);
}

#[test]
fn shed_on_a_shared_port_leaves_no_client_waiting_at_either_listener() {
    let mut fixture = Fixture::new("shed-shared");
    let outcomes: Vec<ClientOutcome> = fixture.clients.iter().map(outcome).collect();
    let count = |wanted| outcomes.iter().filter(|it| **it == wanted).count();
    let (served, closed) = (count(ClientOutcome::Served), count(ClientOutcome::Closed));
    assert!(0 < served && 0 < closed, "{outcomes:?}");
    assert_eq!(served + closed, CLIENTS, "{outcomes:?}");
    let info = fixture.server.info();
    let others = usize::try_from(fixture.others).expect("it fits the type");
    let all = [info.accepted, info.delivered, info.refused].map(usize::try_from);
    assert_eq!(
        all.map(|count| count.expect("it fits the type")),
        [CLIENTS + others, served + others, closed]
    );
    fixture.clients.clear();
    eventually("the end of the served clients", || {
        fixture.baseline.extra_descriptors() <= 1 + 2 * POLLER
    });
    echo_line(&dial(fixture.server.at), "proof of life");
}

#[test]
fn close_resets_waiting_clients_and_continues_to_serve_open_ones() {
    let mut fixture = Fixture::new("close");
    let reported = fixture.server.program.stdout.line("error ");
    assert_eq!(reported, format!("error {} attempt 1 Close", libc::EMFILE));
    eventually("its end", || fixture.server.call("info").is_none());
    let outcomes: Vec<ClientOutcome> = fixture.clients.iter().map(outcome).collect();
    let served = outcomes
        .iter()
        .take_while(|it| **it == ClientOutcome::Served)
        .count();
    assert!(0 < served && served < CLIENTS, "{outcomes:?}");
    assert!(
        outcomes[served..]
            .iter()
            .all(|it| *it == ClientOutcome::Closed)
    );
    for client in &fixture.clients[..served] {
        echo_line(client, "a client of a server socket that is no more");
    }
    let refused = TcpStream::connect(fixture.server.at).map_err(|error| error.kind());
    assert_eq!(refused.err(), Some(ErrorKind::ConnectionRefused));
    // The listener's own descriptor is closed.
    fixture.finish(1);
}
