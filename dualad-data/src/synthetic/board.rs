//! A small circuit board on a dark mat. The layout is fixed, and the parts are placed slightly differently.

use std::f32::consts::FRAC_PI_2;

use super::category::Defect;
use super::light::Light;
use super::mark::{Mark, damage};
use super::noise::{Point, fractal, noise, step};
use super::scene::{Flaw, Scene};
use super::shape::{Color, Pose, cover, length, minus, over, rounded_box, scale, segment_square};
use crate::random::Sequence;

#[derive(Clone, Copy, PartialEq)]
enum Component {
    Resistor,
    Capacitor,
    Diode,
    Chip,
    Can,
    Crystal,
}

impl Component {
    /// Returns half of the sides of the body.
    fn half(self) -> Point {
        match self {
            Self::Resistor | Self::Capacitor | Self::Diode => [0.135, 0.072],
            Self::Chip => [0.25, 0.24],
            Self::Can => [0.19, 0.19],
            Self::Crystal => [0.20, 0.10],
        }
    }

    /// Returns whether it is one of the three components with the same footprint.
    fn small(self) -> bool {
        matches!(self, Self::Resistor | Self::Capacitor | Self::Diode)
    }
}

/// The parts: component, position, and number of quarter turns.
const PARTS: [(Component, Point, f32); 14] = [
    (Component::Chip, [-0.10, -0.08], 0.0),
    (Component::Can, [0.58, -0.52], 0.0),
    (Component::Crystal, [0.56, 0.54], 0.0),
    (Component::Resistor, [-0.58, 0.60], 0.0),
    (Component::Capacitor, [-0.20, 0.60], 0.0),
    (Component::Resistor, [0.16, 0.60], 0.0),
    (Component::Diode, [-0.66, -0.22], 1.0),
    (Component::Resistor, [-0.66, 0.18], 1.0),
    (Component::Capacitor, [-0.46, -0.62], 0.0),
    (Component::Resistor, [-0.06, -0.62], 0.0),
    (Component::Diode, [0.25, -0.62], 1.0),
    (Component::Capacitor, [0.44, -0.10], 1.0),
    (Component::Resistor, [0.66, -0.06], 1.0),
    (Component::Capacitor, [0.55, 0.27], 0.0),
];

/// The copper traces below the solder mask.
const TRACES: [(Point, Point); 15] = [
    ([-0.45, 0.60], [-0.33, 0.60]),
    ([-0.06, 0.60], [0.03, 0.60]),
    ([-0.58, 0.48], [-0.58, 0.36]),
    ([-0.58, 0.36], [-0.34, 0.10]),
    ([-0.66, -0.08], [-0.66, 0.04]),
    ([-0.66, -0.36], [-0.66, -0.56]),
    ([-0.66, -0.56], [-0.60, -0.62]),
    ([-0.32, -0.62], [-0.20, -0.62]),
    ([0.14, 0.00], [0.36, 0.22]),
    ([0.36, 0.22], [0.44, 0.27]),
    ([0.14, -0.14], [0.30, -0.30]),
    ([0.30, -0.30], [0.44, -0.26]),
    ([-0.02, 0.16], [0.10, 0.40]),
    ([0.10, 0.40], [0.40, 0.46]),
    ([-0.34, -0.20], [-0.50, -0.34]),
];

const VIAS: [Point; 7] =
    [[-0.42, 0.30], [0.30, 0.06], [0.14, 0.34], [-0.50, -0.34], [0.30, -0.34], [-0.26, 0.38], [0.80, 0.20]];

const HALF: Point = [0.93, 0.86];
/// The color of copper, which a scratch of the board exposes.
const COPPER: Color = [0.62, 0.36, 0.20];
/// The color below the paint of a part, which a scratch of the part exposes.
const BODY: Color = [0.30, 0.29, 0.28];
const SOLDER: Color = [0.46, 0.47, 0.48];
const SILK: Color = [0.62, 0.64, 0.60];
const DIRT: [Color; 1] = [[0.4, 0.35, 0.25]];

struct Part {
    /// The component of the footprint. `body` is the mounted component, or `None` if it is missing.
    footprint: Component,
    body: Option<Component>,
    /// The pose of the footprint. `lies` is the pose of the body on it.
    place: Pose,
    lies: Pose,
    shade: f32,
}

/// The strength of damage.
const STRENGTH: f32 = 1.2;

pub(super) struct Board {
    light: Light,
    pose: Pose,
    seed: u32,
    parts: Vec<Part>,
    mark: Option<Mark>,
}

