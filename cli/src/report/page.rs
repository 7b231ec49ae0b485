//! The page: one HTML file with its style, script, videos and pictures inside.

use std::fmt::Write as _;

use worldloom_datasets::EventRow;
use worldloom_engine::frame::Outcome as EpisodeOutcome;
use worldloom_engine::scene::ParamValue;

use super::chart::{Line, MOST_LINES, TimeAxis, chart};
use super::html::{data_uri, escape};
use crate::colour::instance_colour;
use crate::replay::{Replayed, Verdict};
use crate::terminal::{counted, human_bytes, three_figures};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// All that is shown of a dataset.
pub struct DatasetShown {
    /// Name of its scenario.
    pub name: String,
    /// What it is about.
    pub description: String,
    /// The instruction in words.
    pub task: String,
    /// Folder, as given.
    pub folder: String,
    /// Episodes with frames.
    pub episodes: u64,
    /// Frames of all episodes.
    pub frames: u64,
    /// Episodes whose success held at the last frame; `None` if the scenario does not define it.
    pub successes: Option<u64>,
    /// Bytes of all files.
    pub bytes: u64,
    /// Frames a second.
    pub fps: u32,
    /// `arm + gripper`, or nothing.
    pub robot: Option<String>,
    /// Seed of the run.
    pub seed: u64,
    /// Codec, preset and quality.
    pub encoding: String,
    /// The episodes shown.
    pub shown: Vec<EpisodeShown>,
}

/// All that is shown of an episode.
pub struct EpisodeShown {
    /// Number in the run.
    pub number: u64,
    /// Frames.
    pub frames: u64,
    /// Why it ended.
    pub outcome: EpisodeOutcome,
    /// Success at the last frame.
    pub success: bool,
    /// Every value that chance decided: name, value, log-probability.
    pub draws: Vec<(String, ParamValue, Option<f64>)>,
    /// By camera.
    pub cameras: Vec<CameraShown>,
    /// Title and lines of each chart.
    pub charts: Vec<(String, Vec<Line>)>,
    /// Charts of the observation that are left out.
    pub charts_left_out: usize,
    /// What fired.
    pub events: Vec<EventRow>,
    /// Result of a replay, if there was one.
    pub replayed: Option<Replayed>,
    /// Names of the bodies, by instance id − 1.
    pub bodies: Vec<String>,
}

/// All that is shown of a camera.
pub struct CameraShown {
    /// Its name.
    pub name: String,
    /// Pixels across and down.
    pub size: [u32; 2],
    /// The colour pictures: media type and bytes of a video of the whole episode; a strip if there is no video.
    pub video: Option<(&'static str, Vec<u8>)>,
    /// Frames shown as stills, evenly spaced.
    pub stills: usize,
    /// Label images.
    pub strips: Vec<Strip>,
}

/// A label's stills.
pub struct Strip {
    /// What it shows.
    pub name: &'static str,
    /// A PNG of all stills, one above the other.
    pub png: Vec<u8>,
    /// The still at which there is no such label, and what to say there.
    pub none: Option<(usize, &'static str)>,
}

/// The whole page.
pub fn page(title: &str, datasets: &[DatasetShown], models: &[String]) -> String {
    let sum = |of: fn(&DatasetShown) -> u64| datasets.iter().map(of).sum::<u64>();
    let mut body = format!(
        "<header><h1>{}</h1><p>{}, {}, {} frames, {} · worldloom {}</p>{}</header><main>",
        escape(title),
        counted(datasets.len() as u64, "dataset"),
        counted(sum(|d| d.episodes), "episode"),
        thousands(sum(|d| d.frames)),
        human_bytes(sum(|d| d.bytes)),
        env!("CARGO_PKG_VERSION"),
        contents(datasets),
    );
    for model in models {
        body += model;
    }
    for dataset in datasets {
        section(&mut body, dataset);
    }
    body += "</main><footer>Videos are the dataset's own files; labels are drawn for people here and stored exactly in <code>annotations/</code>.</footer>";
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>{}</title><style>{STYLE}</style></head><body>{body}<script>{SCRIPT}</script></body></html>\n",
        escape(title)
    )
}

/// A page with the style of the reports around `body`.
pub fn plain(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>{}</title><style>{STYLE}</style></head><body><main>{body}</main></body></html>\n",
        escape(title)
    )
}

