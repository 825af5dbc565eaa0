//! 60 clients and 40 descriptors, under each policy: who is served, who is
//! closed, who waits.

use super::*;

const DESCRIPTORS: u64 = 40;
const CLIENTS: usize = 60;

/// A host that has had more clients than it has descriptors.
struct Scene {
    host: Host,
    watched: Watched,
    honest: Honest,
    /// In the order in which they came.
    clients: Vec<TcpStream>,
    /// Those that the host has accepted besides: the first and the honest one.
    others: u64,
}

impl Scene {
    fn new(policy: &str) -> Self {
        let mut host = Host::start(policy, 0, Some(DESCRIPTORS));
        let watched = Watched::after_the_first(&host.program, host.at);
        let honest = Honest::with_an_old_connection(host.at);
        // All of them are there before the first is accepted.
        host.call("pause");
        let at = host.at;
        let clients = (0..CLIENTS).map(|_| knock(at)).collect();
        host.call("resume");
        Scene {
            host,
            watched,
            honest,
            clients,
            others: 2,
        }
    }

    /// How many of them have been accepted, of which nobody has been lost.
    fn accepted(&mut self) -> usize {
        let info = self.host.info();
        assert_eq!(info.refused, 0);
        assert!(info.delivered <= info.accepted, "{info:?}");
        usize::try_from(info.accepted - self.others).expect("few")
    }

    /// Whether it is, and for as many times by now.
    fn is_paused_for_good(&mut self, lasting: &str, times: usize) -> bool {
        let said = self.host.program.stdout.so_far();
        said.matches(lasting).count() >= times && self.host.info().paused
    }

    /// The first of them are served and the others wait, as the counts say.
    fn the_first_are_served(&mut self) -> usize {
        let served = self.accepted();
        assert!(0 < served && served < CLIENTS, "{served} of {CLIENTS}");
        for (i, client) in self.clients.iter().enumerate() {
            let (fate, expected) = match i < served {
                true => (fate(client), Fate::Served),
                false => (fate_by_now(client), Fate::Waits),
            };
            assert_eq!(fate, expected, "client {i}, where {served} are served");
        }
        served
    }

    /// The server is as it was before; this many descriptors fewer, though.
    fn ends(mut self, fewer: usize) {
        self.clients.clear();
        let amid = "60 clients on 40 descriptors";
        self.honest.was_served_within_a_second_each_time(amid);
        self.watched.descriptors -= fewer;
        self.watched.has_the_descriptors_of_the_beginning();
        echo_line(&dial(self.host.beside), "proof of life");
        self.watched.has_the_descriptors_of_the_beginning();
        self.watched.has_grown_at_most(SLACK, amid);
        self.host.ends_well();
    }
}

/// The server socket pauses, and all are served in the end because it is
/// resumed, as often as it takes. What the child says at each pause that lasts is `lasting`.
fn all_are_served_by_resuming(mut scene: Scene, lasting: &str) {
    eventually("the pause", || scene.is_paused_for_good(lasting, 1));
    let mut served = scene.the_first_are_served();
    let mut left = 0;
    let mut resumed = 0;
    while served < CLIENTS {
        // Their descriptors are free, and still nobody is accepted.
        drop(scene.clients.drain(..served - left));
        left = served;
        eventually("the end of the served", || {
            scene.watched.more_descriptors() == 1
        });
        assert!(scene.host.info().paused);
        assert_eq!(scene.accepted(), served);
        for client in &scene.clients {
            assert_eq!(fate_by_now(client), Fate::Waits, "it is paused");
        }
        scene.host.call("resume");
        resumed += 1;
        eventually("the next ones, or a pause", || {
            scene.accepted() == CLIENTS || scene.is_paused_for_good(lasting, resumed + 1)
        });
        served = scene.accepted();
        let (now, later) = scene.clients.split_at(served - left);
        assert!(!now.is_empty(), "there were descriptors");
        assert!(now.iter().all(|client| fate(client) == Fate::Served));
        assert!(
            later
                .iter()
                .all(|client| fate_by_now(client) == Fate::Waits)
        );
    }
    let info = scene.host.info();
    assert_eq!(info.delivered, info.accepted, "nobody is lost");
    assert!(info.failed > 0);
    for client in &scene.clients {
        assert_eq!(fate_by_now(client), Fate::Waits, "each is served once");
    }
    scene.clients.clear();
    scene.host.call("resume");
    echo_line(&dial(scene.host.at), "proof of life");
    scene.ends(0);
}

#[test]
fn by_default_clients_without_a_descriptor_wait_and_are_all_served_after_a_resume() {
    let mut scene = Scene::new("default");
    let told = scene.host.program.stdout.line("error ");
    assert_eq!(told, format!("error {} attempt 1 Pause", libc::EMFILE));
    all_are_served_by_resuming(scene, " Pause");
}

