//! Requests to the hub: who asks, how often to try, where redirects may lead, and what a refusal means.

use std::fs::File;
use std::io::{Read, Seek as _, SeekFrom};
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use ureq::http::{HeaderMap, Method, Request};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body, SendBody};

use super::settings::Settings;
use crate::error::{Error, Result};
use crate::files::io;

/// Most bytes of an answer that is read as a whole.
const ANSWER_BYTES: u64 = 64 << 20;
/// Most bytes of an explanation.
const REASON_BYTES: u64 = 16 << 10;
/// Redirects in a row.
const REDIRECTS: usize = 10;
/// Times that a request is made, if what fails may pass.
const TRIES: u32 = 5;
/// Pause before the second try; each one is twice that before.
const PAUSE: Duration = Duration::from_millis(300);
/// Longest pause that a server may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
const CONNECT: Duration = Duration::from_secs(15);
/// For the first byte of an answer: a commit of many files takes the hub a while.
const ANSWER: Duration = Duration::from_secs(300);
/// For a next part of a body, in either direction.
const STALL: Duration = Duration::from_secs(60);

/// Git LFS's media type.
pub(super) const LFS_JSON: &str = "application/vnd.git-lfs+json";
pub(super) const JSON: &str = "application/json";
/// JSON lines.
pub(super) const NDJSON: &str = "application/x-ndjson";

/// What is sent.
#[derive(Clone, Copy, Debug)]
pub(super) enum Payload<'a> {
    /// Nothing.
    Nothing,
    /// Bytes of this media type.
    Bytes(&'a [u8], &'static str),
    /// A part of a file.
    Part {
        /// The file.
        path: &'a Path,
        /// First byte.
        offset: u64,
        /// Bytes.
        length: u64,
    },
}

/// A request.
#[derive(Clone, Debug)]
pub(super) struct Call<'a> {
    /// What it is for, as a person would say it: `the files of hf://you/push`.
    pub what: &'a str,
    /// `GET`, `POST` or `PUT`.
    pub method: Method,
    /// Where to.
    pub url: &'a str,
    /// Headers besides the usual ones.
    pub headers: Vec<(String, String)>,
    /// What is sent.
    pub payload: Payload<'a>,
}

impl<'a> Call<'a> {
    /// A `GET`.
    pub(super) fn get(what: &'a str, url: &'a str) -> Self {
        Self { what, method: Method::GET, url, headers: Vec::new(), payload: Payload::Nothing }
    }

    /// A `POST` of bytes.
    pub(super) fn post(what: &'a str, url: &'a str, body: &'a [u8], media: &'static str) -> Self {
        let accept = if media == LFS_JSON { LFS_JSON } else { JSON };
        let headers = vec![("Accept".to_owned(), accept.to_owned())];
        Self { what, method: Method::POST, url, headers, payload: Payload::Bytes(body, media) }
    }
}

/// An answer, of any status but those that may pass.
pub(super) struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Headers of the first answer, before redirects: the hub's own.
    pub first: HeaderMap,
    /// Headers of the last answer.
    pub headers: HeaderMap,
    /// What follows.
    pub body: Body,
}

impl Answer {
    /// A header of the hub's own answer, without quotes and the mark of a weak tag.
    pub(super) fn of_hub(&self, name: &str) -> Option<&str> {
        let text = self.first.get(name)?.to_str().ok()?;
        Some(text.trim_start_matches("W/").trim_matches('"'))
    }
}

/// Speaks to the hub.
pub(super) struct Client {
    agent: Agent,
    settings: Settings,
}

