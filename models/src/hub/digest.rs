//! The two digests of the hub: SHA-256 of large files, git's hash of the others.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use sha1::{Digest as _, Sha1};
use sha2::Sha256;

use crate::error::Result;
use crate::files::io;

/// Bytes read at once.
const BUFFER: usize = 1 << 16;

/// What a file's content is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// SHA-256 of the content (files in LFS or Xet).
    Sha256(String),
    /// SHA-1 of `blob LENGTH\0` and the content, as git has it.
    Git(String),
}

impl Expected {
    /// Hexadecimal; names the blob in the cache.
    pub(super) fn hex(&self) -> &str {
        match self {
            Self::Sha256(hex) | Self::Git(hex) => hex,
        }
    }

    /// True for a digest of the right length; what is not becomes no file name.
    pub(super) fn is_legal(&self) -> bool {
        let length = match self {
            Self::Sha256(_) => 64,
            Self::Git(_) => 40,
        };
        self.hex().len() == length && self.hex().bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    }
}

/// What a file has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sums {
    /// Bytes.
    pub size: u64,
    /// SHA-256, hexadecimal.
    pub sha256: String,
    /// Git's hash, hexadecimal.
    pub git: String,
}

impl Sums {
    /// The digest of the kind that is expected.
    pub(super) fn like(&self, expected: &Expected) -> &str {
        match expected {
            Expected::Sha256(_) => &self.sha256,
            Expected::Git(_) => &self.git,
        }
    }
}

/// Reads a file.
///
/// # Errors
/// [`crate::Error::Io`].
pub(super) fn sums(path: &Path) -> Result<Sums> {
    let mut file = File::open(path).map_err(io("reading", path))?;
    let size = file.metadata().map_err(io("reading", path))?.len();
    let (mut sha256, mut git) = (Sha256::new(), Sha1::new());
    git.update(format!("blob {size}\0"));
    let mut buffer = vec![0; BUFFER];
    loop {
        let count = file.read(&mut buffer).map_err(io("reading", path))?;
        if count == 0 {
            break;
        }
        sha256.update(&buffer[..count]);
        git.update(&buffer[..count]);
    }
    Ok(Sums { size, sha256: hex(&sha256.finalize()), git: hex(&git.finalize()) })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `git hash-object` and `sha256sum` of the same bytes.
    #[test]
    fn digests_are_those_of_git_and_sha256sum() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        for (content, sha256, git) in [
            (
                "",
                "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
                "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391",
            ),
            (
                "hello\n",
                "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",
                "ce013625030ba8dba906f756967f9e9ca394464a",
            ),
        ] {
            std::fs::write(&path, content).unwrap();
            let found = sums(&path).unwrap();
            assert_eq!((found.sha256.as_str(), found.git.as_str()), (sha256, git));
            assert_eq!(found.size, content.len() as u64);
        }
    }

    #[test]
    fn what_is_no_digest_is_not_legal() {
        assert!(Expected::Git("e69de29bb2d1d6434b8b29ae775ad8c2e48c5391".into()).is_legal());
        for wrong in ["", "../../x", "E69DE29BB2D1D6434B8B29AE775AD8C2E48C5391", "e69d"] {
            assert!(!Expected::Git(wrong.into()).is_legal(), "{wrong}");
            assert!(!Expected::Sha256(wrong.into()).is_legal(), "{wrong}");
        }
    }
}
