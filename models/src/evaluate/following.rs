//! Whether dreams follow their actions: the actions that an [`InverseModel`] reads off them, beside those given.
//!
//! R² = 1 − Σ (a − â)² / Σ (a − ā)²: 1 if all actions can be read off, 0 for no better than their mean. That of the true frames
//! comes first: it is the ruler's own error, and below [`TELLS`] the ruler can't tell. A dream can also have some of its
//! actions from the true frames before it, where actions are alike from step to step. So there are two controls: the last true
//! frame repeated, and dreams under the actions of another episode (*swapped*). Dreams that follow have an R² beside
//! the actions they were *given*, and none beside those that were taken from them (*own*).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::sets::Source;
use super::windows::action_rows;
use crate::data::{Clip, WorldSpec};
use crate::dream::Dreamed;
use crate::error::Result;
use crate::inverse::{BEFORE, InverseModel};

/// R² on true frames from which on the inverse model tells anything of dreams.
pub const TELLS: f64 = 0.2;

/// See the module. R² of all numbers of the actions together and of each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Following {
    /// Names of the numbers of an action.
    pub actions: Vec<String>,
    /// On the true frames: the ruler's own error.
    pub truth: Fit,
    /// On the last true frame repeated.
    pub copy: Option<Fit>,
    /// On frames each from a true past.
    pub next: Option<Fit>,
    /// On dreams of the model alone.
    pub free: Option<Fit>,
    /// On dreams under the G-buffers.
    pub condition: Option<Fit>,
    /// On dreams under the actions of other episodes; null where there is no other.
    pub swapped: Option<Swapped>,
    /// Why nothing is said of dreams: their actions cannot be read even off true frames.
    pub cannot_tell: Option<String>,
}

/// R² of actions that were read off pictures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fit {
    /// Steps read.
    pub steps: u64,
    /// Of all numbers together, each in units of its deviation over the dataset; null if none of them varies.
    pub r_squared: Option<f64>,
    /// Of each; null for one that does not vary.
    pub by_action: Vec<Option<f64>>,
}

/// Dreams under the actions of another episode.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Swapped {
    /// Windows dreamed so: one of each episode, some at most.
    pub windows: u64,
    /// Beside the actions that the dreams were given.
    pub given: Fit,
    /// Beside the actions of the windows' own episodes: a control, which should be low.
    pub own: Fit,
}

/// Sums of one list of actions.
#[derive(Clone, Debug, Default)]
struct Sums {
    steps: u64,
    /// By number: Σ a, Σ a², Σ (a − â)², count.
    numbers: Vec<(f64, f64, f64, u64)>,
}

impl Sums {
    fn add(&mut self, truth: &[f32], found: &[f32], count: usize) {
        self.numbers.resize(count, (0.0, 0.0, 0.0, 0));
        self.steps += 1;
        // All steps of a frame that takes several.
        for (i, (truth, found)) in truth.iter().zip(found).enumerate() {
            let (a, error) = (f64::from(*truth), f64::from(truth - found));
            let sums = &mut self.numbers[i % count];
            *sums = (sums.0 + a, sums.1 + a * a, sums.2 + error * error, sums.3 + 1);
        }
    }

    fn fit(&self) -> Fit {
        // Rounding leaves a little of a constant's.
        let total = |(sum, square, _, n): &(f64, f64, f64, u64)| {
            let total = square - sum * sum / (*n).max(1) as f64;
            if total > 1e-9 * square { total } else { 0.0 }
        };
        let share = |error: f64, total: f64| (total > 0.0).then(|| 1.0 - error / total);
        let varying = || self.numbers.iter().filter(|sums| total(sums) > 0.0);
        Fit {
            steps: self.steps,
            r_squared: share(varying().map(|sums| sums.2).sum(), varying().map(total).sum()),
            by_action: self.numbers.iter().map(|sums| share(sums.2, total(sums))).collect(),
        }
    }
}

/// Reads actions off the windows of an evaluation.
pub(super) struct Reader<'a> {
    model: &'a InverseModel,
    spec: &'a WorldSpec,
    sums: BTreeMap<Source, Sums>,
    given: Sums,
    own: Sums,
    swapped: u64,
}

impl<'a> Reader<'a> {
    pub fn new(model: &'a InverseModel, spec: &'a WorldSpec) -> Self {
        Self { model, spec, sums: BTreeMap::new(), given: Sums::default(), own: Sums::default(), swapped: 0 }
    }

    /// Adds the frames `film` of a window that begins at frame `start` of `clip`, `context` of them true.
    pub fn add(&mut self, source: Source, film: &[u8], clip: &Clip, start: usize, context: usize) -> Result<()> {
        let read = self.read(film, context)?;
        let count = self.spec.action.len();
        let sums = self.sums.entry(source).or_default();
        for (t, found) in read {
            sums.add(&clip.action[action_rows(self.spec, start, t..t + 1)], &found, count);
        }
        Ok(())
    }

    /// Adds a window that was dreamed under the actions of `clip` in place of `own`, those that lead to its frames after the
    /// context.
    pub fn add_swapped(&mut self, window: &Dreamed, clip: &Clip, start: usize, own: &[f32]) -> Result<()> {
        let count = self.spec.action.len();
        self.swapped += 1;
        for (t, found) in self.read(&window.dream, window.context)? {
            let rows = action_rows(self.spec, start, t..t + 1);
            let first = action_rows(self.spec, start, window.context..window.context).start;
            self.given.add(&clip.action[rows.clone()], &found, count);
            self.own.add(&own[rows.start - first..rows.end - first], &found, count);
        }
        Ok(())
    }

