//! The two streams: results on stdout (quiet when its reader is gone), progress on stderr when it is a terminal.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use worldloom_models::hub::Watch;

use crate::failure::{Failure, Outcome};

/// Writes text to stdout as it is.
pub fn print(text: &str) -> Outcome {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(stdout_failure)
}

/// Writes a value to stdout as indented JSON and a newline.
pub fn print_json<T: Serialize>(value: &T) -> Outcome {
    let text = serde_json::to_string_pretty(value).map_err(json_failure)?;
    print(&(text + "\n"))
}

/// A value as JSON without a newline.
pub fn json<T: Serialize>(value: &T) -> Outcome<String> {
    serde_json::to_string(value).map_err(json_failure)
}

/// A value as JSON on one line, with a newline.
pub fn json_line<T: Serialize>(value: &T) -> Outcome<String> {
    json(value).map(|text| text + "\n")
}

/// Says something on stderr that is neither a result nor a failure.
pub fn note(text: &str) {
    // Nowhere is left to say that stderr is closed.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

fn stdout_failure(error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::ClosedPipe,
        _ => Failure::failed(format!("cannot write to stdout: {error}"), ""),
    }
}

fn json_failure(error: serde_json::Error) -> Failure {
    Failure::failed(format!("cannot write JSON: {error}"), "")
}

/// A progress line on stderr, which shows nothing where that is no terminal.
fn hidden_unless_terminal(length: Option<u64>) -> ProgressBar {
    let target = if io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    ProgressBar::with_draw_target(length, target)
}

/// A progress line with rate and time left; nothing at all when stderr is not a terminal.
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Begins to count to `total` of `unit`.
    pub fn new(total: u64, unit: &str) -> Self {
        let bar = hidden_unless_terminal(Some(total));
        let template = format!("{{bar:28}} {{pos}}/{{len}} {unit} {{msg}}, {{elapsed}} gone, {{eta}} left");
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.enable_steady_tick(Duration::from_millis(250));
        Self { bar }
    }

    /// Counts one more; `message` stands behind the count.
    pub fn advance(&self, message: String) {
        self.bar.set_message(message);
        self.bar.inc(1);
    }

    /// `done` of `all` are done.
    pub fn at(&self, done: u64, all: u64) {
        self.bar.set_length(all);
        self.bar.set_position(done);
    }

    /// Takes the line away.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

/// A progress line of bytes that come or go.
pub struct Transfer {
    bar: ProgressBar,
}

impl Transfer {
    /// Begins with nothing.
    pub fn new() -> Self {
        let bar = hidden_unless_terminal(None);
        let template = "{bar:28} {decimal_bytes}/{decimal_total_bytes}, {decimal_bytes_per_sec}, {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        Self { bar }
    }

    /// Takes the line away.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

impl Watch for Transfer {
    fn at(&mut self, done: u64, all: u64) {
        if self.bar.length() != Some(all) {
            self.bar.set_length(all);
        }
        self.bar.set_position(done);
    }

    /// Says a line above the progress.
    fn note(&mut self, line: &str) {
        self.bar.suspend(|| note(line));
    }
}

/// A progress line of a run whose length may become known on the way; only [`Steps::say`] shows where stderr is no terminal.
pub struct Steps {
    bar: ProgressBar,
}

impl Steps {
    /// Begins at step 0.
    pub fn new() -> Self {
        let bar = hidden_unless_terminal(None);
        if let Ok(style) = ProgressStyle::with_template("{pos} steps, {msg}, timing the first ones, {elapsed} gone") {
            bar.set_style(style);
        }
        Self { bar }
    }

    /// Step `step` of `steps` is done.
    pub fn at(&self, step: u64, steps: Option<u64>, message: String) {
        if let Some(steps) = steps
            && self.bar.length() != Some(steps)
        {
            let template = "{bar:28} {pos}/{len} steps, {msg}, {elapsed} gone, {eta} left";
            if let Ok(style) = ProgressStyle::with_template(template) {
                self.bar.set_style(style.progress_chars("=> "));
            }
            self.bar.set_length(steps);
        }
        if self.bar.position() == 0 && step > 1 {
            // A resumed run: what was done before took no time now.
            self.bar.set_position(step - 1);
            self.bar.reset_eta();
        }
        self.bar.set_message(message);
        self.bar.set_position(step);
    }

    /// Says a line above the progress.
    pub fn say(&self, line: &str) {
        self.bar.suspend(|| note(line));
    }

    /// Takes the line away.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

/// `1.4 MB`: decimal units, three figures.
pub fn human_bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = "B";
    for larger in ["kB", "MB", "GB", "TB", "PB"] {
        if value < 999.5 {
            break;
        }
        value /= 1000.0;
        unit = larger;
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{} {unit}", three_figures(value)) }
}

/// `1 episode`, `3 episodes`.
pub fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Three significant figures, without an exponent below a million.
pub fn three_figures(value: f64) -> String {
    // Zero has no sign.
    let value = if value == 0.0 { 0.0 } else { value };
    match value.abs() {
        size if !(0.001..1e6).contains(&size) && value != 0.0 => format!("{value:.2e}"),
        size if size >= 99.95 => format!("{value:.0}"),
        size if size >= 9.995 => format!("{value:.1}"),
        size if size >= 0.9995 || value == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// `3 minutes`, `1.2 s`.
pub fn human_secs(secs: f64) -> String {
    if secs < 100.0 {
        format!("{} s", three_figures(secs))
    } else {
        HumanDuration(Duration::from_secs_f64(secs)).to_string()
    }
}

/// Columns that line up, two spaces apart; `right` names the columns aligned to the right.
pub fn table(rows: &[Vec<String>], right: &[usize]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let pad = " ".repeat(widths[column] - cell.chars().count());
            if right.contains(&column) {
                line += &pad;
                line += cell;
            } else {
                line += cell;
                line += &pad;
            }
            line += "  ";
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_figures() {
        for (bytes, expected) in
            [(0, "0 B"), (999, "999 B"), (1_000, "1.00 kB"), (12_345_678, "12.3 MB"), (999_600, "1.00 MB")]
        {
            assert_eq!(human_bytes(bytes), expected);
        }
    }

    #[test]
    fn zero_has_no_sign() {
        assert_eq!(three_figures(-0.0), "0.00");
        assert_eq!(three_figures(-0.001), "-0.001");
    }

    #[test]
    fn columns_line_up() {
        let rows = vec![vec!["a".into(), "10".into()], vec!["long".into(), "5".into()]];
        assert_eq!(table(&rows, &[1]), "a     10\nlong   5\n");
    }
}
