//! Certificates read back from `annotations/certificates`.

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use worldloom_engine::certificate::{Certificate, FORMAT_VERSION};

use crate::error::{Error, Result};
use crate::reader::Dataset;
use crate::schema::CERTIFICATES;

impl Dataset {
    /// True if its frames come with certificates.
    pub fn has_certificates(&self) -> bool {
        self.manifest().is_some_and(|manifest| manifest.tables.iter().any(|table| table == CERTIFICATES))
    }

    /// The certificate of every frame of an episode, in order.
    ///
    /// # Errors
    /// [`Error::Invalid`] if none were recorded, [`Error::Corrupt`] for a row that is no certificate of its frame, or of
    /// a newer version.
    pub fn certificates(&self, episode: u64) -> Result<Vec<Certificate>> {
        let folder = self.root().join(CERTIFICATES);
        let corrupt =
            |frame: usize, what: String| Error::corrupt(&folder, format!("episode {episode}, frame {frame}: {what}"));
        let mut certificates = Vec::new();
        for batch in self.table(episode, CERTIFICATES)? {
            let texts = batch.column_by_name("certificate").and_then(|column| column.as_string_opt::<i32>());
            let frames = batch.column_by_name("frame_index").and_then(|column| column.as_primitive_opt::<Int64Type>());
            let (Some(texts), Some(frames)) = (texts, frames) else {
                return Err(corrupt(certificates.len(), "`certificate` or `frame_index` is missing".to_owned()));
            };
            for (text, frame) in texts.iter().zip(frames) {
                let next = certificates.len();
                let text = text.filter(|_| frame == Some(next as i64));
                let text = text.ok_or_else(|| corrupt(next, format!("the row is of frame {frame:?}, or empty")))?;
                let read: Certificate = serde_json::from_str(text).map_err(|error| corrupt(next, error.to_string()))?;
                if read.format_version > FORMAT_VERSION {
                    let what = format!("it has version {}, this program reads {FORMAT_VERSION}", read.format_version);
                    return Err(corrupt(next, what));
                }
                certificates.push(read);
            }
        }
        Ok(certificates)
    }
}
