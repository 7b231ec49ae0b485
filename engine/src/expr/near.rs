//! "Did you mean": names at a small edit distance.

/// Number of single-character insertions, deletions, substitutions and swaps of neighbours from `a`
/// to `b` (the optimal string alignment distance).
pub fn edit_distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 0..a.len() {
        let mut row = vec![i + 1];
        for j in 0..b.len() {
            let mut best = (above[j] + usize::from(a[i] != b[j])).min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

/// Up to three of `candidates` near `name`, nearest first: a third of its letters may differ, or
/// it may be a part of the candidate.
pub fn near<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let allowed = (name.chars().count() / 3).max(1);
    let mut found: Vec<(usize, &str)> = Vec::new();
    for candidate in candidates {
        let distance = edit_distance(name, candidate);
        let close = distance <= allowed;
        let part = name.len() >= 2 && (candidate.contains(name) || candidate.rsplit('.').next() == Some(name));
        if (close || part) && !found.iter().any(|(_, known)| *known == candidate) {
            found.push((distance, candidate));
        }
    }
    found.sort_by_key(|(distance, _)| *distance);
    found.into_iter().take(3).map(|(_, candidate)| candidate).collect()
}

/// `did you mean a, b?`, or the whole list if nothing is near and it is short, or nothing.
pub fn suggestion<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str> + Clone) -> String {
    let close = near(name, candidates.clone());
    if !close.is_empty() {
        return format!("did you mean {}?", close.join(", "));
    }
    let all: Vec<&str> = candidates.into_iter().collect();
    match all.len() {
        0 => "there are none".into(),
        1..=12 => format!("there are: {}", all.join(", ")),
        more => format!("there are {more}: {}, …", all[..8].join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_slip_finds_its_name_and_nonsense_finds_none() {
        assert_eq!(near("mgu", ["table", "mug"]), ["mug"]);
        assert_eq!(near("mugg", ["table", "mug"]), ["mug"]);
        assert_eq!(near("tip", ["arm.tip", "mug"]), ["arm.tip"]);
        assert_eq!(near("zzzz", ["table", "mug"]), Vec::<&str>::new());
    }

    #[test]
    fn edit_distance_counts_the_fewest_edits() {
        assert_eq!(edit_distance("kitten", "sitting"), 3);
        assert_eq!(edit_distance("", "abc"), 3);
        assert_eq!(edit_distance("spede", "speed"), 1);
        assert_eq!(edit_distance("same", "same"), 0);
    }
}
