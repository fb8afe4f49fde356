//! A brushed metal plate that fills the picture.

use super::light::Light;
use super::mark::{Mark, damage};
use super::noise::{Point, noise};
use super::scene::{Flaw, Scene};
use super::shape::{Color, Pose, scale, times};
use crate::random::Sequence;

/// The strength of damage.
const STRENGTH: f32 = 0.8;

pub(super) struct Plate {
    light: Light,
    pose: Pose,
    /// The position of the broad reflection of the lamp on the brushed surface. `lean` is its direction.
    band: f32,
    lean: f32,
    coarse: f32,
    seed: u32,
    mark: Option<Mark>,
}

const DIRT: [Color; 4] = [[0.45, 0.34, 0.2], [0.3, 0.3, 0.32], [0.62, 0.6, 0.5], [0.5, 0.62, 0.8]];

impl Plate {
    pub(super) fn new(random: &mut Sequence, flaw: Option<Flaw>) -> Self {
        let light = Light::new(random);
        let pose = Pose::jitter(random, 20.0, 0.07, 0.08);
        let (band, lean, coarse) = (random.range(-0.6, 0.6), random.range(-0.5, 0.5), random.range(0.8, 1.2));
        let seed = random.bits() as u32;
        let mark = flaw.and_then(|mut flaw| {
            let center = [flaw.random.range(-0.7, 0.7), flaw.random.range(-0.7, 0.7)];
            Mark::new(flaw.defect, &mut flaw.random, center, &DIRT, STRENGTH)
        });
        Self { light, pose, band, lean, coarse, seed, mark }
    }
}

impl Scene for Plate {
    fn reach(&self, pixel: f32) -> Option<(Point, f32)> {
        self.mark.as_ref().map(|mark| mark.reach(pixel))
    }

    fn shade(&self, at: Point, pixel: f32) -> Color {
        let (slope, tint) = damage(self.mark.as_ref(), at, pixel);
        let [x, y] = self.pose.to_part(at);
        let streak =
            |along: f32, across: f32, layer: u32| noise([x * along, y * across], self.seed.wrapping_add(layer));
        let brushed = 0.30 * streak(1.1, 16.0, 0) + 0.34 * streak(2.3, 46.0, 1) + 0.40 * streak(4.0, 92.0, 2);
        let reflection = (at[0] + self.lean * at[1] - self.band + 0.25 * (slope[0] + self.lean * slope[1])) / 0.9;
        let bright = 0.26 + 0.14 * (-reflection * reflection).exp();
        let metal = bright * (1.0 + 0.30 * self.coarse * brushed) * self.light.shade(slope);
        self.light.expose(times(scale([0.98, 1.0, 1.03], metal), tint), at)
    }
}
