//! `worldloom.json`, and the card.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};
use worldloom_engine::scene::Label;

use crate::error::{Error, Result};
use crate::layout::{FORMAT_VERSION, MANIFEST};
use crate::plan::{Codec, Plan, VideoSettings};
use crate::schema::Layout;

/// Where a dataset comes from: enough to make it again, and to prove it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the files that are ours, [`FORMAT_VERSION`].
    pub format_version: u32,
    /// The plan of the run.
    pub plan: Plan,
    /// Episodes of the whole run: those of all shards, and those without frames.
    pub episodes: u64,
    /// How many of this shard's are not there (an interrupted run).
    pub missing: u64,
    /// Versions of the libraries that decide bytes.
    pub versions: BTreeMap<String, String>,
    /// Bundled files: reference as scenes write it, and place in the dataset (`assets/<BLAKE3>`).
    pub assets: BTreeMap<String, String>,
    /// Folders of the tables, in the order of the lists in `worldloom/episodes`.
    pub tables: Vec<String>,
    /// Names and units of the vectors, and cameras; absent if no episode began.
    #[serde(default)]
    pub(crate) layout: Option<Layout>,
}

impl Manifest {
    /// Everything that becomes a path: a dataset may come from anyone.
    fn check(&self, path: &Path) -> Result<()> {
        check_assets(path, &self.assets)?;
        let legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let inside = |table: &str| table.split('/').all(|part| !part.is_empty() && part.chars().all(legal));
        if let Some(table) = self.tables.iter().find(|table| !inside(table)) {
            return Err(Error::corrupt(path, format!("`{table}` is not a table's folder")));
        }
        match &self.layout {
            Some(layout) => {
                layout.check_cameras(self.plan.video.codec).map_err(|error| Error::corrupt(path, error.to_string()))
            }
            None => Ok(()),
        }
    }

    pub(crate) fn read(root: &Path) -> Result<Option<Self>> {
        let path = root.join(MANIFEST);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Error::io("reading", &path, source)),
        };
        #[derive(Deserialize)]
        struct Versioned {
            format_version: u32,
        }
        let damaged = |source: serde_json::Error| Error::corrupt(&path, source.to_string());
        let version: Versioned = serde_json::from_slice(&bytes).map_err(damaged)?;
        if version.format_version != FORMAT_VERSION {
            return Err(Error::Version {
                path,
                what: "format",
                found: version.format_version.to_string(),
                supported: FORMAT_VERSION.to_string(),
            });
        }
        let manifest: Self = serde_json::from_slice(&bytes).map_err(damaged)?;
        manifest.check(&path)?;
        Ok(Some(manifest))
    }
}

