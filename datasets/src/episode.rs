//! Recording one episode: frames are encoded as they come and staged at once.

use worldloom_engine::certificate::Certificate;
use worldloom_engine::frame::{EpisodeEnd, Frame, Outcome};
use worldloom_engine::scene::{Label, ParamValue, Scene};
use worldloom_engine::state::Catalog;

use crate::bundle::{BundleWriter, Footer};
use crate::columns::{Rows, Value};
use crate::error::{Error, Result};
use crate::labels::{self, LabelEncoder};
use crate::plan::{Codec, ParamKind, Plan};
use crate::record::{Draw, EpisodeRecord, Extent};
use crate::schema::{Layout, Table, TableKind, tables};
use crate::stats::PictureStats;
use crate::video::{Encoder, Packet};

use std::path::PathBuf;
use std::sync::Arc;

/// What is known of an episode before its first frame.
#[derive(Clone, Copy, Debug)]
pub struct EpisodeInfo<'a> {
    /// The concrete scene.
    pub scene: &'a Scene,
    /// Names behind the indices of its states.
    pub catalog: &'a Catalog,
    /// Every value that chance decided, in order.
    pub draws: &'a [Draw],
    /// Rejected draws before this one.
    pub attempts: u64,
}

/// An episode being written. Dropping it unfinished discards it.
///
/// Memory is one frame's pictures, a few rows of each table, and an encoder per camera, whatever
/// the episode's length.
pub struct EpisodeWriter {
    plan: Arc<Plan>,
    layout: Layout,
    tables: Vec<Staging>,
    out: BundleWriter,
    cameras: Vec<CameraState>,
    record: EpisodeRecord,
    params: Vec<Param>,
    labels: LabelEncoder,
    scratch: Vec<u8>,
}

struct Staging {
    table: Table,
    rows: Rows,
    count: u64,
    bytes: u64,
}

struct CameraState {
    intrinsics: [f32; 4],
    encoder: Option<Encoder>,
    packets: Vec<Packet>,
    bytes: u64,
    stats: PictureStats,
}

/// The value of a parameter column in this episode.
enum Param {
    Number(f32),
    Text(String),
    Vector(Vec<f32>),
}

impl EpisodeWriter {
    pub(crate) fn begin(
        plan: Arc<Plan>,
        layout: Layout,
        number: u64,
        path: PathBuf,
        info: &EpisodeInfo<'_>,
    ) -> Result<Self> {
        check_draws(number, info.draws)?;
        let params = params(&plan, number, info.draws)?;
        Self::stage(plan, layout, number, path, info, params)
    }

    /// Stages an episode that has no scene: only that there is none, and why.
    pub(crate) fn impossible(
        plan: Arc<Plan>,
        layout: Layout,
        number: u64,
        path: PathBuf,
        like: &EpisodeInfo<'_>,
        report: &str,
    ) -> Result<()> {
        let mut empty = Self::stage(plan, layout, number, path, like, Vec::new())?;
        empty.record.scene_json.clear();
        empty.record.draws.clear();
        empty.record.instance_names.clear();
        empty.record.instance_classes.clear();
        empty.record.joint_names.clear();
        let [state_digest, pixel_digest] = [*blake3::hash(&[]).as_bytes(); 2];
        let outcome = Outcome::Impossible { report: report.to_owned() };
        empty.finish(&EpisodeEnd { frames: 0, outcome, success: false, state_digest, pixel_digest })
    }

    fn stage(
        plan: Arc<Plan>,
        layout: Layout,
        number: u64,
        path: PathBuf,
        info: &EpisodeInfo<'_>,
        params: Vec<Param>,
    ) -> Result<Self> {
        let scene_json = serde_json::to_string(info.scene)
            .map_err(|source| Error::invalid(format!("episode {number}: scene"), source.to_string()))?;
        let record = EpisodeRecord {
            number,
            episode_index: None,
            frames: 0,
            outcome: Outcome::Truncated,
            success: false,
            state_digest: [0; 32],
            pixel_digest: [0; 32],
            scene_json,
            draws: info.draws.to_vec(),
            attempts: info.attempts,
            instance_names: info.catalog.bodies.iter().map(|body| body.name.clone()).collect(),
            instance_classes: info.catalog.bodies.iter().map(|body| body.class.clone()).collect(),
            joint_names: info.catalog.joints.iter().map(|joint| joint.name.clone()).collect(),
        };
        let cameras = info.scene.cameras.values().map(|camera| CameraState {
            intrinsics: camera.intrinsics().map(|value| value as f32),
            encoder: None,
            packets: Vec::new(),
            bytes: 0,
            stats: PictureStats::new(),
        });
        let tables = tables(&layout, &plan)
            .into_iter()
            .map(|table| Staging { rows: Rows::new(table.kinds()), table, count: 0, bytes: 0 })
            .collect();
        let out = BundleWriter::create(path)?;
        let cameras = cameras.collect();
        let labels = LabelEncoder::default();
        Ok(Self { plan, layout, tables, out, cameras, record, params, labels, scratch: Vec::new() })
    }

