//! What was acknowledged stays, whatever ends the server or fails its disk.
//!
//! Two ends of a process: SIGKILL, which spares what the kernel has, and a loss of power, which does not. The second is
//! simulated by a library (`preload/disk.c`) that stands between the server and its files, and undoes what was never synced.

mod crowd;
mod dice;
mod disk;
mod dissolution;
mod full_disk;
mod kills;
mod order;
mod power_loss;
mod verdict;
