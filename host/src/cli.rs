//! The command line.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use chrome_sockets_host::Origins;
use chrome_sockets_host::install::{Browser, Install, NAME, Uninstall};
use clap::{Args, Parser, Subcommand};

/// Chrome's chrome.sockets for programs that have no sockets of their own: web
/// pages, extensions, Node.
#[derive(Parser)]
#[command(version)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// A gateway for pages and Node, by WebSocket, with an admin page.
    Serve(Serve),
    /// What a browser starts for an extension: native messaging on the standard
    /// streams.
    NativeHost(NativeHost),
    /// Adds extensions to the native host that browsers start.
    Install(InstallArguments),
    /// Removes what install wrote, or single extensions.
    Uninstall(UninstallArguments),
}

#[derive(Args)]
pub struct Serve {
    /// Where to listen; port 0 picks one. An address that other machines reach needs
    /// a token.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8787")]
    pub listen: SocketAddr,

    /// What clients may do: a manifest.json for all of them, or a folder with APP.json
    /// for each app. Without it they may do nothing.
    #[arg(long, value_name = "FILE|DIR")]
    pub manifest: Option<PathBuf>,

    /// For development: a client may bring its own manifest.
    #[arg(long)]
    pub dev: bool,

    /// A page that may connect, such as https://example.com or
    /// chrome-extension://ID, as any app; or as these apps alone: https://example.com=app-a,app-b.
    /// May be given several times.
    #[arg(long, value_name = "ORIGIN[=APP,...]")]
    pub origin: Vec<Origins>,

    /// Any page may connect that shows the token.
    #[arg(long, requires = "token")]
    pub any_origin: bool,

    /// What all apps together may have queued to send, in MiB; each client can always have 1 MiB.
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    pub send_budget: usize,

    /// What every client must show. Other users of this machine can read command lines:
    /// the environment is not theirs.
    #[arg(long, env = "CHROME_SOCKETS_TOKEN", hide_env_values = true)]
    #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub token: Option<String>,
}

#[derive(Args)]
pub struct NativeHost {
    /// What the extension may do: its manifest.json, or a folder with EXTENSION.json for
    /// each. Without it, it may do nothing.
    #[arg(long, value_name = "FILE|DIR")]
    pub manifest: Option<PathBuf>,

    /// For development: the extension may bring its own manifest.
    #[arg(long)]
    pub dev: bool,

    /// What install has written of each extension, instead of these two.
    #[arg(long, value_name = "FILE", hide = true, conflicts_with_all = ["manifest", "dev"])]
    pub installed: Option<PathBuf>,

    /// What the browser says.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    pub caller: Vec<String>,
}

#[derive(Args)]
struct Where {
    /// Only for this browser; for all of them that are known here, otherwise. May be given
    /// several times.
    #[arg(long, value_enum)]
    browser: Vec<Browser>,

    /// For a Chrome or Chromium that runs with this --user-data-dir, and no other.
    #[arg(long, value_name = "DIR", conflicts_with = "browser")]
    user_data_dir: Option<PathBuf>,

    /// The name that extensions connect to, for those who ship a host of their own:
    /// a-z 0-9 _ and dots, com.example.sockets for instance.
    #[arg(long, value_name = "NAME", default_value = NAME)]
    host_name: String,
}

#[derive(Args)]
pub struct InstallArguments {
    /// An extension that may start the host, beside those that are installed already. May be
    /// given several times.
    #[arg(long, value_name = "ID", required = true)]
    extension: Vec<String>,

    /// What these extensions may do: a manifest.json for all of them, or a folder with
    /// EXTENSION.json for each. Without it they may do nothing. Each extension keeps what it
    /// was installed with.
    #[arg(long, value_name = "FILE|DIR")]
    manifest: Option<PathBuf>,

    /// For development: an extension may bring its own manifest.
    #[arg(long)]
    dev: bool,

    /// Copies this program into a folder, for browsers to start the copy. A program that is in
    /// a build folder is copied anyway: to the user's data folder, ~/.local/share/chrome-sockets
    /// for instance, or into --user-data-dir.
    #[arg(long, value_name = "DIR")]
    copy_to: Option<PathBuf>,

    #[command(flatten)]
    place: Where,
}

#[derive(Args)]
pub struct UninstallArguments {
    /// Removes only this extension. May be given several times.
    #[arg(long, value_name = "ID")]
    extension: Vec<String>,

    #[command(flatten)]
    place: Where,
}

impl InstallArguments {
    /// Installs, and says what was written.
    pub fn run(self) -> io::Result<()> {
        let install = Install {
            extensions: self.extension,
            manifest: self.manifest,
            dev: self.dev,
            browsers: self.place.browser,
            user_data_dir: self.place.user_data_dir,
            host_name: Some(self.place.host_name),
            copy_to: self.copy_to,
        };
        let may_nothing = install.manifest.is_none() && !install.dev;
        for change in install.run()? {
            println!("{change}");
        }
        if may_nothing {
            println!("without --manifest or --dev these extensions may neither listen nor connect");
        }
        Ok(())
    }
}

impl UninstallArguments {
    /// Removes, and says what was removed.
    pub fn run(self) -> io::Result<()> {
        let uninstall = Uninstall {
            extensions: self.extension,
            browsers: self.place.browser,
            user_data_dir: self.place.user_data_dir,
            host_name: Some(self.place.host_name),
        };
        let removed = uninstall.run()?;
        for change in &removed {
            println!("{change}");
        }
        if removed.is_empty() {
            println!("there was nothing to remove");
        }
        Ok(())
    }
}
