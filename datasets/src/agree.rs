//! Whether what is gone on with, or put together, was begun with the same plan and the same versions.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::error::{Error, Result};
use crate::plan::Plan;

/// Says in which field two plans differ.
pub(crate) fn same_plan(dir: &Path, saved: &Plan, given: &Plan) -> Result<()> {
    if saved == given {
        return Ok(());
    }
    let (Ok(serde_json::Value::Object(old)), Ok(serde_json::Value::Object(new))) =
        (serde_json::to_value(saved), serde_json::to_value(given))
    else {
        return Err(Error::invalid("plan", "cannot be compared"));
    };
    let differing = old.iter().find(|(key, value)| new.get(*key) != Some(value));
    let (field, saved, given) = match differing {
        // The text of a scenario is too long to show; its name and digest say the same.
        Some((key, _)) if key.starts_with("scenario") => {
            let show = |plan: &Plan| {
                let digest: String = plan.scenario_digest.chars().take(12).collect();
                format!("{} ({digest})", plan.scenario_name)
            };
            ("scenario".to_owned(), show(saved), show(given))
        }
        Some((key, value)) => first_difference(key, value, new.get(key).unwrap_or(&serde_json::Value::Null)),
        None => ("plan".to_owned(), String::new(), String::new()),
    };
    Err(Error::PlanChanged { path: dir.to_path_buf(), field, saved, given })
}

/// The innermost field in which two values differ, and both values as a person would write them.
fn first_difference(field: &str, saved: &serde_json::Value, given: &serde_json::Value) -> (String, String, String) {
    use serde_json::Value;
    if let (Value::Object(old), Value::Object(new)) = (saved, given)
        && let Some((key, value)) = old.iter().find(|(key, value)| new.get(*key) != Some(value))
    {
        return first_difference(&format!("{field}.{key}"), value, new.get(key).unwrap_or(&Value::Null));
    }
    let show = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) if items.iter().all(Value::is_string) => {
            items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",")
        }
        // Sampled columns are told by their names.
        Value::Array(items) if items.iter().all(|item| item.get("name").is_some_and(Value::is_string)) => {
            let names = items.iter().filter_map(|item| item.get("name")?.as_str());
            names.collect::<Vec<_>>().join(",")
        }
        other => other.to_string(),
    };
    let (old, new) = (show(saved), show(given));
    // Columns of one name and another kind.
    if old == new {
        return (field.to_owned(), saved.to_string(), given.to_string());
    }
    (field.to_owned(), old, new)
}

pub(crate) fn same_versions(
    dir: &Path,
    saved: &BTreeMap<String, String>,
    given: &BTreeMap<String, String>,
) -> Result<()> {
    let names: BTreeSet<_> = saved.keys().chain(given.keys()).collect();
    for name in names {
        if saved.get(name) != given.get(name) {
            let show = |versions: &BTreeMap<String, String>| versions.get(name).cloned().unwrap_or("none".to_owned());
            return Err(Error::VersionChanged {
                path: dir.to_path_buf(),
                what: name.clone(),
                saved: show(saved),
                given: show(given),
            });
        }
    }
    Ok(())
}
