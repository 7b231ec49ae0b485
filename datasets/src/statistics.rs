//! Reading `meta/stats.json`, of ours and of others.

use serde_json::Value;

use crate::error::{Error, Result};
use crate::layout::STATS;
use crate::reader::Dataset;

impl Dataset {
    /// Mean and standard deviation of a numeric feature over the dataset, channel by channel.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if `meta/stats.json` does not say.
    pub fn mean_and_std(&self, key: &str) -> Result<(Vec<f64>, Vec<f64>)> {
        let path = self.root().join(STATS);
        let bytes = std::fs::read(&path).map_err(|source| Error::io("reading", &path, source))?;
        let all: Value = serde_json::from_slice(&bytes).map_err(|source| Error::corrupt(&path, source.to_string()))?;
        let part = |name: &str| -> Result<Vec<f64>> {
            let mut numbers = Vec::new();
            flatten(&all[key][name], &mut numbers);
            if numbers.is_empty() {
                return Err(Error::corrupt(&path, format!("there is no `{name}` of `{key}`")));
            }
            Ok(numbers)
        };
        Ok((part("mean")?, part("std")?))
    }
}

/// Numbers of a nested list, in order; JSON has no word for what is not finite, and null stands for it.
fn flatten(value: &Value, into: &mut Vec<f64>) {
    match value {
        Value::Number(number) => into.push(number.as_f64().unwrap_or(f64::NAN)),
        Value::Null if !into.is_empty() => into.push(f64::NAN),
        Value::Array(values) => values.iter().for_each(|value| flatten(value, into)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_lists_are_flattened_in_order() {
        let mut numbers = Vec::new();
        flatten(&serde_json::json!([[1.0, 2], [[3.5]]]), &mut numbers);
        assert_eq!(numbers, [1.0, 2.0, 3.5]);
    }
}
