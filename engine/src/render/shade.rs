//! Colour of what pixels see, in linear light, four at a time.
//!
//! Lambert plus GGX highlights (B. Walter et al., "Microfacet Models for Refraction through Rough
//! Surfaces", 2007; visibility term after E. Hammon, 2017; Fresnel after C. Schlick, 1994), lights
//! of [`super::model::Lamp`], and the sky as ambient light and as what smooth surfaces reflect.
//! White paper that faces a light of strength 1 has radiance 1: factors of π cancel.

use super::lanes::{
    F, LANES, M3, V3, absolute, at_least, each, fifth, floor, greater, less, max, min, mix, select, splat,
};
use super::model::{Lamp, LampPlace, RenderModel, Surface};
use super::place::{Eye, Placed};
use super::shadow::{Casters, Receiver};
use super::texture::{Pattern, SHARP_WIDTH, SINK, Spot, WIDEST};
use super::tone;
use super::visibility::Hit;
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
    pub eye: &'a Eye,
    pub shadows: bool,
    pub antialias: bool,
}

/// A point to shade.
#[derive(Clone, Copy)]
pub(super) struct Job {
    /// What is seen; not the sky.
    pub hit: Hit,
    /// Ray that sees it, camera's frame.
    pub d: Vec3,
    /// Normal in the camera's frame.
    pub normal: Vec3,
}

