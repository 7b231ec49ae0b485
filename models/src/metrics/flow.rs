//! Optical flow by pyramidal Lucas–Kanade, without weights.
//!
//! For each point of a grid, the shift v of the window around it from luma I of one frame to J of the next:
//!
//! ```text
//! G = Σ_w [ Ix²   Ix Iy ]      b = Σ_w (I(p) − J(p + g + v)) [ Ix ]      v ← v + G⁻¹ b      g ← 2 (g + v) a level down
//!         [ Ix Iy   Iy² ]                                    [ Iy ]
//! ```
//!
//! (Lucas and Kanade 1981; Bouguet 2001, "Pyramidal implementation of the affine Lucas Kanade feature tracker", of
//! whose affine part nothing is used.) Exactly:
//!
//! - *Pyramid*: means of 2 × 2 pixels (an odd last row or column is left out), at most [`LEVELS`] levels, none whose
//!   shorter side is below [`LEAST_SIDE`].
//! - *Points*: x and y are 2, 6, 10, …: every [`STRIDE`] pixels.
//! - *Window w*: 7 × 7 pixels of the level, bilinear between pixels. Those outside the frame, and those that v takes
//!   outside, are left out of all sums; with fewer than [`LEAST_PIXELS`] left there is no solution.
//! - *Gradients*: central differences of I, one-sided at the border.
//! - *Iterations*: until a step is below 0.03 pixels, at most [`ITERATIONS`] at each level.
//! - *No solution* at a level: too few pixels, v longer than the window's side, or an eigenvalue of G divided by the
//!   number of pixels below [`LEAST_TEXTURE`] (along an edge motion cannot be seen). At a coarser level v is 0 then; at
//!   the finest the point has no flow, which is so for what leaves the frame.
//! - A flow with a larger mean squared difference over the window than standing still has is set to 0.
//!
//! It follows shifts of some 10 pixels a frame with three levels, takes no account of what is covered or uncovered, and
//! is meant for comparing clips, not for measuring single motions. Sums are taken in a fixed order and only exactly
//! rounded operations are used, so that results are the same on every machine.

use super::clip::Clip;
use super::invalid;
use crate::error::Result;

/// Pixels from one point to the next.
pub const STRIDE: usize = 4;
/// Levels of the pyramid, at most.
pub const LEVELS: usize = 3;
/// Pixels of the shorter side of the coarsest level, at least.
pub const LEAST_SIDE: usize = 16;
/// Steps at each level, at most.
pub const ITERATIONS: usize = 5;
/// Pixels that a solution rests on, at least: more than half of the window.
pub const LEAST_PIXELS: usize = 25;
/// Least eigenvalue of the mean of ∇I ∇Iᵀ over the window, in (steps of luma per pixel)²: above what noise of one step
/// has.
pub const LEAST_TEXTURE: f64 = 1.0;

/// Pixels on each side of a window's centre.
const RADIUS: usize = 3;
const SIDE: usize = 2 * RADIUS + 1;
/// Bouguet's threshold on the length of a step, in pixels.
const LEAST_STEP: f64 = 0.03;

/// Where flow is taken in a frame of these sizes: (x, y), row by row.
pub fn points(height: usize, width: usize) -> impl Iterator<Item = [usize; 2]> {
    let along = |size| (STRIDE / 2..size).step_by(STRIDE);
    along(height).flat_map(move |y| along(width).map(move |x| [x, y]))
}

/// Flow of every point of a clip's frame `t` to the next: (right, down) in pixels.
///
/// # Errors
/// [`Error::Metric`](crate::Error::Metric) if there is no next frame or the frames are below 16 × 16 pixels.
pub fn flow(clip: &Clip, t: usize) -> Result<Vec<Option<[f64; 2]>>> {
    check_size("flow", clip)?;
    if t.saturating_add(1) >= clip.frames() {
        return Err(invalid("flow", format!("frame {t} of {} has none after it", clip.frames())));
    }
    Ok(Pyramid::new(clip, t).flow_to(&Pyramid::new(clip, t + 1)))
}

