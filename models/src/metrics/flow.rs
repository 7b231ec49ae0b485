//! Optical flow by pyramidal Lucas–Kanade, without weights.
//!
//! For each point of a grid, the shift v of the window around it from luma I of one frame to J of the next:
//!
//! ```text
//! G = Σ_w [ Ix²   Ix Iy ]      b = Σ_w (I(p) − J(p + g + v)) [ Ix ]      v ← v + G⁻¹ b      g ← 2 (g + v) a level down
//!         [ Ix Iy   Iy² ]                                    [ Iy ]
//! ```
//!
//! (Lucas and Kanade 1981; Bouguet 2001, "Pyramidal implementation of the affine Lucas Kanade feature tracker", of whose
//! affine part nothing is used.) Exactly:
//!
//! - *Pyramid*: means of 2 × 2 pixels (an odd last row or column is left out), at most [`LEVELS`] levels, none whose
//!   shorter side is below [`LEAST_SIDE`].
//! - *Points*: x and y are 2, 6, 10, …: every [`STRIDE`] pixels.
//! - *Window w*: 7 × 7 pixels of the level. Values between pixels are bilinear, beyond the border those of the border.
//! - *Gradients*: central differences of I.
//! - *Iterations*: until a step is below 0.03 pixels, at most [`ITERATIONS`] at each level. A level whose v becomes longer
//!   than the window's side, or whose G / 49 has an eigenvalue below [`LEAST_TEXTURE`], adds nothing.
//! - *No flow*: a point whose G at the finest level fails that test has none (an edge shows its motion in one direction
//!   only). A flow that leaves a larger squared difference over the window than standing still does is set to 0.
//!
//! It follows shifts of some 10 pixels a frame with three levels, takes no account of what is covered or uncovered, and
//! is meant for comparing clips, not for measuring single motions. Sums are taken in a fixed order and only exactly
//! rounded operations are used, so that results are the same on every machine.

use super::clip::Clip;

/// Pixels from one point to the next.
pub const STRIDE: usize = 4;
/// Levels of the pyramid, at most.
pub const LEVELS: usize = 3;
/// Pixels of the shorter side of the coarsest level, at least.
pub const LEAST_SIDE: usize = 16;
/// Steps at each level, at most.
pub const ITERATIONS: usize = 5;
/// Least eigenvalue of the mean of ∇I ∇Iᵀ over the window, in (steps of luma per pixel)²: above what noise of one step has.
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

/// A frame, prepared.
pub struct Pyramid(Vec<Level>);

struct Level {
    image: Image,
    dx: Image,
    dy: Image,
}

impl Pyramid {
    /// Of frame `t`.
    pub fn new(clip: &Clip, t: usize) -> Self {
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

    /// Flow of every point from this frame to `next`, which has the same size: (right, down) in pixels.
    pub fn flow_to(&self, next: &Self) -> Vec<Option<[f64; 2]>> {
        let Image { height, width, .. } = self.0[0].image;
        points(height, width).map(|point| self.track(next, point)).collect()
    }

    fn track(&self, next: &Self, [x, y]: [usize; 2]) -> Option<[f64; 2]> {
        let mut flow = [0.0; 2];
        for (depth, level) in self.0.iter().enumerate().rev() {
            let scale = (1u32 << depth) as f64;
            // Pixel i of a level covers pixels scale·i … scale·(i + 1) − 1: its centre is half of them on.
            let at = [(x as f64 + 0.5) / scale - 0.5, (y as f64 + 0.5) / scale - 0.5];
            let window = Window::new(level, at);
            let target = &next.0[depth].image;
            let inverse = window.inverse();
            if let Some(inverse) = inverse
                && let Some(shift) = window.refine(&inverse, target, flow)
            {
                flow = [flow[0] + shift[0], flow[1] + shift[1]];
            }
            if depth > 0 {
                flow = [2.0 * flow[0], 2.0 * flow[1]];
                continue;
            }
            inverse?;
            if window.error(target, flow) > window.error(target, [0.0; 2]) {
                flow = [0.0; 2];
            }
        }
        Some(flow)
    }
}

/// A window's values and gradients in the first frame.
struct Window {
    corner: [f64; 2],
    values: [f64; SIDE * SIDE],
    dx: [f64; SIDE * SIDE],
    dy: [f64; SIDE * SIDE],
}

impl Window {
    fn new(level: &Level, at: [f64; 2]) -> Self {
        let corner = [at[0] - RADIUS as f64, at[1] - RADIUS as f64];
        let of = |image: &Image| std::array::from_fn(|i| image.sample(place(corner, i)));
        Self { corner, values: of(&level.image), dx: of(&level.dx), dy: of(&level.dy) }
    }

    /// G⁻¹ as (xx, xy, yy), if there is texture in every direction.
    fn inverse(&self) -> Option<[f64; 3]> {
        let dot = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
        let (xx, xy, yy) = (dot(&self.dx, &self.dx), dot(&self.dx, &self.dy), dot(&self.dy, &self.dy));
        let least = (xx + yy - ((xx - yy) * (xx - yy) + 4.0 * xy * xy).sqrt()) / 2.0;
        let determinant = xx * yy - xy * xy;
        (least >= LEAST_TEXTURE * (SIDE * SIDE) as f64).then(|| [yy / determinant, -xy / determinant, xx / determinant])
    }

