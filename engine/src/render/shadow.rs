//! Shadows by rays: sharp where the light is a point, soft by its size, and anti-aliased by the
//! pixel's own footprint.
//!
//! Rays are only shot where they can meet something. The points of one surface in a tile first
//! collect the surfaces whose bounding sphere touches the bundle of rays between them and the light; eight
//! points at a time then keep those near their own rays; four probes at the rim of the light and of
//! the pixel decide which points are in penumbra, and only for those [`SAMPLES`] rays are shot.

use std::sync::LazyLock;

use super::lanes::{F, Isa, LANES, V3, at_least, each, greater, max, min, select};
use super::model::{Lamp, LampPlace, RenderModel};
use super::place::Placed;
use super::solid::Solid;
use crate::maths::Vec3;

/// Rays in penumbra.
const SAMPLES: usize = 16;
/// Rays that look for penumbra.
const PROBES: usize = 4;
/// Rays start off the surface by this part of the distance from the eye: about 100 roundings.
const BIAS: f32 = 1e-5;
/// A mesh shadows itself only past this part of its radius, so that facets of a smooth mesh do not.
const SELF_BIAS: f32 = 4e-3;

/// Offsets over the pixel (pixels, right and down) of the probes: its rim.
const PROBE_PIXEL: [[f32; 2]; PROBES] = [[-0.47, -0.35], [0.35, -0.47], [-0.35, 0.47], [0.47, 0.35]];
/// Offsets over the light's disc (radii) of the probes: its rim.
const PROBE_DISC: [[f32; 2]; PROBES] = [[0.9, -0.43], [0.43, 0.9], [-0.43, -0.9], [-0.9, 0.43]];

/// Offsets of eight samples over the pixel and over the light's disc.
struct Samples {
    pixel: [[f32; LANES]; 2],
    disc: [[f32; LANES]; 2],
}

