//! TLS over Unix sockets.

use chrome_sockets::tcp::SecureOptions;
use chrome_sockets::{Registry, tls};

use super::*;
use crate::tls::certificates::Authority;

#[actix_rt::test]
async fn tls_works_in_both_roles_and_the_certificate_is_for_localhost() {
    let folder = Folder::new();
    let authority = Authority::new();
    let registry = Registry::new().tls_client(authority.client());
    let mut test = TestApp::on(registry).await;
    let mut accepts = accepts(&test).await;
    let id = listen(&test, folder.path()).await;
    for (name, is_valid) in [("localhost", true), ("other.example", false)] {
        let server: tls::Server = authority.issue(name).server();
        let set = test.app.tcp_server.set_tls(id, Some(server));
        set.await.expect("set");
        let client = test.create().await;
        let tcp = &test.app.tcp;
        tcp.set_paused(client, true).await.expect("paused");
        tcp.connect_unix(client, folder.path())
            .await
            .expect("connect");
        let secured = within("secure", tcp.secure(client, SecureOptions::default())).await;
        if !is_valid {
            assert_eq!(secured, Err(NetError::CERT_COMMON_NAME_INVALID.into()));
            continue;
        }
        secured.expect("secured");
        let info = within("onAccept", accepts.recv()).await.expect("an event");
        assert!(info.tls().is_some() && info.peer_credentials().is_some());
        let accepted = test.accepted().await;
        accepted.set_paused(false).await.expect("resume");
        let data = pattern(1_000_000);
        let sent = test.app.tcp.send(client, data.clone());
        assert!(test.received(accepted.id(), data.len()).await == data);
        sent.await.expect("sent");
        test.app
            .tcp
            .set_paused(client, false)
            .await
            .expect("resume");
        accepted.send("an answer").await.expect("sent");
        assert_eq!(test.received(client, 9).await, b"an answer");
        test.app.tcp.close(client).await.expect("close");
        assert_eq!(test.ended(client).await, NetError::CONNECTION_CLOSED);
        assert_eq!(test.ended(accepted.id()).await, NetError::CONNECTION_CLOSED);
    }
}
