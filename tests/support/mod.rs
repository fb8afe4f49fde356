//! What tests of whole processes share.

#![allow(dead_code, clippy::print_stdout)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use dualad::Variant;
use dualad::backbones::Backbone;
use dualad::data::synthetic::{self, Category, Options};
use dualad::recipe::Recipe;

/// The same network as [`recipe`]'s, and a run: 2 steps an epoch for 6 training images.
pub(crate) const CONFIG: &str = r#"{
    "network": {"grid": [4, 4], "neighbor_mask": [1, 1], "levels": 2, "narrow_width": 8, "chunk_width": 8, "heads": 2,
                "ffn_width": 8, "encoder_layers": 1, "memory_slots": 6},
    "train": {"epochs": 8, "batch_size": 4, "schedule": {"warmup_steps": 2}}
}"#;

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Runs to the end, which must be a good one.
pub(crate) fn succeed(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}\n{}{}", text(&output.stdout), text(&output.stderr));
    output
}

/// The example's executable, which `cargo test` builds beside this one.
pub(crate) fn example(name: &str) -> Command {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().unwrap().parent().unwrap().join("examples").join(name);
    assert!(path.exists(), "{} is not there; run `cargo build --workspace --examples`", path.display());
    let mut command = Command::new(path);
    command.stdin(Stdio::null()).env_remove("DUALAD_CACHE");
    command
}

/// A network small enough for a test: 64 x 64 pixels.
pub(crate) fn recipe() -> Recipe {
    let mut recipe = Recipe::fast(Variant::Heterogeneous, Backbone::FilterBank);
    recipe.network = recipe
        .network
        .with_grid([4, 4])
        .with_neighbor_mask(Some([1, 1]))
        .with_levels(2)
        .with_narrow_width(8)
        .with_chunk_width(8)
        .with_ffn_width(8)
        .with_heads(2)
        .with_encoder_layers(1)
        .with_memory_slots(6);
    (recipe.train.epochs, recipe.train.batch_size, recipe.train.schedule.warmup_steps) = (2, 4, 2);
    recipe
}

/// Two products of 64 x 64 pixels: `train` images of each to train on, two good ones and one of each defect to test with.
pub(crate) fn write_parts(folder: &Path, train: usize) {
    let categories = vec![Category::Gear, Category::Plate];
    let options = Options { size: 64, train, test_good: 2, test_per_defect: 1, categories, seed: 1 };
    synthetic::write(folder, &options, |_, _| ()).unwrap();
}

pub(crate) fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(120), "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A disk of its own, if this may have one.
pub(crate) struct Disk(pub(crate) PathBuf);

impl Disk {
    /// Of so many bytes (`2m`), at a folder that is made.
    pub(crate) fn mount(folder: PathBuf, size: &str) -> Option<Self> {
        std::fs::create_dir(&folder).unwrap();
        let size = format!("size={size}");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&folder).output();
        if mount.is_ok_and(|output| output.status.success()) {
            return Some(Self(folder));
        }
        println!("skipped: this needs the right to mount a small tmpfs");
        None
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Fills it to the last byte, until the file that is returned is removed.
    pub(crate) fn fill(&self) -> PathBuf {
        let path = self.path("hog");
        let mut hog = std::fs::File::create(&path).unwrap();
        wait_for("the disk to be full", || std::io::copy(&mut std::io::repeat(0), &mut hog).is_err());
        path
    }

    /// From now on nothing can be written to it.
    pub(crate) fn seal(&self) {
        assert!(Command::new("mount").args(["-o", "remount,ro"]).arg(&self.0).status().unwrap().success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}
