//! The write quota of an app.

use bytes::Bytes;
use chrome_sockets::tcp::DEFAULT_WRITE_QUOTA;
use chrome_sockets::{App, Error, Registry};
use support::{TestApp, within};

use super::{connect, pair, read};

const MIB: usize = 1024 * 1024;

#[actix_rt::test]
async fn more_than_200_mib_of_pending_sends_of_one_app_is_refused() {
    assert_eq!(DEFAULT_WRITE_QUOTA, 200 * MIB);
    let mut test = TestApp::new().await;
    let (client, _peer) = pair(&mut test).await;
    // The same memory many times; the peer does not read.
    let data = Bytes::from(vec![0; 20 * MIB]);
    let mut sends = Vec::new();
    for _ in 0..10 {
        sends.push(client.send(data.clone()));
    }
    let refused = client.send(&b"x"[..]).await;
    assert_eq!(refused, Err(Error::WriteQuotaExceeded));
    assert_eq!(
        Error::WriteQuotaExceeded.to_string(),
        "Exceeded write quota."
    );
    let info = client.get_info().await.expect("it exists");
    assert!(info.connected, "a refusal ends no connection");
}

#[actix_rt::test]
async fn all_sockets_of_an_app_share_the_quota_and_it_is_released() {
    let mut test = TestApp::on(Registry::new().write_quota(16 * MIB)).await;
    let (first, mut peer) = pair(&mut test).await;
    let (second, mut second_peer) = pair(&mut test).await;
    let sending = first.send(vec![1; 16 * MIB]);
    for refused in [
        second.send(&b"x"[..]).await,
        test.app.tcp.send(first.id(), &b"x"[..]).await,
    ] {
        assert_eq!(refused, Err(Error::WriteQuotaExceeded));
    }
    assert_eq!(second.try_send(&b"x"[..]), Err(Error::WriteQuotaExceeded));

    // Another app has its own quota.
    let other = App::new("other", &test.registry);
    let created = other.tcp.create(Default::default()).await;
    let theirs = created.expect("create").socket_id;
    let mut their_peer = connect(&other, theirs).await;
    other
        .tcp
        .send(theirs, &b"fine"[..])
        .await
        .expect("another app's quota");
    assert_eq!(read(&mut their_peer, 4).await, b"fine");

    // Refused sends have not arrived, and later ones work.
    assert!(read(&mut peer, 16 * MIB).await == vec![1; 16 * MIB]);
    within("the send", sending).await.expect("send");
    second.send(&b"second"[..]).await.expect("it came back");
    assert_eq!(read(&mut second_peer, 6).await, b"second");
    first.send(&b"first"[..]).await.expect("it came back");
    assert_eq!(read(&mut peer, 5).await, b"first");
}
