//! Rows of figures: what was measured, against what, their ratio, and the setting.
//!
//! Ratios are taken pair by pair and their median is reported, so that a machine whose speed drifts does
//! not favour one side.

use anyhow::{Context, Result};

const START: &str = "<!-- figures: written by cargo xtask bench --write -->";
const END: &str = "<!-- end of figures -->";

#[derive(Debug)]
struct Row {
    what: String,
    ours: String,
    limit: String,
    ratio: String,
    setting: String,
}

/// The table of one run.
#[derive(Debug)]
pub(crate) struct Report {
    rows: Vec<Row>,
}

impl Report {
    pub(crate) fn new() -> Self {
        Self { rows: Vec::new() }
    }

    /// Pairs of (ours, limit), larger is better, in `unit`.
    pub(crate) fn pairs(&mut self, what: &str, unit: &str, pairs: &[(f64, f64)], setting: &str) {
        let mut ours: Vec<f64> = pairs.iter().map(|pair| pair.0).collect();
        let mut limit: Vec<f64> = pairs.iter().map(|pair| pair.1).collect();
        let mut ratios: Vec<f64> = pairs.iter().map(|pair| pair.0 / pair.1).collect();
        let (low, high) = extent(&ratios);
        let ratio = median(&mut ratios) * 100.0;
        self.rows.push(Row {
            what: what.into(),
            ours: amount(median(&mut ours), unit),
            limit: amount(median(&mut limit), unit),
            ratio: format!("{ratio:.0} % ({:.0}-{:.0})", low * 100.0, high * 100.0),
            setting: setting.into(),
        });
    }

    /// Pairs of (ours, bound), smaller is better, in `unit`.
    pub(crate) fn within(&mut self, what: &str, unit: &str, pairs: &[(f64, f64)], setting: &str) {
        self.pairs(what, unit, pairs, setting);
        if let Some(row) = self.rows.last_mut() {
            row.limit.insert_str(0, "< ");
        }
    }

    /// Figures without a peer, smaller is better, against a stated bound.
    pub(crate) fn bound(
        &mut self,
        what: &str,
        mut figures: Vec<f64>,
        unit: &str,
        bound: f64,
        setting: &str,
    ) {
        let (low, high) = extent(&figures);
        let middle = median(&mut figures);
        self.rows.push(Row {
            what: what.into(),
            ours: format!("{middle:.1} {unit} ({low:.1}-{high:.1})"),
            limit: format!("< {bound} {unit}"),
            ratio: format!("{:.0} %", middle / bound * 100.0),
            setting: setting.into(),
        });
    }

    pub(crate) fn print(&self) {
        #[expect(clippy::print_stdout, reason = "the table is what the program is for")]
        {
            println!("{}", self.table());
        }
    }

    /// Replaces the table between the two marks of a document.
    pub(crate) fn write_into(&self, file: &str) -> Result<()> {
        let text = std::fs::read_to_string(file).with_context(|| file.to_owned())?;
        let (head, rest) = text.split_once(START).context("no mark for the figures")?;
        let (_, tail) = rest
            .split_once(END)
            .context("no mark for the end of the figures")?;
        let text = format!("{head}{START}\n\n{}\n{END}{tail}", self.table());
        std::fs::write(file, text).with_context(|| file.to_owned())
    }

    fn table(&self) -> String {
        let mut text =
            String::from("| figure | Tidegate | limit | ratio (lowest-highest) | setting |\n");
        text.push_str("|---|---|---|---|---|\n");
        for row in &self.rows {
            let cells = [&row.what, &row.ours, &row.limit, &row.ratio, &row.setting];
            let cells: Vec<&str> = cells.iter().map(|cell| cell.as_str()).collect();
            text.push_str(&format!("| {} |\n", cells.join(" | ")));
        }
        text
    }
}

pub(crate) fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

fn extent(figures: &[f64]) -> (f64, f64) {
    figures
        .iter()
        .fold((f64::INFINITY, 0.0), |(low, high), figure| {
            (low.min(*figure), high.max(*figure))
        })
}

fn amount(figure: f64, unit: &str) -> String {
    match figure {
        // Times are not counted in thousands.
        figure if unit == "us" => format!("{figure:.0} us"),
        figure if figure >= 1e6 => format!("{:.2} M{unit}", figure / 1e6),
        figure if figure >= 1e3 => format!("{:.1} k{unit}", figure / 1e3),
        figure => format!("{figure:.1} {unit}"),
    }
}
