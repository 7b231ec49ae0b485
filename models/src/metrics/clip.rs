//! What is compared: the frames of one clip.

use super::invalid;
use crate::error::Result;

/// Weights of red, green and blue in the luma of Rec. ITU-R BT.601-7, §2.5.1.
const LUMA: [f64; 3] = [0.299, 0.587, 0.114];

/// A view of 8-bit RGB frames, `[T, H, W, 3]`, at least one pixel.
#[derive(Clone, Copy, Debug)]
pub struct Clip<'a> {
    data: &'a [u8],
    frames: usize,
    height: usize,
    width: usize,
}

impl<'a> Clip<'a> {
    /// `data` as `[frames, height, width, 3]`.
    ///
    /// # Errors
    /// [`Error::Metric`](crate::Error::Metric) if it is empty or has another length.
    pub fn new(data: &'a [u8], frames: usize, height: usize, width: usize) -> Result<Self> {
        check_size("clip", data.len(), &[frames, height, width, 3])?;
        Ok(Self { data, frames, height, width })
    }

    /// T.
    pub fn frames(&self) -> usize {
        self.frames
    }

    /// H, in pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// W, in pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Frame `t`, `[H, W, 3]`; `t` is less than [`Self::frames`].
    pub fn frame(&self, t: usize) -> &'a [u8] {
        let size = self.height * self.width * 3;
        &self.data[t * size..(t + 1) * size]
    }

    /// Luma of frame `t`, `[H, W]`, from 0 to 255 and not rounded (Rec. 601: 0.299 R + 0.587 G + 0.114 B).
    pub fn luma(&self, t: usize) -> Vec<f64> {
        let weighted = |pixel: &[u8]| {
            LUMA[0] * f64::from(pixel[0]) + LUMA[1] * f64::from(pixel[1]) + LUMA[2] * f64::from(pixel[2])
        };
        self.frame(t).chunks_exact(3).map(weighted).collect()
    }

    /// The frames `start..end`, not none and not past the last.
    pub fn slice(&self, start: usize, end: usize) -> Result<Self> {
        if start >= end || end > self.frames {
            return Err(invalid("clip", format!("{} frames have no part {start}..{end}", self.frames)));
        }
        let size = self.height * self.width * 3;
        Ok(Self { data: &self.data[start * size..end * size], frames: end - start, ..*self })
    }
}

/// Refuses a pair of clips of different sizes.
pub(crate) fn check_same(what: &'static str, truth: &Clip, prediction: &Clip) -> Result<()> {
    let size = |clip: &Clip| [clip.frames, clip.height, clip.width];
    let (expected, found) = (size(truth), size(prediction));
    match expected == found {
        true => Ok(()),
        false => Err(invalid(what, format!("the truth is {expected:?} frames × pixels, the prediction {found:?}"))),
    }
}

/// Refuses clips of fewer frames than `least`.
pub(super) fn check_frames(what: &'static str, clip: &Clip, least: usize) -> Result<()> {
    match clip.frames >= least {
        true => Ok(()),
        false => Err(invalid(what, format!("needs {least} frames, the clip has {}", clip.frames))),
    }
}

/// Refuses `len` values that are not `[sizes]`, and none.
pub(super) fn check_size(what: &'static str, len: usize, sizes: &[usize]) -> Result<()> {
    let product = sizes.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
    match product {
        Some(0) => Err(invalid(what, format!("{sizes:?} is empty"))),
        Some(product) if product == len => Ok(()),
        _ => Err(invalid(what, format!("{len} values are not {sizes:?}"))),
    }
}

/// Clips for the tests.
#[cfg(test)]
pub(super) mod samples {
    use worldloom_engine::stream::Stream;

    use super::Clip;

    /// Frames that own their memory.
    pub struct Video {
        pub data: Vec<u8>,
        pub size: [usize; 3],
    }