/// Four points on their way to a colour.
struct Batch<'a> {
    placed: [&'a Placed; LANES],
    surfaces: [&'a Surface; LANES],
    d: V3,
    t: F,
    p: V3,
    normal: V3,
    view: V3,
    /// How p moves with a pixel to the right and down.
    dp: [V3; 2],
    distance: F,
}

/// How a surface answers light.
struct Response {
    diffuse: V3,
    f0: V3,
    alpha: F,
    roughness: F,
    /// Cosine between normal and view.
    facing: F,
}

impl Shader<'_> {
    /// Display-referred linear colour of the sky on a ray (camera's frame).
    pub fn sky(&self, d: Vec3) -> Vec3 {
        let r = self.eye.rotation;
        let up = r.x_axis.z * d.x + r.y_axis.z * d.y + r.z_axis.z;
        tone::tone_map(self.model.sky.radiance(up / d.dot(d).sqrt()))
    }

    /// Display-referred linear colours of four points.
    pub fn colours(&self, jobs: [&Job; LANES], casters: &mut Casters) -> [Vec3; LANES] {
        let batch = self.batch(jobs);
        let base = self.base(&batch, jobs);
        let gather = |f: fn(&Surface) -> f32| F::new(each(|i| f(batch.surfaces[i])));
        let metallic = gather(|s| s.metallic);
        let dielectric = V3::grey(splat(DIELECTRIC_F0));
        let response = Response {
            diffuse: base.times(splat(1.0) - metallic),
            f0: mix(dielectric, base, metallic),
            alpha: gather(|s| s.alpha),
            roughness: gather(|s| s.roughness),
            facing: max(batch.normal.dot(batch.view), splat(LEAST_COSINE)),
        };
        let mut light = self.ambient(&batch, &response);
        for (index, lamp) in self.model.lights.iter().enumerate() {
            light = light.plus(self.lit(&batch, &response, index, lamp, jobs, casters));
        }
        tone::tone_map_lanes(light).scatter()
    }

    fn batch(&self, jobs: [&Job; LANES]) -> Batch<'_> {
        let placed = each(|i| &self.placed[jobs[i].hit.surface as usize]);
        let d = V3::gather(each(|i| jobs[i].d));
        let t = F::new(each(|i| jobs[i].hit.t));
        let world = M3::splat(&self.eye.rotation);
        let normal = world.turn(V3::gather(each(|i| jobs[i].normal)));
        let ray = world.turn(d);
        let length = ray.dot(ray).sqrt();
        // On the tangent plane n·dp = 0.
        let slope = min(normal.dot(ray), length * splat(-LEAST_COSINE));
        let r = self.eye.rotation;
        let moved = |turn: Vec3| {
            let turn = V3::splat(turn);
            turn.minus(ray.times(normal.dot(turn) / slope)).times(t)
        };
        let dp = [moved(r.x_axis * self.eye.step[0]), moved(r.y_axis * self.eye.step[1])];
        Batch {
            placed,
            surfaces: each(|i| &self.model.surfaces[placed[i].surface]),
            d,
            t,
            p: V3::splat(self.eye.position).plus(ray.times(t)),
            normal,
            view: ray.times(splat(-1.0) / length),
            dp,
            distance: length * t,
        }
    }

    /// Base colours with their patterns.
    fn base(&self, batch: &Batch<'_>, jobs: [&Job; LANES]) -> V3 {
        let plain = V3::gather(each(|i| batch.surfaces[i].colour));
        if batch.surfaces.iter().all(|s| matches!(s.pattern, Pattern::Plain)) {
            return plain;
        }
        let [first, ..] = batch.placed;
        let (local, turn) = if batch.placed.iter().all(|at| std::ptr::eq(*at, first)) {
            (M3::splat(&first.local_from_world), M3::splat(&first.local_from_camera))
        } else {
            let gather = |f: fn(&Placed) -> &crate::maths::Mat3| M3::gather(each(|i| f(batch.placed[i])));
            (gather(|at| &at.local_from_world), gather(|at| &at.local_from_camera))
        };
        let ray = turn.turn(batch.d);
        let p = V3::gather(each(|i| batch.placed[i].eye)).plus(ray.times(batch.t));
        let normal = local.turn(batch.normal);
        let dp = [local.turn(batch.dp[0]), local.turn(batch.dp[1])];
        let checks = each(|i| match &batch.surfaces[i].pattern {
            Pattern::Checker(other, per_metre) => (*other, *per_metre, 1.0f32),
            _ => (Vec3::ZERO, 1.0, 0.0),
        });
        let mut base = plain;
        if checks.iter().any(|c| c.2 > 0.0) {
            let share = checker(p, normal, dp, F::new(each(|i| checks[i].1))) * F::new(each(|i| checks[i].2));
            base = mix(plain, V3::gather(each(|i| checks[i].0)), share);
        }
        if batch.surfaces.iter().all(|s| matches!(s.pattern, Pattern::Plain | Pattern::Checker(..))) {
            return base;
        }
        let (p, dp) = (p.scatter(), [dp[0].scatter(), dp[1].scatter()]);
        let mut colours = base.scatter();
        for lane in 0..LANES {
            let surface = batch.surfaces[lane];
            let spot = Spot { p: p[lane], dp: [dp[0][lane], dp[1][lane]] };
            let face = jobs[lane].hit.face;
            if let Some(colour) = surface.pattern.colour(surface.colour, &spot, |p| surface.solid.uv(p, face)) {
                colours[lane] = colour;
            }
        }
        V3::gather(colours)
    }

    /// Light of the sky, diffuse and reflected.
    fn ambient(&self, batch: &Batch<'_>, response: &Response) -> V3 {
        let sky = &self.model.sky;
        let Response { diffuse, f0, roughness, facing, .. } = *response;
        let soft = sky.irradiance_lanes(batch.normal.z);
        // Rough surfaces lose the grazing reflection (S. Lagarde's form of Schlick's term).
        let smooth = splat(1.0) - roughness;
        let edge = V3 { x: max(f0.x, smooth), y: max(f0.y, smooth), z: max(f0.z, smooth) };
        let fresnel = mix(f0, edge, fifth(splat(1.0) - facing));
        let mirrored = batch.normal.z * splat(2.0) * batch.normal.dot(batch.view) - batch.view.z;
        let reflected = mix(sky.radiance_lanes(mirrored).times(splat(sky.mirrored)), soft, roughness);
        soft.tinted(diffuse).plus(reflected.tinted(fresnel))
    }

    /// What one light adds.
    fn lit(
        &self,
        batch: &Batch<'_>,
        response: &Response,
        index: usize,
        lamp: &Lamp,
        jobs: [&Job; LANES],
        casters: &mut Casters,
    ) -> V3 {
        let (towards, strength) = match lamp.place {
            LampPlace::Sun(towards) => (V3::splat(towards), splat(1.0)),
            LampPlace::Point(place) => {
                let way = V3::splat(place).minus(batch.p);
                (way.unit(), splat(1.0) / max(way.dot(way), splat(1e-4)))
            }
        };
        let cosine = max(batch.normal.dot(towards), splat(0.0));
        let none = V3::splat(Vec3::ZERO);
        if !greater(cosine, splat(0.0)).any() {
            return none;
        }
        let mut seen = strength;
        if self.shadows && lamp.shadows && casters.any(index) {
            seen *= self.seen(batch, index, cosine.to_array(), jobs, casters);
        }
        if !greater(seen * cosine, splat(0.0)).any() {
            return none;
        }
        let highlight = highlight(batch, response, towards, cosine);
        response.diffuse.plus(highlight).tinted(V3::splat(lamp.power)).times(cosine * seen)
    }

    /// Parts of a light that the points see.
    #[inline(never)]
    fn seen(
        &self,
        batch: &Batch<'_>,
        index: usize,
        cosine: [f32; LANES],
        jobs: [&Job; LANES],
        casters: &mut Casters,
    ) -> F {
        let (p, dp, distance) =
            (batch.p.scatter(), [batch.dp[0].scatter(), batch.dp[1].scatter()], batch.distance.to_array());
        let normal = batch.normal.scatter();
        let mut seen = [0.0; LANES];
        for lane in 0..LANES {
            if cosine[lane] <= 0.0 {
                continue;
            }
            let receiver = Receiver {
                p: p[lane],
                normal: normal[lane],
                dp: [dp[0][lane], dp[1][lane]],
                distance: distance[lane],
                surface: jobs[lane].hit.surface,
            };
            seen[lane] = casters.visibility(self.model, self.placed, index, &receiver, self.antialias);
        }
        F::new(seen)
    }
}

