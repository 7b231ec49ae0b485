//! A server that speaks the hub's protocol, in memory, on loopback: information by revision, trees in pages, `resolve` with its
//! headers, redirects and ranges, creation, preupload, Git LFS with parts, commits. Large files go through a second server, as
//! the hub's do, so that what a client tells whom is seen. On demand it fails, lies and breaks off.
//!
//! Checked against `huggingface_hub`, which takes it for the hub (`./x compat hub`).

use std::collections::{BTreeMap, BTreeSet};
use std::io::BufReader;
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use serde_json::{Value, json};
use sha1::{Digest as _, Sha1};
use sha2::Sha256;

use super::wire::{Request, Response};

/// May read and write.
pub const WRITER: &str = "hf_writer";
/// May read.
pub const READER: &str = "hf_reader";
/// Files on a page of a tree.
const PAGE: usize = 7;

/// A file of a commit.
#[derive(Clone, Debug)]
struct Blob {
    content: Arc<Vec<u8>>,
    lfs: bool,
}

impl Blob {
    fn git(&self) -> String {
        if !self.lfs {
            return git(&self.content);
        }
        let (oid, size) = (sha256(&self.content), self.content.len());
        git(format!("version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {size}\n").as_bytes())
    }

    /// What the cache calls it.
    fn etag(&self) -> String {
        if self.lfs { sha256(&self.content) } else { git(&self.content) }
    }
}

type Files = BTreeMap<String, Blob>;

#[derive(Clone, Debug, Default)]
struct Repo {
    private: bool,
    commits: BTreeMap<String, Files>,
    branches: BTreeMap<String, String>,
    messages: Vec<String>,
}

/// What goes wrong.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// The next answers with content break off after so many bytes.
    pub cut: Vec<usize>,
    /// Content is another than the tree says.
    pub lie: bool,
    /// Names in trees are replaced.
    pub rename: Option<String>,
    /// The digest of the first file is replaced.
    pub digest: Option<String>,
    /// Redirects have no end.
    pub circle: bool,
    /// `X-Repo-Commit` says another one.
    pub other_commit: bool,
    /// Ranges are ignored.
    pub no_ranges: bool,
    /// So many requests get 503.
    pub busy: usize,
    /// So many uploads break off.
    pub broken_puts: usize,
    /// The commit is taken, and the connection ends without an answer.
    pub lost_answer: bool,
    /// Somebody pushes between question and commit.
    pub race: bool,
    /// Bytes of a part; uploads in parts if set.
    pub parts: Option<usize>,
    /// The repository's `.gitignore` leaves files out.
    pub gitignore: bool,
}

#[derive(Debug, Default)]
struct State {
    repos: BTreeMap<String, Repo>,
    objects: BTreeMap<String, Arc<Vec<u8>>>,
    parts: BTreeMap<(String, usize), Vec<u8>>,
    log: Vec<Request>,
    faults: Faults,
}

/// The server. It ends with the process.
#[derive(Clone)]
pub struct Server {
    hub: u16,
    store: u16,
    state: Arc<Mutex<State>>,
}

impl Server {
    pub fn start() -> Self {
        Self::on(0)
    }

