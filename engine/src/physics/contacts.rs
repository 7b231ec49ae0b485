//! Contact records from rapier's solved manifolds.
//!
//! Signs: rapier's normal points from collider 1 to collider 2; the solver pushes body 1 along
//! `d = −normal` with impulse λ ≥ 0, along its tangents `(t₁, d × t₁)` with the friction impulses, and
//! twists it about `d`. A record's normal points from `a` to `b` and its forces act on `b`.
//!
//! The normal force is the impulse of the whole physics step over dt. Where a multibody takes part,
//! so is the friction, point by point. Between free bodies rapier solves one friction force and one
//! twist for the up to four points of a manifold ([`build`](super::build) says why), and keeps them
//! of the last solver substep only: that force is shared among the points by their normal forces,
//! with the part that carries the twist, so that the sum of the points is the solver's wrench.

use rapier3d::prelude::{ColliderHandle, ContactManifold, ContactPair, PhysicsWorld as Rapier};

use super::hooks::body_of;
use crate::maths::{Pose, Vec3};
use crate::state::Contact;

/// What the points of a pair have in common.
struct PairView<'a> {
    bodies: [u32; 2],
    poses: [Pose; 2],
    /// True if a multibody takes part.
    per_point: bool,
    pair: &'a ContactPair,
    order: [u32; 2],
}

/// A point before its pair is turned so that `a < b`: forces on the second body.
struct Point {
    position: Vec3,
    depth: f32,
    push: f32,
    rub: Vec3,
}

/// Contact points of the last physics step, sorted by pair; within a pair in rapier's order.
pub(super) fn collect(rapier: &Rapier, out: &mut Vec<Contact>) {
    out.clear();
    let mut pairs: Vec<PairView<'_>> =
        rapier.narrow_phase.contact_pairs().filter(|p| p.has_any_active_contact()).map(|p| view(rapier, p)).collect();
    pairs.sort_by_key(|v| {
        let [x, y] = v.bodies;
        (x.min(y), x.max(y), v.order)
    });
    let mut points = Vec::new();
    for view in &pairs {
        let Some(rigid) = view.pair.rigid() else { continue };
        for manifold in rigid.solver_manifolds() {
            points.clear();
            if view.per_point {
                read_points(rapier, view, manifold, &mut points);
            } else {
                read_group(rapier, view, manifold, &mut points);
            }
            push_all(view, manifold.data.normal, &points, out);
        }
    }
}

fn view<'a>(rapier: &Rapier, pair: &'a ContactPair) -> PairView<'a> {
    let handles = [pair.collider1, pair.collider2];
    let order = handles.map(|handle| handle.into_raw_parts().0);
    let collider = |handle: ColliderHandle| rapier.colliders.get(handle);
    let jointed = |handle: ColliderHandle| {
        let parent = collider(handle).and_then(|c| c.parent());
        parent.is_some_and(|body| rapier.multibody_joints.rigid_body_link(body).is_some())
    };
    PairView {
        bodies: handles.map(|handle| body_of(&rapier.colliders, handle) as u32),
        poses: handles.map(|handle| collider(handle).map_or(Pose::IDENTITY, |c| *c.position())),
        per_point: handles.into_iter().any(jointed),
        pair,
        order: [order[0].min(order[1]), order[0].max(order[1])],
    }
}

/// The manifold's solved points with their normal forces: positions are those after the step.
fn solved<'a>(
    rapier: &'a Rapier,
    view: &'a PairView<'_>,
    manifold: &'a ContactManifold,
) -> impl Iterator<Item = (Point, &'a rapier3d::geometry::ContactData)> {
    let inv_dt = rapier.integration_parameters.inv_dt();
    let place1 = manifold.subshape_pos1().map_or(view.poses[0], |local| view.poses[0] * *local);
    let place2 = manifold.subshape_pos2().map_or(view.poses[1], |local| view.poses[1] * *local);
    manifold.data.solver_contacts.iter().filter_map(move |solved| {
        let id = (solved.contact_id[0] & !rapier3d::geometry::NEW_CONTACT_BIT) as usize;
        let point = manifold.points.get(id)?;
        let (p1, p2) = (place1 * point.local_p1, place2 * point.local_p2);
        let depth = (p1 - p2).dot(manifold.data.normal);
        let push = point.data.impulse * inv_dt;
        Some((Point { position: (p1 + p2) * 0.5, depth, push, rub: Vec3::ZERO }, &point.data))
    })
}

