//! Which columns and tables a dataset has: fixed by its plan and its first episode.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use serde::{Deserialize, Serialize};
use worldloom_engine::scene::{Label, Scene};
use worldloom_engine::spec::VectorSpec;
use worldloom_engine::state::Catalog;

use crate::columns::Kind;
use crate::error::{Error, Result};
use crate::plan::{Codec, ParamColumn, ParamKind, Plan};

/// What must be the same in every episode of a dataset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Layout {
    pub(crate) state: Vec<ChannelName>,
    pub(crate) action: Vec<ChannelName>,
    pub(crate) cameras: Vec<CameraLayout>,
}

/// A channel of a vector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ChannelName {
    pub(crate) name: String,
    pub(crate) unit: String,
}

/// A camera of the dataset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CameraLayout {
    pub(crate) name: String,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

impl CameraLayout {
    /// LeRobot's key.
    pub(crate) fn key(&self) -> String {
        format!("observation.images.{}", self.name)
    }
}

impl Layout {
    pub(crate) fn of(scene: &Scene, catalog: &Catalog, plan: &Plan) -> Result<Self> {
        let names = |spec: &VectorSpec| {
            spec.channels
                .iter()
                .map(|channel| ChannelName { name: channel.name.clone(), unit: channel.unit.clone() })
                .collect()
        };
        let mut cameras = Vec::with_capacity(scene.cameras.len());
        for (name, camera) in &scene.cameras {
            let [width, height] = camera.resolution;
            check_camera(name, width, height, plan.video.codec)?;
            cameras.push(CameraLayout { name: name.clone(), width, height });
        }
        Ok(Self { state: names(&catalog.observation.state), action: names(&catalog.action), cameras })
    }

    /// Names and sizes of cameras that were read, not made here.
    pub(crate) fn check_cameras(&self, codec: Codec) -> Result<()> {
        self.cameras.iter().try_for_each(|camera| check_camera(&camera.name, camera.width, camera.height, codec))
    }

    /// Says where another episode's layout differs.
    pub(crate) fn check(&self, episode: u64, other: &Self) -> Result<()> {
        let differs = |what: &str, expected: String, found: String| {
            Err(Error::LayoutChanged { episode, what: what.to_owned(), expected, found })
        };
        let show = |channels: &[ChannelName]| {
            let names: Vec<_> = channels.iter().map(|channel| channel.name.as_str()).collect();
            format!("[{}]", names.join(", "))
        };
        if self.state != other.state {
            return differs("the observation vector", show(&self.state), show(&other.state));
        }
        if self.action != other.action {
            return differs("the action vector", show(&self.action), show(&other.action));
        }
        if self.cameras != other.cameras {
            let show = |cameras: &[CameraLayout]| {
                let names: Vec<_> = cameras.iter().map(|c| format!("{} {}×{}", c.name, c.width, c.height)).collect();
                format!("[{}]", names.join(", "))
            };
            return differs("the list of cameras", show(&self.cameras), show(&other.cameras));
        }
        Ok(())
    }
}

fn check_camera(name: &str, width: u32, height: u32, codec: Codec) -> Result<()> {
    let field = format!("cameras.{name}");
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.is_empty() || !name.chars().all(legal) {
        return Err(Error::invalid(field, "a recorded camera's name has letters, digits, `_` and `-` only"));
    }
    const MOST: u32 = 16384;
    if width == 0 || height == 0 || width > MOST || height > MOST {
        return Err(Error::invalid(field, format!("{width}×{height} pixels: each side must be 1 to {MOST}")));
    }
    if codec != Codec::Png && (width % 2 == 1 || height % 2 == 1) {
        return Err(Error::invalid(
            field,
            format!(
                "resolution {width}×{height}: video halves the resolution of colour, so both sides must be even, unless with --codec png"
            ),
        ));
    }
    if codec == Codec::Av1 && (width < 64 || height < 64) {
        return Err(Error::invalid(
            field,
            format!("resolution {width}×{height}: SVT-AV1 takes 64×64 and up; take --codec h264 or png"),
        ));
    }
    Ok(())
}

/// Keys of the plan's parameter columns, in order. `/` is not legal in LeRobot's names, and what
/// holds the word `image` is taken for a picture by its statistics.
pub(crate) fn param_keys(columns: &[ParamColumn]) -> Vec<String> {
    let mut keys: Vec<String> = Vec::with_capacity(columns.len());
    let mut taken = BTreeSet::new();
    for column in columns {
        let base = format!("params.{}", column.name.replace('/', ".").replace("image", "img"));
        let mut key = base.clone();
        let mut count = 2;
        while !taken.insert(key.clone()) {
            key = format!("{base}_{count}");
            count += 1;
        }
        keys.push(key);
    }
    keys
}

/// Folder of the certificates.
pub(crate) const CERTIFICATES: &str = "annotations/certificates";

/// What a table holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TableKind {
    /// LeRobot's frames.
    Data,
    /// Label pictures of a camera, by index.
    Camera(usize),
    Boxes,
    Poses,
    Joints,
    Contacts,
    Events,
    Certificates,
}

/// A table of the dataset: one folder of parquet files.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) kind: TableKind,
    /// Folder in the dataset.
    pub(crate) folder: String,
    /// Columns as staged, without the indices that depend on other episodes.
    pub(crate) columns: Vec<(String, Kind)>,
    /// Rows in a batch: bounds memory, and fixes page boundaries.
    pub(crate) batch: usize,
}

impl Table {
    pub(crate) fn kinds(&self) -> Vec<Kind> {
        self.columns.iter().map(|(_, kind)| *kind).collect()
    }

