//! Measures federation: servers are started as the tests start them, over TLS on loopback.
//!
//! `federation_figures [--rounds N] [--rooms FOLDER] [--members N] [--state N] [--perf FOLDER] SCENARIO…`; benches/README.md says what each figure means. Each figure is
//! a line of JSON; a table follows. The exit code is 1 if an operation failed anywhere, or too few were made.

mod catch_up;
mod delivery;
mod incoming;
mod join;
mod large_room;
mod listening;
mod pair;

use std::path::PathBuf;
use std::process::ExitCode;

use conformance_tests::figures::Report;

const USAGE: &str =
    "federation_figures [--rounds N] [--rooms FOLDER] [--members N] [--state N] [--perf FOLDER] SCENARIO…
scenarios: delivery, delivery-alone, join-large, join, incoming, catch-up
--rounds   how often each pass is made, 2 by default
--rooms    where large rooms are kept between runs; needed by the joins
--members  of the rooms of join, 1000 by default
--state    state events of the rooms of join, members among them, 5000 by default
--perf     where profiles of incoming and delivery-alone are kept, for which perf is needed";

/// What the command line says.
struct Wanted {
    rounds: usize,
    rooms: Option<PathBuf>,
    members: usize,
    state: usize,
    profiles: Option<PathBuf>,
    scenarios: Vec<String>,
}

fn wanted(mut arguments: impl Iterator<Item = String>) -> Option<Wanted> {
    let mut wanted =
        Wanted { rounds: 2, rooms: None, members: 1_000, state: 5_000, profiles: None, scenarios: Vec::new() };
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--rounds" => wanted.rounds = arguments.next()?.parse().ok().filter(|rounds| *rounds > 0)?,
            "--rooms" => wanted.rooms = Some(arguments.next()?.into()),
            "--members" => wanted.members = arguments.next()?.parse().ok().filter(|members| *members > 0)?,
            "--state" => wanted.state = arguments.next()?.parse().ok()?,
            "--perf" => wanted.profiles = Some(arguments.next()?.into()),
            "delivery" | "delivery-alone" | "incoming" | "catch-up" | "join" | "join-large" => {
                wanted.scenarios.push(argument)
            }
            _ => return None,
        }
    }
    let joins = wanted.scenarios.iter().any(|scenario| scenario.starts_with("join"));
    // A room has some state of its own.
    let fits = wanted.state >= wanted.members + 20;
    (!wanted.scenarios.is_empty() && fits && (wanted.rooms.is_some() || !joins)).then_some(wanted)
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let Some(Wanted { rounds, rooms, members, state, profiles, scenarios }) = wanted(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let rooms = rooms.unwrap_or_default();
    let mut report = Report::default();
    for scenario in scenarios {
        match scenario.as_str() {
            "delivery" => delivery::run(&mut report, rounds).await,
            "delivery-alone" => delivery::alone(&mut report, rounds, profiles.as_deref()).await,
            "join" => join::small(&mut report, rounds, (members, state), &rooms).await,
            "join-large" => join::large(&mut report, rounds, &rooms).await,
            "incoming" => incoming::run(&mut report, rounds, profiles.as_deref()).await,
            _ => {
                for _ in 0..rounds {
                    catch_up::run(&mut report, 100, 100).await;
                }
            }
        }
    }
    ExitCode::from(u8::from(!report.print()))
}
