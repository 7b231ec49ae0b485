//! `replay`: actions from a file.
//!
//! CSV (numbers separated by commas; lines that begin with `#` and a first line of names are
//! skipped) or JSON lines (each `[…]`, or an object with an `action` of numbers), one row for each
//! control step; the last row holds.

use super::Drive;
use super::seat::Seat;
use crate::assets::Assets;
use crate::error::{Error, Result};
use crate::policy::PolicyInput;

pub(super) struct Replay {
    rows: Vec<Vec<f32>>,
}

impl Replay {
    pub fn new(file: &str, seat: &Seat, assets: &Assets) -> Result<Self> {
        let bytes = assets.read(file)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| Error::asset(file, "is not UTF-8 text"))?;
        let rows = read_rows(text).map_err(|problem| Error::asset(file, problem))?;
        for (index, row) in rows.iter().enumerate() {
            seat.expect_width(row.len(), &format!("row {} of {file}", index + 1), ".file")?;
        }
        Ok(Self { rows })
    }
}

fn read_rows(text: &str) -> Result<Vec<Vec<f32>>, String> {
    let mut rows = Vec::new();
    let mut first = true;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let row = match line.chars().next() {
            Some('[' | '{') => json_row(line),
            _ => line
                .split(',')
                .map(|cell| cell.trim().parse::<f32>().map_err(|_| format!("`{cell}` is no number")))
                .collect(),
        };
        match row {
            Ok(row) if row.iter().all(|value: &f32| value.is_finite()) => rows.push(row),
            Ok(_) => return Err(format!("line {}: a number is not finite", index + 1)),
            // A heading of names.
            Err(_) if first && !line.starts_with(['[', '{']) => {}
            Err(problem) => return Err(format!("line {}: {problem}", index + 1)),
        }
        first = false;
    }
    if rows.is_empty() { Err("has no rows of numbers".into()) } else { Ok(rows) }
}

fn json_row(line: &str) -> Result<Vec<f32>, String> {
    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum Row {
        Bare(Vec<f32>),
        Named { action: Vec<f32> },
    }
    match serde_json::from_str(line) {
        Ok(Row::Bare(row) | Row::Named { action: row }) => Ok(row),
        Err(_) => Err("expected a JSON array of numbers, or an object with an `action` of numbers".into()),
    }
}

impl Drive for Replay {
    fn drive(&mut self, _seat: &Seat, input: &PolicyInput<'_>, values: &mut [f32]) -> Result<()> {
        let index = (input.state.step as usize).min(self.rows.len() - 1);
        values.copy_from_slice(&self.rows[index]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::read_rows;

    #[test]
    fn both_forms_are_read_and_bad_lines_are_named() {
        let expected = Ok(vec![vec![1.0, -2.5], vec![3.0, 4.0]]);
        assert_eq!(read_rows("left, right\n# comment\n1, -2.5\n\n3,4\n"), expected);
        assert_eq!(read_rows("[1, -2.5]\n{\"action\": [3, 4], \"t\": 1}\n"), expected);
        for (text, part) in [
            ("1,2\n3,x\n", "line 2: `x`"),
            ("a,b\nc,d\n", "line 2"),
            ("", "no rows"),
            ("[1, 2\n", "line 1"),
            ("1,nan\n", "not finite"),
        ] {
            let problem = read_rows(text).err().unwrap_or_default();
            assert!(problem.contains(part), "{text:?}: {problem}");
        }
    }
}
