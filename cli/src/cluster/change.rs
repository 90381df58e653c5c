//! `tidegate cluster restart` and `add-spu`: what the process that holds the cluster is asked to do.

use std::path::Path;

use clap::{Args, value_parser};
use serde_json::json;

use super::arguments::PlaceArguments;
use super::requests::{Answer, Request, ask};
use crate::failure::Failure;
use crate::output::{self, Output};

#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    tidegate cluster restart spu-2\n  \
    tidegate cluster restart sc-1 sc-2 gateway-1 gateway-2   # one after the other\n\n\
    Each is told to stop and waited for, then started again from the program that started the cluster, \
    which may be a newer one by now. One that is down is started.")]
pub(crate) struct RestartArguments {
    /// Processes as `tidegate cluster status` names them, one after the other in this order.
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,

    #[command(flatten)]
    place: PlaceArguments,
}

#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    tidegate cluster add-spu                 # the next number, on a rack of its own\n  \
    tidegate cluster add-spu 5 --rack rack-b # fine to run again\n\n\
    It is kept: the next `tidegate cluster start` starts it, too, unless --spus says otherwise. One that was \
    removed from the cluster is entered again.")]
pub(crate) struct AddSpuArguments {
    /// Number of the unit; the next free one without it.
    #[arg(value_name = "NUMBER", value_parser = value_parser!(u32).range(1..=9999))]
    number: Option<u32>,

    /// Failure domain; copies of a partition go to different ones [default: one of its own].
    #[arg(long)]
    rack: Option<String>,

    #[command(flatten)]
    place: PlaceArguments,
}

/// Restarts them. The first that fails ends it.
pub(super) async fn restart(arguments: &RestartArguments, output: Output) -> Result<(), Failure> {
    for name in &arguments.names {
        let name = name.clone();
        asked(
            &arguments.place.data_dir,
            &Request::Restart { name },
            output,
        )
        .await?;
    }
    Ok(())
}

/// Adds one.
pub(super) async fn add_spu(arguments: &AddSpuArguments, output: Output) -> Result<(), Failure> {
    let request = Request::AddSpu {
        number: arguments.number,
        rack: arguments.rack.clone(),
    };
    asked(&arguments.place.data_dir, &request, output).await
}

async fn asked(directory: &Path, request: &Request, output: Output) -> Result<(), Failure> {
    match ask(directory, request).await? {
        Answer::Failed { message } => Err(Failure::failed(message)),
        Answer::Done {
            name,
            said,
            changed,
        } => match output {
            Output::Json => output::print_json(&json!({ "name": name, "changed": changed })),
            Output::Table => {
                output::say(&said);
                Ok(())
            }
        },
    }
}