/// Refuses frames that are too small.
pub(super) fn check_size(what: &'static str, clip: &Clip) -> Result<()> {
    let (height, width) = (clip.height(), clip.width());
    match height.min(width) >= LEAST_SIDE {
        true => Ok(()),
        false => Err(invalid(what, format!("{height} × {width} pixels are below {LEAST_SIDE} × {LEAST_SIDE}"))),
    }
}

/// A frame of at least [`LEAST_SIDE`] pixels each way, prepared.
pub(super) struct Pyramid(Vec<Level>);

struct Level {
    image: Image,
    dx: Image,
    dy: Image,
}

impl Pyramid {
    /// Of frame `t`.
    pub(super) fn new(clip: &Clip, t: usize) -> Self {
        let mut image = Image { values: clip.luma(t), height: clip.height(), width: clip.width() };
        let mut levels = Vec::new();
        loop {
            let half = (image.height.min(image.width) / 2 >= LEAST_SIDE).then(|| image.half());
            let (dx, dy) = (image.difference(0, 1), image.difference(1, 0));
            levels.push(Level { image, dx, dy });
            match half {
                Some(half) if levels.len() < LEVELS => image = half,
                _ => return Self(levels),
            }
        }
    }

    /// Flow of every point from this frame to `next`, which has the same size.
    pub(super) fn flow_to(&self, next: &Self) -> Vec<Option<[f64; 2]>> {
        let Image { height, width, .. } = self.0[0].image;
        points(height, width).map(|point| self.track(next, point)).collect()
    }

    fn track(&self, next: &Self, [x, y]: [usize; 2]) -> Option<[f64; 2]> {
        let mut guess = [0.0; 2];
        for (depth, level) in self.0.iter().enumerate().skip(1).rev() {
            let shift = Window::new(level, [x, y], depth).solve(&next.0[depth].image, guess).unwrap_or_default();
            guess = [2.0 * (guess[0] + shift[0]), 2.0 * (guess[1] + shift[1])];
        }
        let (window, target) = (Window::new(&self.0[0], [x, y], 0), &next.0[0].image);
        let shift = window.solve(target, guess)?;
        let flow = [guess[0] + shift[0], guess[1] + shift[1]];
        let still = window.error(target, [0.0; 2]) < window.error(target, flow);
        Some(if still { [0.0; 2] } else { flow })
    }
}

/// A pixel of a window, with its value and gradient in the first frame.
#[derive(Clone, Copy)]
struct Pixel {
    at: [f64; 2],
    value: f64,
    dx: f64,
    dy: f64,
}

/// The pixels around a point that are in the frame.
struct Window(Vec<Pixel>);

impl Window {
    /// Around the pixel (x, y) of the finest level, in the level `depth` above it.
    fn new(level: &Level, [x, y]: [usize; 2], depth: usize) -> Self {
        // Pixel i of a level covers pixels scale·i … scale·(i + 1) − 1: its centre is half of them on.
        let scale = f64::from(1u32 << depth);
        let corner = [x, y].map(|at| (at as f64 + 0.5) / scale - 0.5 - RADIUS as f64);
        let places = (0..SIDE * SIDE).map(|i| [corner[0] + (i % SIDE) as f64, corner[1] + (i / SIDE) as f64]);
        let pixel = |at| {
            let (value, dx, dy) = (level.image.sample(at)?, level.dx.sample(at)?, level.dy.sample(at)?);
            Some(Pixel { at, value, dx, dy })
        };
        Self(places.filter_map(pixel).collect())
    }

