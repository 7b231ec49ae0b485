//! Patterns over surfaces, filtered to the size of a pixel.
//!
//! Checker and noise are solid textures in the shape's own frame (metres), so they have no seams
//! and no texture coordinates. The checker is box-filtered in closed form (I. Quilez, "Filterable
//! procedurals"); noise fades its octaves as they fall below a pixel; images are mip-mapped in
//! linear light and sampled trilinearly.

use std::sync::LazyLock;

use super::lanes::{F, Isa, LANES, V3, each, floor as floors, greater, max, min};
use super::tone::{decode_table, linear};
use super::vector::floor;
use crate::maths::{Vec2, Vec3};
use crate::scene::Texture;
use crate::stream::Stream;
use crate::visual::Picture;

/// Edge of the cube of lattice values that noise repeats after, a power of two.
const LATTICE: usize = 32;
const OCTAVES: i32 = 4;
/// Features from the origin beyond which noise stays the same.
const FARTHEST: f32 = 1e8;
/// A point on a face is moved this part of a square into the body before the checker is looked up:
/// a face that lies just on a border between squares would else flicker.
pub(super) const SINK: f32 = 1e-3;
/// Below this width (squares a pixel) the checker is not filtered: the difference of the integral would only round.
pub(super) const SHARP_WIDTH: f32 = 0.01;
/// Above this width it is as good as grey.
pub(super) const WIDEST: f32 = 64.0;

/// A texture, ready to be looked up.
pub(super) enum Pattern {
    /// The base colour.
    Plain,
    /// Second colour and squares per metre.
    Checker(Vec3, f32),
    /// Second colour, features per metre, offset in the lattice.
    Noise(Vec3, f32, Vec3),
    /// Levels, each half as large as the one before, and repetitions along u and v.
    Image(Vec<Level>, Vec2),
}

/// A level of a mip map: width, height, and linear colours, row 0 at the top.
pub(super) struct Level(usize, usize, Vec<Vec3>);

/// Where a pattern is looked up: a point in the shape's frame, and how it moves with one pixel to the right and down.
pub(super) struct Spot {
    pub p: Vec3,
    pub dp: [Vec3; 2],
}

impl Pattern {
    pub fn new(texture: Option<&Texture>, picture: Option<&Picture>) -> Self {
        let per_metre = |size: f64| if size > 0.0 { (1.0 / size) as f32 } else { 1.0 };
        match (texture, picture) {
            (None, _) => Self::Plain,
            (Some(Texture::Checker { colour, size }), _) => Self::Checker(linear(*colour), per_metre(*size)),
            (Some(Texture::Noise { colour, size, seed }), _) => {
                let mut stream = Stream::new(u64::from(*seed), "noise texture", 0, 0);
                let offset = [(); 3].map(|()| stream.uniform(0.0, LATTICE as f64) as f32);
                Self::Noise(linear(*colour), per_metre(*size), Vec3::from_array(offset))
            }
            (Some(Texture::Image(image)), Some(picture)) => {
                Self::Image(mip_map(picture), Vec2::from_array(image.repeat.map(|x| x as f32)))
            }
            // An image that could not be decoded has been reported where it was loaded.
            (Some(Texture::Image(_)), None) => Self::Plain,
        }
    }

    /// Colour at a spot, given the base colour and the surface's texture coordinates. (Checker and noise
    /// are made by the shader, for a whole batch at once.)
    pub fn colour(&self, base: Vec3, spot: &Spot, uv: impl Fn(Vec3) -> Vec2) -> Vec3 {
        match self {
            Self::Plain | Self::Checker(..) | Self::Noise(..) => base,
            Self::Image(levels, repeat) => {
                let at = uv(spot.p);
                let step = |dp: Vec3| {
                    let d = uv(spot.p + dp) - at;
                    // Across the seam of a closed surface u jumps by one.
                    let wrap = |x: f32| x - floor(x + 0.5);
                    Vec2::new(wrap(d.x), wrap(d.y)) * *repeat
                };
                base * sample(levels, at * *repeat, [step(spot.dp[0]), step(spot.dp[1])])
            }
        }
    }
}

