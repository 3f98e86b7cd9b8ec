//! How much memory a server under test takes.

use crate::Server;

impl Server {
    /// What is resident now, in KiB.
    pub fn resident_kib(&self) -> u64 {
        self.of_status("VmRSS")
    }

    /// The most that was resident since the start or the last [`forget_peak`](Self::forget_peak), in KiB.
    pub fn peak_kib(&self) -> u64 {
        self.of_status("VmHWM")
    }

    /// Counts the peak from what is resident now.
    pub fn forget_peak(&self) {
        // proc(5): 5 resets the peak resident set size.
        std::fs::write(format!("/proc/{}/clear_refs", self.pid()), "5").expect("the peak can be reset");
    }

    fn of_status(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("the server runs");
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).expect("a figure");
        line.trim().trim_end_matches(" kB").parse().expect("a number of kB")
    }
}
