//! Following an object from frame to frame: where it was says where it is.
//!
//! Two objects of one colour look the same. What tells them apart is that nothing jumps: the heads are told of every object
//! where it was last found and how it went on from there, and its pose in the frame before. In training that is the truth, a little
//! off; in a rollout, what the heads themselves found.

use serde::{Deserialize, Serialize};
use worldloom_engine::stream::Stream;

use super::describe::Description;
use crate::data::poses::SeenPose;

/// Numbers of a track as the heads are told it.
pub const TRACK: usize = 13;
/// Frames for which an unseen object is taken to go on as it did.
const GOES_ON: f32 = 3.0;
/// Frames without it that count as very long.
const LONG: u32 = 16;
/// The largest step that is believed, in [−1, 1] a frame.
const FARTHEST: f32 = 0.5;
/// Standard deviations by which tracks are off in training: of a place and a step (pictures are 2 across: 0.03 is a pixel of
/// 64), of a log depth, of a rotation's numbers.
const OFF: [f64; 4] = [0.06, 0.03, 0.05, 0.08];
/// How often an object is as good as lost in training: where it was when it was shown is all that is known.
const LOST: f64 = 0.1;
/// How often its pose is not told.
const POSELESS: f64 = 0.2;

/// What is known of an object before a frame is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Track {
    /// Where it was last found, in [−1, 1].
    place: [f32; 2],
    /// How far it went in a frame.
    step: [f32; 2],
    /// Frames since; at least 1.
    age: u32,
    /// Its pose in the frame before.
    pose: Option<SeenPose>,
}

impl Track {
    /// An object in the frame that describes it.
    pub fn of(object: &Description, pose: Option<SeenPose>) -> Self {
        Self { place: object.place, step: [0.0; 2], age: 1, pose }
    }

    /// Of an object that was found at `places[0]` in the frame before, at `places[1]` in the one before that, and so on, none
    /// where it was not found. None if it was nowhere.
    pub fn along(places: &[Option<[f32; 2]>], pose: Option<SeenPose>) -> Option<Self> {
        let (age, place) = places.iter().enumerate().find_map(|(i, place)| Some((i, (*place)?)))?;
        let before = places.get(age + 1).copied().flatten();
        let step = before.map_or([0.0; 2], |before| [0, 1].map(|axis| place[axis] - before[axis]));
        Some(Self { place, step, age: age as u32 + 1, pose })
    }

    /// Of an object of which only is known where it was long ago.
    pub fn lost(object: &Description) -> Self {
        Self { place: object.place, step: [0.0; 2], age: LONG, pose: None }
    }

    /// Where it should be now.
    pub fn expected(&self) -> [f32; 2] {
        let steps = (self.age as f32).min(GOES_ON);
        [0, 1].map(|axis| (self.place[axis] + steps * self.step[axis]).clamp(-1.5, 1.5))
    }

    /// As the heads are told it.
    pub fn numbers(&self) -> [f32; TRACK] {
        let (expected, mut numbers) = (self.expected(), [0.0; TRACK]);
        numbers[..2].copy_from_slice(&expected);
        numbers[2..4].copy_from_slice(&self.step.map(|step| 8.0 * step));
        numbers[4] = self.age.min(LONG) as f32 / LONG as f32;
        if let Some(pose) = self.pose {
            numbers[5] = 1.0;
            numbers[6..].copy_from_slice(&pose.numbers()[2..]);
        }
        numbers
    }

    /// True if its pose in the frame before is known.
    pub fn knows_pose(&self) -> bool {
        self.pose.is_some()
    }

    /// Its depth and rotation in the frame before, zeros without.
    pub fn before(&self) -> [f32; 7] {
        let mut before = [0.0; 7];
        before.copy_from_slice(&self.numbers()[6..]);
        before
    }

    /// Goes on with what was found of it.
    pub fn follow(&mut self, found: Option<[f32; 2]>, pose: Option<SeenPose>) {
        self.pose = pose;
        match found {
            Some(place) => {
                let step = [0, 1].map(|axis| (place[axis] - self.place[axis]) / self.age as f32);
                // What turns up elsewhere has not gone there.
                let step = if step.iter().all(|s| s.abs() <= FARTHEST) { step } else { [0.0; 2] };
                *self = Self { place, step, age: 1, pose };
            }
            None => self.age = (self.age + 1).min(LONG),
        }
    }

    /// As a rollout would know it: a little off, or lost.
    pub fn disturbed(self, object: &Description, stream: &mut Stream) -> Self {
        let (lost, poseless) = (stream.unit() < LOST, stream.unit() < POSELESS);
        let mut off = |size: f64| (size * stream.normal()) as f32;
        let [place, step, depth, turn] = OFF;
        let pose = self.pose.map(|pose| {
            let mut numbers = pose.numbers();
            numbers[2] += off(depth);
            for number in &mut numbers[3..] {
                *number += off(turn);
            }
            SeenPose::from_numbers(numbers)
        });
        let moved = Self {
            place: self.place.map(|value| value + off(place)),
            step: self.step.map(|value| value + off(step)),
            age: self.age,
            pose: pose.filter(|_| !poseless),
        };
        if lost { Self::lost(object) } else { moved }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(place: [f32; 2]) -> Track {
        Track { place, step: [0.0; 2], age: 1, pose: None }
    }

    #[test]
    fn an_object_goes_on_as_it_did_and_only_so_long() {
        let mut track = at([0.0, 0.0]);
        track.follow(Some([0.1, 0.05]), None);
        assert_eq!(track.expected(), [0.2, 0.1]);
        track.follow(None, None);
        assert!((track.expected()[0] - 0.3).abs() < 1e-6);
        for _ in 0..20 {
            track.follow(None, None);
        }
        assert!((track.expected()[0] - 0.4).abs() < 1e-6, "it goes on for three frames: {track:?}");
        assert_eq!(track.numbers()[4], 1.0, "lost for long");
        track.follow(Some([-0.9, 0.0]), None);
        assert!(track.step[0].abs() < 0.1 && track.age == 1, "{track:?}");
        track.follow(Some([0.9, 0.0]), None);
        assert_eq!(track.step, [0.0; 2], "nothing goes that far in a frame");
    }

    #[test]
    fn a_history_gives_the_track_that_following_it_gives() {
        let places = [None, Some([0.3, 0.1]), Some([0.2, 0.1]), None];
        let along = Track::along(&places, None).unwrap();
        let mut followed = at([0.2, 0.1]);
        followed.follow(Some([0.3, 0.1]), None);
        followed.follow(None, None);
        assert_eq!(along, followed);
        assert_eq!(Track::along(&[None, None], None), None);
    }

    #[test]
    fn training_tracks_are_a_little_off_or_lost_and_depend_on_the_seed_alone() {
        let object = Description { id: 3, looks: [0.0; 9], place: [0.9, 0.9], log_depth: None };
        let (mut lost, mut off) = (0, 0.0f64);
        let all = |seed: u64| -> Vec<Track> {
            let mut stream = Stream::new(seed, "tracks", 0, 0);
            (0..2000).map(|_| at([0.0, 0.0]).disturbed(&object, &mut stream)).collect()
        };
        assert_eq!(all(1), all(1));
        for track in all(1) {
            if track.age == LONG {
                lost += 1;
            } else {
                off += f64::from(track.place[0]).powi(2);
            }
        }
        assert!((140..260).contains(&lost), "{lost} of 2000");
        let deviation = (off / f64::from(2000 - lost)).sqrt();
        assert!((deviation - OFF[0]).abs() < 0.1 * OFF[0], "expected {}, measured {deviation}", OFF[0]);
    }
}
