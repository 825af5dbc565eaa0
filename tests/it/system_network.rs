//! `chrome.system.network`: which addresses are told, and to whom.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Command;

use chrome_sockets::os::{Listener, MAX_INTERFACES, Network, NetworkInterface, Stream};
use chrome_sockets::testing::{FaultyNetwork, ScriptedNetwork};
use chrome_sockets::{App, Error, Permissions, Registry};
use futures::future::BoxFuture;
use support::process::Program;
use support::programs::{has, left_out};

/// The addresses as `ip` writes them.
async fn interfaces(app: &App) -> Result<Vec<String>, Error> {
    let found = app.system_network.get_network_interfaces().await?;
    let texts = found
        .iter()
        .map(|it| format!("{} {}/{}", it.name, it.address, it.prefix_length));
    Ok(texts.collect())
}

/// A network with one interface, which is otherwise scripted.
struct OneInterface(ScriptedNetwork);

impl Network for OneInterface {
    fn listen(&self, address: SocketAddr, backlog: u32) -> io::Result<Box<dyn Listener>> {
        self.0.listen(address, backlog)
    }

    fn interfaces(&self) -> io::Result<Vec<NetworkInterface>> {
        Ok(vec![NetworkInterface {
            name: "eth0".to_owned(),
            address: IpAddr::from([192, 0, 2, 1]),
            prefix_length: 24,
        }])
    }

    fn resolve(&self, host: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        self.0.resolve(host)
    }

    fn connect(&self, address: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        self.0.connect(address)
    }
}

