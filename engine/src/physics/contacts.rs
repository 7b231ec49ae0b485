//! Contact records from rapier's solved manifolds.
//!
//! Signs: rapier's normal points from collider 1 to collider 2; the solver pushes body 1 along
//! `d = −normal` with impulse λ ≥ 0 and along the tangents `(t₁, d × t₁)` with the two friction
//! impulses. A record's normal points from `a` to `b` and its forces act on `b`.

use rapier3d::prelude::{ContactManifold, ContactPair, PhysicsWorld as Rapier};

use super::hooks::body_of;
use crate::maths::{Pose, Vec3};
use crate::state::Contact;

/// Contact points of the last physics step, sorted by pair; within a pair in rapier's order.
pub(super) fn collect(rapier: &Rapier, out: &mut Vec<Contact>) {
    out.clear();
    let inv_dt = rapier.integration_parameters.inv_dt();
    let mut pairs: Vec<(u32, u32, u32, u32, &ContactPair)> = Vec::new();
    for pair in rapier.narrow_phase.contact_pairs() {
        if pair.has_any_active_contact() {
            let first = body_of(&rapier.colliders, pair.collider1) as u32;
            let second = body_of(&rapier.colliders, pair.collider2) as u32;
            let (c1, c2) = (pair.collider1.into_raw_parts().0, pair.collider2.into_raw_parts().0);
            pairs.push((first.min(second), first.max(second), c1.min(c2), c1.max(c2), pair));
        }
    }
    pairs.sort_by_key(|&(a, b, c1, c2, _)| (a, b, c1, c2));
    for (a, _, _, _, pair) in pairs {
        let flipped = body_of(&rapier.colliders, pair.collider1) as u32 != a;
        let Some(rigid) = pair.rigid() else { continue };
        let place = |handle| rapier.colliders.get(handle).map_or(Pose::IDENTITY, |c: &rapier3d::geometry::Collider| *c.position());
        let (pose1, pose2) = (place(pair.collider1), place(pair.collider2));
        for manifold in rigid.solver_manifolds() {
            push_manifold(rapier, pair, manifold, &pose1, &pose2, flipped, inv_dt, out);
        }
    }
}

fn push_manifold(
    rapier: &Rapier,
    pair: &ContactPair,
    manifold: &ContactManifold,
    pose1: &Pose,
    pose2: &Pose,
    flipped: bool,
    inv_dt: f32,
    out: &mut Vec<Contact>,
) {
    let first = body_of(&rapier.colliders, pair.collider1) as u32;
    let second = body_of(&rapier.colliders, pair.collider2) as u32;
    let normal = manifold.data.normal;
    let tangent1 = tangent_of(-normal);
    let tangent2 = (-normal).cross(tangent1);
    let place1 = manifold.subshape_pos1().map_or(*pose1, |local| *pose1 * *local);
    let place2 = manifold.subshape_pos2().map_or(*pose2, |local| *pose2 * *local);
    for solved in &manifold.data.solver_contacts {
        let id = (solved.contact_id[0] & !rapier3d::geometry::NEW_CONTACT_BIT) as usize;
        let Some(point) = manifold.points.get(id) else { continue };
        // Where the two surface points are after the step.
        let (p1, p2) = (place1 * point.local_p1, place2 * point.local_p2);
        let depth = (p1 - p2).dot(normal);
        let push = point.data.impulse * inv_dt;
        if push <= 0.0 && depth < 0.0 {
            continue;
        }
        let rub = point.data.tangent_impulse;
        let on_second = -(tangent1 * rub.x + tangent2 * rub.y) * inv_dt;
        out.push(Contact {
            a: if flipped { second } else { first },
            b: if flipped { first } else { second },
            point: (p1 + p2) * 0.5,
            normal: if flipped { -normal } else { normal },
            depth_m: depth,
            normal_force_n: push,
            friction_force_n: if flipped { -on_second } else { on_second },
        });
    }
}

/// The solver's first tangent of a direction (Duff et al., "Building an orthonormal basis, revisited", 2017, listing 3).
fn tangent_of(d: Vec3) -> Vec3 {
    let sign = 1.0f32.copysign(d.z);
    let a = -1.0 / (sign + d.z);
    Vec3::new(d.x * d.y * a, sign + d.y * d.y * a, -d.y)
}