fn contents(datasets: &[DatasetShown]) -> String {
    if datasets.len() < 2 {
        return String::new();
    }
    let links: String =
        datasets.iter().map(|d| format!("<a href=\"#{0}\">{0}</a>", escape(&d.name))).collect::<Vec<_>>().join("");
    format!("<nav>{links}</nav>")
}

fn section(out: &mut String, dataset: &DatasetShown) {
    let _ = write!(
        out,
        "<section id=\"{0}\"><h2>{0}</h2><p class=\"lead\">{1}</p>",
        escape(&dataset.name),
        escape(&dataset.description)
    );
    if !dataset.task.is_empty() && dataset.task != dataset.name {
        let _ = write!(out, "<p class=\"task\">“{}”</p>", escape(&dataset.task));
    }
    let mut tiles = vec![
        ("episodes", dataset.episodes.to_string()),
        ("frames", thousands(dataset.frames)),
        ("rate", format!("{} fps", dataset.fps)),
    ];
    if let Some(successes) = dataset.successes {
        tiles.push(("success", format!("{:.0} %", 100.0 * successes as f64 / dataset.episodes.max(1) as f64)));
    }
    tiles.push(("size", human_bytes(dataset.bytes)));
    if let Some(robot) = &dataset.robot {
        tiles.push(("robot", robot.clone()));
    }
    tiles.push(("seed", dataset.seed.to_string()));
    tiles.push(("pictures", dataset.encoding.clone()));
    out.push_str("<dl class=\"tiles\">");
    for (name, value) in tiles {
        let _ = write!(out, "<div><dt>{name}</dt><dd>{}</dd></div>", escape(&value));
    }
    let _ = write!(out, "</dl><p class=\"path\"><code>{}</code></p>", escape(&dataset.folder));
    for (i, episode) in dataset.shown.iter().enumerate() {
        article(out, dataset, episode, i == 0);
    }
    out.push_str("</section>");
}

fn article(out: &mut String, dataset: &DatasetShown, episode: &EpisodeShown, open: bool) {
    let duration_secs = episode.frames as f64 / f64::from(dataset.fps.max(1));
    let _ = write!(
        out,
        "<details class=\"episode\" data-fps=\"{}\" data-frames=\"{}\"{}><summary><b>Episode {}</b> <span>{} frames, {} s</span> {}</summary>",
        dataset.fps,
        episode.frames,
        if open { " open" } else { "" },
        episode.number,
        episode.frames,
        three_figures(duration_secs),
        badges(dataset, episode)
    );
    for camera in &episode.cameras {
        stage(out, camera, episode.frames);
    }
    if episode.frames > 0 && !episode.cameras.is_empty() {
        out.push_str("<div class=\"transport\"><button type=\"button\" aria-label=\"play or pause\">❚❚</button><input type=\"range\" min=\"0\" max=\"1000\" value=\"0\" aria-label=\"time\"><output>0.00 s</output></div>");
    }
    let time = TimeAxis {
        end_secs: episode.frames.saturating_sub(1) as f64 / f64::from(dataset.fps.max(1)),
        frames: episode.frames,
        events: episode.events.iter().map(|event| (event.frame, event.name.clone())).collect(),
    };
    out.push_str("<div class=\"charts\">");
    for (title, lines) in &episode.charts {
        for (part, chunk) in lines.chunks(MOST_LINES).enumerate() {
            let title = if part == 0 { title.clone() } else { format!("{title} ({})", part + 1) };
            out.push_str(&chart(&title, chunk, &time));
        }
    }
    out.push_str("</div>");
    if episode.charts_left_out > 0 {
        let _ = write!(
            out,
            "<p class=\"note\">{} more of the observation not shown; the dataset has all.</p>",
            counted(episode.charts_left_out as u64, "chart")
        );
    }
    events(out, &episode.events);
    parameters(out, episode);
    proof(out, episode);
    out.push_str("</details>");
}