    /// v beyond `guess`, if there is a solution.
    fn solve(&self, target: &Image, guess: [f64; 2]) -> Option<[f64; 2]> {
        let mut shift = [0.0; 2];
        for _ in 0..ITERATIONS {
            let (mut count, mut xx, mut xy, mut yy, mut bx, mut by) = (0, 0.0, 0.0, 0.0, 0.0, 0.0);
            for (Pixel { dx, dy, .. }, difference) in
                self.differences(target, [guess[0] + shift[0], guess[1] + shift[1]])
            {
                count += 1;
                xx += dx * dx;
                xy += dx * dy;
                yy += dy * dy;
                bx += difference * dx;
                by += difference * dy;
            }
            let least = (xx + yy - ((xx - yy) * (xx - yy) + 4.0 * xy * xy).sqrt()) / 2.0;
            if count < LEAST_PIXELS || least < LEAST_TEXTURE * count as f64 {
                return None;
            }
            let determinant = xx * yy - xy * xy;
            let step = [(yy * bx - xy * by) / determinant, (xx * by - xy * bx) / determinant];
            shift = [shift[0] + step[0], shift[1] + step[1]];
            if length(shift) > SIDE as f64 {
                return None;
            }
            if length(step) < LEAST_STEP {
                break;
            }
        }
        Some(shift)
    }

    /// Mean squared difference; of no pixels, infinite.
    fn error(&self, target: &Image, flow: [f64; 2]) -> f64 {
        super::mean(self.differences(target, flow).map(|(_, difference)| difference * difference))
            .unwrap_or(f64::INFINITY)
    }

    /// I − J of the pixels that `flow` leaves in the frame.
    fn differences(&self, target: &Image, flow: [f64; 2]) -> impl Iterator<Item = (&Pixel, f64)> {
        self.0.iter().filter_map(move |pixel| {
            let moved = target.sample([pixel.at[0] + flow[0], pixel.at[1] + flow[1]])?;
            Some((pixel, pixel.value - moved))
        })
    }
}

/// Length of a vector, in exactly rounded operations (`hypot` differs across machines).
pub(super) fn length([x, y]: [f64; 2]) -> f64 {
    (x * x + y * y).sqrt()
}

/// `[H, W]`.
struct Image {
    values: Vec<f64>,
    height: usize,
    width: usize,
}

impl Image {
    /// Bilinear, within the frame.
    fn sample(&self, [x, y]: [f64; 2]) -> Option<f64> {
        let within = |at: f64, size: usize| at >= 0.0 && at <= (size - 1) as f64;
        if !within(x, self.width) || !within(y, self.height) {
            return None;
        }
        let (left, top) = (x as usize, y as usize);
        let (right, bottom) = ((left + 1).min(self.width - 1), (top + 1).min(self.height - 1));
        let (along, down) = (x - left as f64, y - top as f64);
        let row = |y: usize| {
            let (a, b) = (self.values[y * self.width + left], self.values[y * self.width + right]);
            a + along * (b - a)
        };
        let (above, below) = (row(top), row(bottom));
        Some(above + down * (below - above))
    }

    fn half(&self) -> Self {
        let (height, width) = (self.height / 2, self.width / 2);
        let at = |y: usize, x: usize| self.values[y * self.width + x];
        let mean = |i: usize| {
            let (y, x) = (2 * (i / width), 2 * (i % width));
            (at(y, x) + at(y, x + 1) + at(y + 1, x) + at(y + 1, x + 1)) / 4.0
        };
        Self { values: (0..height * width).map(mean).collect(), height, width }
    }

    /// Slope along x (`right` 1) or y (`down` 1): central differences, one-sided at the border.
    fn difference(&self, down: usize, right: usize) -> Self {
        let slope = |i: usize| {
            let (y, x) = (i / self.width, i % self.width);
            let (top, left) = (y.saturating_sub(down), x.saturating_sub(right));
            let (bottom, right) = ((y + down).min(self.height - 1), (x + right).min(self.width - 1));
            let rise = self.values[bottom * self.width + right] - self.values[top * self.width + left];
            rise / ((bottom - top) + (right - left)) as f64
        };
        Self { values: (0..self.values.len()).map(slope).collect(), height: self.height, width: self.width }
    }
}

#[cfg(test)]
mod tests {
    use super::super::clip::samples::Video;
    use super::*;

