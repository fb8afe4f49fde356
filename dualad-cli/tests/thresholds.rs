//! The thresholds that training sets, and the images that `dualad calibrate` refuses.

#![cfg(unix)]

use std::fs;
use std::process::Command;

use serde_json::Value;

mod support {
    pub(crate) mod calibrated;
    pub(crate) mod config;
    pub(crate) mod output;
    pub(crate) mod parts;
    pub(crate) mod place;
    pub(crate) mod program;
}

use support::output::{succeed, text};
use support::place::Place;
use support::program::program;

#[test]
fn training_sets_thresholds_by_images_that_it_keeps_back_and_checks_them() {
    let place = Place::new(10);
    let output = succeed(&mut place.train(&["--preset", "fast"]));
    let table = text(&output.stdout);
    assert!(table.contains("thresholds: gear: rejects from") && table.contains("set by 2 good images"), "{table}");
    assert!(table.contains("of 10 known good images"), "{table}");
    let report = place.json("model/report.json");
    assert_eq!(report["train_images"], 16);
    assert_eq!(place.json("model/config.json")["held_out"].as_array().unwrap().len(), 4);
    let written = place.json("model/calibration.json");
    let gear = &written["categories"]["gear"];
    assert_eq!((&gear["normal_images"], &gear["known_good"]["images"]), (&2.into(), &10.into()));
    assert_eq!(gear["known_good"]["rejected"], 0);
    assert_eq!(written["pooled"]["known_good"]["images"], 20);
    // The decisions on the test images, in the table, the report and the file.
    let defective = &gear["known_defective"];
    let counts = |of: &Value| ["accepted", "reviewed", "rejected"].map(|name| of[name].as_u64().unwrap());
    let images = report["images"].as_array().unwrap();
    let of_gear = images.iter().filter(|image| image["category"] == "gear" && image["anomalous"] == true).count();
    assert!(of_gear > 0);
    assert_eq!(counts(defective).iter().sum::<u64>(), of_gear as u64);
    assert_eq!(counts(&report["decisions"]["gear"]["anomalous"]), counts(defective));
    assert!(
        table.contains("Decisions by the model's thresholds") && table.contains("known defective images"),
        "{table}"
    );
    let card = fs::read_to_string(place.path("model/README.md")).unwrap();
    assert!(card.contains("Decisions by the model's thresholds"), "{card}");
    assert!(card.contains("## First thresholds") && card.contains("known good images"), "{card}");
    assert!(card.contains("set them, for scores in f32;") && card.contains("Scores are computed in f32."), "{card}");
    assert!(card.contains("AUROC") && card.lines().any(|line| line.starts_with("gear  ")), "{card}");
    let info = text(&succeed(program("info").arg("--model").arg(place.path("model"))).stdout);
    assert!(info.contains("known good images") && info.contains("20 images, which"), "{info}");
    assert!(info.contains("known defective images"), "{info}");

    // The same by `evaluate`, unless the thresholds cannot be used.
    let evaluate = || {
        let mut command = program("evaluate");
        command.arg("--model").arg(place.path("model")).arg("--data").arg(place.path("data"));
        command.arg("--out").arg(place.path("evaluation")).args(["--no-cache", "--heatmaps", "0"]);
        succeed(&mut command)
    };
    assert!(text(&evaluate().stdout).contains("Decisions by the model's thresholds"));
    assert_eq!(place.json("evaluation/report.json")["decisions"], report["decisions"]);
    fs::write(place.path("model/calibration.json"), r#"{"pooled": {"reject": "x"}}"#).unwrap();
    let output = evaluate();
    assert!(!text(&output.stdout).contains("Decisions"), "{}", text(&output.stdout));
    assert!(text(&output.stderr).contains("there are no decisions in the report"), "{}", text(&output.stderr));

    // Thresholds that were set by hand for the same model are kept.
    fs::write(place.path("model/calibration.json"), r#"{"pooled": {"reject": 5}}"#).unwrap();
    let output = succeed(&mut place.train(&["--preset", "fast"]));
    assert!(text(&output.stderr).contains("calibration.previous.json"));
    assert_eq!(place.json("model/calibration.previous.json")["pooled"]["reject"], 5);
    assert_eq!(place.json("model/calibration.json"), written);
}

#[test]
fn the_images_of_the_network_and_of_the_bank_are_told() {
    let place = Place::new(10);
    let told = |options: &[&str], counts: [u64; 3], phrase: &str, in_page: &str| {
        succeed(&mut place.train(options));
        let info = || {
            let mut command = program("info");
            command.arg("--model").arg(place.path("model"));
            command
        };
        let card = fs::read_to_string(place.path("model/README.md")).unwrap();
        assert!(card.contains(&format!("| trained on | {phrase}; epochs: ")), "{card}");
        let text_of = text(&succeed(&mut info()).stdout);
        assert!(text_of.contains(&format!("trained on   {phrase}\n")), "{text_of}");
        let json: Value = serde_json::from_slice(&succeed(info().args(["--json", "-"])).stdout).unwrap();
        let [network, bank, held_out] = counts;
        assert_eq!(json["images"], serde_json::json!({"network": network, "bank": bank, "held_out": held_out}));
        assert_eq!(place.json("model/report.json")["bank_images"], bank);
        let page = fs::read_to_string(place.path("model/report.html")).unwrap().replace('\u{a0}', " ");
        assert!(page.contains(in_page), "{in_page}");
    };
    told(
        &["--preset", "fast", "--epochs", "2"],
        [16, 20, 4],
        "network: 16 normal images; bank: 20, with 4 that were held out for the thresholds",
        "trained on 16 images without defects and with 20 in its bank",
    );
    told(
        &["--preset", "fast", "--epochs", "0"],
        [0, 20, 4],
        "20 normal images in the bank",
        ", with 20 images without defects in its bank",
    );
    told(
        &["--preset", "paper", "--epochs", "2", "--hold-out", "0.2"],
        [16, 0, 4],
        "16 normal images, without 4 that were held out for the thresholds",
        "trained on 16 images without defects;",
    );
}

#[test]
fn calibrate_tells_of_images_of_another_product_and_of_defects_that_it_accepts() {
    let place = Place::new(10);
    succeed(&mut place.train(&["--preset", "fast"]));
    // Good plates under the name of the gears.
    let output = place.calibrate("data/plate/test/good", &["--category", "gear"]);
    let notes = text(&output.stderr);
    assert!(
        output.status.success() && notes.contains("good images look like another product, such as plate"),
        "{notes}"
    );
    let output = place.calibrate("data/gear", &["--category", "gear"]);
    let notes = text(&output.stderr);
    assert!(output.status.success() && !notes.contains("another product"), "{notes}");
    assert!(notes.contains("known defective images"), "{notes}");

    // Good and defective images, as folders beside each other.
    fs::create_dir(place.path("both")).unwrap();
    fs::rename(place.path("data/gear/test/good"), place.path("both/good")).unwrap();
    let defects = fs::read_dir(place.path("data/gear/test")).unwrap().next().unwrap().unwrap().path();
    fs::rename(defects, place.path("both/bad")).unwrap();
    let output = place.calibrate("both", &["--category", "gear"]);
    let error = text(&output.stderr);
    assert!(!output.status.success() && error.contains("--training-images uses the"), "{error}");
    assert!(place.calibrate("both", &["--category", "gear", "--training-images"]).status.success());
}

#[test]
fn the_paper_trains_on_every_image_and_says_that_there_are_no_thresholds() {
    let place = Place::new(10);
    let none = |options: &[&str]| {
        let table = text(&succeed(&mut place.train(options)).stdout);
        assert!(table.contains("thresholds: none"), "{table}");
        assert_eq!(place.json("model/report.json")["train_images"], 20);
        assert!(!place.path("model/calibration.json").exists());
    };
    none(&["--preset", "paper", "--epochs", "2"]);
    none(&["--preset", "fast", "--epochs", "2", "--hold-out", "0"]);
    let table = text(&succeed(&mut place.train(&["--preset", "paper", "--epochs", "2", "--hold-out", "0.5"])).stdout);
    assert!(table.contains("set by 5 good images"), "{table}");
    for share in ["1", "-0.1", "nan"] {
        let output = place.train(&["--hold-out", share]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    }
}

#[test]
fn calibrate_refuses_the_images_that_the_model_was_trained_on() {
    let place = Place::new(10);
    // A bank has tokens of the held-out images too.
    succeed(&mut place.train(&["--preset", "fast", "--epochs", "2"]));
    let output = place.calibrate("data/gear", &["--training-images", "--trained", "leave-out"]);
    assert!(text(&output.stderr).contains("trained on all 10 images"), "{}", text(&output.stderr));
    succeed(&mut place.train(&WITHOUT_BANK));
    let before = fs::read(place.path("model/calibration.json")).unwrap();
    let refused = |data: &str, options: &[&str], words: &[&str]| {
        let output = place.calibrate(data, options);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        words.iter().for_each(|word| assert!(error.contains(word), "{word}: {error}"));
        assert_eq!(fs::read(place.path("model/calibration.json")).unwrap(), before);
    };
    // A folder with `train/good` alone, and the images themselves.
    fs::create_dir_all(place.path("alone/train")).unwrap();
    fs::rename(place.path("data/gear/train/good"), place.path("alone/train/good")).unwrap();
    let words = ["8 of the 10 images", "--trained leave-out", "alone/train/good/0"];
    refused("alone", &["--category", "gear"], &words);
    refused("alone/train/good", &[], &["8 of the 10 images"]);
    refused("data/plate", &["--training-images", "--category", "plate"], &["8 of the 10 images"]);
    // Copies under other names, and in another format.
    fs::create_dir(place.path("copies")).unwrap();
    for (number, entry) in fs::read_dir(place.path("alone/train/good")).unwrap().enumerate() {
        let copy = place.path("copies").join(format!("copy-{number}.bmp"));
        image::open(entry.unwrap().path()).unwrap().to_rgb8().save(copy).unwrap();
    }
    refused("copies", &[], &["8 of the 10 images", "copy-"]);
    refused("copies", &["--category", "gaer"], &["was not trained on \"gaer\""]);
    // Broken images are all named.
    fs::write(place.path("copies/copy-1.bmp"), "BM").unwrap();
    fs::write(place.path("copies/copy-2.bmp"), "BM").unwrap();
    refused("copies", &[], &["2 images cannot be read", "copy-1.bmp", "copy-2.bmp"]);

    let output = place.calibrate("alone", &["--category", "gear", "--trained", "leave-out"]);
    assert!(output.status.success() && text(&output.stderr).contains("8 of 10 images"), "{}", text(&output.stderr));
    assert_eq!(place.json("model/calibration.json")["categories"]["gear"]["normal_images"], 2);
    assert!(place.calibrate("alone", &["--category", "gear", "--trained", "use"]).status.success());
    assert_eq!(place.json("model/calibration.json")["categories"]["gear"]["normal_images"], 10);

    // A model of an earlier version has no record.
    fs::remove_file(place.path("model/training-images.json")).unwrap();
    let output = place.calibrate("alone", &["--category", "gear"]);
    assert!(output.status.success() && text(&output.stderr).contains("no record of its training images"));
}

/// Returns a place with a model of two products, and the thresholds that training set.
/// Options of a model that has seen nothing of the images that it holds out.
const WITHOUT_BANK: [&str; 6] = ["--preset", "paper", "--epochs", "2", "--hold-out", "0.2"];

fn trained() -> (Place, Value) {
    let place = Place::new(10);
    succeed(&mut place.train(&WITHOUT_BANK));
    let thresholds = place.json("model/calibration.json");
    (place, thresholds)
}

#[test]
fn images_of_one_product_leave_the_thresholds_of_others_as_they_are() {
    let (place, first) = trained();
    let before = fs::read(place.path("model/calibration.json")).unwrap();
    for (data, options) in [("data/gear", &[][..]), ("data", &["--category", "gear"])] {
        fs::write(place.path("model/calibration.json"), &before).unwrap();
        let _ = fs::remove_file(place.path("model/calibration.previous.json"));
        let output = place.calibrate(data, options);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let found = place.json("model/calibration.json");
        assert_eq!(
            (&found["categories"]["plate"], &found["pooled"]),
            (&first["categories"]["plate"], &first["pooled"])
        );
        assert_ne!(found["categories"]["gear"], first["categories"]["gear"]);
        // Two good images of gear alone.
        assert_eq!(found["categories"]["gear"]["normal_images"], 2);
        assert_eq!(fs::read(place.path("model/calibration.previous.json")).unwrap(), before);
        let (table, said) = (text(&output.stdout), text(&output.stderr));
        assert!(
            said.contains("replaced: gear (") && said.contains("images set those of plate: plate, the pooled"),
            "{said}"
        );
        assert!(said.contains("calibration.previous.json"), "{said}");
        assert_eq!(table.lines().filter(|line| line.ends_with("  kept")).count(), 2, "{table}");
    }
    // In another file, the model's own thresholds of the other product are needed, too.
    let other = place.path("other.json");
    assert!(place.calibrate("data/gear", &["--out", other.to_str().unwrap()]).status.success());
    assert_eq!(place.json("other.json")["categories"]["plate"], first["categories"]["plate"]);
    assert!(place.calibrate("data/gear", &["--pooled"]).status.success());
    assert_eq!(place.json("model/calibration.json")["pooled"]["normal_images"], 2);

    let output = place.calibrate("data", &[]);
    let found = place.json("model/calibration.json");
    assert_eq!(found["pooled"]["normal_images"], 4);
    assert!(!text(&output.stdout).contains("kept") && !text(&output.stderr).contains("are kept, because"));

    // Without earlier thresholds, the pooled ones say what they are.
    fs::remove_file(place.path("model/calibration.json")).unwrap();
    let output = place.calibrate("data/gear", &[]);
    assert!(text(&output.stderr).contains("they decide on plate too"), "{}", text(&output.stderr));
    // Those of another model are not mixed in, but kept beside.
    let another = r#"{"model": "another", "categories": {"plate": {"reject": 5}}}"#;
    fs::write(place.path("model/calibration.json"), another).unwrap();
    let output = place.calibrate("data/gear", &[]);
    assert!(text(&output.stderr).contains("another model"), "{}", text(&output.stderr));
    assert!(place.json("model/calibration.json")["categories"].get("plate").is_none());
    assert_eq!(fs::read_to_string(place.path("model/calibration.previous.json")).unwrap(), another);
}

#[test]
fn copies_of_an_image_count_once_and_contradictions_are_refused() {
    let (place, _) = trained();
    fs::create_dir(place.path("gear")).unwrap();
    fs::copy(place.path("data/gear/test/good/001.png"), place.path("gear/other.png")).unwrap();
    for number in 0..20 {
        let copy = place.path("gear").join(format!("{number}.bmp"));
        image::open(place.path("data/gear/test/good/000.png")).unwrap().to_rgb8().save(copy).unwrap();
    }
    let output = place.calibrate("gear", &[]);
    assert!(text(&output.stderr).contains("equal pixels: 19 of 21 images"), "{}", text(&output.stderr));
    let found = place.json("model/calibration.json");
    assert_eq!(found["categories"]["gear"]["normal_images"], 2);
    assert!(found["categories"]["gear"]["reject_method"]["false_alarms"]["rate_at_most"].as_f64().unwrap() > 0.5);

    let defects = place.path("data/gear/test/scratch");
    fs::create_dir_all(&defects).unwrap();
    fs::copy(place.path("data/gear/test/good/000.png"), defects.join("copy.png")).unwrap();
    fs::create_dir_all(place.path("data/gear/ground_truth/scratch")).unwrap();
    let output = place.calibrate("data/gear", &[]);
    let error = text(&output.stderr);
    assert!(output.status.code() == Some(1) && error.contains("one as defective"), "{error}");
}

#[test]
fn thresholds_by_training_images_keep_a_warning() {
    let (place, _) = trained();
    let calibrate = |options: &[&str]| {
        let output = place.calibrate("data/gear", &[&["--training-images"], options].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        (text(&output.stderr), place.json("model/calibration.json")["categories"]["gear"]["warnings"].to_string())
    };
    let warning = "trained on 8 of the 10 images";
    let (said, written) = calibrate(&["--trained", "use"]);
    assert!(said.contains(warning) && written.contains(warning), "{said}{written}");
    let info = text(&succeed(program("info").arg("--model").arg(place.path("model"))).stdout);
    assert!(info.contains(warning) && info.contains("not guaranteed"), "{info}");
    let (said, written) = calibrate(&["--trained", "leave-out"]);
    assert!(!said.contains(warning) && !written.contains(warning), "{said}{written}");

    // Nor is it forgotten that the model does not know its training images.
    fs::remove_file(place.path("model/training-images.json")).unwrap();
    calibrate(&[]);
    let info = text(&succeed(program("info").arg("--model").arg(place.path("model"))).stdout);
    assert!(info.contains("no record of its training images"), "{info}");
}

#[test]
fn new_thresholds_are_checked_against_good_images() {
    let (place, _) = trained();
    // Two that set the thresholds, and ten of the dataset's training images.
    let output = place.calibrate("data/gear", &["--false-alarm-rate", "0.5", "--confidence", "0.1"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let found = place.json("model/calibration.json");
    assert_eq!(found["categories"]["gear"]["known_good"]["images"], 12);
    let output = place.calibrate("data/gear", &["--quantile", "0"]);
    let said = text(&output.stderr);
    let gear = place.json("model/calibration.json")["categories"]["gear"]["known_good"].clone();
    assert!(gear["rejected"].as_u64().unwrap() >= 2, "{gear}");
    assert!(said.contains(&format!("gear: would reject {} of 12 known good images", gear["rejected"])), "{said}");
    let info = text(&succeed(program("info").arg("--model").arg(place.path("model"))).stdout);
    assert!(info.contains("of 12 known good images"), "{info}");
    // Those that are left out are good, too.
    assert!(place.calibrate("data/gear", &["--training-images", "--trained", "leave-out"]).status.success());
    assert_eq!(place.json("model/calibration.json")["categories"]["gear"]["known_good"]["images"], 10);
}

/// A note promised what the error after it refused.
#[test]
fn the_notes_on_a_folder_that_is_no_product_agree() {
    let (place, _) = trained();
    fs::create_dir(place.path("wood")).unwrap();
    for image in ["000.png", "001.png"] {
        fs::copy(place.path("data/gear/test/good").join(image), place.path("wood").join(image)).unwrap();
    }
    let output = place.calibrate("wood", &[]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("folder, wood, is none of the model's products, gear, plate: "), "{said}");
    assert!(said.lines().count() == 1 && said.contains("--category") && said.contains("--pooled"), "{said}");
    let output = place.calibrate("wood", &["--pooled"]);
    let said = text(&output.stderr);
    assert!(output.status.success() && said.contains("wood is not one of gear, plate"), "{said}");
    assert!(said.contains("set only the pooled thresholds") && said.contains("replaced: the pooled ones"), "{said}");
}

#[test]
fn calibrate_leaves_out_broken_images_if_it_is_told_to() {
    let (place, _) = trained();
    fs::write(place.path("data/gear/test/good/000.png"), "no picture").unwrap();
    let output = place.calibrate("data/gear", &[]);
    let error = text(&output.stderr);
    assert!(output.status.code() == Some(1) && error.contains("--skip-broken leaves out broken images"), "{error}");
    let output = place.calibrate("data/gear", &["--skip-broken"]);
    let said = text(&output.stderr);
    assert!(output.status.success() && said.contains("left out: ") && said.contains("good/000.png"), "{said}");
    assert_eq!(place.json("model/calibration.json")["categories"]["gear"]["normal_images"], 1);
}

#[test]
fn training_ends_with_the_place_of_the_model_and_the_next_commands() {
    let place = Place::new(2);
    for product in ["gear", "plate"] {
        fs::remove_dir_all(place.path("data").join(product).join("test")).unwrap();
        let _ = fs::remove_dir_all(place.path("data").join(product).join("ground_truth"));
    }
    let table = text(&succeed(&mut place.train(&["--preset", "fast", "--epochs", "2"])).stdout);
    let model = place.path("model").display().to_string();
    for line in [
        format!("model: {model}"),
        format!("next: dualad inspect --model {model} IMAGE"),
        format!("set them with `dualad calibrate --model {model} --data FOLDER`"),
    ] {
        assert!(table.contains(&line), "{line}: {table}");
    }
}

#[test]
fn a_category_that_a_person_misspelt_is_refused() {
    let place = Place::new(10);
    succeed(&mut place.train(&["--preset", "fast", "--epochs", "2"]));
    let image = place.path("data/gear/test/good/000.png");
    fs::write(place.path("typo.json"), r#"{"categories": {"gaer": {"reject": 5}}, "pooled": {"reject": 9}}"#).unwrap();
    let refused = |command: &mut Command, word: &str| {
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
        let error = text(&output.stderr);
        assert!(error.contains(word) && error.contains("gear"), "{error}");
        assert_eq!(error.lines().filter(|line| !line.starts_with("note: ")).count(), 1, "{error}");
    };
    let mut inspect = program("inspect");
    refused(
        inspect.arg("--model").arg(place.path("model")).arg("--calibration").arg(place.path("typo.json")).arg(&image),
        "\"gaer\"",
    );
    // The model's own file, edited by hand.
    fs::copy(place.path("typo.json"), place.path("model/calibration.json")).unwrap();
    for subcommand in ["inspect", "watch", "serve"] {
        let mut command = program(subcommand);
        command.arg("--model").arg(place.path("model"));
        match subcommand {
            "inspect" => _ = command.arg(&image),
            "watch" => _ = command.arg(place.path("data")),
            _ => _ = command.args(["--port", "0"]),
        }
        refused(&mut command, "\"gaer\"");
    }
    let info = text(&succeed(program("info").arg("--model").arg(place.path("model"))).stdout);
    assert!(info.contains("problem: ") && info.contains("gaer"), "{info}");
    // A category of the dataset, which the model does not have.
    fs::rename(place.path("data/plate"), place.path("data/plaet")).unwrap();
    let mut evaluate = program("evaluate");
    evaluate.arg("--model").arg(place.path("model")).arg("--data").arg(place.path("data")).arg("--no-cache");
    refused(evaluate.args(["--categories", "gear,plaet"]).arg("--out").arg(place.path("evaluation")), "\"plaet\"");
    assert!(!place.path("evaluation").exists());
}

#[test]
fn all_broken_images_are_listed_or_left_out() {
    let place = Place::new(10);
    for name in ["gear/train/good/001.png", "plate/train/good/002.png", "plate/test/good/000.png"] {
        fs::write(place.path("data").join(name), "no picture").unwrap();
    }
    for options in [&[][..], &["--no-check"]] {
        let output = place.train(&[&["--preset", "fast", "--epochs", "2"], options].concat()).output().unwrap();
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        // A line for each, and the flag at the end.
        for name in ["gear/train/good/001.png", "plate/train/good/002.png"] {
            assert_eq!(error.lines().filter(|line| line.contains(name)).count(), 1, "{error}");
        }
        assert!(error.lines().all(|line| line.matches(".png").count() <= 1), "{error}");
        assert!(error.lines().last().unwrap().starts_with("error: ") && error.ends_with("leaves out broken images\n"));
    }
    for number in 3..25 {
        fs::write(place.path(&format!("data/gear/train/good/broken-{number}.png")), "no picture").unwrap();
    }
    let output = place.train(&["--preset", "fast", "--epochs", "2"]).output().unwrap();
    let error = text(&output.stderr);
    assert!(error.lines().count() == 22 && error.contains("... and 5 more"), "{error}");
    for number in 3..25 {
        fs::remove_file(place.path(&format!("data/gear/train/good/broken-{number}.png"))).unwrap();
    }
    let output = succeed(&mut place.train(&["--preset", "fast", "--epochs", "2", "--skip-broken", "--hold-out", "0"]));
    assert_eq!(text(&output.stderr).matches("left out").count(), 3, "{}", text(&output.stderr));
    assert_eq!(place.json("model/report.json")["train_images"], 18);
}
