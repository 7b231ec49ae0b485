//! What an object looks like, from one true frame.

use serde::{Deserialize, Serialize};

use crate::data::GPixel;

/// Numbers of a description.
pub const LOOKS: usize = 9;
/// Most objects that are followed at once, the largest first.
pub const MOST_OBJECTS: usize = 16;
/// Pixels below which an object is not seen well enough to be described, or to have a place.
pub const FEWEST_PIXELS: usize = 6;

/// An object as it was seen in one frame.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// Its instance id in that frame.
    pub id: u16,
    /// Mean and standard deviation of its colours in [−1, 1]; logarithm of its share of the picture; size of its box, as a
    /// share of the picture's.
    pub looks: [f32; LOOKS],
    /// Mean place of its pixels, in [−1, 1] from left to right and from top to bottom.
    pub place: [f32; 2],
    /// Logarithm of its depth in metres there, if it is known.
    pub log_depth: Option<f32>,
}

impl Description {
    /// The log depth at which it would be seen as large as `measured`: a share falls with the square of the depth.
    pub fn log_depth_of(&self, measured: &Measured) -> Option<f32> {
        let shrunk = SHARE_RANGE * (self.looks[SHARE] - measured.share);
        self.log_depth.map(|log_depth| log_depth + 0.5 * shrunk)
    }
}

/// The share among a description's numbers.
const SHARE: usize = 6;
/// Logarithms of shares are divided by this.
const SHARE_RANGE: f32 = 4.0;

/// Describes the objects in the first `height` rows of a picture `[3, H, W]` with the ids `[H, W]`, the largest first. Sky (0) is
/// none.
pub fn describe(picture: &[u8], ids: &[GPixel], height: usize, width: usize) -> Vec<Description> {
    let plane = ids.len();
    let mut sums: std::collections::BTreeMap<u16, Sums> = std::collections::BTreeMap::new();
    for (i, pixel) in ids[..height * width].iter().enumerate().filter(|(_, pixel)| pixel.instance != 0) {
        let colour = [0, 1, 2].map(|c| f64::from(picture[c * plane + i]) / 127.5 - 1.0);
        sums.entry(pixel.instance).or_default().add(colour, i % width, i / width);
    }
    let mut seen: Vec<(u16, Sums)> = sums.into_iter().filter(|(_, sums)| sums.count >= FEWEST_PIXELS).collect();
    seen.sort_by_key(|(id, sums)| (usize::MAX - sums.count, *id));
    seen.truncate(MOST_OBJECTS);
    seen.into_iter().map(|(id, sums)| sums.description(id, height, width)).collect()
}

/// What a mask says of an object.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// Mean place of its pixels, in [−1, 1].
    pub place: [f32; 2],
    /// Logarithm of its share of the picture, as in a description.
    pub share: f32,
}

/// The objects in the first `height` rows of ids `[H, W]`, by id; those with [`FEWEST_PIXELS`].
pub fn measured(ids: &[GPixel], height: usize, width: usize) -> Vec<(u16, Measured)> {
    let mut sums: std::collections::BTreeMap<u16, (usize, [usize; 2])> = std::collections::BTreeMap::new();
    for (i, pixel) in ids[..height * width].iter().enumerate().filter(|(_, pixel)| pixel.instance != 0) {
        let (count, sum) = sums.entry(pixel.instance).or_default();
        *count += 1;
        (sum[0], sum[1]) = (sum[0] + i % width, sum[1] + i / width);
    }
    let seen = sums.into_iter().filter(|(_, (count, _))| *count >= FEWEST_PIXELS);
    seen.map(|(id, (count, sum))| (id, measure(count, sum, height, width))).collect()
}

/// Of `count` pixels whose columns and rows add up to `sum`.
pub(super) fn measure(count: usize, sum: [usize; 2], height: usize, width: usize) -> Measured {
    let along = |sum: usize, size: usize| (2.0 * (sum as f64 / count as f64 + 0.5) / size as f64 - 1.0) as f32;
    let share = (count as f64 / (height * width) as f64).ln() / f64::from(SHARE_RANGE) + 1.0;
    Measured { place: [along(sum[0], width), along(sum[1], height)], share: share as f32 }
}

#[derive(Default)]
struct Sums {
    count: usize,
    colour: [f64; 3],
    square: [f64; 3],
    place: [usize; 2],
    x: Option<(usize, usize)>,
    y: Option<(usize, usize)>,
}

impl Sums {
    fn add(&mut self, colour: [f64; 3], x: usize, y: usize) {
        self.count += 1;
        for ((sum, square), value) in self.colour.iter_mut().zip(&mut self.square).zip(colour) {
            *sum += value;
            *square += value * value;
        }
        (self.place[0], self.place[1]) = (self.place[0] + x, self.place[1] + y);
        let wider = |range: Option<(usize, usize)>, v: usize| match range {
            Some((low, high)) => Some((low.min(v), high.max(v))),
            None => Some((v, v)),
        };
        (self.x, self.y) = (wider(self.x, x), wider(self.y, y));
    }

    fn description(&self, id: u16, height: usize, width: usize) -> Description {
        let n = self.count as f64;
        let mean = self.colour.map(|sum| sum / n);
        let spread = [0, 1, 2].map(|c| (self.square[c] / n - mean[c] * mean[c]).max(0.0).sqrt());
        let Measured { place, share } = measure(self.count, self.place, height, width);
        let size = |range: Option<(usize, usize)>, size: usize| {
            range.map_or(0.0, |(low, high)| (high + 1 - low) as f64 / size as f64)
        };
        let (wide, tall) = (size(self.x, width), size(self.y, height));
        let looks = [mean[0], mean[1], mean[2], spread[0], spread[1], spread[2], f64::from(share), wide, tall];
        Description { id, looks: looks.map(|v| v as f32), place, log_depth: None }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::scene;
    use super::*;

    #[test]
    fn objects_are_described_by_colour_size_and_place_largest_first() {
        let (picture, ids) = scene();
        let described = describe(&picture, &ids, 8, 8);
        assert_eq!(described.iter().map(|object| object.id).collect::<Vec<_>>(), [5, 2], "a speck is not described");
        let red = described[0];
        assert_eq!(red.looks[..3], [1.0, -1.0, -1.0]);
        assert_eq!(red.looks[3..6], [0.0; 3]);
        assert_eq!(
            (red.looks[7..].to_vec(), red.place),
            (vec![0.5, 1.0], [-0.5, 0.0]),
            "size and middle of the left half"
        );
        let found = measured(&ids, 8, 8);
        assert_eq!(found.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [2, 5]);
        assert_eq!((found[1].1.place, found[1].1.share), ([-0.5, 0.0], red.looks[6]));
        // Of the upper half only.
        assert_eq!(measured(&ids, 4, 8)[1].1.place, [-0.5, 0.0]);
        assert_eq!(describe(&picture, &ids, 4, 8)[0].looks[8], 1.0);
        // Seen half as wide and high, it is twice as far away.
        let known = Description { log_depth: Some(0.0), ..red };
        let small = measure(8, [0, 0], 8, 8);
        assert!((known.log_depth_of(&small).unwrap() - 2f32.ln()).abs() < 1e-5);
        assert_eq!(red.log_depth_of(&small), None);
    }
}
