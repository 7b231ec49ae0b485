//! Following an object from frame to frame: where it was says where it may be.
//!
//! Two objects of one colour answer the same query. What tells them apart is that nothing jumps: an object that was found at p
//! is looked for around p, with the penalty min(‖x − p‖² / 2σ², `MOST`) on the score of a cell at x. The bound lets what
//! looks right be found again wherever it is; σ grows while an object is not found.

use serde::{Deserialize, Serialize};

use super::objects::{CELL, Description, Masks};

/// σ of an object that was found in the frame before, pixels.
const SPREAD: f32 = 5.0;
/// Growth of σ for each frame in which it is not found.
const GROWTH: f32 = 1.5;
/// σ, pixels, beyond which an object may be anywhere.
const ANYWHERE: f32 = 1e6;
/// The largest penalty.
const MOST: f32 = 6.0;

/// Where an object was last seen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Track {
    /// Pixels from the left and from the top.
    place: [f32; 2],
    /// σ, pixels.
    spread: f32,
}

impl Track {
    /// An object in the frame that describes it, `height` × `width` pixels.
    pub fn of(object: &Description, height: usize, width: usize) -> Self {
        let [x, y] = object.centre();
        let place = [(x + 1.0) / 2.0 * width as f32, (y + 1.0) / 2.0 * height as f32];
        Self { place, spread: SPREAD }
    }

    /// What a cell in column `x` and row `y` loses.
    pub fn penalty(&self, x: usize, y: usize) -> f32 {
        let off = |cell: usize, place: f32| (cell as f32 + 0.5) * CELL as f32 - place;
        let (dx, dy) = (off(x, self.place[0]), off(y, self.place[1]));
        ((dx * dx + dy * dy) / (2.0 * self.spread * self.spread)).min(MOST)
    }

    /// Goes on with what was found of object `id`.
    pub fn follow(&mut self, id: u16, masks: &Masks) {
        let (mut sum, mut count) = ([0.0f32; 2], 0.0f32);
        for (cell, _) in masks.ids.iter().enumerate().filter(|(_, found)| **found == id) {
            sum[0] += ((cell % masks.columns) as f32 + 0.5) * CELL as f32;
            sum[1] += ((cell / masks.columns) as f32 + 0.5) * CELL as f32;
            count += 1.0;
        }
        if count > 0.0 {
            *self = Self { place: sum.map(|sum| sum / count), spread: SPREAD };
        } else {
            self.spread = (self.spread * GROWTH).min(ANYWHERE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Masks of 8 × 8 cells with object 3 at one of them.
    fn masks(at: Option<(usize, usize)>) -> Masks {
        let mut ids = vec![0; 64];
        if let Some((x, y)) = at {
            ids[y * 8 + x] = 3;
        }
        Masks { ids, rows: 8, columns: 8 }
    }

    #[test]
    fn an_object_is_looked_for_where_it_was_and_farther_away_while_it_is_lost() {
        let mut track = Track { place: [0.0, 0.0], spread: SPREAD };
        track.follow(3, &masks(Some((4, 2))));
        assert_eq!(track.place, [9.0, 5.0]);
        assert_eq!(track.penalty(4, 2), 0.0);
        assert!(track.penalty(5, 2) > 0.0 && track.penalty(6, 2) > track.penalty(5, 2));
        assert_eq!(track.penalty(100, 100), MOST);
        let before = track.penalty(7, 2);
        track.follow(3, &masks(None));
        assert_eq!(track.place, [9.0, 5.0], "it stays where it was last seen");
        assert!(track.penalty(7, 2) < before);
        track.follow(3, &masks(Some((7, 2))));
        assert_eq!((track.place, track.spread), ([15.0, 5.0], SPREAD));
    }
}
