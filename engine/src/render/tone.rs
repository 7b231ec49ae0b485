//! From linear light to 8-bit sRGB, and back.
//!
//! Tone mapping is the shoulder of Khronos' PBR Neutral operator (Khronos Group, 2024): the identity
//! up to [`SHOULDER`], so that base colours come out as they were declared, then a smooth
//! compression to 1 that keeps the hue. Its toe (which takes the Fresnel reflection off again) is
//! left out. Encoding is exact: the nearest of the 256 codes in encoded space (IEC 61966-2-1).

use std::sync::LazyLock;

use super::lanes::{F, Isa, LANES, V3, each, greater, max, min, select};
use crate::maths::{Vec3, pow};

/// Linear value where compression begins.
pub(super) const SHOULDER: f32 = 0.76;
/// How fast compressed highlights lose saturation.
const DESATURATION: f32 = 0.15;
/// Linear values are looked up in steps of 1 / LOOKUP; a step spans less than one code.
const LOOKUP: usize = 4096;
/// Entries of the lookup table, a power of two so that a masked index needs no check.
const TABLE: usize = 2 * LOOKUP;

/// Maps linear light from [0, ∞) to [0, 1].
#[inline(always)]
pub(super) fn tone_map<I: Isa>(light: V3<I>) -> V3<I> {
    let peak = max(max(light.x, light.y), light.z);
    let shoulder = peak.of(SHOULDER);
    let bright = greater(peak, shoulder);
    if !bright.any() {
        return light;
    }
    let room = 1.0 - SHOULDER;
    let peak = max(peak, shoulder);
    let mapped = 1.0 - room * room / (peak + (room - SHOULDER));
    let kept = 1.0 / ((peak - mapped) * DESATURATION + 1.0);
    let compressed = light.times(mapped / peak * kept).plus(V3::grey(mapped * (1.0 - kept)));
    V3::select(bright, compressed, light)
}

/// Nearest 8-bit sRGB codes of linear colours, as many as `codes` has room for.
#[inline(always)]
pub(super) fn encode<I: Isa>(linear: V3<I>, codes: &mut [u8]) {
    let V3 { x, y, z } = V3 { x: clamp(linear.x), y: clamp(linear.y), z: clamp(linear.z) };
    let (tables, scale) = (&*TABLES, LOOKUP as f32);
    let (r, g, b) = (
        tables.codes(&x.to_array(), &(x * scale).integers()),
        tables.codes(&y.to_array(), &(y * scale).integers()),
        tables.codes(&z.to_array(), &(z * scale).integers()),
    );
    let rgb: [[u8; 3]; LANES] = each(|i| [r[i], g[i], b[i]]);
    let rgb = rgb.as_flattened();
    if let Some(codes) = codes.first_chunk_mut::<{ 3 * LANES }>() {
        codes.copy_from_slice(rgb);
    } else {
        codes.copy_from_slice(&rgb[..codes.len()]);
    }
}

/// To [0, 1]; not a number becomes 0.
#[inline(always)]
fn clamp<I: Isa>(x: F<I>) -> F<I> {
    let zero = x.of(0.0);
    min(select(greater(x, zero), x, zero), x.of(1.0))
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
    guess: [u8; TABLE],
    /// Least linear value of the next code; nothing reaches past the last one.
    threshold: [f32; 256],
}

impl Tables {
    /// Codes of values in [0, 1] and their lookup steps.
    #[inline(always)]
    fn codes(&self, values: &[f32; LANES], steps: &[i32; LANES]) -> [u8; LANES] {
        each(|i| {
            let guess = self.guess[steps[i] as usize % TABLE];
            guess + u8::from(values[i] >= self.threshold[guess as usize])
        })
    }
}

static TABLES: LazyLock<Tables> = LazyLock::new(|| {
    let threshold: [f32; 256] =
        std::array::from_fn(
            |code| {
                if code == 255 { f32::INFINITY } else { decode((code as f64 + 0.5) / 255.0) as f32 }
            },
        );
    let mut guess = [0; TABLE];
    let mut code = 0u8;
    for (step, slot) in guess.iter_mut().enumerate().take(LOOKUP + 1) {
        while step as f32 / LOOKUP as f32 >= threshold[code as usize] {
            code += 1;
        }
        *slot = code;
    }
    Tables { guess, threshold }
});

#[cfg(test)]
mod tests {
    use super::super::isa::Portable;
    use super::*;

    fn encode(linear: f32) -> u8 {
        let mut codes = [0; 3 * LANES];
        super::encode(V3::splat(Portable, Vec3::splat(linear)), &mut codes);
        assert!(codes.iter().all(|code| *code == codes[0]), "lanes and channels disagree on {linear}: {codes:?}");
        codes[0]
    }

    fn tone_map(light: Vec3) -> Vec3 {
        super::tone_map(V3::splat(Portable, light)).scatter()[0]
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
