//! What bodies resist motion with, in full: [`BodyInfo`](crate::state::BodyInfo) has the principal moments alone.

use super::world::PhysicsWorld;
use crate::maths::{Mat3, Vec3};

/// Mass, centre of mass and inertia of a body.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BodyInertia {
    /// kg; infinite for what never moves.
    pub mass_kg: f32,
    /// Centre of mass in the body's frame, metres.
    pub centre_of_mass: Vec3,
    /// About the centre of mass, axes of the body's frame, kg·m².
    pub inertia: Mat3,
}

impl PhysicsWorld {
    /// Of every body of the catalog.
    pub fn inertias(&self) -> Vec<BodyInertia> {
        let sim = &self.live().built.sim;
        let of = |body: &super::sim::Body| match sim.rapier.bodies.get(body.handle) {
            Some(rigid) if rigid.is_dynamic() => {
                let local = &rigid.mass_properties().local_mprops;
                let turn = Mat3::from_quat(body.frame.rotation);
                BodyInertia {
                    mass_kg: local.mass(),
                    centre_of_mass: body.frame.inverse().transform_point(local.local_com),
                    inertia: turn.transpose() * local.reconstruct_inertia_matrix() * turn,
                }
            }
            _ => BodyInertia { mass_kg: f32::INFINITY, centre_of_mass: Vec3::ZERO, inertia: Mat3::ZERO },
        };
        sim.bodies.iter().map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::assets::Assets;
    use crate::scene::Scene;
    use crate::world::World;

    #[test]
    fn a_box_has_the_inertia_of_a_cuboid() {
        let scene: Scene = serde_json::from_value(serde_json::json!({
            "worldloom": 1, "name": "box",
            "engine": {"physics_rate": 100, "control_rate": 10, "duration": 1.0, "gravity": [0.0, 0.0, 0.0], "solver_iterations": 4},
            "objects": {"brick": {"box": [0.2, 0.4, 0.6], "mass": 3.0, "at": [0.0, 0.0, 1.0]}},
        }))
        .expect("a scene");
        let mut world = PhysicsWorld::new(Arc::new(Assets::default()));
        world.reset(&Arc::new(scene)).expect("a world");
        let found = world.inertias()[0];
        // m/12 · (sum of the squares of the two other edges).
        let expected = Mat3::from_diagonal(Vec3::new(0.13, 0.1, 0.05));
        assert!((found.mass_kg - 3.0).abs() < 1e-5, "expected 3 kg, found {}", found.mass_kg);
        let off = (found.inertia - expected).to_cols_array().into_iter().fold(0.0f32, |most, x| most.max(x.abs()));
        assert!(off < 1e-6, "expected {expected}, found {}", found.inertia);
    }
}