/// Low-discrepancy pixel offsets (Hammersley) and a spiral of equal areas over the disc (Vogel), paired
/// in an order in which neither follows the other.
static PENUMBRA: LazyLock<[Samples; SAMPLES / LANES]> = LazyLock::new(|| {
    let reversed = [0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15];
    let turn = |i: usize| (i * 7 % SAMPLES) as f64;
    let radius = |i: usize| ((turn(i) + 0.5) / SAMPLES as f64).sqrt();
    let golden_angle = 2.399_963_229_728_653;
    std::array::from_fn(|eight| {
        let over = |f: &dyn Fn(usize) -> f64| each(|lane| f(eight * LANES + lane) as f32);
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

/// Lit points of one surface, camera's frame: where, and how they move with a pixel.
pub(super) struct Receivers<I: Isa> {
    pub p: V3<I>,
    pub normal: V3<I>,
    pub dp: [V3<I>; 2],
    /// Distance from the eye, metres.
    pub distance: F<I>,
    /// Index into the placed surfaces.
    pub index: u32,
    /// Lanes that matter.
    pub wanted: u32,
}

/// Lists of surfaces that may shadow some points.
#[derive(Default)]
pub(super) struct Casters {
    /// By light: indices into the placed surfaces.
    lists: Vec<Vec<u32>>,
    /// Those near the rays of a batch, with the lanes that they are near to.
    near: Vec<(u32, u32)>,
}

impl Casters {
    /// Collects, for every light, what can come between it and points of a surface within `radius` of `centre`.
    pub fn collect(
        &mut self,
        model: &RenderModel,
        placed: &[Placed],
        lamps: &[Lamp],
        receiver: u32,
        centre: Vec3,
        radius: f32,
    ) {
        self.lists.resize_with(lamps.len(), Vec::new);
        for (lamp, list) in lamps.iter().zip(&mut self.lists) {
            list.clear();
            if !lamp.shadows {
                continue;
            }
            for (caster, index) in placed.iter().zip(0u32..) {
                // A convex body does not shade its own lit side.
                let own = index == receiver && !matches!(model.surfaces[caster.surface].solid, Solid::Mesh(_));
                if caster.casts && !own && may_block(lamp, caster, centre, radius) {
                    list.push(index);
                }
            }
        }
    }

    /// True if something may shadow the points from a light.
    pub fn any(&self, lamp: usize) -> bool {
        self.lists.get(lamp).is_some_and(|list| !list.is_empty())
    }

    /// Parts of a light that points see, in [0, 1].
    #[inline(always)]
    pub fn visibility<I: Isa>(
        &mut self,
        model: &RenderModel,
        placed: &[Placed],
        (lamp_index, lamp): (usize, &Lamp),
        receivers: &Receivers<I>,
        antialias: bool,
    ) -> F<I> {
        let zero = receivers.distance.of(0.0);
        let one = zero.of(1.0);
        let Some(listed) = self.lists.get(lamp_index) else {
            return one;
        };
        let [right, down] = receivers.dp;
        let footprint = if antialias { (right.dot(right).sqrt() + down.dot(down).sqrt()) * 0.5 } else { zero };
        let sharp = !antialias && lamp.softness == 0.0;
        let over_pixel = if antialias { 1.0 } else { 0.0 };
        let bundle = Bundle::new(lamp, receivers);
        // Bit by bit, which lanes' probes are blocked.
        let mut blocked = [0u32; PROBES];
        self.near.clear();
        for &index in listed {
            let caster = &placed[index as usize];
            let near = may_block_lanes(lamp, caster, receivers.p, footprint).mask_bits() & receivers.wanted;
            if near == 0 {
                continue;
            }
            self.near.push((index, near));
            let solid = &model.surfaces[caster.surface].solid;
            let start = bundle.local(caster, index == receivers.index);
            for probe in 0..if sharp { 1 } else { PROBES } {
                let ([right, down], [x, y]) = (PROBE_PIXEL[probe], PROBE_DISC[probe]);
                let pixel = [zero.of(right * over_pixel), zero.of(down * over_pixel)];
                let disc = [zero.of(x * lamp.softness), zero.of(y * lamp.softness)];
                blocked[probe] |= start.blocked(solid, &bundle, pixel, disc, near);
            }
        }
        if self.near.is_empty() {
            return one;
        }
        let lit = |blocked: u32| each(|lane| if blocked & (1 << lane) == 0 { 1.0 } else { 0.0 });
        if sharp {
            return F::new(zero.isa(), lit(blocked[0]));
        }
        let [a, b, c, d] = blocked;
        let mut seen = lit(a | b | c | d);
        let mut penumbra = (a | b | c | d) & !(a & b & c & d);
        while penumbra != 0 {
            let lane = penumbra.trailing_zeros() as usize;
            seen[lane] = share(model, placed, lamp, &receivers.one(lane), &self.near, lane, over_pixel);
            penumbra &= penumbra - 1;
        }
        F::new(zero.isa(), seen)
    }
}

/// Part of a light that one point (in all lanes) sees, by [`SAMPLES`] rays.
#[inline(always)]
fn share<I: Isa>(
    model: &RenderModel,
    placed: &[Placed],
    lamp: &Lamp,
    receiver: &Receivers<I>,
    near: &[(u32, u32)],
    lane: usize,
    over_pixel: f32,
) -> f32 {
    const ALL: u32 = (1 << LANES) - 1;
    let isa = receiver.distance.isa();
    let bundle = Bundle::new(lamp, receiver);
    let mut blocked = [0u32; SAMPLES / LANES];
    for &(index, lanes) in near {
        if lanes & (1 << lane) == 0 {
            continue;
        }
        let caster = &placed[index as usize];
        let solid = &model.surfaces[caster.surface].solid;
        let start = bundle.local(caster, index == receiver.index);
        for (samples, blocked) in PENUMBRA.iter().zip(&mut blocked) {
            let ([right, down], [x, y]) = (samples.pixel, samples.disc);
            let pixel = [F::new(isa, right) * over_pixel, F::new(isa, down) * over_pixel];
            let disc = [F::new(isa, x) * lamp.softness, F::new(isa, y) * lamp.softness];
            *blocked |= start.blocked(solid, &bundle, pixel, disc, ALL & !*blocked);
        }
    }
    let blocked: u32 = blocked.iter().map(|bits| bits.count_ones()).sum();
    (SAMPLES as u32 - blocked) as f32 / SAMPLES as f32
}

impl<I: Isa> Receivers<I> {
    /// One lane's point in all lanes.
    #[inline(always)]
    fn one(&self, lane: usize) -> Self {
        Self {
            p: self.p.one(lane),
            normal: self.normal.one(lane),
            dp: [self.dp[0].one(lane), self.dp[1].one(lane)],
            distance: self.distance.one(lane),
            ..*self
        }
    }
}

/// Rays from points to a light: start at the point, moved over the pixel, and go to the light, moved over its disc.
struct Bundle<'a, I: Isa> {
    receivers: &'a Receivers<I>,
    bias: F<I>,
    /// To the light's middle, and across it; the light is `far` away in these units.
    way: V3<I>,
    across: [V3<I>; 2],
    sun: bool,
}

/// The same in a caster's frame.
struct Local<I: Isa> {
    start: V3<I>,
    dp: [V3<I>; 2],
    way: V3<I>,
    across: [V3<I>; 2],
    bias: F<I>,
}

impl<'a, I: Isa> Bundle<'a, I> {
    #[inline(always)]
    fn new(lamp: &Lamp, receivers: &'a Receivers<I>) -> Self {
        let isa = receivers.distance.isa();
        let (way, across, sun) = match lamp.place {
            LampPlace::Sun(towards) => {
                (V3::splat(isa, towards), [V3::splat(isa, lamp.across[0]), V3::splat(isa, lamp.across[1])], true)
            }
            LampPlace::Point(at) => {
                let way = V3::splat(isa, at).minus(receivers.p);
                (way, across(way.unit()), false)
            }
        };
        Self { receivers, bias: (receivers.distance + 1.0) * BIAS, way, across, sun }
    }

    #[inline(always)]
    fn local(&self, caster: &Placed, own: bool) -> Local<I> {
        let Receivers { p, normal, dp, .. } = self.receivers;
        let bias = if own { self.bias + SELF_BIAS * caster.radius } else { self.bias };
        let turn = &caster.local_from_camera;
        Local {
            start: V3::splat(bias.isa(), caster.eye).plus(p.plus(normal.times(bias)).turned(turn)),
            dp: [dp[0].turned(turn), dp[1].turned(turn)],
            way: self.way.turned(turn),
            across: [self.across[0].turned(turn), self.across[1].turned(turn)],
            bias,
        }
    }
}

impl<I: Isa> Local<I> {
    /// Lanes of `wanted` whose ray is blocked.
    #[inline(always)]
    fn blocked(&self, solid: &Solid, bundle: &Bundle<'_, I>, pixel: [F<I>; 2], disc: [F<I>; 2], wanted: u32) -> u32 {
        let moved = self.dp[0].times(pixel[0]).plus(self.dp[1].times(pixel[1]));
        let start = self.start.plus(moved);
        let way = self.way.plus(self.across[0].times(disc[0])).plus(self.across[1].times(disc[1]));
        if bundle.sun {
            return solid.blocks(start, way, self.bias, self.bias.of(f32::INFINITY), wanted);
        }
        let way = way.minus(moved);
        let length = way.dot(way).sqrt();
        solid.blocks(start, way.times(1.0 / max(length, length.of(1e-12))), self.bias, length, wanted)
    }
}

/// Two unit vectors that complete unit vectors to frames.
#[inline(always)]
fn across<I: Isa>(axis: V3<I>) -> [V3<I>; 2] {
    let (zero, one) = (axis.z.of(0.0), axis.z.of(1.0));
    let steep = greater(axis.z * axis.z, zero.of(0.81));
    let helper = V3 { x: select(steep, one, zero), y: zero, z: select(steep, zero, one) };
    let first = cross(axis, helper).unit();
    [first, cross(axis, first)]
}

#[inline(always)]
fn cross<I: Isa>(a: V3<I>, b: V3<I>) -> V3<I> {
    V3 { x: a.y * b.z - a.z * b.y, y: a.z * b.x - a.x * b.z, z: a.x * b.y - a.y * b.x }
}

/// [`may_block`] for eight balls.
#[inline(always)]
fn may_block_lanes<I: Isa>(lamp: &Lamp, caster: &Placed, centre: V3<I>, radius: F<I>) -> F<I> {
    let zero = radius.of(0.0);
    let isa = radius.isa();
    let to_caster = V3::splat(isa, caster.centre).minus(centre);
    let reach = caster.radius + radius;
    match lamp.place {
        LampPlace::Sun(towards) => {
            let along = to_caster.along(towards);
            let wide = reach + (max(along, zero) + reach) * lamp.softness;
            let near = at_least(wide * wide, to_caster.dot(to_caster) - along * along);
            near & at_least(along, 0.0 - reach)
        }
        LampPlace::Point(at) => {
            let ray = V3::splat(isa, at).minus(centre);
            let length = max(ray.dot(ray), zero.of(1e-30));
            let s = min(max(to_caster.dot(ray) / length, zero), zero.of(1.0));
            let apart = to_caster.minus(ray.times(s));
            let wide = reach + lamp.softness;
            at_least(wide * wide, apart.dot(apart))
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
