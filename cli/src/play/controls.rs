//! Keys and sliders to actions.
//!
//! Each dimension of the action is a lever with a pair of keys: one takes it towards its high end, the other towards its low
//! end. A lever of a force or a speed springs back to neutral when its key is let go; one of a position stays where it was
//! put. Twelve levers have keys at a time; of a longer action the digits choose which twelve.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use worldloom_engine::spec::{ActionSpec, Channel};

/// Pairs of keys, less and more, as browsers name them by their place (`KeyboardEvent.code`).
pub const PAIRS: [[&str; 2]; 12] = [
    ["ArrowLeft", "ArrowRight"],
    ["ArrowDown", "ArrowUp"],
    ["KeyA", "KeyD"],
    ["KeyS", "KeyW"],
    ["KeyQ", "KeyE"],
    ["KeyF", "KeyR"],
    ["KeyJ", "KeyL"],
    ["KeyK", "KeyI"],
    ["KeyU", "KeyO"],
    ["KeyG", "KeyT"],
    ["KeyX", "KeyC"],
    ["KeyV", "KeyB"],
];

/// How far a lever without bounds goes in newtons, where nothing else is known: what holds up a kilogram.
const FORCE_N: f32 = 10.0;
/// The same in any other unit.
const OTHER: f32 = 1.0;
/// Seconds that a lever that stays needs from neutral to one end.
const TRAVEL_SECS: f32 = 1.0;

/// A dimension of the action.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Lever {
    /// Its name in the action.
    pub name: String,
    /// Its unit.
    pub unit: String,
    /// Where it is without a key.
    pub neutral: f32,
    /// How far its keys take it, at full strength.
    pub low: f32,
    /// See `low`.
    pub high: f32,
    /// It stays where it was put.
    pub stays: bool,
    /// Keys for less and more.
    pub keys: [&'static str; 2],
    /// Which twelve it is among, from 0.
    pub bank: usize,
    /// Where it is.
    pub value: f32,
    /// Held by its slider.
    #[serde(skip)]
    held: bool,
}

/// All levers.
#[derive(Clone, Debug, PartialEq)]
pub struct Controls {
    levers: Vec<Lever>,
    /// Keys held down, and which twelve levers they are for.
    keys: Vec<String>,
    bank: usize,
    /// Part of the way to an end that a key takes a lever.
    strength: f32,
}

/// What a page says.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Order {
    /// Every key that is down now.
    pub keys: Option<Vec<String>>,
    /// Which twelve levers they are for.
    pub bank: Option<usize>,
    /// Sliders: where a lever is put by its number, or null to let it go.
    pub values: BTreeMap<usize, Option<f32>>,
    /// Whether a lever stays, by its number.
    pub stays: BTreeMap<usize, bool>,
    /// Part of the way to an end that a key takes a lever, above 0 to 1.
    pub strength: Option<f32>,
    /// Stop or go on.
    pub paused: Option<bool>,
    /// Take so many steps, and stop.
    pub steps: Option<u32>,
    /// Begin again.
    pub reset: bool,
    /// Under this seed from now on.
    pub seed: Option<u64>,
    /// Times as fast as in truth.
    pub speed: Option<f64>,
}

impl Controls {
    /// Levers for an action. `usual`: by name, how far from 0 it usually goes, for those without bounds.
    pub fn new(action: &ActionSpec, usual: &BTreeMap<String, f32>) -> Self {
        let neutral = action.neutral();
        let lever = |(index, channel): (usize, &Channel)| {
            let neutral = neutral[index];
            let bounded = channel.low.is_finite() && channel.high.is_finite();
            let reach = usual.get(&channel.name).copied().filter(|reach| reach.is_finite() && *reach > 0.0);
            let reach = reach.unwrap_or(if channel.unit == "N" { FORCE_N } else { OTHER });
            let [low, high] = if bounded {
                [channel.low, channel.high]
            } else {
                [(neutral - reach).max(channel.low), (neutral + reach).min(channel.high)]
            };
            Lever {
                name: channel.name.clone(),
                unit: channel.unit.clone(),
                neutral,
                low,
                high,
                stays: matches!(channel.unit.as_str(), "rad" | "m"),
                keys: PAIRS[index % PAIRS.len()],
                bank: index / PAIRS.len(),
                value: neutral,
                held: false,
            }
        };
        let levers = action.channels.iter().enumerate().map(lever).collect();
        Self { levers, keys: Vec::new(), bank: 0, strength: 1.0 }
    }

    /// The levers, in the action's order.
    pub fn levers(&self) -> &[Lever] {
        &self.levers
    }

    /// Takes over what a page says of keys and sliders.
    pub fn obey(&mut self, order: &Order) {
        if let Some(keys) = &order.keys {
            self.keys.clone_from(keys);
        }
        if let Some(bank) = order.bank {
            self.bank = bank;
        }
        if let Some(strength) = order.strength.filter(|strength| *strength > 0.0) {
            self.strength = strength.min(1.0);
        }
        for (index, stays) in &order.stays {
            if let Some(lever) = self.levers.get_mut(*index) {
                lever.stays = *stays;
            }
        }
        for (index, value) in &order.values {
            if let Some(lever) = self.levers.get_mut(*index) {
                lever.held = value.is_some();
                if let Some(value) = value.filter(|value| value.is_finite()) {
                    lever.value = value.max(lever.low).min(lever.high);
                }
            }
        }
    }

