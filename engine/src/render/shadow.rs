//! Shadows by rays: sharp where the light is a point, soft by its size, and anti-aliased by the
//! pixel's own footprint.
//!
//! Rays are only shot where they can meet something. A tile of the picture first collects the
//! surfaces whose bounding sphere touches the bundle of rays between the tile's points and the
//! light; a pixel then keeps those near its own ray; four probes at the rim of the light and of
//! the pixel decide whether the pixel is in penumbra, and only there [`SAMPLES`] rays are shot.

use std::sync::LazyLock;

use super::lanes::{F, LANES, M3, V3, each, max, splat};
use super::model::{Lamp, LampPlace, RenderModel, across};
use super::place::Placed;
use super::solid::Solid;
use super::vector::normalised;
use crate::maths::Vec3;

/// Rays in penumbra.
const SAMPLES: usize = 16;
/// All lanes.
const ALL: u32 = (1 << LANES) - 1;
/// Rays start off the surface by this part of the distance from the eye: about 100 roundings.
const BIAS: f32 = 1e-5;
/// A mesh shadows itself only past this part of its radius, so that facets of a smooth mesh do not.
const SELF_BIAS: f32 = 4e-3;

/// Four offsets over the pixel (pixels) and over the light's disc (radii).
struct Samples {
    pixel: [F; 2],
    disc: [F; 2],
}

static MIDDLE: LazyLock<Samples> = LazyLock::new(|| Samples { pixel: [splat(0.0); 2], disc: [splat(0.0); 2] });

/// Rim of pixel and disc.
static PROBES: LazyLock<Samples> = LazyLock::new(|| Samples {
    pixel: [F::new([-0.47, 0.35, -0.35, 0.47]), F::new([-0.35, -0.47, 0.47, 0.35])],
    disc: [F::new([0.9, 0.43, -0.43, -0.9]), F::new([-0.43, 0.9, -0.9, 0.43])],
});

/// Low-discrepancy pixel offsets (Hammersley) and a spiral of equal areas over the disc (Vogel), paired
/// in an order in which neither follows the other.
static PENUMBRA: LazyLock<[Samples; SAMPLES / LANES]> = LazyLock::new(|| {
    let reversed = [0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15];
    let turn = |i: usize| (i * 7 % SAMPLES) as f64;
    let radius = |i: usize| ((turn(i) + 0.5) / SAMPLES as f64).sqrt();
    let golden_angle = 2.399_963_229_728_653;
    std::array::from_fn(|four| {
        let over = |f: &dyn Fn(usize) -> f64| F::new(each(|lane| f(four * LANES + lane) as f32));
        Samples {
            pixel: [
                over(&|i| (i as f64 + 0.5) / SAMPLES as f64 - 0.5),
                over(&|i| (f64::from(reversed[i]) + 0.5) / SAMPLES as f64 - 0.5),
            ],
            disc: [
                over(&|i| radius(i) * crate::maths::cos(turn(i) * golden_angle)),
                over(&|i| radius(i) * crate::maths::sin(turn(i) * golden_angle)),
            ],
        }
    })
});

/// A lit point: where, how it moves with a pixel, and on what.
pub(super) struct Receiver {
    pub p: Vec3,
    pub normal: Vec3,
    pub dp: [Vec3; 2],
    /// Distance from the eye, metres.
    pub distance: f32,
    /// Index into the placed surfaces.
    pub surface: u32,
}

/// Lists of surfaces that may shadow a tile, and a pixel of it.
#[derive(Default)]
pub(super) struct Casters {
    /// By light: indices into the placed surfaces.
    tile: Vec<Vec<u32>>,
    pixel: Vec<u32>,
}

impl Casters {
    /// Collects, for every light, what can come between it and the points within `radius` of `centre`.
    pub fn collect(&mut self, lamps: &[Lamp], placed: &[Placed], centre: Vec3, radius: f32) {
        self.tile.resize_with(lamps.len(), Vec::new);
        for (lamp, list) in lamps.iter().zip(&mut self.tile) {
            list.clear();
            if !lamp.shadows {
                continue;
            }
            for (index, caster) in placed.iter().enumerate() {
                if caster.casts && may_block(lamp, caster, centre, radius) {
                    list.push(index as u32);
                }
            }
        }
    }

    /// True if something may shadow the tile from a light.
    pub fn any(&self, lamp: usize) -> bool {
        self.tile.get(lamp).is_some_and(|list| !list.is_empty())
    }

