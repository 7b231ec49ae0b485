//! Where each visible point is at another instant, and whether it is seen there.
//!
//! A pixel's surface point is carried rigidly by its body from one instant to the other and
//! projected. It is occluded there if it is out of the picture, not in front of the camera, its body is
//! gone, or the picture shows something nearer in the pixel that it falls into. That picture is
//! known at pixel centres only, so the test has two tolerances. Another body must be nearer by
//! [`RELATIVE`]; an occluder's outline is then known to half a pixel. For the same body the depth of a
//! slanted surface changes between the centre and the point by up to half a pixel's slope, which is
//! taken from the neighbours in inverse depth (linear over a plane, so exact there). The sky turns
//! with the camera and is occluded where a surface is seen.

use super::isa::{Choice, Work, dispatch};
use super::lanes::{F, Isa, LANES, V3, absolute, at_least, each, greater, min, same, select};
use super::vector::Motion;
use crate::gbuffer::{FlowField, GBuffer, SKY};
use crate::maths::{Mat3, Vec3};
use crate::state::BodyState;
use crate::view::View;

/// Part of the depth by which an occluder must be nearer.
const RELATIVE: f32 = 2e-3;
/// Where no neighbour tells the slope, a surface of the same body must be nearer by this part of the depth.
const UNKNOWN_SLOPE: f32 = 2e-2;
/// Factor on the slope: neighbouring differences vary on curved surfaces.
const SLOPE_SLACK: f32 = 1.25;

/// Two instants of one camera.
pub struct FlowInput<'a> {
    /// Camera at the instant whose pixels get a displacement.
    pub from: &'a View,
    /// Camera at the other instant.
    pub to: &'a View,
    /// Pixels at `from` (depth and instance).
    pub from_pixels: &'a GBuffer,
    /// Pixels at `to` (depth and instance), for occlusion.
    pub to_pixels: &'a GBuffer,
}

/// How the points of a body move in the camera's frame.
#[derive(Clone, Copy)]
enum Move {
    /// Not at all: no displacement, exactly.
    Still,
    By(Mat3, Vec3),
    Gone,
}

/// Where each visible point of `from` is at `to`, and whether it is seen there. Both pictures need depth
/// and instance ids; without them (or with views of other sizes) the field is empty.
pub fn flow(input: &FlowInput<'_>, from_bodies: &[BodyState], to_bodies: &[BodyState]) -> FlowField {
    flow_with(Choice::default(), input, from_bodies, to_bodies)
}

/// [`flow`] with an instruction set.
pub(super) fn flow_with(
    instructions: Choice,
    input: &FlowInput<'_>,
    from_bodies: &[BodyState],
    to_bodies: &[BodyState],
) -> FlowField {
    let (from, to) = (input.from, input.to);
    let complete = |pixels: &GBuffer, view: &View| {
        let size = view.width as usize * view.height as usize;
        pixels.depth_m.len() == size && pixels.instance.len() == size
    };
    if !complete(input.from_pixels, from) || !complete(input.to_pixels, to) {
        return FlowField::default();
    }
    let moves = moves(from, to, from_bodies, to_bodies);
    let (width, height) = (from.width as usize, from.height as usize);
    let [fx, _, cx, _] = from.intrinsics;
    let columns = (0..width.next_multiple_of(LANES)).map(|x| (x as f32 + 0.5 - cx) / fx).collect();
    let mut field = FlowField { displacement: vec![[0.0; 2]; width * height], occluded: vec![true; width * height] };
    if width > 0 && to.width > 0 && to.height > 0 {
        let target = Target::new(to, input.to_pixels);
        dispatch(instructions, Carry { input, moves: &moves, target, columns, field: &mut field });
    }
    field
}

/// Fills the field.
struct Carry<'a> {
    input: &'a FlowInput<'a>,
    moves: &'a [Move],
    target: Target<'a>,
    /// First component of the rays of the columns, on to a whole number of batches.
    columns: Vec<f32>,
    field: &'a mut FlowField,
}

