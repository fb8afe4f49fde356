//! Damage to a surface: scratches, dents and stains, as slopes and tints for the shading of a part.

use std::f32::consts::{PI, TAU};

use super::category::Defect;
use super::noise::{Point, fractal, mix, noise, step};
use super::shape::{Color, length, minus};
use crate::random::Sequence;

pub(super) enum Mark {
    /// A bent line with a groove of color `tint` and a burr on one side.
    Scratch { from: Point, along: Point, reach: f32, bend: f32, width: f32, tint: f32, burr: f32, seed: u32 },
    /// A bowl, or a bump if `depth` is negative.
    Dent { center: Point, along: Point, radii: Point, depth: f32, seed: u32 },
    /// A blot with a tide mark.
    Stain { center: Point, radius: f32, tint: Color, seed: u32 },
}

impl Mark {
    /// Creates a scratch, dent or stain at `center`. `tints` are the colors of dirt on the material. `strength` scales the
    /// damage, with 1 for a metal plate. Other defects are not damage to a surface and give `None`.
    pub(super) fn new(
        defect: Defect,
        random: &mut Sequence,
        center: Point,
        tints: &[Color],
        strength: f32,
    ) -> Option<Self> {
        let seed = random.bits() as u32;
        let angle = random.range(0.0, TAU);
        let along = [angle.cos(), angle.sin()];
        Some(match defect {
            Defect::Scratch => {
                let reach = random.range(0.3, 0.75);
                let from = [center[0] - along[0] * reach * 0.5, center[1] - along[1] * reach * 0.5];
                // Fresh scratches shine, dirty ones are dark.
                let tint = if random.unit() < 0.5 { random.range(1.7, 2.8) } else { random.range(0.3, 0.6) };
                let (bend, width) = (random.range(-0.25, 0.25), strength * random.range(0.010, 0.018));
                Self::Scratch { from, along, reach, bend, width, tint, burr: random.range(0.2, 0.6), seed }
            }
            Defect::Dent => {
                let radius = random.range(0.09, 0.17);
                let side = if random.unit() < 0.8 { 1.0 } else { -1.0 };
                let depth = strength * side * random.range(0.35, 0.8);
                Self::Dent { center, along, radii: [radius, radius * random.range(0.65, 1.0)], depth, seed }
            }
            Defect::Stain => {
                let dense = random.range(0.7, 1.0);
                let tint = tints.get(random.below(tints.len())).copied().unwrap_or([0.5; 3]);
                let tint = tint.map(|channel| mix(1.0, channel, dense));
                Self::Stain { center, radius: random.range(0.1, 0.2), tint, seed }
            }
            Defect::Missing | Defect::Swapped => return None,
        })
    }

    /// The slope that the damage adds.
    pub(super) fn relief(&self, at: Point, pixel: f32) -> Point {
        match self {
            Self::Scratch { along, width, burr, .. } => {
                let Some((offset, depth)) = self.groove(at, pixel) else { return [0.0; 2] };
                let width = width.max(0.7 * pixel);
                let slope = burr * depth * (offset / width) * (-(offset / width).powi(2)).exp() * 2.3;
                [-along[1] * slope, along[0] * slope]
            }
            Self::Dent { center, along, radii, depth, seed } => {
                let p = minus(at, *center);
                let crumple = 1.0 + 0.22 * noise([at[0] * 9.0, at[1] * 9.0], *seed);
                let x = (p[0] * along[0] + p[1] * along[1]) / (radii[0] * crumple);
                let y = (p[1] * along[0] - p[0] * along[1]) / (radii[1] * crumple);
                let square = x * x + y * y;
                if square >= 1.0 {
                    return [0.0; 2];
                }
                // Of the height -depth (1 - r^2)^2, scaled so that the steepest slope is `depth`.
                let steep = depth * 2.6 * (1.0 - square) / (x * x + y * y).sqrt().max(0.35);
                let (x, y) = (x * steep, y * steep);
                [x * along[0] - y * along[1], x * along[1] + y * along[0]].map(|slope| slope * 0.5)
            }
            Self::Stain { .. } => [0.0; 2],
        }
    }

