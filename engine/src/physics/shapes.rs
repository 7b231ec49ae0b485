//! From the scene's shapes to collision shapes and drawn shapes.
//!
//! parry's cylinders and cones stand along y and its heightfields rise along y, the scene's along
//! z: a [`Solid`] carries the rotation between the two.

use std::sync::Arc;

use rapier3d::geometry::SharedShape;
use rapier3d::parry::shape::HeightField;
use rapier3d::parry::utils::Array2;

use crate::assets::Assets;
use crate::error::{Error, Result};
use crate::maths::{Pose, Quat, Vec3};
use crate::scene::Shape;
use crate::visual::{TriMesh, VisualShape};

/// Largest size of a shape, metres: beyond it f32 positions are coarser than contact tolerances.
const LARGEST_M: f64 = 1.0e5;

/// A shape made ready: what touches, what is drawn, where both sit in the body.
#[derive(Clone)]
pub struct Solid {
    /// What touches.
    pub collision: SharedShape,
    /// Body from the collision shape.
    pub collision_local: Pose,
    /// What is drawn, in the body's frame.
    pub visual: VisualShape,
    /// Box around it in the body's frame: centre and half extents, metres.
    pub bounds: (Vec3, Vec3),
    /// True if no moving body can have this shape (a half-space, a surface without an inside).
    pub only_fixed: bool,
}

/// Prepares a shape. `field` is the object's path in the scene, for errors.
pub fn solid(shape: &Shape, assets: &Assets, field: &str) -> Result<Solid> {
    check_sizes(shape, field)?;
    match shape {
        Shape::Plane(half_width) => {
            let half = *half_width as f32;
            Ok(Solid {
                collision: SharedShape::halfspace(Vec3::Z),
                collision_local: Pose::IDENTITY,
                visual: VisualShape::Plane(half),
                bounds: (Vec3::ZERO, Vec3::new(half, half, 0.0)),
                only_fixed: true,
            })
        }
        Shape::Box(size) => {
            let half = vec3(*size) * 0.5;
            Ok(convex(SharedShape::cuboid(half.x, half.y, half.z), Pose::IDENTITY, VisualShape::Box(half), half))
        }
        Shape::Sphere(radius) => {
            let r = *radius as f32;
            Ok(convex(SharedShape::ball(r), Pose::IDENTITY, VisualShape::Sphere(r), Vec3::splat(r)))
        }
        Shape::Capsule { radius, length } => {
            let (r, half) = (*radius as f32, 0.5 * *length as f32);
            let shape = SharedShape::capsule(Vec3::Z * -half, Vec3::Z * half, r);
            Ok(convex(shape, Pose::IDENTITY, VisualShape::Capsule(r, half), Vec3::new(r, r, half + r)))
        }
        Shape::Cylinder { radius, height } => {
            let (r, half) = (*radius as f32, 0.5 * *height as f32);
            let shape = SharedShape::cylinder(half, r);
            Ok(convex(shape, z_from_y(), VisualShape::Cylinder(r, half), Vec3::new(r, r, half)))
        }
        Shape::Cone { radius, height } => {
            let (r, half) = (*radius as f32, 0.5 * *height as f32);
            let shape = SharedShape::cone(half, r);
            Ok(convex(shape, z_from_y(), VisualShape::Cone(r, half), Vec3::new(r, r, half)))
        }
        Shape::Mesh { file, scale, convex } => mesh(assets, file, *scale, *convex, field),
        Shape::Heightfield { size, heights } => heightfield(*size, heights, field),
    }
}

/// Rotation that takes parry's y axis to the scene's z axis (a quarter turn about x, exact).
fn z_from_y() -> Pose {
    let s = std::f32::consts::FRAC_1_SQRT_2;
    Pose::from_parts(Vec3::ZERO, Quat::from_xyzw(s, 0.0, 0.0, s))
}

/// Narrows a scene vector to the physics' precision.
pub(super) fn vec3(v: [f64; 3]) -> Vec3 {
    Vec3::new(v[0] as f32, v[1] as f32, v[2] as f32)
}

fn convex(collision: SharedShape, collision_local: Pose, visual: VisualShape, half: Vec3) -> Solid {
    Solid { collision, collision_local, visual, bounds: (Vec3::ZERO, half), only_fixed: false }
}

