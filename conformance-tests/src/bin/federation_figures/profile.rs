//! Where a process spends its time, as `perf` sees it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// How many functions are listed.
const LISTED: usize = 15;

/// `perf` while it looks on.
pub(crate) struct Profile {
    perf: Child,
    file: PathBuf,
}

impl Profile {
    /// Looks at a process from now on.
    ///
    /// # Panics
    /// If there is no `perf`.
    pub(crate) fn start(pid: u32, file: &Path) -> Self {
        let perf = Command::new("perf")
            .args(["record", "--quiet", "-F", "499", "-p", &pid.to_string(), "-o"])
            .arg(file)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("perf can be run");
        Self { perf, file: file.to_owned() }
    }

    /// Looks no more, and prints the functions that took most, without what they call.
    pub(crate) fn print(mut self) {
        let told = Command::new("sh").arg("-c").arg(format!("kill -INT {}", self.perf.id())).status();
        assert!(told.is_ok_and(|status| status.success()), "perf ended early");
        self.perf.wait().expect("a child can be waited for");
        let report = Command::new("perf")
            .args(["report", "--stdio", "--no-inline", "--no-children", "--sort", "symbol", "-i"])
            .arg(&self.file)
            .stdin(Stdio::null())
            .output()
            .expect("perf can be run");
        let text = String::from_utf8_lossy(&report.stdout).into_owned();
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
        eprintln!("{}:", self.file.display());
        for line in lines.take(LISTED) {
            let line: String = line.trim_end().chars().take(160).collect();
            eprintln!("{line}");
        }
    }
}
