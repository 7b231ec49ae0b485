//! From linear light to 8-bit sRGB, and back.
//!
//! Tone mapping is the shoulder of Khronos' PBR Neutral operator (Khronos Group, 2024): the identity
//! up to [`SHOULDER`], so that base colours come out as they were declared, then a smooth
//! compression to 1 that keeps the hue. Its toe (which takes the Fresnel reflection off again) is
//! left out. Encoding is exact: the nearest of the 256 codes in encoded space (IEC 61966-2-1).

use std::sync::LazyLock;

use super::lanes::{V3, greater, max, splat};
use crate::maths::{Vec3, pow};

/// Linear value where compression begins.
pub(super) const SHOULDER: f32 = 0.76;
/// How fast compressed highlights lose saturation.
const DESATURATION: f32 = 0.15;
/// Linear values are looked up in steps of 1 / LOOKUP; a step spans less than one code.
const LOOKUP: usize = 4096;

/// Maps linear light from [0, ∞) to [0, 1].
pub(super) fn tone_map(light: Vec3) -> Vec3 {
    tone_map_lanes(V3::splat(light)).scatter()[0]
}

/// [`tone_map`] of four colours.
pub(super) fn tone_map_lanes(light: V3) -> V3 {
    let peak = max(max(light.x, light.y), light.z);
    let bright = greater(peak, splat(SHOULDER));
    if !bright.any() {
        return light;
    }
    let one = splat(1.0);
    let room = splat(1.0 - SHOULDER);
    let peak = max(peak, splat(SHOULDER));
    let mapped = one - room * room / (peak + room - splat(SHOULDER));
    let kept = one / (splat(DESATURATION) * (peak - mapped) + one);
    let compressed = light.times(mapped / peak * kept).plus(V3::grey(mapped * (one - kept)));
    V3::select(bright, compressed, light)
}

/// Nearest 8-bit sRGB codes of linear colours, three a colour.
pub(super) fn encode(linear: &[Vec3], codes: &mut [u8]) {
    let tables = &*TABLES;
    for (colour, codes) in linear.iter().zip(codes.as_chunks_mut::<3>().0) {
        *codes = [tables.code(colour.x), tables.code(colour.y), tables.code(colour.z)];
    }
}

/// Linear value of an sRGB value in [0, 1].
pub(super) fn decode(encoded: f64) -> f64 {
    if encoded <= 0.04045 { encoded / 12.92 } else { pow((encoded + 0.055) / 1.055, 2.4) }
}

/// Linear colour of an sRGB colour.
pub(super) fn linear(srgb: [f64; 3]) -> Vec3 {
    Vec3::from_array(srgb.map(|x| decode(x.clamp(0.0, 1.0)) as f32))
}

/// Linear values of the 256 codes.
pub(super) fn decode_table() -> &'static [f32; 256] {
    static TABLE: LazyLock<[f32; 256]> =
        LazyLock::new(|| std::array::from_fn(|code| decode(code as f64 / 255.0) as f32));
    &TABLE
}

struct Tables {
    /// Code of the lowest value of each lookup step.
    guess: [u8; LOOKUP + 1],
    /// Least linear value of the next code; nothing reaches past the last one.
    threshold: [f32; 256],
}

impl Tables {
    #[inline(always)]
    fn code(&self, linear: f32) -> u8 {
        // Not a number becomes 0, like everything below.
        let clamped = if linear > 0.0 { linear } else { 0.0 };
        let clamped = if clamped < 1.0 { clamped } else { 1.0 };
        let guess = self.guess[((clamped * LOOKUP as f32) as i32 as usize).min(LOOKUP)];
        guess + u8::from(clamped >= self.threshold[guess as usize])
    }
}

static TABLES: LazyLock<Tables> = LazyLock::new(|| {
    let threshold: [f32; 256] =
        std::array::from_fn(
            |code| {
                if code == 255 { f32::INFINITY } else { decode((code as f64 + 0.5) / 255.0) as f32 }
            },
        );
    let mut guess = [0; LOOKUP + 1];
    let mut code = 0u8;
    for (step, slot) in guess.iter_mut().enumerate() {
        while step as f32 / LOOKUP as f32 >= threshold[code as usize] {
            code += 1;
        }
        *slot = code;
    }
    Tables { guess, threshold }
});

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(linear: f32) -> u8 {
        TABLES.code(linear)
    }

    #[test]
    fn every_code_survives_decoding_and_encoding_and_encoding_is_monotone() {
        for code in 0..=255u8 {
            assert_eq!(encode(decode(f64::from(code) / 255.0) as f32), code);
        }
        let mut last = 0;
        for i in 0..=100_000 {
            let x = i as f32 / 100_000.0;
            let code = encode(x);
            assert!(code >= last, "encode({x}) = {code} after {last}");
            last = code;
            let exact =
                if x <= 0.003_130_8 { 12.92 * f64::from(x) } else { 1.055 * pow(f64::from(x), 1.0 / 2.4) - 0.055 };
            let error = (exact * 255.0 - f64::from(code)).abs();
            assert!(error <= 0.5 + 1e-3, "encode({x}) = {code}, exact value {}", exact * 255.0);
        }
        assert_eq!((encode(-1.0), encode(f32::NAN), encode(7.0)), (0, 0, 255));
    }

    #[test]
    fn tone_mapping_is_monotone_below_one_and_leaves_the_middle_alone() {
        let grey = |x: f32| tone_map(Vec3::splat(x)).x;
        assert_eq!(tone_map(Vec3::new(0.1, 0.7, 0.3)), Vec3::new(0.1, 0.7, 0.3));
        let mut last = -1.0;
        for i in 0..20_000 {
            let mapped = grey(i as f32 * 1e-3);
            assert!(mapped >= last && mapped < 1.0, "grey {} maps to {mapped} after {last}", i as f32 * 1e-3);
            last = mapped;
        }
        assert!(last > 0.95, "a very bright grey should come out nearly white, is {last}");
    }
}