    /// Encodes and stages a frame.
    pub fn push(&mut self, frame: &Frame) -> Result<()> {
        self.check(frame)?;
        let index = self.record.frames as i64;
        let mut colours = Vec::new();
        for (camera, view) in frame.views.iter().enumerate() {
            let state = &mut self.cameras[camera];
            let pixels = &view.pixels;
            state.stats.add(&pixels.colour, pixels.width as usize, pixels.height as usize);
            if self.plan.video.codec == Codec::Png {
                colours.push(self.labels.colour(pixels)?);
                continue;
            }
            let encoder = match &mut state.encoder {
                Some(encoder) => encoder,
                none => none.insert(Encoder::open(&self.plan.video, pixels.width, pixels.height, self.plan.fps)?),
            };
            encoder.encode(&pixels.colour, &mut state.packets)?;
            drain(&mut self.out, camera, state)?;
        }
        for i in 0..self.tables.len() {
            match self.tables[i].table.kind {
                TableKind::Data => self.push_data(i, frame, index, &colours)?,
                TableKind::Camera(camera) => self.push_labels(i, camera, frame, index)?,
                TableKind::Boxes => self.push_boxes(i, frame, index)?,
                TableKind::Poses => self.push_poses(i, frame, index)?,
                TableKind::Joints => self.push_joints(i, frame, index)?,
                TableKind::Contacts => self.push_contacts(i, frame, index)?,
                TableKind::Events => self.push_events(i, frame, index)?,
                // Comes by itself: see `certify`.
                TableKind::Certificates => {}
            }
        }
        self.record.frames += 1;
        Ok(())
    }

    /// Stages the certificate of the next frame that has none, before or after the frame itself. Every frame of a plan with
    /// certificates needs one.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a plan without certificates, and for one of another step than the frame.
    pub fn certify(&mut self, certificate: &Certificate) -> Result<()> {
        let Some(table) = self.certificates() else {
            return Err(Error::invalid("certificates", "the plan of this dataset has none"));
        };
        let index = self.tables[table].count;
        let place = || format!("episode {}, frame {index}: certificate", self.record.number);
        if certificate.step != index {
            return Err(Error::invalid(place(), format!("expected that of step {index}, found {}", certificate.step)));
        }
        let text = serde_json::to_string(certificate).map_err(|source| Error::invalid(place(), source.to_string()))?;
        let mut broken: Vec<&str> = certificate.verdict.reasons.iter().map(|reason| reason.law.name()).collect();
        broken.dedup();
        let row = [
            Value::I64(index as i64),
            Value::Bool(certificate.verdict.holds),
            Value::Text(certificate.source.name()),
            Value::Text(&broken.join(",")),
            Value::Text(&text),
        ];
        self.row(table, &row)
    }

    fn certificates(&self) -> Option<usize> {
        self.tables.iter().position(|staging| staging.table.kind == TableKind::Certificates)
    }

    /// Publishes the episode: from now on a resumed run has it.
    pub fn finish(mut self, end: &EpisodeEnd) -> Result<()> {
        if let Some(table) = self.certificates()
            && self.tables[table].count != self.record.frames
        {
            return Err(Error::invalid(
                format!("episode {}", self.record.number),
                format!("{} frames have {} certificates", self.record.frames, self.tables[table].count),
            ));
        }
        if end.frames != self.record.frames {
            return Err(Error::invalid(
                format!("episode {}", self.record.number),
                format!("ended after {} frames, but {} were pushed", end.frames, self.record.frames),
            ));
        }
        let mut videos = Vec::new();
        for (camera, state) in self.cameras.iter_mut().enumerate() {
            if let Some(encoder) = &mut state.encoder {
                encoder.finish(&mut state.packets)?;
                videos.push(encoder.header().clone());
            }
            drain(&mut self.out, camera, state)?;
        }
        for i in 0..self.tables.len() {
            self.flush(i)?;
        }
        let mut record = self.record;
        record.outcome = end.outcome.clone();
        record.success = end.success;
        record.state_digest = end.state_digest;
        record.pixel_digest = end.pixel_digest;
        let with_video = self.plan.video.codec != Codec::Png;
        let extent = Extent {
            rows: self.tables.iter().map(|table| table.count).collect(),
            bytes: self.tables.iter().map(|table| table.bytes).collect(),
            video: self.cameras.iter().filter(|_| with_video).map(|camera| camera.bytes).collect(),
            pictures: self
                .cameras
                .iter()
                .map(|camera| camera.stats.stats().map(|stats| stats.flatten()).unwrap_or_default())
                .collect(),
        };
        self.out.publish(&Footer { layout: self.layout, record, extent, videos })
    }