impl Client {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// [`Error::HubSetting`] for certificates that are none.
    pub(super) fn new(settings: &Settings) -> Result<Self> {
        let roots = match &settings.certificates {
            Some(path) => certificates(path)?,
            None => RootCerts::WebPki,
        };
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            // By hand: the token and the hub's headers end at the first one to another server.
            .max_redirects(0)
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(ANSWER))
            .timeout_per_read(Some(STALL))
            .timeout_per_write(Some(STALL))
            .user_agent(concat!("worldloom/", env!("CARGO_PKG_VERSION")))
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .build()
            .into();
        Ok(Self { agent, settings: settings.clone() })
    }

    pub(super) fn endpoint(&self) -> &str {
        &self.settings.endpoint
    }

    /// Makes a request; one that fails in a way that may pass is made again. Every status that says something comes back.
    ///
    /// # Errors
    /// [`Error::HubUnreachable`], or [`Error::Hub`] for redirects without end.
    pub(super) fn send(&self, call: &Call) -> Result<Answer> {
        let mut pause = PAUSE;
        for attempt in 1.. {
            let last = attempt == TRIES;
            match self.once(call)? {
                Ok(answer) if last || !may_pass(answer.status) => return Ok(answer),
                Ok(answer) => std::thread::sleep(asked_pause(&answer.headers).unwrap_or(pause)),
                Err(failure) if last || !failure.may_pass => return Err(self.unreachable(&failure.reason)),
                Err(_) => std::thread::sleep(pause),
            }
            pause *= 2;
        }
        Err(self.unreachable("no answer"))
    }

    /// Makes a request once, following redirects.
    pub(super) fn once(&self, call: &Call) -> Result<Reached<Answer>> {
        let mut url = call.url.to_owned();
        let mut first = None;
        for _ in 0..=REDIRECTS {
            let (status, headers, body) = match self.step(call, &url)? {
                Ok(answer) => answer,
                Err(failure) => return Ok(Err(failure)),
            };
            let target = match (status, headers.get("location").and_then(|value| value.to_str().ok())) {
                (301 | 302 | 303 | 307 | 308, Some(target)) if call.method == Method::GET => Some(joined(&url, target)),
                _ => None,
            };
            let Some(target) = target else {
                return Ok(Ok(Answer { status, first: first.unwrap_or_else(|| headers.clone()), headers, body }));
            };
            first.get_or_insert(headers);
            url = target.ok_or_else(|| self.lies(call.what, format!("a redirect from {url} leads nowhere")))?;
        }
        Err(self.lies(call.what, format!("more than {REDIRECTS} redirects in a row, the last one to {url}")))
    }

    /// A request without redirects.
    fn step(&self, call: &Call, url: &str) -> Result<Reached<(u16, HeaderMap, Body)>> {
        let mut request = Request::builder().method(call.method.clone()).uri(url).header("Accept-Encoding", "identity");
        for (name, value) in &call.headers {
            request = request.header(name, value);
        }
        if let Some(token) = &self.settings.token
            && same_origin(url, self.endpoint())
        {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let malformed = |error: ureq::http::Error| self.lies(call.what, format!("{url} is no address: {error}"));
        let answer = match call.payload {
            Payload::Nothing => self.agent.run(request.body(()).map_err(malformed)?),
            Payload::Bytes(bytes, media) => {
                self.agent.run(request.header("Content-Type", media).body(bytes).map_err(malformed)?)
            }
            Payload::Part { path, offset, length } => {
                let mut file = File::open(path).map_err(io("reading", path))?;
                file.seek(SeekFrom::Start(offset)).map_err(io("reading", path))?;
                let mut part = file.take(length);
                let request = request.header("Content-Length", length).body(SendBody::from_reader(&mut part));
                self.agent.run(request.map_err(malformed)?)
            }
        };
        Ok(match answer {
            Ok(answer) => {
                let (parts, body) = answer.into_parts();
                Ok((parts.status.as_u16(), parts.headers, body))
            }
            Err(error) => Err(Unreached::from(error)),
        })
    }

    /// Makes a request whose answer is JSON.
    ///
    /// # Errors
    /// As [`Client::send`], [`Error::HubRefused`] for a status that is no success, [`Error::Hub`] for no such JSON.
    pub(super) fn json<T: DeserializeOwned>(&self, call: &Call) -> Result<T> {
        let answer = self.send(call)?;
        self.read(call, answer).map(|(value, _)| value)
    }

    /// Reads an answer as JSON, and gives its headers too.
    pub(super) fn read<T: DeserializeOwned>(&self, call: &Call, answer: Answer) -> Result<(T, HeaderMap)> {
        let mut answer = self.success(call, answer)?;
        let mut bytes = Vec::new();
        let mut reader = answer.body.as_reader().take(ANSWER_BYTES + 1);
        reader.read_to_end(&mut bytes).map_err(|error| self.unreachable(&error.to_string()))?;
        if bytes.len() as u64 > ANSWER_BYTES {
            return Err(self.lies(call.what, format!("its answer is longer than {} MB", ANSWER_BYTES >> 20)));
        }
        let value = serde_json::from_slice(&bytes).map_err(|error| {
            self.lies(call.what, format!("{} did not answer with what was asked: {error}", call.url))
        })?;
        Ok((value, answer.headers))
    }

    /// The answer, if its status is a success.
    ///
    /// # Errors
    /// [`Error::HubRefused`] with the server's own words, and what to do.
    pub(super) fn success(&self, call: &Call, mut answer: Answer) -> Result<Answer> {
        if (200..300).contains(&answer.status) {
            return Ok(answer);
        }
        let code =
            answer.first.get("x-error-code").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        let said = reason(&mut answer);
        let problem = self.advice(answer.status, &code);
        let problem = if said.is_empty() { problem.to_owned() } else { format!("{problem} (the server says: {said})") };
        Err(Error::HubRefused { what: call.what.to_owned(), status: answer.status, problem })
    }

    fn advice(&self, status: u16, code: &str) -> &'static str {
        let known = self.settings.token.is_some();
        match (status, code) {
            (_, "GatedRepo") => "access to it has to be asked for on its page first",
            (404, "RevisionNotFound") => "it has no such branch, tag or commit",
            (404, "EntryNotFound") => "it has no such file",
            (401, _) if known => "the token is not valid: make a new one, and put it into HF_TOKEN",
            (401, _) => "there is none, or it is private: check the name, or say who you are with HF_TOKEN=hf_…",
            (403, _) => "the token does not allow it: it takes one with the right to write there, or another name",
            (404, _) => "there is none: check the name",
            (409, _) => "it is there already",
            (412, _) => "somebody else has changed it meanwhile: run the command again",
            (429, _) => "too many requests: try again later",
            (500.., _) => "the server failed: try again later",
            _ => "the server refused",
        }
    }

    /// The server cannot be reached.
    pub(super) fn unreachable(&self, reason: &str) -> Error {
        Error::HubUnreachable { endpoint: self.settings.endpoint.clone(), reason: reason.to_owned() }
    }

    /// The server says what cannot be.
    pub(super) fn lies(&self, what: &str, problem: impl Into<String>) -> Error {
        Error::Hub { what: what.to_owned(), problem: problem.into() }
    }
}