impl Work for Carry<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let Self { input, moves, target, columns, field } = self;
        let width = input.from.width as usize;
        let [_, fy, _, cy] = input.from.intrinsics;
        let counting = F::new(isa, std::array::from_fn(|i| i as f32 + 0.5));
        let rows = input.from_pixels.instance.chunks_exact(width).zip(input.from_pixels.depth_m.chunks_exact(width));
        let out = field.displacement.chunks_exact_mut(width).zip(field.occluded.chunks_exact_mut(width));
        for (y, ((ids, depths), (displacement, occluded))) in rows.zip(out).enumerate() {
            let down = F::splat(isa, (y as f32 + 0.5 - cy) / fy);
            let middle = F::splat(isa, y as f32 + 0.5);
            for (batch, across) in columns.as_chunks::<LANES>().0.iter().enumerate() {
                let x = batch * LANES;
                let size = LANES.min(width - x);
                let (mut id, mut depth) = ([0u16; LANES], [1.0f32; LANES]);
                if let (Some(ids), Some(depths)) = (ids[x..].first_chunk(), depths[x..].first_chunk()) {
                    (id, depth) = (*ids, *depths);
                } else {
                    id[..size].copy_from_slice(&ids[x..]);
                    depth[..size].copy_from_slice(&depths[x..]);
                }
                let points = Points {
                    id: each(|i| u32::from(id[i])),
                    ray: V3 { x: F::new(isa, *across), y: down, z: down.of(1.0) },
                    depth: F::new(isa, depth),
                    centre: [counting + x as f32, middle],
                };
                let landed = target.carry(moves, &points);
                let hidden = target.hidden(&points, &landed);
                let (dx, dy) = (landed.moved[0].to_array(), landed.moved[1].to_array());
                let moved: [[f32; 2]; LANES] = each(|i| [dx[i], dy[i]]);
                let hidden: [bool; LANES] = each(|i| hidden & (1 << i) != 0);
                let room = (displacement[x..].first_chunk_mut(), occluded[x..].first_chunk_mut());
                if let (Some(displacement), Some(occluded)) = room {
                    (*displacement, *occluded) = (moved, hidden);
                } else {
                    displacement[x..].copy_from_slice(&moved[..size]);
                    occluded[x..].copy_from_slice(&hidden[..size]);
                }
            }
        }
    }
}

/// Eight pixels to carry.
struct Points<I: Isa> {
    id: [u32; LANES],
    ray: V3<I>,
    depth: F<I>,
    centre: [F<I>; 2],
}

/// Where they land.
struct Landed<I: Isa> {
    /// Displacement; zero for a point that is nowhere.
    moved: [F<I>; 2],
    /// Pixel coordinates and depth.
    at: [F<I>; 2],
    z: F<I>,
    /// Mask of those in the picture and in front of the camera.
    inside: F<I>,
}

/// By instance id.
fn moves(from: &View, to: &View, from_bodies: &[BodyState], to_bodies: &[BodyState]) -> Vec<Move> {
    let camera = Motion::from_pose(&from.world_from_camera);
    let camera_to = Motion::from_pose(&to.world_from_camera).inverse();
    let same_camera = from == to;
    let sky = if same_camera { Move::Still } else { Move::By(camera_to.after(&camera).rotation(), Vec3::ZERO) };
    let body = |(a, b): (&BodyState, Option<&BodyState>)| match b {
        Some(b) if a.present && b.present => {
            if same_camera && a.pose == b.pose {
                return Move::Still;
            }
            // Through the body's frame, so that what rests in the camera's frame hardly cancels.
            let body_from_camera = Motion::from_pose(&a.pose).inverse().after(&camera);
            let camera_from_body = camera_to.after(&Motion::from_pose(&b.pose));
            let moved = camera_from_body.after(&body_from_camera);
            Move::By(moved.rotation(), moved.translation())
        }
        _ => Move::Gone,
    };
    let others = (0..from_bodies.len()).map(|index| body((&from_bodies[index], to_bodies.get(index))));
    std::iter::once(sky).chain(others).collect()
}

/// The picture at the other instant.
struct Target<'a> {
    view: &'a View,
    pixels: &'a GBuffer,
    width: usize,
    height: usize,
}

impl<'a> Target<'a> {
    fn new(view: &'a View, pixels: &'a GBuffer) -> Self {
        Self { view, pixels, width: view.width as usize, height: view.height as usize }
    }

    /// Carries points by the moves of their bodies.
    #[inline(always)]
    fn carry<I: Isa>(&self, moves: &[Move], points: &Points<I>) -> Landed<I> {
        const ALL: u32 = (1 << LANES) - 1;
        let Points { id, ray, depth, centre } = points;
        let isa = depth.isa();
        let [fx, fy, cx, cy] = self.view.intrinsics;
        let zero = depth.of(0.0);
        let nowhere = depth.of(-1.0);
        let mut landed = Landed { moved: [zero; 2], at: [nowhere; 2], z: zero, inside: zero };
        let mut pending = ALL;
        while pending != 0 {
            let first = id[pending.trailing_zeros() as usize % LANES];
            let mask = same(isa, *id, [first; LANES]);
            pending &= !mask.mask_bits();
            match &moves[(first as usize).min(moves.len() - 1)] {
                Move::Gone => {}
                Move::Still => {
                    landed.at = [select(mask, centre[0], landed.at[0]), select(mask, centre[1], landed.at[1])];
                    landed.z = select(mask, *depth, landed.z);
                }
                Move::By(turn, shift) => {
                    let p = if first == u32::from(SKY) {
                        ray.turned(turn)
                    } else {
                        ray.times(*depth).turned(turn).plus(V3::splat(isa, *shift))
                    };
                    let mask = mask & greater(p.z, zero);
                    let inverse = 1.0 / p.z;
                    let (u, v) = (p.x * inverse * fx + cx, p.y * inverse * fy + cy);
                    landed.moved =
                        [select(mask, u - centre[0], landed.moved[0]), select(mask, v - centre[1], landed.moved[1])];
                    landed.at = [select(mask, u, landed.at[0]), select(mask, v, landed.at[1])];
                    landed.z = select(mask, p.z, landed.z);
                }
            }
        }
        let [u, v] = landed.at;
        let within = at_least(u, zero) & at_least(v, zero);
        landed.inside = within & greater(zero.of(self.width as f32), u) & greater(zero.of(self.height as f32), v);
        landed
    }

