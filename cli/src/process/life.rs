//! The life of a process: log, start, ready, a signal or a failure, an orderly stop that a second signal
//! cuts short.

use std::future::Future;

use tidegate_kit::boot::{self, LogFormat};
use tidegate_kit::signal::Signals;

use super::announcement::NodeFacts;
use crate::config::ProcessSettings;
use crate::failure::{Failure, interrupts};
use crate::output;
use crate::up::failures::chain;

/// A role that runs.
pub(crate) trait Serving: Sized {
    /// Where it is reached.
    fn facts(&self) -> NodeFacts;

    /// Ends when it cannot go on.
    fn failed(&self) -> impl Future<Output = Failure>;

    /// Stops it in order.
    fn stop(self) -> impl Future<Output = Result<(), Failure>>;
}

/// Lives it: again from the start when it ends with [`Failure::AGAIN`].
pub(crate) async fn live<S: Serving>(
    settings: &ProcessSettings,
    start: impl AsyncFn() -> Result<S, Failure>,
) -> Result<(), Failure> {
    let format = if settings.log_json {
        LogFormat::Json
    } else {
        LogFormat::Text
    };
    boot::init_logging(format, &settings.log)
        .map_err(|error| Failure::usage(format!("log: {}", chain(&error))))?;
    let mut signals = interrupts()?;
    loop {
        match once(settings, &start, &mut signals).await {
            Err(failure) if failure.exit == Failure::AGAIN => {
                output::say(&format!("{}; starting over", failure.message));
            }
            ended => return ended,
        }
    }
}

async fn once<S: Serving>(
    settings: &ProcessSettings,
    start: &impl AsyncFn() -> Result<S, Failure>,
    signals: &mut Signals,
) -> Result<(), Failure> {
    let server = tokio::select! {
        server = start() => server?,
        signal = signals.recv() => {
            return Err(Failure::new(
                Failure::INTERRUPTED,
                format!("{signal}: stopped before it was ready"),
            ));
        }
    };
    let facts = server.facts();
    let announced = facts.announce(&settings.data_dir)?;
    let url = facts.url.as_ref().or(facts.private_url.as_ref());
    output::say(&format!(
        "{} is ready at {}; health and metrics at {}",
        facts.name,
        url.unwrap_or(&facts.operators_url),
        facts.operators_url
    ));
    let outcome = tokio::select! {
        signal = signals.recv() => {
            output::say(&format!("{signal}: stopping (again to stop at once)"));
            Ok(())
        }
        failure = server.failed() => Err(failure),
    };
    drop(announced);
    tokio::select! {
        stopped = server.stop() => outcome.and(stopped),
        _ = signals.recv() => {
            output::say("stopped at once");
            std::process::exit(Failure::INTERRUPTED.into());
        }
    }
}
