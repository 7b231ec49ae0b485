//! Geometry as both file formats write it, and what becomes of it: colliders, visuals, mass.

use std::sync::Arc;

use glamx::DPose3;
use glamx::glam::{DQuat, DVec3};
use rapier3d::geometry::SharedShape;
use rapier3d::parry::shape::ConvexPolyhedron;

use super::inertia::{Inertia, MeshMethod};
use crate::assets::MeshPart;
use crate::maths::{Pose, Quat, Vec3};
use crate::visual::{Picture, TriMesh, VisualShape};

/// Half-width of the square drawn for an infinite plane, metres.
const ENDLESS_PLANE_M: f64 = 25.0;
/// A flat mesh collides as a box at least this thick on each side, metres.
const THINNEST_M: f32 = 5.0e-4;

/// A shape in its own frame, axis z.
#[derive(Clone, Debug)]
pub(super) enum Geometry {
    /// Half-space below z = 0, drawn as a rectangle of these half widths (0: endless).
    Plane(f64, f64),
    /// Half extents.
    Box(DVec3),
    /// Radius.
    Sphere(f64),
    /// Semi-axes.
    Ellipsoid(DVec3),
    /// Radius, half length of the cylindrical part.
    Capsule(f64, f64),
    /// Radius, half height.
    Cylinder(f64, f64),
    /// Parts of a mesh file and a scale.
    Mesh(Arc<[MeshPart]>, DVec3),
}

/// A drawn piece of a [`Geometry`].
pub(super) struct Drawn {
    pub(super) shape: VisualShape,
    pub(super) colour: Option<[f32; 3]>,
    pub(super) picture: Option<Arc<Picture>>,
}

impl Geometry {
    /// Collision shapes with their poses in this geometry's frame; a mesh gives a convex hull for
    /// each of its parts, or one for all of them if `whole`.
    pub(super) fn colliders(&self, whole: bool) -> Vec<(SharedShape, Pose)> {
        let one = |shape| vec![(shape, Pose::IDENTITY)];
        match self {
            Self::Plane(..) => one(SharedShape::halfspace(Vec3::Z)),
            Self::Box(half) => {
                let h = half.as_vec3();
                one(SharedShape::cuboid(h.x, h.y, h.z))
            }
            Self::Sphere(radius) => one(SharedShape::ball(*radius as f32)),
            Self::Ellipsoid(semi) => {
                let points: Vec<Vec3> = sphere_points().into_iter().map(|p| (p * *semi).as_vec3()).collect();
                hull(&points).into_iter().collect()
            }
            Self::Capsule(radius, half) => one(SharedShape::capsule_z(*half as f32, *radius as f32)),
            Self::Cylinder(radius, half) => {
                // Ours are along z, parry's along y.
                let half_turn = std::f32::consts::FRAC_1_SQRT_2;
                let upright = Quat::from_xyzw(half_turn, 0.0, 0.0, half_turn);
                vec![(SharedShape::cylinder(*half as f32, *radius as f32), Pose::from_rotation(upright))]
            }
            Self::Mesh(parts, scale) => {
                let points = |part: &MeshPart| -> Vec<Vec3> {
                    part.mesh.positions.iter().map(|p| (p.as_dvec3() * *scale).as_vec3()).collect()
                };
                if whole {
                    hull(&parts.iter().flat_map(points).collect::<Vec<_>>()).into_iter().collect()
                } else {
                    parts.iter().filter_map(|part| hull(&points(part))).collect()
                }
            }
        }
    }

    /// True for a primitive of size 0.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Plane(..) | Self::Mesh(..) => false,
            Self::Box(half) => half.max_element() <= 0.0,
            Self::Ellipsoid(semi) => semi.min_element() <= 0.0,
            Self::Sphere(radius) | Self::Capsule(radius, _) => *radius <= 0.0,
            Self::Cylinder(radius, half) => *radius <= 0.0 || *half <= 0.0,
        }
    }

    /// What is drawn.
    pub(super) fn visuals(&self) -> Vec<Drawn> {
        let one = |shape| vec![Drawn { shape, colour: None, picture: None }];
        match self {
            Self::Plane(x, y) => {
                let half = if *x > 0.0 && *y > 0.0 { x.max(*y) } else { ENDLESS_PLANE_M };
                one(VisualShape::Plane(half as f32))
            }
            Self::Box(half) => one(VisualShape::Box(half.as_vec3())),
            Self::Sphere(radius) => one(VisualShape::Sphere(*radius as f32)),
            Self::Ellipsoid(semi) => one(VisualShape::Ellipsoid(semi.as_vec3())),
            Self::Capsule(radius, half) => one(VisualShape::Capsule(*radius as f32, *half as f32)),
            Self::Cylinder(radius, half) => one(VisualShape::Cylinder(*radius as f32, *half as f32)),
            Self::Mesh(parts, scale) => parts
                .iter()
                .map(|part| Drawn {
                    shape: VisualShape::Mesh(scaled(&part.mesh, *scale)),
                    colour: part.colour,
                    picture: part.picture.clone(),
                })
                .collect(),
        }
    }

    /// Mass properties at 1 kg/m³ (1 kg/m² for a shell); `None` for a plane, or a mesh that encloses nothing.
    pub(super) fn solid(&self, method: MeshMethod) -> Option<Inertia> {
        match self {
            Self::Plane(..) => None,
            Self::Box(half) => Some(Inertia::cuboid(*half)),
            Self::Sphere(radius) => Some(Inertia::ellipsoid(DVec3::splat(*radius))),
            Self::Ellipsoid(semi) => Some(Inertia::ellipsoid(*semi)),
            Self::Capsule(radius, half) => Some(Inertia::capsule(*radius, *half)),
            Self::Cylinder(radius, half) => Some(Inertia::cylinder(*radius, *half)),
            Self::Mesh(parts, scale) => Inertia::mesh(parts.iter().map(|part| &*part.mesh), *scale, method),
        }
    }
}

