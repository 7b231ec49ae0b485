//! Mass, centre of mass and inertia of solids, in double precision.
//!
//! Closed forms are the textbook ones (e.g. Spong, Hutchinson, Vidyasagar, *Robot Modeling and
//! Control*, appendix); meshes use signed tetrahedra from the origin (Mirtich 1996,
//! "Fast and accurate computation of polyhedral mass properties"), which is exact for a closed mesh,
//! or one of MuJoCo's other rules ([`MeshMethod`]).

use glamx::DPose3;
use glamx::glam::{DMat3, DVec3};

use crate::maths::{Mat3, Vec3};
use crate::visual::TriMesh;

const PI: f64 = std::f64::consts::PI;

/// How the mass of a mesh is found (MuJoCo's `<mesh inertia>`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum MeshMethod {
    /// The volume inside, with signed tetrahedra: right for closed meshes.
    #[default]
    Exact,
    /// Tetrahedra from the centre of the faces, all counted as positive: MuJoCo's default. Too
    /// heavy for a mesh that is not convex, but defined for any.
    Legacy,
    /// The volume of the convex hull.
    Convex,
    /// The surface, with the density per square metre.
    Shell,
}

/// A rigid distribution of mass.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Inertia {
    /// kg.
    pub(super) mass: f64,
    /// Centre of mass, metres.
    pub(super) centre: DVec3,
    /// About the centre of mass, kg·m².
    pub(super) tensor: DMat3,
}

impl Inertia {
    pub(super) const ZERO: Self = Self { mass: 0.0, centre: DVec3::ZERO, tensor: DMat3::ZERO };

    fn at_origin(mass: f64, diagonal: DVec3) -> Self {
        Self { mass, centre: DVec3::ZERO, tensor: DMat3::from_diagonal(diagonal) }
    }

    /// Ellipsoid with these semi-axes (a sphere if equal), density 1 kg/m³ as in all that follow.
    pub(super) fn ellipsoid(semi: DVec3) -> Self {
        let mass = 4.0 / 3.0 * PI * semi.x * semi.y * semi.z;
        let s = semi * semi;
        Self::at_origin(mass, mass / 5.0 * DVec3::new(s.y + s.z, s.x + s.z, s.x + s.y))
    }

    /// Box with these half extents.
    pub(super) fn cuboid(half: DVec3) -> Self {
        let mass = 8.0 * half.x * half.y * half.z;
        let s = half * half;
        Self::at_origin(mass, mass / 3.0 * DVec3::new(s.y + s.z, s.x + s.z, s.x + s.y))
    }

    /// Cylinder along z.
    pub(super) fn cylinder(radius: f64, half_height: f64) -> Self {
        let (r2, mass) = (radius * radius, PI * radius * radius * 2.0 * half_height);
        let across = mass * (r2 / 4.0 + half_height * half_height / 3.0);
        Self::at_origin(mass, DVec3::new(across, across, mass * r2 / 2.0))
    }

    /// Capsule along z: a cylinder with two half spheres.
    pub(super) fn capsule(radius: f64, half_length: f64) -> Self {
        let cylinder = Self::cylinder(radius, half_length);
        let caps = Self::ellipsoid(DVec3::splat(radius));
        // Centre of mass of a half sphere is 3r/8 from its flat side.
        let offset = half_length + 3.0 / 8.0 * radius;
        let own = caps.tensor.x_axis.x - caps.mass * (3.0 / 8.0 * radius) * (3.0 / 8.0 * radius);
        let across = cylinder.tensor.x_axis.x + own + caps.mass * offset * offset;
        let along = cylinder.tensor.z_axis.z + caps.tensor.z_axis.z;
        Self::at_origin(cylinder.mass + caps.mass, DVec3::new(across, across, along))
    }

