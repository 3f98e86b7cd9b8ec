//! The library that stands between the server and its files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use conformance_tests::Options;

/// A disk that tests can fail: see `preload/disk.c`.
pub(crate) struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    /// Builds the library.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("preload/disk.c");
        let built = Command::new("cc")
            .args(["-O1", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-o"])
            .arg(folder.path().join("disk.so"))
            .arg(source)
            .args(["-ldl", "-lpthread"])
            .status()
            .expect("cc can be run");
        assert!(built.success(), "the library can't be built");
        Self { folder }
    }

    /// Options of a server whose files go through the library. With `trace`, what it does is written down.
    pub(crate) fn options(&self, trace: bool) -> Options {
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        // The library finds the data beside the configuration, in the folder that the server is started in.
        let mut environment = vec![
            ("LD_PRELOAD".to_owned(), text(self.path("disk.so"))),
            ("DISK_LOSE".to_owned(), text(self.path("lose"))),
            ("DISK_FULL".to_owned(), text(self.path("full"))),
            ("DISK_LIE".to_owned(), text(self.path("lie"))),
        ];
        if trace {
            environment.push(("DISK_TRACE".to_owned(), text(self.path("trace"))));
        }
        Options { environment, ..Options::default() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Has the power fail after so many more calls that write or sync; `some`: a random choice of pages survives.
    pub(crate) fn lose_power_after(&self, calls: u64, some: bool, seed: u64) {
        let mode = if some { "some" } else { "all" };
        // Written aside first: the library must not read half of it.
        fs::write(self.path("lose.new"), format!("{calls} {mode} {seed}\n")).expect("a file can be written");
        fs::rename(self.path("lose.new"), self.path("lose")).expect("a file can be renamed");
    }

    /// Takes back a loss of power that has not come.
    pub(crate) fn spare_power(&self) {
        // It is gone if the power failed.
        let _ = fs::remove_file(self.path("lose"));
    }

    /// Lets syncs succeed without doing anything.
    pub(crate) fn lie(&self) {
        fs::write(self.path("lie"), "").expect("a file can be written");
    }

    /// Lets writes fail for want of space.
    pub(crate) fn fill(&self) {
        self.fail("full");
    }

    /// Lets syncs fail.
    pub(crate) fn break_syncs(&self) {
        self.fail("sync");
    }

    fn fail(&self, how: &str) {
        fs::write(self.path("full.new"), how).expect("a file can be written");
        fs::rename(self.path("full.new"), self.path("full")).expect("a file can be renamed");
    }

    /// Lets everything succeed again.
    pub(crate) fn mend(&self) {
        fs::remove_file(self.path("full")).expect("the disk was failing");
    }

    /// What was traced so far.
    pub(crate) fn trace(&self) -> String {
        fs::read_to_string(self.path("trace")).unwrap_or_default()
    }
}