/// Convex hull of points, with its pose; a box if they are all in a plane.
fn hull(points: &[Vec3]) -> Option<(SharedShape, Pose)> {
    if let Ok((vertices, triangles)) = rapier3d::parry::transformation::try_convex_hull(points)
        && let Some(polyhedron) = ConvexPolyhedron::from_convex_mesh(vertices, &triangles)
    {
        return Some((SharedShape::new(polyhedron), Pose::IDENTITY));
    }
    let low = points.iter().copied().reduce(Vec3::min)?;
    let high = points.iter().copied().reduce(Vec3::max)?;
    let half = ((high - low) / 2.0).max(Vec3::splat(THINNEST_M));
    Some((SharedShape::cuboid(half.x, half.y, half.z), Pose::from_translation((low + high) / 2.0)))
}

/// Convex hull of points as triangles; `None` if they lie in a plane.
pub(super) fn hull_mesh(points: &[Vec3]) -> Option<TriMesh> {
    let (positions, triangles) = rapier3d::parry::transformation::try_convex_hull(points).ok()?;
    Some(TriMesh { positions, triangles, ..TriMesh::default() })
}

/// Points spread evenly over the unit sphere: an icosahedron whose faces are split twice (162 points).
fn sphere_points() -> Vec<DVec3> {
    let golden = (1.0 + libm::sqrt(5.0)) / 2.0;
    let mut corners = Vec::new();
    for a in [-1.0, 1.0] {
        for b in [-golden, golden] {
            corners.extend([DVec3::new(0.0, a, b), DVec3::new(a, b, 0.0), DVec3::new(b, 0.0, a)]);
        }
    }
    // Edges of an icosahedron with these corners have length 2; midpoints of a set of points that
    // are one edge apart are the split.
    let mut points: Vec<DVec3> = corners.iter().map(|p| p.normalize()).collect();
    for _ in 0..2 {
        let mut closest = f64::INFINITY;
        for (i, p) in points.iter().enumerate() {
            for q in &points[..i] {
                closest = closest.min(p.distance(*q));
            }
        }
        let count = points.len();
        for i in 0..count {
            for j in 0..i {
                if points[i].distance(points[j]) < 1.25 * closest {
                    points.push((points[i] + points[j]).normalize());
                }
            }
        }
    }
    points
}

/// A scaled copy, or the same mesh if the scale is 1. A mirroring scale flips the triangles back outwards.
pub(super) fn scaled(mesh: &Arc<TriMesh>, scale: DVec3) -> Arc<TriMesh> {
    if scale == DVec3::ONE {
        return mesh.clone();
    }
    let mirrored = scale.x * scale.y * scale.z < 0.0;
    let s = scale.as_vec3();
    Arc::new(TriMesh {
        positions: mesh.positions.iter().map(|p| *p * s).collect(),
        normals: mesh.normals.iter().map(|n| (*n / s).normalize_or_zero()).collect(),
        uvs: mesh.uvs.clone(),
        triangles: mesh.triangles.iter().map(|&[a, b, c]| if mirrored { [a, c, b] } else { [a, b, c] }).collect(),
    })
}

/// Rotation about a unit axis, in double precision.
pub(super) fn rotation(axis: DVec3, angle_rad: f64) -> DQuat {
    let (s, c) = (crate::maths::sin(angle_rad / 2.0), crate::maths::cos(angle_rad / 2.0));
    DQuat::from_xyzw(axis.x * s, axis.y * s, axis.z * s, c)
}

/// In the model's precision, with a rotation of length 1.
pub(super) fn to_pose(pose: DPose3) -> Pose {
    Pose::from_parts(pose.translation.as_vec3(), pose.rotation.as_quat().normalize())
}