#[test]
fn go_on_is_refused_for_resources_and_the_default_stays() {
    let mut scene = Scene::new("go-on");
    let set = scene.host.program.stdout.line("policy ");
    assert!(set.contains("Err(") && set.contains("INVALID"), "{set}");
    scene.host.program.stdout.line("attempt 1 Pause");
    all_are_served_by_resuming(scene, " Pause");
}

#[test]
fn escalate_waits_for_a_decision_and_serves_waiting_clients_after_a_resume() {
    let mut scene = Scene::new("escalate");
    scene.host.program.stdout.line("attempt 1 Escalate");
    for attempt in 1..=3 {
        let said = format!("attempt {attempt} BackOff");
        scene.host.program.stdout.line(&said);
    }
    scene.host.program.stdout.line("asked for the 4 attempt");
    all_are_served_by_resuming(scene, "asked for the 4 attempt");
}

#[test]
fn back_off_serves_waiting_clients_as_soon_as_descriptors_are_free() {
    let mut scene = Scene::new("back-off");
    for attempt in 1..=5 {
        let said = format!("error {} attempt {attempt} BackOff", libc::EMFILE);
        scene.host.program.stdout.line(&said);
    }
    assert!(!scene.host.info().paused, "it tries by itself");
    let served = scene.the_first_are_served();
    drop(scene.clients.drain(..served));
    for client in scene.clients.drain(..) {
        assert_eq!(fate(&client), Fate::Served);
    }
    assert_eq!(scene.accepted(), CLIENTS);
    let info = scene.host.info();
    assert_eq!(info.delivered, info.accepted, "nobody is lost");
    echo_line(&dial(scene.host.at), "proof of life");
    scene.ends(0);
}

#[test]
fn shed_closes_clients_without_a_descriptor_and_none_waits() {
    let mut scene = Scene::new("shed");
    let fates: Vec<Fate> = scene.clients.iter().map(fate).collect();
    let served = fates.iter().take_while(|it| **it == Fate::Served).count();
    let closed = fates[served..].iter().filter(|it| **it == Fate::Closed);
    let closed = closed.count();
    assert!(0 < served && 0 < closed, "{fates:?}");
    assert_eq!(served + closed, CLIENTS, "{fates:?}");
    let info = scene.host.info();
    let others = usize::try_from(scene.others).expect("few");
    let all = [info.accepted, info.delivered, info.refused].map(usize::try_from);
    assert_eq!(
        all.map(|count| count.expect("few")),
        [CLIENTS + others, served + others, closed]
    );
    for client in &scene.clients[..served] {
        assert_eq!(fate_by_now(client), Fate::Waits, "it lives on");
    }
    scene.clients.clear();
    eventually("the end of the served", || {
        scene.watched.more_descriptors() == 1
    });
    echo_line(&dial(scene.host.at), "proof of life");
    scene.ends(0);
}

#[test]
fn shed_on_a_shared_port_leaves_no_client_waiting_at_either_listener() {
    let mut scene = Scene::new("shed-shared");
    let fates: Vec<Fate> = scene.clients.iter().map(fate).collect();
    let count = |wanted| fates.iter().filter(|it| **it == wanted).count();
    let (served, closed) = (count(Fate::Served), count(Fate::Closed));
    assert!(0 < served && 0 < closed, "{fates:?}");
    assert_eq!(served + closed, CLIENTS, "{fates:?}");
    let info = scene.host.info();
    let others = usize::try_from(scene.others).expect("few");
    let all = [info.accepted, info.delivered, info.refused].map(usize::try_from);
    assert_eq!(
        all.map(|count| count.expect("few")),
        [CLIENTS + others, served + others, closed]
    );
    scene.clients.clear();
    eventually("the end of the served", || {
        scene.watched.more_descriptors() <= 1
    });
    echo_line(&dial(scene.host.at), "proof of life");
}

#[test]
fn close_resets_waiting_clients_and_continues_to_serve_open_ones() {
    let mut scene = Scene::new("close");
    let told = scene.host.program.stdout.line("error ");
    assert_eq!(told, format!("error {} attempt 1 Close", libc::EMFILE));
    eventually("its end", || scene.host.call("info").is_none());
    let fates: Vec<Fate> = scene.clients.iter().map(fate).collect();
    let served = fates.iter().take_while(|it| **it == Fate::Served).count();
    assert!(0 < served && served < CLIENTS, "{fates:?}");
    assert!(fates[served..].iter().all(|it| *it == Fate::Closed));
    for client in &scene.clients[..served] {
        echo_line(client, "a client of a server socket that is no more");
    }
    let refused = TcpStream::connect(scene.host.at).map_err(|error| error.kind());
    assert_eq!(refused.err(), Some(ErrorKind::ConnectionRefused));
    // The listener's own descriptor is gone.
    scene.ends(1);
}
