//! Networks that measure: the inverse model, trained here, and those whose weights a user brings.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use worldloom_datasets::Dataset;
use worldloom_models::compute;
use worldloom_models::data::{Episodes, WorldSpec};
use worldloom_models::inverse::{self, FitOptions, InverseModel};
use worldloom_models::perceptual::{I3d, Lpips};

use crate::failure::Outcome;
use crate::model_args::EvalArgs;
use crate::place::Place;
use crate::terminal::Progress;

/// The inverse model that read the actions: it shares nothing with the world model, and is a function of the data alone.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Inverse {
    /// Optimiser steps of its training; 0 if there is none.
    pub steps: u64,
    /// Episodes that it learned from, none of them among those evaluated.
    pub episodes: Vec<u64>,
    /// Why there is none.
    pub missing: Option<String>,
}

/// See the module.
pub struct Rulers {
    /// Reads actions off pictures.
    pub inverse: Option<InverseModel>,
    /// What it learned from, or why it is not there.
    pub learned: Inverse,
    /// Perceptual distance of frames.
    pub lpips: Option<Lpips>,
    /// Features of films.
    pub i3d: Option<I3d>,
}

impl Rulers {
    /// Reads weights, and trains the inverse model on episodes of the dataset in `data` that are not among `evaluated`.
    pub fn new(args: &EvalArgs, data: &Place, spec: &WorldSpec, evaluated: &[u64]) -> Outcome<Self> {
        let lpips = args.lpips.as_deref().map(Lpips::open).transpose()?;
        let i3d = args.i3d.as_deref().map(I3d::open).transpose()?;
        let missing = |why: &str| Inverse { missing: Some(why.to_owned()), ..Inverse::default() };
        let without = |learned| Ok(Self { inverse: None, learned, lpips: lpips.clone(), i3d: i3d.clone() });
        if spec.action.is_empty() {
            return without(missing("this world takes no actions"));
        }
        if args.inverse_steps == 0 {
            return without(missing("--inverse-steps is 0"));
        }
        // Labels are of no use to it, and large.
        let episodes = Episodes::new(Dataset::open(data.path())?, spec.clone(), None);
        let options = FitOptions { steps: args.inverse_steps as usize };
        let progress = Progress::new(0, "steps of the inverse model");
        let learned = compute::run(args.compute.threads as usize, || {
            let clips = inverse::load(&episodes, evaluated)?;
            let model = inverse::fit(&clips, spec, options, |step, steps| progress.at(step as u64, steps as u64))?;
            Ok::<_, worldloom_models::Error>((clips.iter().map(|clip| clip.episode).collect::<Vec<_>>(), model))
        });
        progress.clear();
        let (from, inverse) = learned??;
        let learned = match &inverse {
            Some(_) => Inverse { steps: args.inverse_steps.into(), episodes: from, missing: None },
            None if from.is_empty() => {
                missing("every episode is evaluated: leave some for the inverse model to learn from")
            }
            None => missing("no episode has the four frames that an action is read off"),
        };
        Ok(Self { inverse, learned, lpips, i3d })
    }
}
