//! Weights from a file of somebody else's: every tensor is checked before it is used.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};

use crate::error::{Error, Result};
use crate::files::read_tensors;

/// What a file must hold, and what it is of, for its errors.
pub(super) struct Weights {
    what: &'static str,
    path: PathBuf,
    tensors: HashMap<String, Tensor>,
}

impl Weights {
    /// Reads a safetensors file.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::File`] for one that cannot be read.
    pub fn open(path: &Path, what: &'static str) -> Result<Self> {
        Ok(Self { what, path: path.to_owned(), tensors: read_tensors(path, &Device::Cpu)? })
    }

    /// The shape of a tensor, if it is there.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(Tensor::dims)
    }

    /// Takes a tensor out, as f32.
    ///
    /// # Errors
    /// [`Error::File`] if it is missing, of another shape, no floating-point numbers, or not finite.
    pub fn take(&mut self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let tensor = self.tensors.remove(name).ok_or_else(|| self.problem(format!("`{name}` is missing")))?;
        if tensor.dims() != shape {
            let problem = format!("`{name}` has the shape {:?}, expected {shape:?}", tensor.dims());
            return Err(self.problem(problem));
        }
        if !matches!(tensor.dtype(), DType::F16 | DType::BF16 | DType::F32 | DType::F64) {
            return Err(self.problem(format!("`{name}` holds {:?}, expected floating-point numbers", tensor.dtype())));
        }
        let tensor = tensor.to_dtype(DType::F32)?;
        let values: Vec<f32> = tensor.flatten_all()?.to_vec1()?;
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            return Err(self.problem(format!("`{name}`: number {at} is {}", values[at])));
        }
        Ok(tensor)
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// [`Error::File`] if a tensor was not taken.
    pub fn finish(self) -> Result<()> {
        match self.tensors.keys().min() {
            None => Ok(()),
            Some(name) => Err(self.problem(format!("`{name}` is no part of it"))),
        }
    }

    /// The error of this file.
    pub fn problem(&self, problem: String) -> Error {
        let problem = format!("these are no weights of {}: {problem}", self.what);
        Error::File { path: self.path.clone(), problem }
    }
}