    /// Part of a light that a point sees, in [0, 1].
    pub fn visibility(
        &mut self,
        model: &RenderModel,
        placed: &[Placed],
        lamp_index: usize,
        receiver: &Receiver,
        antialias: bool,
    ) -> f32 {
        let lamp = &model.lights[lamp_index];
        let Some(listed) = self.tile.get(lamp_index).filter(|list| !list.is_empty()) else {
            return 1.0;
        };
        let spread = |v: Vec3| v.dot(v).sqrt();
        let footprint = if antialias { 0.5 * (spread(receiver.dp[0]) + spread(receiver.dp[1])) } else { 0.0 };
        self.pixel.clear();
        for &index in listed {
            let own = index == receiver.surface;
            let caster = &placed[index as usize];
            let convex = !matches!(model.surfaces[caster.surface].solid, Solid::Mesh(_));
            if !(own && convex) && may_block(lamp, caster, receiver.p, footprint) {
                self.pixel.push(index);
            }
        }
        if self.pixel.is_empty() {
            return 1.0;
        }
        let scene =
            Blockers { model, placed, near: &self.pixel, lamp, receiver, pixel: if antialias { 1.0 } else { 0.0 } };
        if !antialias && lamp.softness == 0.0 {
            return if scene.blocked(&MIDDLE) == 0 { 1.0 } else { 0.0 };
        }
        match scene.blocked(&PROBES) {
            0 => 1.0,
            ALL => 0.0,
            _ => {
                let blocked: u32 = PENUMBRA.iter().map(|four| scene.blocked(four).count_ones()).sum();
                (SAMPLES as u32 - blocked) as f32 / SAMPLES as f32
            }
        }
    }
}

/// True if the caster's sphere touches the rays from a ball (centre, radius) to the light.
fn may_block(lamp: &Lamp, caster: &Placed, centre: Vec3, radius: f32) -> bool {
    let to_caster = caster.centre - centre;
    let reach = caster.radius + radius;
    match lamp.place {
        LampPlace::Sun(towards) => {
            let along = to_caster.dot(towards);
            if along < -reach {
                return false;
            }
            let wide = reach + lamp.softness * (along.max(0.0) + reach);
            to_caster.dot(to_caster) - along * along <= wide * wide
        }
        LampPlace::Point(at) => {
            let ray = at - centre;
            let length = ray.dot(ray);
            let s = if length > 0.0 { (to_caster.dot(ray) / length).clamp(0.0, 1.0) } else { 0.0 };
            let apart = to_caster - ray * s;
            let wide = reach + lamp.softness;
            apart.dot(apart) <= wide * wide
        }
    }
}

struct Blockers<'a> {
    model: &'a RenderModel,
    placed: &'a [Placed],
    near: &'a [u32],
    lamp: &'a Lamp,
    receiver: &'a Receiver,
    /// 1 to spread samples over the pixel, 0 to keep them in its middle.
    pixel: f32,
}

impl Blockers<'_> {
    /// Bit by bit, which of four rays are blocked.
    fn blocked(&self, samples: &Samples) -> u32 {
        let Receiver { p, normal, dp, distance, surface } = self.receiver;
        let [right, down] = [samples.pixel[0] * splat(self.pixel), samples.pixel[1] * splat(self.pixel)];
        let softness = splat(self.lamp.softness);
        let [x, y] = [samples.disc[0] * softness, samples.disc[1] * softness];
        let start = V3::splat(*p).plus(V3::splat(dp[0]).times(right)).plus(V3::splat(dp[1]).times(down));
        // The ray is start + t·way with t up to `far`.
        let (way, far) = match self.lamp.place {
            LampPlace::Sun(towards) => {
                let [a, b] = [V3::splat(self.lamp.across[0]), V3::splat(self.lamp.across[1])];
                (V3::splat(towards).plus(a.times(x)).plus(b.times(y)), splat(f32::INFINITY))
            }
            LampPlace::Point(at) => {
                let [a, b] = across(normalised(at - *p)).map(V3::splat);
                let way = V3::splat(at).plus(a.times(x)).plus(b.times(y)).minus(start);
                let length = way.dot(way).sqrt();
                (way.times(splat(1.0) / max(length, splat(1e-12))), length)
            }
        };
        let bias = BIAS * (1.0 + distance);
        let mut blocked = 0;
        for &index in self.near {
            let caster = &self.placed[index as usize];
            let bias = if index == *surface { bias + SELF_BIAS * caster.radius } else { bias };
            let local = M3::splat(&caster.local_from_world);
            let origin = local.turn(start.plus(V3::splat(*normal * bias - caster.origin)));
            let solid = &self.model.surfaces[caster.surface].solid;
            blocked |= solid.blocks(origin, local.turn(way), bias, far).to_bitmask();
            if blocked == ALL {
                break;
            }
        }
        blocked
    }
}
