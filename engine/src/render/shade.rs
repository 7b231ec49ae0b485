//! Colour of what pixels see, in linear light, eight points of one surface at a time.
//!
//! Lambert plus GGX highlights (B. Walter et al., "Microfacet Models for Refraction through Rough
//! Surfaces", 2007; visibility term after E. Hammon, 2017; Fresnel after C. Schlick, 1994), lights
//! of [`super::model::Lamp`], and the sky as ambient light and as what smooth surfaces reflect.
//! White paper that faces a light of strength 1 has radiance 1: factors of π cancel. All of it is
//! done in the camera's frame.

use super::lanes::{F, Isa, LANES, V3, absolute, at_least, fifth, floor, greater, less, max, min, mix, select};
use super::model::{Lamp, LampPlace, RenderModel, Surface};
use super::place::{Eye, Placed};
use super::shadow::{Casters, Receivers};
use super::texture::{Pattern, SHARP_WIDTH, SINK, Spot, WIDEST, fractal};
use super::tone;
use super::visibility::{MESH, Points};
use crate::maths::Vec3;

/// Part of the light that a dielectric reflects head on (refractive index 1.5).
const DIELECTRIC_F0: f32 = 0.04;
/// A surface seen edge-on has no smaller cosine than this in the pixel's footprint.
const LEAST_COSINE: f32 = 1e-3;

/// Squares of a checker from the origin beyond which it is not looked up.
const FARTHEST: f32 = 1e7;

/// What shading reads.
pub(super) struct Shader<'a> {
    pub model: &'a RenderModel,
    pub placed: &'a [Placed],
    /// The model's lights in the camera's frame.
    pub lamps: &'a [Lamp],
    pub eye: &'a Eye,
    pub shadows: bool,
    pub antialias: bool,
}

/// Points on their way to a colour.
struct Batch<I: Isa> {
    p: V3<I>,
    normal: V3<I>,
    view: V3<I>,
    /// How p moves with a pixel to the right and down.
    dp: [V3<I>; 2],
    distance: F<I>,
    /// Index of the placed surface, and which lanes matter.
    index: u32,
    wanted: u32,
}

/// How a surface answers light.
struct Response<I: Isa> {
    diffuse: V3<I>,
    f0: V3<I>,
    alpha: f32,
    roughness: f32,
    /// Cosine between normal and view.
    facing: F<I>,
}