#[actix_rt::test]
async fn interfaces_are_told_to_apps_whose_manifest_permits_it() {
    let network = FaultyNetwork::new(OneInterface(ScriptedNetwork::new()), 1);
    let registry = Registry::with_network(network).start();
    let app = App::new("app", &registry);
    // By default an app may do everything.
    assert_eq!(interfaces(&app).await, Ok(vec!["eth0 192.0.2.1/24".into()]));
    for (manifest, is_permitted) in [
        (r#"{"permissions": ["system.network"]}"#, true),
        (
            r#"{"permissions": ["alarms", {"usb": []}, "system.network"]}"#,
            true,
        ),
        (r#"{"permissions": ["system.cpu"]}"#, false),
        (r#"{"permissions": [{"system.network": []}]}"#, false),
        (r#"{"permissions": []}"#, false),
        (r#"{"optional_permissions": ["system.network"]}"#, false),
        (r#"{"sockets": {"udp": {"send": ""}}}"#, false),
    ] {
        let permissions = Permissions::from_manifest(manifest).expect("valid");
        assert_eq!(permissions.may_get_network_interfaces(), is_permitted);
        app.set_permissions(permissions).await.expect("it runs");
        let answer = interfaces(&app).await;
        assert_eq!(answer.is_ok(), is_permitted, "{manifest}");
        if !is_permitted {
            assert_eq!(answer, Err(Error::ApiDenied), "{manifest}");
        }
    }
    let error = Error::ApiDenied.last_error();
    assert_eq!(error, "Access to extension API denied.");
    let sockets = Permissions::from_sockets("{}").expect("valid");
    assert!(!sockets.may_get_network_interfaces());
    assert!(
        sockets
            .with_system_network(true)
            .may_get_network_interfaces()
    );
}

#[actix_rt::test]
async fn a_network_that_cannot_tell_fails_with_chromes_text() {
    let registry = Registry::with_network(ScriptedNetwork::new()).start();
    let app = App::new("app", &registry);
    let answer = interfaces(&app).await;
    assert_eq!(answer, Err(Error::NetworkListFailed));
    let text = Error::NetworkListFailed.last_error();
    assert_eq!(text, "Network lookup failed or unsupported");
    // The registry works on.
    let created = app.tcp_server.create(Default::default()).await;
    created.expect("a socket");
}

#[test]
fn permissions_must_be_a_list_of_strings_and_objects() {
    for (manifest, path) in [
        (r#"{"permissions": "system.network"}"#, "permissions"),
        (r#"{"permissions": {}}"#, "permissions"),
        (r#"{"permissions": ["alarms", 7]}"#, "permissions[1]"),
        (r#"{"permissions": [null]}"#, "permissions[0]"),
    ] {
        let error = Permissions::from_manifest(manifest).expect_err(manifest);
        assert_eq!(error.path(), path, "{error}");
    }
}

/// Runs this test binary's `test` in a network namespace of its own, after these commands of the
/// shell. `false` if this machine does not permit that.
fn in_namespace(setup: &str, test: &str) -> bool {
    if !has("unshare", "--help", "--map-root-user") || !has("ip", "-Version", "iproute2") {
        return false;
    }
    let unshare = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--net", "--map-root-user", "sh", "-ec", script]);
        command
    };
    let trial = "ip link add v0 type veth peer name v1";
    if !Program::start(&mut unshare(trial)).ended().status.success() {
        left_out("network namespaces with interfaces of their own are not permitted");
        return false;
    }
    let this = std::env::current_exe().expect("the path of the test binary");
    let mut command = unshare(&format!("{setup}\nexec \"$0\" {test} --exact --nocapture"));
    command.arg(this).env(CHILD, "1");
    let ended = Program::start(&mut command).ended();
    let output = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success(), "{output}{}", ended.stderr);
    assert!(output.contains("1 passed"), "{output}");
    true
}

/// Set in a process that `in_namespace` starts.
const CHILD: &str = "IN_NETWORK_NAMESPACE";

const SETUP: &str = "
    ip link set lo up
    ip addr add 10.8.8.8/32 dev lo
    ip link add v0 index 10 type veth peer name v1 index 11
    if [ -e /proc/sys/net/ipv6/conf/v1 ]; then
        ip link set v0 addrgenmode none
        ip link set v1 addrgenmode none
        # So that an address of v1 is not known to be unique for as long as the test runs.
        echo 1000 >/proc/sys/net/ipv6/conf/v1/dad_transmits
        ip addr add fd00::1/64 dev v0 nodad
        ip addr add fd00::2/64 dev v1
        ip addr add fd00::3/128 dev v0 nodad preferred_lft 0
        ip addr add fe80::1/64 dev v0 nodad
    fi
    ip link set v0 up
    ip link set v1 up
    ip addr add 10.1.2.3/24 dev v0
    ip addr add 10.0.0.1 peer 10.0.0.2/32 dev v0 label v0:other
    ip addr add 9.9.9.9/30 dev v1
    # On both: told once, of the later one, as Chromium does.
    ip addr add 10.7.7.7/24 dev v0
    ip addr add 10.7.7.7/25 dev v1
    # Down, and without a carrier.
    ip link add w0 type veth peer name w1
    ip link set w0 up
    ip addr add 10.5.5.5/24 dev w0
    ip addr add 10.6.6.6/24 dev w1
";

#[test]
fn the_addresses_of_interfaces_that_are_up_are_told_as_chromium_does() {
    in_namespace(SETUP, "system_network::in_the_namespace");
}

#[actix_rt::test]
async fn in_the_namespace() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let app = App::new("app", &Registry::new().start());
    let found = interfaces(&app).await.expect("the interfaces");
    let mut expected = vec![
        "v1 9.9.9.9/30",
        "v0 10.0.0.1/32",
        "v0 10.1.2.3/24",
        "v1 10.7.7.7/25",
    ];
    if Path::new("/proc/sys/net/ipv6/conf/v1").exists() {
        expected.extend(["v0 fd00::1/64", "v0 fd00::3/128", "v0 fe80::1/64"]);
    }
    assert_eq!(found, expected);
}

/// More addresses than one packet of the kernel's answer has, and than an answer to JavaScript may
/// have.
const MANY: &str = "
    ip link add v0 type veth peer name v1
    ip link set v1 up
    ip link set v0 up
    for i in $(seq 0 5); do for j in $(seq 1 200); do
        echo addr add 10.0.$i.$j/16 dev v0
    done; done | ip -batch -
";

#[test]
fn at_most_1024_addresses_are_told() {
    in_namespace(MANY, "system_network::in_the_full_namespace");
}

#[actix_rt::test]
async fn in_the_full_namespace() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let app = App::new("app", &Registry::new().start());
    let found = interfaces(&app).await.expect("the interfaces");
    assert_eq!(found.len(), MAX_INTERFACES);
    assert_eq!(found[0], "v0 10.0.0.1/16");
    // Each call asks anew, with a socket of its own.
    for _ in 0..50 {
        assert_eq!(interfaces(&app).await.as_ref(), Ok(&found));
    }
}
