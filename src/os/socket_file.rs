//! The file of a Unix socket that listens.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The file of a Unix socket that listens. Whoever closes the socket last removes it.
///
/// It is known by its device and inode, not only by its path: a file that another program has put
/// in its place stays. The kernel keeps the inode as long as the socket is open, so no other file
/// can have its number.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SocketFile {
    /// Absolute, so that a change of the working directory does no harm.
    pub(crate) path: PathBuf,
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

impl SocketFile {
    /// The file at this path, if it is a socket.
    ///
    /// # Errors
    /// Those of `lstat`; `AlreadyExists` if it is no socket.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        let found = fs::symlink_metadata(path)?;
        if !found.file_type().is_socket() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        Ok(SocketFile {
            path: std::path::absolute(path)?,
            device: found.dev(),
            inode: found.ino(),
        })
    }

    /// Removes the file, unless another one is in its place.
    pub(super) fn remove(&self) {
        let is_same = SocketFile::at(&self.path).is_ok_and(|found| found == *self);
        if is_same && let Err(error) = fs::remove_file(&self.path) {
            log::warn!("cannot remove {}: {error}", self.path.display());
        }
    }
}