    fn check(&self, frame: &Frame) -> Result<()> {
        let wrong = |what: &str, expected: usize, found: usize| {
            let field = format!("episode {}, frame {}: {what}", self.record.number, self.record.frames);
            Err(Error::invalid(field, format!("expected {expected}, found {found}")))
        };
        if frame.observation.len() != self.layout.state.len() {
            return wrong("length of the observation", self.layout.state.len(), frame.observation.len());
        }
        if frame.action.len() != self.layout.action.len() {
            return wrong("length of the action", self.layout.action.len(), frame.action.len());
        }
        if frame.views.len() != self.layout.cameras.len() {
            return wrong("number of cameras", self.layout.cameras.len(), frame.views.len());
        }
        for (camera, view) in self.layout.cameras.iter().zip(&frame.views) {
            let size = camera.width as usize * camera.height as usize * 3;
            if (view.pixels.width, view.pixels.height) != (camera.width, camera.height)
                || view.pixels.colour.len() != size
            {
                return wrong(&format!("bytes of camera {}", camera.name), size, view.pixels.colour.len());
            }
        }
        let numbers = frame.observation.iter().chain(&frame.action).chain([&frame.reward]);
        if let Some(bad) = numbers.into_iter().find(|value| !value.is_finite()) {
            let field = format!("episode {}, frame {}", self.record.number, self.record.frames);
            return Err(Error::invalid(field, format!("observation, action or reward holds {bad}")));
        }
        Ok(())
    }

