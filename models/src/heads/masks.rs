//! Which object each pixel of a frame belongs to.

use super::describe::{FEWEST_PIXELS, Measured, measure};

/// Which object each pixel of a frame belongs to.
#[derive(Clone, Debug, PartialEq)]
pub struct Masks {
    /// `[height, width]`: instance ids of the described objects, 0 for none of them.
    pub ids: Vec<u16>,
    /// Pixels down.
    pub height: usize,
    /// Pixels across.
    pub width: usize,
}

impl Masks {
    /// Leaves of every object its largest connected part (by sides), the first in raster order of equal ones: a stray pixel far
    /// away would pull its centre along.
    pub(super) fn keep_largest_parts(&mut self) {
        let mut part = vec![0usize; self.ids.len()];
        // By part from 1: id and pixels.
        let mut parts = vec![(0u16, 0usize)];
        for start in 0..self.ids.len() {
            if part[start] != 0 || self.ids[start] == 0 {
                continue;
            }
            let (id, number) = (self.ids[start], parts.len());
            parts.push((id, 0));
            part[start] = number;
            let mut open = vec![start];
            while let Some(at) = open.pop() {
                parts[number].1 += 1;
                let (x, y) = (at % self.width, at / self.width);
                let left = (x > 0).then(|| at - 1);
                let right = (x + 1 < self.width).then(|| at + 1);
                let above = (y > 0).then(|| at - self.width);
                let below = (y + 1 < self.height).then(|| at + self.width);
                for next in [left, right, above, below].into_iter().flatten() {
                    if part[next] == 0 && self.ids[next] == id {
                        part[next] = number;
                        open.push(next);
                    }
                }
            }
        }
        let mut largest = std::collections::BTreeMap::new();
        for (number, &(id, pixels)) in parts.iter().enumerate().skip(1) {
            let best = largest.entry(id).or_insert((pixels, number));
            if pixels > best.0 {
                *best = (pixels, number);
            }
        }
        for (id, part) in self.ids.iter_mut().zip(part) {
            if largest.get(id).is_some_and(|(_, number)| *number != part) {
                *id = 0;
            }
        }
    }

    /// What the mask of object `id` says of it; none with fewer than [`FEWEST_PIXELS`].
    pub fn measured(&self, id: u16) -> Option<Measured> {
        let pixels = self.ids.iter().enumerate().filter(|(_, found)| **found == id).map(|(i, _)| i);
        let (mut sum, mut count) = ([0usize; 2], 0usize);
        for i in pixels {
            (sum[0], sum[1]) = (sum[0] + i % self.width, sum[1] + i / self.width);
            count += 1;
        }
        (count >= FEWEST_PIXELS).then(|| measure(count, sum, self.height, self.width))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_every_object_the_largest_connected_part_is_left() {
        #[rustfmt::skip]
        let ids = vec![
            3, 3, 0, 7,
            3, 0, 0, 3,
            0, 7, 7, 0,
        ];
        let mut masks = Masks { ids, height: 3, width: 4 };
        masks.keep_largest_parts();
        assert_eq!(masks.ids, [3, 3, 0, 0, 3, 0, 0, 0, 0, 7, 7, 0]);
    }

    #[test]
    fn an_object_is_where_its_pixels_are() {
        let ids = (0..64).map(|i| if i % 8 >= 6 && i / 8 < 4 { 4 } else { 0 }).collect();
        let masks = Masks { ids, height: 8, width: 8 };
        let found = masks.measured(4).unwrap();
        assert_eq!(found.place, [0.75, -0.5]);
        assert!((found.share - (8.0f32 / 64.0).ln() / 4.0 - 1.0).abs() < 1e-6);
        assert_eq!(masks.measured(5), None);
    }
}
