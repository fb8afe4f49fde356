//! The rules by which masks are read, and the findings of masks that need another rule; images of 12 bits.

use crate::support::{Tree, png};
use dualad_data::image::{Limits, Mask};
use dualad_data::{Dataset, Finding, FindingKind, MaskRule, Severity};
use image::{ImageBuffer, Luma, Rgba};

/// A dataset with one defective image, whose mask is left to the caller.
fn tree() -> Tree {
    let tree = Tree::new();
    tree.picture("c/train/good/000.png", 20, 10, 1);
    tree.picture("c/test/good/000.png", 20, 10, 3);
    tree.picture("c/test/cut/000.png", 20, 10, 4);
    tree
}

const MASK: &str = "c/ground_truth/cut/000_mask.png";

fn findings(tree: &Tree, rule: Option<MaskRule>) -> Vec<Finding> {
    let dataset = Dataset::open(tree.root()).unwrap();
    let dataset = rule.map_or(dataset.clone(), |rule| dataset.mask_rule(rule));
    dataset.check().run().unwrap().findings
}

/// Returns the number of pixels that a rule marks.
fn marked(tree: &Tree, rule: MaskRule) -> usize {
    let mask = Mask::read(tree.path(MASK), rule, &Limits::default()).unwrap();
    mask.pixels().iter().filter(|&&pixel| pixel == 1).count()
}

#[test]
fn each_rule_marks_its_values() {
    let tree = Tree::new();
    let image = ImageBuffer::from_fn(6, 1, |x, _| Luma([[0u8, 1, 127, 128, 254, 255][x as usize]]));
    image.save(tree.path(MASK)).unwrap();
    let counts = [MaskRule::White, MaskRule::NonZero, MaskRule::Half, MaskRule::Alpha].map(|rule| marked(&tree, rule));
    assert_eq!(counts, [1, 5, 3, 0]);
    for value in 0..=255u8 {
        for rule in [MaskRule::White, MaskRule::NonZero, MaskRule::Half] {
            let mask = ImageBuffer::from_pixel(1, 1, Luma([value]));
            mask.save(tree.path("one.png")).unwrap();
            let mask = Mask::read(tree.path("one.png"), rule, &Limits::default()).unwrap();
            assert_eq!(mask.pixels(), [u8::from(rule.marks(value))], "{rule:?} {value}");
        }
    }
    let deep = ImageBuffer::from_fn(6, 1, |x, _| Luma([[0u16, 1, 32767, 32768, 65534, 65535][x as usize]]));
    deep.save(tree.path(MASK)).unwrap();
    let counts = [MaskRule::White, MaskRule::NonZero, MaskRule::Half].map(|rule| marked(&tree, rule));
    assert_eq!(counts, [1, 5, 3]);
}

#[test]
fn a_mask_of_a_palette_needs_the_rule_for_nonzero_values() {
    let tree = tree();
    let data: Vec<u8> = (0..200).map(|at| u8::from(at % 20 < 5)).collect();
    let mask = png(20, 10, png::ColorType::Indexed, png::BitDepth::Eight, &[0, 0, 0, 128, 0, 0], &data);
    tree.write(MASK, mask);
    let found = findings(&tree, None);
    assert_eq!(found.iter().map(|finding| finding.kind).collect::<Vec<_>>(), [FindingKind::EmptyMask]);
    let line = found[0].to_string();
    assert!(line.contains("largest value is 128") && line.contains("non-zero"), "{line}");
    assert_eq!(findings(&tree, Some(MaskRule::NonZero)), []);
    assert_eq!(marked(&tree, MaskRule::NonZero), 50);
}

#[test]
fn a_mask_in_the_alpha_channel_is_recognized() {
    for (color, kind) in [(0u8, FindingKind::EmptyMask), (255, FindingKind::FullMask)] {
        let tree = tree();
        let alpha = |x: u32| if x < 5 { 255 } else { 0 };
        let image = ImageBuffer::from_fn(20, 10, |x, _| Rgba([color, color, color, alpha(x)]));
        image.save(tree.path(MASK)).unwrap();
        let found = findings(&tree, None);
        assert_eq!(found.iter().map(|finding| finding.kind).collect::<Vec<_>>(), [kind]);
        let line = found[0].to_string();
        assert!(line.contains("alpha channel has values from 0 to 255") && line.contains("masks by alpha"), "{line}");
        assert!(!line.contains("draw the defect"), "{line}");
        assert_eq!(findings(&tree, Some(MaskRule::Alpha)), []);
        assert_eq!(marked(&tree, MaskRule::Alpha), 50);
    }
    // A mask without alpha marks nothing, and the finding says why.
    let tree = tree();
    tree.mask(MASK, 20, 10, 255);
    let found = findings(&tree, Some(MaskRule::Alpha));
    assert!(found[0].message.contains("it has none"), "{found:?}");
    // An opaque mask needs no word about alpha.
    let image = ImageBuffer::from_pixel(20, 10, Rgba([0u8, 0, 0, 255]));
    image.save(tree.path(MASK)).unwrap();
    assert!(findings(&tree, None)[0].message.contains("is black"));
}