fn badges(dataset: &DatasetShown, episode: &EpisodeShown) -> String {
    let mut text = String::new();
    let mut badge = |class: &str, words: &str| {
        let _ = write!(text, "<span class=\"badge {class}\">{}</span>", escape(words));
    };
    if dataset.successes.is_some() {
        if episode.success { badge("good", "success") } else { badge("plain", "no success") }
    }
    match &episode.outcome {
        EpisodeOutcome::Truncated => {}
        EpisodeOutcome::Terminated => badge("plain", "terminated"),
        EpisodeOutcome::Diverged { .. } => badge("bad", "diverged"),
        EpisodeOutcome::Impossible { .. } => badge("bad", "impossible"),
    }
    match episode.replayed.as_ref().map(|replayed| replayed.verdict) {
        Some(Verdict::Proved) => badge("good", "replayed bit for bit"),
        Some(Verdict::Mismatch) => badge("bad", "replay differs"),
        Some(Verdict::OtherVersion) => badge("plain", "made by another version"),
        None => {}
    }
    text
}

/// The events that fired, with their times.
fn events(out: &mut String, events: &[EventRow]) {
    const MOST: usize = 40;
    if events.is_empty() {
        return;
    }
    out.push_str("<h3>Events</h3><p class=\"events\">");
    for event in events.iter().take(MOST) {
        let _ = write!(out, "<span><b>{:.2} s</b> {}</span>", event.time_secs, escape(&event.name));
    }
    if events.len() > MOST {
        let _ = write!(out, "<span>and {} more</span>", events.len() - MOST);
    }
    out.push_str("</p>");
}

fn stage(out: &mut String, camera: &CameraShown, frames: u64) {
    let [width, height] = camera.size;
    let _ = write!(out, "<div class=\"stage\" style=\"--ratio:{width}/{height}\">");
    if let Some((media_type, bytes)) = &camera.video {
        let _ = write!(
            out,
            "<figure class=\"main\"><video src=\"{}\" muted loop autoplay playsinline></video><figcaption>{} · colour, {width}×{height}</figcaption></figure>",
            data_uri(media_type, bytes),
            escape(&camera.name)
        );
    }
    out.push_str("<div class=\"labels\">");
    for Strip { name, png, none } in &camera.strips {
        let none = none.map_or(String::new(), |(at, text)| format!(" data-none-at=\"{at}\" data-none=\"{text}\""));
        let _ = write!(
            out,
            "<figure><div class=\"strip\" data-count=\"{}\"{none} style=\"background-image:url({});background-size:100% {}%\" role=\"img\" aria-label=\"{}\"></div><figcaption>{}</figcaption></figure>",
            camera.stills,
            data_uri("image/png", png),
            camera.stills * 100,
            escape(name),
            escape(name)
        );
    }
    out.push_str("</div></div>");
    if !camera.strips.is_empty() {
        let of = match camera.stills as u64 {
            all if all == frames => format!("every frame ({frames})"),
            stills => format!("{} of {}", counted(stills, "still"), counted(frames, "frame")),
        };
        let what = if camera.video.is_some() { "labels" } else { "pictures" };
        let _ =
            write!(out, "<p class=\"note\">{what}: {of}, now the one at <output class=\"still\">0.00 s</output></p>");
    }
}

