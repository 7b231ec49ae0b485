//! Where things are, and whether they last: instance masks of a prediction beside those of the truth.
//!
//! A mask is an id for every pixel, `[T, H, W]`, 0 for what is no object. The same id has to mean the same object in
//! both, as it does where a scene is drawn twice; masks that something else has found must be matched first. For the
//! object i in frame t, with A and B its pixels in truth and prediction:
//!
//! - it is *visible* if |A| ≥ `truth_pixels`, and *found* if |B| ≥ `prediction_pixels` (fewer, as a rule, so that a
//!   thing does not count as lost for one pixel);
//! - *centroid error* is the distance of the means of A's and B's pixel positions, in pixels, where it is visible and
//!   found: a lost object has none, so read it beside permanence;
//! - *IoU* is |A ∩ B| / |A ∪ B| where it is visible: 0 if it is lost;
//! - *permanence* is the share of the visible that is found;
//! - a *false appearance* is an object that is found and of which the truth has not one pixel.
//!
//! Means are over pairs (object, frame), each with the same weight. Objects that the truth shows with a few pixels
//! only, below `truth_pixels`, count for nothing.

use std::collections::BTreeMap;

use super::clip::check_size;
use super::{invalid, mean};
use crate::error::Result;

const WHAT: &str = "objects";

/// A view of instance ids, `[T, H, W]`, at least one.
#[derive(Clone, Copy, Debug)]
pub struct Masks<'a> {
    ids: &'a [u16],
    size: [usize; 3],
}

impl<'a> Masks<'a> {
    /// `ids` as `[frames, height, width]`.
    ///
    /// # Errors
    /// [`Error::Metric`](crate::Error::Metric) if it is empty or has another length.
    pub fn new(ids: &'a [u16], frames: usize, height: usize, width: usize) -> Result<Self> {
        let size = [frames, height, width];
        check_size("masks", ids.len(), &size)?;
        Ok(Self { ids, size })
    }

    fn frame(&self, t: usize) -> &'a [u16] {
        let pixels = self.size[1] * self.size[2];
        &self.ids[t * pixels..(t + 1) * pixels]
    }
}

/// How many pixels an object needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Visibility {
    /// In the truth, to be visible; at least 1.
    pub truth_pixels: u32,
    /// In the prediction, to be found; at least 1.
    pub prediction_pixels: u32,
}

/// An object in a frame where the truth or the prediction has a pixel of it.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct ObjectFrame {
    /// Frame, from 0.
    pub frame: usize,
    /// The object.
    pub id: u16,
    /// |A|.
    pub truth_pixels: u32,
    /// |B|.
    pub prediction_pixels: u32,
    /// |A ∩ B|.
    pub common_pixels: u32,
    /// Distance of the centroids in pixels, where both have one.
    pub centroid_error: Option<f64>,
}

impl ObjectFrame {
    /// |A ∩ B| / |A ∪ B|.
    pub fn iou(&self) -> f64 {
        let union = self.truth_pixels + self.prediction_pixels - self.common_pixels;
        f64::from(self.common_pixels) / f64::from(union)
    }
}

/// Every object in every frame, and what that says.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct ObjectScores {
    /// By frame, then by id.
    pub objects: Vec<ObjectFrame>,
    /// Frames of the clip.
    pub frames: usize,
    /// What counts as visible and as found.
    pub visibility: Visibility,
}

/// Compares two masks of the same size.
pub fn objects(truth: &Masks, prediction: &Masks, visibility: Visibility) -> Result<ObjectScores> {
    if truth.size != prediction.size {
        return Err(invalid(WHAT, format!("the truth is {:?}, the prediction {:?}", truth.size, prediction.size)));
    }
    if visibility.truth_pixels == 0 || visibility.prediction_pixels == 0 {
        return Err(invalid(WHAT, format!("no object is visible by 0 pixels: {visibility:?}")));
    }
    let mut objects = Vec::new();
    for t in 0..truth.size[0] {
        objects.extend(compare(truth.frame(t), prediction.frame(t), t, truth.size[2]));
    }
    Ok(ObjectScores { objects, frames: truth.size[0], visibility })
}

