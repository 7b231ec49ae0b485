//! Objects watched through a rollout: what the heads find in a frame says where they look in the next.

use candle_core::Tensor;

use super::describe::{Description, Measured};
use super::masks::Masks;
use super::poses::PoseEstimate;
use super::query::Wanted;
use super::track::Track;
use super::{ObjectHead, PoseHead};
use crate::data::poses::SeenPose;
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
#[derive(Clone, Debug)]
pub struct Watch {
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
