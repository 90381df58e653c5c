//! The benchmark runs: every part once, briefly. Its figures mean nothing here and are not judged.

use std::process::{Command, Stdio};

use tidegate_tests::program::{sibling, words};

#[test]
fn every_part_of_the_benchmark_runs() {
    let mut bench = Command::new(sibling("tidegate-bench"));
    let output = bench
        .arg("--quick")
        .stdin(Stdio::null())
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{}", words(&output));
    let table = String::from_utf8_lossy(&output.stdout);
    let rows = table.lines().filter(|line| line.starts_with("| ")).count();
    assert_eq!(
        rows,
        1 + 15 + 4 + 6 + 4 + 2 + 6 + 4,
        "a row a figure below the head:\n{table}"
    );
}