    /// Bit by bit, which of the points that landed are not seen.
    #[inline(always)]
    fn hidden<I: Isa>(&self, points: &Points<I>, landed: &Landed<I>) -> u32 {
        const ALL: u32 = (1 << LANES) - 1;
        let isa = landed.z.isa();
        let inside = landed.inside.mask_bits();
        let zero = landed.z.of(0.0);
        let column = select(landed.inside, landed.at[0], zero).integers();
        let row = select(landed.inside, landed.at[1], zero).integers();
        let at: [usize; LANES] = each(|i| row[i] as usize * self.width + column[i] as usize);
        let shown = F::new(isa, each(|i| self.pixels.depth_m.get(at[i]).copied().unwrap_or(0.0)));
        let sky = same(isa, points.id, [u32::from(SKY); LANES]).mask_bits();
        let clear = at_least(shown, landed.z * (1.0 - RELATIVE)).mask_bits();
        let mut hidden = ALL & !inside;
        if inside & sky != 0 {
            let seen = each(|i| self.pixels.instance.get(at[i]).map_or(u32::from(SKY), |&id| u32::from(id)));
            hidden |= inside & sky & !same(isa, seen, [u32::from(SKY); LANES]).mask_bits();
        }
        let doubtful = inside & !sky & !clear;
        if doubtful == 0 {
            return hidden;
        }
        // Something else is nearer, or the surface of the same body slopes.
        let mut own = 0;
        let mut beside = [[0.0; LANES]; 4];
        let mut pending = doubtful;
        while pending != 0 {
            let lane = pending.trailing_zeros() as usize % LANES;
            pending &= pending - 1;
            let (id, at) = (points.id[lane] as u16, at[lane]);
            if self.pixels.instance[at] != id {
                hidden |= 1 << lane;
                continue;
            }
            own |= 1 << lane;
            let (column, row) = (column[lane] as usize, row[lane] as usize);
            beside[0][lane] = if column > 0 { self.depth_of(id, at - 1) } else { 0.0 };
            beside[1][lane] = if column + 1 < self.width { self.depth_of(id, at + 1) } else { 0.0 };
            beside[2][lane] = if row > 0 { self.depth_of(id, at - self.width) } else { 0.0 };
            beside[3][lane] = if row + 1 < self.height { self.depth_of(id, at + self.width) } else { 0.0 };
        }
        if own != 0 {
            let [left, right, above, below] = beside;
            let inverse = 1.0 / shown;
            let along = min(slope(inverse, left), slope(inverse, right));
            let across = min(slope(inverse, above), slope(inverse, below));
            let (u, v): ([f32; LANES], [f32; LANES]) = (each(|i| column[i] as f32), each(|i| row[i] as f32));
            let du = absolute(landed.at[0] - F::new(isa, u) - 0.5);
            let dv = absolute(landed.at[1] - F::new(isa, v) - 0.5);
            let change = (du * along + dv * across) * SLOPE_SLACK;
            let known = greater(change.of(f32::INFINITY), change);
            let far = 1.0 / landed.z;
            let slack = select(known, change + far * RELATIVE, far * UNKNOWN_SLOPE);
            hidden |= greater(inverse - far, slack).mask_bits() & own;
        }
        hidden
    }

    /// Depth of a pixel that shows an instance; 0 if it shows another.
    #[inline(always)]
    fn depth_of(&self, id: u16, at: usize) -> f32 {
        if self.pixels.instance[at] == id { self.pixels.depth_m[at] } else { 0.0 }
    }
}

/// Change of inverse depth to the pixel beside; infinite if that shows another instance (depth 0).
#[inline(always)]
fn slope<I: Isa>(inverse: F<I>, beside: [f32; LANES]) -> F<I> {
    absolute(1.0 / F::new(inverse.isa(), beside) - inverse)
}
