//! The partitions of a topic as a table, and a word about those that nobody leads.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::failure::Failure;
use crate::output::{self, cell};
use crate::units;

const HEADER: [&str; 11] = [
    "partition",
    "state",
    "leader",
    "epoch",
    "replicas",
    "in sync",
    "lag",
    "log start",
    "records to",
    "size",
    "damage",
];

/// Partitions of which is told what is amiss: a screenful.
const THREATENED_MAX: usize = 20;

/// Prints them.
pub(crate) fn show(partitions: &[Value]) -> Result<(), Failure> {
    let rows = partitions.iter().map(|partition| {
        let size = partition.get("size_bytes").and_then(Value::as_u64);
        vec![
            cell(partition.get("partition")),
            cell(partition.get("state")),
            cell(partition.get("leader")),
            cell(partition.get("leader_epoch")),
            cell(partition.get("replicas")),
            cell(partition.get("isr")),
            lag(partition),
            cell(partition.get("log_start")),
            cell(partition.get("high_watermark")),
            size.map_or_else(|| "-".to_owned(), units::show_bytes),
            damage(partition.get("damage")),
        ]
    });
    output::print_table(&HEADER, rows.collect())?;
    if let Some(words) = away(partitions) {
        output::say(&words);
    }
    for words in threatened(partitions) {
        output::say(&words);
    }
    for words in partitions.iter().filter_map(surveyed) {
        output::say(&words);
    }
    Ok(())
}

/// How far the copy is behind that is farthest, among those of which somebody knows.
fn lag(partition: &Value) -> String {
    let copies = partition.get("copies").and_then(Value::as_array);
    let copies = copies.into_iter().flatten();
    let number = |copy: &Value, name| copy.get(name).and_then(Value::as_u64);
    let known =
        copies.filter_map(|copy| Some((number(copy, "lag_records")?, number(copy, "lag_ms"))));
    match known.max() {
        None => "-".to_owned(),
        Some((0, _)) => "0".to_owned(),
        Some((records, None)) => records.to_string(),
        Some((records, Some(ms))) => match units::show_milliseconds(ms - ms % 1_000) {
            Some(time) => format!("{records} ({time})"),
            None => format!("{records} ({ms}ms)"),
        },
    }
}

/// What an operator has to know who is to accept a loss, or wait.
fn surveyed(partition: &Value) -> Option<String> {
    let survey = partition.get("survey").filter(|survey| !survey.is_null())?;
    let number = |name: &str| survey.get(name).and_then(Value::as_u64);
    let answers = survey.get("answers")?.as_array()?;
    let told = answers.iter().map(|answer| {
        let (spu, end) = (cell(answer.get("spu")), cell(answer.get("end")));
        match answer.get("doubt").and_then(Value::as_str) {
            Some(doubt) => format!("storage unit {spu} ends at {end} and does not count ({doubt})"),
            None => format!("storage unit {spu} ends at {end}"),
        }
    });
    let told: Vec<String> = told.collect();
    let told = match told.is_empty() {
        true => "nobody has answered".to_owned(),
        false => told.join(", "),
    };
    let stake = match (number("records_at_stake"), number("kept_to")) {
        (Some(0), _) => {
            "nothing that was committed would be lost, as far as its last leader said".to_owned()
        }
        (Some(records), Some(kept)) => format!(
            "{} from offset {kept} on would be lost",
            units::counted(records, "committed record")
        ),
        (_, Some(kept)) => {
            format!("what is at and after offset {kept} would be lost, if there was more")
        }
        (_, None) => "what would be lost is not known".to_owned(),
    };
    let (needed, counted) = (number("answers_needed")?, number("answers_counted")?);
    let is_over = survey.get("silent").and_then(Value::as_array)?.is_empty();
    let way_out = match is_over && counted < needed {
        true => format!(
            "; nobody else can be asked: `tidegate operation cancel {}`, and then recover with --accept-loss, or \
             wait for other copies",
            cell(survey.get("operation"))
        ),
        false => String::new(),
    };
    Some(format!(
        "partition {} is being recovered: {told}; of {needed} answers that are needed {counted} are there, silent: \
         {}; {stake}{way_out}",
        cell(partition.get("partition")),
        cell(survey.get("silent")),
    ))
}

/// What is amiss with those that are online, and with which copy; bounded, as there may be thousands.
fn threatened(partitions: &[Value]) -> Vec<String> {
    let is_online = |it: &&Value| it.get("state").and_then(Value::as_str) == Some("online");
    let said = partitions.iter().filter(is_online).filter_map(|partition| {
        let reason = partition.get("reason")?.as_str()?;
        let number = cell(partition.get("partition"));
        let copies = partition.get("copies").and_then(Value::as_array);
        let amiss = copies.into_iter().flatten().filter_map(|copy| {
            let reason = copy.get("reason")?.as_str()?;
            let (spu, state) = (cell(copy.get("spu")), cell(copy.get("state")));
            Some(format!("; copy on {spu} is {state}: {reason}"))
        });
        let amiss: String = amiss.collect();
        Some(format!("partition {number}: {reason}{amiss}"))
    });
    let mut said: Vec<String> = said.collect();
    if said.len() > THREATENED_MAX {
        let more = said.len() - THREATENED_MAX;
        said.truncate(THREATENED_MAX);
        said.push(format!("{more} more partitions are not whole"));
    }
    said
}

