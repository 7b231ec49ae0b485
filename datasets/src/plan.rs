//! What a run is going to write: fixed before the first episode, saved beside the output, and
//! compared when the run is resumed or its shards are merged.

use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Serialize};
use worldloom_engine::gbuffer::Channels;
use worldloom_engine::scene::{Label, Scene};
use worldloom_engine::state::Catalog;

use crate::error::{Error, Result};
use crate::schema::Layout;

/// Most sampled parameters: each is a column of the data and ten of the episodes' statistics, and all of a
/// row group are in memory together: about 90 KB a parameter, the whole of `generate` 350 MB at 3,000.
pub const MOST_COLUMNS: usize = 20_000;

/// Everything that decides the bytes of a dataset, apart from the episodes themselves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Name of the scenario.
    pub scenario_name: String,
    /// The scenario file as it was read.
    pub scenario_text: String,
    /// BLAKE3 of `scenario_text` with the overrides applied (hex), as the caller defines it.
    pub scenario_digest: String,
    /// `--set` pairs, in order.
    pub overrides: Vec<(String, String)>,
    /// Seed of the run.
    pub seed: u64,
    /// Which part of the run this is.
    pub shard: Shard,
    /// Frames a second: the control rate.
    pub fps: u32,
    /// Labels written beside the pictures.
    pub labels: Vec<Label>,
    /// How pictures are encoded.
    pub video: VideoSettings,
    /// The instruction in words (LeRobot's `task`).
    pub task: String,
    /// LeRobot's `robot_type`; null if there is no robot.
    pub robot_type: Option<String>,
    /// Sampled parameters that become columns `params.<name>`.
    pub columns: Vec<ParamColumn>,
    /// For the card: one or more sentences.
    pub description: Option<String>,
    /// For the card: search words.
    pub tags: Vec<String>,
    /// For the card: SPDX licence of what is generated.
    pub license: Option<String>,
    /// Where the frames come from if a learned model dreamed them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dream: Option<DreamSource>,
    /// True if every frame comes with its certificate ([`EpisodeWriter::certify`](crate::EpisodeWriter::certify)).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub certificates: bool,
}

/// What a dreamed dataset was dreamed by, and from what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DreamSource {
    /// Name of the checkpoint's folder.
    pub checkpoint: String,
    /// BLAKE3 of its weights (hex).
    pub weights: String,
    /// What the context frames and actions come from: a dataset's folder and episode, or a scenario and seed.
    pub context_of: String,
    /// True frames at the beginning of each episode.
    pub context: u64,
    /// Denoising steps of a frame.
    pub steps: u64,
    /// How strongly it follows its actions (classifier-free guidance); 1, as trained, where it is not said.
    #[serde(default = "as_trained")]
    pub guidance: f64,
    /// Seed of the noise.
    pub seed: u64,
    /// `free`, or `condition` if the model was told the G-buffers of physics.
    pub mode: String,
}

fn as_trained() -> f64 {
    1.0
}

impl Plan {
    /// A plan with every label, the default video, one shard, and nothing else said.
    pub fn new(scenario_name: impl Into<String>, seed: u64, fps: u32) -> Self {
        let scenario_name = scenario_name.into();
        Self {
            task: scenario_name.clone(),
            scenario_name,
            scenario_text: String::new(),
            scenario_digest: String::new(),
            overrides: Vec::new(),
            seed,
            shard: Shard::default(),
            fps,
            labels: Label::ALL.to_vec(),
            video: VideoSettings::default(),
            robot_type: None,
            columns: Vec::new(),
            description: None,
            tags: Vec::new(),
            license: None,
            dream: None,
            certificates: false,
        }
    }

    /// The channels that a world must draw for this plan.
    pub fn channels(&self) -> Channels {
        let any = |wanted: &[Label]| wanted.iter().any(|label| self.labels.contains(label));
        Channels {
            colour: true,
            depth: any(&[Label::Depth]),
            normal: any(&[Label::Normals]),
            instance: any(&[Label::Instances, Label::Boxes]),
            flow: any(&[Label::Flow]),
        }
    }

    /// True if the plan writes this label.
    pub fn has(&self, label: Label) -> bool {
        self.labels.contains(&label)
    }

    /// Finds what no episode could be recorded with, before a folder is made: settings out of range, more
    /// columns than a table holds, pictures that the encoder does not take.
    ///
    /// # Errors
    /// [`Error::Invalid`], with the field.
    pub fn check_scene(&self, scene: &Scene, catalog: &Catalog) -> Result<()> {
        self.check()?;
        Layout::of(scene, catalog, self).map(|_| ())
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.fps == 0 {
            return Err(Error::invalid("fps", "must be at least 1"));
        }
        if self.shard.count == 0 || self.shard.index >= self.shard.count {
            return Err(Error::invalid("shard", format!("{} is not one of 0..{}", self.shard, self.shard.count)));
        }
        if self.columns.len() > MOST_COLUMNS {
            let problem = format!("{} sampled values, but a dataset has at most {MOST_COLUMNS}", self.columns.len());
            return Err(Error::invalid("params", problem + ": fix some of them, or sample one for several things"));
        }
        let mut names = BTreeSet::new();
        for column in &self.columns {
            if !names.insert(&column.name) {
                return Err(Error::invalid(format!("columns.{}", column.name), "is named twice"));
            }
        }
        self.video.check()
    }
}