    fn row(&mut self, table: usize, row: &[Value<'_>]) -> Result<()> {
        let staging = &mut self.tables[table];
        let pushed = staging.rows.push(row);
        staging.bytes += pushed.map_err(|column| {
            let name = staging.table.columns.get(column).map_or("?", |(name, _)| name.as_str());
            Error::invalid(format!("{}.{name}", staging.table.folder), "a value of another type or length")
        })?;
        staging.count += 1;
        if staging.rows.len() == staging.table.batch {
            self.flush(table)?;
        }
        Ok(())
    }

    fn flush(&mut self, table: usize) -> Result<()> {
        let staging = &mut self.tables[table];
        if staging.rows.len() > 0 {
            self.scratch.clear();
            staging.rows.stage(&mut self.scratch);
            self.out.rows(table, &self.scratch)?;
        }
        Ok(())
    }

    fn push_data(&mut self, table: usize, frame: &Frame, index: i64, colours: &[Vec<u8>]) -> Result<()> {
        // LeRobot's readers divide in double precision and then round.
        let timestamp = (index as f64 / f64::from(self.plan.fps)) as f32;
        let params = std::mem::take(&mut self.params);
        let mut row = vec![Value::I64(index), Value::F32(timestamp)];
        if !frame.observation.is_empty() {
            row.push(Value::Vector(&frame.observation));
        }
        if !frame.action.is_empty() {
            row.push(Value::Vector(&frame.action));
        }
        row.push(Value::F32(frame.reward));
        row.push(Value::Bool(frame.terminated || frame.truncated));
        row.extend([Value::Bool(frame.truncated), Value::Bool(frame.success)]);
        row.extend(params.iter().map(|param| match param {
            Param::Number(value) => Value::F32(*value),
            Param::Text(text) => Value::Text(text),
            Param::Vector(values) => Value::Vector(values),
        }));
        row.extend(colours.iter().map(|png| Value::Bytes(Some(png))));
        self.row(table, &row)?;
        self.params = params;
        Ok(())
    }

    fn push_labels(&mut self, table: usize, camera: usize, frame: &Frame, index: i64) -> Result<()> {
        let view = &frame.views[camera];
        let pixels = &view.pixels;
        let mut pngs: Vec<Option<Vec<u8>>> = Vec::with_capacity(5);
        if self.plan.has(Label::Depth) {
            pngs.push(Some(self.labels.depth(pixels)?));
        }
        if self.plan.has(Label::Instances) {
            pngs.push(Some(self.labels.instances(pixels)?));
        }
        if self.plan.has(Label::Normals) {
            pngs.push(Some(self.labels.normals(pixels)?));
        }
        if self.plan.has(Label::Flow) {
            pngs.push(self.labels.flow(pixels, &pixels.flow_forward)?);
            pngs.push(self.labels.flow(pixels, &pixels.flow_backward)?);
        }
        let intrinsics = self.cameras[camera].intrinsics;
        let mut row = vec![Value::I64(index), Value::Vector(&view.world_from_camera), Value::Vector(&intrinsics)];
        row.extend(pngs.iter().map(|png| Value::Bytes(png.as_deref())));
        self.row(table, &row)
    }

    fn push_boxes(&mut self, table: usize, frame: &Frame, index: i64) -> Result<()> {
        for (camera, view) in frame.views.iter().enumerate() {
            let boxes = labels::visible_boxes(&view.pixels)?;
            let name = self.layout.cameras[camera].name.clone();
            for found in boxes {
                let corners = [found.x0, found.y0, found.x1, found.y1].map(|c| Value::I32(i32::from(c)));
                let [x0, y0, x1, y1] = corners;
                let id = Value::I32(i32::from(found.instance));
                let pixels = Value::I32(found.pixels as i32);
                self.row(table, &[Value::I64(index), Value::Text(&name), id, x0, y0, x1, y1, pixels])?;
            }
        }
        Ok(())
    }

    fn push_poses(&mut self, table: usize, frame: &Frame, index: i64) -> Result<()> {
        for (i, body) in frame.state.bodies.iter().enumerate() {
            let row = [
                Value::I64(index),
                Value::I32(i as i32 + 1),
                Value::Bool(body.present),
                Value::Vector(&body.pose.translation.to_array()),
                Value::Vector(&body.pose.rotation.to_array()),
                Value::Vector(&body.velocity.to_array()),
                Value::Vector(&body.angular_velocity.to_array()),
            ];
            self.row(table, &row)?;
        }
        Ok(())
    }

    fn push_joints(&mut self, table: usize, frame: &Frame, index: i64) -> Result<()> {
        for (i, joint) in frame.state.joints.iter().enumerate() {
            let numbers = [joint.position, joint.velocity, joint.effort].map(Value::F32);
            let [position, velocity, effort] = numbers;
            self.row(table, &[Value::I64(index), Value::I32(i as i32), position, velocity, effort])?;
        }
        Ok(())
    }

    fn push_events(&mut self, table: usize, frame: &Frame, index: i64) -> Result<()> {
        for event in &frame.events {
            self.row(table, &[Value::I64(index), Value::F32(event.time_secs as f32), Value::Text(&event.name)])?;
        }
        Ok(())
    }

    fn push_contacts(&mut self, table: usize, frame: &Frame, index: i64) -> Result<()> {
        for contact in &frame.state.contacts {
            let row = [
                Value::I64(index),
                Value::I32(contact.a as i32 + 1),
                Value::I32(contact.b as i32 + 1),
                Value::Vector(&contact.point.to_array()),
                Value::Vector(&contact.normal.to_array()),
                Value::F32(contact.depth_m),
                Value::F32(contact.normal_force_n),
                Value::Vector(&contact.friction_force_n.to_array()),
            ];
            self.row(table, &row)?;
        }
        Ok(())
    }
}

fn drain(out: &mut BundleWriter, camera: usize, state: &mut CameraState) -> Result<()> {
    for packet in state.packets.drain(..) {
        state.bytes += packet.bytes.len() as u64;
        out.packet(camera, &packet)?;
    }
    Ok(())
}

fn params(plan: &Plan, number: u64, draws: &[Draw]) -> Result<Vec<Param>> {
    let of = |column: &crate::plan::ParamColumn| {
        let field = format!("episode {number}: params.{}", column.name);
        let draw = draws
            .iter()
            .find(|draw| draw.name == column.name)
            .ok_or_else(|| Error::invalid(&field, "is a column, but was not drawn"))?;
        match (&draw.value, column.kind) {
            (ParamValue::Number(value), ParamKind::Number) => Ok(Param::Number(*value as f32)),
            (ParamValue::Text(text), ParamKind::Text) => Ok(Param::Text(text.clone())),
            (ParamValue::Vector(values), ParamKind::Vector(length)) if values.len() == length => {
                Ok(Param::Vector(values.iter().map(|value| *value as f32).collect()))
            }
            (value, kind) => Err(Error::invalid(field, format!("is {value:?}, but its column holds {kind:?}"))),
        }
    };
    plan.columns.iter().map(of).collect()
}

/// JSON and LeRobot's statistics have no word for what is not finite.
fn check_draws(number: u64, draws: &[Draw]) -> Result<()> {
    for draw in draws {
        let finite = match &draw.value {
            ParamValue::Number(value) => value.is_finite() && (*value as f32).is_finite(),
            ParamValue::Vector(values) => values.iter().all(|value| (*value as f32).is_finite()),
            ParamValue::Text(_) => true,
        };
        if !finite || draw.log_prob.is_some_and(|p| !p.is_finite()) {
            return Err(Error::invalid(format!("episode {number}: params.{}", draw.name), "is not finite"));
        }
    }
    Ok(())
}