/// Pixels of an object and the sums of their positions.
#[derive(Clone, Copy, Default)]
struct Region {
    pixels: u32,
    x: u64,
    y: u64,
}

impl Region {
    fn add(&mut self, i: usize, width: usize) {
        self.pixels += 1;
        self.x += (i % width) as u64;
        self.y += (i / width) as u64;
    }

    fn centroid(&self) -> Option<[f64; 2]> {
        let of = |sum: u64| sum as f64 / f64::from(self.pixels);
        (self.pixels > 0).then(|| [of(self.x), of(self.y)])
    }
}

fn compare(truth: &[u16], prediction: &[u16], frame: usize, width: usize) -> Vec<ObjectFrame> {
    let mut regions: BTreeMap<u16, (Region, Region, u32)> = BTreeMap::new();
    for (i, (&a, &b)) in truth.iter().zip(prediction).enumerate() {
        if a != 0 {
            let (region, _, common) = regions.entry(a).or_default();
            region.add(i, width);
            *common += u32::from(a == b);
        }
        if b != 0 {
            regions.entry(b).or_default().1.add(i, width);
        }
    }
    let object = |(id, (a, b, common_pixels)): (u16, (Region, Region, u32))| {
        let centroid_error =
            a.centroid().zip(b.centroid()).map(|([x, y], [u, v])| ((x - u).powi(2) + (y - v).powi(2)).sqrt());
        let (truth_pixels, prediction_pixels) = (a.pixels, b.pixels);
        ObjectFrame { frame, id, truth_pixels, prediction_pixels, common_pixels, centroid_error }
    };
    regions.into_iter().map(object).collect()
}

impl ObjectScores {
    /// Mean centroid error in pixels; `None` if nothing visible is found.
    pub fn centroid_error(&self) -> Option<f64> {
        mean(self.objects.iter().filter_map(|object| self.centroid_of(object)))
    }

    /// Mean IoU; `None` if nothing is visible.
    pub fn iou(&self) -> Option<f64> {
        mean(self.objects.iter().filter_map(|object| self.iou_of(object)))
    }

    /// Mean IoU of each object that is ever visible, by id.
    pub fn iou_by_object(&self) -> BTreeMap<u16, f64> {
        let mut sums: BTreeMap<u16, (f64, f64)> = BTreeMap::new();
        for object in &self.objects {
            if let Some(iou) = self.iou_of(object) {
                let (sum, count) = sums.entry(object.id).or_default();
                *sum += iou;
                *count += 1.0;
            }
        }
        sums.into_iter().map(|(id, (sum, count))| (id, sum / count)).collect()
    }

    /// Share of the visible that is found; `None` if nothing is visible.
    pub fn permanence(&self) -> Option<f64> {
        mean(self.objects.iter().filter_map(|object| self.found_of(object)))
    }

    /// How many false appearances there are, a frame's each counted.
    pub fn false_appearances(&self) -> usize {
        self.objects.iter().filter(|object| self.false_of(object)).count()
    }

    /// Mean centroid error of each frame.
    pub fn centroid_error_curve(&self) -> Vec<Option<f64>> {
        self.curve(|object| self.centroid_of(object))
    }

    /// Mean IoU of each frame.
    pub fn iou_curve(&self) -> Vec<Option<f64>> {
        self.curve(|object| self.iou_of(object))
    }

    /// Permanence of each frame.
    pub fn permanence_curve(&self) -> Vec<Option<f64>> {
        self.curve(|object| self.found_of(object))
    }

    /// False appearances of each frame.
    pub fn false_appearance_curve(&self) -> Vec<Option<f64>> {
        let count = |t| self.in_frame(t).filter(|object| self.false_of(object)).count();
        (0..self.frames).map(|t| Some(count(t) as f64)).collect()
    }

