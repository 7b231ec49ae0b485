//! Gaps and overlaps of two bodies at given poses.

use rapier3d::parry::query;
use rapier3d::parry::shape::Shape;

use crate::maths::{Pose, Vec3};
use crate::physics::anatomy::{Anatomy, Surface};
use crate::state::State;

/// Points that an overlap's volume is sampled with: a part p of the box is off by about √(p(1−p)/512), 2 % at most.
const POINTS: u32 = 512;

/// Two bodies with their poses.
#[derive(Clone, Copy)]
pub(super) struct Placed {
    pub bodies: [usize; 2],
    pub poses: [Pose; 2],
}

/// How near two bodies are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Near {
    /// Distance between their nearest surfaces, negative where they overlap, metres.
    pub gap_m: f32,
    /// Unit, from the first to the second; `None` if no distance can be told (two surfaces without an inside).
    pub normal: Option<Vec3>,
}

/// How near two bodies are, over surfaces that may touch; `None` if that is more than `within_m`.
pub(super) fn near(anatomy: &Anatomy, placed: &Placed, within_m: f32) -> Option<Near> {
    let mut nearest: Option<Near> = None;
    each_pair(anatomy, placed, within_m, &mut |pose_a, a, pose_b, b| {
        let found = gap(pose_a, a.shape.as_ref(), pose_b, b.shape.as_ref(), within_m);
        if let Some(found) = found
            && nearest.is_none_or(|nearest| found.gap_m < nearest.gap_m)
        {
            nearest = Some(found);
        }
    });
    nearest
}

fn gap(pose_a: &Pose, a: &dyn Shape, pose_b: &Pose, b: &dyn Shape, within_m: f32) -> Option<Near> {
    // parry 0.31 takes the pose of a half-space that comes second for its inverse: it always comes first here.
    let turned = b.as_halfspace().is_some();
    let contact = if turned {
        query::contact(pose_b, b, pose_a, a, within_m)
    } else {
        query::contact(pose_a, a, pose_b, b, within_m)
    };
    match contact {
        Ok(Some(contact)) => {
            let normal = if turned { -contact.normal1 } else { contact.normal1 };
            Some(Near { gap_m: contact.dist, normal: normal.try_normalize() })
        }
        // Its search for the nearest points of two solids may fail where they touch: then the distance alone is known,
        // where there is one at all.
        Ok(None) => {
            let distance = query::distance(pose_a, a, pose_b, b).map_or(f32::INFINITY, |nearest| nearest.distance);
            (distance <= within_m).then_some(Near { gap_m: distance, normal: None })
        }
        Err(_) => Some(Near { gap_m: 0.0, normal: None }),
    }
}

/// Volume that two bodies share, m³.
pub(super) fn volume(anatomy: &Anatomy, placed: &Placed) -> f32 {
    let mut total = 0.0;
    each_pair(anatomy, placed, 0.0, &mut |pose_a, a, pose_b, b| {
        total += shared(pose_a, a.shape.as_ref(), pose_b, b.shape.as_ref());
    });
    total
}

fn each_pair(
    anatomy: &Anatomy,
    placed: &Placed,
    within_m: f32,
    each: &mut dyn FnMut(&Pose, &Surface, &Pose, &Surface),
) {
    let [a, b] = placed.bodies;
    let (one, two) = (&anatomy.parts[a], &anatomy.parts[b]);
    let centres =
        placed.poses[0].transform_point(one.centre_of_mass) - placed.poses[1].transform_point(two.centre_of_mass);
    let far = centres.length() > one.radius_m + two.radius_m + within_m;
    for first in &one.surfaces {
        for second in &two.surfaces {
            let endless = first.shape.as_halfspace().is_some() || second.shape.as_halfspace().is_some();
            if (far && !endless) || !anatomy.may_touch(a, b, [first, second]) {
                continue;
            }
            each(&(placed.poses[0] * first.local), first, &(placed.poses[1] * second.local), second);
        }
    }
}

fn shared(pose_a: &Pose, a: &dyn Shape, pose_b: &Pose, b: &dyn Shape) -> f32 {
    let (box_a, box_b) = (a.compute_aabb(pose_a), b.compute_aabb(pose_b));
    let (low, high) = (box_a.mins.max(box_b.mins), box_a.maxs.min(box_b.maxs));
    let size = high - low;
    if !(size.min_element() > 0.0 && size.is_finite()) {
        return 0.0;
    }
    let inside = (1..=POINTS)
        .filter(|&index| {
            let point = low + size * Vec3::new(radical(index, 2), radical(index, 3), radical(index, 5));
            a.contains_point(pose_a, point) && b.contains_point(pose_b, point)
        })
        .count();
    size.x * size.y * size.z * (inside as f32 / POINTS as f32)
}

/// Halton's sequence: the digits of `index` mirrored at the point.
fn radical(mut index: u32, base: u32) -> f32 {
    let (mut value, mut place) = (0.0, 1.0 / base as f32);
    while index > 0 {
        value += (index % base) as f32 * place;
        index /= base;
        place /= base as f32;
    }
    value
}

/// True if a body may stand `by` metres from where it is without coming near anything.
pub(crate) fn is_free(anatomy: &Anatomy, state: &State, body: usize, by: Vec3) -> bool {
    const ROOM_M: f32 = 0.005;
    let pose = state.bodies[body].pose;
    let moved = Pose::from_parts(pose.translation + by, pose.rotation);
    (0..anatomy.parts.len()).filter(|&other| other != body && state.bodies[other].present).all(|other| {
        let placed = Placed { bodies: [body, other], poses: [moved, state.bodies[other].pose] };
        // What it rests on it goes on resting on.
        near(anatomy, &placed, ROOM_M)
            .is_none_or(|near| near.normal.is_some_and(|normal| normal.z.abs() > 0.9) && near.gap_m > -ROOM_M)
    })
}
