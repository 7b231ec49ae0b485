//! Times what a dataset's G-buffers cost beside its pictures: `redraw DATASET…`, each decoded as a model of 64 pixels sees it.
//!
//! Prints one JSON object a dataset: where its G-buffers come from, frames, cameras, and CPU milliseconds a frame of an episode
//! without and with them. The same run generated with `--labels all`, `poses` and `none` compares the sources.

// Its output is what it is for.
#![allow(clippy::print_stdout)]

use cpu_time::ProcessTime;
use worldloom_datasets::Dataset;
use worldloom_models::Result;
use worldloom_models::data::{Episodes, GBufferSource, SpecOptions, WorldSpec};

fn main() -> Result<()> {
    for folder in std::env::args().skip(1).filter(|argument| argument != "--bench") {
        let open = || Dataset::open(folder.as_ref());
        let options = SpecOptions { side: 64, multiple: 8, frame_skip: 1, ..SpecOptions::default() };
        let spec = WorldSpec::of(&open()?, &options)?;
        let source = GBufferSource::of(&open()?)?;
        let cameras = spec.cameras.len();
        let time = |source: Option<GBufferSource>| -> Result<(usize, f64)> {
            let episodes = Episodes::new(open()?, spec.clone(), source);
            // Once before the clock: files of scenes are parsed once.
            episodes.clip(0)?;
            let (began, mut frames) = (ProcessTime::now(), 0);
            for episode in 0..episodes.len() {
                frames += episodes.clip(episode)?.frames;
            }
            Ok((frames, 1e3 * began.elapsed().as_secs_f64() / frames as f64))
        };
        let (frames, bare) = time(None)?;
        let (_, told) = time(Some(source.clone()))?;
        println!(
            "{{\"source\": \"{}\", \"frames\": {frames}, \"cameras\": {cameras}, \"pictures_cpu_ms\": {bare:.3}, \"with_gbuffers_cpu_ms\": {told:.3}}}",
            source.describe()
        );
    }
    Ok(())
}