    fn curve(&self, value: impl Fn(&ObjectFrame) -> Option<f64>) -> Vec<Option<f64>> {
        (0..self.frames).map(|t| mean(self.in_frame(t).filter_map(&value))).collect()
    }

    fn in_frame(&self, t: usize) -> impl Iterator<Item = &ObjectFrame> {
        let start = self.objects.partition_point(|object| object.frame < t);
        self.objects[start..].iter().take_while(move |object| object.frame == t)
    }

    fn visible(&self, object: &ObjectFrame) -> bool {
        object.truth_pixels >= self.visibility.truth_pixels
    }

    fn found(&self, object: &ObjectFrame) -> bool {
        object.prediction_pixels >= self.visibility.prediction_pixels
    }

    fn centroid_of(&self, object: &ObjectFrame) -> Option<f64> {
        object.centroid_error.filter(|_| self.visible(object) && self.found(object))
    }

    fn iou_of(&self, object: &ObjectFrame) -> Option<f64> {
        self.visible(object).then(|| object.iou())
    }

    fn found_of(&self, object: &ObjectFrame) -> Option<f64> {
        self.visible(object).then(|| f64::from(u8::from(self.found(object))))
    }

    fn false_of(&self, object: &ObjectFrame) -> bool {
        object.truth_pixels == 0 && self.found(object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VISIBILITY: Visibility = Visibility { truth_pixels: 4, prediction_pixels: 2 };

    /// Boxes `(frame, id, left, top, width, height)` in frames of 8 × 12.
    fn masks(frames: usize, boxes: &[(usize, u16, usize, usize, usize, usize)]) -> Vec<u16> {
        let mut ids = vec![0; frames * 8 * 12];
        for &(frame, id, left, top, width, height) in boxes {
            for y in top..top + height {
                ids[(frame * 8 + y) * 12 + left..][..width].fill(id);
            }
        }
        ids
    }

    fn scores(frames: usize, truth: &[u16], prediction: &[u16]) -> ObjectScores {
        let of = |ids| Masks::new(ids, frames, 8, 12).unwrap();
        objects(&of(truth), &of(prediction), VISIBILITY).unwrap()
    }

    #[test]
    fn a_box_moved_by_3_and_4_is_off_by_5_pixels() {
        let truth = masks(1, &[(0, 7, 1, 0, 4, 4)]);
        let found = scores(1, &truth, &masks(1, &[(0, 7, 4, 4, 4, 4)]));
        assert_eq!((found.centroid_error(), found.iou(), found.permanence()), (Some(5.0), Some(0.0), Some(1.0)));
        let found = scores(1, &truth, &masks(1, &[(0, 7, 3, 0, 4, 4)]));
        assert_eq!((found.centroid_error(), found.iou()), (Some(2.0), Some(8.0 / 24.0)));
        let found = scores(1, &truth, &truth);
        assert_eq!((found.centroid_error(), found.iou(), found.false_appearances()), (Some(0.0), Some(1.0), 0));
    }

    #[test]
    fn what_is_lost_and_what_is_invented_is_counted_frame_by_frame() {
        let truth = masks(
            3,
            &[(0, 1, 0, 0, 3, 3), (1, 1, 1, 0, 3, 3), (2, 1, 2, 0, 3, 3), (0, 2, 8, 4, 2, 2), (1, 2, 8, 4, 1, 3)],
        );
        let prediction = masks(
            3,
            &[
                (0, 1, 0, 0, 3, 3),
                (1, 1, 1, 0, 1, 1),
                (0, 2, 8, 4, 2, 2),
                (1, 2, 8, 4, 2, 1),
                (2, 2, 8, 4, 2, 2),
                (2, 9, 0, 6, 1, 1),
            ],
        );
        let found = scores(3, &truth, &prediction);
        // Object 2 is too small to be visible in frame 1 and gone in frame 2; object 9 is too small to be found.
        assert_eq!(found.permanence_curve(), [Some(1.0), Some(0.0), Some(0.0)]);
        assert_eq!(found.permanence(), Some(0.5));
        assert_eq!(found.false_appearance_curve(), [Some(0.0), Some(0.0), Some(1.0)]);
        assert_eq!(found.false_appearances(), 1);
        assert_eq!(found.centroid_error_curve(), [Some(0.0), None, None]);
        assert_eq!(found.iou_curve(), [Some(1.0), Some(1.0 / 9.0), Some(0.0)]);
        assert_eq!(found.iou_by_object(), BTreeMap::from([(1, (1.0 + 1.0 / 9.0) / 3.0), (2, 1.0)]));
    }

    #[test]
    fn the_numbers_are_those_of_a_naive_count() {
        let ids = |shift: usize| -> Vec<u16> { (0..8 * 12).map(|i| ((i * i + 7 * shift * i) % 5) as u16).collect() };
        let (truth, prediction) = (ids(0), ids(1));
        let found = scores(1, &truth, &prediction);
        assert_eq!(
            found.objects.iter().map(|object| object.id).collect::<Vec<_>>(),
            [1, 2, 3, 4].into_iter().filter(|id| truth.contains(id) || prediction.contains(id)).collect::<Vec<_>>()
        );
        for object in &found.objects {
            let positions = |ids: &[u16]| -> Vec<usize> { (0..96).filter(|&i| ids[i] == object.id).collect() };
            let (a, b) = (positions(&truth), positions(&prediction));
            let common = a.iter().filter(|i| b.contains(i)).count();
            assert_eq!(
                (object.truth_pixels as usize, object.prediction_pixels as usize, object.common_pixels as usize),
                (a.len(), b.len(), common)
            );
            let centre = |p: &[usize]| {
                (
                    p.iter().map(|i| (i % 12) as f64).sum::<f64>() / p.len() as f64,
                    p.iter().map(|i| (i / 12) as f64).sum::<f64>() / p.len() as f64,
                )
            };
            if let Some(error) = object.centroid_error {
                let ((x, y), (u, v)) = (centre(&a), centre(&b));
                assert!((error - (x - u).hypot(y - v)).abs() < 1e-12, "{object:?}");
            }
        }
    }

    #[test]
    fn a_wrong_order_of_frames_is_worse_than_a_small_shift() {
        let at = |order: [usize; 4], shift: usize| {
            let boxes: Vec<_> =
                order.iter().enumerate().map(|(t, &place)| (t, 1, 2 * place + shift, 2, 3, 3)).collect();
            masks(4, &boxes)
        };
        let truth = at([0, 1, 2, 3], 0);
        let (near, shuffled) = (scores(4, &truth, &at([0, 1, 2, 3], 1)), scores(4, &truth, &at([2, 0, 3, 1], 0)));
        assert!(near.centroid_error() < shuffled.centroid_error() && near.iou() > shuffled.iou());
    }

    #[test]
    fn without_objects_there_is_no_value_and_without_pixels_an_error() {
        let none = scores(1, &masks(1, &[]), &masks(1, &[]));
        assert_eq!(
            (none.centroid_error(), none.iou(), none.permanence(), none.false_appearances()),
            (None, None, None, 0)
        );
        assert!(Masks::new(&[], 0, 8, 12).is_err() && Masks::new(&[1; 5], 1, 2, 3).is_err());
        let (ids, zero) = ([1; 6], Visibility { truth_pixels: 0, prediction_pixels: 1 });
        let (a, b) = (Masks::new(&ids, 1, 2, 3).unwrap(), Masks::new(&ids, 1, 3, 2).unwrap());
        assert!(objects(&a, &b, VISIBILITY).is_err() && objects(&a, &a, zero).is_err());
    }
}
