//! House rules that the compiler does not know, read off the sources and manifests.
//!
//! Every rule is a pure function from text to complaints, shown by a sample that breaks it, and then
//! run over the whole tree. A complaint names the file, the line and the mend.

mod layers;
mod rules;
mod tree;

use tree::{Complaint, Source};

fn check(rule: &str, found: Vec<Complaint>) {
    let report: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert!(report.is_empty(), "{rule}:\n{}", report.join("\n"));
}

fn each(rule: &str, judge: fn(&Source) -> Vec<Complaint>) {
    let sources = tree::rust_sources();
    assert!(
        sources.len() > 20,
        "the tree was not found: {} files",
        sources.len()
    );
    check(rule, sources.iter().flat_map(judge).collect());
}

#[test]
fn every_file_says_what_it_is() {
    each("a file starts with `//!`", rules::header);
}

#[test]
fn files_stay_small_enough_to_hold_in_the_head() {
    each(
        "at most 400 lines of code and 150 of tests in a file",
        rules::size,
    );
}

#[test]
fn files_are_named_after_what_they_hold() {
    each("no utils, common, helpers, manager", rules::name);
}

#[test]
fn every_exception_from_a_lint_has_a_reason() {
    each("#[expect(.., reason = \"..\")]", rules::exceptions);
}

#[test]
fn pure_code_has_no_clock_no_io_no_randomness_and_no_order_by_hash() {
    each("proto and the cores are pure", rules::purity);
}

#[test]
fn files_are_opened_only_where_files_belong() {
    each("std::fs stays in its rooms", rules::file_access);
}

#[test]
fn tests_wait_for_values_and_never_sleep() {
    each("no sleep in tests", rules::sleep_in_tests);
}

#[test]
fn the_project_speaks_of_the_project_alone() {
    each("no machine paths", rules::foreign_words);
}

#[test]
fn crates_import_downwards_only() {
    check(
        "the layer table of ARCHITECTURE.md",
        layers::crate_edges(&tree::manifests()),
    );
}

#[test]
fn outside_packages_stay_in_their_layer() {
    check(
        "outside packages per layer",
        layers::outside_packages(&tree::manifests()),
    );
}

#[test]
fn modules_import_only_modules_listed_above_them() {
    check(
        "module order of lib.rs",
        layers::module_order(&tree::rust_sources()),
    );
}

#[test]
fn every_migration_says_why() {
    let migrations = tree::files_ending(".sql");
    assert!(!migrations.is_empty(), "no migrations found");
    let silent = migrations
        .iter()
        .filter(|file| !file.text.starts_with("--"));
    let complaints = silent.map(|file| Complaint::new(file, 1, "starts with a `--` comment"));
    check("migrations", complaints.collect());
}
