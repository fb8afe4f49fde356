//! Places that results are not written to, and names that files do not repeat as they are.

#[cfg(unix)]
use std::fs;

mod support {
    pub(crate) mod parts;
    pub(crate) mod program;
    pub(crate) mod run;
}

use support::parts::write_parts;
use support::program::program;
use support::run::run;

#[test]
fn results_are_not_written_into_the_data() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    write_parts(&data, 3);
    let category = data.join("gear");
    let cases = [(&data, "gear/train/good"), (&data, "gear/train/good/model"), (&data, "new/model"), (&category, "")];
    for (root, out) in cases {
        let out = root.join(out);
        let existed = out.exists();
        let (_, stderr) = run(program("train").arg("--data").arg(root).arg("--out").arg(&out), 1);
        let names = [&out, root].map(|path| path.display().to_string());
        assert!(stderr.contains(&format!("--out {} lies in the data, {}", names[0], names[1])), "{stderr}");
        assert_eq!(out.exists(), existed);
        assert!(!out.join("config.json").exists() && !data.join("new").exists());
    }
}

#[cfg(unix)]
#[test]
fn the_card_of_a_model_is_readable_whatever_the_names_of_products() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (folder.path().join("data"), folder.path().join("out"));
    write_parts(&data, 3);
    fs::rename(data.join("gear"), data.join("ge\u{1b}[31ma\n# r|x")).unwrap();
    let mut command = program("train");
    command.args(["--backbone", "filter-bank", "--preset", "fast", "--epochs", "0", "--heatmaps", "0", "--no-cache"]);
    run(command.arg("--data").arg(&data).arg("--out").arg(&out), 0);
    let card = fs::read_to_string(out.join("README.md")).unwrap();
    assert!(card.contains(r"# Anomaly detection: ge\u{1b}[31ma\n# r|x, plate"), "{card}");
    assert!(card.contains(r"| categories | ge\u{1b}[31ma\n# r\|x, plate |"), "{card}");
    assert!(card.chars().all(|letter| letter == '\n' || !letter.is_control()), "{card}");
}
