//! A plain-woven cloth that fills the picture.

use std::f32::consts::PI;

use super::category::Defect;
use super::light::Light;
use super::mark::{Mark, damage};
use super::noise::{Point, fractal, lattice, noise};
use super::scene::{Flaw, Scene};
use super::shape::{Color, Pose, scale, times};
use crate::random::Sequence;

/// The number of threads across the picture.
const THREADS: f32 = 26.0;
const WARP: Color = [0.15, 0.20, 0.30];
const WEFT: Color = [0.27, 0.31, 0.37];
const BEHIND: Color = [0.02, 0.022, 0.028];
const DIRT: [Color; 3] = [[0.45, 0.33, 0.2], [0.35, 0.4, 0.45], [0.6, 0.5, 0.25]];
const WRONG: [Color; 3] = [[0.38, 0.10, 0.07], [0.07, 0.08, 0.10], [0.50, 0.42, 0.22]];

/// The strength of damage.
const STRENGTH: f32 = 1.5;

pub(super) struct Fabric {
    light: Light,
    pose: Pose,
    seed: u32,
    mark: Option<Mark>,
    thread: Option<Thread>,
}

/// A defect of the weft between two columns of warp.
struct Thread {
    row: i32,
    columns: std::ops::Range<f32>,
    rows: i32,
    /// The color of a wrong thread, or `None` for a missing thread.
    color: Option<Color>,
}

impl Fabric {
    pub(super) fn new(random: &mut Sequence, flaw: Option<Flaw>) -> Self {
        let light = Light::new(random);
        let pose = Pose::jitter(random, 1.0, 0.08, 0.06);
        let seed = random.bits() as u32;
        let mut fabric = Self { light, pose, seed, mark: None, thread: None };
        if let Some(Flaw { defect, mut random }) = flaw {
            let center = [random.range(-0.65, 0.65), random.range(-0.65, 0.65)];
            let [column, row] = fabric.threads(center);
            let reach = random.range(3.0, 7.0);
            let thread = |rows, color| Thread { row: row as i32, columns: column - reach..column + reach, rows, color };
            match defect {
                Defect::Missing => fabric.thread = Some(thread(1, None)),
                Defect::Swapped => {
                    let color = WRONG[random.below(WRONG.len())];
                    fabric.thread = Some(thread(1 + random.below(2) as i32, Some(color)));
                }
                _ => fabric.mark = Mark::new(defect, &mut random, center, &DIRT, STRENGTH),
            }
        }
        fabric
    }

    /// Returns the column of warp and the row of weft at a point, counted from a corner far outside. The cloth is slightly
    /// distorted.
    fn threads(&self, at: Point) -> Point {
        let [x, y] = self.pose.to_part(at);
        let drawn = |layer: u32| 0.018 * noise([x * 1.7, y * 1.7], self.seed.wrapping_add(layer));
        [(x + drawn(1)) * THREADS * 0.5 + 100.0, (y + drawn(2)) * THREADS * 0.5 + 100.0]
    }
}

/// A thread at a point: the position across it (-1 to 1), its height (-1 for under, 1 for over), its color, and its width.
struct Strand {
    across: f32,
    height: f32,
    color: Color,
    wide: f32,
}

impl Strand {
    fn top(&self) -> f32 {
        let round = 1.0 - (self.across / self.wide).powi(2);
        if round <= 0.0 { f32::NEG_INFINITY } else { self.height + 0.9 * round.sqrt() }
    }
}

impl Scene for Fabric {
    fn reach(&self, pixel: f32) -> Option<(Point, f32)> {
        self.mark.as_ref().map(|mark| mark.reach(pixel))
    }

    fn shade(&self, at: Point, pixel: f32) -> Color {
        let (slope, tint) = damage(self.mark.as_ref(), at, pixel);
        let [u, v] = self.threads(at);
        let (column, row) = (u.floor(), v.floor());
        let (across_warp, across_weft) = (2.0 * (u - column) - 1.0, 2.0 * (v - row) - 1.0);
        let (column, row) = (column as i32, row as i32);
        let parity = if (column + row) % 2 == 0 { 1.0 } else { -1.0 };
        // Yarn varies between threads and along each thread.
        let yarn = |index: i32, along: f32, layer: u32| {
            1.0 + 0.13 * lattice(index, 0, self.seed ^ layer)
                + 0.12 * noise([along * 0.35, index as f32 * 7.0], self.seed ^ (layer + 1))
        };
        // Twisted fibers run along the thread at an angle.
        let fiber = |along: f32, across: f32, layer: u32| {
            1.0 + 0.16 * noise([along * 2.2 + across, across * 2.5], self.seed ^ layer)
        };
        let over_warp = parity * (PI * 0.5 * across_weft).cos();
        let over_weft = -parity * (PI * 0.5 * across_warp).cos();
        let warp = Strand {
            across: across_warp,
            height: over_warp,
            color: scale(WARP, yarn(column, v, 0x11) * fiber(v, across_warp, 0x21)),
            wide: 0.86 + 0.06 * noise([v * 0.8, column as f32 * 3.0], self.seed ^ 0x31),
        };
        let mut weft = Strand {
            across: across_weft,
            height: over_weft,
            color: scale(WEFT, yarn(row, u, 0x41) * fiber(u, across_weft, 0x51)),
            wide: 0.90 + 0.06 * noise([u * 0.8, row as f32 * 3.0], self.seed ^ 0x61),
        };
        if let Some(thread) = &self.thread
            && (thread.row..thread.row + thread.rows).contains(&row)
            && thread.columns.contains(&u)
        {
            match thread.color {
                Some(color) => weft.color = scale(color, yarn(row, u, 0x41) * fiber(u, across_weft, 0x51)),
                None => weft.wide = 0.0,
            }
        }
        let (strand, lies_along) = if warp.top() >= weft.top() { (&warp, [1.0, 0.0]) } else { (&weft, [0.0, 1.0]) };
        let cloth = if strand.top() == f32::NEG_INFINITY {
            BEHIND
        } else {
            let lean = 0.55 * strand.across / strand.wide;
            let deep = 0.62 + 0.38 * (0.5 + 0.5 * strand.height);
            let edge = 1.0 - 0.55 * (strand.across / strand.wide).powi(4);
            let round = self.pose.turn_out([lies_along[0] * lean + slope[0], lies_along[1] * lean + slope[1]]);
            scale(strand.color, self.light.shade(round) * deep * edge)
        };
        let wear = 1.0 + 0.08 * fractal([u * 0.11, v * 0.11], 2, self.seed ^ 0x71);
        self.light.expose(times(scale(cloth, wear), tint), at)
    }
}