    /// Returns the factor of the color of the surface.
    pub(super) fn tint(&self, at: Point, pixel: f32) -> Color {
        match self {
            Self::Scratch { width, tint, .. } => {
                let Some((offset, depth)) = self.groove(at, pixel) else { return [1.0; 3] };
                // A line thinner than a pixel covers only a part of it.
                let (broad, share) = (width.max(0.7 * pixel), (width / (0.7 * pixel)).min(1.0));
                [mix(1.0, *tint, depth * share * (-(offset / broad).powi(2)).exp()); 3]
            }
            Self::Dent { center, radii, .. } => {
                // The bottom of a dent reflects a little less.
                let far = length(minus(at, *center)) / radii[0];
                [1.0 - 0.10 * step(1.0, 0.0, far); 3]
            }
            Self::Stain { center, radius, tint, seed } => {
                let p = minus(at, *center);
                let far = length(p);
                if far > 2.0 * radius {
                    return [1.0; 3];
                }
                let wobble = fractal([at[0] * 7.0, at[1] * 7.0], 4, *seed);
                let inside = 1.0 - far / radius + 0.75 * wobble;
                let body = step(-0.06, 0.14, inside);
                let rim = step(0.0, 0.08, inside) * (1.0 - step(0.08, 0.3, inside));
                let cloud = 0.75 + 0.2 * fractal([at[0] * 14.0, at[1] * 14.0], 2, seed.wrapping_add(7));
                tint.map(|channel| mix(1.0, channel, body * (cloud + 0.35 * rim).clamp(0.0, 1.0)))
            }
        }
    }

    /// Returns the center and radius of a circle that contains all changes.
    pub(super) fn reach(&self, pixel: f32) -> (Point, f32) {
        match self {
            Self::Scratch { from, along, reach, bend, width, .. } => {
                let half = 0.5 * reach;
                let middle = [from[0] + half * along[0], from[1] + half * along[1]];
                // The bend, the noise, and the width, as in `groove`.
                (middle, half + 0.25 * bend.abs() * reach + 0.02 + 3.0 * width.max(pixel))
            }
            // The noise of the outline adds less than a third.
            Self::Dent { center, radii, .. } => (*center, 1.34 * radii[0]),
            Self::Stain { center, radius, .. } => (*center, 2.0 * radius),
        }
    }

    /// Returns the share of a coating that is missing, 0 to 1, in the groove of a scratch and in a dent.
    pub(super) fn bare(&self, at: Point, pixel: f32) -> f32 {
        match self {
            Self::Scratch { width, .. } => {
                let Some((offset, depth)) = self.groove(at, pixel) else { return 0.0 };
                let (broad, share) = (width.max(0.7 * pixel), (width / (0.7 * pixel)).min(1.0));
                (depth * share * (-(offset / broad).powi(2)).exp()).clamp(0.0, 1.0)
            }
            Self::Dent { center, radii, seed, .. } => {
                let far = length(minus(at, *center)) / radii[0] + 0.3 * noise([at[0] * 30.0, at[1] * 30.0], *seed);
                0.8 * step(0.75, 0.35, far)
            }
            Self::Stain { .. } => 0.0,
        }
    }

    /// Returns the offset from the center line of a scratch and its depth there. `None` far from the scratch.
    fn groove(&self, at: Point, pixel: f32) -> Option<(f32, f32)> {
        let Self::Scratch { from, along, reach, bend, width, seed, .. } = self else { return None };
        let p = minus(at, *from);
        let t = (p[0] * along[0] + p[1] * along[1]) / reach;
        if !(0.0..=1.0).contains(&t) {
            return None;
        }
        let wander = 0.02 * noise([t * 5.0, 0.0], *seed);
        let offset = p[1] * along[0] - p[0] * along[1] - bend * reach * (t - 0.5) * (t - 0.5) - wander;
        if offset.abs() > 3.0 * width.max(pixel) {
            return None;
        }
        // The scratch is shallow at both ends, and uneven.
        let depth = (PI * t).sin().sqrt() * (0.8 + 0.35 * noise([t * 14.0, 3.0], *seed)).clamp(0.25, 1.0);
        Some((offset, depth))
    }
}

/// Returns the slope and tint of the damage at a point, if there is damage.
pub(super) fn damage(mark: Option<&Mark>, at: Point, pixel: f32) -> (Point, Color) {
    mark.map_or(([0.0; 2], [1.0; 3]), |mark| (mark.relief(at, pixel), mark.tint(at, pixel)))
}