/// Bundled files lie in `assets/`, named by their digest: a manifest from elsewhere names no other place.
pub(crate) fn check_assets(path: &Path, assets: &BTreeMap<String, String>) -> Result<()> {
    let by_digest = |place: &str| {
        let name = place.strip_prefix("assets/").unwrap_or_default();
        name.len() == 64 && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    match assets.iter().find(|(_, place)| !by_digest(place)) {
        Some((reference, place)) => Err(Error::corrupt(
            path,
            format!("the asset `{reference}` is at `{place}`, expected `assets/` and 64 hexadecimal digits"),
        )),
        None => Ok(()),
    }
}

/// Versions of everything that decides the bytes of a dataset with this plan, by name.
pub fn versions(video: &VideoSettings) -> Result<BTreeMap<String, String>> {
    let mut versions: BTreeMap<String, String> = crate::video::versions(video)?.into_iter().collect();
    versions.insert("worldloom".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
    versions
        .insert("parquet".to_owned(), parquet::file::properties::WriterProperties::default().created_by().to_owned());
    for (library, version) in worldloom_engine::versions::LIBRARIES {
        versions.insert(library.to_owned(), version.to_owned());
    }
    // The PNG encoder does not tell its version, but its bytes do.
    let pixels: Vec<u8> = (0..32 * 32 * 3u32).map(|i| (i * i / 11 % 256) as u8).collect();
    let png = crate::image::encode(32, 32, crate::image::Layout::Rgb8, &pixels)?;
    versions.insert("png_probe".to_owned(), blake3::hash(&png).to_hex()[..16].to_owned());
    Ok(versions)
}

/// The dataset card: what the Hugging Face Hub shows.
pub(crate) fn card(manifest: &Manifest, episodes: u64, frames: u64) -> String {
    let plan = &manifest.plan;
    // JSON strings are YAML strings.
    let quote = |text: &str| serde_json::Value::from(text).to_string();
    let mut card = String::from("---\n");
    if let Some(license) = &plan.license {
        let _ = writeln!(card, "license: {}", quote(&license.to_lowercase()));
    }
    card.push_str("task_categories:\n- robotics\ntags:\n- LeRobot\n- worldloom\n- synthetic\n");
    for tag in &plan.tags {
        let _ = writeln!(card, "- {}", quote(tag));
    }
    let size = match frames {
        0..1_000 => "n<1K",
        1_000..10_000 => "1K<n<10K",
        10_000..100_000 => "10K<n<100K",
        100_000..1_000_000 => "100K<n<1M",
        1_000_000..10_000_000 => "1M<n<10M",
        _ => "n>10M",
    };
    let _ = writeln!(card, "size_categories:\n- {size}");
    card.push_str("configs:\n- config_name: default\n  data_files: data/*/*.parquet\n---\n\n");
    let _ = writeln!(card, "# {}\n", plan.scenario_name);
    if let Some(description) = &plan.description {
        let _ = writeln!(card, "{description}\n");
    }
    let _ = writeln!(
        card,
        "{episodes} episodes, {frames} frames at {} Hz, made by worldloom {} from the scenario `{}` under seed {}. \
         Task: {}\n",
        plan.fps,
        manifest.versions.get("worldloom").map_or("?", String::as_str),
        plan.scenario_name,
        plan.seed,
        plan.task
    );
    card.push_str("## Observations and actions\n\n");
    if let Some(layout) = &manifest.layout {
        for (key, channels) in [("observation.state", &layout.state), ("action", &layout.action)] {
            if channels.is_empty() {
                continue;
            }
            let names: Vec<String> = channels
                .iter()
                .map(|c| if c.unit.is_empty() { format!("`{}`", c.name) } else { format!("`{}` ({})", c.name, c.unit) })
                .collect();
            let _ = writeln!(card, "- `{key}`: {}", names.join(", "));
        }
        let codec = match plan.video.codec {
            Codec::H264 => format!("H.264 video, crf {}", plan.video.crf),
            Codec::Av1 => format!("AV1 video, crf {}", plan.video.crf),
            Codec::Png => "lossless PNG".to_owned(),
        };
        for camera in &layout.cameras {
            let _ = writeln!(card, "- `{}`: {}×{}, {codec}", camera.key(), camera.width, camera.height);
        }
    }
    if !plan.columns.is_empty() {
        let names: Vec<String> =
            crate::schema::param_keys(&plan.columns).iter().map(|key| format!("`{key}`")).collect();
        let _ = writeln!(card, "- sampled for each episode: {}", names.join(", "));
    }
    card.push_str("\n## Labels\n\n");
    let labels: Vec<&str> = plan.labels.iter().map(|label| describe(*label)).collect();
    if labels.is_empty() {
        card.push_str("None.\n");
    } else {
        let _ = writeln!(card, "In `annotations/`, by `episode_index` and `frame_index`: {}.\n", labels.join("; "));
        card.push_str(ENCODINGS);
    }
    card.push_str("\n## Use\n\n```python\nfrom lerobot.datasets.lerobot_dataset import LeRobotDataset\n");
    card.push_str("dataset = LeRobotDataset(\"local\", root=\"path/to/this/folder\")\n```\n\n");
    card.push_str(
        "`worldloom.json` holds the scenario, its seed, and the versions that made this; `worldloom/episodes` holds for \
         every episode its concrete scene, every sampled value with its log-density, how it ended, and the BLAKE3 digests \
         of its states and raw pixels. `worldloom replay` makes an episode again and compares the digests.\n",
    );
    card
}

fn describe(label: Label) -> &'static str {
    match label {
        Label::Depth => "metric depth",
        Label::Normals => "surface normals",
        Label::Instances => "instance ids",
        Label::Flow => "forward and backward optical flow with occlusion",
        Label::Boxes => "2D boxes of what is visible",
        Label::Poses => "poses and velocities of all bodies, and joints",
        Label::Contacts => "contacts with their forces",
    }
}

const ENCODINGS: &str = "\
- depth: 16-bit grey PNG, millimetres along the optical axis; 0 is sky, 65535 is 65.535 m or more
- instances: 16-bit grey PNG; 0 is sky, else 1 + index into `instance_names` of the episode
- normals: 8-bit RGB PNG, `n = (rgb − 128) / 127`, camera frame (x right, y down, z forward); (0, 0, 0) is sky
- flow: 16-bit RGB PNG, `dx = (r − 32768) / 64` pixels, `dy` from g; b is 0 without flow, 1 if seen in the other frame, 2 if hidden there
- boxes: `x0, y0` inclusive to `x1, y1` exclusive, pixels
- poses: metres and quaternions `[x, y, z, w]`, world from body, z up; `world_from_camera` likewise
";
