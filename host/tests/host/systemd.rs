//! The units of `deploy/systemd` under a real systemd: process 1 of namespaces of its own. Only root
//! may make these, and not in every container, so `SYSTEMD_TEST=1` asks for these tests.

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::ChildStdin;

use serde_json::json;
use support::process::{Program, binary, group};
use support::within;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::PROGRAM;
use super::client::{Client, EVENTS, all_permissions, next, request};
use super::deploy::{UNITS, deployed};
use super::monitoring::get;

/// Starts systemd in namespaces, with the units of the folder `$1` and the programs of `$2` and `$3`.
/// It sees the network and a read-only file system; the rest is its own. A shell beside it runs the
/// commands of standard input.
const START: &str = r#"
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /mnt
mkdir /mnt/cgroup && mount -t cgroup2 cgroup2 /mnt/cgroup
own=$(sed -n 's/^0:://p' /proc/self/cgroup)
parent=/mnt/cgroup$own
# What earlier runs have left: a group can be removed only after its last process.
for old in "$parent"/chrome-sockets-test.*; do
    [ ! -d "$old" ] || [ -e "/proc/${old##*.}" ] || find "$old" -depth -type d -exec rmdir {} + || true
done
group=$parent/chrome-sockets-test.$$
mkdir "$group"
echo $$ > "$group/cgroup.procs"
exec unshare --pid --mount --uts --ipc --cgroup --fork --kill-child bash -ec '
    mount -t tmpfs tmpfs /run
    mkdir /run/units && cp -r "$1"/. /run/units
    touch /run/host /run/example
    mount --bind "$2" /run/host
    mount --bind "$3" /run/example
    mount -o remount,bind,ro /
    mount -t tmpfs tmpfs /tmp
    mount -t tmpfs tmpfs /var/tmp
    mount -t proc proc /proc
    # As in a container: systemd must not change settings of this machine.
    mount --bind /proc/sys /proc/sys
    mount -o remount,bind,ro /proc/sys
    mount -t tmpfs tmpfs /sys/fs/cgroup 2>/dev/null || true
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    exec 3<&0
    (
        while read -r line <&3; do
            code=0
            eval "$line" 2>&1 || code=$?
            echo "exit code $code"
        done
    ) &
    export container=test SYSTEMD_UNIT_PATH=/run/units
    exec /usr/lib/systemd/systemd --system --unit=default.target >/dev/null 2>&1
' bash "$1" "$2" "$3"
"#;

/// Targets that units need by default. The units of this machine are not used.
const TARGETS: [&str; 8] = [
    "basic",
    "default",
    "multi-user",
    "network",
    "shutdown",
    "sockets",
    "sysinit",
    "umount",
];

/// A running systemd, which ends with this value.
struct Systemd {
    program: Program,
    input: ChildStdin,
    commands: usize,
}

impl Systemd {
    /// With the units of this folder. `None`: nothing asks for it.
    fn start(units: &Path) -> Option<Self> {
        std::env::var_os("SYSTEMD_TEST")?;
        for target in TARGETS {
            let text = "[Unit]\nDefaultDependencies=no\n";
            let path = units.join(format!("{target}.target"));
            fs::write(path, text).expect("a written file");
        }
        let mut command = group("unshare");
        command.args(["--mount", "bash", "-c", START, "bash"]);
        command
            .arg(units)
            .arg(PROGRAM)
            .arg(binary("persistent_server"));
        let mut program = Program::start(&mut command);
        let mut systemd = Systemd {
            input: program.stdin(),
            program,
            commands: 0,
        };
        let wait =
            "for _ in {1..200}; do systemctl is-active default.target && break; sleep 0.1; done";
        systemd.run(wait);
        assert_eq!(systemd.run("systemctl is-active default.target"), 0);
        Some(systemd)
    }

    /// Runs a command, and returns its exit code.
    fn run(&mut self, command: &str) -> i32 {
        writeln!(self.input, "{command}").expect("it reads");
        self.commands += 1;
        let codes = self.program.stdout.lines("exit code ", self.commands);
        let code = codes.last().and_then(|line| line.rsplit(' ').next());
        code.and_then(|it| it.parse().ok()).expect("a number")
    }

    fn expect_success(&mut self, command: &str) {
        let code = self.run(command);
        assert_eq!(code, 0, "{command}: {}", self.output());
    }

    /// The output of all commands.
    fn output(&mut self) -> String {
        self.program.stdout.so_far() + &self.program.stderr.so_far()
    }

    /// The properties of a unit.
    fn assert_has(&mut self, unit: &str, property: &str) {
        let name = property.split('=').next().expect("a name");
        let command = format!("systemctl show -p {name} {unit} | grep -Fx '{property}'");
        let code = self.run(&command);
        assert_eq!(code, 0, "{unit} {property}: {}", self.output());
    }
}

/// A loopback address for these tests of this process.
fn address(last: u8, port: u16) -> SocketAddr {
    let process = std::process::id();
    let ip = Ipv4Addr::new(127, 128 + (process >> 8) as u8 % 64, process as u8, last);
    (ip, port).into()
}

