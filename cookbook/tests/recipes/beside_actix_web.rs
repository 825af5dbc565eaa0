//! Beside an actix-web server.

use std::io::Write;
use std::process::Command;

use support::process::{Example, Program};

use crate::{ANY_PORT, assert_echoes, recipe, until_refused};

struct Recipe {
    server: Example,
    http: String,
}

impl Recipe {
    fn start() -> Self {
        let mut server = recipe!("beside_actix_web", ANY_PORT, ANY_PORT);
        let line = server.program.stdout.line("http on ");
        let http = line.replace("http on ", "http://");
        Recipe { server, http }
    }

    /// The body and the status of a response.
    fn curl(&self, method: &str, path: &str) -> String {
        let url = format!("{}{path}", self.http);
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-m", "20", "-X", method, "-w", "%{http_code}", &url]);
        let ended = Program::start(&mut curl).ended();
        assert!(ended.status.success(), "{}", ended.stderr);
        String::from_utf8(ended.stdout).expect("text")
    }
}

#[test]
fn the_web_server_shows_and_pauses_the_echo_server() {
    let recipe = Recipe::start();
    assert_echoes(&recipe.server);
    assert_eq!(recipe.curl("GET", "/"), "accepted 1, blocked by []\n200");
    assert_eq!(recipe.curl("POST", "/paused/true"), "204");

    // This client waits in the backlog.
    let port = recipe.server.address.port().to_string();
    let mut waiting = Program::start(Command::new("nc").args(["-N", "127.0.0.1", &port]));
    let mut input = waiting.stdin();
    input.write_all(b"a line\n").expect("nc reads");
    assert_eq!(recipe.curl("GET", "/"), "accepted 1, blocked by [App]\n200");
    assert_eq!(waiting.stdout.so_far(), "");

    assert_eq!(recipe.curl("POST", "/paused/false"), "204");
    waiting.stdout.line("a line");
    assert_eq!(recipe.curl("GET", "/"), "accepted 2, blocked by []\n200");
    assert_eq!(recipe.curl("GET", "/none"), "404");
    drop(input);
    assert!(waiting.ended().status.success());
    recipe.server.expect_success();
}

#[test]
fn sigterm_lets_clients_finish() {
    let recipe = Recipe::start();
    let port = recipe.server.address.port().to_string();
    let mut client = Program::start(Command::new("nc").args(["-N", "127.0.0.1", &port]));
    let mut input = client.stdin();
    input.write_all(b"before\n").expect("nc reads");
    client.stdout.line("before");
    recipe.server.terminate();
    until_refused(recipe.server.address);
    input.write_all(b"after\n").expect("nc reads");
    client.stdout.line("after");
    drop(input);
    assert!(client.ended().status.success());
    recipe.server.assert_success();
}
