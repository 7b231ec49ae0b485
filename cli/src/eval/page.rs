//! The evaluation for people: the table, curves over the horizon, clips of truth and dream.

use std::fmt::Write as _;
use std::path::{Component, Path};

use worldloom_models::VideoModel;
use worldloom_models::compute;
use worldloom_models::data::Episodes;
use worldloom_models::dream::{DreamOptions, dream};
use worldloom_models::evaluate::{EvalOptions, Scores};
use worldloom_models::train::write_clip;

use super::{ClipFile, Evaluated, FORMAT_VERSION, shown, tables};
use crate::failure::{Failure, Outcome};
use crate::report::{self, Line, TimeAxis, chart, data_uri, escape};

/// Episodes shown as clips.
const CLIPS: usize = 3;
/// The evaluation in its folder.
pub const FILE: &str = "evaluation.json";

/// Writes `evaluation.json`, its clips and `index.html` to `folder`.
pub fn write(
    folder: &Path,
    report: &mut Evaluated,
    model: &VideoModel,
    episodes: &Episodes,
    options: &EvalOptions,
    threads: usize,
) -> Outcome {
    std::fs::create_dir_all(folder).map_err(|error| Failure::io("creating", folder, &error))?;
    clips(folder, report, model, episodes, options, threads)?;
    let put = |name: &str, text: String| {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(|error| Failure::io("writing", &path, &error))
    };
    put(FILE, crate::terminal::json_line(report)?)?;
    let section = section(folder, report)?;
    put("index.html", report::plain_page(&format!("World model of {}", report.world), &section))
}

/// The evaluation in `folder`, if there is one.
pub fn read(folder: &Path) -> Outcome<Option<Evaluated>> {
    let path = folder.join(FILE);
    if !path.is_file() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(&path).map_err(|error| Failure::io("reading", &path, &error))?;
    let wrong = |error: serde_json::Error| Failure::bad_input(format!("{}: {error}", path.display()), "");
    #[derive(serde::Deserialize)]
    struct Versioned {
        format_version: u32,
    }
    let found = serde_json::from_str::<Versioned>(&text).map_err(wrong)?.format_version;
    if found != FORMAT_VERSION {
        let what = format!("{}: format version {found}; this program reads {FORMAT_VERSION}", path.display());
        return Err(Failure::bad_input(what, "run `worldloom eval` again"));
    }
    serde_json::from_str(&text).map(Some).map_err(wrong)
}

/// The evaluation as a section of a page, its clips from `folder` inside it.
pub fn section(folder: &Path, report: &Evaluated) -> Outcome<String> {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = write!(
        out,
        "<section id=\"world-model\"><h2>World model of {}</h2><p>{} windows of {} true and {} dreamed frames at {} Hz, {}×{} \
         pixels, {} denoising steps a frame; {}. Moving pixels change by more than 12 of 255 from one true frame to the \
         next; objects are those that travel at least 2 pixels within a window. True frames come with their motion where the \
         data has it. Sharpness is 1 where it is the truth's; flicker 0; permanence is the share of the objects that are \
         still there; staying is how far off an object is that does not move.</p>",
        escape(&report.world),
        report.found.windows,
        report.context,
        report.frames,
        report.fps,
        report.size[0],
        report.size[1],
        report.steps,
        if report.held_out { "held out of training, or of another dataset" } else { "seen in training" }
    );
    for clip in &report.clips {
        // A page is passed on: it takes nothing from elsewhere.
        if Path::new(&clip.file).components().ne([Component::Normal(clip.file.as_ref())]) {
            return Err(Failure::bad_input(
                format!("{}: clip `{}` is no file beside it", folder.display(), clip.file),
                "",
            ));
        }
        let file = folder.join(&clip.file);
        let bytes = std::fs::read(&file).map_err(|error| Failure::io("reading", &file, &error))?;
        let _ = write!(
            out,
            "<figure><video src=\"{}\" autoplay loop muted controls playsinline></video><figcaption>{}</figcaption></figure>",
            data_uri("video/mp4", &bytes),
            escape(&clip.caption)
        );
    }
    table(&mut out, report);
    curves(&mut out, report);
    measures(&mut out, report);
    out.push_str("</section>");
    Ok(out)
}