#[test]
fn soft_edges_have_a_rule() {
    let tree = tree();
    let image = ImageBuffer::from_fn(20, 10, |x, _| {
        Luma([if x < 5 {
            255u8
        } else if x < 7 {
            100
        } else {
            0
        }])
    });
    image.save(tree.path(MASK)).unwrap();
    let found = findings(&tree, None);
    assert_eq!(found[0].kind, FindingKind::GrayMask);
    assert!(found[0].message.contains("non-zero or half"), "{found:?}");
    assert_eq!(findings(&tree, Some(MaskRule::Half)), []);
    assert_eq!(marked(&tree, MaskRule::Half), 50);
}

#[test]
fn frames_of_12_bits_are_reported() {
    let write = |tree: &Tree, factor: u16| {
        for (index, name) in ["train/good/000", "train/good/001", "test/good/000", "test/cut/000"].iter().enumerate() {
            // All of them have the same pixels in 8 bits.
            let image =
                ImageBuffer::from_fn(20, 10, |x, _| Luma([factor * (2056 + 3 * index as u16 + (x % 2) as u16)]));
            image.save(tree.path(&format!("c/{name}.png"))).unwrap();
        }
        tree.mask(MASK, 20, 10, 255);
    };
    let tree = Tree::new();
    write(&tree, 1);
    let found = findings(&tree, None);
    let [finding] = &found[..] else { panic!("{found:?}") };
    assert_eq!((finding.kind, finding.severity()), (FindingKind::NarrowRange, Severity::Warning));
    for words in
        ["4 images of 16 bits", "largest value is 2066 of 65535", "12-bit frames", "multiply their values by 16"]
    {
        assert!(finding.message.contains(words), "{words}: {finding}");
    }
    write(&tree, 16);
    let found = findings(&tree, None);
    assert!(found.iter().all(|finding| finding.kind != FindingKind::NarrowRange), "{found:?}");
    // Copies are still found.
    write(&tree, 1);
    std::fs::copy(tree.path("c/train/good/000.png"), tree.path("c/test/good/000.png")).unwrap();
    let kinds: Vec<FindingKind> = findings(&tree, None).iter().map(|finding| finding.kind).collect();
    assert!(kinds.contains(&FindingKind::Duplicate), "{kinds:?}");
}

#[test]
fn hot_pixels_and_frames_of_other_bits_do_not_hide_frames_of_12_bits() {
    let frame = |tree: &Tree, name: &str, factor: u16, hot: bool| {
        let image = ImageBuffer::from_fn(20, 10, |x, y| match (x, y) {
            (3, 4) if hot => Luma([u16::MAX]),
            _ => Luma([factor * (2056 + x as u16)]),
        });
        image.save(tree.path(name)).unwrap();
    };
    let narrow = |tree: &Tree| {
        let found = findings(tree, None).into_iter().filter(|finding| finding.kind == FindingKind::NarrowRange);
        found.map(|finding| finding.message).collect::<Vec<_>>()
    };
    let tree = Tree::new();
    for index in 0..3 {
        frame(&tree, &format!("c/train/good/{index}.png"), 1, index == 1);
    }
    let found = narrow(&tree);
    assert!(found.len() == 1 && found[0].contains("3 images of 16 bits whose largest value is 2075"), "{found:?}");
    // Other frames use the whole range.
    frame(&tree, "c/test/good/0.png", 16, false);
    let found = narrow(&tree);
    for words in
        ["4 images of 16 bits, 3 of which have no value above 2075", "test/good/0.png", "multiply their values by 16"]
    {
        assert!(found.len() == 1 && found[0].contains(words), "{words}: {found:?}");
    }
    // Images of another light are no frames of other bits.
    let tree = Tree::new();
    frame(&tree, "c/train/good/0.png", 16, false);
    frame(&tree, "c/train/good/1.png", 6, false);
    assert!(narrow(&tree).is_empty());
}