    /// v beyond `guess`, unless it goes astray.
    fn refine(&self, inverse: &[f64; 3], target: &Image, guess: [f64; 2]) -> Option<[f64; 2]> {
        let mut shift = [0.0; 2];
        for _ in 0..ITERATIONS {
            let (mut bx, mut by) = (0.0, 0.0);
            for i in 0..SIDE * SIDE {
                let difference = self.difference(target, [guess[0] + shift[0], guess[1] + shift[1]], i);
                bx += difference * self.dx[i];
                by += difference * self.dy[i];
            }
            let step = [inverse[0] * bx + inverse[1] * by, inverse[1] * bx + inverse[2] * by];
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

    fn error(&self, target: &Image, flow: [f64; 2]) -> f64 {
        (0..SIDE * SIDE).map(|i| self.difference(target, flow, i)).map(|difference| difference * difference).sum()
    }

    fn difference(&self, target: &Image, flow: [f64; 2], i: usize) -> f64 {
        let [x, y] = place(self.corner, i);
        self.values[i] - target.sample([x + flow[0], y + flow[1]])
    }
}

/// Pixel `i` of the window at `corner`.
fn place(corner: [f64; 2], i: usize) -> [f64; 2] {
    [corner[0] + (i % SIDE) as f64, corner[1] + (i / SIDE) as f64]
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
    /// Bilinear; beyond the border, the border's.
    fn sample(&self, [x, y]: [f64; 2]) -> f64 {
        let (x, y) = (x.clamp(0.0, (self.width - 1) as f64), y.clamp(0.0, (self.height - 1) as f64));
        let (left, top) = (x as usize, y as usize);
        let (right, bottom) = ((left + 1).min(self.width - 1), (top + 1).min(self.height - 1));
        let (along, down) = (x - left as f64, y - top as f64);
        let row = |y: usize| {
            let (a, b) = (self.values[y * self.width + left], self.values[y * self.width + right]);
            a + along * (b - a)
        };
        let (above, below) = (row(top), row(bottom));
        above + down * (below - above)
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

    /// Central difference over `down` rows and `right` columns each way.
    fn difference(&self, down: usize, right: usize) -> Self {
        let at = |y: usize, x: usize| self.values[y.min(self.height - 1) * self.width + x.min(self.width - 1)];
        let slope = |i: usize| {
            let (y, x) = (i / self.width, i % self.width);
            (at(y + down, x + right) - at(y.saturating_sub(down), x.saturating_sub(right))) / 2.0
        };
        Self { values: (0..self.values.len()).map(slope).collect(), height: self.height, width: self.width }
    }
}

#[cfg(test)]
mod tests {
    use super::super::clip::samples::Video;
    use super::*;

    fn flow(video: &Video) -> Vec<Option<[f64; 2]>> {
        Pyramid::new(&video.clip(), 0).flow_to(&Pyramid::new(&video.clip(), 1))
    }

    #[test]
    fn a_moving_texture_has_the_flow_it_moves_by() {
        for velocity in [[0.0, 0.0], [0.4, -0.3], [2.5, 1.0], [-6.0, 4.0]] {
            let video = Video::moving([2, 64, 64], velocity, 1);
            let (mut errors, mut all) = (Vec::new(), 0);
            for (point, flow) in points(64, 64).zip(flow(&video)) {
                // Away from the border, where what comes in was not seen before.
                if point.iter().all(|at| (12..52).contains(at)) {
                    all += 1;
                    errors.extend(flow.map(|flow| length([flow[0] - velocity[0], flow[1] - velocity[1]])));
                }
            }
            errors.sort_by(f64::total_cmp);
            let median = errors[errors.len() / 2];
            assert!(median < 0.05, "{velocity:?}: expected an error below 0.05 pixels, found {median}");
            assert!(errors.len() * 10 > all * 8, "{velocity:?}: {} of {all} points have a flow", errors.len());
        }
    }

    #[test]
    fn what_has_no_texture_has_no_flow() {
        let edge = Video::new([2, 32, 32], |t, _, x, _| if x < 16 + t { 0 } else { 255 });
        assert!(flow(&edge).iter().all(Option::is_none), "an edge moves along itself unseen");
        let flat = Video::new([2, 32, 32], |t, _, _, _| 100 + t as u8);
        assert!(flow(&flat).iter().all(Option::is_none));
    }

    #[test]
    fn still_frames_have_flow_zero_exactly() {
        let still = Video::moving([2, 40, 40], [0.0, 0.0], 3);
        assert!(flow(&still).iter().flatten().all(|flow| *flow == [0.0; 2]));
    }

    #[test]
    fn points_are_every_four_pixels_and_the_smallest_frames_have_one_level() {
        assert_eq!(points(5, 11).collect::<Vec<_>>(), [[2, 2], [6, 2], [10, 2]]);
        let video = Video::moving([1, 31, 64], [0.0; 2], 1);
        assert_eq!(Pyramid::new(&video.clip(), 0).0.len(), 1);
        let video = Video::moving([1, 200, 200], [0.0; 2], 1);
        assert_eq!(Pyramid::new(&video.clip(), 0).0.len(), LEVELS);
    }
}
