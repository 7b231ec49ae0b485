//! Named parameters: how they start, and how they are kept.
//!
//! A model is built by asking a [`Scope`] for tensors by name; the scope makes each one once, in the
//! order of asking. The initial value of a parameter is a function of the seed and of its own name, so
//! a layer added to a model does not change how the others start.

use std::collections::{BTreeMap, HashMap};

use candle_core::{DType, Device, Shape, Tensor, Var};
use worldloom_engine::stream::Stream;

use crate::error::{Error, Result};

/// How a parameter starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// All zeros: a branch that starts switched off.
    Zeros,
    /// All equal.
    Constant(f64),
    /// Independent normal numbers of mean 0.
    Normal {
        /// Standard deviation.
        std: f64,
    },
}

impl Init {
    /// Normal with variance 1 / `inputs`, so that a linear layer keeps the variance of its input (LeCun et al. 1998).
    pub fn fan_in(inputs: usize) -> Self {
        Self::Normal { std: 1.0 / (inputs as f64).sqrt() }
    }
}

/// A parameter.
#[derive(Clone, Debug)]
pub struct Param {
    /// Path of names joined by dots, e.g. `blocks.3.space.qkv.weight`.
    pub name: String,
    /// Its value; shares memory with the tensors that the model computes with.
    pub var: Var,
    /// Weight decay applies: matrices, not biases, tables or gains.
    pub decay: bool,
}

/// All parameters of a model, in the order in which they were asked for.
#[derive(Clone, Debug)]
pub struct Params {
    seed: u64,
    dtype: DType,
    device: Device,
    entries: Vec<Param>,
    index: HashMap<String, usize>,
}

impl Params {
    /// None yet; those to come start by `seed`.
    pub fn new(seed: u64, dtype: DType, device: &Device) -> Self {
        Self { seed, dtype, device: device.clone(), entries: Vec::new(), index: HashMap::new() }
    }

    /// Type of the parameters and of what is computed with them.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Where they are.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The scope with the empty name.
    pub fn root(&mut self) -> Scope<'_> {
        Scope { params: self, prefix: String::new() }
    }

    /// All, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Param> {
        self.entries.iter()
    }

    /// By name.
    pub fn get(&self, name: &str) -> Option<&Param> {
        self.index.get(name).map(|&i| &self.entries[i])
    }

    /// How many numbers there are in all.
    pub fn count(&self) -> usize {
        self.entries.iter().map(|param| param.var.elem_count()).sum()
    }

    /// Copies every value, by name: what a checkpoint stores.
    pub fn to_tensors(&self) -> Result<BTreeMap<String, Tensor>> {
        self.entries.iter().map(|param| Ok((param.name.clone(), param.var.as_detached_tensor().copy()?))).collect()
    }

    /// Takes the values of `tensors`. All are checked before the first one changes.
    ///
    /// # Errors
    /// [`Error::Weights`] if one is missing, left over, or of another shape.
    pub fn load(&self, tensors: &HashMap<String, Tensor>) -> Result<()> {
        let problem = |name: &str, problem: String| Error::Weights { name: name.to_owned(), problem };
        for param in &self.entries {
            let found = tensors.get(&param.name).ok_or_else(|| {
                problem(&param.name, "is missing: the file holds another model, or a part of one".to_owned())
            })?;
            if found.shape() != param.var.shape() {
                let (found, wanted) = (found.dims(), param.var.dims());
                return Err(problem(&param.name, format!("has the shape {found:?}, the model's has {wanted:?}")));
            }
        }
        let mut left_over: Vec<&str> =
            tensors.keys().map(String::as_str).filter(|name| !self.index.contains_key(*name)).collect();
        left_over.sort_unstable();
        if let Some(name) = left_over.first() {
            return Err(problem(
                name,
                "is no parameter of this model: the file belongs to another configuration".to_owned(),
            ));
        }
        for param in &self.entries {
            let value = tensors[&param.name].to_dtype(self.dtype)?.to_device(&self.device)?;
            param.var.set(&value)?;
        }
        Ok(())
    }
}

/// Where in a model's names one is, e.g. `blocks.3`.
pub struct Scope<'a> {
    params: &'a mut Params,
    prefix: String,
}

