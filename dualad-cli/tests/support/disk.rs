//! A disk that can be full.

use std::path::PathBuf;
use std::process::Command;

use super::wait::wait_for;

/// A small temporary disk, if this process may mount one.
pub(crate) struct Disk(pub(crate) PathBuf);

impl Disk {
    /// Mounts a disk of this size, such as `2m`, at a new folder.
    pub(crate) fn mount(folder: PathBuf, size: &str) -> Option<Self> {
        std::fs::create_dir(&folder).unwrap();
        let size = format!("size={size}");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&folder).output();
        if mount.is_ok_and(|output| output.status.success()) {
            return Some(Self(folder));
        }
        println!("skipped: this needs the right to mount a small tmpfs");
        None
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Fills the disk to the last byte. Returns the file to remove.
    pub(crate) fn fill(&self) -> PathBuf {
        let path = self.path("hog");
        let mut hog = std::fs::File::create(&path).unwrap();
        wait_for("the disk to be full", || std::io::copy(&mut std::io::repeat(0), &mut hog).is_err());
        path
    }

    /// Makes the disk read-only.
    pub(crate) fn seal(&self) {
        assert!(Command::new("mount").args(["-o", "remount,ro"]).arg(&self.0).status().unwrap().success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}