fn modes(report: &Evaluated) -> impl Iterator<Item = (&'static str, &Scores)> {
    let all = [
        ("next frame from a true past", Some(&report.found.next)),
        ("free dream", Some(&report.found.free)),
        ("dream under the G-buffers of physics", report.found.condition.as_ref()),
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
    if let Some(error) = report.found.true_centroid_error {
        let _ = write!(out, "<p>Centroids in true frames are found within {error:.2} pixels.</p>");
    }
    if let Some(poses) = super::poses_line(report) {
        let _ = write!(out, "<p>{}.</p>", escape(&poses));
    }
}

/// What is measured besides pixels.
fn measures(out: &mut String, report: &Evaluated) {
    for table in tables::tables(report) {
        let _ = write!(out, "<h3>{}</h3>", escape(table.title));
        if let Some((head, rows)) = table.rows.split_first() {
            let cells = |row: &[String], tag: &str| -> String {
                row.iter().map(|cell| format!("<{tag}>{}</{tag}>", escape(cell))).collect()
            };
            let _ = write!(out, "<table><thead><tr>{}</tr></thead><tbody>", cells(head, "th"));
            for row in rows {
                let (name, values) = row.split_at(1.min(row.len()));
                let _ = write!(out, "<tr>{}{}</tr>", cells(name, "th"), cells(values, "td"));
            }
            out.push_str("</tbody></table>");
        }
        let _ = write!(out, "<p>{}</p>", escape(table.note.trim_end()));
    }
}

fn curves(out: &mut String, report: &Evaluated) {
    let line = |name: &str, curve: &[Option<f64>]| Line {
        name: name.to_owned(),
        values: curve.iter().map(|value| value.map_or(f32::NAN, |value| value as f32)).collect(),
    };
    let told = report.found.condition.as_ref();
    let both = |name: &str, pick: fn(&Scores) -> &[Option<f64>], copy: fn(&Scores) -> &[Option<f64>]| {
        let mut lines = vec![line("free", pick(&report.found.free))];
        lines.extend(told.map(|found| line("under G-buffers", pick(found))));
        lines.push(line(name, copy(&report.found.free)));
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
    folder: &Path,
    report: &mut Evaluated,
    model: &VideoModel,
    episodes: &Episodes,
    options: &EvalOptions,
    threads: usize,
) -> Outcome {
    let spec = episodes.spec();
    let span = (options.context + options.frames - 1) * spec.frame_skip + 1;
    let long = options.episodes.iter().filter(|episode| episodes.frames(**episode) >= span).take(CLIPS);
    let modes: &[(&str, &str, bool)] = if report.found.condition.is_some() {
        &[("free", "the model alone", false), ("condition", "told the G-buffers of physics", true)]
    } else {
        &[("free", "the model alone", false)]
    };
    for &episode in long {
        let clip = episodes.clip(episode)?;
        for (name, words, gbuffer) in modes {
            let options = DreamOptions {
                context: options.context,
                frames: options.frames,
                steps: options.steps,
                still: options.still,
                seed: options.seed,
                gbuffer: *gbuffer,
                guidance: options.guidance,
            };
            let dreamed =
                compute::run(threads, || dream(model, spec, std::slice::from_ref(&clip), &[(0, 0)], &options))??;
            let Some(window) = dreamed.first() else { continue };
            let file = format!("{name}-{episode}.mp4");
            write_clip(&folder.join(&file), window, spec.picture_height(), spec.width, spec.rate(), true)?;
            let caption =
                format!("episode {episode}: truth, dream, difference; {} true frames, then {words}", options.context);
            report.clips.push(ClipFile { file, caption });
        }
    }
    Ok(())
}
