//! What `eval` measures besides pixels, as tables that the text and the page share.

use worldloom_models::evaluate::{Distances, Ends, Fit, Scores, SetDistances};

use super::Evaluated;
use crate::terminal::three_figures;

/// Numbers with what they mean.
pub struct Table {
    /// What is measured.
    pub title: &'static str,
    /// Head, then a row for each thing measured; the first cell names it.
    pub rows: Vec<Vec<String>>,
    /// How to read them.
    pub note: String,
}

/// All of a report that have something to say.
pub fn tables(report: &Evaluated) -> Vec<Table> {
    [ends(report), perceptual(report), distances(report), spread(report), following(report)]
        .into_iter()
        .flatten()
        .collect()
}

/// Three figures, or a dash.
fn shown(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), three_figures)
}

fn row(name: &str, values: impl IntoIterator<Item = Option<f64>>) -> Vec<String> {
    std::iter::once(name.to_owned()).chain(values.into_iter().map(shown)).collect()
}

fn head(names: &[&str]) -> Vec<String> {
    std::iter::once("").chain(names.iter().copied()).map(str::to_owned).collect()
}

fn modes(report: &Evaluated) -> impl Iterator<Item = (&'static str, &Scores)> {
    let all = [
        ("next frame", Some(&report.found.next)),
        ("free dream", Some(&report.found.free)),
        ("conditioned", report.found.condition.as_ref()),
    ];
    all.into_iter().filter_map(|(name, scores)| Some((name, scores?)))
}

fn ends(report: &Evaluated) -> Option<Table> {
    let of = |name: &'static str, end: &Ends| {
        let calibration = end.calibration.as_ref().map(|calibration| calibration.error);
        let (precision, recall) = (end.windows.precision, end.windows.recall);
        let brier = [Some(end.brier), Some(end.base_brier), end.auroc, calibration];
        row(name, [Some(end.accuracy), Some(end.never_accuracy), precision, recall].into_iter().chain(brier))
    };
    let mut rows = vec![head(&["right", "never", "precision", "recall", "Brier", "base Brier", "AUROC", "ECE"])];
    rows.extend(modes(report).filter_map(|(name, scores)| Some(of(name, scores.end.as_ref()?))));
    let true_ends = report.found.next.end.as_ref().map_or(0, |end| end.windows.true_ends);
    let note = match true_ends {
        0 => "No episode ends within these windows, so that it cannot be said whether ends are found.".to_owned(),
        ends => format!(
            "{ends} ends. Right: share of the frames of which it is told whether they are an episode's last; never: the \
             same of always saying no. Precision and recall within a frame. Base: always saying how often frames are an end. ECE: \
             expected calibration error of the probability."
        ),
    };
    (rows.len() > 1).then_some(Table { title: "ends of episodes", rows, note })
}

fn perceptual(report: &Evaluated) -> Option<Table> {
    let mut rows = vec![head(&["LPIPS", "copying"])];
    rows.extend(
        modes(report)
            .filter(|(_, scores)| scores.lpips.is_some())
            .map(|(name, scores)| row(name, [scores.lpips, scores.copy_lpips])),
    );
    let note = format!("Perceptual distance with the weights of {}; 0 is the same.", report.lpips.as_deref()?);
    Some(Table { title: "perceptual distance", rows, note })
}

fn distances(report: &Evaluated) -> Option<Table> {
    let mut rows = vec![head(&["floor", "next frame", "free dream", "conditioned", "copying"])];
    let mut missing = Vec::new();
    let sets = [
        ("motion", Some(&report.found.motion)),
        ("own encoder", Some(&report.found.encoder)),
        ("I3D", report.found.video.as_ref()),
    ];
    let mut windows = 0;
    for (name, set) in sets {
        let Some(SetDistances { dim, frechet, kernel, missing: why, .. }) = set else { continue };
        windows = windows.max(set.map_or(0, |set| set.windows));
        let of = |what: &str, found: &Distances| {
            let Distances { floor, copy, next, free, condition } = *found;
            row(&format!("{name}, {what}"), [Some(floor), Some(next), Some(free), condition, Some(copy)])
        };
        rows.extend(frechet.as_ref().map(|found| of(&format!("Fréchet of {dim}"), found)));
        rows.extend(kernel.as_ref().map(|found| of("kernel", found)));
        missing.extend(why.as_ref().map(|why| format!("{name}: {why}.")));
    }
    let mut note = match rows.len() {
        1 => String::new(),
        _ => format!(
            "Distances between sets of {windows} windows that share no episode; the floor is that of truth from truth. A \
             Fréchet distance of more numbers than windows is too large, all along the row alike. In its own features a model is \
             judged leniently: compare its modes, not models. "
        ),
    };
    note += &missing.join(" ");
    Some(Table { title: "distance of dreams from truth, as sets", rows, note })
}

fn spread(report: &Evaluated) -> Option<Table> {
    let spread = report.found.spread.as_ref()?;
    let mut rows = vec![head(&["expected error", "error", "ratio", "correlation", "50%", "80%", "90%", "95%"])];
    for (name, found) in [("all pixels", Some(&spread.all)), ("moving pixels", spread.moving.as_ref())] {
        let Some(found) = found else { continue };
        let first = [Some(found.spread), Some(found.error), found.ratio, found.correlation];
        rows.push(row(name, first.into_iter().chain(found.coverage.iter().map(|point| Some(point.found)))));
    }
    let note = format!(
        "{} dreams of each of {} windows, by other noise, in steps of 255. Ratio of the error that their spread \
         expects to the error of their mean: 1 is honest, below is too sure. Then how often the truth lies within the interval that \
         claims so many percent.",
        spread.dreams, spread.windows
    );
    Some(Table { title: "what the spread of dreams says of their error", rows, note })
}

fn following(report: &Evaluated) -> Option<Table> {
    let title = "actions read off the pictures, R²";
    let Some(found) = &report.found.following else {
        let missing = report.inverse.as_ref()?.missing.as_ref()?;
        return Some(Table { title, rows: Vec::new(), note: format!("Not measured: {missing}.") });
    };
    let names: Vec<&str> = std::iter::once("all").chain(found.actions.iter().map(String::as_str)).collect();
    let mut rows = vec![head(&names)];
    let swapped = found.swapped.as_ref();
    let lines: [(&str, Option<&Fit>); 7] = [
        ("true frames", Some(&found.truth)),
        ("next frame", found.next.as_ref()),
        ("free dream", found.free.as_ref()),
        ("conditioned", found.condition.as_ref()),
        ("copying", found.copy.as_ref()),
        ("swapped actions, those given", swapped.map(|swapped| &swapped.given)),
        ("swapped actions, the true ones", swapped.map(|swapped| &swapped.own)),
    ];
    for (name, fit) in lines {
        let Some(fit) = fit else { continue };
        rows.push(row(name, std::iter::once(fit.r_squared).chain(fit.by_action.iter().copied())));
    }
    let note = match &found.cannot_tell {
        Some(why) => format!("{}{}.", why[..1].to_uppercase(), &why[1..]),
        None => "1: all that was done can be read off; 0: no better than the mean. The row of the true frames is the ruler's own \
                 error. Dreams under the actions of another episode should show those given, and not the true ones."
            .to_owned(),
    };
    Some(Table { title, rows, note })
}