    /// Mass properties of a surface, which may come in several pieces; `None` if it encloses or
    /// covers nothing.
    pub(super) fn mesh<'a>(
        pieces: impl Iterator<Item = &'a TriMesh> + Clone,
        scale: DVec3,
        method: MeshMethod,
    ) -> Option<Self> {
        let mut faces: Vec<[DVec3; 3]> = pieces
            .clone()
            .flat_map(|mesh| mesh.triangles.iter().map(|t| t.map(|i| mesh.positions[i as usize].as_dvec3() * scale)))
            .collect();
        if scale.x * scale.y * scale.z < 0.0 {
            // A mirrored scale turns the mesh inside out.
            faces.iter_mut().for_each(|face| face.swap(1, 2));
        }
        if method == MeshMethod::Convex {
            let points: Vec<Vec3> = faces.iter().flatten().map(|p| p.as_vec3()).collect();
            let hull = super::shapes::hull_mesh(&points)?;
            return Self::mesh(std::iter::once(&hull), DVec3::ONE, MeshMethod::Exact);
        }
        let area = |[a, b, c]: &[DVec3; 3]| (*b - *a).cross(*c - *a).length() / 2.0;
        let total_area: f64 = faces.iter().map(area).sum();
        if total_area <= 0.0 {
            return None;
        }
        // Any reference point will do for a closed surface; MuJoCo's is the centre of the faces.
        let middle = faces.iter().map(|f| (f[0] + f[1] + f[2]) / 3.0 * area(f)).sum::<DVec3>() / total_area;
        let weight = |face: &[DVec3; 3], reference: DVec3| {
            let [a, b, c] = face.map(|p| p - reference);
            match method {
                MeshMethod::Shell => area(face),
                MeshMethod::Legacy => (a.dot(b.cross(c)) / 6.0).abs(),
                MeshMethod::Exact | MeshMethod::Convex => a.dot(b.cross(c)) / 6.0,
            }
        };
        // A tetrahedron has its reference corner too, a triangle only its own three.
        let (corners, pairs) = if method == MeshMethod::Shell { (3.0, 12.0) } else { (4.0, 20.0) };
        let (mut mass, mut first) = (0.0, DVec3::ZERO);
        for face in &faces {
            let w = weight(face, middle);
            mass += w;
            first += w / corners * face.iter().map(|p| *p - middle).sum::<DVec3>();
        }
        if mass <= 1.0e-15 {
            return None;
        }
        let centre = middle + first / mass;
        // Seen from the centre of mass; the volume too, which only the legacy rule sees differently.
        let (mut mass, mut second) = (0.0, DMat3::ZERO);
        for face in &faces {
            let [a, b, c] = face.map(|p| p - centre);
            let (w, sum) = (weight(face, centre), a + b + c);
            mass += w;
            second += (outer(sum, sum) + outer(a, a) + outer(b, b) + outer(c, c)) * (w / pairs);
        }
        let trace = second.x_axis.x + second.y_axis.y + second.z_axis.z;
        let tensor = DMat3::from_diagonal(DVec3::splat(trace)) - second;
        Some(Self { mass, centre, tensor })
    }

    /// The same body seen from a frame in which its frame has this pose.
    pub(super) fn placed(self, pose: DPose3) -> Self {
        let r = DMat3::from_quat(pose.rotation);
        Self { mass: self.mass, centre: pose.transform_point(self.centre), tensor: r * self.tensor * r.transpose() }
    }

    /// The same shape with another mass, spread alike.
    pub(super) fn with_mass(self, mass: f64) -> Self {
        let factor = if self.mass > 0.0 { mass / self.mass } else { 0.0 };
        Self { mass, centre: self.centre, tensor: self.tensor * factor }
    }

    /// Both together (parallel axis theorem).
    pub(super) fn plus(self, other: Self) -> Self {
        let mass = self.mass + other.mass;
        if mass <= 0.0 {
            return Self { mass, ..self };
        }
        let centre = (self.centre * self.mass + other.centre * other.mass) / mass;
        let shifted = |part: &Self| {
            let d = part.centre - centre;
            part.tensor + (DMat3::from_diagonal(DVec3::splat(d.length_squared())) - outer(d, d)) * part.mass
        };
        Self { mass, centre, tensor: shifted(&self) + shifted(&other) }
    }

    /// Principal moments, ascending, with the axes as columns.
    pub(super) fn principal(&self) -> (DVec3, DMat3) {
        eigen(self.tensor)
    }

    /// In the model's precision.
    pub(super) fn tensor_f32(&self) -> Mat3 {
        self.tensor.as_mat3()
    }
}

