//! Where objects are, for placing them: boxes around them and overlap tests.

use rapier3d::parry;

use super::shapes::{Solid, solid, vec3};
use crate::assets::Assets;
use crate::error::{Error, Result};
use crate::maths::{Pose, Quat, Vec3};
use crate::scene::Object;

/// An axis-aligned box in the world.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Aabb {
    /// Lowest corner, metres.
    pub low: Vec3,
    /// Highest corner, metres.
    pub high: Vec3,
}

/// An object's shape made ready for many placements.
#[derive(Clone)]
pub struct Footprint {
    solid: Solid,
}

impl Footprint {
    /// Reads and prepares an object's shape. `field` is its path in the scene, for errors.
    pub fn new(object: &Object, assets: &Assets, field: &str) -> Result<Self> {
        Ok(Self { solid: solid(&object.shape, assets, field)? })
    }

    /// Centre and half extents of the box around the shape in the object's own frame, metres.
    pub fn bounds(&self) -> (Vec3, Vec3) {
        self.solid.bounds
    }

    /// The tight axis-aligned box of the shape at a pose. A plane's is its drawn square.
    pub fn aabb(&self, pose: &Pose) -> Aabb {
        if self.solid.only_fixed {
            return box_around(self.solid.bounds, pose);
        }
        let tight = self.solid.collision.compute_aabb(&(*pose * self.solid.collision_local));
        Aabb { low: tight.mins, high: tight.maxs }
    }

    /// Smallest distance between two placed shapes in metres: 0 if they touch or overlap.
    pub fn distance(&self, pose: &Pose, other: &Self, other_pose: &Pose) -> Result<f32> {
        parry::query::distance(
            &(*pose * self.solid.collision_local),
            self.solid.collision.as_ref(),
            &(*other_pose * other.solid.collision_local),
            other.solid.collision.as_ref(),
        )
        .map(|nearest| nearest.distance)
        .map_err(|_| unsupported_pair())
    }

    /// How deep two placed shapes overlap in metres (positive), or 0 if they do not.
    pub fn penetration(&self, pose: &Pose, other: &Self, other_pose: &Pose) -> Result<f32> {
        let is_plane = |footprint: &Self| footprint.solid.collision.as_halfspace().is_some();
        if is_plane(other) && !is_plane(self) {
            // parry 0.31 takes the pose of a half-space that comes second for its inverse.
            return other.penetration(other_pose, self, pose);
        }
        let contact = parry::query::contact(
            &(*pose * self.solid.collision_local),
            self.solid.collision.as_ref(),
            &(*other_pose * other.solid.collision_local),
            other.solid.collision.as_ref(),
            0.0,
        )
        .map_err(|_| unsupported_pair())?;
        Ok(contact.map_or(0.0, |contact| (-contact.dist).max(0.0)))
    }

    /// True if two placed shapes come nearer than `gap_m` metres to each other.
    pub fn overlaps(&self, pose: &Pose, other: &Self, other_pose: &Pose, gap_m: f32) -> Result<bool> {
        let (a, b) = (self.aabb(pose), other.aabb(other_pose));
        let infinite = self.solid.collision.as_halfspace().is_some() || other.solid.collision.as_halfspace().is_some();
        if !infinite && !a.nearer_than(&b, gap_m) {
            return Ok(false);
        }
        Ok(self.distance(pose, other, other_pose)? <= gap_m)
    }
}

impl Aabb {
    /// Centre, metres.
    pub fn centre(&self) -> Vec3 {
        (self.low + self.high) * 0.5
    }

    /// Half extents, metres.
    pub fn half_extents(&self) -> Vec3 {
        (self.high - self.low) * 0.5
    }

    /// True if the gap between two boxes along every axis is at most `gap_m` metres.
    pub fn nearer_than(&self, other: &Self, gap_m: f32) -> bool {
        (self.low - Vec3::splat(gap_m)).cmple(other.high).all()
            && (other.low - Vec3::splat(gap_m)).cmple(self.high).all()
    }
}

/// Pose of an object as its scene places it.
pub fn pose_of(object: &Object) -> Pose {
    Pose::from_parts(vec3(object.at), quat(object.rotation))
}

/// Narrows a scene quaternion and makes it unit again.
pub(super) fn quat(q: [f64; 4]) -> Quat {
    Quat::from_xyzw(q[0] as f32, q[1] as f32, q[2] as f32, q[3] as f32).normalize()
}

/// Box around a turned box.
fn box_around((centre, half): (Vec3, Vec3), pose: &Pose) -> Aabb {
    let centre = *pose * centre;
    let [x, y, z] = [Vec3::X, Vec3::Y, Vec3::Z].map(|axis| (pose.rotation * axis).abs());
    let half = x * half.x + y * half.y + z * half.z;
    Aabb { low: centre - half, high: centre + half }
}

fn unsupported_pair() -> Error {
    Error::Unsupported {
        feature: "distance between two surfaces".into(),
        hint: "planes, heightfields and meshes with `convex: false` cannot be compared with each other".into(),
    }
}
