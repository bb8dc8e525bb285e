//! What SECURITY.md says of tests: that they are there.

use wrapwatch_tests::named_tests;

#[test]
fn every_test_that_the_table_of_attacks_names_is_there() {
    let (count, mut missing) = named_tests::named_in("SECURITY.md", "## Attacks that worked once").unwrap();
    assert!(count > 20, "{count}");
    // A fuzz target is no test, and is there as well.
    let fuzzed = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/src/elf.rs");
    missing.retain(|name| name != "elf" || !std::path::Path::new(fuzzed).exists());
    assert_eq!(missing, [""; 0]);
}
