//! The copies of a partition on the disks of units that do not run, as `tidegate log dump` shows them and as
//! the bytes of their segments.

use std::path::Path;

use serde_json::Value;
use tidegate_histcheck::Seen;

use crate::program;
use crate::recorded::seen;

/// One copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// The headers of its batches, markers of epochs among them; not where they lie in files.
    pub batches: Vec<String>,
    pub records: Vec<Seen>,
    /// All segments, one behind the other.
    pub bytes: Vec<u8>,
}

/// Reads the copy of a partition in a unit's data directory.
///
/// # Panics
/// When there is none or more than one, something in it is damaged, or a unit runs on the directory.
#[must_use]
pub fn copy(data_dir: &Path, topic_id: &str, partition: u32) -> Copy {
    let mut command = program::command(data_dir);
    command
        .args(["log", "dump", "--records", "-o", "json", "--data-dir"])
        .arg(data_dir)
        .args(["--topic-id", topic_id, "--partition"])
        .arg(partition.to_string());
    let output = command.output().expect("the program runs");
    assert!(output.status.success(), "{}", program::words(&output));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let (mut batches, mut records, mut replicas) = (Vec::new(), Vec::new(), 0);
    for line in text.lines() {
        let mut value: Value = serde_json::from_str(line).expect("JSON");
        match value["kind"].as_str() {
            Some("replica") => replicas += 1,
            Some("batch") => {
                let fields = value.as_object_mut().expect("an object");
                fields.remove("segment");
                fields.remove("at");
                batches.push(value.to_string());
            }
            Some("record") => {
                let text = value["value"].as_str().unwrap_or_default();
                let number = text.parse::<u64>().map_or(Value::Null, Value::from);
                records.push(seen(value["offset"].as_u64().expect("an offset"), &number));
            }
            _ => panic!(
                "in the copy of {partition} in {}: {line}",
                data_dir.display()
            ),
        }
    }
    assert_eq!(
        replicas,
        1,
        "copies of partition {partition} in {}",
        data_dir.display()
    );
    Copy {
        batches,
        records,
        bytes: segments(data_dir, &format!("{topic_id}-{partition}-")),
    }
}

fn segments(data_dir: &Path, prefix: &str) -> Vec<u8> {
    let replicas = data_dir.join("storage/replicas");
    let all = std::fs::read_dir(replicas).expect("a directory of replicas");
    let all = all.map(|entry| entry.expect("an entry"));
    let mut files: Vec<_> = all
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .flat_map(|entry| std::fs::read_dir(entry.path()).expect("a replica's directory"))
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "log"))
        .collect();
    files.sort();
    let read = files
        .iter()
        .map(|file| std::fs::read(file).expect("a segment"));
    read.collect::<Vec<_>>().concat()
}
