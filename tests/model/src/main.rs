//! Searches the protocol model by the million, in slices that add up: `cargo xtask model`.
//!
//! The library part is `tidegate_model`; the test suite searches a sample of the same. A slice is one scope
//! in one order; its memory is given back when it is done. Invariant: what a run prints is enough to go
//! exactly the way again on which something broke.

mod ledger;

mod options;

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use ledger::Ledger;
use options::Options;
use tidegate_model::gate::MUTANTS;
use tidegate_model::model::Search;
use tidegate_model::scopes;
use tidegate_model::sketch::Sketch;
use tidegate_model::walks::Walked;

/// One state of so many is healed: healing takes about a hundred steps, and so costs as much as the rest.
const HEALS_EVERY: u64 = 128;

fn main() -> ExitCode {
    // What panics is a machine whose assertion found something; the search tells.
    std::panic::set_hook(Box::new(|_| {}));
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(message) => return told(Err(message)),
    };
    if options.is_help {
        say(options::HELP);
        return ExitCode::SUCCESS;
    }
    told(if options.is_gate {
        gate(&options)
    } else if options.is_walk {
        walk(&options)
    } else {
        search(&options)
    })
}

fn told(outcome: Result<(), String>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            say(&format!("{message}\n"));
            ExitCode::FAILURE
        }
    }
}

/// Slice after slice, until there are as many states as were asked for.
fn search(options: &Options) -> Result<(), String> {
    let sketch = Arc::new(Sketch::default());
    let mut ledger = Ledger::open(options.ledger.as_deref(), options.steps, &sketch)?;
    let mut broken = 0;
    'orders: for order in options.order.. {
        for scope in scopes::ALL {
            if ledger.states() >= options.states {
                break 'orders;
            }
            let is_meant = options
                .scope
                .as_deref()
                .is_none_or(|name| name == scope.name);
            if !is_meant || ledger.has(scope.name, order) {
                continue;
            }
            let mut search = Search::of(scope);
            search.order = order;
            search.heals_every = HEALS_EVERY;
            search.sketch = Some(Arc::clone(&sketch));
            let report = search.run(options.steps);
            if let Some((what, way)) = &report.broken {
                broken += 1;
                say(&format!(
                    "BROKEN in {}, order {order}: {what}\n  {way:?}\n",
                    scope.name
                ));
            }
            ledger.add(scope.name, order, &report, &sketch)?;
        }
    }
    say(&ledger.table(&sketch));
    match broken {
        0 => Ok(()),
        _ => Err(format!("{broken} slices found something broken")),
    }
}

/// Walks of every scope with all guards; each ends with everything at rest.
fn walk(options: &Options) -> Result<(), String> {
    let mut broken = 0;
    for scope in scopes::ALL {
        if options
            .scope
            .as_deref()
            .is_some_and(|name| name != scope.name)
        {
            continue;
        }
        let mut search = Search::of(scope);
        search.heals_every = 1;
        let walked = search.walk(options.order, options.walks);
        broken += usize::from(walked.broken.is_some());
        say(&row(&search, "", &walked));
    }
    match broken {
        0 => Ok(()),
        _ => Err(format!(
            "{broken} scopes have a walk on which something breaks"
        )),
    }
}

/// Each guard taken away in turn: the search has to find something.
fn gate(options: &Options) -> Result<(), String> {
    let mut missed = Vec::new();
    for mutant in MUTANTS {
        let is_meant = options
            .scope
            .as_deref()
            .is_none_or(|name| mutant.name.starts_with(name));
        if !is_meant {
            continue;
        }
        let mut search = Search::of(mutant.scope).without(mutant.removed);
        search.heals_every = 1;
        let walked = search.walk(options.order, options.walks);
        let found = walked.broken.is_some();
        say(&row(&search, mutant.name, &walked));
        if !found {
            missed.push(mutant.name);
        }
    }
    match missed[..] {
        [] => Ok(()),
        _ => Err(format!("nothing was found without: {}", missed.join(", "))),
    }
}

fn row(search: &Search, name: &str, walked: &Walked) -> String {
    let (what, way) = match &walked.broken {
        Some((what, way)) => (what.as_str(), format!("{:?}", search.shorten(way))),
        None => ("-", String::new()),
    };
    format!(
        "{name:28} {:10} walks {:6} steps {:8}  {what} {way}\n",
        search.steps.scope.name, walked.walks, walked.steps
    )
}

fn say(text: &str) {
    // Nobody reads it any more: the exit code tells.
    let _ = std::io::stdout().write_all(text.as_bytes());
}
