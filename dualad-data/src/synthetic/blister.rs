//! A blister pack: tablets at any angle, under clear domes on foil.

use std::f32::consts::PI;

use super::category::Defect;
use super::light::Light;
use super::mark::{Mark, damage};
use super::noise::{Point, fractal, noise, step};
use super::scene::{Flaw, Scene};
use super::shape::{Color, Pose, cover, length, minus, over, rounded_box, scale, segment, times};
use crate::random::Sequence;

const COLUMNS: usize = 3;
const ROWS: usize = 4;
/// The distance between the centers of two pockets, along a row and between rows.
const PITCH: Point = [0.56, 0.45];
const POCKET: f32 = 0.205;
const TABLET: f32 = 0.155;
const HALF: Point = [0.87, 0.93];
const WHITE: Color = [0.74, 0.71, 0.66];
const WRONG: [Color; 3] = [[0.70, 0.48, 0.42], [0.62, 0.60, 0.36], [0.45, 0.55, 0.66]];

#[derive(Clone, Copy)]
enum TabletShape {
    Round,
    /// The same tablet in a smaller size.
    Small,
    Capsule,
}

struct Tablet {
    shape: TabletShape,
    color: Color,
    lies: Pose,
}

/// The strength of damage.
const STRENGTH: f32 = 1.8;

pub(super) struct Blister {
    light: Light,
    pose: Pose,
    table: Color,
    seed: u32,
    /// The tablets of the pockets, row by row. `None` for an empty pocket.
    tablets: Vec<Option<Tablet>>,
    mark: Option<Mark>,
}

impl Blister {
    pub(super) fn new(random: &mut Sequence, flaw: Option<Flaw>) -> Self {
        let light = Light::new(random);
        let pose = Pose::jitter(random, 0.03, 0.05, 0.02);
        let table = scale([0.10, 0.13, 0.18], random.range(0.8, 1.2));
        let seed = random.bits() as u32;
        let tablets = (0..COLUMNS * ROWS).map(|_| {
            let shift = [random.range(-0.025, 0.025), random.range(-0.025, 0.025)];
            let lies = Pose::new(shift, random.range(-PI, PI), random.range(0.985, 1.015));
            Some(Tablet { shape: TabletShape::Round, color: scale(WHITE, random.range(0.95, 1.03)), lies })
        });
        let mut blister = Self { light, pose, table, seed, tablets: tablets.collect(), mark: None };
        if let Some(Flaw { defect, mut random }) = flaw {
            let pocket = random.below(COLUMNS * ROWS);
            match defect {
                Defect::Missing => blister.tablets[pocket] = None,
                Defect::Swapped => {
                    if let Some(tablet) = &mut blister.tablets[pocket] {
                        let kind = random.below(WRONG.len() + 2);
                        match WRONG.get(kind) {
                            Some(&color) => tablet.color = color,
                            None => {
                                tablet.shape =
                                    if kind == WRONG.len() { TabletShape::Small } else { TabletShape::Capsule }
                            }
                        }
                    }
                }
                _ => {
                    let middle = middle(pocket);
                    let center = [middle[0] + random.range(-0.2, 0.2), middle[1] + random.range(-0.15, 0.15)];
                    blister.mark = Mark::new(defect, &mut random, center, &[], STRENGTH);
                }
            }
        }
        blister
    }
}

/// Returns the center of a pocket.
fn middle(pocket: usize) -> Point {
    let from = |index: usize, count: usize| index as f32 - 0.5 * (count - 1) as f32;
    [from(pocket % COLUMNS, COLUMNS) * PITCH[0], from(pocket / COLUMNS, ROWS) * PITCH[1]]
}

/// Returns the pocket nearest to a point.
fn nearest([x, y]: Point) -> usize {
    let index = |x: f32, pitch: f32, count: usize| {
        (x / pitch + 0.5 * (count - 1) as f32).round().clamp(0.0, (count - 1) as f32) as usize
    };
    index(y, PITCH[1], ROWS) * COLUMNS + index(x, PITCH[0], COLUMNS)
}

impl Tablet {
    /// Returns the signed distance to the outline, and the slope of the top.
    fn form(&self, q: Point) -> (f32, Point) {
        let (distance, from, radius) = match self.shape {
            TabletShape::Round => (length(q) - TABLET, q, TABLET),
            TabletShape::Small => (length(q) - 0.74 * TABLET, q, 0.74 * TABLET),
            TabletShape::Capsule => {
                let (reach, radius) = (0.085, 0.083);
                let from = [q[0] - q[0].clamp(-reach, reach), q[1]];
                (segment(q, [-reach, 0.0], [reach, 0.0]) - radius, from, radius)
            }
        };
        // Nearly flat, with a rounded rim.
        let far = (length(from) / radius).min(1.0);
        let steep = (0.25 * far + 0.9 * step(0.75, 1.0, far)) / length(from).max(1e-6);
        (distance, [from[0] * steep, from[1] * steep])
    }
}

