//! What the environment says of the hub, as `huggingface_hub` reads it.

use std::fmt;
use std::path::PathBuf;

use crate::error::{Error, Result};

/// The hub.
pub(super) const HUB: &str = "https://huggingface.co";

/// Where the hub is, who asks, and where files are kept.
///
/// | variable | meaning |
/// |---|---|
/// | `HF_ENDPOINT` | the server; `https://huggingface.co` if absent |
/// | `HF_TOKEN`, `HUGGING_FACE_HUB_TOKEN` | who asks |
/// | `HF_TOKEN_PATH` | file with the token; `$HF_HOME/token` if absent |
/// | `HF_HOME` | `$XDG_CACHE_HOME/huggingface`, or `~/.cache/huggingface`, if absent |
/// | `HF_HUB_CACHE`, `HUGGINGFACE_HUB_CACHE` | the cache; `$HF_HOME/hub` if absent |
/// | `HF_HUB_OFFLINE` | 1: use the cache alone |
/// | `SSL_CERT_FILE`, `REQUESTS_CA_BUNDLE` | certificates (PEM) to trust instead of those built in |
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    pub(super) endpoint: String,
    pub(super) token: Option<String>,
    pub(super) cache: PathBuf,
    pub(super) offline: bool,
    pub(super) certificates: Option<PathBuf>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A token never gets into a log.
        f.debug_struct("Settings")
            .field("endpoint", &self.endpoint)
            .field("token", &self.token.as_ref().map(|_| "…"))
            .field("cache", &self.cache)
            .field("offline", &self.offline)
            .finish_non_exhaustive()
    }
}

impl Settings {
    /// Reads the process's environment.
    ///
    /// # Errors
    /// [`Error::HubSetting`] for a variable that cannot be used.
    pub fn from_env() -> Result<Self> {
        Self::from_variables(&|name| std::env::var(name).ok())
    }

