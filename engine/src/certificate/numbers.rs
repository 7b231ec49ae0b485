//! Numbers of a state that need not be finite, in JSON: `null` for those that are not, NaN when read back.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub(super) fn serialize<S: Serializer, const N: usize>(numbers: &[f32; N], to: S) -> Result<S::Ok, S::Error> {
    numbers.map(|number| number.is_finite().then_some(number)).as_slice().serialize(to)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>, const N: usize>(from: D) -> Result<[f32; N], D::Error> {
    let numbers: Vec<Option<f32>> = Vec::deserialize(from)?;
    let numbers: Vec<f32> = numbers.into_iter().map(|number| number.unwrap_or(f32::NAN)).collect();
    let count = numbers.len();
    numbers.try_into().map_err(|_| D::Error::custom(format!("expected {N} numbers, found {count}")))
}