    fn fields(&self) -> Vec<Field> {
        self.columns.iter().map(|(name, kind)| Field::new(name, kind.data_type(), true)).collect()
    }

    /// Schema of staged batches.
    pub(crate) fn staged_schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.fields()))
    }

    /// Schema of the files: staged columns with the indices in front.
    pub(crate) fn file_schema(&self) -> SchemaRef {
        let indices: &[&str] = match self.kind {
            TableKind::Data => &["index", "episode_index", "task_index"],
            _ => &["episode_index"],
        };
        let indices = indices.iter().map(|name| Field::new(*name, Kind::I64.data_type(), true));
        Arc::new(Schema::new(indices.chain(self.fields()).collect::<Vec<_>>()))
    }
}

/// The tables of a dataset, in the order that every list of tables has.
pub(crate) fn tables(layout: &Layout, plan: &Plan) -> Vec<Table> {
    let mut tables = vec![data_table(layout, plan)];
    let pictures: Vec<(String, Kind)> = [
        (Label::Depth, &["depth"][..]),
        (Label::Instances, &["instances"]),
        (Label::Normals, &["normals"]),
        (Label::Flow, &["flow_forward", "flow_backward"]),
    ]
    .iter()
    .filter(|(label, _)| plan.has(*label))
    .flat_map(|(_, names)| names.iter().map(|name| ((*name).to_owned(), Kind::Bytes)))
    .collect();
    let frame = ("frame_index".to_owned(), Kind::I64);
    let named = |name: &str, kind| (name.to_owned(), kind);
    if !pictures.is_empty() || plan.has(Label::Poses) {
        for (i, camera) in layout.cameras.iter().enumerate() {
            let mut columns =
                vec![frame.clone(), named("world_from_camera", Kind::Vector(7)), named("intrinsics", Kind::Vector(4))];
            columns.extend(pictures.iter().cloned());
            let folder = format!("annotations/cameras/{}", camera.name);
            tables.push(Table { kind: TableKind::Camera(i), folder, columns, batch: 16 });
        }
    }
    let mut add = |kind, name: &str, columns: &[(&str, Kind)]| {
        let columns = std::iter::once(frame.clone()).chain(columns.iter().map(|(n, k)| named(n, *k))).collect();
        tables.push(Table { kind, folder: format!("annotations/{name}"), columns, batch: 4096 });
    };
    if plan.has(Label::Boxes) {
        let corners = [("x0", Kind::I32), ("y0", Kind::I32), ("x1", Kind::I32), ("y1", Kind::I32)];
        let mut columns = vec![("camera", Kind::Text), ("instance", Kind::I32)];
        columns.extend(corners);
        columns.push(("pixels", Kind::I32));
        add(TableKind::Boxes, "boxes", &columns);
    }
    if plan.has(Label::Poses) {
        add(
            TableKind::Poses,
            "poses",
            &[
                ("instance", Kind::I32),
                ("present", Kind::Bool),
                ("position", Kind::Vector(3)),
                ("rotation", Kind::Vector(4)),
                ("velocity", Kind::Vector(3)),
                ("angular_velocity", Kind::Vector(3)),
            ],
        );
        add(
            TableKind::Joints,
            "joints",
            &[("joint", Kind::I32), ("position", Kind::F32), ("velocity", Kind::F32), ("effort", Kind::F32)],
        );
    }
    if plan.has(Label::Contacts) {
        add(
            TableKind::Contacts,
            "contacts",
            &[
                ("instance_a", Kind::I32),
                ("instance_b", Kind::I32),
                ("point", Kind::Vector(3)),
                ("normal", Kind::Vector(3)),
                ("depth_m", Kind::F32),
                ("normal_force_n", Kind::F32),
                ("friction_force_n", Kind::Vector(3)),
            ],
        );
    }
    // No label but a part of what happened, so not to be left out.
    add(TableKind::Events, "events", &[("time_secs", Kind::F32), ("name", Kind::Text)]);
    if plan.certificates {
        let words = ["source", "broken", "certificate"].map(|name| named(name, Kind::Text));
        let [source, broken, certificate] = words;
        let columns = vec![frame, named("holds", Kind::Bool), source, broken, certificate];
        // A record holds the states of all bodies: some kilobytes.
        tables.push(Table { kind: TableKind::Certificates, folder: CERTIFICATES.to_owned(), columns, batch: 64 });
    }
    tables
}

/// A vector of LeRobot: a list, or a plain number if it has one channel.
fn vector(length: usize) -> Kind {
    if length == 1 { Kind::F32 } else { Kind::Vector(length) }
}

fn data_table(layout: &Layout, plan: &Plan) -> Table {
    let mut columns = Vec::new();
    let mut add = |name: &str, kind| columns.push((name.to_owned(), kind));
    add("frame_index", Kind::I64);
    add("timestamp", Kind::F32);
    if !layout.state.is_empty() {
        add("observation.state", vector(layout.state.len()));
    }
    if !layout.action.is_empty() {
        add("action", vector(layout.action.len()));
    }
    add("next.reward", Kind::F32);
    for flag in ["next.done", "next.truncated", "next.success"] {
        add(flag, Kind::Bool);
    }
    for (key, column) in param_keys(&plan.columns).iter().zip(&plan.columns) {
        let kind = match column.kind {
            ParamKind::Number => Kind::F32,
            ParamKind::Text => Kind::Text,
            ParamKind::Vector(length) => vector(length),
        };
        add(key, kind);
    }
    if plan.video.codec == Codec::Png {
        for camera in &layout.cameras {
            add(&camera.key(), Kind::Picture);
        }
    }
    Table { kind: TableKind::Data, folder: "data".to_owned(), columns, batch: 64 }
}