impl Board {
    pub(super) fn new(random: &mut Sequence, flaw: Option<Flaw>) -> Self {
        let light = Light::new(random);
        let pose = Pose::jitter(random, 0.03, 0.05, 0.025);
        let seed = random.bits() as u32;
        let parts = PARTS.map(|(kind, at, turns)| Part {
            footprint: kind,
            body: Some(kind),
            place: Pose::new(at, turns * FRAC_PI_2, 1.0),
            lies: Pose::jitter(random, 0.012, 0.06, 0.02),
            shade: random.range(0.92, 1.08),
        });
        let mut board = Self { light, pose, seed, parts: parts.into(), mark: None };
        if let Some(Flaw { defect, mut random }) = flaw {
            match defect {
                // Any part but the chip.
                Defect::Missing => {
                    let index = 1 + random.below(PARTS.len() - 1);
                    board.parts[index].body = None;
                }
                Defect::Swapped => board.swap(&mut random),
                _ => {
                    let center = [random.range(-0.6, 0.6), random.range(-0.55, 0.55)];
                    board.mark = Mark::new(defect, &mut random, center, &DIRT, STRENGTH);
                }
            }
        }
        board
    }

    /// Exchanges two small components of different kinds.
    fn swap(&mut self, random: &mut Sequence) {
        let small: Vec<usize> = (0..PARTS.len()).filter(|&index| PARTS[index].0.small()).collect();
        let one = small[random.below(small.len())];
        let others: Vec<usize> = small.into_iter().filter(|&index| PARTS[index].0 != PARTS[one].0).collect();
        let other = others[random.below(others.len())];
        (self.parts[one].body, self.parts[other].body) = (self.parts[other].body, self.parts[one].body);
    }

    fn laminate(&self, p: Point, pixel: f32) -> Color {
        let weave = 0.05 * noise([p[0] * 45.0, p[1] * 45.0], self.seed)
            + 0.10 * fractal([p[0] * 2.0, p[1] * 2.0], 2, self.seed ^ 1);
        let mut color = scale([0.020, 0.135, 0.055], 1.0 + weave);
        let trace =
            TRACES.iter().map(|&(from, to)| segment_square(p, from, to)).fold(f32::INFINITY, f32::min).sqrt() - 0.019;
        color = over(color, scale([0.045, 0.225, 0.085], 1.0 + weave), cover(trace, pixel));
        let via = VIAS.iter().map(|&via| length(minus(p, via))).fold(f32::INFINITY, f32::min);
        color = over(color, SOLDER, cover(via - 0.034, pixel));
        over(color, [0.01; 3], cover(via - 0.015, pixel))
    }
}

impl Part {
    /// Returns whether a point may be on the part, on its pads or in its shadow.
    fn near(&self, p: Point) -> bool {
        let half = self.footprint.half();
        self.place.near(p, half[0].max(half[1]) + 0.13)
    }

    /// Paints the footprint: silk screen and solder.
    fn print(&self, under: Color, p: Point, pixel: f32) -> Color {
        if !self.near(p) {
            return under;
        }
        let (q, half) = (self.place.to_part(p), self.footprint.half());
        let frame = match self.footprint {
            Component::Can => length(q) - half[0] - 0.025,
            _ => rounded_box(q, [half[0] + 0.035, half[1] + 0.035], 0.02),
        };
        // Chips have legs instead of a frame.
        let line = if self.footprint == Component::Chip { f32::INFINITY } else { frame.abs() - 0.006 };
        let color = over(under, SILK, 0.8 * cover(line, pixel));
        let pad = match self.footprint {
            Component::Chip => {
                let leg = 0.1 * ((q[0] / 0.1).round().clamp(-2.0, 2.0));
                rounded_box([q[0] - leg, q[1].abs() - half[1] - 0.035], [0.030, 0.055], 0.01)
            }
            Component::Can | Component::Crystal => {
                rounded_box([q[0].abs() - 0.6 * half[0], q[1]], [0.065, 0.06], 0.015)
            }
            _ => rounded_box([q[0].abs() - 0.78 * half[0], q[1]], [0.047, 0.066], 0.012),
        };
        let swell = 1.0 + 0.5 * step(0.0, -0.05, pad);
        over(color, scale(SOLDER, 0.8 * swell), cover(pad, pixel))
    }

    /// Returns the signed distance to the body, and the point in the frame of the body.
    fn body(&self, kind: Component, p: Point) -> (f32, Point) {
        let q = self.lies.to_part(self.place.to_part(p));
        let half = kind.half();
        let distance = match kind {
            Component::Can => length(q) - half[0],
            Component::Crystal => rounded_box(q, half, 0.095),
            Component::Chip => rounded_box(q, half, 0.02),
            _ => rounded_box(q, half, 0.012),
        };
        (distance, q)
    }

