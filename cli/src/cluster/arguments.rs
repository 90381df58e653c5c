//! The flags of `tidegate cluster`.

use std::path::PathBuf;

use clap::{Args, value_parser};
use tidegate_sc::store::DatabaseUrl;

#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    tidegate cluster start --data-dir ./cluster              # 2 controllers, 3 storage units, 2 gateways\n  \
    tidegate cluster start --data-dir ./cluster --spus 5     # the same one again, with two units more\n  \
    tidegate cluster status --data-dir ./cluster\n\n\
    Once it is ready, DIR/cluster.json has the authority, the admin token, the database and every\n\
    process with its command line. Logs are in DIR/logs. A process that ends by itself is reported and\n\
    left down, so that one can see what the others make of it; its command line starts it again.")]
pub(crate) struct StartArguments {
    #[command(flatten)]
    pub(crate) place: PlaceArguments,

    /// Controllers [default: those that there were, 2 at first].
    #[arg(long, value_name = "COUNT", value_parser = value_parser!(u32).range(1..=16))]
    pub(crate) scs: Option<u32>,

    /// Storage units, each on a rack of its own [default: those that there were, 3 at first].
    #[arg(long, value_name = "COUNT", value_parser = value_parser!(u32).range(0..=64))]
    pub(crate) spus: Option<u32>,

    /// Gateways [default: those that there were, 2 at first].
    #[arg(long, value_name = "COUNT", value_parser = value_parser!(u32).range(0..=16))]
    pub(crate) gateways: Option<u32>,

    /// Postgres database to use. Without one a server is started from the machine's `initdb` and
    /// `postgres`, with its data in DIR/postgres.
    #[arg(long, value_name = "URL", env = "TIDEGATE_DATABASE_URL", hide_env_values = true, value_parser = database)]
    pub(crate) database_url: Option<String>,

    /// Do not write a profile for the client commands (`local`, or that of --profile).
    #[arg(long)]
    pub(crate) no_profile: bool,

    /// What the processes log: error, warn, info, debug, or a filter.
    #[arg(long, value_name = "FILTER", default_value = "info")]
    pub(crate) log: String,
}

#[derive(Args, Debug)]
pub(crate) struct PlaceArguments {
    /// Directory of everything that the cluster keeps; `start` makes it when it is not there.
    #[arg(long, value_name = "DIR", default_value = "./tidegate-cluster")]
    pub(crate) data_dir: PathBuf,
}

fn database(text: &str) -> Result<String, String> {
    DatabaseUrl::parse(text).map_err(|error| error.to_string())?;
    Ok(text.to_owned())
}
