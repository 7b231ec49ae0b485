//! Objects followed through a rollout: described in a frame that is known, then found in one after the other.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::objects::{CELL, Description, MOST_OBJECTS, Masks, ObjectHead, describe};
use super::track::Track;
use crate::data::GPixel;
use crate::error::Result;

/// The objects of worlds that are rolled out side by side, and where each of them was last found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Followed {
    /// By world.
    described: Vec<Vec<Description>>,
    tracks: Vec<Vec<Track>>,
}

impl Followed {
    /// The objects of a known picture of each world, `[3, H, W]`, with its instance ids `[H, W]`.
    pub fn of(pictures: &[(&[u8], &[GPixel])], height: usize, width: usize) -> Self {
        let describe = |(picture, ids): &(&[u8], &[GPixel])| describe(picture, ids, height, width);
        let described: Vec<Vec<Description>> = pictures.iter().map(describe).collect();
        let track = |objects: &Vec<Description>| objects.iter().map(|one| Track::of(one, height, width)).collect();
        Self { tracks: described.iter().map(track).collect(), described }
    }

    /// True if it follows objects in so many worlds, and holds together: one that was read from elsewhere may not.
    pub fn fits(&self, worlds: usize) -> bool {
        let together = |(objects, tracks): (&Vec<Description>, &Vec<Track>)| {
            objects.len() == tracks.len() && objects.len() <= MOST_OBJECTS
        };
        [self.described.len(), self.tracks.len()] == [worlds; 2]
            && self.described.iter().zip(&self.tracks).all(together)
    }

    /// Finds them in the next frame, of tokens `[B, 1, N, D]`: by world the instance ids `[H, W]` of pictures `width` pixels across, 0
    /// for none of them.
    ///
    /// # Errors
    /// A tensor operation's.
    pub fn find(&mut self, head: &ObjectHead, tokens: &Tensor, width: usize) -> Result<Vec<Vec<u16>>> {
        let masks = head.masks(tokens, &self.described, &self.tracks, width)?;
        for ((tracks, objects), masks) in self.tracks.iter_mut().zip(&self.described).zip(&masks) {
            for (track, object) in tracks.iter_mut().zip(objects) {
                track.follow(object.id, masks);
            }
        }
        Ok(masks.iter().map(pixels).collect())
    }
}

/// The ids of cells as those of pixels, `[H, W]`.
fn pixels(masks: &Masks) -> Vec<u16> {
    let row = |y: usize| &masks.ids[y / CELL * masks.columns..(y / CELL + 1) * masks.columns];
    (0..masks.rows * CELL).flat_map(|y| row(y).iter().flat_map(|id| [*id; CELL])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_its_pixels() {
        let masks = Masks { ids: vec![0, 3, 5, 0], rows: 2, columns: 2 };
        assert_eq!(pixels(&masks), [0, 0, 3, 3, 0, 0, 3, 3, 5, 5, 0, 0, 5, 5, 0, 0]);
    }

    #[test]
    fn what_was_read_from_elsewhere_has_to_hold_together() {
        let ids: Vec<GPixel> = (0..64).map(|i| GPixel::of_instance(u16::from(i % 8 < 4))).collect();
        let followed = Followed::of(&[(&[9; 192], &ids)], 8, 8);
        assert!(followed.fits(1) && !followed.fits(2));
        let text = serde_json::to_string(&followed).unwrap();
        assert_eq!(serde_json::from_str::<Followed>(&text).unwrap(), followed);
        let torn = Followed { tracks: vec![Vec::new()], ..followed };
        assert!(!torn.fits(1));
    }
}