    /// At a port, any if 0.
    pub fn on(port: u16) -> Self {
        let hub = TcpListener::bind(("127.0.0.1", port)).expect("a port of loopback");
        let store = TcpListener::bind(("127.0.0.1", 0)).expect("a port of loopback");
        let port_of = |listener: &TcpListener| listener.local_addr().expect("an address").port();
        let server = Self { hub: port_of(&hub), store: port_of(&store), state: Arc::default() };
        for (listener, is_store) in [(hub, false), (store, true)] {
            let server = server.clone();
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let server = server.clone();
                    std::thread::spawn(move || server.serve(stream, is_store));
                }
            });
        }
        server
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.hub)
    }

    /// Of another name than the hub: Python's client tells by the name whom it may tell the token.
    fn store(&self) -> String {
        format!("http://localhost:{}", self.store)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets something go wrong, from now on.
    pub fn fail(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// Requests since the last question.
    pub fn log(&self) -> Vec<Request> {
        std::mem::take(&mut self.state().log)
    }

    /// The commit of a branch of `datasets/user/repo` or `models/user/repo`.
    pub fn head(&self, repo: &str) -> String {
        self.state().repos[repo].branches["main"].clone()
    }

    pub fn is_private(&self, repo: &str) -> bool {
        self.state().repos[repo].private
    }

    pub fn messages(&self, repo: &str) -> Vec<String> {
        self.state().repos[repo].messages.clone()
    }

    /// The files of `main`: content, and whether they are in LFS.
    pub fn files(&self, repo: &str) -> BTreeMap<String, (Vec<u8>, bool)> {
        let state = self.state();
        let repo = &state.repos[repo];
        let files = repo.commits[&repo.branches["main"]].iter();
        files.map(|(path, blob)| (path.clone(), (blob.content.to_vec(), blob.lfs))).collect()
    }

    /// Commits a file, as somebody else would.
    pub fn put(&self, repo: &str, path: &str, content: &[u8]) {
        let mut state = self.state();
        let repo = state.repos.entry(repo.to_owned()).or_insert_with(|| Repo::new(false));
        let mut files = repo.commits[&repo.branches["main"]].clone();
        files.insert(path.to_owned(), Blob { content: Arc::new(content.to_vec()), lfs: false });
        repo.commit("main", files, "by hand");
    }

    /// Names the present commit of a branch.
    pub fn tag(&self, repo: &str, tag: &str) {
        let mut state = self.state();
        let Some(repo) = state.repos.get_mut(repo) else { return };
        let head = repo.branches["main"].clone();
        repo.branches.insert(tag.to_owned(), head);
    }

    fn serve(&self, stream: TcpStream, is_store: bool) {
        let Ok(mut out) = stream.try_clone() else { return };
        let mut reader = BufReader::new(stream);
        while let Some(request) = Request::read(&mut reader) {
            self.state().log.push(request.clone());
            let answer = if is_store { self.stored(&request) } else { self.answer(&request) };
            let Some(answer) = answer else { return };
            if !answer.write(&mut out, request.method == "HEAD") {
                return;
            }
        }
    }

    /// What the hub says; nothing if it hangs up.
    fn answer(&self, request: &Request) -> Option<Response> {
        let mut state = self.state();
        if state.faults.busy > 0 {
            state.faults.busy -= 1;
            return Some(Response::new(503, "busy"));
        }
        let token = request.header("authorization").map(|value| value.trim_start_matches("Bearer ").to_owned());
        let (may_read, may_write) = match token.as_deref() {
            None => (false, false),
            Some(WRITER) => (true, true),
            Some(READER) => (true, false),
            Some(_) => return Some(Response::refusal(401, "", "Invalid credentials in Authorization header")),
        };
        let parts: Vec<&str> = request.path.trim_matches('/').split('/').collect();
        let deny = || {
            let message = "Forbidden: you do not have the right to write here";
            if may_read { Response::refusal(403, "", message) } else { Response::refusal(401, "", "log in first") }
        };
        let json_body = || serde_json::from_slice::<Value>(&request.body).unwrap_or(Value::Null);
        match (request.method.as_str(), parts.as_slice()) {
            (_, ["circle", ..]) => Some(Response::new(302, "").with("Location", "/circle/again")),
            ("POST", ["api", "validate-yaml"]) => Some(Response::json(&json!({"errors": [], "warnings": []}))),
            ("POST", ["api", "repos", "create"]) if !may_write => Some(deny()),
            ("POST", ["api", "repos", "create"]) => Some(self.create(&mut state, &json_body())),
            ("POST", ["lfs", "verify"]) => {
                let body = json_body();
                let known = state.objects.get(body["oid"].as_str()?);
                let right = known.is_some_and(|content| Some(content.len() as u64) == body["size"].as_u64());
                Some(if right { Response::json(&json!({})) } else { Response::refusal(404, "", "no such object") })
            }
            ("POST", ["lfs", "complete", sha]) => Some(complete(&mut state, sha, &json_body())),
            (_, ["api", kind @ ("datasets" | "models"), user, name, rest @ ..]) => {
                let key = format!("{kind}/{user}/{name}");
                self.api(&mut state, request, &key, rest, may_read, may_write, &deny)
            }
            (method, [.., _, git, "info", "lfs", "objects", "batch"]) if method == "POST" && git.ends_with(".git") => {
                Some(if may_write { self.batch(&state, &json_body()) } else { deny() })
            }
            (_, ["datasets", user, name, "resolve", rest @ ..]) => {
                self.resolve(&mut state, &format!("datasets/{user}/{name}"), rest, may_read)
            }
            (_, [user, name, "resolve", rest @ ..]) => {
                self.resolve(&mut state, &format!("models/{user}/{name}"), rest, may_read)
            }
            _ => Some(Response::refusal(404, "", "no such page")),
        }
    }

    fn create(&self, state: &mut State, body: &Value) -> Response {
        let word = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
        let kind = body["type"].as_str().unwrap_or("model");
        let key = format!("{kind}s/{}/{}", word("organization"), word("name"));
        let url = format!("{}/{}", self.endpoint(), key.trim_start_matches("models/"));
        if state.repos.contains_key(&key) {
            return Response::refusal(409, "", "You already created this repo");
        }
        let private = body["private"].as_bool() == Some(true) || body["visibility"].as_str() == Some("private");
        state.repos.insert(key, Repo::new(private));
        Response::json(&json!({ "url": url }))
    }

    fn api(
        &self,
        state: &mut State,
        request: &Request,
        key: &str,
        rest: &[&str],
        may_read: bool,
        may_write: bool,
        deny: &dyn Fn() -> Response,
    ) -> Option<Response> {
        let faults = state.faults.clone();
        let Some(repo) = state.repos.get(key).filter(|repo| may_read || !repo.private) else {
            let status = if may_read { 404 } else { 401 };
            return Some(Response::refusal(status, "RepoNotFound", "Repository not found"));
        };
        let (verb, revision) = match rest {
            [] => ("revision", "main".to_owned()),
            [verb, revision @ ..] => (*verb, revision.join("/")),
        };
        let commit = repo.branches.get(&revision).or_else(|| repo.commits.get_key_value(&revision).map(|(oid, _)| oid));
        if let ("resolve-cache", Some((commit, path))) = (verb, revision.split_once('/')) {
            let blob = repo.commits.get(commit)?.get(path)?.clone();
            return Some(content(state, request, &blob).with("X-Repo-Commit", commit));
        }
        let Some(commit) = commit.cloned() else {
            return Some(Response::refusal(404, "RevisionNotFound", &format!("Invalid rev id: {revision}")));
        };
        let files = &repo.commits[&commit];
        match (request.method.as_str(), verb) {
            ("GET" | "HEAD", "revision") => {
                let siblings: Vec<Value> = files.keys().map(|path| json!({ "rfilename": path })).collect();
                let id = key.split_once('/').map(|(_, id)| id);
                let known = json!({
                    "_id": "1", "id": id, "sha": commit, "private": repo.private, "siblings": siblings, "tags": [],
                    "downloads": 0, "likes": 0, "disabled": false, "gated": false,
                });
                Some(Response::json(&known))
            }
            ("GET", "tree") => Some(self.tree(&request.query, key, &commit, files, &faults)),
            ("POST", _) if !may_write => Some(deny()),
            ("POST", "preupload") => {
                let body: Value = serde_json::from_slice(&request.body).ok()?;
                let asked = body["files"].as_array()?.iter().map(|file| {
                    let (path, size) = (file["path"].as_str().unwrap_or_default(), file["size"].as_u64().unwrap_or(0));
                    let by_name = [".parquet", ".mp4", ".safetensors", ".png", ".bin"].iter().any(|end| path.ends_with(end));
                    let mode = if by_name || size > 10 << 20 { "lfs" } else { "regular" };
                    json!({"path": path, "uploadMode": mode, "shouldIgnore": faults.gitignore, "oid": files.get(path).map(Blob::git)})
                });
                Some(Response::json(&json!({ "files": asked.collect::<Vec<_>>(), "commitOid": commit })))
            }
            ("POST", "commit") => {
                if faults.race {
                    state.faults.race = false;
                    let repo = state.repos.get_mut(key)?;
                    let files = repo.commits[&commit].clone();
                    repo.commit(&revision, files, "faster");
                }
                let taken = commit_lines(state, key, &revision, &request.body);
                if std::mem::take(&mut state.faults.lost_answer) {
                    return None;
                }
                Some(match taken {
                    Ok(oid) => {
                        let url = format!("{}/{key}/commit/{oid}", self.endpoint());
                        Response::json(&json!({"success": true, "commitOid": oid, "commitUrl": url, "hookOutput": ""}))
                    }
                    Err((status, message)) => Response::refusal(status, "", &message),
                })
            }
            _ => Some(Response::refusal(404, "", "no such page")),
        }
    }

    /// A page of the files and folders of a commit.
    fn tree(&self, query: &str, key: &str, commit: &str, files: &Files, faults: &Faults) -> Response {
        let cursor = query.split('&').find_map(|pair| pair.strip_prefix("cursor=")?.parse().ok()).unwrap_or(0);
        let mut entries = Vec::new();
        let folders: BTreeSet<&str> =
            files.keys().flat_map(|path| path.match_indices('/').map(|(i, _)| &path[..i])).collect();
        entries.extend(
            folders
                .iter()
                .map(|path| json!({"type": "directory", "oid": git(path.as_bytes()), "size": 0, "path": path})),
        );
        for (index, (path, blob)) in files.iter().enumerate() {
            let path = faults.rename.as_ref().filter(|_| index == 0).unwrap_or(path);
            let named = |digest: String| faults.digest.clone().filter(|_| index == 0).unwrap_or(digest);
            let size = blob.content.len();
            let mut entry = json!({"type": "file", "oid": named(blob.git()), "size": size, "path": path});
            if blob.lfs {
                entry["lfs"] = json!({"oid": named(sha256(&blob.content)), "size": size, "pointerSize": 134});
            }
            entries.push(entry);
        }
        let page: Vec<&Value> = entries.iter().skip(cursor).take(PAGE).collect();
        let answer = Response::json(&json!(page));
        if cursor + PAGE >= entries.len() {
            return answer;
        }
        let next =
            format!("{}/api/{key}/tree/{commit}?recursive=true&expand=false&cursor={}", self.endpoint(), cursor + PAGE);
        answer.with("Link", format!("<{next}>; rel=\"next\""))
    }

    /// Where a file is, and which.
    fn resolve(&self, state: &mut State, key: &str, rest: &[&str], may_read: bool) -> Option<Response> {
        let Some(repo) = state.repos.get(key).filter(|repo| may_read || !repo.private) else {
            let status = if may_read { 404 } else { 401 };
            return Some(Response::refusal(status, "RepoNotFound", "Repository not found"));
        };
        let (revision, path) = (*rest.first()?, rest.get(1..)?.join("/"));
        let commit = repo.branches.get(revision).cloned().unwrap_or_else(|| revision.to_owned());
        let Some(files) = repo.commits.get(&commit) else {
            return Some(Response::refusal(404, "RevisionNotFound", "Invalid rev id"));
        };
        let Some(blob) = files.get(&path) else {
            return Some(Response::refusal(404, "EntryNotFound", "Entry not found"));
        };
        let location = match (state.faults.circle, blob.lfs) {
            (true, _) => "/circle".to_owned(),
            (false, true) => format!("{}/get/{}", self.store(), sha256(&blob.content)),
            // Relative, as the hub's own.
            (false, false) => format!("/api/{key}/resolve-cache/{commit}/{path}"),
        };
        let said = if state.faults.other_commit { "0".repeat(40) } else { commit.clone() };
        let answer = Response::new(if blob.lfs { 302 } else { 307 }, "")
            .with("X-Repo-Commit", said)
            .with("X-Linked-Etag", format!("\"{}\"", blob.etag()))
            .with("X-Linked-Size", blob.content.len())
            .with("ETag", format!("\"{}\"", blob.git()));
        Some(answer.with("Location", location))
    }

    /// Git LFS: what is to be uploaded, and where to.
    fn batch(&self, state: &State, body: &Value) -> Response {
        let orders = body["objects"].as_array().into_iter().flatten().map(|object| {
            let (oid, size) =
                (object["oid"].as_str().unwrap_or_default(), object["size"].as_u64().unwrap_or(0) as usize);
            if state.objects.contains_key(oid) {
                return json!({"oid": oid, "size": size});
            }
            let verify = json!({"href": format!("{}/lfs/verify", self.endpoint()), "header": {}});
            let upload = match state.faults.parts.filter(|part| size > *part) {
                None => json!({"href": format!("{}/put/{oid}/0", self.store())}),
                Some(part) => {
                    let mut header = json!({"chunk_size": part.to_string()});
                    for index in 0..size.div_ceil(part) {
                        header[format!("{:05}", index + 1)] =
                            json!(format!("{}/put/{oid}/{}", self.store(), index + 1));
                    }
                    json!({"href": format!("{}/lfs/complete/{oid}", self.endpoint()), "header": header})
                }
            };
            json!({"oid": oid, "size": size, "authenticated": true, "actions": {"upload": upload, "verify": verify}})
        });
        Response::json(&json!({"transfer": "basic", "objects": orders.collect::<Vec<_>>()}))
    }

    /// The second server: content by digest, and where it is put.
    fn stored(&self, request: &Request) -> Option<Response> {
        let mut state = self.state();
        let parts: Vec<&str> = request.path.trim_matches('/').split('/').collect();
        match (request.method.as_str(), parts.as_slice()) {
            ("GET" | "HEAD", ["get", sha]) => {
                let content_of = state.objects.get(*sha)?.clone();
                Some(content(&mut state, request, &Blob { content: content_of, lfs: true }))
            }
            ("PUT", ["put", sha, part]) => {
                if request.header("content-length").is_none() {
                    return Some(Response::new(411, "a length is required"));
                }
                if state.faults.broken_puts > 0 {
                    state.faults.broken_puts -= 1;
                    return None;
                }
                let part: usize = part.parse().ok()?;
                let etag = format!("\"{}\"", sha256(&request.body));
                if part > 0 {
                    state.parts.insert(((*sha).to_owned(), part), request.body.clone());
                } else if sha256(&request.body) == *sha {
                    state.objects.insert((*sha).to_owned(), Arc::new(request.body.clone()));
                } else {
                    return Some(Response::new(400, "another digest"));
                }
                Some(Response::new(200, "").with("ETag", etag))
            }
            _ => Some(Response::new(404, "")),
        }
    }
}

impl Repo {
    /// As the hub makes one: with a first commit.
    fn new(private: bool) -> Self {
        let mut repo = Self { private, ..Self::default() };
        let attributes = b"*.parquet filter=lfs diff=lfs merge=lfs -text\n".to_vec();
        let files = [(".gitattributes".to_owned(), Blob { content: Arc::new(attributes), lfs: false })].into();
        repo.commit("main", files, "initial commit");
        repo
    }

    fn commit(&mut self, branch: &str, files: Files, message: &str) -> String {
        let listed: Vec<String> = files.iter().map(|(path, blob)| format!("{path} {}", blob.git())).collect();
        let oid = git(format!("{}{:?}{message}{listed:?}", self.commits.len(), self.branches.get(branch)).as_bytes());
        self.commits.insert(oid.clone(), files);
        self.branches.insert(branch.to_owned(), oid.clone());
        self.messages.push(message.to_owned());
        oid
    }
}

/// Content, or the range of it that is asked for.
fn content(state: &mut State, request: &Request, blob: &Blob) -> Response {
    let mut bytes = blob.content.to_vec();
    if state.faults.lie {
        match bytes.first_mut() {
            Some(byte) => *byte ^= 1,
            None => bytes.push(0),
        }
    }
    let etag = format!("\"{}\"", blob.etag());
    let range = request.header("range").filter(|_| !state.faults.no_ranges);
    let from = range.and_then(|range| range.strip_prefix("bytes=")?.split('-').next()?.parse::<usize>().ok());
    let mut answer = match from {
        Some(from) if from >= bytes.len() => return Response::new(416, ""),
        Some(from) => {
            let all = bytes.len();
            Response::new(206, bytes.split_off(from)).with("Content-Range", format!("bytes {from}-{}/{all}", all - 1))
        }
        None => Response::new(200, bytes),
    };
    if request.method == "GET" {
        answer.cut = if state.faults.cut.is_empty() { None } else { Some(state.faults.cut.remove(0)) };
    }
    answer.with("ETag", etag).with("Accept-Ranges", "bytes")
}

fn complete(state: &mut State, sha: &str, body: &Value) -> Response {
    let parts = body["parts"].as_array().cloned().unwrap_or_default();
    let mut whole = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        let Some(bytes) = state.parts.get(&(sha.to_owned(), index + 1)) else {
            return Response::refusal(400, "", "a part is missing");
        };
        if part["partNumber"] != json!(index + 1) || part["etag"] != json!(format!("\"{}\"", sha256(bytes))) {
            return Response::refusal(400, "", "a part has another tag");
        }
        whole.extend_from_slice(bytes);
    }
    if sha256(&whole) != sha {
        return Response::refusal(400, "", "another digest");
    }
    state.objects.insert(sha.to_owned(), Arc::new(whole));
    Response::json(&json!({}))
}