/// Which are away, and whose they are.
fn away(partitions: &[Value]) -> Option<String> {
    let is_away = |it: &&Value| it.get("state").and_then(Value::as_str) == Some("offline");
    let away: Vec<&Value> = partitions.iter().filter(is_away).collect();
    let numbers = away.iter().map(|it| cell(it.get("partition")));
    let numbers: Vec<String> = numbers.collect();
    let units = away.iter().filter_map(|it| it.get("replicas")?.as_array());
    let units: BTreeSet<u64> = units.flatten().filter_map(Value::as_u64).collect();
    let units: Vec<String> = units.iter().map(ToString::to_string).collect();
    let (whose, them) = match numbers.len() {
        0 => return None,
        1 => (format!("partition {} is", numbers[0]), "its"),
        _ => (format!("partitions {} are", numbers.join(", ")), "their"),
    };
    let units = match units.len() {
        1 => format!("storage unit {} has", units[0]),
        _ => format!("storage units {} have", units.join(", ")),
    };
    Some(format!(
        "{whose} offline: {units} {them} copies; `tidegate spu list` says how they are"
    ))
}

/// What cannot be read of a partition, and whether it takes records.
fn damage(found: Option<&Value>) -> String {
    let Some(found) = found.filter(|found| !found.is_null()) else {
        return "-".to_owned();
    };
    let offset = |name: &str| found.get(name).and_then(Value::as_u64);
    let place = match (offset("from"), offset("until")) {
        (Some(from), Some(until)) => format!("offsets {from} to {}", until.saturating_sub(1)),
        (Some(from), None) => format!("from offset {from}"),
        (None, _) => "somewhere".to_owned(),
    };
    let is_read_only = found.get("read_only") == Some(&Value::Bool(true));
    let suffix = if is_read_only { ", read-only" } else { "" };
    format!("{place}{suffix}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn partitions_that_lack_copies_are_named_with_the_reason_and_the_farthest_copy() {
        let copies = json!([
            { "spu": 1, "state": "leading", "reason": null, "lag_records": 0, "lag_ms": 0 },
            { "spu": 2, "state": "catching_up", "reason": "it is behind", "lag_records": 7, "lag_ms": 2_345 },
            { "spu": 3, "state": "offline", "reason": "it is shut out", "lag_records": null, "lag_ms": null },
        ]);
        let partition = json!({ "partition": 4, "state": "online", "reason": "1 of 3 copies are in sync",
            "copies": copies });
        assert_eq!(lag(&partition), "7 (2s)");
        assert_eq!(lag(&json!({})), "-");
        let said = threatened(&[partition]);
        let expected = "partition 4: 1 of 3 copies are in sync; copy on 2 is catching_up: it is behind; \
                        copy on 3 is offline: it is shut out";
        assert_eq!(said, [expected]);
        let whole = json!({ "partition": 0, "state": "online", "reason": null });
        assert!(threatened(&[whole]).is_empty());
    }

    #[test]
    fn a_survey_says_who_answered_what_and_what_is_at_stake() {
        let answers =
            json!([{ "spu": 3, "last_epoch": 4, "log_start": 0, "end": 90, "intact": true }]);
        let partition = json!({ "partition": 2, "survey": { "answers": answers, "answers_needed": 2,
            "answers_counted": 1, "silent": [1, 2], "kept_to": 90, "committed_to": 100, "records_at_stake": 10 } });
        let said = surveyed(&partition).unwrap();
        let expected = "partition 2 is being recovered: storage unit 3 ends at 90; of 2 answers that are needed \
                        1 are there, silent: [1,2]; 10 committed records from offset 90 on would be lost";
        assert_eq!(said, expected);
        assert_eq!(surveyed(&json!({ "partition": 2, "survey": null })), None);
    }

    #[test]
    fn a_survey_that_gets_no_further_says_which_answers_do_not_count_and_what_can_be_done() {
        let answers = json!([{ "spu": 1, "end": 90, "doubt": null },
            { "spu": 2, "end": 80, "doubt": "its copy is damaged or may lack something" }]);
        let partition = json!({ "partition": 2, "survey": { "operation": "7", "answers": answers,
            "answers_needed": 2, "answers_counted": 1, "silent": [], "kept_to": 90 } });
        let said = surveyed(&partition).unwrap();
        for part in [
            "storage unit 1 ends at 90, storage unit 2 ends at 80 and does not count (its copy is damaged",
            "of 2 answers that are needed 1 are there",
            "`tidegate operation cancel 7`, and then recover with --accept-loss",
        ] {
            assert!(said.contains(part), "{said}");
        }
    }

    #[test]
    fn partitions_that_are_away_are_named_with_the_units_that_have_them() {
        let partition = |number: u32, state: &str, replicas: &[u32]| json!({ "partition": number, "state": state, "replicas": replicas });
        let online = partition(0, "online", &[1]);
        assert_eq!(away(std::slice::from_ref(&online)), None);
        let one = away(&[online.clone(), partition(1, "offline", &[2])]).unwrap();
        assert!(
            one.starts_with("partition 1 is offline: storage unit 2 has its"),
            "{one}"
        );
        let offline = |number, replicas: &[u32]| partition(number, "offline", replicas);
        let more = away(&[online, offline(1, &[2, 3]), offline(3, &[2])]).unwrap();
        let expected = "partitions 1, 3 are offline: storage units 2, 3 have their copies";
        assert!(more.starts_with(expected), "{more}");
    }
}