    /// Reads the variables that `variable` knows.
    fn from_variables(variable: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let first = |names: &[&str]| {
            let said = |name: &&str| variable(name).map(|value| value.trim().to_owned());
            names.iter().filter_map(said).find(|value| !value.is_empty())
        };
        let folder = |text: String| match (text.strip_prefix("~/"), variable("HOME")) {
            (Some(rest), Some(home)) => PathBuf::from(home).join(rest),
            _ => PathBuf::from(text),
        };
        let endpoint = first(&["HF_ENDPOINT"]).unwrap_or_else(|| HUB.to_owned());
        let endpoint = endpoint.trim_end_matches('/').to_owned();
        let host = endpoint.strip_prefix("https://").or_else(|| endpoint.strip_prefix("http://"));
        if host.is_none_or(|host| host.is_empty() || host.contains(['?', '#', '@', ' '])) {
            let problem = "it is to be the address of a server, such as https://huggingface.co".to_owned();
            return Err(Error::HubSetting { variable: "HF_ENDPOINT", found: endpoint, problem });
        }
        let home = match (first(&["HF_HOME"]), first(&["XDG_CACHE_HOME"]), first(&["HOME", "USERPROFILE"])) {
            (Some(home), ..) => Some(folder(home)),
            (None, Some(caches), _) => Some(folder(caches).join("huggingface")),
            (None, None, Some(user)) => Some(PathBuf::from(user).join(".cache").join("huggingface")),
            (None, None, None) => None,
        };
        let cache = match (first(&["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"]), &home) {
            (Some(cache), _) => folder(cache),
            (None, Some(home)) => home.join("hub"),
            (None, None) => {
                let problem = "without it, and without HOME, there is no place for the cache".to_owned();
                return Err(Error::HubSetting { variable: "HF_HOME", found: String::new(), problem });
            }
        };
        let kept = first(&["HF_TOKEN_PATH"]).map(folder).or_else(|| home.map(|home| home.join("token")));
        let read = || kept.and_then(|path| std::fs::read_to_string(path).ok()).map(|text| text.trim().to_owned());
        let token = first(&["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"]).or_else(read).filter(|token| !token.is_empty());
        if token.as_ref().is_some_and(|token| !token.bytes().all(|b| b.is_ascii_graphic())) {
            let problem = "a token is letters, digits and `_` (hf_…), without spaces".to_owned();
            return Err(Error::HubSetting { variable: "HF_TOKEN", found: "…".to_owned(), problem });
        }
        let true_words = ["1", "on", "yes", "true"];
        let offline =
            first(&["HF_HUB_OFFLINE"]).is_some_and(|value| true_words.contains(&value.to_lowercase().as_str()));
        let certificates = first(&["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"]).map(PathBuf::from);
        Ok(Self { endpoint, token, cache, offline, certificates })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Result<Settings> {
        let find =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Settings::from_variables(&find)
    }

    #[test]
    fn the_environment_is_read_as_python_reads_it() {
        let plain = settings(&[("HOME", "/u")]).unwrap();
        assert_eq!(plain.endpoint, "https://huggingface.co");
        assert_eq!(plain.cache, Path::new("/u/.cache/huggingface/hub"));
        assert_eq!((plain.token, plain.offline), (None, false));
        let cache = |variables| settings(variables).unwrap().cache;
        assert_eq!(cache(&[("HOME", "/u"), ("XDG_CACHE_HOME", "/x")]), Path::new("/x/huggingface/hub"));
        assert_eq!(cache(&[("HOME", "/u"), ("HF_HOME", "~/hf")]), Path::new("/u/hf/hub"));
        assert_eq!(cache(&[("HF_HOME", "/h"), ("HF_HUB_CACHE", "/c")]), Path::new("/c"));
        assert_eq!(cache(&[("HOME", "/u"), ("HF_HOME", "")]), Path::new("/u/.cache/huggingface/hub"));
        let near = settings(&[("HOME", "/u"), ("HF_ENDPOINT", "http://127.0.0.1:8000/"), ("HF_HUB_OFFLINE", "YES")]);
        let near = near.unwrap();
        assert_eq!((near.endpoint.as_str(), near.offline), ("http://127.0.0.1:8000", true));
        assert!(!settings(&[("HOME", "/u"), ("HF_HUB_OFFLINE", "0")]).unwrap().offline);
    }

    #[test]
    fn a_token_comes_from_the_environment_or_a_file_and_is_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().to_str().unwrap();
        std::fs::write(folder.path().join("token"), "hf_kept\n").unwrap();
        let token = |more: &[(&'static str, &'static str)]| {
            let variables: Vec<_> = std::iter::once(("HF_HOME", home)).chain(more.iter().copied()).collect();
            settings(&variables).unwrap().token
        };
        assert_eq!(token(&[]).as_deref(), Some("hf_kept"));
        assert_eq!(token(&[("HUGGING_FACE_HUB_TOKEN", "hf_old")]).as_deref(), Some("hf_old"));
        assert_eq!(
            token(&[("HUGGING_FACE_HUB_TOKEN", "hf_old"), ("HF_TOKEN", " hf_new\n")]).as_deref(),
            Some("hf_new")
        );
        assert_eq!(token(&[("HF_TOKEN_PATH", "/nowhere/token")]), None);
        let shown = format!("{:?}", settings(&[("HF_HOME", home)]).unwrap());
        assert!(!shown.contains("hf_kept"), "{shown}");
    }

    #[test]
    fn what_cannot_be_used_is_an_error_that_names_the_variable() {
        for (variables, words) in [
            (&[("HOME", "/u"), ("HF_ENDPOINT", "huggingface.co")][..], "HF_ENDPOINT"),
            (&[("HOME", "/u"), ("HF_ENDPOINT", "https://")], "HF_ENDPOINT"),
            (&[("HOME", "/u"), ("HF_TOKEN", "a\nb")], "HF_TOKEN"),
            (&[], "HF_HOME"),
        ] {
            let error = settings(variables).expect_err(words).to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
