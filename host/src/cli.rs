//! The command line.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use chrome_sockets_host::Origins;
use chrome_sockets_host::install::{Browser, Install, NAME, Uninstall};
use clap::{Args, Parser, Subcommand};

/// Lets web pages, extensions and Node open TCP sockets through chrome.sockets.
#[derive(Parser)]
#[command(version)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Serves pages and Node over WebSocket, and an admin page.
    Serve(Serve),
    /// Serves one extension over native messaging. Browsers start this.
    NativeHost(NativeHost),
    /// Installs the native messaging host for extensions.
    Install(InstallArguments),
    /// Removes the native messaging host, or single extensions from it.
    Uninstall(UninstallArguments),
}

#[derive(Args)]
pub struct Serve {
    /// The address to listen on. Port 0 picks a free port. An address that other machines can
    /// reach needs a token.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8787")]
    pub listen: SocketAddr,

    /// What clients may do: a manifest.json for all of them, or a folder with APP.json
    /// for each app. Without it they may neither listen nor connect.
    #[arg(long, value_name = "FILE|DIR")]
    pub manifest: Option<PathBuf>,

    /// For development: accept the manifests that clients send.
    #[arg(long)]
    pub dev: bool,

    /// An origin whose pages may connect, such as https://example.com or chrome-extension://ID.
    /// https://example.com=app-a,app-b restricts them to these apps. Can be repeated.
    #[arg(long, value_name = "ORIGIN[=APP,...]")]
    pub origin: Vec<Origins>,

    /// Let every page connect that shows the token.
    #[arg(long, requires = "token")]
    pub any_origin: bool,

    /// The send data that all apps together may queue, in MiB. Each client can always queue 1 MiB.
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    pub send_budget: usize,

    /// The token that every client must show. Other users of this machine can read command
    /// lines, so prefer the environment variable.
    #[arg(long, env = "CHROME_SOCKETS_TOKEN", hide_env_values = true)]
    #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub token: Option<String>,
}

#[derive(Args)]
pub struct NativeHost {
    /// What the extension may do: a manifest.json, or a folder with EXTENSION.json for each.
    /// Without it the extension may neither listen nor connect.
    #[arg(long, value_name = "FILE|DIR")]
    pub manifest: Option<PathBuf>,

    /// For development: accept the manifest that the extension sends.
    #[arg(long)]
    pub dev: bool,

    /// The file with the permissions that install wrote, instead of --manifest and --dev.
    #[arg(long, value_name = "FILE", hide = true, conflicts_with_all = ["manifest", "dev"])]
    pub installed: Option<PathBuf>,

    /// The arguments of the browser.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    pub caller: Vec<String>,
}

#[derive(Args)]
struct Target {
    /// The browser; all known ones by default. Can be repeated.
    #[arg(long, value_enum)]
    browser: Vec<Browser>,

    /// Only for the Chrome or Chromium that runs with this --user-data-dir.
    #[arg(long, value_name = "DIR", conflicts_with = "browser")]
    user_data_dir: Option<PathBuf>,

    /// The name that extensions connect to. A product with its own host needs its own name, such
    /// as com.example.sockets: a-z 0-9 _ and dots.
    #[arg(long, value_name = "NAME", default_value = NAME)]
    host_name: String,
}

#[derive(Args)]
pub struct InstallArguments {
    /// The id of an extension that may start the host. Extensions that are installed already
    /// stay. Can be repeated.
    #[arg(long, value_name = "ID", required = true)]
    extension: Vec<String>,

    /// What these extensions may do: a manifest.json for all of them, or a folder with
    /// EXTENSION.json for each. Without it they may neither listen nor connect. Other installed
    /// extensions keep their permissions.
    #[arg(long, value_name = "FILE|DIR")]
    manifest: Option<PathBuf>,

    /// For development: accept the manifests that these extensions send.
    #[arg(long)]
    dev: bool,

    /// Copy this program into a folder, so that browsers start the copy. A program in a build
    /// folder is always copied: to the user's data folder, such as ~/.local/share/chrome-sockets,
    /// or into --user-data-dir.
    #[arg(long, value_name = "DIR")]
    copy_to: Option<PathBuf>,

    #[command(flatten)]
    target: Target,
}

#[derive(Args)]
pub struct UninstallArguments {
    /// Remove only this extension. Can be repeated.
    #[arg(long, value_name = "ID")]
    extension: Vec<String>,

    #[command(flatten)]
    target: Target,
}

impl InstallArguments {
    /// Installs, and prints the changes.
    pub fn run(self) -> io::Result<()> {
        let install = Install {
            extensions: self.extension,
            manifest: self.manifest,
            dev: self.dev,
            browsers: self.target.browser,
            user_data_dir: self.target.user_data_dir,
            host_name: Some(self.target.host_name),
            copy_to: self.copy_to,
        };
        let is_restricted = install.manifest.is_none() && !install.dev;
        for change in install.run()? {
            println!("{change}");
        }
        if is_restricted {
            println!("without --manifest or --dev these extensions may neither listen nor connect");
        }
        Ok(())
    }
}

impl UninstallArguments {
    /// Uninstalls, and prints the changes.
    pub fn run(self) -> io::Result<()> {
        let uninstall = Uninstall {
            extensions: self.extension,
            browsers: self.target.browser,
            user_data_dir: self.target.user_data_dir,
            host_name: Some(self.target.host_name),
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
