//! How a clip moves, as a vector that needs no trained network: for [`distance`](super::distance) between sets of
//! clips.
//!
//! A histogram of oriented optical flow (Chaudhry et al. 2009) and one of its change in time (as velocity and
//! acceleration in Liu et al. 2024, "Fréchet video motion distance"), with the energy of the temporal difference for
//! what flow cannot see. Exactly, with the [`flow`](super::flow) v of every grid point from each frame to the next:
//!
//! - *Cells*: 2 × 2; the point or pixel (x, y) is in column ⌊2 x / W⌋ and row ⌊2 y / H⌋.
//! - *Bins*: directions d_k at k · 45°, k = 0 … 7, from right over down to left and up. A vector u puts max(0, u·d_k)²
//!   / (2 |u|) into bin k. The eight add up to |u|: a vector counts by its length, shared smoothly between the
//!   directions near it.
//! - *Velocity*, 8 numbers a cell: the sum over its points and frame pairs of v in bins, divided by how many points ×
//!   pairs there are. A point without flow puts nothing in. In pixels a frame.
//! - *Acceleration*, 8 numbers a cell: the same of v_{t+1} − v_t where a point has both, divided by points × (pairs −
//!   1).
//! - *Difference*, 1 number a cell: √(mean of (Y_{t+1} − Y_t)² over its pixels and frame pairs) / 25.5, in tenths of
//!   the range of luma, which makes it about as large as the others.
//!
//! The vector is cell after cell, row by row: [`DIM`] numbers. Clips of any length can be compared, of different sizes
//! they should not (pixels are the unit). Everything here is fixed, since numbers of two definitions cannot be
//! compared.
//!
//! The *motion Fréchet distance* of two sets of clips is
//! [`frechet`](super::distance::frechet)`(&features(a)?, &features(b)?, 0.0)`, their *motion kernel distance*
//! [`kernel_distance`](super::distance::kernel_distance) of the same. For a Fréchet distance of full rank each set needs
//! more than [`DIM`] clips. Neither looks at what things look like: a film of something else that moves alike is close.

use rayon::prelude::*;

use super::clip::{Clip, check_frames};
use super::distance::Features;
use super::flow::{Pyramid, check_size, length, points};
use crate::error::Result;

/// Cells along each side.
const CELLS: usize = 2;
const BINS: usize = 8;
const PER_CELL: usize = 2 * BINS + 1;
/// Length of a clip's vector: 4 cells × (8 + 8 + 1).
pub const DIM: usize = CELLS * CELLS * PER_CELL;

/// √½ to the last bit, so that diagonals need no function.
const DIAGONAL: f64 = std::f64::consts::FRAC_1_SQRT_2;
/// d_k: (right, down).
const DIRECTIONS: [[f64; 2]; BINS] = [
    [1.0, 0.0],
    [DIAGONAL, DIAGONAL],
    [0.0, 1.0],
    [-DIAGONAL, DIAGONAL],
    [-1.0, 0.0],
    [-DIAGONAL, -DIAGONAL],
    [0.0, -1.0],
    [DIAGONAL, -DIAGONAL],
];

/// The vectors of many clips, in order.
///
/// # Errors
/// [`Error::Metric`](crate::Error::Metric) of no clips, or one of fewer than 3 frames or 16 × 16 pixels.
pub fn features(clips: &[Clip]) -> Result<Features> {
    let vectors: Vec<[f64; DIM]> = clips.par_iter().map(motion).collect::<Result<_>>()?;
    Features::new(vectors.concat(), DIM)
}

