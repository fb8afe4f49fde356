//! A machined, blackened gear wheel at any place and angle on a plain mat.

use std::f32::consts::{PI, TAU};

use super::category::Defect;
use super::light::Light;
use super::mark::{Mark, damage};
use super::noise::{Point, fractal, mix, noise, step};
use super::scene::{Flaw, Scene};
use super::shape::{Color, Pose, cover, length, over, rounded_box, scale, times};
use crate::random::Sequence;

const TEETH: f32 = 16.0;
/// The radius of the root circle.
const ROOT: f32 = 0.80;
/// The radius of the bore.
const BORE: f32 = 0.20;
/// The radius of the circle of the holes.
const HOLES: f32 = 0.50;
/// The radius of a hole.
const HOLE: f32 = 0.115;
/// The height of a tooth.
const TOOTH: f32 = 0.16;
const RUST: [Color; 3] = [[0.45, 0.17, 0.05], [0.35, 0.13, 0.05], [0.2, 0.16, 0.12]];

/// The strength of damage.
const STRENGTH: f32 = 1.4;

pub(super) struct Gear {
    light: Light,
    pose: Pose,
    mat: f32,
    seed: u32,
    mark: Option<Mark>,
    /// The first broken tooth, the number of broken teeth, and the share of their height that is left.
    broken: Option<(f32, f32, f32)>,
}

impl Gear {
    pub(super) fn new(random: &mut Sequence, flaw: Option<Flaw>) -> Self {
        let light = Light::new(random);
        let shift = [random.range(-0.09, 0.09), random.range(-0.09, 0.09)];
        let pose = Pose::new(shift, random.range(-PI, PI), random.range(0.76, 0.84));
        let mat = random.range(0.24, 0.32);
        let mut gear = Self { light, pose, mat, seed: random.bits() as u32, mark: None, broken: None };
        if let Some(Flaw { defect, mut random }) = flaw {
            if defect == Defect::Missing {
                let teeth = 1 + random.below(2);
                let tooth = random.below(TEETH as usize) as f32;
                gear.broken = Some((tooth, teeth as f32, random.range(0.0, 0.3)));
            } else {
                // Between two holes, on the face.
                let angle = (random.below(5) as f32 + 0.5) * TAU / 5.0 + random.range(-0.12, 0.12);
                let out = random.range(0.42, 0.66);
                gear.mark = Mark::new(defect, &mut random, [out * angle.cos(), out * angle.sin()], &RUST, STRENGTH);
            }
        }
        gear
    }

    /// Returns the signed distance to the outline of the wheel, and the normal of its nearest side.
    fn outline(&self, p: Point) -> (f32, Point) {
        let out = length(p);
        let turn = (p[1].atan2(p[0]) / TAU).rem_euclid(1.0) * TEETH;
        let tooth = turn.round();
        let angle = tooth * TAU / TEETH;
        let (along, across) = ([angle.cos(), angle.sin()], [-angle.sin(), angle.cos()]);
        // The frame of the tooth: outwards from the root circle, and sideways from its center.
        let (up, off) = (p[0] * along[0] + p[1] * along[1] - ROOT, p[0] * across[0] + p[1] * across[1]);
        let top = match self.broken {
            // A jagged stump.
            Some((first, teeth, left)) if (tooth - first).rem_euclid(TEETH) < teeth => {
                TOOTH * (left + 0.18 * noise([off * 45.0, 0.0], self.seed ^ 0x99)).max(-0.1)
            }
            _ => TOOTH,
        };
        let flank = 0.95 * (off.abs() - 0.098 + 0.27 * up);
        let (cap, root) = (up - top, out - ROOT);
        if root < flank.max(cap) {
            (root, direction(p))
        } else if cap > flank {
            (cap, along)
        } else {
            (flank, across.map(|part| part * off.signum()))
        }
    }

    /// Returns the share of the blackening that is missing, from 0 to 1, at a broken tooth.
    fn fracture(&self, p: Point) -> f32 {
        let Some((first, teeth, left)) = self.broken else { return 0.0 };
        let tooth = ((p[1].atan2(p[0]) / TAU).rem_euclid(1.0) * TEETH).round();
        if (tooth - first).rem_euclid(TEETH) >= teeth {
            return 0.0;
        }
        let rough = 0.05 * noise([p[0] * 40.0, p[1] * 40.0], self.seed ^ 0x9a);
        step(-0.07, -0.03, length(p) - ROOT - TOOTH * left + rough)
    }