/// Friction solved point by point, over the whole step.
fn read_points(rapier: &Rapier, view: &PairView<'_>, manifold: &ContactManifold, out: &mut Vec<Point>) {
    let inv_dt = rapier.integration_parameters.inv_dt();
    let d = -manifold.data.normal;
    let tangent1 = tangent_of(d);
    let tangent2 = d.cross(tangent1);
    out.extend(solved(rapier, view, manifold).map(|(point, data)| {
        let rub = data.tangent_impulse;
        Point { rub: -(tangent1 * rub.x + tangent2 * rub.y) * inv_dt, ..point }
    }));
}

/// One friction force and one twist for all points, over the last substep.
fn read_group(rapier: &Rapier, view: &PairView<'_>, manifold: &ContactManifold, out: &mut Vec<Point>) {
    let parameters = &rapier.integration_parameters;
    let inv_substep = parameters.inv_dt() * parameters.num_solver_iterations as f32;
    let normal = manifold.data.normal;
    let (mut force, mut twist) = (Vec3::ZERO, 0.0);
    for (index, (point, data)) in solved(rapier, view, manifold).enumerate() {
        if index == 0 {
            // On the second body: minus the impulse on the first; its twist is about d = −normal.
            force = -data.warmstart_tangent_world * inv_substep;
            twist = data.warmstart_twist_impulse * inv_substep;
        }
        out.push(point);
    }
    share(normal, force, if out.len() > 1 { twist } else { 0.0 }, out);
}

/// Shares a force and a twist about `normal` (both about the mean of the points, as the solver has
/// them) among points by their normal forces.
fn share(normal: Vec3, force: Vec3, twist: f32, points: &mut [Point]) {
    let total: f32 = points.iter().map(|p| p.push).sum();
    if total <= 0.0 {
        return;
    }
    let mean = points.iter().map(|p| p.position).sum::<Vec3>() / points.len() as f32;
    let loaded = points.iter().map(|p| p.position * (p.push / total)).sum::<Vec3>();
    // Shares by load act at the loaded mean; the twist makes up for the lever between the two.
    let twist = twist - (loaded - mean).cross(force).dot(normal);
    let spread: f32 = points.iter().map(|p| (p.position - loaded).length_squared() * p.push / total).sum();
    let turn = if spread > 1.0e-12 { twist / spread } else { 0.0 };
    for point in points.iter_mut() {
        let part = point.push / total;
        point.rub = force * part + normal.cross(point.position - loaded) * (turn * part);
    }
}

fn push_all(view: &PairView<'_>, normal: Vec3, points: &[Point], out: &mut Vec<Contact>) {
    let [first, second] = view.bodies;
    let sign = if first <= second { 1.0 } else { -1.0 };
    for point in points.iter().filter(|p| p.push > 0.0 || p.depth >= 0.0) {
        out.push(Contact {
            a: first.min(second),
            b: first.max(second),
            point: point.position,
            normal: normal * sign,
            depth_m: point.depth,
            normal_force_n: point.push,
            friction_force_n: point.rub * sign,
        });
    }
}

/// The solver's first tangent of a direction (Duff et al., "Building an orthonormal basis, revisited", 2017, listing 3).
fn tangent_of(d: Vec3) -> Vec3 {
    let sign = 1.0f32.copysign(d.z);
    let a = -1.0 / (sign + d.z);
    Vec3::new(d.x * d.y * a, sign + d.y * d.y * a, -d.y)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_to_the_force_and_the_twist() {
        let at =
            |x: f32, y: f32, push: f32| Point { position: Vec3::new(x, y, 0.0), depth: 0.0, push, rub: Vec3::ZERO };
        let mut points = [at(1.0, 1.0, 3.0), at(-1.0, 1.0, 1.0), at(-1.0, -1.0, 0.5), at(1.0, -1.0, 2.0)];
        let (force, twist) = (Vec3::new(2.0, -1.0, 0.0), 0.7);
        share(Vec3::Z, force, twist, &mut points);
        let sum: Vec3 = points.iter().map(|p| p.rub).sum();
        let torque: f32 = points.iter().map(|p| p.position.cross(p.rub).z).sum();
        assert!((sum - force).length() < 1.0e-5, "expected {force}, measured {sum}");
        assert!((torque - twist).abs() < 1.0e-5, "expected {twist}, measured {torque}");
    }
}
