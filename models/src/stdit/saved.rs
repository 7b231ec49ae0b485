//! The past of a rollout as named tensors: what a snapshot holds. A loaded past goes on with the same bits.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use candle_core::{Device, Tensor};

use super::{Cache, Past, StDit};
use crate::error::{Error, Result};

const POSITION: &str = "position";

impl StDit {
    /// The past as tensors.
    ///
    /// # Errors
    /// A tensor operation's.
    pub fn save(&self, cache: &Cache) -> Result<BTreeMap<String, Tensor>> {
        let Cache { memories, last, position, network: _ } = cache;
        let mut tensors = BTreeMap::new();
        tensors.insert(POSITION.to_owned(), Tensor::new(&[*position as i64], &Device::Cpu)?);
        for (index, memory) in memories.iter().enumerate() {
            if memory.is_empty() {
                continue;
            }
            // [B, N, 2·D] of each frame → [B·N, L, 2, H, Dh].
            let (batch, tokens, _) = memory[0].dims3()?;
            let (heads, head) = (self.config.heads, self.config.head_dim());
            let frames: Vec<Tensor> =
                memory.iter().map(|frame| frame.unsqueeze(2)).collect::<candle_core::Result<_>>()?;
            let all = Tensor::cat(&frames, 2)?.reshape((batch * tokens, memory.len(), 2, heads, head))?;
            for (part, name) in ["keys", "values"].into_iter().enumerate() {
                tensors.insert(format!("{name}.{index}"), all.narrow(2, part, 1)?.squeeze(2)?.contiguous()?);
            }
        }
        if let Some(Past { before, earlier, tau, motion, plate }) = last {
            let parts = [("before", Some(before)), ("earlier", Some(earlier)), ("tau", Some(tau))];
            for (name, tensor) in parts.into_iter().chain([("motion", motion.as_ref()), ("plate", plate.as_ref())]) {
                if let Some(tensor) = tensor {
                    tensors.insert(name.to_owned(), tensor.clone());
                }
            }
        }
        Ok(tensors)
    }

    /// The past of `batch` rollouts whose tensors `get` finds by name.
    ///
    /// # Errors
    /// [`Error::State`] for tensors that are missing or no past of this model.
    pub fn load<'a>(&self, batch: usize, get: &dyn Fn(&str) -> Option<&'a Tensor>) -> Result<Cache> {
        let wrong = |problem: String| Error::State { problem };
        let position = get(POSITION).ok_or_else(|| wrong(format!("`{POSITION}` is missing")))?;
        let position = match position.to_vec1::<i64>()?.as_slice() {
            [position] if *position >= 0 => *position as u64,
            other => return Err(wrong(format!("`{POSITION}` is {other:?}"))),
        };
        let config = &self.config;
        let place = |name: &str, tensor: &Tensor, dims: &[usize]| -> Result<Tensor> {
            if tensor.dims() != dims {
                return Err(wrong(format!("`{name}` has the shape {:?}, expected {dims:?}", tensor.dims())));
            }
            Ok(tensor.to_device(&self.device)?.to_dtype(self.dtype)?)
        };
        let remembered = config.precision.dtype(self.dtype, &self.device);
        let mut memories = Vec::with_capacity(config.depth);
        for index in 0..config.depth {
            let (key_name, value_name) = (format!("keys.{index}"), format!("values.{index}"));
            memories.push(match (get(&key_name), get(&value_name)) {
                (Some(keys), Some(values)) => {
                    let length = keys.dims().get(1).copied().unwrap_or(0);
                    if length == 0 || length >= config.context || length as u64 > position {
                        return Err(wrong(format!("`{key_name}` holds {length} frames after {position}")));
                    }
                    let dims = [batch * config.tokens(), length, config.heads, config.head_dim()];
                    let (keys, values) = (place(&key_name, keys, &dims)?, place(&value_name, values, &dims)?);
                    let frame = |at: usize| -> Result<Tensor> {
                        let part = |x: &Tensor| x.narrow(1, at, 1)?.reshape((batch, config.tokens(), config.dim));
                        Ok(Tensor::cat(&[part(&keys)?, part(&values)?], 2)?.to_dtype(remembered)?)
                    };
                    (0..length).map(frame).collect::<Result<Vec<_>>>()?
                }
                (None, None) if position == 0 || config.context == 1 || !config.attends_over_time(index) => Vec::new(),
                _ => return Err(wrong(format!("`{key_name}` or `{value_name}` is missing"))),
            });
        }
        let part = |name: &str, channels: usize| -> Result<Option<Tensor>> {
            let dims = [batch, 1, channels, config.image_height, config.image_width];
            get(name).map(|tensor| place(name, tensor, &dims)).transpose()
        };
        let last = match (part("before", config.channels)?, part("earlier", config.channels)?, get("tau")) {
            (Some(before), Some(earlier), Some(tau)) => {
                let (motion, plate) = (part("motion", 3)?, part("plate", config.channels + 1)?);
                if (motion.is_some() || plate.is_some()) && !config.motion {
                    return Err(wrong("`motion` and `plate` are not those of this model".to_owned()));
                }
                Some(Past { before, earlier, tau: place("tau", tau, &[batch, 1])?, motion, plate })
            }
            (None, None, None) if position == 0 => None,
            _ => return Err(wrong("the last frames are missing".to_owned())),
        };
        Ok(Cache { network: OnceLock::new(), memories, last, position })
    }
}
