//! The part of a vector that no sum of admissible impulses explains.
//!
//! A contact with normal n and friction µ pushes along n + µt for any t ⟂ n with ‖t‖ ≤ 1. Eight directions t
//! span the cone from inside (at most 8 % of its width is lost, which µ is raised for), and
//!
//! ```text
//! min over λ ≥ 0 of ‖ r − Σ λⱼ gⱼ ‖
//! ```
//!
//! is found by the active-set method of Lawson and Hanson ("Solving Least Squares Problems", 1974, chapter 23): in three
//! dimensions at most three directions are in use at a time.

use glamx::glam::{DMat3, DVec3};

use crate::maths::{Vec3, cos, sin};

/// Directions of friction around a normal.
const SIDES: usize = 8;
/// The inscribed polygon's inner radius is cos(π/8) of the circle's.
const WIDEN: f32 = 1.083;
/// Directions that are tried at most; a handful is usual.
const TRIES: usize = 256;
/// Part of the vector below which nothing is left.
const NOTHING: f64 = 1.0e-7;

/// Adds the edges of a friction cone to a list of directions.
pub(super) fn push_cone(directions: &mut Vec<Vec3>, normal: Vec3, friction: f32) {
    let first = normal.any_orthonormal_vector();
    let second = normal.cross(first);
    directions.push(normal);
    for side in 0..SIDES {
        let angle = std::f64::consts::TAU * side as f64 / SIDES as f64;
        let tangent = first * cos(angle) as f32 + second * sin(angle) as f32;
        directions.push((normal + tangent * (friction * WIDEN)).normalize());
    }
}

/// What is left of `vector` after the best sum of non-negative multiples of unit `directions`.
pub(super) fn unexplained(vector: Vec3, directions: &[Vec3]) -> Vec3 {
    let target = vector.as_dvec3();
    let small = NOTHING * target.length();
    let mut used: Vec<(DVec3, f64)> = Vec::with_capacity(4);
    for _ in 0..TRIES {
        let left = target - used.iter().map(|(direction, amount)| *direction * *amount).sum::<DVec3>();
        let best =
            directions.iter().map(|direction| direction.as_dvec3()).max_by(|a, b| a.dot(left).total_cmp(&b.dot(left)));
        let Some(best) = best.filter(|best| best.dot(left) > small && used.len() < 3) else { break };
        let before = used.clone();
        used.push((best, 0.0));
        while let Some(wanted) = fit(target, &used) {
            // As far towards the best amounts as none becomes negative; what reaches zero is out of use.
            let step = used
                .iter()
                .zip(&wanted)
                .filter(|(_, wanted)| **wanted <= 0.0)
                .map(|((_, now), wanted)| now / (now - wanted));
            let step = step.fold(1.0, f64::min);
            for ((_, amount), wanted) in used.iter_mut().zip(&wanted) {
                *amount += step * (wanted - *amount);
            }
            if step >= 1.0 {
                break;
            }
            used.retain(|(_, amount)| *amount > small);
        }
        let gained = |set: &[(DVec3, f64)]| (target - set.iter().map(|(d, a)| *d * *a).sum::<DVec3>()).length();
        if gained(&used) >= gained(&before) - small * NOTHING {
            used = before;
            break;
        }
    }
    (target - used.iter().map(|(direction, amount)| *direction * *amount).sum::<DVec3>()).as_vec3()
}

/// Best amounts of one to three directions, whatever their signs; `None` if one is a mixture of the others.
fn fit(target: DVec3, used: &[(DVec3, f64)]) -> Option<Vec<f64>> {
    const DEPENDENT: f64 = 1.0e-12;
    match *used {
        [(a, _)] => Some(vec![a.dot(target)]),
        [(a, _), (b, _)] => {
            let (ab, at, bt) = (a.dot(b), a.dot(target), b.dot(target));
            let det = 1.0 - ab * ab;
            (det > DEPENDENT).then(|| vec![(at - ab * bt) / det, (bt - ab * at) / det])
        }
        [(a, _), (b, _), (c, _)] => {
            let columns = DMat3::from_cols(a, b, c);
            let whole = columns.determinant().abs() > DEPENDENT;
            whole.then(|| (columns.inverse() * target).to_array().to_vec())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cone_explains_what_lies_in_it_and_the_distance_to_it_is_left() {
        let mut floor = Vec::new();
        push_cone(&mut floor, Vec3::Z, 0.5);
        for angle in 0..16 {
            let angle = f64::from(angle) * 0.39;
            let inside = Vec3::new(0.49 * cos(angle) as f32, 0.49 * sin(angle) as f32, 1.0);
            let left = unexplained(inside, &floor).length();
            assert!(left < 1.0e-3, "expected {inside} to be explained, {left} is left");
        }
        let pulled = unexplained(Vec3::new(0.0, 0.0, -2.0), &floor).length();
        assert!((pulled - 2.0).abs() < 1.0e-5, "a floor does not pull: expected 2 to be left, found {pulled}");
        let sideways = unexplained(Vec3::X, &floor).length();
        assert!(
            (sideways - 0.88).abs() < 0.03,
            "expected about cos(atan 0.54) = 0.88 of 1 to be left, found {sideways}"
        );
        assert_eq!(unexplained(Vec3::Y, &[]), Vec3::Y, "without contacts all is left");
    }
}
