//! Snapshots of a dream.
//!
//! Of the context a snapshot holds the actions so far: physics is played again to the same bits. Of the dream it holds the
//! model's state, the picture, and the physics beside it. Both name the model, so that another does not go on.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};
use worldloom_engine::maths::{Pose, Quat, Vec3};
use worldloom_engine::scene::Scene;
use worldloom_engine::world::{Snapshot, World};

use super::WorldModel;
use super::dream_world::Mode;
use super::dreamer::{Dreamer, Live, Phase, Start};
use crate::data::anchor::Anchor;
use crate::error::{Error, Result};

/// Layout of the bytes; a snapshot of another version is refused.
const VERSION: u32 = 2;
/// Where the tensors of the model stand.
const MODEL: &str = "model.";

#[derive(Serialize, Deserialize)]
struct Header {
    version: u32,
    /// BLAKE3 of what the model has learned.
    model: [u8; 32],
    /// BLAKE3 of the recording, zeros for a scene.
    recording: [u8; 32],
    context: usize,
    conditioned: bool,
    step: u64,
    over: bool,
    /// Between the frames of the context so far; none once the model goes on.
    actions: Option<Vec<Vec<f32>>>,
    /// By camera: position and quaternion `[x, y, z, w]`.
    cameras: Vec<[f32; 7]>,
    /// Scene's digest of the physics beside the dream.
    physics: Option<[u8; 32]>,
}

pub(super) fn take<M: WorldModel>(dreamer: &Dreamer<M>, live: &Live<M::State>) -> Result<Snapshot> {
    let mut tensors = BTreeMap::new();
    let pose = |pose: Pose| {
        let (p, q) = (pose.translation, pose.rotation);
        [p.x, p.y, p.z, q.x, q.y, q.z, q.w]
    };
    let mut header = Header {
        version: VERSION,
        model: dreamer.digest,
        recording: recording(&dreamer.start),
        context: dreamer.options.context,
        conditioned: dreamer.options.mode == Mode::Condition,
        step: live.state.step,
        over: live.over,
        actions: None,
        cameras: live.views.iter().map(|view| pose(view.world_from_camera)).collect(),
        physics: None,
    };
    match &live.phase {
        Phase::Context { actions, .. } => header.actions = Some(actions.clone()),
        Phase::Dream(state) => {
            for (name, tensor) in dreamer.model.save(state)? {
                tensors.insert(format!("{MODEL}{name}"), tensor);
            }
            tensors.insert("picture".to_owned(), bytes(&live.picture)?);
            if let Some(instances) = &live.instances {
                let ids: Vec<u8> = instances.iter().flat_map(|id| id.to_le_bytes()).collect();
                tensors.insert("instances".to_owned(), bytes(&ids)?);
            }
            if let Some(guide) = &live.guide {
                let physics = guide.world().snapshot()?;
                header.physics = Some(physics.scene);
                tensors.insert("physics".to_owned(), bytes(&physics.bytes)?);
            }
            if let Some(anchor) = &live.anchor {
                let text = serde_json::to_vec(anchor).map_err(|error| wrong(error.to_string()))?;
                tensors.insert("anchor".to_owned(), bytes(&text)?);
            }
        }
    }
    let text = serde_json::to_vec(&header).map_err(|error| wrong(error.to_string()))?;
    tensors.insert("header".to_owned(), bytes(&text)?);
    let bytes = safetensors::serialize(&tensors, None).map_err(|error| wrong(error.to_string()))?;
    Ok(Snapshot { scene: digest(&live.played)?, bytes })
}