    fn of(video: &Video) -> Vec<Option<[f64; 2]>> {
        flow(&video.clip(), 0).unwrap()
    }

    #[test]
    fn a_moving_texture_has_the_flow_it_moves_by() {
        for velocity in [[0.0, 0.0], [0.4, -0.3], [2.5, 1.0], [-6.0, 4.0]] {
            let video = Video::moving([2, 64, 64], velocity, 1);
            let error = |flow: [f64; 2]| length([flow[0] - velocity[0], flow[1] - velocity[1]]);
            let (mut errors, mut all) = (Vec::new(), 0);
            for (point, flow) in points(64, 64).zip(of(&video)) {
                let stays = (0..2).all(|i| (0.0..=63.0).contains(&(point[i] as f64 + velocity[i])));
                all += usize::from(stays);
                errors.extend(flow.map(error));
            }
            errors.sort_by(f64::total_cmp);
            let (median, most) = (errors[errors.len() / 2], errors[errors.len() * 19 / 20]);
            assert!(median < 0.05, "{velocity:?}: expected an error below 0.05 pixels, found {median}");
            assert!(most < 0.5, "{velocity:?}: expected 19 in 20 below 0.5 pixels, found {most}");
            assert!(errors.len() * 10 > all * 8, "{velocity:?}: {} of {all} points have a flow", errors.len());
        }
    }

    #[test]
    fn what_has_no_texture_has_no_flow() {
        let edge = Video::new([2, 32, 32], |t, _, x, _| if x < 16 + t { 0 } else { 255 });
        assert!(of(&edge).iter().all(Option::is_none), "an edge moves along itself unseen");
        let flat = Video::new([2, 32, 32], |t, _, _, _| 100 + t as u8);
        assert!(of(&flat).iter().all(Option::is_none));
    }

    #[test]
    fn still_frames_have_flow_zero_exactly() {
        let still = Video::moving([2, 40, 40], [0.0, 0.0], 3);
        assert!(of(&still).iter().flatten().all(|flow| *flow == [0.0; 2]));
    }

    #[test]
    fn points_are_every_four_pixels_and_the_smallest_frames_have_one_level() {
        assert_eq!(points(5, 11).collect::<Vec<_>>(), [[2, 2], [6, 2], [10, 2]]);
        let video = Video::moving([1, 31, 64], [0.0; 2], 1);
        assert_eq!(Pyramid::new(&video.clip(), 0).0.len(), 1);
        let video = Video::moving([1, 200, 200], [0.0; 2], 1);
        assert_eq!(Pyramid::new(&video.clip(), 0).0.len(), LEVELS);
    }

    #[test]
    fn no_flow_explains_a_frame_worse_than_standing_still() {
        let (a, b) = (Video::moving([1, 32, 32], [0.0; 2], 1), Video::moving([1, 32, 32], [0.0; 2], 2));
        let (a, b) = (Pyramid::new(&a.clip(), 0), Pyramid::new(&b.clip(), 0));
        let mut zeros = 0;
        for (point, flow) in points(32, 32).zip(a.flow_to(&b)) {
            let (window, target) = (Window::new(&a.0[0], point, 0), &b.0[0].image);
            let Some(flow) = flow else { continue };
            assert!(window.error(target, flow) <= window.error(target, [0.0; 2]), "{point:?}: {flow:?}");
            zeros += usize::from(flow == [0.0; 2]);
        }
        assert!(zeros > 0, "expected the rule to be needed between two films");
    }

    #[test]
    fn the_last_frame_and_small_frames_have_no_flow() {
        let video = Video::moving([2, 16, 16], [0.0; 2], 1);
        assert!(flow(&video.clip(), 1).unwrap_err().to_string().contains("none after it"));
        let small = Video::moving([2, 15, 16], [0.0; 2], 1);
        assert!(flow(&small.clip(), 0).unwrap_err().to_string().contains("15 × 16"));
    }
}
