//! What a window's G-buffers say of motion: where things were in the frame before, and what stood still.

use worldloom_kernels::advect::SLOWEST;

use super::episodes::Clip;
use super::gbuffer::GPixel;
use super::loader::to_unit;

/// Pixels by which the motion of moving points is off in training, at most.
pub(super) const JITTER: f32 = 0.3;

/// Writes the motion of a frame, `[3, H, W]`: right, down, known. What moves at all is off by `jitter`, however slow: what counts as
/// standing still elsewhere, below [`SLOWEST`], is still carried on by its motion. What rests is told so exactly.
pub(super) fn write_flow(pixels: &[GPixel], jitter: [f32; 2], out: &mut [f32]) {
    let plane = pixels.len();
    for (i, pixel) in pixels.iter().enumerate() {
        // Sky stands still, as in the plates.
        let flow = pixel.flow().or((pixel.instance == 0).then_some([0.0; 2]));
        let Some([dx, dy]) = flow else { continue };
        let [jx, jy] = if [dx, dy] == [0.0; 2] { [0.0; 2] } else { jitter };
        (out[i], out[plane + i], out[2 * plane + i]) = (dx + jx, dy + jy, 1.0);
    }
}

/// Change of a surface's colour, of 255 and summed over the channels, from which its light must have changed.
const LIGHT: f32 = 45.0;

/// Takes the motion `[3, H, W]` as unknown where a surface changed its light: a shadow or a highlight passes over it, and moves as
/// no surface does. What a model may carry on there is its own finding. `before` and `now` are `[3, H, W]`.
pub(super) fn forget_shadows(before: &[u8], now: &[u8], [height, width]: [usize; 2], motion: &mut [f32]) {
    let plane = height * width;
    for i in 0..plane {
        if motion[2 * plane + i] == 0.0 {
            continue;
        }
        let x = ((i % width) as f32 + motion[i]).clamp(0.0, (width - 1) as f32);
        let y = ((i / width) as f32 + motion[plane + i]).clamp(0.0, (height - 1) as f32);
        let (left, top) = (x.floor(), y.floor());
        let (right, below) = (x - left, y - top);
        let (left, top) = (left as usize, top as usize);
        let (next, under) = ((left + 1).min(width - 1), (top + 1).min(height - 1));
        let change = |channel: usize| {
            let at = |x: usize, y: usize| f32::from(before[channel * plane + y * width + x]);
            let upper = at(left, top) * (1.0 - right) + at(next, top) * right;
            let lower = at(left, under) * (1.0 - right) + at(next, under) * right;
            (upper * (1.0 - below) + lower * below - f32::from(now[channel * plane + i])).abs()
        };
        if (0..3).map(change).sum::<f32>() > LIGHT {
            for channel in 0..3 {
                motion[channel * plane + i] = 0.0;
            }
        }
    }
}

/// Frames before a window in which what stands still is looked for.
pub(crate) const LOOK_BACK: usize = 40;

/// What each pixel last looked like while it stood still, and 1 where it has, `[4, H, W]`. Sky stands still.
pub(super) struct Plate {
    values: Vec<f32>,
}

impl Plate {
    /// Of the frames before `start`, [`LOOK_BACK`] of them.
    pub(super) fn before(clip: &Clip, start: usize, plane: usize) -> Self {
        let mut plate = Self { values: vec![0.0; 4 * plane] };
        for frame in start.saturating_sub(LOOK_BACK)..start {
            plate.take(clip, frame, plane);
        }
        plate
    }

    /// `[4, H, W]`.
    pub(super) fn values(&self) -> &[f32] {
        &self.values
    }

    /// Looks at a frame.
    pub(super) fn take(&mut self, clip: &Clip, frame: usize, plane: usize) {
        let slow = (SLOWEST * SLOWEST) as f32;
        let pixels = &clip.gbuffer[frame * plane..(frame + 1) * plane];
        let picture = &clip.pictures[frame * 3 * plane..(frame + 1) * 3 * plane];
        for (i, pixel) in pixels.iter().enumerate() {
            let still = pixel.flow().is_some_and(|[dx, dy]| dx * dx + dy * dy < slow);
            if still || (pixel.instance == 0 && frame > 0) {
                for channel in 0..3 {
                    self.values[channel * plane + i] = to_unit(picture[channel * plane + i]);
                }
                self.values[3 * plane + i] = 1.0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_surface_whose_light_changes_says_nothing_of_motion() {
        // A row of four: the second pixel came from the first, a shadow fell on the last.
        let before: Vec<u8> = [[200, 90, 90, 90]; 3].concat();
        let now: Vec<u8> = [[90, 200, 90, 40]; 3].concat();
        let mut motion = vec![0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0];
        forget_shadows(&before, &now, [1, 4], &mut motion);
        assert_eq!(motion, [0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0]);
        // Half a pixel looks between two.
        let mut motion = vec![0.5, 0.0, 1.0];
        forget_shadows(&[10, 10, 10], &[10, 10, 10], [1, 1], &mut motion);
        assert_eq!(motion[2], 1.0);
    }
}
