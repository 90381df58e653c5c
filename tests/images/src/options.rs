//! The command line. Nothing has a hidden default: the help says them.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tidegate_log::images::{Place, WORKLOADS, Workload, find_workload};

pub(crate) const HELP: &str = "\
cargo xtask images [options]

  --count N          stop when so many distinct images were booted (2000000)
  --slice MINUTES    stop after that time; the unit under way is finished
  --resume LEDGER    go on where this file ends, and add to it; it is made when it is not there
  --seed N           first seed (1)
  --workload NAME    only this workload
  --image PLACE      boot this one image of --workload and --seed, and list its files
  --rot BYTES        instead: flip a bit of each byte of a log of about that size, crashed and closed
  --from BYTE        begin the flips there, counted through both
";

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) count: u64,
    pub(crate) slice: Option<Duration>,
    pub(crate) ledger: Option<PathBuf>,
    pub(crate) seed: u64,
    pub(crate) workload: Option<String>,
    pub(crate) image: Option<Place>,
    pub(crate) rot: Option<usize>,
    pub(crate) from: usize,
    pub(crate) is_help: bool,
}

impl Options {
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self> {
        let mut options = Self {
            count: 2_000_000,
            slice: None,
            ledger: None,
            seed: 1,
            workload: None,
            image: None,
            rot: None,
            from: 0,
            is_help: false,
        };
        let mut arguments = arguments.into_iter();
        while let Some(name) = arguments.next() {
            let mut value = || {
                let value = arguments.next();
                value.with_context(|| format!("{name} needs a value\n\n{HELP}"))
            };
            match name.as_str() {
                "--count" => options.count = value()?.parse()?,
                "--slice" => {
                    let minutes: u64 = value()?.parse()?;
                    options.slice = Some(Duration::from_secs(minutes * 60));
                }
                "--resume" => options.ledger = Some(value()?.into()),
                "--seed" => options.seed = value()?.parse()?,
                "--workload" => options.workload = Some(known(value()?)?),
                "--image" => {
                    let place = value()?.parse().map_err(anyhow::Error::msg)?;
                    options.image = Some(place);
                }
                "--rot" => options.rot = Some(value()?.parse()?),
                "--from" => options.from = value()?.parse()?,
                "--help" | "-h" => options.is_help = true,
                other => bail!("unknown option {other}\n\n{HELP}"),
            }
        }
        Ok(options)
    }

    pub(crate) fn workloads(&self) -> Vec<&'static Workload> {
        let wanted = |workload: &&Workload| {
            let name = self.workload.as_deref();
            name.is_none_or(|name| name == workload.name)
        };
        WORKLOADS.iter().filter(wanted).collect()
    }
}

fn known(name: String) -> Result<String> {
    if find_workload(&name).is_some() {
        return Ok(name);
    }
    let names: Vec<&str> = WORKLOADS.iter().map(|workload| workload.name).collect();
    bail!(
        "there is no workload {name}; there are {}",
        names.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options> {
        Options::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn what_a_failure_prints_is_understood() {
        let options = parse("--workload cut --seed 9 --image 3.14.1.5").unwrap();
        assert_eq!((options.seed, options.workloads().len()), (9, 1));
        assert_eq!(
            options.image.map(|place| place.to_string()).unwrap(),
            "3.14.1.5"
        );
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for line in ["--what", "--workload nothing", "--count", "--image 1"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