fn check_sizes(shape: &Shape, field: &str) -> Result<()> {
    let positive = |what: &str, value: f64| {
        if value.is_finite() && value > 0.0 && value <= LARGEST_M {
            Ok(())
        } else {
            Err(Error::scene(field, format!("{what} must be positive and at most {LARGEST_M} m, found {value}")))
        }
    };
    match shape {
        Shape::Plane(half) => positive("plane half-width", *half),
        Shape::Box(size) => size.iter().try_for_each(|edge| positive("box edge", *edge)),
        Shape::Sphere(radius) => positive("radius", *radius),
        Shape::Capsule { radius, length } => positive("radius", *radius).and_then(|()| positive("length", *length)),
        Shape::Cylinder { radius, height } | Shape::Cone { radius, height } => {
            positive("radius", *radius).and_then(|()| positive("height", *height))
        }
        Shape::Mesh { scale, .. } => scale.iter().try_for_each(|s| positive("mesh scale", *s)),
        Shape::Heightfield { size, .. } => size.iter().try_for_each(|s| positive("heightfield size", *s)),
    }
}

fn mesh(assets: &Assets, file: &str, scale: [f64; 3], is_convex: bool, field: &str) -> Result<Solid> {
    let source = assets.mesh(file)?;
    let scale = vec3(scale);
    let drawn = if scale == Vec3::ONE { source } else { Arc::new(scaled(&source, scale)) };
    let bounds = bounds_of(&drawn.positions);
    let collision = if is_convex {
        SharedShape::convex_hull(&drawn.positions)
            .ok_or_else(|| Error::scene(field, format!("mesh `{file}` has no convex hull (flat or degenerate)")))?
    } else {
        SharedShape::trimesh(drawn.positions.clone(), drawn.triangles.clone())
            .map_err(|reason| Error::scene(field, format!("mesh `{file}` cannot collide: {reason}")))?
    };
    Ok(Solid {
        collision,
        collision_local: Pose::IDENTITY,
        visual: VisualShape::Mesh(drawn),
        bounds,
        only_fixed: !is_convex,
    })
}

fn scaled(mesh: &TriMesh, scale: Vec3) -> TriMesh {
    // Normals go by the inverse transpose; triangles keep their winding since scales are positive.
    let inverse = Vec3::ONE / scale;
    TriMesh {
        positions: mesh.positions.iter().map(|p| *p * scale).collect(),
        normals: mesh.normals.iter().map(|n| (*n * inverse).normalize_or_zero()).collect(),
        uvs: mesh.uvs.clone(),
        triangles: mesh.triangles.clone(),
    }
}

/// Centre and half extents of the box around some points.
pub(super) fn bounds_of(points: &[Vec3]) -> (Vec3, Vec3) {
    let Some(first) = points.first() else { return (Vec3::ZERO, Vec3::ZERO) };
    let (low, high) = points.iter().fold((*first, *first), |(low, high), p| (low.min(*p), high.max(*p)));
    ((low + high) * 0.5, (high - low) * 0.5)
}

/// `heights` is `[rows along y][columns along x]`; parry's is `[rows along z][columns along x]` with
/// y up, and the quarter turn takes its z to −y, so rows are stored last to first.
fn heightfield(size: [f64; 2], heights: &[Vec<f64>], field: &str) -> Result<Solid> {
    let rows = heights.len();
    let columns = heights.first().map_or(0, Vec::len);
    if rows < 2 || columns < 2 {
        return Err(Error::scene(
            field,
            format!("a heightfield needs at least 2 by 2 heights, found {rows} by {columns}"),
        ));
    }
    if let Some(row) = heights.iter().find(|row| row.len() != columns) {
        return Err(Error::scene(field, format!("heightfield rows differ in length: {columns} and {}", row.len())));
    }
    if let Some(height) = heights.iter().flatten().find(|h| !h.is_finite() || h.abs() > LARGEST_M) {
        return Err(Error::scene(field, format!("heightfield height {height} is out of range")));
    }
    // Column-major, as parry's array is.
    let mut data = Vec::with_capacity(rows * columns);
    for column in 0..columns {
        data.extend(heights.iter().rev().map(|row| row[column] as f32));
    }
    let scale = Vec3::new(size[0] as f32, 1.0, size[1] as f32);
    let surface = HeightField::new(Array2::new(rows, columns, data), scale);
    let turn = z_from_y();
    let (points, triangles) = surface.to_trimesh();
    let positions: Vec<Vec3> = points.iter().map(|p| turn * *p).collect();
    let bounds = bounds_of(&positions);
    // parry winds towards its +y, which the turn makes the scene's up.
    let mut drawn = TriMesh { positions, triangles, ..TriMesh::default() };
    face_up(&mut drawn);
    Ok(Solid {
        collision: SharedShape::new(surface),
        collision_local: turn,
        visual: VisualShape::Mesh(Arc::new(drawn)),
        bounds,
        only_fixed: true,
    })
}

/// Turns triangles so that their normals point up.
fn face_up(mesh: &mut TriMesh) {
    for triangle in &mut mesh.triangles {
        let [a, b, c] = triangle.map(|i| mesh.positions[i as usize]);
        if (b - a).cross(c - a).z < 0.0 {
            triangle.swap(1, 2);
        }
    }
}
