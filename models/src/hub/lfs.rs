//! Large files: Git LFS's batch API, with the hub's uploads in parts.
//!
//! A batch names objects by SHA-256. The server says where each goes, or nothing of those it has. In `header`, an upload in
//! parts has `chunk_size` and an address for each part, and `href` takes the list of what came of them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Value, json};
use ureq::http::Method;

use super::address::Address;
use super::client::{Call, Client, JSON, LFS_JSON, Payload};
use super::settings::HUB;
use crate::error::{Error, Result};

/// Objects in a batch.
const BATCH: usize = 100;
/// Most parts of an object.
const MOST_PARTS: u64 = 100_000;

/// An object to send.
#[derive(Clone, Debug)]
pub(super) struct Object {
    /// Where its content is.
    pub path: PathBuf,
    /// SHA-256, hexadecimal.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
}

#[derive(Deserialize)]
struct Batch {
    objects: Vec<Ordered>,
}

/// What the server says of an object.
#[derive(Deserialize)]
struct Ordered {
    oid: String,
    #[serde(default)]
    actions: Option<Actions>,
    #[serde(default)]
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    code: u16,
    message: String,
}

#[derive(Deserialize)]
struct Actions {
    upload: Option<Action>,
    verify: Option<Action>,
}

#[derive(Deserialize)]
struct Action {
    href: String,
    #[serde(default)]
    header: BTreeMap<String, Value>,
}

/// Sends what the server does not have yet; gives the number of objects and bytes that it lacked. `sent` is told of bytes.
///
/// # Errors
/// As [`Client::json`]; [`Error::Hub`] for orders that make no sense.
pub(super) fn send(
    client: &Client,
    address: &Address,
    objects: &[Object],
    sent: &mut dyn FnMut(u64),
) -> Result<(u64, u64)> {
    let (mut files, mut bytes) = (0, 0);
    let url = format!("{}/{}{}.git/info/lfs/objects/batch", client.endpoint(), address.kind.prefix(), address.repo);
    let what = format!("sending the large files of {address}");
    for batch in objects.chunks(BATCH) {
        let named: Vec<Value> = batch.iter().map(|object| json!({"oid": object.sha256, "size": object.size})).collect();
        let body = json!({
            "operation": "upload",
            "transfers": ["basic", "multipart"],
            "objects": named,
            "hash_algo": "sha256",
            "ref": {"name": address.revision},
        });
        let body = body.to_string();
        let answer: Batch = client.json(&Call::post(&what, &url, body.as_bytes(), LFS_JSON))?;
        let orders: BTreeMap<&str, &Ordered> = answer.objects.iter().map(|order| (order.oid.as_str(), order)).collect();
        for object in batch {
            let Some(order) = orders.get(object.sha256.as_str()) else {
                return Err(client.lies(&what, format!("it does not say what to do with {}", object.path.display())));
            };
            if let Some(Refusal { code, message }) = &order.error {
                let problem = format!("{}: {message}", object.path.display());
                return Err(Error::HubRefused { what, status: *code, problem });
            }
            // Nothing to do: the server has it.
            let upload =
                order.actions.as_ref().and_then(|actions| actions.upload.as_ref().map(|upload| (actions, upload)));
            if let Some((actions, upload)) = upload {
                one(client, &what, object, upload, sent)?;
                if let Some(verify) = &actions.verify {
                    let body = json!({"oid": object.sha256, "size": object.size}).to_string();
                    let href = here(client, &what, &verify.href)?;
                    let call = Call::post(&what, &href, body.as_bytes(), JSON);
                    let answer = client.send(&call)?;
                    client.success(&call, answer)?;
                }
                (files, bytes) = (files + 1, bytes + object.size);
            } else {
                sent(object.size);
            }
        }
    }
    Ok((files, bytes))
}

fn one(client: &Client, what: &str, object: &Object, upload: &Action, sent: &mut dyn FnMut(u64)) -> Result<()> {
    let href = here(client, what, &upload.href)?;
    let Some(chunk) = upload.header.get("chunk_size") else {
        let said = upload.header.iter().filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
        put(client, what, object, &href, said.collect(), (0, object.size))?;
        sent(object.size);
        return Ok(());
    };
    let wrong = |problem: String| client.lies(what, format!("{}: {problem}", object.path.display()));
    let chunk = match chunk {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    let chunk =
        chunk.filter(|chunk| *chunk > 0).ok_or_else(|| wrong("the server's chunk_size is no size".to_owned()))?;
    let targets: BTreeMap<u64, &str> =
        upload.header.iter().filter_map(|(key, value)| Some((key.parse().ok()?, value.as_str()?))).collect();
    let count = object.size.div_ceil(chunk);
    if count > MOST_PARTS || targets.len() as u64 != count {
        return Err(wrong(format!("the server has {} addresses for {count} parts of {chunk} bytes", targets.len())));
    }
    let mut parts = Vec::with_capacity(targets.len());
    for (index, target) in targets.values().enumerate() {
        let offset = index as u64 * chunk;
        let length = chunk.min(object.size - offset);
        let etag = put(client, what, object, &here(client, what, target)?, Vec::new(), (offset, length))?;
        let etag = etag.ok_or_else(|| wrong(format!("part {} came back without an ETag", index + 1)))?;
        parts.push(json!({"partNumber": index + 1, "etag": etag}));
        sent(length);
    }
    let body = json!({"oid": object.sha256, "parts": parts}).to_string();
    let call = Call::post(what, &href, body.as_bytes(), LFS_JSON);
    let answer = client.send(&call)?;
    client.success(&call, answer).map(|_| ())
}

/// Sends `length` bytes of a file from `offset` on; gives the tag that they got.
fn put(
    client: &Client,
    what: &str,
    object: &Object,
    url: &str,
    headers: Vec<(String, String)>,
    (offset, length): (u64, u64),
) -> Result<Option<String>> {
    let payload = Payload::Part { path: &object.path, offset, length };
    let call = Call { what, method: Method::PUT, url, headers, payload };
    let answer = client.send(&call)?;
    let answer = client.success(&call, answer)?;
    Ok(answer.first.get("etag").and_then(|etag| etag.to_str().ok()).map(str::to_owned))
}

/// A mirror passes the hub's own addresses on. What goes out from an encrypted endpoint stays encrypted.
fn here(client: &Client, what: &str, href: &str) -> Result<String> {
    let href = match href.strip_prefix(HUB) {
        Some(rest) if rest.starts_with('/') => format!("{}{rest}", client.endpoint()),
        _ => href.to_owned(),
    };
    if client.endpoint().starts_with("https://") && !href.starts_with("https://") {
        return Err(client.lies(what, "it wants the files without encryption".to_owned()));
    }
    Ok(href)
}
