//! Datasets of many products and of many rows are opened in time that grows with their size, not with its square.

mod support;

use std::time::Instant;

use dualad_data::Dataset;
#[cfg(unix)]
use dualad_data::Split;
use support::Tree;

/// The most seconds, on any machine.
const MOST: u64 = 60;

#[test]
fn thousands_of_products_are_compared_quickly() {
    let tree = Tree::new();
    for index in 0..2000 {
        tree.write(&format!("product_{index}_of_line_{}/0.png", index % 7), "x");
    }
    let start = Instant::now();
    assert_eq!(Dataset::open_products(tree.root()).unwrap().categories.len(), 2000);
    let spent = start.elapsed();
    eprintln!("2,000 products: {spent:?}");
    assert!(spent.as_secs() < MOST, "{spent:?}");
}

#[cfg(unix)]
#[test]
fn a_long_table_of_whole_paths_is_read_quickly() {
    let tree = Tree::new();
    let real = tree.root().canonicalize().unwrap().join("data").to_str().unwrap().to_string();
    let rows: String = (0..100_000).map(|index| format!("{real}/images/{index}.png,ok,train\n")).collect();
    tree.write("data/t.csv", format!("path,label,split\n{rows}"));
    // The table has the real paths, and the folder is opened by another.
    std::os::unix::fs::symlink(&real, tree.root().join("link")).unwrap();
    let start = Instant::now();
    let dataset = Dataset::open(tree.root().join("link")).unwrap();
    // One of five normal images is a test image.
    assert_eq!(dataset.samples(Split::Train).count(), 80_000);
    assert!(dataset.categories[0].samples[0].path.starts_with(tree.root().join("link")));
    let spent = start.elapsed();
    eprintln!("100,000 rows: {spent:?}");
    assert!(spent.as_secs() < MOST, "{spent:?}");
}
