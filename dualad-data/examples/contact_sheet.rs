//! Draws a contact sheet of the generator: a normal picture, a defective one, and its outline for each category.
//!
//! ```sh
//! cargo run -p dualad-data --example contact_sheet -- parts.png
//! cargo run -p dualad-data --example contact_sheet -- board.png board 4               # every defect of one category
//! ```

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use dualad_data::render::{outline, save_png, stack, strip};
use dualad_data::synthetic::{Category, Defect, render};
use image::imageops::{FilterType, resize};
use image::{Rgb, RgbImage};

const USAGE: &str = "usage: contact_sheet FILE.png [CATEGORY [COUNT]]
  Without a category: one column for each, small enough for a README.
  With one: a row of COUNT (4) pictures for normal parts and for each defect, defects outlined on the right.";
const MARK: Rgb<u8> = Rgb([255, 40, 200]);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let made = match arguments[..] {
        [file] if !file.starts_with('-') => overview().and_then(|sheet| Ok(save_png(Path::new(file), &sheet)?)),
        [file, category] => every_defect(category, "4").and_then(|sheet| Ok(save_png(Path::new(file), &sheet)?)),
        [file, category, count] => {
            every_defect(category, count).and_then(|sheet| Ok(save_png(Path::new(file), &sheet)?))
        }
        _ => Err(USAGE.into()),
    };
    match made {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "a program, not the library")]
fn say(text: &str) {
    eprintln!("{text}");
}

fn overview() -> Result<RgbImage, Box<dyn Error>> {
    let shown = [
        (Category::Blister, Defect::Missing, 1),
        (Category::Board, Defect::Swapped, 2),
        (Category::Fabric, Defect::Swapped, 3),
        (Category::Gear, Defect::Missing, 4),
        (Category::Plate, Defect::Scratch, 5),
    ];
    // Large pictures are reduced: averaging removes the sensor noise, which would dominate the size of the PNG file.
    let small = |image: &RgbImage| resize(image, 104, 104, FilterType::Triangle);
    let mut columns = Vec::new();
    for (category, defect, index) in shown {
        let (normal, _) = render(category, 0, index + 100, None, 544)?;
        let (defective, mask) = render(category, 0, index, Some(defect), 544)?;
        let mut outlined = small(&defective);
        outline(&mut outlined, &resize(&mask, 104, 104, FilterType::Nearest), MARK)?;
        columns.push(stack(&[&small(&normal), &small(&defective), &outlined])?);
    }
    Ok(strip(&columns.iter().collect::<Vec<_>>())?)
}

fn every_defect(category: &str, count: &str) -> Result<RgbImage, Box<dyn Error>> {
    let (category, count): (Category, usize) = (category.parse()?, count.parse()?);
    let mut rows = Vec::new();
    for defect in [None].into_iter().chain(category.defects().iter().copied().map(Some)) {
        let (mut plain, mut outlined) = (Vec::new(), Vec::new());
        for index in 0..count {
            let (image, mask) = render(category, 0, index, defect, 224)?;
            let mut marked = image.clone();
            outline(&mut marked, &mask, MARK)?;
            plain.push(image);
            if defect.is_some() {
                outlined.push(marked);
            }
        }
        rows.push(strip(&plain.iter().chain(&outlined).collect::<Vec<_>>())?);
    }
    Ok(stack(&rows.iter().collect::<Vec<_>>())?)
}
