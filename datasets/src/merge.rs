//! Joining the shards of one run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::agree::{same_plan, same_versions};
use crate::assemble::Assembler;
use crate::checksums;
use crate::error::{Error, Result};
use crate::manifest::{Manifest, versions};
use crate::plan::{Mode, Shard};
use crate::publish;
use crate::schema::Layout;
use crate::writer::{Shelf, Summary, clear, conclude, copy_asset, is_empty_but_staging, lock, summary};

/// Joins all shards of one run, given in any order, into `out`. The result equals the single run,
/// byte for byte. `out` must be empty or absent, or hold a merge that was interrupted, which begins
/// again; with [`Mode::Overwrite`] a dataset of ours that is there is deleted first.
///
/// # Errors
/// [`Error::Shards`] unless the folders are exactly the finished shards of one run;
/// [`Error::VersionChanged`] if other encoders or libraries made them; [`Error::Corrupt`] if a file of a
/// shard has not the digest with which it was written.
pub fn merge(out: &Path, shards: &[PathBuf], mode: Mode) -> Result<Summary> {
    let mut parts = Vec::with_capacity(shards.len());
    for path in shards {
        if publish::is_interrupted(path) {
            return Err(Error::Unfinished { path: path.clone() });
        }
        let manifest = Manifest::read(path)?
            .ok_or_else(|| Error::NotADataset { path: path.clone(), problem: "it has no worldloom.json".to_owned() })?;
        if manifest.missing > 0 {
            let problem = format!("{} lacks {}: finish it with --resume", path.display(), episodes(manifest.missing));
            return Err(Error::Shards { problem });
        }
        parts.push((path, manifest));
    }
    parts.sort_by_key(|(_, manifest)| manifest.plan.shard.index);
    let Some((first_path, first)) = parts.first() else {
        return Err(Error::Shards { problem: "no shard was given".to_owned() });
    };
    let count = first.plan.shard.count;
    for (path, manifest) in &parts {
        let mut plan = manifest.plan.clone();
        plan.shard = first.plan.shard;
        if manifest.plan.shard.count != count {
            let problem = format!(
                "{} is shard {} and {} is shard {}: give all shards of one run",
                first_path.display(),
                first.plan.shard,
                path.display(),
                manifest.plan.shard
            );
            return Err(Error::Shards { problem });
        }
        same_plan(first_path, &first.plan, &plan).map_err(|error| of_other_runs(first_path, path, error))?;
        same_versions(path, &manifest.versions, &first.versions)?;
        if manifest.episodes != first.episodes {
            let (a, b) = (first.episodes, manifest.episodes);
            let problem = format!(
                "{} is a shard of a run of {}, and {} of a run of {}",
                first_path.display(),
                episodes(a),
                path.display(),
                episodes(b)
            );
            return Err(Error::Shards { problem });
        }
    }
    for ((a, of_a), (b, of_b)) in parts.iter().zip(&parts[1..]) {
        if of_a.plan.shard == of_b.plan.shard {
            let problem = format!("shard {} is given twice: {} and {}", of_a.plan.shard, a.display(), b.display());
            return Err(Error::Shards { problem });
        }
    }
    let found: Vec<u64> = parts.iter().map(|(_, manifest)| manifest.plan.shard.index).collect();
    if found != (0..count).collect::<Vec<_>>() {
        let missing: Vec<String> = (0..count).filter(|i| !found.contains(i)).map(|i| format!("{i}/{count}")).collect();
        let (noun, verb) = if missing.len() == 1 { ("shard", "is") } else { ("shards", "are") };
        return Err(Error::Shards { problem: format!("{noun} {} {verb} missing", missing.join(", ")) });
    }
    let versions = versions(&first.plan.video)?;
    same_versions(first_path, &first.versions, &versions)?;

    if let Ok(target) = out.canonicalize()
        && parts.iter().any(|(path, _)| path.canonicalize().is_ok_and(|path| path == target))
    {
        return Err(Error::Shards { problem: format!("{} is one of the shards", out.display()) });
    }
    std::fs::create_dir_all(out).map_err(|source| Error::io("creating", out, source))?;
    let _lock = lock(out)?;
    publish::finish_clearing(out)?;
    let mut plan = first.plan.clone();
    plan.shard = Shard::default();
    let mark = publish::staging(out).join("merge");
    match mode {
        Mode::Overwrite => clear(out)?,
        Mode::Create | Mode::Resume if mark.exists() && publish::is_interrupted(out) => {
            publish::complete(out)?;
            let whole = Manifest::read(out)?.ok_or_else(|| Error::Unfinished { path: out.to_path_buf() })?;
            same_plan(out, &whole.plan, &plan)?;
            return summary(out, 0);
        }
        Mode::Create | Mode::Resume if mark.exists() => publish::remove_tree(&publish::staging(out))?,
        Mode::Create | Mode::Resume => {}
    }
    if !is_empty_but_staging(out)? || publish::staging(out).join("plan.json").exists() {
        return Err(Error::NotEmpty { path: out.to_path_buf() });
    }
    for (path, _) in &parts {
        checksums::require(path)?;
    }
    publish::write_atomically(&mark, b"")?;

    let layout: Option<Layout> = parts.iter().find_map(|(_, manifest)| manifest.layout.clone());
    let mut shelves = Vec::with_capacity(parts.len());
    let mut assets: BTreeMap<String, String> = BTreeMap::new();
    for (path, manifest) in &parts {
        if let (Some(a), Some(b)) = (&layout, &manifest.layout) {
            a.check(manifest.plan.shard.index, b)?;
        }
        for (reference, place) in &manifest.assets {
            if let Some(other) = assets.insert(reference.clone(), place.clone())
                && other != *place
            {
                return Err(Error::Shards { problem: format!("the asset `{reference}` differs between shards") });
            }
        }
        shelves.push(Shelf::open(path, manifest)?);
    }
    let build = publish::fresh_build(out)?;
    let empty = Layout { state: Vec::new(), action: Vec::new(), cameras: Vec::new() };
    let mut assembler = Assembler::new(&build, Arc::new(plan), layout.clone().unwrap_or(empty))?;
    while let Some(shelf) = shelves.iter_mut().filter(|shelf| shelf.next.is_some()).min_by_key(|shelf| shelf.number()) {
        shelf.add_next(&mut assembler)?;
    }
    let total = first.episodes;
    let assembled = assembler.finish()?;
    for (path, manifest) in &parts {
        for place in manifest.assets.values() {
            if !build.join(place).exists() {
                copy_asset(&path.join(place), &build.join(place))?;
            }
        }
    }
    conclude(out, &build, &assembled, layout, total, 0, versions, assets)
}

/// What a difference between the plans of two shards means for who joins them.
fn of_other_runs(a: &Path, b: &Path, error: Error) -> Error {
    let Error::PlanChanged { field, saved, given, .. } = error else { return error };
    let (a, b) = (a.display(), b.display());
    Error::Shards { problem: format!("{a} and {b} are of different runs: {field} {saved}, and {field} {given}") }
}

/// A number of episodes in words.
fn episodes(count: u64) -> String {
    format!("{count} episode{}", if count == 1 { "" } else { "s" })
}