/// An answer, or why there is none.
pub(super) type Reached<T> = std::result::Result<T, Unreached>;

/// Why there is no answer.
pub(super) struct Unreached {
    /// In words.
    pub reason: String,
    /// Trying again may help.
    pub may_pass: bool,
}

impl From<ureq::Error> for Unreached {
    fn from(error: ureq::Error) -> Self {
        let reason = match &error {
            ureq::Error::Io(error) => error.to_string(),
            ureq::Error::HostNotFound => "its name is not known".to_owned(),
            other => other.to_string(),
        };
        // Nobody listens, or nobody has that name: waiting a second changes neither.
        let may_pass = match &error {
            ureq::Error::Io(error) => error.kind() != std::io::ErrorKind::ConnectionRefused,
            ureq::Error::Timeout(_) | ureq::Error::Protocol(_) => true,
            _ => false,
        };
        Self { reason, may_pass }
    }
}

/// Statuses that may be others in a moment.
fn may_pass(status: u16) -> bool {
    matches!(status, 408 | 429 | 500 | 502 | 503 | 504)
}

fn asked_pause(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get("retry-after")?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_PAUSE))
}

/// The server's own words: `{"error": "…"}`, a header, or the first line of a text.
fn reason(answer: &mut Answer) -> String {
    #[derive(Deserialize)]
    struct Said {
        error: String,
    }
    let mut bytes = Vec::new();
    // What cannot be read says nothing.
    let _ = answer.body.as_reader().take(REASON_BYTES).read_to_end(&mut bytes);
    let header = answer.first.get("x-error-message").and_then(|value| value.to_str().ok());
    let text = match (serde_json::from_slice::<Said>(&bytes), header) {
        (Ok(said), _) => said.error,
        (Err(_), Some(header)) => header.to_owned(),
        (Err(_), None) => String::from_utf8_lossy(&bytes).into_owned(),
    };
    let line = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('<')).unwrap_or_default();
    line.chars().filter(|c| !c.is_control()).take(300).collect()
}

