//! Objects watched through a rollout: what the heads find in a frame says where they look in the next.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::describe::{Description, MOST_OBJECTS, Measured, describe};
use super::masks::Masks;
use super::poses::PoseEstimate;
use super::query::Wanted;
use super::track::Track;
use super::{ObjectHead, PoseHead};
use crate::data::poses::SeenPose;
use crate::data::watched::pose;
use crate::data::{Clip, WorldSpec};
use crate::error::Result;

/// What was found in a frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Which object each pixel belongs to.
    pub masks: Masks,
    /// Pose of each described object; empty for a model that reads none.
    pub poses: Vec<PoseEstimate>,
}

/// Objects of windows that are rolled out side by side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Watch {
    /// By window.
    described: Vec<Vec<Description>>,
    tracks: Vec<Vec<Track>>,
}

impl Watch {
    /// Starts in the frame that describes the objects, by window; each with its pose there, if that is known.
    pub fn new(windows: Vec<Vec<(Description, Option<SeenPose>)>>) -> Self {
        let tracks = |objects: &Vec<(Description, Option<SeenPose>)>| {
            objects.iter().map(|(object, pose)| Track::of(object, *pose)).collect()
        };
        let tracks = windows.iter().map(tracks).collect();
        let described = windows.into_iter().map(|objects| objects.into_iter().map(|(object, _)| object).collect());
        Self { described: described.collect(), tracks }
    }

    /// Shows the objects in a true frame of each window: its clip, and the frame there. None where nobody says which
    /// pixels are which object.
    pub fn show(spec: &WorldSpec, frames: &[(&Clip, usize)]) -> Option<Self> {
        let plane = spec.picture_height() * spec.width;
        let show = |(clip, frame): &(&Clip, usize)| {
            let ids = clip.gbuffer.get(frame * plane..(frame + 1) * plane)?;
            let picture = clip.pictures.get(frame * 3 * plane..(frame + 1) * 3 * plane)?;
            let posed = |mut object: Description| {
                let pose = pose(clip, Some(*frame), object.id);
                object.log_depth = pose.map(|pose| pose.log_depth);
                (object, pose)
            };
            Some(describe(picture, ids, spec.height, spec.width).into_iter().map(posed).collect())
        };
        frames.iter().map(show).collect::<Option<Vec<_>>>().map(Self::new)
    }

    /// True if it watches objects in so many windows, and holds together: one that was read from elsewhere may not.
    pub fn fits(&self, windows: usize) -> bool {
        let together = |(objects, tracks): (&Vec<Description>, &Vec<Track>)| {
            objects.len() == tracks.len() && objects.len() <= MOST_OBJECTS
        };
        [self.described.len(), self.tracks.len()] == [windows; 2]
            && self.described.iter().zip(&self.tracks).all(together)
    }

    /// The objects, by window.
    pub fn described(&self) -> &[Vec<Description>] {
        &self.described
    }

    /// Looks at the next frame, pictures `[B, 1, 3, H, W]` with tokens `[B, 1, N, D]`, and goes on with what is found.
    ///
    /// # Errors
    /// A tensor operation's.
    pub fn look(
        &mut self,
        objects: &ObjectHead,
        poses: Option<&PoseHead>,
        tokens: &Tensor,
        pictures: &Tensor,
    ) -> Result<Vec<Found>> {
        let masks = objects.masks(tokens, pictures, &self.wanted(|_, _| None))?;
        let wanted = self.wanted(|window, id| masks[window].measured(id));
        let poses = match poses {
            Some(poses) => poses.poses(tokens, &wanted)?,
            None => vec![Vec::new(); masks.len()],
        };
        let found: Vec<Found> = masks.into_iter().zip(poses).map(|(masks, poses)| Found { masks, poses }).collect();
        for ((tracks, objects), found) in self.tracks.iter_mut().zip(&self.described).zip(&found) {
            for (k, (track, object)) in tracks.iter_mut().zip(objects).enumerate() {
                let place = found.masks.measured(object.id).map(|measured| measured.place);
                track.follow(place, found.poses.get(k).map(|estimate| estimate.pose));
            }
        }
        Ok(found)
    }

    /// What to ask for; `measured` says what the mask of an object of a window says.
    fn wanted(&self, measured: impl Fn(usize, u16) -> Option<Measured>) -> Vec<Vec<Wanted<'_>>> {
        let windows = self.described.iter().zip(&self.tracks).enumerate();
        windows
            .map(|(window, (objects, tracks))| {
                let all = objects.iter().zip(tracks);
                all.map(|(object, track)| Wanted { object, track, measured: measured(window, object.id) }).collect()
            })
            .collect()
    }
}
