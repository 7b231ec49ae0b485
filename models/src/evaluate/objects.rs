//! Objects of windows: how far from the truth the heads find them.

use super::TRAVELS;
use crate::data::poses::SeenPose;
use crate::dream::{Dreamed, Sight};
use crate::error::Result;
use crate::metrics::objects::{self, Masks, ObjectFrame, Visibility};

/// Pixels that an object needs to be visible in the truth, and to be found in a dream.
const VISIBLE: Visibility = Visibility { truth_pixels: 12, prediction_pixels: 4 };

/// What windows add up to. Objects are those that travel and are visible.
#[derive(Default)]
pub(super) struct Followed {
    /// By window and frame after the context, pixels.
    pub centroids: Vec<Vec<Option<f64>>>,
    /// The same for objects that stay where they were in the last frame of the context.
    pub stayed: Vec<Vec<Option<f64>>>,
    /// Pairs of an object and a frame, and how many of them were found.
    followed: usize,
    found: usize,
    /// Of each such pair, metres.
    position: Vec<f64>,
    /// Degrees.
    rotation: Vec<f64>,
    /// The same for bodies that stay as they were.
    stayed_position: Vec<f64>,
    stayed_rotation: Vec<f64>,
}

impl Followed {
    /// Adds what was seen of a window of pictures of `height` × `width`.
    pub fn add(&mut self, window: &Dreamed, sight: &Sight, [height, width]: [usize; 2]) -> Result<()> {
        if window.instances.is_empty() || sight.masks.is_empty() {
            return Ok(());
        }
        let (context, plane) = (window.context, height * width);
        let count = window.instances.len() / plane;
        let still = window.instances[(context - 1) * plane..context * plane].repeat(count);
        let masks = |ids: &'_ [u16]| -> Result<Vec<ObjectFrame>> {
            let truth = Masks::new(&window.instances, count, height, width)?;
            let found = objects::objects(&truth, &Masks::new(ids, count, height, width)?, VISIBLE)?.objects;
            let after = |object: &ObjectFrame| object.frame >= context && object.truth_pixels >= VISIBLE.truth_pixels;
            Ok(found.into_iter().filter(after).collect())
        };
        let (found, stayed) = (masks(&sight.masks)?, masks(&still)?);
        // An object that is where it was has not travelled.
        let far = |object: &&ObjectFrame| object.centroid_error.is_some_and(|error| error >= TRAVELS);
        let travelled: Vec<u16> = stayed.iter().filter(far).map(|object| object.id).collect();
        let follow = |frames: &[ObjectFrame]| -> Vec<(usize, u16, Option<f64>)> {
            let followed = frames.iter().filter(|object| travelled.contains(&object.id));
            let error = |object: &ObjectFrame| {
                let found = object.prediction_pixels >= VISIBLE.prediction_pixels;
                (object.frame - context, object.id, object.centroid_error.filter(|_| found))
            };
            followed.map(error).collect()
        };
        let curve = |points: &[(usize, u16, Option<f64>)]| -> Vec<Option<f64>> {
            let errors = |t: usize| points.iter().filter(move |point| point.0 == t).filter_map(|point| point.2);
            (0..count - context).map(|t| mean(&errors(t).collect::<Vec<_>>())).collect()
        };
        let (found, stayed) = (follow(&found), follow(&stayed));
        self.followed += found.len();
        self.found += found.iter().filter(|point| point.2.is_some()).count();
        for (t, id, _) in &found {
            self.add_pose(window, sight, context + t, *id);
        }
        self.centroids.push(curve(&found));
        self.stayed.push(curve(&stayed));
        Ok(())
    }

    fn add_pose(&mut self, window: &Dreamed, sight: &Sight, frame: usize, id: u16) {
        let body = |frame: usize| {
            let bodies = window.bodies.get(frame)?;
            bodies.iter().find(|(body, _)| *body == id).map(|(_, pose)| pose)
        };
        let seen = sight.poses.get(frame).and_then(|poses| poses.iter().find(|(body, _)| *body == id));
        let (Some(lens), Some(truth), Some((_, seen))) = (window.lens, body(frame), seen) else { return };
        let errors = |pose: &SeenPose| {
            let (found, truth) = (lens.place(pose), lens.place(truth));
            let angle = found.rotation.angle_between(truth.rotation);
            (f64::from(found.translation.distance(truth.translation)), f64::from(angle).to_degrees())
        };
        let (position, rotation) = errors(&seen.pose);
        self.position.push(position);
        self.rotation.push(rotation);
        if let Some(last) = body(window.context - 1) {
            let (position, rotation) = errors(last);
            self.stayed_position.push(position);
            self.stayed_rotation.push(rotation);
        }
    }

    /// Mean distance of centroids, pixels.
    pub fn centroid_error(&self) -> Option<f64> {
        flat(&self.centroids)
    }

    /// The same of staying.
    pub fn stayed_error(&self) -> Option<f64> {
        flat(&self.stayed)
    }

    /// Share of the pairs that was found.
    pub fn permanence(&self) -> Option<f64> {
        (self.followed > 0).then(|| self.found as f64 / self.followed as f64)
    }

    /// Mean errors of position (m) and rotation (degrees).
    pub fn pose_error(&self) -> Option<[f64; 2]> {
        Some([mean(&self.position)?, mean(&self.rotation)?])
    }

    /// The same of staying.
    pub fn stayed_pose_error(&self) -> Option<[f64; 2]> {
        Some([mean(&self.stayed_position)?, mean(&self.stayed_rotation)?])
    }
}