impl Scene for Blister {
    fn reach(&self, pixel: f32) -> Option<(Point, f32)> {
        self.mark.as_ref().map(|mark| self.pose.circle_out(mark.reach(pixel)))
    }

    fn shade(&self, at: Point, pixel: f32) -> Color {
        let p = self.pose.to_part(at);
        let lamp = self.pose.turn_in(self.light.across());
        let edge = rounded_box(p, HALF, 0.12);
        let thrown = rounded_box([p[0] + 0.03 * lamp[0], p[1] + 0.03 * lamp[1]], HALF, 0.12);
        let grain = 1.0 + 0.08 * fractal([at[0] * 30.0, at[1] * 30.0], 2, self.seed ^ 9);
        let table = scale(self.table, grain * (1.0 - 0.5 * step(0.04, -0.03, thrown)));
        let inside = cover(edge, pixel);
        if inside <= 0.0 {
            return self.light.expose(table, at);
        }
        let (relief, tint) = damage(self.mark.as_ref(), p, pixel);
        let relief = self.pose.turn_out(relief);
        let lit = |slope: Point| self.light.shade([slope[0] + relief[0], slope[1] + relief[1]]);

        // The foil has a fine diamond pattern, and is slightly uneven.
        let (s, t) = ((p[0] + p[1]) * 44.0, (p[0] - p[1]) * 44.0);
        let emboss = [0.10 * (s.cos() + t.cos()), 0.10 * (s.cos() - t.cos())];
        let warp = 0.16 * noise([p[0] * 2.5, p[1] * 2.5], self.seed);
        let foil_slope = self.pose.turn_out([emboss[0] + warp, emboss[1] - warp]);
        let glint = |slope: Point, gloss: f32| self.light.glint([slope[0] + relief[0], slope[1] + relief[1]], gloss);
        let foil = 0.27 * lit(foil_slope) + 0.20 * glint(foil_slope, 5.0);
        let mut color = scale([1.0, 1.0, 1.02], foil);

        let pocket = nearest(p);
        let q = minus(p, middle(pocket));
        let far = length(q);
        let dome = cover(far - POCKET, pixel);
        if dome > 0.0 {
            // The bottom of the pocket is smooth foil, shaded by the wall.
            let away = [q[0] / far.max(1e-6), q[1] / far.max(1e-6)];
            let wall = step(0.6 * POCKET, POCKET, far);
            let facing = self.pose.turn_out(away);
            let mut within = scale([0.24, 0.24, 0.25], lit([-0.4 * wall * facing[0], -0.4 * wall * facing[1]]));
            if let Some(tablet) = &self.tablets[pocket] {
                let (shadow, _) = tablet.form(tablet.lies.to_part([q[0] + 0.03 * lamp[0], q[1] + 0.03 * lamp[1]]));
                within = scale(within, 1.0 - 0.55 * step(0.03, -0.02, shadow));
                let part = tablet.lies.to_part(q);
                let (outline, slope) = tablet.form(part);
                let score = match tablet.shape {
                    TabletShape::Capsule => 0.0,
                    _ => (part[1] / 0.012) * (-(part[1] / 0.012).powi(2)).exp() * 1.1,
                };
                let slope = self.pose.turn_out(tablet.lies.turn_out([slope[0], slope[1] - score]));
                let chalk = 1.0 + 0.03 * fractal([part[0] * 50.0, part[1] * 50.0], 2, self.seed ^ pocket as u32);
                within = over(within, scale(tablet.color, lit(slope) * chalk), cover(outline, pixel));
            }
            // The clear dome has a bright rim towards the lamp, a faint rim opposite, and a reflection of the lamp.
            let round = [0.9 * q[0] / POCKET, 0.9 * q[1] / POCKET];
            let spot = 0.35 * glint(self.pose.turn_out(round), 45.0);
            let crescent = step(0.80 * POCKET, 0.93 * POCKET, far) * step(POCKET, 0.95 * POCKET, far);
            let towards = (away[0] * lamp[0] + away[1] * lamp[1]) / length(lamp).max(1e-6);
            let rim = crescent * (0.06 + 0.20 * towards.max(0.0) + 0.08 * (-towards).max(0.0));
            let clear = within.map(|channel| 0.93 * channel + spot + rim);
            color = over(color, clear, dome);
        }
        let fold = step(0.03, 0.0, (far - POCKET).abs());
        color = scale(times(color, tint), 1.0 - 0.25 * fold * (1.0 - dome));
        self.light.expose(over(table, color, inside), at)
    }
}