/// Scheme, host and port.
fn origin(url: &str) -> Option<&str> {
    let host = url.find("://")? + 3;
    let end = url[host..].find(['/', '?', '#']).map_or(url.len(), |end| host + end);
    Some(&url[..end])
}

/// True if both are of one server.
pub(super) fn same_origin(one: &str, other: &str) -> bool {
    matches!((origin(one), origin(other)), (Some(one), Some(other)) if one.eq_ignore_ascii_case(other))
}

/// Where a redirect from `url` leads; nowhere if it leaves the web, or what was encrypted.
fn joined(url: &str, target: &str) -> Option<String> {
    let origin = origin(url)?;
    let whole = if let Some(rest) = target.strip_prefix("//") {
        format!("{}//{rest}", &origin[..=origin.find(':')?])
    } else if target.starts_with('/') {
        format!("{origin}{target}")
    } else if target.contains("://") {
        target.to_owned()
    } else {
        let path = url.split(['?', '#']).next().unwrap_or(url);
        format!("{}/{target}", path.rsplit_once('/').filter(|(folder, _)| folder.len() > 8)?.0)
    };
    let legal = whole.starts_with("https://") || (whole.starts_with("http://") && url.starts_with("http://"));
    legal.then_some(whole)
}

/// A path or a revision inside an address: everything but letters, digits, `-`, `_`, `.`, `~` (and `/`, if it may stay) is escaped.
pub(super) fn escaped(text: &str, slash: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        let plain = byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) || (slash && byte == b'/');
        if plain {
            out.push(char::from(byte));
        } else {
            out += &format!("%{byte:02X}");
        }
    }
    out
}

fn certificates(path: &Path) -> Result<RootCerts> {
    let wrong =
        |problem: String| Error::HubSetting { variable: "SSL_CERT_FILE", found: path.display().to_string(), problem };
    let bytes = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let mut found = Vec::new();
    for item in parse_pem(&bytes) {
        if let PemItem::Certificate(certificate) = item.map_err(|error| wrong(error.to_string()))? {
            found.push(certificate);
        }
    }
    if found.is_empty() {
        return Err(wrong("it holds no certificates (PEM)".to_owned()));
    }
    Ok(RootCerts::new_with_certs(&found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_stay_on_the_web_and_encrypted() {
        let from = "https://hub.co/a/b?x=1";
        assert_eq!(joined(from, "/c?y").as_deref(), Some("https://hub.co/c?y"));
        assert_eq!(joined(from, "c").as_deref(), Some("https://hub.co/a/c"));
        assert_eq!(joined(from, "//cdn.co/c").as_deref(), Some("https://cdn.co/c"));
        assert_eq!(joined(from, "https://cdn.co/c").as_deref(), Some("https://cdn.co/c"));
        assert_eq!(joined(from, "http://cdn.co/c"), None, "what was encrypted stays so");
        assert_eq!(joined(from, "file:///etc/passwd"), None);
        assert_eq!(joined("http://127.0.0.1:1/a", "http://cdn.co/c").as_deref(), Some("http://cdn.co/c"));
    }

    #[test]
    fn the_token_is_for_one_server() {
        assert!(same_origin("https://hub.co/a", "https://hub.co"));
        for other in
            ["https://hub.co.evil.com/a", "http://hub.co/a", "https://hub.co:8443/a", "https://hub.co@evil.com/"]
        {
            assert!(!same_origin(other, "https://hub.co"), "{other}");
        }
    }

    #[test]
    fn names_are_escaped() {
        assert_eq!(escaped("a b/ä#.png", true), "a%20b/%C3%A4%23.png");
        assert_eq!(escaped("refs/pr/1", false), "refs%2Fpr%2F1");
    }
}
