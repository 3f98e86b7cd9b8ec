//! What the kernel says of a process and of the machine.

use std::fs;

/// Ticks of `/proc/PID/stat` in a second; Linux shows all programs 100.
const TICKS: f64 = 100.0;

/// CPU seconds that a process used so far, all threads.
pub fn cpu_seconds(pid: u32) -> f64 {
    let stat = read(pid, "stat");
    // The name of the program stands in parentheses and may hold anything.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |field: usize| fields.get(field - 3).and_then(|text| text.parse::<f64>().ok());
    (ticks(14).expect("utime") + ticks(15).expect("stime")) / TICKS
}

/// The most memory that a process ever had resident, in MiB.
pub fn peak_memory(pid: u32) -> f64 {
    kib(pid, "VmHWM:") / 1024.0
}

/// The memory that a process has resident, in MiB.
pub fn memory(pid: u32) -> f64 {
    kib(pid, "VmRSS:") / 1024.0
}

/// The load average of the last minute.
pub fn load_average() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().and_then(|text| text.parse().ok()).unwrap_or(f64::NAN)
}

fn kib(pid: u32, name: &str) -> f64 {
    let status = read(pid, "status");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line of /proc/PID/status");
    line.trim().trim_end_matches("kB").trim().parse().expect("a number")
}

fn read(pid: u32, file: &str) -> String {
    fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_else(|error| panic!("process {pid}: {error}"))
}