    /// Returns the signed distance to the nearest opening (negative inside the metal), and the direction away from its center.
    fn openings(&self, p: Point) -> (f32, Point) {
        let out = length(p);
        let keyway = rounded_box([p[0] - BORE, p[1]], [0.09, 0.055], 0.01);
        let bore = (BORE - out).max(-keyway);
        let slot = (p[1].atan2(p[0]) / TAU * 5.0).round() * TAU / 5.0;
        let q = [p[0] - HOLES * slot.cos(), p[1] - HOLES * slot.sin()];
        let hole = HOLE - length(q);
        if bore > hole { (bore, direction(p)) } else { (hole, direction(q)) }
    }
}

fn direction(p: Point) -> Point {
    let far = length(p).max(1e-6);
    [p[0] / far, p[1] / far]
}

impl Scene for Gear {
    fn reach(&self, pixel: f32) -> Option<(Point, f32)> {
        self.mark.as_ref().map(|mark| self.pose.circle_out(mark.reach(pixel)))
    }

    fn shade(&self, at: Point, pixel: f32) -> Color {
        let p = self.pose.to_part(at);
        let lamp = self.light.across();
        // The wheel casts a shadow on the mat.
        let shaded = self.pose.to_part([at[0] + 0.055 * lamp[0], at[1] + 0.055 * lamp[1]]);
        let solid = |p: Point| self.outline(p).0.max(self.openings(p).0);
        let far = length(p);
        let (outline, faces) = self.outline(p);
        let (opening, away) = self.openings(p);
        let distance = outline.max(opening);
        let inside = cover(distance, pixel);
        let mut color = [0.0; 3];
        if inside < 1.0 {
            let grain = 1.0 + 0.10 * fractal([at[0] * 60.0 + 9.0, at[1] * 60.0], 2, self.seed ^ 0x5);
            color = scale([0.92, 1.0, 1.10], self.mat * grain);
        }
        if inside < 1.0 && far < 1.3 {
            color = scale(color, 1.0 - 0.55 * step(0.06, -0.05, solid(shaded)));
        }
        if inside > 0.0 {
            let (relief, tint) = damage(self.mark.as_ref(), p, pixel);
            let outward = direction(p);
            // Edges have a chamfer: outwards at the rim, inwards at openings. A hub stands out of the face.
            let chamfer = |distance: f32| 0.9 * step(-0.035, -0.010, distance);
            let hub = 0.8 * step(0.30, 0.315, far) * step(0.345, 0.33, far);
            let ridge = hub - 0.7 * step(0.70, 0.715, far) * step(0.745, 0.73, far);
            let rim = chamfer(outline);
            let hole = -chamfer(opening);
            let slope = std::array::from_fn(|axis| {
                outward[axis] * ridge + faces[axis] * rim + away[axis] * hole + relief[axis]
            });
            let slope = self.pose.turn_out(slope);
            // Machining leaves rings, which reflect the lamp as two opposite fans.
            let ring =
                0.6 * noise([far * 60.0, outward[0] * 1.5], self.seed) + 0.4 * noise([far * 120.0, 0.0], self.seed ^ 1);
            let facing = self.pose.turn_out(outward);
            let fan = (facing[0] * lamp[0] + facing[1] * lamp[1]) / length(lamp).max(1e-6);
            let tilted = fan + 0.8 * (relief[0] * outward[0] + relief[1] * outward[1]);
            let sheen = 0.24 + 0.16 * tilted * tilted;
            let metal = sheen * (1.0 + 0.16 * ring) * mix(1.0, self.light.shade(slope), 0.9);
            let oil = 1.0 + 0.08 * fractal([p[0] * 3.0, p[1] * 3.0], 2, self.seed ^ 3);
            let bare = match &self.mark {
                Some(mark @ (Mark::Scratch { .. } | Mark::Dent { .. })) => mark.bare(p, pixel),
                Some(Mark::Stain { .. }) => 0.0,
                None => self.fracture(p),
            };
            let black = times(scale([0.42, 0.44, 0.50], metal * oil), if bare > 0.0 { [1.0; 3] } else { tint });
            let steel = scale([1.50, 1.46, 1.38], metal);
            color = over(color, over(black, steel, bare), inside);
        }
        self.light.expose(color, at)
    }
}