/// Fractal value noise in [0, 1] of points (in features), with octaves below the footprint faded to their mean.
#[inline(always)]
pub(super) fn fractal<I: Isa>(p: V3<I>, footprint: F<I>) -> F<I> {
    let (zero, one, half) = (footprint.of(0.0), footprint.of(1.0), footprint.of(0.5));
    let (mut sum, mut total) = (zero, 0.0);
    let (mut q, mut size, mut weight) = (V3 { x: within(p.x), y: within(p.y), z: within(p.z) }, footprint, 1.0);
    for _ in 0..OCTAVES {
        let seen = min(max(1.5 - 2.0 * size, zero), one);
        total += weight;
        let octave = if greater(seen, zero).any() { 0.5 + (value(q) - 0.5) * seen } else { half };
        sum += octave * weight;
        weight *= 0.5;
        size *= zero.of(2.0);
        // Off the lattice, so that the octaves' grids don't line up.
        q = V3 { x: q.x * 2.0 + 0.31, y: q.y * 2.0 + 0.57, z: q.z * 2.0 + 0.83 };
    }
    // Averaging octaves pulls towards ½; give the contrast back.
    min(max(0.5 + (sum / total - 0.5) * 1.6, zero), one)
}

/// Kept to where f32 has whole numbers that fit integers, in all octaves.
#[inline(always)]
fn within<I: Isa>(x: F<I>) -> F<I> {
    min(max(x, x.of(-FARTHEST)), x.of(FARTHEST))
}

/// Value noise: smooth blends of the values at the corners of the lattice's cells.
#[inline(always)]
fn value<I: Isa>(p: V3<I>) -> F<I> {
    const MASK: i32 = LATTICE as i32 - 1;
    let cells = &*LATTICE_CELLS;
    let whole = V3 { x: floors(p.x), y: floors(p.y), z: floors(p.z) };
    let (x, y, z) = (whole.x.integers(), whole.y.integers(), whole.z.integers());
    let index: [usize; LANES] = each(|i| (((z[i] & MASK) << 10) | ((y[i] & MASK) << 5) | (x[i] & MASK)) as usize);
    let corners: [u64; LANES] = each(|i| cells.get(index[i]).copied().unwrap_or(0));
    let (low, high): ([u32; LANES], [u32; LANES]) = (each(|i| corners[i] as u32), each(|i| (corners[i] >> 32) as u32));
    let f = p.minus(whole);
    let [tx, ty, tz] = [ease(f.x), ease(f.y), ease(f.z)];
    let lower = blend(row(&low, 0, tx), row(&low, 16, tx), ty);
    let upper = blend(row(&high, 0, tx), row(&high, 16, tx), ty);
    blend(lower, upper, tz)
}

/// Blend of the two corners whose bytes begin at a bit.
#[inline(always)]
fn row<I: Isa>(corners: &[u32; LANES], bit: u32, t: F<I>) -> F<I> {
    let byte = |shift: u32| each(|i| ((corners[i] >> shift) & 255) as i32 as f32);
    let (a, b) = (F::new(t.isa(), byte(bit)), F::new(t.isa(), byte(bit + 8)));
    blend(a * (1.0 / 255.0), b * (1.0 / 255.0), t)
}

#[inline(always)]
fn ease<I: Isa>(t: F<I>) -> F<I> {
    t * t * (3.0 - 2.0 * t)
}

#[inline(always)]
fn blend<I: Isa>(a: F<I>, b: F<I>, t: F<I>) -> F<I> {
    a + (b - a) * t
}

/// For each cell of the lattice the values at its corners, a byte each: x lowest, then y, then z.
static LATTICE_CELLS: LazyLock<Vec<u64>> = LazyLock::new(|| {
    let mut stream = Stream::new(0, "noise lattice", 0, 0);
    let values: Vec<u8> = (0..LATTICE * LATTICE * LATTICE / 8).flat_map(|_| stream.bits().to_le_bytes()).collect();
    let at = |x: usize, y: usize, z: usize| {
        let [x, y, z] = [x, y, z].map(|i| i % LATTICE);
        u64::from(values[(z * LATTICE + y) * LATTICE + x])
    };
    let cell = |index: usize| {
        let (x, y, z) = (index % LATTICE, index / LATTICE % LATTICE, index / LATTICE / LATTICE);
        (0..8).map(|corner| at(x + (corner & 1), y + (corner >> 1 & 1), z + (corner >> 2)) << (8 * corner)).sum()
    };
    (0..LATTICE * LATTICE * LATTICE).map(cell).collect()
});

