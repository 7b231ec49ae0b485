//! Breaking one law of a running world, and showing it states that it did not step to.
//!
//! For [`violations`](crate::violations) alone: whoever else changes a world does so through events.

use rapier3d::geometry::SharedShape;
use rapier3d::parry::shape::TypedShape;
use rapier3d::prelude::Collider;

use super::hooks::body_of;
use super::world::PhysicsWorld;
use crate::error::{Error, Result};
use crate::maths::{Pose, Vec3};
use crate::state::State;
use crate::world::Step;

/// A law that no longer holds for a body.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Tamper {
    /// It feels this part of gravity.
    Gravity(f32),
    /// It bounces with this coefficient, off everything.
    Restitution(f32),
    /// It collides as if this many times as large; mass and inertia stay.
    Size(f32),
    /// It has this many times its mass and inertia.
    Mass(f32),
    /// It is elsewhere at once: metres, world frame.
    Jump(Vec3),
}

impl PhysicsWorld {
    /// Breaks a law for a body from now on. The body must move freely and hang from no joint.
    pub(crate) fn tamper(&mut self, body: usize, tamper: Tamper) -> Result<()> {
        let sim = &mut self.live_mut("tamper")?.built.sim;
        let (handle, rapier) = (sim.bodies[body].handle, &mut sim.rapier);
        let Some(rigid) = rapier.bodies.get_mut(handle).filter(|rigid| rigid.is_dynamic()) else {
            return Err(Error::Misuse {
                operation: "tamper",
                expected: "a body that moves freely".into(),
                found: format!("body {body}"),
            });
        };
        match tamper {
            Tamper::Gravity(part) => rigid.set_gravity_scale(part, true),
            Tamper::Jump(by) => {
                let pose = *rigid.position();
                rigid.set_position(Pose::from_parts(pose.translation + by, pose.rotation), true);
            }
            Tamper::Restitution(_) | Tamper::Size(_) | Tamper::Mass(_) => {
                for collider in rigid.colliders().to_vec() {
                    if body_of(&rapier.colliders, collider) == body
                        && let Some(collider) = rapier.colliders.get_mut(collider)
                    {
                        change(collider, tamper)?;
                    }
                }
                rigid.recompute_mass_properties_from_colliders(&rapier.colliders);
            }
        }
        Ok(())
    }

    /// Shows a state as if it had stepped there: pictures, observations and what the scene says of it. Physics itself stays
    /// where it was.
    pub(crate) fn show(&mut self, state: State) -> Result<Step> {
        let live = self.live_mut("show")?;
        live.state = state;
        live.observe();
        Ok(live.judge())
    }
}

fn change(collider: &mut Collider, tamper: Tamper) -> Result<()> {
    let mut mass = collider.mass_properties();
    match tamper {
        Tamper::Restitution(coefficient) => collider.set_restitution(coefficient),
        Tamper::Size(factor) => {
            let Some(shape) = scaled(collider.shape().as_typed_shape(), factor) else {
                return Err(Error::Unsupported {
                    feature: "another size for this collision shape".into(),
                    hint: "spheres, boxes, capsules, cylinders, cones and convex meshes have one".into(),
                });
            };
            collider.set_shape(shape);
            collider.set_mass_properties(mass);
        }
        Tamper::Mass(factor) => {
            mass.inv_mass /= factor;
            mass.inv_principal_inertia /= factor;
            collider.set_mass_properties(mass);
        }
        Tamper::Gravity(_) | Tamper::Jump(_) => {}
    }
    Ok(())
}

fn scaled(shape: TypedShape<'_>, factor: f32) -> Option<SharedShape> {
    Some(match shape {
        TypedShape::Ball(ball) => SharedShape::ball(ball.radius * factor),
        TypedShape::Cuboid(cuboid) => {
            let half = cuboid.half_extents * factor;
            SharedShape::cuboid(half.x, half.y, half.z)
        }
        TypedShape::Capsule(capsule) => {
            SharedShape::capsule(capsule.segment.a * factor, capsule.segment.b * factor, capsule.radius * factor)
        }
        TypedShape::Cylinder(cylinder) => {
            SharedShape::cylinder(cylinder.half_height * factor, cylinder.radius * factor)
        }
        TypedShape::Cone(cone) => SharedShape::cone(cone.half_height * factor, cone.radius * factor),
        TypedShape::ConvexPolyhedron(hull) => {
            let points: Vec<Vec3> = hull.points().iter().map(|point| *point * factor).collect();
            SharedShape::convex_hull(&points)?
        }
        _ => return None,
    })
}
