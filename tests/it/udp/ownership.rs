//! A socket belongs to one app, in every arbiter.

use chrome_sockets::udp::{DnsQueryType, SocketProperties};
use chrome_sockets::{App, Error, Registry, Shutdown, UdpSocketId};
use support::{TestApp, within};

use super::{Peer, bound, create, expect_alive, received};

#[actix_rt::test]
async fn an_unknown_id_and_another_apps_socket_are_not_found() {
    let mut test = TestApp::new().await;
    let (id, _) = bound(&test).await;
    let other = App::new("other", &test.registry);
    for (app, id) in [(&other, id), (&test.app, UdpSocketId::new(99))] {
        let udp = &app.udp;
        let gone = Err(Error::SocketNotFound);
        assert_eq!(udp.update(id, Default::default()).await, gone);
        assert_eq!(udp.set_paused(id, true).await, gone);
        assert_eq!(udp.bind(id, "127.0.0.1", 0).await, gone);
        let sent = udp.send(id, "x", "127.0.0.1", 1, DnsQueryType::Any).await;
        assert_eq!(sent.map(drop), gone);
        assert_eq!(udp.join_group(id, "224.0.0.251").await, gone);
        assert_eq!(udp.leave_group(id, "224.0.0.251").await, gone);
        assert_eq!(udp.get_joined_groups(id).await.map(drop), gone);
        assert_eq!(udp.set_multicast_time_to_live(id, 1).await, gone);
        assert_eq!(udp.set_multicast_loopback_mode(id, true).await, gone);
        assert_eq!(udp.set_broadcast(id, true).await, gone);
        assert_eq!(udp.get_info(id).await.map(drop), gone);
        assert_eq!(udp.socket(id).await.map(drop), gone);
        assert_eq!(udp.close(id).await, gone);
    }
    assert_eq!(other.udp.get_sockets().await, Ok(Vec::new()));
    expect_alive(&mut test, id).await;
}

#[actix_rt::test]
async fn with_several_arbiters_sockets_are_divided_and_work_the_same() {
    let mut test = TestApp::on(Registry::new().arbiters(3)).await;
    let peer = Peer::new().await;
    let mut sockets = Vec::new();
    for _ in 0..9 {
        sockets.push(bound(&test).await);
    }
    for round in 0..20_u8 {
        for (id, at) in &sockets {
            peer.send(&[round], *at).await;
            assert_eq!(
                received(&mut test, *id).await,
                (vec![round], peer.address())
            );
            let socket = test.app.udp.socket(*id).await.expect("it exists");
            socket
                .send_to(vec![round], peer.address())
                .await
                .expect("sent");
            assert_eq!(peer.receive().await, (vec![round], *at));
        }
    }
    let listed = test.app.udp.get_sockets().await.expect("the registry runs");
    let listed: Vec<_> = listed.iter().map(|info| info.socket_id).collect();
    let ids: Vec<_> = sockets.iter().map(|(id, _)| *id).collect();
    assert_eq!(listed, ids, "in the order of their ids");
    for (id, _) in sockets {
        test.app.udp.set_paused(id, true).await.expect("paused");
        test.app.udp.close(id).await.expect("close");
    }
    assert_eq!(test.app.udp.get_sockets().await, Ok(Vec::new()));
    test.expect_no_event().await;
}

#[actix_rt::test]
async fn a_shutdown_and_an_unload_release_the_ports() {
    let test = TestApp::new().await;
    let other = TestApp::new().await;
    let udp = &other.app.udp;
    let (_, unloaded) = bound(&test).await;
    let unload = within("the unload", test.app.unload()).await;
    unload.expect("the registry runs");
    let id = create(&other, SocketProperties::default()).await;
    let port = unloaded.port().into();
    udp.bind(id, "127.0.0.1", port).await.expect("it is free");
    let (id, at) = bound(&test).await;
    let socket = test.app.udp.socket(id).await.expect("it exists");
    let stopped = test.registry.send(Shutdown).await;
    stopped.expect("it runs").expect("shut down");
    let second = create(&other, SocketProperties::default()).await;
    let port = at.port().into();
    udp.bind(second, "127.0.0.1", port)
        .await
        .expect("it is free");
    assert_eq!(
        test.app.udp.create(Default::default()).await.map(drop),
        Err(Error::Stopped)
    );
    assert_eq!(socket.send_to("x", at).await.map(drop), Err(Error::Stopped));
    assert_eq!(socket.get_info().await.map(drop), Err(Error::Stopped));
}

#[actix_rt::test]
async fn a_listener_of_one_arbiter_gets_the_datagrams_of_its_sockets_only_in_their_thread() {
    use std::thread::ThreadId;

    use actix::prelude::*;
    use chrome_sockets::udp::ReceiveInfo;
    use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

    struct Local(usize, UnboundedSender<(usize, ThreadId, UdpSocketId)>);

    impl Actor for Local {
        type Context = Context<Self>;
    }

    impl Handler<ReceiveInfo> for Local {
        type Result = ();

        fn handle(&mut self, info: ReceiveInfo, _: &mut Self::Context) {
            let here = std::thread::current().id();
            let _ = self.1.send((self.0, here, info.socket_id));
        }
    }

    let test = TestApp::on(Registry::new().arbiters(2)).await;
    test.remove_listener().await;
    let (sender, mut events) = unbounded_channel();
    let set = test.app.on_each_arbiter(move |local| {
        let listener = Local(local.index(), sender.clone()).start();
        local.do_add_listener::<ReceiveInfo>(listener.recipient());
    });
    set.await.expect("the registry runs");
    let peer = Peer::new().await;
    let (mut arbiters, mut threads) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        let (id, at) = bound(&test).await;
        peer.send(b"x", at).await;
        let (arbiter, thread, from) = within("an event", events.recv()).await.expect("it runs");
        assert_eq!(from, id);
        arbiters.push(arbiter);
        threads.push(thread);
    }
    arbiters.sort_unstable();
    assert_eq!(arbiters, [0, 1]);
    assert_ne!(threads[0], threads[1]);
    assert!(events.try_recv().is_err());
}
