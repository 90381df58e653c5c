//! The `tidegate` program: every role and every client command in one binary.
//!
//! Only the way in and out is here: arguments, runtime, exit code. Modules are listed bottom-up and
//! import only modules above them.

mod failure;
mod files;
mod output;
mod owner;
mod units;

mod profile;

mod connection;

mod written;

mod topic;

mod operate;

mod produce;

mod consume;

mod bench;

mod ca;

mod log;

mod disk;

mod control;

mod leftovers;
mod producers;
mod seals;

mod up;

mod config;

mod process;

mod sc;

mod backup;

mod spu;

mod gateway;

#[cfg(unix)]
mod cluster;

mod openapi;

mod arguments;

mod dispatch;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match dispatch::run(arguments::Arguments::of_process()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.message.is_empty() {
                output::say(&format!("tidegate: {failure}"));
            }
            ExitCode::from(failure.exit)
        }
    }
}
