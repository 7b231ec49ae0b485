//! The evaluation as one self-contained page: the table, curves over the horizon, clips of truth and dream.

use std::fmt::Write as _;
use std::path::Path;

use worldloom_models::VideoModel;
use worldloom_models::compute;
use worldloom_models::data::Episodes;
use worldloom_models::dream::{DreamOptions, dream};
use worldloom_models::evaluate::EvalOptions;
use worldloom_models::train::write_clip;

use super::{Evaluated, Measures, shown};
use crate::failure::{Failure, Outcome};
use crate::report::{self, Line, TimeAxis, chart, data_uri, escape};
use crate::scratch::Scratch;

/// Windows shown as clips.
const CLIPS: usize = 3;

/// Writes the page.
pub fn write(
    path: &Path,
    report: &Evaluated,
    model: &VideoModel,
    episodes: &Episodes,
    options: &EvalOptions,
    threads: usize,
) -> Outcome {
    let scratch = Scratch::new("eval", None)?;
    let mut body = String::new();
    // Writing to a string does not fail.
    let _ = write!(
        body,
        "<h1>World model of {}</h1><p>{} windows of {} true and {} dreamed frames at {} Hz, {}×{} pixels, {} denoising steps \
         a frame; {}. Moving pixels change by more than 12 of 255 from one true frame to the next; objects are those that \
         travel at least 2 pixels within a window.</p>",
        escape(&model.spec().source),
        report.windows,
        report.context,
        report.frames,
        report.fps,
        report.size[0],
        report.size[1],
        report.steps,
        if report.held_out { "none of it was seen in training" } else { "seen in training" }
    );
    table(&mut body, report);
    curves(&mut body, report);
    clips(&mut body, report, model, episodes, options, threads, scratch.folder())?;
    let html = report::plain_page(&format!("World model of {}", model.spec().source), &body);
    std::fs::write(path, html).map_err(|error| Failure::io("writing", path, &error))
}

fn modes(report: &Evaluated) -> impl Iterator<Item = (&'static str, &Measures)> {
    let all = [
        ("next frame from a true past", Some(&report.next)),
        ("free dream", Some(&report.free)),
        ("dream under the G-buffers of physics", report.condition.as_ref()),
    ];
    all.into_iter().filter_map(|(name, found)| Some((name, found?)))
}

fn table(out: &mut String, report: &Evaluated) {
    out.push_str(
        "<table><thead><tr><th></th><th>PSNR, dB</th><th>moving</th><th>copying</th><th>copying, moving</th><th>SSIM</th>\
         <th>temporal SSIM</th><th>sharpness</th><th>flicker</th><th>centroid, px</th><th>staying, px</th><th>permanence</th>\
         </tr></thead><tbody>",
    );
    for (name, found) in modes(report) {
        let _ = write!(out, "<tr><th>{name}</th>");
        for value in [
            found.psnr,
            found.psnr_moving,
            found.copy_psnr,
            found.copy_psnr_moving,
            found.ssim,
            found.temporal_ssim,
            found.sharpness,
            Some(found.flicker),
            found.centroid_error,
            found.copy_centroid_error,
            found.permanence,
        ] {
            let _ = write!(out, "<td>{}</td>", shown(value));
        }
        out.push_str("</tr>");
    }
    out.push_str("</tbody></table>");
    if let Some(error) = report.true_centroid_error {
        let _ = write!(out, "<p>Centroids in true frames are found within {error:.2} pixels.</p>");
    }
}

fn curves(out: &mut String, report: &Evaluated) {
    let line = |name: &str, curve: &[Option<f64>]| Line {
        name: name.to_owned(),
        values: curve.iter().map(|value| value.map_or(f32::NAN, |value| value as f32)).collect(),
    };
    let told = report.condition.as_ref();
    let both = |name: &str, pick: fn(&Measures) -> &[Option<f64>], copy: fn(&Measures) -> &[Option<f64>]| {
        let mut lines = vec![line("free", pick(&report.free))];
        lines.extend(told.map(|found| line("under G-buffers", pick(found))));
        lines.push(line(name, copy(&report.free)));
        lines
    };
    let end_secs = (report.frames.saturating_sub(1)) as f64 / report.fps;
    let time = TimeAxis { end_secs, frames: report.frames, events: Vec::new() };
    for (title, lines) in [
        ("PSNR over moving pixels, dB", both("copying", |m| &m.psnr_moving_curve, |m| &m.copy_psnr_moving_curve)),
        (
            "distance of moving objects from the truth, pixels",
            both("staying", |m| &m.centroid_curve, |m| &m.copy_centroid_curve),
        ),
    ] {
        if lines.iter().any(|line| line.values.iter().any(|value| value.is_finite())) {
            out.push_str(&chart(title, &lines, &time));
        }
    }
}

fn clips(
    out: &mut String,
    report: &Evaluated,
    model: &VideoModel,
    episodes: &Episodes,
    options: &EvalOptions,
    threads: usize,
    scratch: &Path,
) -> Outcome {
    let spec = episodes.spec();
    let span = (options.context + options.frames - 1) * spec.frame_skip + 1;
    let long = options.episodes.iter().filter(|episode| episodes.frames(**episode) >= span).take(CLIPS);
    let modes: &[(&str, bool)] =
        if report.condition.is_some() { &[("free", false), ("under G-buffers", true)] } else { &[("free", false)] };
    out.push_str("<h2>Truth, dream, difference</h2>");
    for &episode in long {
        let clip = episodes.clip(episode)?;
        for (name, gbuffer) in modes {
            let options = DreamOptions {
                context: options.context,
                frames: options.frames,
                steps: options.steps,
                seed: options.seed,
                gbuffer: *gbuffer,
            };
            let dreamed =
                compute::run(threads, || dream(model, spec, std::slice::from_ref(&clip), &[(0, 0)], &options))??;
            let Some(window) = dreamed.first() else { continue };
            let file = scratch.join("clip.mp4");
            write_clip(&file, window, spec.picture_height(), spec.width, spec.rate(), true)?;
            let bytes = std::fs::read(&file).map_err(|error| Failure::io("reading", &file, &error))?;
            let _ = write!(
                out,
                "<figure><video src=\"{}\" autoplay loop muted controls playsinline></video><figcaption>episode {episode}, \
                 {name}: {} true frames, then the dream</figcaption></figure>",
                data_uri("video/mp4", &bytes),
                options.context
            );
        }
    }
    Ok(())
}