    /// Returns the color of the body at a point in its frame.
    fn color(&self, kind: Component, q: Point, pixel: f32, seed: u32) -> Color {
        let half = kind.half();
        let ends = cover(0.66 * half[0] - q[0].abs(), pixel);
        let speck = 1.0 + 0.10 * noise([q[0] * 60.0, q[1] * 60.0], seed);
        let plain = match kind {
            Component::Resistor => {
                let print = rounded_box([(q[0].abs() - 0.022).abs() - 0.012, q[1]], [0.006, 0.03], 0.002);
                let face = over([0.022, 0.022, 0.025], SILK, 0.8 * cover(print, pixel));
                over(face, SOLDER, ends)
            }
            Component::Capacitor => over([0.33, 0.20, 0.10], SOLDER, ends),
            Component::Diode => {
                let band = cover((q[0] + 0.05).abs() - 0.014, pixel);
                over(over([0.16, 0.04, 0.03], SILK, band), SOLDER, ends)
            }
            Component::Chip => {
                let dot = cover(length([q[0] + 0.18, q[1] - 0.17]) - 0.028, pixel);
                let lines = rounded_box([q[0] + 0.01, (q[1] + 0.02).abs() - 0.035], [0.13, 0.010], 0.004);
                let face = over([0.020, 0.020, 0.022], [0.06; 3], dot);
                over(face, [0.16; 3], 0.8 * cover(lines, pixel))
            }
            Component::Can => {
                let sector = cover(q[0] + 0.085, pixel);
                let top = over([0.48, 0.48, 0.50], [0.05, 0.05, 0.06], sector);
                let rim = cover((length(q) - 0.165).abs() - 0.006, pixel);
                over(top, [0.2; 3], rim)
            }
            Component::Crystal => {
                let lid = cover((rounded_box(q, [half[0] - 0.03, half[1] - 0.03], 0.06)).abs() - 0.004, pixel);
                over([0.44, 0.44, 0.43], [0.26; 3], lid)
            }
        };
        scale(plain, self.shade * speck)
    }
}

impl Scene for Board {
    fn reach(&self, pixel: f32) -> Option<(Point, f32)> {
        self.mark.as_ref().map(|mark| self.pose.circle_out(mark.reach(pixel)))
    }

    fn shade(&self, at: Point, pixel: f32) -> Color {
        let p = self.pose.to_part(at);
        let lamp = self.pose.turn_in(self.light.across());
        let mat = 0.030 * (1.0 + 0.25 * fractal([at[0] * 40.0, at[1] * 40.0], 2, self.seed ^ 9));
        let edge = rounded_box(p, HALF, 0.06);
        let thrown = rounded_box([p[0] + 0.03 * lamp[0], p[1] + 0.03 * lamp[1]], HALF, 0.06);
        let mut color = scale([1.0, 1.0, 1.05], mat * (1.0 - 0.5 * step(0.03, -0.02, thrown)));
        let inside = cover(edge, pixel);
        let drill = length([p[0].abs() - 0.83, p[1].abs() - 0.76]);
        let inside = inside * (1.0 - cover(drill - 0.045, pixel));
        if inside <= 0.0 {
            return self.light.expose(color, at);
        }
        let (relief, _) = damage(self.mark.as_ref(), p, pixel);
        let gloss = 0.05 * self.light.glint([0.5 * at[0], 0.5 * at[1]], 4.0);
        let mut top = over(self.laminate(p, pixel), SOLDER, cover(drill - 0.075, pixel));
        top = top.map(|channel| channel + gloss);
        for part in &self.parts {
            top = part.print(top, p, pixel);
        }
        let mut slope = self.pose.turn_out(relief);
        let mut covered = 0.0f32;
        for part in &self.parts {
            let Some(kind) = part.body.filter(|_| part.near(p)) else { continue };
            let (distance, q) = part.body(kind, p);
            let height = if kind.small() { 0.035 } else { 0.06 };
            let (thrown, _) = part.body(kind, [p[0] + height * lamp[0], p[1] + height * lamp[1]]);
            top = scale(top, 1.0 - 0.6 * step(0.02, -0.02, thrown) * (1.0 - cover(distance, pixel)));
            let body = cover(distance, pixel);
            if body > 0.0 {
                top = over(top, part.color(kind, q, pixel, self.seed), body);
                // A rounded edge, with the normal of the nearest side.
                let half = kind.half();
                let lean = 0.8 * step(-0.03, 0.0, distance);
                let side = if kind == Component::Can {
                    let far = length(q).max(1e-6);
                    [q[0] / far, q[1] / far]
                } else if (q[0].abs() - half[0]) > (q[1].abs() - half[1]) {
                    [q[0].signum(), 0.0]
                } else {
                    [0.0, q[1].signum()]
                };
                let side = self.pose.turn_out(part.place.turn_out(part.lies.turn_out(side)));
                slope = [slope[0] + side[0] * lean * body, slope[1] + side[1] * lean * body];
                covered = covered.max(body);
            }
        }
        if let Some(mark) = &self.mark {
            top = over(top, over(COPPER, BODY, covered), mark.bare(p, pixel));
        }
        let shine = 0.05 * covered * self.light.glint(slope, 6.0);
        let lit = scale(top, self.light.shade(slope)).map(|channel| channel + shine);
        color = over(color, lit, inside);
        self.light.expose(color, at)
    }
}