    /// By frame after the context: the action that led to it.
    fn read(&self, film: &[u8], context: usize) -> Result<Vec<(usize, Vec<f32>)>> {
        // Only what an action before the first dreamed frame needs goes in.
        let first = context.saturating_sub(BEFORE);
        let frame = 3 * self.spec.picture_height() * self.spec.width;
        let found = self.model.recover(&film[first * frame..])?;
        Ok(found.into_iter().enumerate().map(|(i, action)| (first + BEFORE + i, action)).collect())
    }

    /// What it comes to; none if no window was long enough to read an action.
    pub fn following(self) -> Option<Following> {
        let fit = |source| self.sums.get(&source).filter(|sums: &&Sums| sums.steps > 0).map(Sums::fit);
        let truth = fit(Source::Truth)?;
        let tells = truth.r_squared.is_some_and(|found| found >= TELLS);
        let cannot_tell = (!tells).then(|| match truth.r_squared {
            Some(found) => format!(
                "actions are read off true frames with an R² of {} only, below {TELLS}: \
                 it can't tell whether dreams follow them",
                // No "-0.00".
                (found * 100.0).round() / 100.0 + 0.0
            ),
            None => "the actions never vary".to_owned(),
        });
        let told = |source| fit(source).filter(|_| tells);
        let swapped = (tells && self.given.steps > 0).then(|| Swapped {
            windows: self.swapped,
            given: self.given.fit(),
            own: self.own.fit(),
        });
        Some(Following {
            actions: self.spec.action.iter().map(|channel| channel.name.clone()).collect(),
            copy: told(Source::Copy),
            next: told(Source::Next),
            free: told(Source::Free),
            condition: told(Source::Condition),
            swapped,
            truth,
            cannot_tell,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inverse::tests::{clip, film, spec};
    use crate::inverse::{FitOptions, fit};

    /// A dream of which only the pictures count, one true frame before it.
    fn dreamed(film: Vec<u8>) -> Dreamed {
        Dreamed {
            truth: film.clone(),
            dream: film,
            instances: Vec::new(),
            bodies: Vec::new(),
            lens: None,
            sight: crate::dream::Sight::default(),
            true_sight: None,
            outcome: Vec::new(),
            context: 1,
        }
    }

    #[test]
    fn a_dream_that_follows_has_the_actions_it_was_given_and_one_that_does_not_has_others() {
        let learned: Vec<Clip> = (0..12).map(|seed| clip(seed, 40)).collect();
        let spec = spec();
        let model = fit(&learned, &spec, FitOptions { steps: 250 }, |_, _| {}).unwrap().unwrap();
        let (own, given) = (clip(50, 80), clip(51, 80));
        let of = |pictures: &Clip| {
            let mut reader = Reader::new(&model, &spec);
            reader.add(Source::Truth, &film(&own), &own, 0, 1).unwrap();
            reader.add(Source::Free, &film(pictures), &own, 0, 1).unwrap();
            reader.add_swapped(&dreamed(film(pictures)), &given, 0, &own.action[..79 * 2]).unwrap();
            reader.following().unwrap()
        };
        let (follows, ignores) = (of(&given), of(&own));
        let swapped = |found: &Following| {
            let swapped = found.swapped.as_ref().unwrap();
            (swapped.given.r_squared.unwrap(), swapped.own.r_squared.unwrap())
        };
        let ((given, own), (not_given, kept)) = (swapped(&follows), swapped(&ignores));
        assert!(given > 0.8 && own < 0.0, "a dream that follows: given {given}, own {own}");
        assert!(not_given < 0.0 && kept > 0.8, "a dream that does not: given {not_given}, own {kept}");
        assert_eq!((follows.truth.steps, follows.truth.by_action.len(), follows.cannot_tell), (77, 2, None));
        assert!(follows.free.unwrap().r_squared < Some(0.0), "pictures of other actions");
    }

    #[test]
    fn where_the_truth_cannot_be_read_nothing_is_said_of_dreams() {
        let spec = spec();
        let model = fit(&[clip(1, 9)], &spec, FitOptions { steps: 0 }, |_, _| {}).unwrap().unwrap();
        let mut reader = Reader::new(&model, &spec);
        let clip = clip(2, 20);
        reader.add(Source::Truth, &film(&clip), &clip, 0, 1).unwrap();
        reader.add(Source::Free, &film(&clip), &clip, 0, 1).unwrap();
        let found = reader.following().unwrap();
        assert!(found.truth.r_squared < Some(TELLS) && found.free.is_none(), "{found:?}");
        assert!(found.cannot_tell.unwrap().contains("can't tell"));
        assert!(Reader::new(&model, &spec).following().is_none());
    }

    #[test]
    fn r_squared_is_that_of_the_numbers_together_and_of_each() {
        let mut sums = Sums::default();
        // Two steps of two numbers each a frame: the second number never varies.
        sums.add(&[1.0, 5.0, -1.0, 5.0], &[1.0, 4.0, -1.0, 5.0], 2);
        sums.add(&[3.0, 5.0, -3.0, 5.0], &[2.0, 5.0, -3.0, 5.0], 2);
        let found = sums.fit();
        // Σ (a − ā)² = 1 + 1 + 9 + 9, error 1.
        assert_eq!(found, Fit { steps: 2, r_squared: Some(0.95), by_action: vec![Some(0.95), None] });
        assert_eq!(Sums::default().fit(), Fit { steps: 0, r_squared: None, by_action: Vec::new() });
    }
}
