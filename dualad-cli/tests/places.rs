//! Places that results are not written to, and names that files do not repeat as they are.

#[cfg(unix)]
use std::fs;
#[cfg(unix)]
use std::path::Path;

mod support {
    pub(crate) mod parts;
    pub(crate) mod program;
    pub(crate) mod run;
}

use support::parts::write_parts;
use support::program::program;
use support::run::run;

/// Makes a model without training, with so many heat maps of each product.
#[cfg(unix)]
fn make_model(data: &Path, out: &Path, heat_maps: &str) {
    let mut command = program("train");
    command.args(["--backbone", "filter-bank", "--preset", "fast", "--epochs", "0", "--no-cache"]);
    run(command.args(["--heatmaps", heat_maps]).arg("--data").arg(data).arg("--out").arg(out), 0);
}

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
    make_model(&data, &out, "0");
    let card = fs::read_to_string(out.join("README.md")).unwrap();
    assert!(card.contains(r"# Anomaly detection: ge\u{1b}[31ma\n# r|x, plate"), "{card}");
    assert!(card.contains(r"| categories | ge\u{1b}[31ma\n# r\|x, plate |"), "{card}");
    assert!(card.chars().all(|letter| letter == '\n' || !letter.is_control()), "{card}");
}

#[cfg(unix)]
#[test]
fn names_in_any_writing_are_read_reported_and_written() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (folder.path().join("Größen und Muster"), folder.path().join("Ergebnis 結果"));
    write_parts(&data, 3);
    let products = ["Schraube M8 größe", "螺丝"];
    for (old, new) in ["gear", "plate"].iter().zip(products) {
        fs::rename(data.join(old), data.join(new)).unwrap();
    }
    make_model(&data, &out, "2");
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    let report: serde_json::Value = serde_json::from_slice(&fs::read(out.join("report.json")).unwrap()).unwrap();
    let folders: Vec<_> = fs::read_dir(out.join("heatmaps")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(folders.len(), 2, "{folders:?}");
    assert!(folders.iter().all(|folder| fs::read_dir(folder).unwrap().count() == 2), "{folders:?}");
    for product in products {
        assert!(page.contains(product) && report.to_string().contains(product), "{product}");
        let image = data.join(product).join("test/good/000.png");
        let maps = folder.path().join("Karten 图");
        let mut command = program("inspect");
        command
            .arg("--model")
            .arg(&out)
            .args(["--category", product, "--json", "-", "--heatmaps"])
            .arg(&maps)
            .arg(&image);
        let (line, _) = run(&mut command, 0);
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["image"], image.display().to_string());
        assert!(Path::new(line["heatmap"].as_str().unwrap()).is_file(), "{line}");
        fs::remove_dir_all(maps).unwrap();
    }
}