/// Specular reflectance times π.
fn highlight(batch: &Batch<'_>, response: &Response, towards: V3, cosine: F) -> V3 {
    let Response { f0, alpha, facing, .. } = *response;
    let one = splat(1.0);
    let half = batch.view.plus(towards).unit();
    let nh = max(batch.normal.dot(half), splat(0.0));
    let a2 = alpha * alpha;
    let spread = nh * nh * (a2 - one) + one;
    let shadowing = splat(2.0) * cosine * facing * (one - alpha) + (cosine + facing) * alpha;
    let fresnel = mix(f0, V3::splat(Vec3::ONE), fifth(one - min(max(batch.view.dot(half), splat(0.0)), one)));
    fresnel.times(a2 / (splat(2.0) * spread * spread * shadowing))
}

/// Share of a checker's second colour in each pixel: 0 or 1 inside a square.
fn checker(p: V3, normal: V3, dp: [V3; 2], per_metre: F) -> F {
    let sunk = p.times(per_metre).minus(normal.times(splat(SINK)));
    let wave = |x: F, dx: F, dy: F| square_wave(x, (absolute(dx) + absolute(dy)) * per_metre);
    let product = wave(sunk.x, dp[0].x, dp[1].x) * wave(sunk.y, dp[0].y, dp[1].y) * wave(sunk.z, dp[0].z, dp[1].z);
    splat(0.5) - splat(0.5) * product
}

/// Square wave of period 2 (+1 on [0, 1)) averaged over a width.
fn square_wave(x: F, width: F) -> F {
    let (half, one) = (splat(0.5), splat(1.0));
    // So many squares from the origin, f32 no longer tells one from the next.
    let x = max(min(x, splat(FARTHEST)), splat(-FARTHEST));
    let cell = floor(x) * half;
    let odd = greater(cell, floor(cell));
    let sharp = select(odd, splat(-1.0), one);
    let wide = at_least(width, splat(SHARP_WIDTH));
    if !wide.any() {
        return sharp;
    }
    // Its integral is a triangle wave.
    let width = min(max(width, splat(SHARP_WIDTH)), splat(WIDEST));
    let triangle = |x: F| {
        let t = x * half;
        one - absolute((t - floor(t)) * splat(2.0) - one)
    };
    let soft = (triangle(x + half * width) - triangle(x - half * width)) / width;
    select(wide, soft, sharp)
}

impl super::model::Heaven {
    /// [`super::model::Heaven::radiance`] of four rays.
    fn radiance_lanes(&self, elevation: F) -> V3 {
        let one = splat(1.0);
        let fade = one - elevation;
        let above = mix(V3::splat(self.zenith), V3::splat(self.horizon), fade * fade * fade);
        let depth = min(elevation * splat(-4.0), one);
        let below =
            mix(V3::splat(self.horizon), V3::splat(self.ground), depth * depth * (splat(3.0) - splat(2.0) * depth));
        V3::select(less(elevation, splat(0.0)), below, above)
    }

    fn irradiance_lanes(&self, up: F) -> V3 {
        mix(V3::splat(self.from_below), V3::splat(self.from_above), splat(0.5) + splat(0.5) * up)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wave(x: f32, width: f32) -> f32 {
        square_wave(splat(x), splat(width)).to_array()[0]
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