fn outer(a: DVec3, b: DVec3) -> DMat3 {
    DMat3::from_cols(a * b.x, a * b.y, a * b.z)
}

/// Eigenvalues (ascending) and eigenvectors (columns) of a symmetric matrix, by cyclic Jacobi rotations.
pub(super) fn eigen(matrix: DMat3) -> (DVec3, DMat3) {
    let mut a = matrix.to_cols_array_2d();
    let mut v = DMat3::IDENTITY.to_cols_array_2d();
    // Converges quadratically; 12 sweeps are far more than 3×3 needs in double precision.
    for _ in 0..12 {
        for (p, q) in [(0, 1), (0, 2), (1, 2)] {
            if a[p][q] == 0.0 {
                continue;
            }
            let theta = (a[q][q] - a[p][p]) / (2.0 * a[p][q]);
            let t = theta.signum() / (theta.abs() + libm::sqrt(theta * theta + 1.0));
            let c = 1.0 / libm::sqrt(t * t + 1.0);
            let s = t * c;
            for row in &mut a {
                (row[p], row[q]) = (c * row[p] - s * row[q], s * row[p] + c * row[q]);
            }
            for k in 0..3 {
                (a[p][k], a[q][k]) = (c * a[p][k] - s * a[q][k], s * a[p][k] + c * a[q][k]);
                (v[p][k], v[q][k]) = (c * v[p][k] - s * v[q][k], s * v[p][k] + c * v[q][k]);
            }
        }
    }
    let mut order = [0, 1, 2];
    order.sort_by(|&i, &j| a[i][i].total_cmp(&a[j][j]));
    let column = |i: usize| DVec3::from_array(v[order[i]]);
    (DVec3::from_array(order.map(|i| a[i][i])), DMat3::from_cols(column(0), column(1), column(2)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sums of the same terms in another order in double precision.
    const TOLERANCE: f64 = 1.0e-9;

    fn unit_cube() -> TriMesh {
        let positions = (0..8u8)
            .map(|i| crate::maths::Vec3::new(f32::from(i & 1), f32::from(i >> 1 & 1), f32::from(i >> 2 & 1)))
            .collect();
        let triangles = vec![
            [0, 2, 1],
            [1, 2, 3],
            [4, 5, 6],
            [5, 7, 6],
            [0, 1, 4],
            [1, 5, 4],
            [2, 6, 3],
            [3, 6, 7],
            [0, 4, 2],
            [2, 4, 6],
            [1, 3, 5],
            [3, 7, 5],
        ];
        TriMesh { positions, triangles, ..TriMesh::default() }
    }

    #[test]
    fn a_cube_mesh_weighs_and_turns_as_a_box() {
        let scale = DVec3::new(0.2, 0.3, -0.5);
        let solid = Inertia::cuboid(scale.abs() / 2.0);
        for (method, tolerance) in [
            (MeshMethod::Exact, TOLERANCE),
            (MeshMethod::Legacy, TOLERANCE),
            // The hull is found in single precision.
            (MeshMethod::Convex, 1.0e-7),
        ] {
            let mesh = Inertia::mesh(std::iter::once(&unit_cube()), scale, method).expect("closed");
            assert!((mesh.mass - solid.mass).abs() < tolerance, "{method:?}: {} against {}", mesh.mass, solid.mass);
            assert!((mesh.centre - scale / 2.0).length() < tolerance, "{method:?}: centre {}", mesh.centre);
            let difference = (mesh.tensor - solid.tensor).to_cols_array().map(f64::abs).into_iter().fold(0.0, f64::max);
            assert!(difference < tolerance, "{method:?}: {} against {}", mesh.tensor, solid.tensor);
        }
    }

    #[test]
    fn a_cube_shell_turns_as_six_plates() {
        let shell = Inertia::mesh(std::iter::once(&unit_cube()), DVec3::ONE, MeshMethod::Shell).expect("covered");
        // Six unit plates: two at their own I = m/6, four at m/12 + m/4, m = 1 each.
        let expected = 2.0 / 6.0 + 4.0 * (1.0 / 12.0 + 1.0 / 4.0);
        assert!((shell.mass - 6.0).abs() < TOLERANCE, "mass {}", shell.mass);
        assert!((shell.tensor.x_axis.x - expected).abs() < TOLERANCE, "{} against {expected}", shell.tensor.x_axis.x);
    }

    #[test]
    fn an_open_mesh_weighs_nothing_certain_unless_tetrahedra_count_as_positive() {
        let mut open = unit_cube();
        open.triangles.truncate(2);
        assert_eq!(Inertia::mesh(std::iter::once(&open), DVec3::ONE, MeshMethod::Exact), None);
    }

    #[test]
    fn a_capsule_is_its_cylinder_and_two_half_balls_found_by_integration() {
        // Midpoint rule over discs of thickness h along z; its error falls as h².
        let (r, l, n) = (0.3, 0.5, 20_000);
        let h = 2.0 * (l + r) / f64::from(n);
        let (mut mass, mut across) = (0.0, 0.0);
        for i in 0..n {
            let z = -(l + r) + (f64::from(i) + 0.5) * h;
            let inside = (z.abs() - l).max(0.0);
            let disc = PI * (r * r - inside * inside) * h;
            mass += disc;
            across += disc * ((r * r - inside * inside) / 4.0 + z * z);
        }
        let capsule = Inertia::capsule(r, l);
        assert!((capsule.mass - mass).abs() < 1.0e-7, "{} against {mass}", capsule.mass);
        assert!((capsule.tensor.x_axis.x - across).abs() < 1.0e-7, "{} against {across}", capsule.tensor.x_axis.x);
    }

    #[test]
    fn a_body_cut_in_two_weighs_and_turns_as_the_whole() {
        let whole = Inertia::cuboid(DVec3::new(0.4, 0.1, 0.2));
        let half = Inertia::cuboid(DVec3::new(0.2, 0.1, 0.2));
        let at = |x| half.placed(DPose3::from_translation(DVec3::new(x, 0.0, 0.0)));
        let both = at(-0.2).plus(at(0.2));
        assert!(both.tensor.abs_diff_eq(whole.tensor, TOLERANCE), "{} against {}", both.tensor, whole.tensor);
        let wrong = at(-0.1).plus(at(0.1));
        assert!(!wrong.tensor.abs_diff_eq(whole.tensor, TOLERANCE), "halves at other places must not agree");
    }

    #[test]
    fn principal_moments_survive_a_rotation() {
        let solid = Inertia::cuboid(DVec3::new(0.4, 0.1, 0.2));
        let turned =
            solid.placed(DPose3::from_rotation(glamx::glam::DQuat::from_xyzw(0.1, -0.4, 0.3, 0.86).normalize()));
        let (moments, axes) = turned.principal();
        let mut expected = [solid.tensor.x_axis.x, solid.tensor.y_axis.y, solid.tensor.z_axis.z];
        expected.sort_by(f64::total_cmp);
        assert!((moments - DVec3::from_array(expected)).length() < TOLERANCE, "{moments} against {expected:?}");
        let back = axes * DMat3::from_diagonal(moments) * axes.transpose();
        assert!(back.abs_diff_eq(turned.tensor, TOLERANCE), "{back} against {}", turned.tensor);
    }
}