impl Shader<'_> {
    /// Display-referred linear colour of the sky on rays (camera's frame).
    #[inline(always)]
    pub fn sky<I: Isa>(&self, d: V3<I>) -> V3<I> {
        tone::tone_map(self.model.sky.radiance(d.along(self.eye.up) / d.dot(d).sqrt()))
    }

    /// Display-referred linear colours of points on one surface. Only the lanes of `wanted` matter.
    #[inline(always)]
    pub fn colours<I: Isa>(
        &self,
        index: u32,
        points: &Points<I>,
        normal: V3<I>,
        wanted: u32,
        casters: &mut Casters,
    ) -> V3<I> {
        let at = &self.placed[index as usize];
        let surface = &self.model.surfaces[at.surface];
        let batch = self.batch(index, points, normal, wanted);
        let base = self.base(&batch, points, at, surface);
        let response = if surface.metallic == 0.0 {
            let f0 = V3::grey(points.t.of(DIELECTRIC_F0));
            Response::new(base, f0, surface, &batch)
        } else {
            let metallic = points.t.of(surface.metallic);
            let f0 = mix(V3::grey(points.t.of(DIELECTRIC_F0)), base, metallic);
            Response::new(base.times(1.0 - metallic), f0, surface, &batch)
        };
        let mut light = self.ambient(&batch, &response);
        for (index, lamp) in self.lamps.iter().enumerate() {
            if let Some(more) = self.lit(&batch, &response, index, lamp, casters) {
                light = light.plus(more);
            }
        }
        tone::tone_map(light)
    }

    #[inline(always)]
    fn batch<I: Isa>(&self, index: u32, points: &Points<I>, normal: V3<I>, wanted: u32) -> Batch<I> {
        let Points { d, t, .. } = *points;
        let length = d.dot(d).sqrt();
        // On the tangent plane n·dp = 0.
        let per_slope = t / min(normal.dot(d), length * -LEAST_COSINE);
        let [right, down] = self.eye.step;
        let zero = t.of(0.0);
        let (to_right, to_down) = (V3 { x: t * right, y: zero, z: zero }, V3 { x: zero, y: t * down, z: zero });
        let dp = [
            to_right.minus(d.times(normal.x * right * per_slope)),
            to_down.minus(d.times(normal.y * down * per_slope)),
        ];
        Batch { p: d.times(t), normal, view: d.times(-1.0 / length), dp, distance: length * t, index, wanted }
    }

    /// Base colours with their patterns.
    #[inline(always)]
    fn base<I: Isa>(&self, batch: &Batch<I>, points: &Points<I>, at: &Placed, surface: &Surface) -> V3<I> {
        let isa = points.t.isa();
        let plain = V3::splat(isa, surface.colour);
        if matches!(surface.pattern, Pattern::Plain) {
            return plain;
        }
        let p = V3::splat(isa, at.eye).plus(batch.p.turned(&at.local_from_camera));
        let dp = [batch.dp[0].turned(&at.local_from_camera), batch.dp[1].turned(&at.local_from_camera)];
        if let Pattern::Checker(other, per_metre) = &surface.pattern {
            let normal = batch.normal.turned(&at.local_from_camera);
            return mix(plain, V3::splat(isa, *other), checker(p, normal, dp, *per_metre));
        }
        if let Pattern::Noise(other, per_metre, offset) = &surface.pattern {
            let [right, down] = dp;
            let scale = points.t.of(*per_metre);
            let footprint = max(right.dot(right), down.dot(down)).sqrt() * scale;
            let share = fractal(p.times(scale).plus(V3::splat(isa, *offset)), footprint);
            return mix(plain, V3::splat(isa, *other), share);
        }
        let (p, dp) = (p.scatter(), [dp[0].scatter(), dp[1].scatter()]);
        V3::gather(isa, looked_up(surface, &p, &dp, &points.face, batch.wanted))
    }

    /// Light of the sky, diffuse and reflected.
    #[inline(always)]
    fn ambient<I: Isa>(&self, batch: &Batch<I>, response: &Response<I>) -> V3<I> {
        let sky = &self.model.sky;
        let Response { diffuse, f0, roughness, facing, .. } = *response;
        let up = batch.normal.along(self.eye.up);
        let soft = sky.irradiance(up);
        // Rough surfaces lose the grazing reflection (S. Lagarde's form of Schlick's term).
        let smooth = facing.of(1.0 - roughness);
        let edge = V3 { x: max(f0.x, smooth), y: max(f0.y, smooth), z: max(f0.z, smooth) };
        let fresnel = mix(f0, edge, fifth(1.0 - facing));
        let mirrored = up * 2.0 * batch.normal.dot(batch.view) - batch.view.along(self.eye.up);
        let reflected = mix(sky.radiance(mirrored).times(facing.of(sky.mirrored)), soft, facing.of(roughness));
        soft.tinted(diffuse).plus(reflected.tinted(fresnel))
    }

    /// What one light adds, if it reaches any lane.
    #[inline(always)]
    fn lit<I: Isa>(
        &self,
        batch: &Batch<I>,
        response: &Response<I>,
        index: usize,
        lamp: &Lamp,
        casters: &mut Casters,
    ) -> Option<V3<I>> {
        let isa = batch.distance.isa();
        let zero = batch.distance.of(0.0);
        let (towards, strength) = match lamp.place {
            LampPlace::Sun(towards) => (V3::splat(isa, towards), zero.of(1.0)),
            LampPlace::Point(place) => {
                let way = V3::splat(isa, place).minus(batch.p);
                (way.unit(), 1.0 / max(way.dot(way), zero.of(1e-4)))
            }
        };
        let cosine = max(batch.normal.dot(towards), zero);
        let facing = greater(cosine, zero).mask_bits() & batch.wanted;
        if facing == 0 {
            return None;
        }
        let mut seen = strength;
        if self.shadows && lamp.shadows && casters.any(index) {
            let receivers = Receivers {
                p: batch.p,
                normal: batch.normal,
                dp: batch.dp,
                distance: batch.distance,
                index: batch.index,
                wanted: facing,
            };
            let lit = casters.visibility(self.model, self.placed, (index, lamp), &receivers, self.antialias);
            if !greater(lit * cosine, zero).any() {
                return None;
            }
            seen *= lit;
        }
        let highlight = highlight(batch, response, towards, cosine);
        Some(response.diffuse.plus(highlight).tinted(V3::splat(isa, lamp.power)).times(cosine * seen))
    }
}

impl<I: Isa> Response<I> {
    #[inline(always)]
    fn new(diffuse: V3<I>, f0: V3<I>, surface: &Surface, batch: &Batch<I>) -> Self {
        let facing = max(batch.normal.dot(batch.view), batch.distance.of(LEAST_COSINE));
        Self { diffuse, f0, alpha: surface.alpha, roughness: surface.roughness, facing }
    }
}

/// Colours of the patterns that are looked up point by point.
fn looked_up(
    surface: &Surface,
    p: &[Vec3; LANES],
    dp: &[[Vec3; LANES]; 2],
    face: &[u32; LANES],
    wanted: u32,
) -> [Vec3; LANES] {
    std::array::from_fn(|i| {
        if wanted & (1 << i) == 0 {
            return surface.colour;
        }
        let spot = Spot { p: p[i], dp: [dp[0][i], dp[1][i]] };
        surface.pattern.colour(surface.colour, &spot, |p| surface.solid.uv(p, face[i] & !MESH))
    })
}

