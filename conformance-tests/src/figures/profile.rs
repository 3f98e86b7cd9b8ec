//! Where a process spends its time, as `perf` sees it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How many functions are listed.
const LISTED: usize = 15;

/// How long `perf` may take to begin.
const ATTACHING: Duration = Duration::from_secs(10);

/// `perf` while it looks on.
pub struct Profile {
    perf: Child,
    file: PathBuf,
}

impl Profile {
    /// Looks at a process from now on.
    ///
    /// # Panics
    /// If there is no `perf`.
    pub fn start(pid: u32, file: &Path) -> Self {
        let perf = Command::new("perf")
            .args(["record", "--quiet", "-F", "499", "-p", &pid.to_string(), "-o"])
            .arg(file)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("perf can be run");
        let profile = Self { perf, file: file.to_owned() };
        // A thread that begins while perf looks for those that there are would be missed.
        let start = Instant::now();
        while profile.watched() < entries(pid, "task") {
            assert!(start.elapsed() < ATTACHING, "perf does not begin");
            std::thread::sleep(Duration::from_millis(20));
        }
        profile
    }

    /// How many counters of threads it has open.
    fn watched(&self) -> usize {
        let open = std::fs::read_dir(format!("/proc/{}/fd", self.perf.id())).into_iter().flatten().flatten();
        let targets = open.filter_map(|entry| std::fs::read_link(entry.path()).ok());
        targets.filter(|target| target.to_string_lossy().contains("[perf_event]")).count()
    }

    /// Looks no more, and prints the functions that took most, without what they call.
    ///
    /// # Panics
    /// If `perf` ended early.
    pub fn print(mut self) {
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

fn entries(pid: u32, folder: &str) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/{folder}")).into_iter().flatten().count()
}
