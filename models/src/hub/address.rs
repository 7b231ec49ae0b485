//! `hf://user/repo[@rev]`.

use std::fmt;
use std::path::Path;

use schemars::JsonSchema;
use serde::Serialize;

use crate::error::{Error, Result};

/// How an address begins.
const SCHEME: &str = "hf://";
/// The branch where none is named.
pub(super) const MAIN: &str = "main";
/// Characters of a user's or a repository's name, as the hub has it.
const NAME_LENGTH: usize = 96;
/// Characters of a revision.
const REVISION_LENGTH: usize = 255;

/// Kinds of repositories.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RepoKind {
    /// Datasets.
    Dataset,
    /// Models: checkpoints.
    Model,
}

impl RepoKind {
    /// In the paths of the API, and in prefixes: `datasets`, `models`.
    pub(super) fn plural(self) -> &'static str {
        match self {
            Self::Dataset => "datasets",
            Self::Model => "models",
        }
    }

    /// What the API calls it.
    pub(super) fn singular(self) -> &'static str {
        match self {
            Self::Dataset => "dataset",
            Self::Model => "model",
        }
    }

    /// In front of a repository's name in its pages' addresses.
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Self::Dataset => "datasets/",
            Self::Model => "",
        }
    }
}

/// A repository of the hub, and a revision of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// `user/repo`.
    pub repo: String,
    /// What it holds.
    pub kind: RepoKind,
    /// A branch, a tag, or a commit.
    pub revision: String,
}

impl Address {
    /// True if `path` is meant to be one, right or wrong.
    pub fn is_one(path: &Path) -> bool {
        path.to_str().is_some_and(|text| text.starts_with(SCHEME))
    }

    /// Parses `hf://user/repo[@rev]`, where a repository of `kind` is wanted. `hf://datasets/user/repo` and
    /// `hf://models/user/repo`, as other programs write it, are the same if they agree.
    ///
    /// # Errors
    /// [`Error::HubAddress`] for what is none.
    pub fn parse(text: &str, kind: RepoKind) -> Result<Self> {
        let wrong = |problem: String| Error::HubAddress { text: text.to_owned(), problem };
        let form = || wrong("an address on the hub is written hf://user/repo, or hf://user/repo@revision".to_owned());
        let rest = text.strip_prefix(SCHEME).ok_or_else(form)?;
        let (repo, revision) = match rest.split_once('@') {
            Some((repo, revision)) => (repo, revision),
            None => (rest, MAIN),
        };
        let parts: Vec<&str> = repo.trim_end_matches('/').split('/').collect();
        let (user, name) = match parts.as_slice() {
            [user, name] => (*user, *name),
            [prefix, user, name] if *prefix == kind.plural() => (*user, *name),
            [prefix @ ("datasets" | "models" | "spaces"), ..] if *prefix != kind.plural() => {
                return Err(wrong(format!("a {} is wanted here, and this is one of the {prefix}", kind.singular())));
            }
            _ => return Err(form()),
        };
        for part in [user, name] {
            if !is_name(part) {
                return Err(wrong(format!(
                    "`{part}` is no name on the hub: letters, digits, `-`, `_` and `.`, at most {NAME_LENGTH}, \
                     none of `-`, `.` at either end, no `--` or `..`"
                )));
            }
        }
        if !is_revision(revision) {
            return Err(wrong(format!("`{revision}` is no branch, tag or commit")));
        }
        Ok(Self { repo: format!("{user}/{name}"), kind, revision: revision.to_owned() })
    }

    /// The commit, if the revision is one.
    pub(super) fn commit(&self) -> Option<&str> {
        is_commit(&self.revision).then_some(self.revision.as_str())
    }

    /// `hf://user/repo@commit`: what a record of where something came from says.
    pub(super) fn at(&self, commit: &str) -> String {
        format!("{SCHEME}{}@{commit}", self.repo)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.repo)?;
        if self.revision != MAIN {
            write!(f, "@{}", self.revision)?;
        }
        Ok(())
    }
}

fn is_name(text: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let edge = |c: char| matches!(c, '-' | '.');
    (1..=NAME_LENGTH).contains(&text.len())
        && text.chars().all(legal)
        && !text.starts_with(edge)
        && !text.ends_with(edge)
        && !text.contains("--")
        && !text.contains("..")
}

/// A revision is a path under `refs` in the cache too, and leads to no other place.
fn is_revision(text: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | '+');
    text.len() <= REVISION_LENGTH
        && text.chars().all(legal)
        && text.split('/').all(|part| !part.is_empty() && !part.starts_with(['.', '-']) && !part.ends_with('.'))
        && !text.contains("..")
}

/// 40 lower-case hexadecimal digits.
pub(super) fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_parsed_and_shown_as_they_were_typed() {
        let parse = |text| Address::parse(text, RepoKind::Dataset).unwrap();
        let plain = parse("hf://you/push");
        assert_eq!((plain.repo.as_str(), plain.revision.as_str()), ("you/push", "main"));
        assert_eq!(plain.to_string(), "hf://you/push");
        let tagged = parse("hf://you/push@v1.0");
        assert_eq!((tagged.revision.as_str(), tagged.to_string().as_str()), ("v1.0", "hf://you/push@v1.0"));
        assert_eq!(parse("hf://datasets/you/push@refs/pr/3").revision, "refs/pr/3");
        let commit = "0123456789abcdef0123456789abcdef01234567";
        assert_eq!(parse(&format!("hf://you/push@{commit}")).commit(), Some(commit));
        assert_eq!(plain.commit(), None);
    }

    #[test]
    fn what_is_no_address_says_what_one_is() {
        for (text, words) in [
            ("hf://push", "hf://user/repo"),
            ("hf://", "hf://user/repo"),
            ("hf:///push", "no name"),
            ("hf://you/push/data", "hf://user/repo"),
            ("hf://../push", "no name"),
            ("hf://you/..", "no name"),
            ("hf://you/a--b", "no name"),
            ("hf://you/pu sh", "no name"),
            ("hf://you/push@", "no branch"),
            ("hf://you/push@../../etc", "no branch"),
            ("hf://you/push@a//b", "no branch"),
            ("hf://you/push@-x", "no branch"),
            ("hf://models/you/push", "a dataset is wanted"),
            ("hf://spaces/you/push", "a dataset is wanted"),
        ] {
            let error = Address::parse(text, RepoKind::Dataset).expect_err(text).to_string();
            assert!(error.contains(words) && error.contains(text), "{text}: {error}");
        }
    }
}
