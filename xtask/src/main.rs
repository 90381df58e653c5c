//! Developer commands: `cargo xtask up | test | ci | bench | images | model | simulate | net-sim | histories |
//! histcheck | cluster-trial | dist | openapi | lint-api | schemathesis | fuzz`.
//!
//! Standard library only, so that it builds in a second on a fresh machine. Every command is a
//! straight script over programs that are on the machine; what is missing is installed where that
//! is possible and named exactly where it is not.

mod run;

mod prepare;

mod commands;

mod documents;

use std::env;
use std::process::ExitCode;

const HELP: &str = "\
Usage: cargo xtask <command> [arguments]

  up [..]       build and start Tidegate with a demo topic; arguments go to `tidegate up`
  test [..]     install what tests need, then run all of them; arguments go to the test runner
  ci            formatting, lints, supply chain, then all tests
  bench [..]    run the benchmarks; arguments go to them
  images [..]   boot crash images of the log; --help says how many and which
  model [..]    search the protocol model of replication; --help says how far, --gate takes its guards away
  simulate [..] a whole cluster as events of one queue, seed after seed; --help says how
  net-sim [..]  storage units over a simulated network, seed after seed; --help says how
  histories     run the tests that generate their inputs on new ones; arguments: how many of each, test names
  histcheck ..  check histories of what clients saw, one file each (tests/histcheck says what they hold)
  cluster-trial the long forms of the tests on a cluster of processes; arguments: --rounds N --seed S
  dist          build the binary that ships, in target/dist
  openapi       write openapi/*.json anew from the handlers
  lint-api      check openapi/*.json with spectral and redocly (installs them in target/openapi)
  schemathesis [..]  test running servers from openapi/*.json (installs it in target/schemathesis); arguments: --quick,
                --max-examples N, --seeds N,N,.., --only sc|gateway|up
  fuzz [..]     run a fuzz target (needs cargo-fuzz)
";

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let command = arguments.next().unwrap_or_default();
    let rest: Vec<String> = arguments.collect();
    let outcome = match command.as_str() {
        "up" => commands::up(&rest),
        "test" => commands::test(&rest),
        "ci" => commands::ci(),
        "bench" => commands::bench(&rest),
        "images" => commands::images(&rest),
        "model" => commands::model(&rest),
        "simulate" => commands::simulate(&rest),
        "net-sim" => commands::net_sim(&rest),
        "histories" => commands::histories(&rest),
        "histcheck" => commands::histcheck(&rest),
        "cluster-trial" => commands::cluster_trial(&rest),
        "dist" => commands::dist(),
        "openapi" => commands::openapi(),
        "lint-api" => documents::lint(),
        "schemathesis" => documents::schemathesis(&rest),
        "fuzz" => commands::fuzz(&rest),
        "" | "help" | "--help" | "-h" => {
            run::say(HELP);
            Ok(())
        }
        unknown => Err(format!("there is no command {unknown:?}\n\n{HELP}")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            run::say(&format!("xtask: {message}"));
            ExitCode::FAILURE
        }
    }
}