fn flat(curves: &[Vec<Option<f64>>]) -> Option<f64> {
    mean(&curves.iter().flatten().flatten().copied().collect::<Vec<_>>())
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::poses::Lens;
    use crate::heads::PoseEstimate;

    const SIDE: usize = 16;

    /// Ids of a frame with object 3, 4 × 4 pixels, at column `x`.
    fn frame(x: usize) -> Vec<u16> {
        let inside = |i: usize| (x..x + 4).contains(&(i % SIDE)) && (4..8).contains(&(i / SIDE));
        (0..SIDE * SIDE).map(|i| if inside(i) { 3 } else { 0 }).collect()
    }

    fn pose(x: f32) -> SeenPose {
        SeenPose { place: [x, 0.0], log_depth: 0.0, rotation: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0] }
    }

    /// An object that goes on by two columns a frame, and a dream that goes `step` columns; one frame of context.
    fn window(step: usize) -> Dreamed {
        let seen = |x: f32| {
            let pose = pose(x);
            vec![(3, PoseEstimate { pose, place_std: 0.1, log_depth_std: 0.1, rotation_std: 0.1 })]
        };
        let column = |x: usize| x as f32 / 8.0 - 1.0;
        Dreamed {
            truth: vec![0; 4 * 3 * SIDE * SIDE],
            dream: vec![0; 4 * 3 * SIDE * SIDE],
            instances: (0..4).flat_map(|t| frame(2 * t)).collect(),
            bodies: (0..4).map(|t| vec![(3, pose(column(2 * t)))]).collect(),
            lens: Lens::new([8.0, 8.0, 8.0, 8.0], SIDE, SIDE),
            sight: Sight {
                masks: (0..4).flat_map(|t| frame(step * t)).collect(),
                poses: (0..4).map(|t| seen(column(step * t))).collect(),
            },
            true_sight: None,
            outcome: Vec::new(),
            context: 1,
        }
    }

    #[test]
    fn an_object_is_as_far_off_as_it_was_drawn() {
        let mut followed = Followed::default();
        let window = window(1);
        followed.add(&window, &window.sight, [SIDE, SIDE]).unwrap();
        assert_eq!(followed.centroids, [[Some(1.0), Some(2.0), Some(3.0)]]);
        assert_eq!(followed.stayed, [[Some(2.0), Some(4.0), Some(6.0)]]);
        assert_eq!((followed.centroid_error(), followed.permanence()), (Some(2.0), Some(1.0)));
        // At a depth of one metre, a column of 16 with a focal length of 8 is 1/8 m.
        let [position, rotation] = followed.pose_error().unwrap();
        assert!((position - 0.25).abs() < 1e-6 && rotation < 1e-3, "{position} {rotation}");
        assert!((followed.stayed_pose_error().unwrap()[0] - 0.5).abs() < 1e-6);
    }

    #[test]
    fn nothing_is_said_without_labels() {
        let mut followed = Followed::default();
        let mut window = window(2);
        window.instances.clear();
        followed.add(&window, &window.sight, [SIDE, SIDE]).unwrap();
        assert_eq!((followed.centroid_error(), followed.pose_error()), (None, None));
    }
}
