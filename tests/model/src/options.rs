//! What the command takes.

use std::path::PathBuf;

pub(crate) const HELP: &str = "\
Searches the protocol model: every order of events, with the real machines.

  --states N     stop when slices have so many states in all (200000)
  --steps N      steps of a slice (400000)
  --scope NAME   only slices of this scope
  --order N      begin with this order: 0 is breadth first, others are depth first, each another way (0)
  --ledger FILE  go on with what this file says is done; distinct states are counted in FILE.sketch
  --gate         take each guard away in turn, and walk until something breaks; --order is the first seed
  --walk         walk through each scope with all guards; each walk ends with everything at rest
  --walks N      walks of each scope, or of the gate for each guard (20000)
";

#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) states: u64,
    pub(crate) steps: usize,
    pub(crate) scope: Option<String>,
    pub(crate) order: u64,
    pub(crate) walks: u64,
    pub(crate) ledger: Option<PathBuf>,
    pub(crate) is_gate: bool,
    pub(crate) is_walk: bool,
    pub(crate) is_help: bool,
}

impl Options {
    pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            states: 200_000,
            steps: 400_000,
            scope: None,
            order: 0,
            walks: 20_000,
            ledger: None,
            is_gate: false,
            is_walk: false,
            is_help: false,
        };
        let mut arguments = arguments;
        while let Some(name) = arguments.next() {
            match name.as_str() {
                "--walk" => options.is_walk = true,
                "--gate" => options.is_gate = true,
                "--help" | "-h" => options.is_help = true,
                _ => {
                    let value = arguments.next();
                    let value = value.ok_or_else(|| format!("{name} wants a value"))?;
                    options.set(&name, value)?;
                }
            }
        }
        Ok(options)
    }

    fn set(&mut self, name: &str, value: String) -> Result<(), String> {
        let number = || {
            let digits = value.replace('_', "");
            digits
                .parse::<u64>()
                .map_err(|_| format!("{name} wants a number"))
        };
        match name {
            "--states" => self.states = number()?,
            "--steps" => self.steps = usize::try_from(number()?).unwrap_or(usize::MAX),
            "--order" => self.order = number()?,
            "--walks" => self.walks = number()?,
            "--scope" => self.scope = Some(value),
            "--ledger" => self.ledger = Some(PathBuf::from(value)),
            _ => return Err(format!("there is no {name}; --help says what there is")),
        }
        Ok(())
    }
}
