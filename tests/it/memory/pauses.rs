//! Pauses that wait for an event and are answered by a resume, repeated many times.

use super::*;

/// Keeps every event, and resumes each client.
#[derive(Default)]
struct KeepingListener {
    events: Vec<Box<dyn std::any::Any>>,
    received: Option<UnboundedSender<ClientSocket>>,
}

impl Actor for KeepingListener {
    type Context = Context<Self>;
}

impl Handler<AcceptInfo> for KeepingListener {
    type Result = ();

    fn handle(&mut self, info: AcceptInfo, _: &mut Self::Context) {
        info.client().do_set_paused(false);
        self.events.push(Box::new(info));
    }
}

impl Handler<ReceiveInfo> for KeepingListener {
    type Result = ();

    fn handle(&mut self, info: ReceiveInfo, _: &mut Self::Context) {
        if let Some(received) = &self.received {
            let _ = received.send(info.client().clone());
        }
        self.events.push(Box::new(info));
    }
}

/// Growth of the process by many pauses, each of which waits until the resume.
async fn growth(set_paused: impl Fn(bool) -> Answer<()>) -> usize {
    let rounds = async |rounds| {
        for _ in 0..rounds {
            let pauses = Vec::from_iter((0..500).map(|_| {
                let pause = set_paused(true);
                drop(set_paused(false));
                pause
            }));
            for pause in pauses {
                assert_eq!(pause.await, Ok(()), "the resume has answered it");
            }
        }
    };
    rounds(10).await;
    let before = resident();
    rounds(200).await;
    resident().saturating_sub(before)
}

#[test]
fn a_hundred_thousand_pauses_and_resumes_do_not_grow_the_process() {
    if role().is_some() {
        return run_child(async {
            let child_app = ChildApp::start(Registry::new()).await;
            let (sender, mut received) = unbounded_channel();
            let keeping_listener = KeepingListener {
                received: Some(sender),
                ..Default::default()
            };
            let keeping_listener = keeping_listener.start();
            child_app
                .add_accept_listener(keeping_listener.clone())
                .await;
            child_app.add_receive_listener(keeping_listener).await;
            child_app.listen(1).await;
            let client = within("the data", received.recv()).await;
            let client = client.expect("its listener lives");
            let tcp_server = &child_app.app.tcp_server;
            let server = growth(|paused| tcp_server.set_paused(child_app.server, paused)).await;
            let client = growth(|paused| client.set_paused(paused)).await;
            for grown in [server, client] {
                assert!(grown <= 4 * MIB, "grown by {}", format_kib(grown));
            }
            let output = format!(
                "{} server socket, {} client socket",
                format_kib(server),
                format_kib(client)
            );
            child_app.report_success(&output).await;
        });
    }
    let process = MeasuredProcess::start(
        "pauses::a_hundred_thousand_pauses_and_resumes_do_not_grow_the_process",
        "the pauses",
    );
    let mut peer = connect(process.at);
    peer.write_all(b"kept").expect("it is accepted");
    process.finish();
}