impl Scope<'_> {
    /// The scope `name` in this one.
    pub fn at(&mut self, name: impl std::fmt::Display) -> Scope<'_> {
        let prefix = self.path(&name.to_string());
        Scope { params: self.params, prefix }
    }

    /// A matrix: weight decay applies.
    pub fn matrix(&mut self, name: &str, shape: impl Into<Shape>, init: Init) -> Result<Tensor> {
        self.make(name, shape.into(), init, true)
    }

    /// A bias, a gain or a table: no weight decay.
    pub fn vector(&mut self, name: &str, shape: impl Into<Shape>, init: Init) -> Result<Tensor> {
        self.make(name, shape.into(), init, false)
    }

    fn path(&self, name: &str) -> String {
        if self.prefix.is_empty() { name.to_owned() } else { format!("{}.{name}", self.prefix) }
    }

    fn make(&mut self, name: &str, shape: Shape, init: Init, decay: bool) -> Result<Tensor> {
        let name = self.path(name);
        let params = &mut *self.params;
        if params.index.contains_key(&name) {
            return Err(Error::Weights { name, problem: "two parameters of the model have this name".to_owned() });
        }
        let count = shape.elem_count();
        let values: Vec<f64> = match init {
            Init::Zeros => vec![0.0; count],
            Init::Constant(value) => vec![value; count],
            Init::Normal { std } => {
                let mut stream = Stream::new(params.seed, &format!("parameter {name}"), 0, 0);
                (0..count).map(|_| std * stream.normal()).collect()
            }
        };
        let tensor =
            Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(params.dtype)?.to_device(&params.device)?;
        let var = Var::from_tensor(&tensor)?;
        let tensor = var.as_tensor().clone();
        params.index.insert(name.clone(), params.entries.len());
        params.entries.push(Param { name, var, decay });
        Ok(tensor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(seed: u64, names: &[&str]) -> Params {
        let mut params = Params::new(seed, DType::F32, &Device::Cpu);
        for name in names {
            params.root().at("layer").matrix(name, (3, 5), Init::fan_in(5)).unwrap();
        }
        params
    }

    fn value(params: &Params, name: &str) -> Vec<f32> {
        params.get(name).unwrap().var.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn a_parameter_starts_by_its_seed_and_name_alone() {
        let (a, b) = (build(1, &["x", "y"]), build(1, &["z", "y"]));
        assert_eq!(value(&a, "layer.y"), value(&b, "layer.y"));
        assert_ne!(value(&a, "layer.y"), value(&a, "layer.x"));
        assert_ne!(value(&a, "layer.y"), value(&build(2, &["y"]), "layer.y"));
    }

    #[test]
    fn values_come_back_by_name_and_a_wrong_file_changes_nothing() {
        let (a, b) = (build(1, &["x", "y"]), build(2, &["x", "y"]));
        let saved: HashMap<_, _> = a.to_tensors().unwrap().into_iter().collect();
        let before = value(&b, "layer.x");
        let mut wrong = saved.clone();
        wrong.insert("layer.y".to_owned(), Tensor::zeros((5, 3), DType::F32, &Device::Cpu).unwrap());
        let error = b.load(&wrong).unwrap_err().to_string();
        assert!(error.contains("layer.y") && error.contains("[5, 3]"), "{error}");
        let mut more = saved.clone();
        more.insert("other".to_owned(), saved["layer.x"].clone());
        assert!(b.load(&more).unwrap_err().to_string().contains("`other`"));
        assert_eq!(value(&b, "layer.x"), before);
        b.load(&saved).unwrap();
        assert_eq!(value(&b, "layer.x"), value(&a, "layer.x"));
    }

    #[test]
    fn a_model_computes_with_what_was_loaded() {
        let mut params = Params::new(1, DType::F32, &Device::Cpu);
        let tensor = params.root().vector("bias", 2, Init::Zeros).unwrap();
        let four = Tensor::from_vec(vec![4f32, 4.0], 2, &Device::Cpu).unwrap();
        params.load(&HashMap::from([("bias".to_owned(), four)])).unwrap();
        assert_eq!(tensor.to_vec1::<f32>().unwrap(), [4.0, 4.0]);
    }

    #[test]
    fn a_name_is_given_once() {
        let mut params = build(1, &["x"]);
        assert!(params.root().at("layer").vector("x", 1, Init::Zeros).is_err());
    }
}