fn parameters(out: &mut String, episode: &EpisodeShown) {
    if !episode.draws.is_empty() {
        out.push_str("<h3>What chance decided: value and log-probability</h3><div class=\"draws\">");
        for (name, value, log_prob) in &episode.draws {
            let log_prob =
                log_prob.map_or("–".to_owned(), |p| format!("{:.2}", if p.abs() < 0.005 { 0.0 } else { p }));
            let _ = write!(
                out,
                "<p><span>{}</span><b>{}</b><i>{log_prob}</i></p>",
                escape(name),
                escape(&value_text(value))
            );
        }
        out.push_str("</div>");
    }
    if !episode.bodies.is_empty() {
        out.push_str("<h3>Instances</h3><p class=\"swatches\">");
        for (i, name) in episode.bodies.iter().enumerate() {
            let [r, g, b] = instance_colour(u16::try_from(i + 1).unwrap_or(u16::MAX));
            let _ = write!(out, "<span><i style=\"background:rgb({r},{g},{b})\"></i>{}</span>", escape(name));
        }
        out.push_str("</p>");
    }
}

fn proof(out: &mut String, episode: &EpisodeShown) {
    let Some(replayed) = &episode.replayed else { return };
    out.push_str("<p class=\"proof\">");
    for (what, comparison) in [("scene", &replayed.scene), ("states", &replayed.states), ("pixels", &replayed.pixels)] {
        let digest: String = comparison.recorded.chars().take(16).collect();
        let mark = if comparison.same { "✓" } else { "✗" };
        let _ = write!(out, "<span>{mark} {what} <code>{digest}…</code></span>");
    }
    out.push_str("</p>");
}

fn value_text(value: &ParamValue) -> String {
    match value {
        ParamValue::Number(x) => three_figures(*x),
        ParamValue::Text(text) => text.clone(),
        ParamValue::Vector(xs) => format!("[{}]", xs.iter().map(|x| three_figures(*x)).collect::<Vec<_>>().join(", ")),
    }
}

fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_one_file_that_fetches_nothing() {
        let camera = CameraShown {
            name: "front".into(),
            size: [4, 4],
            video: Some(("video/mp4", vec![1, 2, 3])),
            stills: 2,
            strips: vec![Strip { name: "flow", png: vec![4, 5, 6], none: Some((0, "none at the first frame")) }],
        };
        let episode = EpisodeShown {
            number: 0,
            frames: 10,
            outcome: EpisodeOutcome::Truncated,
            success: true,
            draws: vec![("mass<".into(), ParamValue::Number(0.5), Some(-1.0))],
            cameras: vec![camera],
            charts: vec![("reward".into(), vec![Line { name: "reward".into(), values: vec![0.0, 1.0] }])],
            charts_left_out: 3,
            events: vec![EventRow { frame: 5, time_secs: 0.2, name: "gust".into() }],
            replayed: None,
            bodies: vec!["ball".into()],
        };
        let dataset = DatasetShown {
            name: "balls".into(),
            description: "Balls & boxes".into(),
            task: "watch".into(),
            folder: "out".into(),
            episodes: 1,
            frames: 1234,
            successes: Some(1),
            bytes: 1,
            fps: 25,
            robot: None,
            seed: 7,
            encoding: "h264".into(),
            shown: vec![episode],
        };
        let html = page("Demo", &[dataset], &[]);
        for outside in ["http://", "https://", "src=\"//", "@import", "href=\"/"] {
            assert!(!html.contains(outside), "the page refers to something outside: {outside}");
        }
        assert!(html.contains("data:video/mp4;base64,AQID"), "the video is inside");
        assert!(html.contains("labels: 2 stills of 10 frames"), "labels that are fewer than the frames say so");
        assert!(html.contains("data-none-at=\"0\""), "a frame without a label says so");
        assert!(html.contains("3 charts more of the observation not shown"), "charts that are left out are counted");
        assert!(html.contains("<b>0.20 s</b> gust"), "events have their times");
        assert!(html.contains("mass&lt;") && html.contains("Balls &amp; boxes"), "names are escaped");
        assert!(html.contains("1\u{202f}234"), "thousands are set apart");
    }
}
