//! What it takes to draw or to play a recorded episode again: its record, the files of its scene, and where its bodies were.

use worldloom_engine::assets::Assets;
use worldloom_engine::maths::{Pose, Quat, Vec3};
use worldloom_engine::state::BodyState;

use crate::body_reader;
use crate::error::{Error, Result};
use crate::layout::RECORDS;
use crate::reader::Dataset;
use crate::record::EpisodeRecord;
use crate::records;

/// Folder of the table.
const TABLE: &str = "annotations/poses";

impl Dataset {
    /// The record of an episode of ours by LeRobot's index; [`Dataset::record`] counts by the run's numbers.
    ///
    /// # Errors
    /// [`Error::OutOfRange`], and [`Error::Unsupported`] for a dataset that worldloom did not write.
    pub fn record_of(&self, episode: u64) -> Result<EpisodeRecord> {
        self.ours()?;
        self.entry(episode)?;
        match records::find(self.root(), "episode_index", episode)? {
            Some(stored) => Ok(stored.record),
            None => Err(Error::corrupt(self.root().join(RECORDS), format!("no row for episode {episode}"))),
        }
    }

    /// The bundled files that scenes refer to, each checked against its digest; nothing else is found in them.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a file that was changed, and what reading one fails with.
    pub fn assets(&self) -> Result<Assets> {
        let references = self.ours()?.assets.keys();
        let files = references.map(|reference| Ok((reference.clone(), self.asset(reference)?)));
        Ok(Assets::bundled(files.collect::<Result<_>>()?))
    }

    /// True if the dataset tells where its bodies were ([`Dataset::states`]).
    pub fn has_states(&self) -> bool {
        self.manifest().is_some_and(|manifest| manifest.tables.iter().any(|table| table == TABLE))
    }

    /// Where every body was in every frame of an episode, bit for bit as it was simulated: `[frames][bodies]`, by body of the
    /// scene's catalog.
    ///
    /// # Errors
    /// [`Error::Invalid`] if poses were not recorded, [`Error::Corrupt`] for a table that does not list every body once in
    /// every frame, in order.
    pub fn states(&self, episode: u64) -> Result<Vec<Vec<BodyState>>> {
        let rows = body_reader::rows(&self.table(episode, TABLE)?, &self.root().join(TABLE))?;
        // As many frames as there are rows in the data, whatever the metadata says.
        let frames = self.frames_with(episode, &[])?.length() as usize;
        let corrupt =
            |what: String| Error::corrupt(self.root().join(TABLE), format!("poses of episode {episode}: {what}"));
        let bodies = match (rows.len().checked_div(frames), rows.len().checked_rem(frames)) {
            (Some(bodies), Some(0)) => bodies,
            _ => return Err(corrupt(format!("{} rows for {frames} frames", rows.len()))),
        };
        let mut states = vec![Vec::with_capacity(bodies); frames];
        for (index, row) in rows.iter().enumerate() {
            let (frame, instance) = (index / bodies, index % bodies + 1);
            if (row.frame, usize::from(row.instance)) != (frame as u64, instance) {
                return Err(corrupt(format!(
                    "frame {}, instance {} where frame {frame}, instance {instance} should be",
                    row.frame, row.instance
                )));
            }
            let [x, y, z, i, j, k, w] = row.world_from_body;
            states[frame].push(BodyState {
                pose: Pose::from_parts(Vec3::new(x, y, z), Quat::from_xyzw(i, j, k, w)),
                velocity: Vec3::from_array(row.velocity),
                angular_velocity: Vec3::from_array(row.angular_velocity),
                present: row.present,
            });
        }
        Ok(states)
    }
}
