//! Single video files: pictures to a clip, and one episode cut out of a dataset's video without encoding it again.

use std::path::Path;

use crate::error::{Error, Result};
use crate::plan::{Codec, VideoSettings};
use crate::video::{Demuxer, Encoder, Muxer, Packet};

/// A clip being written.
pub struct Clip {
    encoder: Encoder,
    muxer: Muxer,
    packets: Vec<Packet>,
}

impl Clip {
    /// Begins an mp4 file of pictures of an even width and height.
    pub fn create(path: &Path, settings: &VideoSettings, width: u32, height: u32, fps: u32) -> Result<Self> {
        if !width.is_multiple_of(2) || !height.is_multiple_of(2) {
            return Err(Error::invalid("clip", format!("{width}×{height}: video needs even sizes")));
        }
        let encoder = Encoder::open(settings, width, height, fps)?;
        let muxer = Muxer::create(path, encoder.header(), fps)?;
        Ok(Self { encoder, muxer, packets: Vec::new() })
    }

    /// Adds a picture, `[H, W, 3]` sRGB.
    pub fn push(&mut self, rgb: &[u8]) -> Result<()> {
        self.encoder.encode(rgb, &mut self.packets)?;
        self.write()
    }

    /// Ends the file.
    pub fn finish(mut self) -> Result<()> {
        self.encoder.finish(&mut self.packets)?;
        self.write()?;
        self.muxer.finish()
    }

    fn write(&mut self) -> Result<()> {
        for packet in self.packets.drain(..) {
            self.muxer.write(&packet.bytes, packet.key)?;
        }
        Ok(())
    }
}

/// Copies frames `first..first + count` of a video of ours to a file of their own. `first` is a key
/// frame (every episode begins with one), and nothing is encoded again.
pub fn cut(from: &Path, to: &Path, codec: Codec, fps: u32, first: u64, count: u64) -> Result<()> {
    let mut source = Demuxer::open(from)?;
    let mut muxer = Muxer::create(to, &source.header(codec)?, fps)?;
    for index in 0..first + count {
        let Some(packet) = source.next()? else {
            return Err(Error::corrupt(from, format!("ends after {index} frames, {} are recorded", first + count)));
        };
        if index == first && !packet.key {
            return Err(Error::corrupt(from, format!("frame {first} begins an episode but is no key frame")));
        }
        if index >= first {
            muxer.write(&packet.bytes, packet.key)?;
        }
    }
    muxer.finish()
}

/// Versions of FFmpeg and of the encoder that `settings` ask for, as the manifest records them.
///
/// # Errors
/// [`Error::Unsupported`] if this FFmpeg has no such encoder.
pub fn encoder_versions(settings: &VideoSettings) -> Result<Vec<(String, String)>> {
    crate::video::versions(settings)
}