/// Specular reflectance times π.
#[inline(always)]
fn highlight<I: Isa>(batch: &Batch<I>, response: &Response<I>, towards: V3<I>, cosine: F<I>) -> V3<I> {
    let Response { f0, alpha, facing, .. } = *response;
    let (zero, one) = (facing.of(0.0), facing.of(1.0));
    let half = batch.view.plus(towards).unit();
    let nh = max(batch.normal.dot(half), zero);
    let a2 = alpha * alpha;
    let spread = nh * nh * (a2 - 1.0) + 1.0;
    let shadowing = cosine * facing * (2.0 * (1.0 - alpha)) + (cosine + facing) * alpha;
    let fresnel = mix(f0, V3::grey(one), fifth(1.0 - min(max(batch.view.dot(half), zero), one)));
    fresnel.times(a2 / (spread * spread * shadowing * 2.0))
}

/// Share of a checker's second colour in each pixel: 0 or 1 inside a square.
#[inline(always)]
fn checker<I: Isa>(p: V3<I>, normal: V3<I>, dp: [V3<I>; 2], per_metre: f32) -> F<I> {
    let sunk = p.times(p.x.of(per_metre)).minus(normal.times(p.x.of(SINK)));
    let product = square_wave(sunk.x, (absolute(dp[0].x) + absolute(dp[1].x)) * per_metre)
        * square_wave(sunk.y, (absolute(dp[0].y) + absolute(dp[1].y)) * per_metre)
        * square_wave(sunk.z, (absolute(dp[0].z) + absolute(dp[1].z)) * per_metre);
    0.5 - 0.5 * product
}

/// Square wave of period 2 (+1 on [0, 1)) averaged over a width.
#[inline(always)]
fn square_wave<I: Isa>(x: F<I>, width: F<I>) -> F<I> {
    let (half, one) = (x.of(0.5), x.of(1.0));
    // So many squares from the origin, f32 no longer tells one from the next.
    let x = max(min(x, one.of(FARTHEST)), one.of(-FARTHEST));
    let cell = floor(x) * half;
    let odd = greater(cell, floor(cell));
    let sharp = select(odd, one.of(-1.0), one);
    let wide = at_least(width, one.of(SHARP_WIDTH));
    if !wide.any() {
        return sharp;
    }
    // Its integral is a triangle wave.
    let width = min(max(width, one.of(SHARP_WIDTH)), one.of(WIDEST));
    let soft = (triangle(x + half * width) - triangle(x - half * width)) / width;
    select(wide, soft, sharp)
}

#[inline(always)]
fn triangle<I: Isa>(x: F<I>) -> F<I> {
    let t = x * 0.5;
    1.0 - absolute((t - floor(t)) * 2.0 - 1.0)
}

impl super::model::Heaven {
    /// What rays see that meet nothing, by the sine of their elevation.
    #[inline(always)]
    fn radiance<I: Isa>(&self, elevation: F<I>) -> V3<I> {
        let isa = elevation.isa();
        let below = less(elevation, elevation.of(0.0));
        let horizon = V3::splat(isa, self.horizon);
        // Air mass thins quickly above the horizon.
        let fade = 1.0 - elevation;
        let above = mix(V3::splat(isa, self.zenith), horizon, fade * fade * fade);
        if !below.any() {
            return above;
        }
        let depth = min(elevation * -4.0, elevation.of(1.0));
        let under = mix(horizon, V3::splat(isa, self.ground), depth * depth * (3.0 - 2.0 * depth));
        V3::select(below, under, above)
    }

    #[inline(always)]
    fn irradiance<I: Isa>(&self, up: F<I>) -> V3<I> {
        let isa = up.isa();
        mix(V3::splat(isa, self.from_below), V3::splat(isa, self.from_above), 0.5 + 0.5 * up)
    }
}

#[cfg(test)]
mod tests {
    use super::super::isa::Portable;
    use super::*;

    fn wave(x: f32, width: f32) -> f32 {
        square_wave(F::splat(Portable, x), F::splat(Portable, width)).to_array()[0]
    }

    #[test]
    fn checker_averages_to_half_over_any_whole_period_and_is_sharp_up_close() {
        assert_eq!([wave(0.5, 0.0), wave(1.5, 0.0), wave(-0.5, 0.0), wave(-1.5, 0.0)], [1.0, -1.0, -1.0, 1.0]);
        for width in [0.02f32, 0.3, 0.9] {
            let inside = wave(0.5, width);
            assert!((inside - 1.0).abs() < 1e-4, "inside a square, width {width}: {inside}, expected 1");
        }
        for x in [0.0f32, 0.3, 0.9] {
            assert!(wave(x, 2.0).abs() < 1e-6, "a whole period at {x}: {}, expected 0", wave(x, 2.0));
            assert!(wave(x, 51.7).abs() < 0.03, "many periods at {x}: {}, expected about 0", wave(x, 51.7));
        }
    }
}
