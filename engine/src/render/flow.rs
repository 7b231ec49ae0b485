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
    let (from, to) = (input.from, input.to);
    let (width, height) = (from.width as usize, from.height as usize);
    let complete = |pixels: &GBuffer, view: &View| {
        let size = view.width as usize * view.height as usize;
        pixels.depth_m.len() == size && pixels.instance.len() == size
    };
    if !complete(input.from_pixels, from) || !complete(input.to_pixels, to) {
        return FlowField::default();
    }
    let moves = moves(from, to, from_bodies, to_bodies);
    let target = Target::new(to, input.to_pixels);
    let [fx, fy, cx, cy] = from.intrinsics;
    let across: Vec<f32> = (0..width).map(|x| (x as f32 + 0.5 - cx) / fx).collect();
    let mut field =
        FlowField { displacement: Vec::with_capacity(width * height), occluded: Vec::with_capacity(width * height) };
    for y in 0..height {
        let down = (y as f32 + 0.5 - cy) / fy;
        let row = y * width..(y + 1) * width;
        let ids = &input.from_pixels.instance[row.clone()];
        let depths = &input.from_pixels.depth_m[row];
        for (x, ((&id, &depth), &dx)) in ids.iter().zip(depths).zip(&across).enumerate() {
            let centre = [x as f32 + 0.5, y as f32 + 0.5];
            let ray = Vec3::new(dx, down, 1.0);
            let landed = match moves[usize::from(id).min(moves.len() - 1)] {
                Move::Gone => None,
                Move::Still => Some((centre, depth)),
                Move::By(turn, shift) => {
                    let p = if id == SKY { turn * ray } else { turn * (ray * depth) + shift };
                    target.project(p).map(|uv| (uv, p.z))
                }
            };
            let (displacement, occluded) = match landed {
                None => ([0.0; 2], true),
                Some((uv, z)) => ([uv[0] - centre[0], uv[1] - centre[1]], target.hides(uv, id, z)),
            };
            field.displacement.push(displacement);
            field.occluded.push(occluded);
        }
    }
    field
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

    fn project(&self, p: Vec3) -> Option<[f32; 2]> {
        let [fx, fy, cx, cy] = self.view.intrinsics;
        if p.z <= 0.0 {
            return None;
        }
        let inverse = 1.0 / p.z;
        Some([fx * (p.x * inverse) + cx, fy * (p.y * inverse) + cy])
    }

    /// True if a point of instance `id` at (u, v) and depth `z` is not seen.
    fn hides(&self, [u, v]: [f32; 2], id: u16, z: f32) -> bool {
        if !(u >= 0.0 && v >= 0.0 && u < self.width as f32 && v < self.height as f32) {
            return true;
        }
        let (x, y) = ((u as usize).min(self.width - 1), (v as usize).min(self.height - 1));
        let at = y * self.width + x;
        let seen = self.pixels.instance[at];
        if id == SKY {
            return seen != SKY;
        }
        let shown = self.pixels.depth_m[at];
        if shown >= z * (1.0 - RELATIVE) {
            return false;
        }
        if seen != id {
            return true;
        }
        let inverse = 1.0 / shown;
        let slope = |first: Option<usize>, second: Option<usize>| {
            let step = |other: Option<usize>| match other {
                Some(other) if self.pixels.instance[other] == id => (1.0 / self.pixels.depth_m[other] - inverse).abs(),
                _ => f32::INFINITY,
            };
            step(first).min(step(second))
        };
        let along = slope((x > 0).then(|| at - 1), (x + 1 < self.width).then(|| at + 1));
        let across = slope((y > 0).then(|| at - self.width), (y + 1 < self.height).then(|| at + self.width));
        let (fu, fv) = ((u - x as f32 - 0.5).abs(), (v - y as f32 - 0.5).abs());
        let change = SLOPE_SLACK * (fu * along + fv * across);
        let slack = if change.is_finite() { change + RELATIVE / z } else { UNKNOWN_SLOPE / z };
        inverse - 1.0 / z > slack
    }
}