/// The world of a snapshot of a dream of `scene`.
///
/// # Errors
/// [`Error::State`] for a snapshot of another scene, recording or model, or one that was damaged.
pub(super) fn put_back<M: WorldModel>(
    dreamer: &Dreamer<M>,
    scene: &Arc<Scene>,
    snapshot: &Snapshot,
) -> Result<Live<M::State>> {
    if snapshot.scene != digest(scene)? {
        return Err(wrong("it belongs to another scene"));
    }
    let mut tensors = candle_core::safetensors::load_buffer(&snapshot.bytes, &Device::Cpu)
        .map_err(|error| wrong(format!("it cannot be read: {error}")))?;
    let mut take = |name: &str| -> Result<Vec<u8>> {
        let tensor = tensors.remove(name).ok_or_else(|| wrong(format!("`{name}` is missing")))?;
        if tensor.dtype() != DType::U8 {
            return Err(wrong(format!("`{name}` holds no bytes")));
        }
        Ok(tensor.flatten_all()?.to_vec1()?)
    };
    let header: Header = serde_json::from_slice(&take("header")?).map_err(|error| wrong(error.to_string()))?;
    let conditioned = dreamer.options.mode == Mode::Condition;
    match () {
        () if header.version != VERSION => {
            return Err(wrong(format!("it has version {}, this program reads {VERSION}", header.version)));
        }
        () if header.model != dreamer.digest => return Err(wrong("it belongs to another model")),
        () if header.recording != recording(&dreamer.start) => return Err(wrong("it belongs to another recording")),
        () if header.context != dreamer.options.context || header.conditioned != conditioned => {
            return Err(wrong("it belongs to a dream with another context or mode"));
        }
        () => {}
    }
    let spec = dreamer.model.spec();
    let mut live = dreamer.begin(scene)?;
    if let Some(actions) = header.actions {
        for action in &actions {
            if action.len() != live.catalog.action.dim() || actions.len() >= header.context {
                return Err(wrong("its actions are not those of this world"));
            }
            dreamer.advance(&mut live, action)?;
        }
        live.happened.clear();
        return Ok(live);
    }
    let picture = take("picture")?;
    if picture.len() != live.picture.len() || header.cameras.len() != live.views.len() {
        return Err(wrong("its picture is not of this model's size"));
    }
    live.picture = picture;
    if let Some(instances) = &mut live.instances {
        let ids = take("instances")?;
        if ids.len() != 2 * instances.len() {
            return Err(wrong("its instance ids are not of this model's size"));
        }
        *instances = ids.chunks_exact(2).map(|id| u16::from_le_bytes([id[0], id[1]])).collect();
    }
    match (header.physics, &mut live.guide) {
        (Some(scene), Some(guide)) if conditioned => guide.restore(&Snapshot { scene, bytes: take("physics")? })?,
        (None, _) if !conditioned => live.guide = None,
        _ => return Err(wrong("the physics beside it is missing")),
    }
    if conditioned && spec.frame_skip == 1 {
        let anchor: Anchor = serde_json::from_slice(&take("anchor")?).map_err(|error| wrong(error.to_string()))?;
        if !anchor.fits(spec.picture_height(), spec.width) {
            return Err(wrong("what moves in it is not of this model's size"));
        }
        live.anchor = Some(anchor);
    }
    let model: HashMap<String, Tensor> =
        tensors.into_iter().filter_map(|(name, tensor)| Some((name.strip_prefix(MODEL)?.to_owned(), tensor))).collect();
    live.phase = Phase::Dream(dreamer.model.load(&model)?);
    for (view, [x, y, z, i, j, k, w]) in live.views.iter_mut().zip(header.cameras) {
        view.world_from_camera = Pose::from_parts(Vec3::new(x, y, z), Quat::from_xyzw(i, j, k, w));
    }
    (live.state.step, live.over) = (header.step, header.over);
    live.state.time_secs = header.step as f64 / f64::from(live.scene.engine.control_rate);
    dreamer.read_guide(&mut live);
    Ok(live)
}

/// BLAKE3 of a scene's serialised form.
fn digest(scene: &Scene) -> Result<[u8; 32]> {
    let text = serde_json::to_vec(scene).map_err(|error| wrong(error.to_string()))?;
    Ok(*blake3::hash(&text).as_bytes())
}

/// BLAKE3 of a recording's frames and actions.
fn recording(start: &Start) -> [u8; 32] {
    let Start::Recording { clip, .. } = start else { return [0; 32] };
    let mut hasher = blake3::Hasher::new();
    hasher.update(&clip.pictures);
    clip.action.iter().for_each(|value| {
        hasher.update(&value.to_le_bytes());
    });
    *hasher.finalize().as_bytes()
}

fn bytes(values: &[u8]) -> Result<Tensor> {
    Ok(Tensor::from_slice(values, values.len(), &Device::Cpu)?)
}

fn wrong(problem: impl Into<String>) -> Error {
    Error::State { problem: problem.into() }
}