#[test]
fn frames_of_12_bits_with_a_white_bar_or_an_offset_are_told_apart() {
    let write = |tree: &Tree, offset: u16, bar: u32| {
        for (index, name) in ["train/good/000", "train/good/001", "test/good/000", "test/cut/000"].iter().enumerate() {
            // In 8 bits, all are the same.
            let image = ImageBuffer::from_fn(20, 10, |x, y| match y < bar {
                true => Luma([u16::MAX]),
                false => Luma([offset + 2056 + 3 * index as u16 + (x % 2) as u16]),
            });
            image.save(tree.path(&format!("c/{name}.png"))).unwrap();
        }
        tree.mask(MASK, 20, 10, 255);
    };
    let tree = Tree::new();
    write(&tree, 0, 2);
    let found = findings(&tree, None);
    let [finding] = &found[..] else { panic!("{found:?}") };
    assert_eq!(finding.kind, FindingKind::NarrowRange);
    for words in ["largest value is 2066 of 65535", "multiply their values by 16, and keep white (65535)"] {
        assert!(finding.message.contains(words), "{words}: {finding}");
    }
    for bar in [0, 2] {
        write(&tree, 30_000, bar);
        let found = findings(&tree, None);
        let [finding] = &found[..] else { panic!("{found:?}") };
        assert_eq!(finding.kind, FindingKind::NarrowRange);
        for words in ["4 images of 16 bits", "between 32056 and 32066 of 65535", "subtract 32056"] {
            assert!(finding.message.contains(words), "{words}: {finding}");
        }
    }
    // A copy of 8 bits is still found.
    let image = image::open(tree.path("c/train/good/000.png")).unwrap();
    image.into_luma8().save(tree.path("c/test/good/000.png")).unwrap();
    let kinds: Vec<FindingKind> = findings(&tree, None).iter().map(|finding| finding.kind).collect();
    assert!(kinds.contains(&FindingKind::Duplicate), "{kinds:?}");
}

#[test]
fn captions_of_any_bright_value_do_not_hide_frames_of_12_bits() {
    // The level of a pixel of the frame, and that of the caption.
    type Level = fn(u32, u32) -> u16;
    let frame: Level = |x, y| 900 + (x * 31 + y * 17) as u16;
    let found = |frame: Level, caption: &dyn Fn(u32, u32) -> Option<u16>| {
        let tree = Tree::new();
        for index in 0..3 {
            let image =
                ImageBuffer::from_fn(64, 40, |x, y| Luma([caption(x, y).unwrap_or_else(|| frame(x + index, y))]));
            image.save(tree.path(&format!("c/train/good/{index}.png"))).unwrap();
        }
        let found = findings(&tree, None).into_iter().filter(|finding| finding.kind == FindingKind::NarrowRange);
        found.map(|finding| finding.message).collect::<Vec<_>>()
    };
    let text = |levels: &'static [u16]| {
        move |x: u32, y: u32| (y < 5 && x.is_multiple_of(3)).then(|| levels[(x + y) as usize % levels.len()])
    };
    for levels in [&[60_000][..], &[5_000], &[30_000], &[4_096, 61_000, 50_000, 65_535], &[65_280, 32_768, 20_000]] {
        let found = found(frame, &text(levels));
        let least = levels.iter().min().unwrap();
        for words in ["12-bit frames", "multiply their values by 16", &format!("keep the values from {least} on")] {
            assert!(found.len() == 1 && found[0].contains(words), "{levels:?}, {words}: {found:?}");
        }
    }
    // Scenes of 16 bits that are dark, with a bright part: of many levels, of most pixels, or of a scaled sensor that is saturated.
    let many = |x: u32, y: u32| (y < 5).then(|| 30_000 + (x * 101 + y * 7) as u16);
    let half = |_: u32, y: u32| (y < 20).then_some(60_000);
    let white_of_14_bits = |_: u32, y: u32| (y < 5).then_some(16_383);
    let scaled: Level = |x, y| 16 * (10 + (x + y) as u16);
    let flat: Level = |x, _| 900 + (x % 3) as u16;
    assert_eq!(found(frame, &many), [""; 0]);
    assert_eq!(found(frame, &half), [""; 0]);
    assert_eq!(found(scaled, &text(&[65_520])), [""; 0]);
    assert_eq!(found(flat, &text(&[60_000])), [""; 0]);
    let found_14 = found(frame, &white_of_14_bits);
    assert!(found_14.len() == 1 && found_14[0].contains("14-bit frames"), "{found_14:?}");
    // Inverted frames, and those with an offset.
    for (level, words) in [
        ((|x, y| u16::MAX - 900 - (x * 31 + y * 17) as u16) as Level, "between 62005 and 64587"),
        (|x, y| 32_768 + (x * 31 + y * 17) as u16, "between 32"),
    ] {
        let found = found(level, &|_, _| None);
        assert!(found.len() == 1 && found[0].contains(words), "{found:?}");
    }
}