/// The vector of one clip.
///
/// # Errors
/// [`Error::Metric`](crate::Error::Metric) if it has fewer than 3 frames or 16 × 16 pixels.
pub fn motion(clip: &Clip) -> Result<[f64; DIM]> {
    check_frames("motion", clip, 3)?;
    check_size("motion", clip)?;
    let (height, width) = (clip.height(), clip.width());
    let cell_of = |[x, y]: [usize; 2]| y * CELLS / height * CELLS + x * CELLS / width;
    let cells: Vec<usize> = points(height, width).map(cell_of).collect();
    let mut points_in = [0.0; CELLS * CELLS];
    cells.iter().for_each(|&cell| points_in[cell] += 1.0);
    let pairs = (clip.frames() - 1) as f64;

    let mut vector = [0.0; DIM];
    let mut pyramid = Pyramid::new(clip, 0);
    let mut before: Option<Vec<Option<[f64; 2]>>> = None;
    for t in 1..clip.frames() {
        let next = Pyramid::new(clip, t);
        let flow = pyramid.flow_to(&next);
        for (i, &cell) in cells.iter().enumerate() {
            let Some(v) = flow[i] else { continue };
            put(&mut vector[cell * PER_CELL..], v, pairs * points_in[cell]);
            if let Some(Some(old)) = before.as_ref().map(|before| before[i]) {
                let change = [v[0] - old[0], v[1] - old[1]];
                put(&mut vector[cell * PER_CELL + BINS..], change, (pairs - 1.0) * points_in[cell]);
            }
        }
        (pyramid, before) = (next, Some(flow));
    }
    for (cell, difference) in differences(clip, &cell_of).into_iter().enumerate() {
        vector[cell * PER_CELL + 2 * BINS] = difference;
    }
    Ok(vector)
}

/// Adds `vector` to the bins, divided by `count`.
fn put(bins: &mut [f64], vector: [f64; 2], count: f64) {
    let length = length(vector);
    if length > 0.0 {
        for (bin, direction) in bins.iter_mut().zip(DIRECTIONS) {
            let along = (vector[0] * direction[0] + vector[1] * direction[1]).max(0.0);
            *bin += along * along / (2.0 * length) / count;
        }
    }
}

/// Root mean square of the temporal difference of every cell, in tenths of the range.
fn differences(clip: &Clip, cell_of: &impl Fn([usize; 2]) -> usize) -> [f64; CELLS * CELLS] {
    let (mut sums, mut counts) = ([0.0; CELLS * CELLS], [0.0; CELLS * CELLS]);
    let mut before = clip.luma(0);
    for t in 1..clip.frames() {
        let now = clip.luma(t);
        for (i, (new, old)) in now.iter().zip(&before).enumerate() {
            let cell = cell_of([i % clip.width(), i / clip.width()]);
            sums[cell] += (new - old) * (new - old);
            counts[cell] += 1.0;
        }
        before = now;
    }
    std::array::from_fn(|cell| f64::sqrt(sums[cell] / counts[cell]) / 25.5)
}

#[cfg(test)]
mod tests {
    use super::super::clip::samples::Video;
    use super::super::distance::{frechet, kernel_distance};
    use super::*;

    const SIZE: [usize; 3] = [6, 32, 32];

    fn sum(values: &[f64]) -> f64 {
        values.iter().sum()
    }

    #[test]
    fn a_vector_is_shared_between_bins_and_keeps_its_length() {
        for vector in [[3.0, 0.0], [0.3, -0.4], [-1.0, 2.0], [1.0, 1.0]] {
            let mut bins = [0.0; BINS];
            put(&mut bins, vector, 1.0);
            assert!((sum(&bins) - length(vector)).abs() < 1e-12, "{vector:?}: {bins:?}");
        }
        let mut bins = [0.0; BINS];
        put(&mut bins, [0.0, 2.0], 4.0);
        assert!(bins[2] == 0.25 && bins[6] == 0.0 && (bins[1] - 0.125).abs() < 1e-12, "{bins:?}");
    }

    #[test]
    fn a_pan_to_the_right_fills_the_bins_of_the_right_and_has_no_acceleration() {
        let vector = motion(&Video::moving(SIZE, [1.5, 0.0], 1).clip()).unwrap();
        for cell in vector.chunks_exact(PER_CELL) {
            let (velocity, acceleration) = (&cell[..BINS], &cell[BINS..2 * BINS]);
            assert!((sum(velocity) - 1.5).abs() < 0.5, "expected 1.5 pixels a frame, found {velocity:?}");
            assert!(velocity[0] > 10.0 * velocity[4] && velocity[0] > 1.5 * velocity[1], "{velocity:?}");
            assert!(sum(acceleration) < 0.4 * sum(velocity), "{acceleration:?}");
        }
    }