/// Takes a commit's lines.
fn commit_lines(state: &mut State, key: &str, branch: &str, body: &[u8]) -> Result<String, (u16, String)> {
    let State { repos, objects, .. } = state;
    let repo = repos.get_mut(key).ok_or((404, "no repository".to_owned()))?;
    let head = repo.branches.get(branch).cloned().ok_or((404, "no branch".to_owned()))?;
    let mut files = repo.commits[&head].clone();
    let mut summary = String::new();
    for line in body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let line: Value = serde_json::from_slice(line).map_err(|error| (400, error.to_string()))?;
        let value = &line["value"];
        let path = value["path"].as_str().unwrap_or_default().to_owned();
        match line["key"].as_str() {
            Some("header") => {
                summary = value["summary"].as_str().unwrap_or_default().to_owned();
                if value["parentCommit"].as_str().is_some_and(|parent| parent != head) {
                    return Err((412, "A commit has happened since".to_owned()));
                }
            }
            Some("file") => {
                let text = value["content"].as_str().unwrap_or_default();
                let content =
                    base64::engine::general_purpose::STANDARD.decode(text).map_err(|error| (400, error.to_string()))?;
                files.insert(path, Blob { content: Arc::new(content), lfs: false });
            }
            Some("lfsFile") => {
                let oid = value["oid"].as_str().unwrap_or_default();
                let content = objects.get(oid).ok_or((400, format!("{path}: its content was not uploaded")))?;
                files.insert(path, Blob { content: content.clone(), lfs: true });
            }
            Some("deletedFile") => {
                files.remove(&path).ok_or((400, format!("{path}: there is no such file")))?;
            }
            other => return Err((400, format!("{other:?}"))),
        }
    }
    Ok(repo.commit(branch, files, &summary))
}

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn git(bytes: &[u8]) -> String {
    let mut hash = Sha1::new();
    hash.update(format!("blob {}\0", bytes.len()));
    hash.update(bytes);
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
