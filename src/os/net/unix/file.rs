//! The file of a Unix socket before the socket listens: its lock, its mode, and a stale one.
//!
//! The file of a process that was killed stays, and makes `bind` fail. To remove it is safe only if
//! nothing listens at it, which is found out by a connection: the kernel refuses it. But it refuses
//! it too at a socket that is bound and does not listen yet. So each process holds a lock from
//! before `bind` until it listens, also if there is no stale file.
//!
//! The other way, to bind to a name of its own and rename the file, needs no lock until there is a
//! stale file, but then the same one: `rename` would replace the file of another process that has
//! found the same stale file and listens by now. And the kernel, `ss` and peers would know the
//! socket by its first name for good.
#![expect(clippy::disallowed_types, reason = "only `os` opens sockets")]

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, fchmod, flock};
use rustix::io::Errno;
use socket2::{SockAddr, Socket as OsSocket};

use crate::os::SocketFile;
use crate::os::net::unix::names::new_socket;

/// How often a lock is opened again that was removed just after it was opened.
const ATTEMPTS: usize = 16;

/// Excludes other processes from binding to one path: a locked file beside it, `.NAME.chrome-sockets`.
pub(super) struct Lock {
    path: PathBuf,
    _locked: File,
}

impl Lock {
    /// # Errors
    /// `EADDRINUSE` if another process is about to listen here; those of `open` and `flock`.
    pub(super) fn acquire(path: &Path) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        // A path that ends with `..` is a folder.
        let socket = path.file_name().ok_or(Errno::ADDRINUSE)?;
        let mut name = OsString::from(".");
        name.push(socket);
        name.push(".chrome-sockets");
        let path = path.with_file_name(name);
        for _ in 0..ATTEMPTS {
            let file = open(&path)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Err(Errno::WOULDBLOCK) => return Err(Errno::ADDRINUSE.into()),
                locked => locked?,
            }
            // Who had locked it may have removed it since: then others lock another file.
            let locked = file.metadata()?;
            let is_same =
                |found: fs::Metadata| (found.dev(), found.ino()) == (locked.dev(), locked.ino());
            if fs::symlink_metadata(&path).is_ok_and(is_same) {
                let _locked = file;
                return Ok(Lock { path, _locked });
            }
        }
        Err(Errno::ADDRINUSE.into())
    }
}

fn open(path: &Path) -> io::Result<File> {
    // Neither a symbolic link nor a pipe in its place may lead elsewhere, or block.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).create(true).truncate(false);
    options.mode(0o600).custom_flags(flags).open(path)
}

impl Drop for Lock {
    fn drop(&mut self) {
        // While it is locked: who opens it after this creates another one. A file of a process that
        // was killed goes with the next lock.
        let _ = fs::remove_file(&self.path);
    }
}

/// Removes the file of a socket at which nothing listens. The lock is held.
///
/// # Errors
/// `EADDRINUSE` if something listens there, if that is not sure, or if the file is no socket. Those
/// of `unlink`.
pub(super) fn remove_stale(path: &Path, at: &SockAddr) -> io::Result<()> {
    let in_use = || io::Error::from(Errno::ADDRINUSE);
    let is_gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    let file = match SocketFile::at(path) {
        Ok(file) => file,
        Err(error) if is_gone(&error) => return Ok(()),
        Err(_) => return Err(in_use()),
    };
    match new_socket()?.connect(at) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
        Err(error) if is_gone(&error) => return Ok(()),
        // It listens, perhaps with a full backlog; or it is of another type, or of another user.
        _ => return Err(in_use()),
    }
    // A program that does not use the lock may have replaced it.
    if SocketFile::at(path).ok() != Some(file) {
        return Err(in_use());
    }
    fs::remove_file(path)
}

/// Has `bind` create the file with at most these rights. Only Linux does that, and only the umask
/// may have taken more away: [`set_mode`] gives it back.
pub(super) fn restrict(socket: &OsSocket, mode: u32) {
    // Elsewhere the rights may be wider until `set_mode`, but the socket does not listen before.
    let _ = fchmod(socket, Mode::from_raw_mode(mode as _));
}

/// Sets the mode of the file. The socket does not listen yet, so the kernel refuses whoever
/// connects, with whatever rights.
pub(super) fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    let found = fs::symlink_metadata(path)?;
    if found.mode() & 0o7777 == mode {
        return Ok(());
    }
    change_mode(path, mode)
}

/// Does not follow a symbolic link, which would change the mode of another file.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn change_mode(path: &Path, mode: u32) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::{FileTypeExt, PermissionsExt};

    let flags = libc::O_PATH | libc::O_NOFOLLOW;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)?;
    if !file.metadata()?.file_type().is_socket() {
        return Err(Errno::ADDRINUSE.into());
    }
    let opened = format!("/proc/self/fd/{}", file.as_raw_fd());
    fs::set_permissions(opened, fs::Permissions::from_mode(mode))
}

/// Does not follow a symbolic link, which would change the mode of another file.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn change_mode(path: &Path, mode: u32) -> io::Result<()> {
    use rustix::fs::{AtFlags, CWD, chmodat};

    let mode = Mode::from_raw_mode(mode as _);
    Ok(chmodat(CWD, path, mode, AtFlags::SYMLINK_NOFOLLOW)?)
}
