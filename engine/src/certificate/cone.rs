//! The part of a vector that no sum of admissible impulses explains.
//!
//! A contact with normal n and friction µ pushes along n + µt for any t ⟂ n with ‖t‖ ≤ 1. Eight directions t
//! span the cone from inside (at most 8 % of its width is lost, which µ is raised for), and
//!
//! ```text
//! min over λ ≥ 0 of ‖ r − Σ λⱼ gⱼ ‖
//! ```
//!
//! is found by coordinate descent: each λⱼ in turn takes its best value with the others held.

use crate::maths::{Vec3, cos, sin};

/// Directions of friction around a normal.
const SIDES: usize = 8;
/// The inscribed polygon's inner radius is cos(π/8) of the circle's.
const WIDEN: f32 = 1.083;
/// Sweeps over all directions; in three dimensions a few dozen reach f32's limit.
const SWEEPS: usize = 64;

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
    let mut amounts = vec![0.0f32; directions.len()];
    let mut left = vector;
    for _ in 0..SWEEPS {
        let before = left;
        for (amount, &direction) in amounts.iter_mut().zip(directions) {
            let best = (*amount + left.dot(direction)).max(0.0);
            left -= direction * (best - *amount);
            *amount = best;
        }
        if (before - left).length_squared() <= 1.0e-14 * vector.length_squared() {
            break;
        }
    }
    left
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
        assert!((sideways - 0.88).abs() < 0.03, "expected about cos(atan 0.54) = 0.88 of 1 to be left, found {sideways}");
        assert_eq!(unexplained(Vec3::Y, &[]), Vec3::Y, "without contacts all is left");
    }
}