#[actix_rt::test]
async fn systemd_starts_restarts_reloads_and_stops_the_service() {
    let folder = tempfile::tempdir().expect("a folder");
    let (gateway, metrics) = (address(1, 8787), address(2, 9787));
    for name in UNITS {
        let unit = fs::read_to_string(deployed("systemd").join(name)).expect("a unit");
        let unit = unit
            .replace("/usr/bin/chrome-sockets", "/run/host")
            .replace("/etc/chrome-sockets/host.toml", "/run/units/host.toml")
            .replace("127.0.0.1:8787", &gateway.to_string())
            .replace("127.0.0.1:9787", &metrics.to_string())
            // There is no journal.
            .replace(
                "StandardError=journal",
                "StandardError=append:/run/host.log",
            );
        fs::write(folder.path().join(name), unit).expect("a written file");
    }
    let config = "dev = true\ndrain-deadline = 1\n";
    fs::write(folder.path().join("host.toml"), config).expect("a written file");
    let Some(mut systemd) = Systemd::start(folder.path()) else {
        return;
    };
    const SERVICE: &str = "chrome-sockets.service";
    systemd.expect_success("systemctl start chrome-sockets.socket chrome-sockets-metrics.socket");
    systemd.assert_has(SERVICE, "ActiveState=inactive");
    // The first connection starts the service, with all its hardening, and is served.
    let mut client = connect(gateway).await;
    let (_, port) = client.listening_server(json!({})).await;
    assert_eq!(get(metrics, "/readyz").await.0, 200);
    systemd.assert_has(SERVICE, "ActiveState=active");
    // A reload keeps clients and sockets. An invalid one fails, and changes nothing.
    systemd.expect_success(&format!("systemctl reload {SERVICE}"));
    systemd.expect_success("echo 'no-such-key = 1' >> /run/units/host.toml");
    assert_ne!(systemd.run(&format!("systemctl reload {SERVICE}")), 0);
    systemd.expect_success("sed -i /no-such-key/d /run/units/host.toml");
    systemd.assert_has(SERVICE, "ActiveState=active");
    peer(([127, 0, 0, 1], port).into()).await;
    client.event("tcpServer.onAccept").await;
    // Clients that come during a restart wait for the new process.
    systemd.expect_success(&format!("systemctl restart --no-block {SERVICE}"));
    let mut during = Vec::new();
    for _ in 0..32 {
        during.push(peer(gateway).await);
    }
    let last = within("the last frame", async {
        loop {
            // The app hears of the end of its connection first.
            let frame = next(&mut client.socket).await.expect("a frame");
            if !frame["close"].is_null() {
                return frame;
            }
        }
    });
    assert_eq!(last.await["close"]["code"], "stopping");
    connect(gateway).await.disconnect();
    assert_eq!(get(metrics, "/readyz").await.0, 200);
    // A killed process is started again.
    systemd.expect_success(&format!("systemctl kill -s KILL {SERVICE}"));
    connect(gateway).await.disconnect();
    systemd.assert_has(SERVICE, "NRestarts=1");
    systemd.expect_success(&format!("systemctl stop {SERVICE}"));
    systemd.assert_has(SERVICE, "Result=success");
    systemd.assert_has(SERVICE, "ExecMainStatus=0");
}

async fn peer(address: SocketAddr) -> TcpStream {
    let connected = within("a connection", TcpStream::connect(address)).await;
    connected.expect("systemd listens")
}

/// Connects an app that may do everything.
async fn connect(gateway: SocketAddr) -> Client {
    let hello = json!({ "app": "a", "manifest": all_permissions() });
    let client = Client::try_connect_with(gateway, request(gateway), hello).await;
    let mut client = client.unwrap_or_else(|reason| panic!("{reason}"));
    client.listen(&EVENTS).await;
    client
}

#[actix_rt::test]
async fn the_descriptor_store_of_systemd_keeps_a_server_socket() {
    let folder = tempfile::tempdir().expect("a folder");
    // Port 0: only a stored socket has the same port after a restart.
    let unit = format!(
        "[Service]\nExecStart=/run/example {}\nFileDescriptorStoreMax=8\n\
         StandardOutput=append:/run/example.output\n",
        address(3, 0)
    );
    fs::write(folder.path().join("example.service"), unit).expect("a written file");
    let Some(mut systemd) = Systemd::start(folder.path()) else {
        return;
    };
    systemd.expect_success("systemctl start example.service");
    let mut last = None;
    for start in 1..=3 {
        let wait = format!(
            "for _ in {{1..200}}; do \
             test $(grep -c listening /run/example.output) = {start} && break; sleep 0.1; done; \
             tail -n 1 /run/example.output"
        );
        systemd.expect_success(&wait);
        let output = systemd.output();
        let line = output.lines().rfind(|it| it.starts_with("listening on "));
        let line = line.unwrap_or_else(|| panic!("{output}"));
        let address = line.split(' ').nth(2).and_then(|it| it.parse().ok());
        let address: SocketAddr = address.expect("an address");
        assert!(last.is_none_or(|last| last == address), "{line}: {last:?}");
        last = Some(address);
        echo(address).await;
        systemd.expect_success("systemctl restart --no-block example.service");
        // It waits in the stored socket, or is served by the old process.
        echo(address).await;
    }
}

async fn echo(address: SocketAddr) {
    let mut stream = peer(address).await;
    stream.write_all(b"echo").await.expect("an open connection");
    let mut echo = [0; 4];
    let read = within("an echo", stream.read_exact(&mut echo)).await;
    read.expect("an open connection");
    assert_eq!(&echo, b"echo");
}
