//! `tidegate cluster token ..`: one-time tokens with which nodes join a cluster.
//!
//! Calls to the controllers' API and nothing else. A token goes to standard output alone, so that it can be
//! put into a file or a variable; what is said about it goes to standard error.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};
use tidegate_kit::clock;
use tidegate_proto::node::NodeName;

use crate::connection::Connection;
use crate::failure::Failure;
use crate::output::{self, Output, cell};
use crate::units::milliseconds;

/// One-time tokens with which nodes join.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token for one node; it is shown once.
    Create(CreateArguments),
    /// List the tokens that have not expired.
    #[command(visible_alias = "ls")]
    List,
    /// Take a token back, so that nobody can join with it any more.
    #[command(visible_alias = "rm")]
    Revoke(RevokeArguments),
}

#[derive(Args, Debug)]
pub(crate) struct CreateArguments {
    /// What the node becomes.
    #[arg(long, value_enum)]
    role: TokenRole,

    /// The only node that can use the token, such as `spu-3` for storage unit 3. Without it the node
    /// chooses its name.
    #[arg(long, value_name = "NAME")]
    name: Option<NodeName>,

    /// For how long the token is good, up to a day.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = milliseconds)]
    ttl: u64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum TokenRole {
    /// A storage unit.
    Spu,
    /// A gateway.
    Gateway,
}

#[derive(Args, Debug)]
pub(crate) struct RevokeArguments {
    /// Id of the token, as `tidegate cluster token list` shows it.
    id: String,
}

/// Carries the command out.
pub(crate) async fn run(
    command: TokenCommand,
    connection: &Connection,
    output: Output,
) -> Result<(), Failure> {
    match command {
        TokenCommand::Create(arguments) => create(&arguments, connection, output).await,
        TokenCommand::List => list(connection, output).await,
        TokenCommand::Revoke(arguments) => {
            connection
                .client()?
                .revoke_join_token(&arguments.id)
                .await?;
            output::say(&format!("token {} is taken back", arguments.id));
            Ok(())
        }
    }
}

async fn create(
    arguments: &CreateArguments,
    connection: &Connection,
    output: Output,
) -> Result<(), Failure> {
    let role = match arguments.role {
        TokenRole::Spu => "spu",
        TokenRole::Gateway => "gateway",
    };
    let mut spec = json!({ "role": role, "ttl_s": arguments.ttl / 1000 });
    if let Some(name) = &arguments.name {
        spec["name"] = json!(name.as_str());
    }
    let made = connection.client()?.create_join_token(&spec).await?;
    if output == Output::Json {
        return output::print_json(&made);
    }
    let until = made.get("expires_at").and_then(Value::as_i64);
    output::say(&format!(
        "good for one {role} within {}; it is not shown again",
        until.map(left).unwrap_or_default()
    ));
    output::print(&cell(made.get("token")))
}

async fn list(connection: &Connection, output: Output) -> Result<(), Failure> {
    let tokens = connection.client()?.join_tokens().await?;
    if output == Output::Json {
        return output::print_json(&Value::Array(tokens));
    }
    if tokens.is_empty() {
        output::say("no tokens; `tidegate cluster token create --role spu` makes one");
        return Ok(());
    }
    let time = |value: Option<&Value>| value.and_then(Value::as_i64).map(left);
    let rows = tokens.iter().map(|token| {
        vec![
            cell(token.get("id")),
            cell(token.get("role")),
            cell(token.get("name")),
            cell(token.get("created_by")),
            time(token.get("expires_at")).unwrap_or_default(),
            cell(token.pointer("/used/by")),
        ]
    });
    output::print_table(
        &["id", "role", "name", "created by", "good for", "used by"],
        rows.collect(),
    )
}

/// The time that is left until then.
fn left(until_ms: i64) -> String {
    let left_s = (until_ms - clock::now_ms()).max(0) / 1000;
    match (left_s / 3600, left_s / 60 % 60, left_s % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m{s:02}s"),
        (h, m, _) => format!("{h}h{m:02}m"),
    }
}
