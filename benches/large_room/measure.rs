//! Time and CPU, of the process and of its writer thread.

use std::time::{Duration, Instant};

/// A moment, with the CPU used up to it.
pub(crate) struct Cpu {
    at: Instant,
    all: Duration,
    writer: Duration,
}

/// CPU of the threads that are there, from the kernel's scheduler: all, and the writer's.
fn used() -> (Duration, Duration) {
    let (mut all, mut writer) = (Duration::ZERO, Duration::ZERO);
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else { return (all, writer) };
    for thread in threads.flatten() {
        let text = |name: &str| std::fs::read_to_string(thread.path().join(name)).unwrap_or_default();
        let nanos = text("schedstat").split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or_default();
        let spent = Duration::from_nanos(nanos);
        all += spent;
        if text("comm").trim() == "writer" {
            writer += spent;
        }
    }
    (all, writer)
}

/// A duration divided, in a readable unit.
pub(crate) fn per(duration: Duration, times: usize) -> String {
    let micros = duration.as_secs_f64() * 1e6 / times.max(1) as f64;
    match micros {
        m if m >= 10_000.0 => format!("{:.1} ms", m / 1_000.0),
        m if m >= 1_000.0 => format!("{:.2} ms", m / 1_000.0),
        m => format!("{m:.1} µs"),
    }
}

impl Cpu {
    pub(crate) fn now() -> Self {
        let (all, writer) = used();
        Self { at: Instant::now(), all, writer }
    }

    pub(crate) fn wall(&self) -> Duration {
        self.at.elapsed()
    }

    /// What one of `times` took since.
    pub(crate) fn line(&self, what: &str, times: usize) -> String {
        let wall = self.wall();
        let (all, writer) = used();
        // A thread of the pool may have ended in between.
        let (all, writer) = (all.saturating_sub(self.all), writer.saturating_sub(self.writer));
        let of_writer = match writer.as_nanos() {
            0 => String::new(),
            _ => format!(", of it the writer {}", per(writer, times)),
        };
        format!("  {what}: {}, CPU {}{of_writer}", per(wall, times), per(all, times))
    }

    pub(crate) fn print(&self, what: &str, times: usize) {
        println!("{}", self.line(what, times));
    }
}