/// Levels by averaging 2 × 2 (the last row or column of an odd size counts twice).
fn mip_map(picture: &Picture) -> Vec<Level> {
    let table = decode_table();
    let (mut width, mut height) = (picture.width as usize, picture.height as usize);
    let mut texels: Vec<Vec3> = picture
        .rgb
        .chunks_exact(3)
        .map(|rgb| Vec3::new(table[rgb[0] as usize], table[rgb[1] as usize], table[rgb[2] as usize]))
        .collect();
    if width == 0 || height == 0 || texels.len() != width * height {
        return vec![Level(1, 1, vec![Vec3::ONE])];
    }
    let mut levels = Vec::new();
    while width > 1 || height > 1 {
        let (w, h) = (width.div_ceil(2), height.div_ceil(2));
        let mut next = Vec::with_capacity(w * h);
        for y in 0..h {
            for x in 0..w {
                let (x1, y1) = ((2 * x + 1).min(width - 1), (2 * y + 1).min(height - 1));
                let sum = texels[2 * y * width + 2 * x]
                    + texels[2 * y * width + x1]
                    + texels[y1 * width + 2 * x]
                    + texels[y1 * width + x1];
                next.push(sum * 0.25);
            }
        }
        levels.push(Level(width, height, std::mem::replace(&mut texels, next)));
        (width, height) = (w, h);
    }
    levels.push(Level(width, height, texels));
    levels
}

/// Trilinear, repeating sample at (u, v), v up.
fn sample(levels: &[Level], uv: Vec2, duv: [Vec2; 2]) -> Vec3 {
    let Some(Level(width, height, _)) = levels.first() else {
        return Vec3::ONE;
    };
    let texels = Vec2::new(*width as f32, *height as f32);
    let squared = |d: Vec2| (d * texels).dot(d * texels);
    let mut footprint = squared(duv[0]).max(squared(duv[1])).sqrt();
    let mut level = 0;
    while footprint > 2.0 && level + 1 < levels.len() {
        footprint *= 0.5;
        level += 1;
    }
    let fine = bilinear(&levels[level], uv);
    let blend = (footprint - 1.0).clamp(0.0, 1.0);
    match levels.get(level + 1) {
        Some(coarse) if blend > 0.0 => fine + (bilinear(coarse, uv) - fine) * blend,
        _ => fine,
    }
}

fn bilinear(Level(width, height, texels): &Level, uv: Vec2) -> Vec3 {
    let axis = |t: f32, size: usize| {
        let x = (t - floor(t)) * size as f32 - 0.5;
        let whole = floor(x);
        let index = |i: f32| (i as i64).rem_euclid(size as i64) as usize;
        (index(whole), index(whole + 1.0), x - whole)
    };
    let (x0, x1, fx) = axis(uv.x, *width);
    let (y0, y1, fy) = axis(1.0 - uv.y, *height);
    let row = |y: usize| texels[y * width + x0] + (texels[y * width + x1] - texels[y * width + x0]) * fx;
    row(y0) + (row(y1) - row(y0)) * fy
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_at_texel_centres_is_the_texel_and_far_away_the_mean() {
        let picture = Picture { width: 2, height: 2, rgb: vec![255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255] };
        let levels = mip_map(&picture);
        let near = sample(&levels, Vec2::new(0.25, 0.75), [Vec2::ZERO; 2]);
        assert_eq!(near, Vec3::new(1.0, 0.0, 0.0), "row 0 is the top, v is up");
        let far = sample(&levels, Vec2::new(0.25, 0.75), [Vec2::new(9.0, 0.0), Vec2::new(0.0, 9.0)]);
        assert_eq!(far, Vec3::splat(0.5));
    }
}