    /// Lets go of every key and slider.
    pub fn let_go(&mut self) {
        self.keys.clear();
        self.levers.iter_mut().for_each(|lever| lever.held = false);
    }

    /// Every lever to neutral, as at the start of an episode.
    pub fn centre(&mut self) {
        self.levers.iter_mut().for_each(|lever| lever.value = lever.neutral);
    }

    /// The action of a step of `dt_secs`.
    pub fn act(&mut self, dt_secs: f32) -> Vec<f32> {
        let down = |key: &str| self.keys.iter().any(|held| held == key);
        for lever in self.levers.iter_mut().filter(|lever| !lever.held) {
            let mine = lever.bank == self.bank;
            let [less, more] = lever.keys.map(|key| mine && down(key));
            let way = match (less, more) {
                (true, false) => lever.low - lever.neutral,
                (false, true) => lever.high - lever.neutral,
                _ => 0.0,
            };
            let way = way * self.strength;
            lever.value = match lever.stays {
                true => (lever.value + way * (dt_secs / TRAVEL_SECS).min(1.0)).max(lever.low).min(lever.high),
                false => lever.neutral + way,
            };
        }
        self.levers.iter().map(|lever| lever.value).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(channels: &[(&str, &str, f32, f32)]) -> ActionSpec {
        let channel = |&(name, unit, low, high): &(&str, &str, f32, f32)| Channel {
            name: name.to_owned(),
            unit: unit.to_owned(),
            low,
            high,
        };
        ActionSpec { channels: channels.iter().map(channel).collect() }
    }

    fn keys(keys: &[&str]) -> Order {
        Order { keys: Some(keys.iter().map(|key| (*key).to_owned()).collect()), ..Order::default() }
    }

    #[test]
    fn a_force_springs_back_and_a_position_stays() {
        let free = (f32::NEG_INFINITY, f32::INFINITY);
        let spec = spec(&[("push", "N", free.0, free.1), ("hinge", "rad", -1.0, 3.0), ("gain", "", free.0, free.1)]);
        let mut controls = Controls::new(&spec, &BTreeMap::from([("gain".to_owned(), 4.0)]));
        assert_eq!(controls.act(0.1), [0.0, 1.0, 0.0], "neutral: the middle of bounds");
        controls.obey(&keys(&["ArrowRight", "ArrowUp", "KeyA"]));
        assert_eq!(controls.act(0.5), [10.0, 2.0, -4.0]);
        assert_eq!(controls.act(2.0), [10.0, 3.0, -4.0], "as far as its bounds");
        controls.obey(&Order { strength: Some(0.5), ..keys(&["ArrowRight", "ArrowLeft", "KeyD"]) });
        assert_eq!(controls.act(0.1), [0.0, 3.0, 2.0], "both keys are none; half the strength is half the way");
        controls.let_go();
        assert_eq!(controls.act(0.1), [0.0, 3.0, 0.0]);
        controls.centre();
        assert_eq!(controls.act(0.1), [0.0, 1.0, 0.0]);
    }

    #[test]
    fn sliders_hold_a_lever_within_its_reach_until_they_are_let_go() {
        let mut controls = Controls::new(&spec(&[("a", "m/s", -2.0, 2.0), ("b", "m/s", -2.0, 2.0)]), &BTreeMap::new());
        controls.obey(&Order {
            values: BTreeMap::from([(0, Some(1.5)), (1, Some(9.0)), (7, Some(1.0))]),
            ..keys(&["ArrowLeft"])
        });
        assert_eq!(controls.act(0.1), [1.5, 2.0], "a slider wins over a key");
        controls.obey(&Order { values: BTreeMap::from([(0, None), (1, None)]), ..Order::default() });
        assert_eq!(controls.act(0.1), [-2.0, 0.0]);
        controls.obey(&Order {
            stays: BTreeMap::from([(1, true)]),
            values: BTreeMap::from([(1, Some(0.5))]),
            ..keys(&[])
        });
        controls.obey(&Order { values: BTreeMap::from([(1, None)]), ..Order::default() });
        assert_eq!(controls.act(0.1), [0.0, 0.5], "it stays where the slider left it");
    }

    #[test]
    fn every_dimension_of_a_long_action_has_keys_in_its_bank() {
        let names: Vec<String> = (0..30).map(|index| format!("joint {index}")).collect();
        let channels: Vec<_> = names.iter().map(|name| (name.as_str(), "N", -1.0, 1.0)).collect();
        let mut controls = Controls::new(&spec(&channels), &BTreeMap::new());
        controls.obey(&Order { bank: Some(2), ..keys(&["ArrowUp"]) });
        let action = controls.act(0.1);
        assert_eq!(action.iter().position(|value| *value != 0.0), Some(25));
        assert_eq!(action.iter().filter(|value| **value != 0.0).count(), 1);
        let distinct: std::collections::BTreeSet<_> =
            controls.levers().iter().map(|lever| (lever.bank, lever.keys)).collect();
        assert_eq!(distinct.len(), 30);
    }
}
