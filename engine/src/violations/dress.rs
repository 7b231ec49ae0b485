//! Appearances: the same scene in other colours and light.

use super::Split;
use crate::scene::Scene;
use crate::stream::Stream;

/// Part of the circle of hues that one split has; the other one has the rest.
const HALF: f64 = 0.5;
/// Dimmest and brightest lights, times what the scene says.
const CALIBRATION_LIGHT: [f64; 2] = [0.75, 0.98];
/// See [`CALIBRATION_LIGHT`].
const TEST_LIGHT: [f64; 2] = [1.02, 1.3];

/// Gives every object of a scene a colour and every light a strength out of the split's own range. What moves stays
/// the same bits.
pub fn dress(scene: &Scene, seed: u64, split: Split) -> Scene {
    let mut dressed = scene.clone();
    let mut stream = Stream::new(seed, "violation appearance", 0, 0);
    let (first, light) = match split {
        Split::Calibration => (0.0, CALIBRATION_LIGHT),
        Split::Test => (HALF, TEST_LIGHT),
    };
    for object in dressed.objects.values_mut() {
        let hue = first + HALF * stream.unit();
        object.material.colour = colour(hue, stream.uniform(0.35, 0.8), stream.uniform(0.4, 0.95));
    }
    for lamp in dressed.lights.values_mut() {
        let factor = stream.uniform(light[0], light[1]);
        lamp.intensity *= factor;
    }
    dressed
}

/// sRGB of a hue in [0, 1), a saturation and a value.
fn colour(hue: f64, saturation: f64, value: f64) -> [f64; 3] {
    [0.0, 1.0 / 3.0, 2.0 / 3.0].map(|shift| {
        // Distance on the circle of hues from where this channel is strongest.
        let away = ((hue - shift) - libm::round(hue - shift)).abs();
        let strength = (2.0 - 6.0 * away).clamp(0.0, 1.0);
        value * (1.0 - saturation * (1.0 - strength))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hues_go_round_from_red_over_green_and_blue() {
        for (hue, expected) in [(0.0, [1.0, 0.0, 0.0]), (1.0 / 3.0, [0.0, 1.0, 0.0]), (2.0 / 3.0, [0.0, 0.0, 1.0])] {
            let found = colour(hue, 1.0, 1.0);
            let off = (0..3).map(|i| (found[i] - expected[i]).abs()).fold(0.0, f64::max);
            assert!(off < 1e-9, "hue {hue}: expected {expected:?}, found {found:?}");
        }
    }
}