/// Part `index` of `count`: the episodes whose number is `index` modulo `count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shard {
    /// From 0.
    pub index: u64,
    /// How many parts there are.
    pub count: u64,
}

impl Shard {
    /// True if this part makes episode `number`.
    pub fn owns(&self, number: u64) -> bool {
        number % self.count.max(1) == self.index
    }
}

impl Shard {
    /// Fails if another part makes episode `number` of the run whose part is in `folder`.
    pub(crate) fn expect(self, number: u64, folder: &Path) -> Result<()> {
        if self.owns(number) {
            return Ok(());
        }
        let owner = Self { index: number % self.count.max(1), count: self.count };
        Err(Error::OtherShard { path: folder.to_path_buf(), episode: number, owner, here: self })
    }
}

impl Default for Shard {
    /// The whole run.
    fn default() -> Self {
        Self { index: 0, count: 1 }
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

/// A sampled parameter as a column of the dataset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParamColumn {
    /// Name of the draw; the column is `params.<name>` with `/` and `image` replaced (see FORMAT.md).
    pub name: String,
    /// Shape of its values.
    pub kind: ParamKind,
}

/// Shape of a parameter's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParamKind {
    /// A number: a float32 column.
    Number,
    /// Words: a string column.
    Text,
    /// A vector of this length: a float32 list column.
    Vector(usize),
}

/// How pictures are encoded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VideoSettings {
    /// Codec.
    pub codec: Codec,
    /// Constant rate factor: lower is better and larger. H.264 0..=51, AV1 0..=63; PNG ignores it.
    pub crf: u8,
    /// The encoder's preset: x264 `ultrafast` … `veryslow`, SVT-AV1 `0` … `13`; PNG ignores it.
    pub preset: String,
    /// Frames from a key frame to the next; small means quick random access. PNG ignores it.
    pub gop: u32,
}

/// Codec of the pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Codec {
    /// x264 in mp4.
    H264,
    /// SVT-AV1 in mp4.
    Av1,
    /// Lossless PNG bytes in the data rows (LeRobot's `image` features).
    Png,
}

impl Codec {
    /// The highest constant rate factor that its encoder takes; none for what is lossless.
    pub fn highest_crf(self) -> Option<u8> {
        match self {
            Self::H264 => Some(51),
            Self::Av1 => Some(63),
            Self::Png => None,
        }
    }
}

impl VideoSettings {
    /// H.264 at about 40 dB on rendered scenes (a test holds it to 38), fast enough to keep up with physics.
    pub fn h264() -> Self {
        Self { codec: Codec::H264, crf: 16, preset: "veryfast".to_owned(), gop: 10 }
    }

    /// AV1 as LeRobot's own recorder sets it: crf 30, preset 12, a key frame every second frame.
    pub fn av1() -> Self {
        Self { codec: Codec::Av1, crf: 30, preset: "12".to_owned(), gop: 2 }
    }

    /// Lossless.
    pub fn png() -> Self {
        Self { codec: Codec::Png, crf: 0, preset: String::new(), gop: 1 }
    }

    fn check(&self) -> Result<()> {
        const X264_PRESETS: [&str; 9] =
            ["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"];
        let Some(most) = self.codec.highest_crf() else { return Ok(()) };
        if self.crf > most {
            return Err(Error::invalid("video.crf", format!("{} is not from 0 to {most}", self.crf)));
        }
        if self.gop == 0 {
            return Err(Error::invalid("video.gop", "must be at least 1"));
        }
        match self.codec {
            Codec::H264 if !X264_PRESETS.contains(&self.preset.as_str()) => Err(Error::invalid(
                "video.preset",
                format!("`{}` is none of x264's: {}", self.preset, X264_PRESETS.join(", ")),
            )),
            Codec::Av1 if !self.preset.parse::<u8>().is_ok_and(|preset| preset <= 13) => {
                Err(Error::invalid("video.preset", format!("`{}` is none of SVT-AV1's: 0 to 13", self.preset)))
            }
            _ => Ok(()),
        }
    }
}

impl Default for VideoSettings {
    fn default() -> Self {
        Self::h264()
    }
}

/// What to do about what is already in the output folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The folder must be empty or absent.
    Create,
    /// Go on with what is there (nothing is fine too): unfinished episodes, or more of them.
    Resume,
    /// Delete the dataset that is there first.
    Overwrite,
}