    impl Video {
        /// `colour(t, y, x, channel)` everywhere.
        pub fn new(size: [usize; 3], colour: impl Fn(usize, usize, usize, usize) -> u8) -> Self {
            let [frames, height, width] = size;
            let mut data = Vec::with_capacity(frames * height * width * 3);
            for i in 0..frames * height * width * 3 {
                let (channel, pixel) = (i % 3, i / 3);
                data.push(colour(pixel / width / height, pixel / width % height, pixel % width, channel));
            }
            Self { data, size }
        }

        /// A smooth texture that moves by `velocity` (x, y) pixels a frame, of a phase that `seed` chooses.
        pub fn moving(size: [usize; 3], velocity: [f64; 2], seed: u64) -> Self {
            let mut stream = Stream::new(seed, "moving texture", 0, 0);
            let waves: Vec<[f64; 3]> = (0..6)
                .map(|_| [stream.uniform(-0.5, 0.5), stream.uniform(-0.5, 0.5), stream.uniform(0.0, 6.3)])
                .collect();
            Self::new(size, |t, y, x, channel| {
                let (x, y) = (x as f64 - velocity[0] * t as f64, y as f64 - velocity[1] * t as f64);
                let sum: f64 = waves.iter().map(|[a, b, c]| (a * x + b * y + c + channel as f64 * 0.2).sin()).sum();
                (127.5 + 20.0 * sum).round() as u8
            })
        }

        /// With uniform noise of at most `amplitude` steps on every channel.
        pub fn noisy(&self, amplitude: u8, seed: u64) -> Self {
            let mut stream = Stream::new(seed, "noise", 0, 0);
            let amplitude = f64::from(amplitude);
            let noisy = |&value: &u8| (f64::from(value) + stream.uniform(-amplitude, amplitude)).round() as u8;
            Self { data: self.data.iter().map(noisy).collect(), size: self.size }
        }

        /// With each frame's 3×3 means instead of its pixels.
        pub fn blurred(&self) -> Self {
            let [_, height, width] = self.size;
            Self::new(self.size, |t, y, x, channel| {
                let (mut sum, mut count) = (0, 0);
                for y in y.saturating_sub(1)..=(y + 1).min(height - 1) {
                    for x in x.saturating_sub(1)..=(x + 1).min(width - 1) {
                        sum += u32::from(self.data[((t * height + y) * width + x) * 3 + channel]);
                        count += 1;
                    }
                }
                (sum / count) as u8
            })
        }

        /// With the frames in the order of `order`.
        pub fn reordered(&self, order: &[usize]) -> Self {
            let [_, height, width] = self.size;
            let size = height * width * 3;
            let data = order.iter().flat_map(|&t| self.data[t * size..(t + 1) * size].to_vec()).collect();
            Self { data, size: [order.len(), height, width] }
        }

        pub fn clip(&self) -> Clip<'_> {
            Clip::new(&self.data, self.size[0], self.size[1], self.size[2]).unwrap()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_has_luma_255_and_green_most_of_it() {
        let data = [255, 255, 255, 0, 255, 0];
        let luma = Clip::new(&data, 1, 1, 2).unwrap().luma(0);
        assert!((luma[0] - 255.0).abs() < 1e-12 && (luma[1] - 149.685).abs() < 1e-12, "{luma:?}");
    }

    #[test]
    fn a_part_is_the_frames_asked_for() {
        let data: Vec<u8> = (0..12).collect();
        let clip = Clip::new(&data, 4, 1, 1).unwrap();
        assert_eq!(clip.slice(1, 3).unwrap().frame(1), [6, 7, 8]);
        assert!(clip.slice(2, 2).is_err() && clip.slice(0, 5).is_err());
    }

    #[test]
    fn a_size_that_is_not_the_data_s_is_an_error() {
        for (len, [frames, height, width]) in [(0, [0, 1, 1]), (12, [1, 1, 3]), (12, [usize::MAX, 2, 2])] {
            let error = Clip::new(&vec![0; len], frames, height, width).unwrap_err().to_string();
            assert!(error.starts_with("clip: "), "{error}");
        }
    }
}
