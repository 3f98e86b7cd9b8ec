//! Measures LinkIM's own API: a server is started as the tests start it, on loopback.
//!
//! `linkim_figures [--members N] [--seconds N] [--ack] [--data FOLDER] [--perf FOLDER] ws`; benches/README.md says what each figure means.
//! Each figure is a line of JSON; a table follows. The exit code is 1 if a frame was lost or came twice.

mod group;
mod listener;
mod ws;

use std::path::PathBuf;
use std::process::ExitCode;

use conformance_tests::figures::Report;

const USAGE: &str = "linkim_figures [--members N] [--seconds N] [--ack] [--data FOLDER] [--perf FOLDER] ws
--members  of the group, each with a connection; 5000 by default
--seconds  how long a message is sent each second, 60 by default
--ack      each client acknowledges each message
--data     where the group is kept between runs; otherwise it is made anew
--perf     where a profile of the server is kept, for which perf is needed";

/// What the command line says.
struct Wanted {
    members: usize,
    seconds: usize,
    ack: bool,
    data: Option<PathBuf>,
    profiles: Option<PathBuf>,
}

fn wanted(mut arguments: impl Iterator<Item = String>) -> Option<Wanted> {
    let mut wanted = Wanted { members: 5_000, seconds: 60, ack: false, data: None, profiles: None };
    let mut scenarios = 0;
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--members" => wanted.members = arguments.next()?.parse().ok().filter(|members| *members > 1)?,
            "--seconds" => wanted.seconds = arguments.next()?.parse().ok().filter(|seconds| *seconds > 0)?,
            "--ack" => wanted.ack = true,
            "--data" => wanted.data = Some(arguments.next()?.into()),
            "--perf" => wanted.profiles = Some(arguments.next()?.into()),
            "ws" => scenarios += 1,
            _ => return None,
        }
    }
    (scenarios == 1).then_some(wanted)
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let Some(Wanted { members, seconds, ack, data, profiles }) = wanted(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let mut report = Report::default();
    let group = group::Group::open(members, data.as_deref()).await;
    ws::run(&mut report, &group, ws::Pass { seconds, ack, profiles }).await;
    ExitCode::from(u8::from(!report.print()))
}