    #[test]
    fn a_pan_that_gains_a_pixel_a_frame_has_an_acceleration_of_one() {
        for (direction, bin) in [([1.0, 0.0], 0), ([0.0, 1.0], 2)] {
            // Places 0, 1, 3, 6: velocities 1, 2, 3.
            let video = Video::moving([7, 64, 64], direction, 2).reordered(&[0, 1, 3, 6]);
            for cell in motion(&video.clip()).unwrap().chunks_exact(PER_CELL) {
                let (velocity, acceleration) = (&cell[..BINS], &cell[BINS..2 * BINS]);
                // The last of eight lines of points leaves the frame.
                assert!((sum(velocity) - 2.0).abs() < 2.0 / 7.0, "{velocity:?}");
                assert!((sum(acceleration) - 1.0).abs() < 1.0 / 5.0, "{acceleration:?}");
                assert!(acceleration[bin] > 10.0 * acceleration[(bin + 4) % 8], "{acceleration:?}");
            }
        }
    }

    #[test]
    fn a_still_clip_is_all_zeros() {
        assert_eq!(motion(&Video::moving(SIZE, [0.0; 2], 1).clip()).unwrap(), [0.0; DIM]);
    }

    #[test]
    fn the_difference_is_that_of_a_naive_loop() {
        let video = Video::moving(SIZE, [1.0, 2.0], 1);
        let clip = video.clip();
        let (mut sum, mut count) = (0.0, 0.0);
        for t in 1..SIZE[0] {
            for y in 16..32 {
                for x in 0..16 {
                    sum += (clip.luma(t)[y * 32 + x] - clip.luma(t - 1)[y * 32 + x]).powi(2);
                    count += 1.0;
                }
            }
        }
        let (found, expected) = (motion(&clip).unwrap()[2 * PER_CELL + 2 * BINS], f64::sqrt(sum / count) / 25.5);
        assert!((found - expected).abs() < 1e-12, "expected {expected}, found {found}");
    }

    #[test]
    fn clips_that_move_alike_are_nearer_than_faster_shuffled_or_still_ones() {
        let set = |first: u64, speed: f64, change: &dyn Fn(Video) -> Video| {
            let videos: Vec<Video> = (first..first + 24)
                .map(|seed| {
                    let angle = seed as f64 * 0.7;
                    change(Video::moving(SIZE, [speed * angle.cos(), speed * angle.sin()], seed))
                })
                .collect();
            features(&videos.iter().map(Video::clip).collect::<Vec<_>>()).unwrap()
        };
        let truth = set(0, 1.0, &|video| video);
        let alike = set(100, 1.0, &|video| video);
        let others = [
            ("faster", set(100, 2.0, &|video| video)),
            ("shuffled", set(100, 1.0, &|video| video.reordered(&[3, 0, 4, 1, 5, 2]))),
            ("still", set(100, 1.0, &|video| video.reordered(&[0; 6]))),
        ];
        let distances = |set: &Features| {
            let kernel = kernel_distance(&truth, set, 10, 16, 1).unwrap().distance;
            (frechet(&truth, set, 0.0).unwrap().distance, kernel)
        };
        let near = distances(&alike);
        for (name, other) in others {
            let far = distances(&other);
            assert!(far.0 > 2.0 * near.0, "Fréchet: alike {}, {name} {}", near.0, far.0);
            assert!(far.1 > near.1, "kernel: alike {}, {name} {}", near.1, far.1);
        }
    }

    #[test]
    fn short_and_small_clips_and_no_clips_are_refused() {
        assert!(motion(&Video::new([2, 32, 32], |_, _, _, _| 0).clip()).unwrap_err().to_string().contains("3 frames"));
        assert!(motion(&Video::new([3, 15, 32], |_, _, _, _| 0).clip()).unwrap_err().to_string().contains("15 × 32"));
        assert!(features(&[]).is_err());
    }
}
