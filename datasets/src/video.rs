//! The FFmpeg calls: encode, decode, write and read mp4 files. The only unsafe code of this crate.
//!
//! Every episode has an encoder of its own: one thread, no B-frames, closed groups, a key frame
//! first, bit-exact flags. So its packets are a function of its frames, one packet a frame in
//! display order, and packets of episodes that follow each other make one valid stream, whose
//! frame `k` is shown at exactly `k / fps`.
#![allow(unsafe_code)]

use std::path::{Path, PathBuf};
use std::sync::Once;

use ffmpeg_next as ffmpeg;

use ffmpeg::codec::decoder::Check;
use ffmpeg::codec::packet::Mut as _;
use ffmpeg::codec::{Flags, Id};
use ffmpeg::format::Pixel;
use ffmpeg::util::color;
use ffmpeg::{Dictionary, Rational};
use serde::{Deserialize, Serialize};

use crate::colour::{self, Matrix, Plane};
use crate::error::{Error, Result};
use crate::nal;
use crate::plan::{Codec, VideoSettings};

/// The encoders' own messages are silenced: what matters comes back as an error with its file. Every call of
/// FFmpeg in this crate comes after this.
fn init() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        ffmpeg::util::log::set_level(ffmpeg::util::log::Level::Fatal);
        // SVT-AV1 writes its settings to stderr past FFmpeg's log, and takes its level from here alone; 1 is errors.
        const LEVEL: &str = "SVT_LOG";
        if std::env::var_os(LEVEL).is_none() {
            // SAFETY: this runs once, before the encoders, and Rust's own readers and writers take the standard
            // library's lock. What is left is C code on another thread that reads the environment at this very
            // moment: nothing in this workspace does. A program around this crate that does sets SVT_LOG at its
            // start, and then nothing is written here.
            unsafe { std::env::set_var(LEVEL, "1") };
        }
    });
}

/// An encoded picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) bytes: Vec<u8>,
    pub(crate) key: bool,
}

/// What a decoder needs before the first packet; the same for all episodes of a camera.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StreamHeader {
    pub(crate) codec: Codec,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) extradata: Vec<u8>,
}

fn codec_id(codec: Codec) -> Id {
    match codec {
        Codec::H264 => Id::H264,
        Codec::Av1 => Id::AV1,
        Codec::Png => Id::PNG,
    }
}

/// Encodes the pictures of one episode and camera.
pub(crate) struct Encoder {
    inner: ffmpeg::encoder::Video,
    frame: ffmpeg::frame::Video,
    header: StreamHeader,
    next: i64,
}

impl Encoder {
    /// `width` and `height` are even.
    pub(crate) fn open(settings: &VideoSettings, width: u32, height: u32, fps: u32) -> Result<Self> {
        init();
        let name = match settings.codec {
            Codec::H264 => "libx264",
            Codec::Av1 => "libsvtav1",
            Codec::Png => return Err(Error::invalid("video.codec", "PNG is not a video")),
        };
        let codec = ffmpeg::encoder::find_by_name(name).ok_or_else(|| Error::Unsupported {
            feature: format!("encoding with {name}"),
            hint: "this FFmpeg was built without it; take another codec".to_owned(),
        })?;
        let failed = |source| Error::video("opening the video encoder", None, source);
        let mut video = ffmpeg::codec::Context::new_with_codec(codec).encoder().video().map_err(failed)?;
        video.set_width(width);
        video.set_height(height);
        video.set_format(Pixel::YUV420P);
        video.set_time_base(Rational(1, fps as i32));
        video.set_frame_rate(Some(Rational(fps as i32, 1)));
        video.set_gop(settings.gop);
        video.set_max_b_frames(0);
        video.set_flags(Flags::BITEXACT | Flags::GLOBAL_HEADER | Flags::CLOSED_GOP);
        video.set_threading(ffmpeg::threading::Config::count(1));
        video.set_colorspace(color::Space::SMPTE170M);
        video.set_color_range(color::Range::MPEG);
        video.set_color_primaries(color::Primaries::BT709);
        video.set_color_transfer_characteristic(color::TransferCharacteristic::IEC61966_2_1);
        let mut options = Dictionary::new();
        options.set("crf", &settings.crf.to_string());
        options.set("preset", &settings.preset);
        match settings.codec {
            Codec::H264 => {
                // No look-ahead: packets leave with their frame, and an encoder stays small.
                options.set("tune", "zerolatency");
                options.set("x264-params", "cpu-independent=1:scenecut=0");
            }
            Codec::Av1 => options.set("svtav1-params", "lp=1:enable-overlays=0:scd=0"),
            Codec::Png => {}
        }
        let inner = video.open_with(options).map_err(failed)?;
        // SAFETY: an opened encoder's context is valid; with GLOBAL_HEADER its extradata is
        // `extradata_size` bytes that live as long as it, or null.
        let extradata = unsafe {
            let context = inner.as_ptr();
            if (*context).extradata.is_null() {
                Vec::new()
            } else {
                std::slice::from_raw_parts((*context).extradata, (*context).extradata_size as usize).to_vec()
            }
        };
        let extradata = match settings.codec {
            Codec::H264 => nal::configuration(&extradata).ok_or_else(|| failed(ffmpeg::Error::InvalidData))?,
            Codec::Av1 | Codec::Png => extradata,
        };
        let header = StreamHeader { codec: settings.codec, width, height, extradata };
        let frame = ffmpeg::frame::Video::new(Pixel::YUV420P, width, height);
        Ok(Self { inner, frame, header, next: 0 })
    }

    pub(crate) fn header(&self) -> &StreamHeader {
        &self.header
    }

    /// Encodes `[H, W, 3]` pixels; the packets that are ready go to `out`.
    pub(crate) fn encode(&mut self, rgb: &[u8], out: &mut Vec<Packet>) -> Result<()> {
        let failed = |source| Error::video("encoding video", None, source);
        // SAFETY: the frame owns its buffers, and the encoder may still hold a reference to them;
        // this gives the frame buffers of its own again.
        let writable = unsafe { ffmpeg::ffi::av_frame_make_writable(self.frame.as_mut_ptr()) };
        if writable < 0 {
            return Err(failed(ffmpeg::Error::from(writable)));
        }
        let width = self.header.width as usize;
        let stride = self.frame.stride(0);
        colour::luma(rgb, width, self.frame.data_mut(0), stride);
        let strides = [self.frame.stride(1), self.frame.stride(2)];
        let half_rows = self.header.height as usize / 2;
        let mut cb = vec![0; strides[0] * half_rows];
        let mut cr = vec![0; strides[1] * half_rows];
        colour::chroma(rgb, width, &mut cb, &mut cr, strides);
        self.frame.data_mut(1)[..cb.len()].copy_from_slice(&cb);
        self.frame.data_mut(2)[..cr.len()].copy_from_slice(&cr);
        self.frame.set_pts(Some(self.next));
        self.next += 1;
        self.inner.send_frame(&self.frame).map_err(failed)?;
        self.drain(out)
    }

    /// Ends the stream; the last packets go to `out`.
    pub(crate) fn finish(&mut self, out: &mut Vec<Packet>) -> Result<()> {
        self.inner.send_eof().map_err(|source| Error::video("encoding video", None, source))?;
        self.drain(out)
    }

    fn drain(&mut self, out: &mut Vec<Packet>) -> Result<()> {
        let mut packet = ffmpeg::Packet::empty();
        loop {
            match self.inner.receive_packet(&mut packet) {
                Ok(()) => {
                    let bytes = packet.data().unwrap_or_default();
                    let bytes =
                        if self.header.codec == Codec::H264 { nal::with_lengths(bytes) } else { bytes.to_vec() };
                    out.push(Packet { bytes, key: packet.is_key() });
                }
                Err(ffmpeg::Error::Eof | ffmpeg::Error::Other { errno: ffmpeg::error::EAGAIN }) => return Ok(()),
                Err(source) => return Err(Error::video("encoding video", None, source)),
            }
        }
    }
}

/// Versions of what decides the bytes of `settings`' videos: FFmpeg's, and a digest of a probe
/// clip, which changes with the encoder's build even where it doesn't tell its version.
pub(crate) fn versions(settings: &VideoSettings) -> Result<Vec<(String, String)>> {
    init();
    let dotted = |v: u32| format!("{}.{}.{}", v >> 16, (v >> 8) & 255, v & 255);
    let mut versions = vec![
        ("libavcodec".to_owned(), dotted(ffmpeg::codec::version())),
        ("libavformat".to_owned(), dotted(ffmpeg::format::version())),
    ];
    if settings.codec == Codec::Png {
        return Ok(versions);
    }
    const SIDE: u32 = 64;
    let mut encoder = Encoder::open(settings, SIDE, SIDE, 25)?;
    let mut packets = Vec::new();
    for k in 0..3 {
        let rgb: Vec<u8> = (0..SIDE * SIDE * 3).map(|i| ((i * i / 7 + i * 3 + k * 40) % 251) as u8).collect();
        encoder.encode(&rgb, &mut packets)?;
    }
    encoder.finish(&mut packets)?;
    let mut hasher = blake3::Hasher::new();
    hasher.update(&encoder.header.extradata);
    for packet in &packets {
        hasher.update(&packet.bytes);
    }
    if let Some(version) = packets.first().and_then(|first| x264_version(&first.bytes)) {
        versions.push(("x264".to_owned(), version));
    }
    versions.push(("encoder_probe".to_owned(), hasher.finalize().to_hex()[..16].to_owned()));
    Ok(versions)
}

/// x264 writes `x264 - core 164 r3095 baee400 - H.264…` into a message of its first packet.
fn x264_version(packet: &[u8]) -> Option<String> {
    const MARK: &[u8] = b"x264 - core ";
    let start = packet.windows(MARK.len()).position(|window| window == MARK)? + MARK.len();
    let text: Vec<u8> = packet[start..].iter().copied().take_while(|b| (b' '..0x7f).contains(b)).take(64).collect();
    let text = String::from_utf8(text).ok()?;
    Some(text.split(" - ").next()?.to_owned())
}

/// Writes one mp4 file.
pub(crate) struct Muxer {
    output: ffmpeg::format::context::Output,
    path: PathBuf,
    /// Ticks of the file's clock in a frame.
    ticks: i64,
    next: i64,
}

impl Muxer {
    pub(crate) fn create(path: &Path, header: &StreamHeader, fps: u32) -> Result<Self> {
        init();
        let failed = |source| Error::video("creating", Some(path), source);
        let mut output = ffmpeg::format::output_as(path, "mp4").map_err(failed)?;
        let mut parameters = ffmpeg::codec::Parameters::new();
        parameters.set_medium(ffmpeg::media::Type::Video);
        parameters.set_id(codec_id(header.codec));
        // SAFETY: `parameters` owns a valid AVCodecParameters; FFmpeg frees the extradata with it, so
        // it comes from FFmpeg's allocator, with the zeroed padding that FFmpeg asks for. The output
        // context is valid until dropped.
        unsafe {
            let raw = parameters.as_mut_ptr();
            (*raw).width = header.width as i32;
            (*raw).height = header.height as i32;
            (*raw).format = ffmpeg::ffi::AVPixelFormat::AV_PIX_FMT_YUV420P as i32;
            (*raw).color_space = color::Space::SMPTE170M.into();
            (*raw).color_range = color::Range::MPEG.into();
            (*raw).color_primaries = color::Primaries::BT709.into();
            (*raw).color_trc = color::TransferCharacteristic::IEC61966_2_1.into();
            (*raw).sample_aspect_ratio = Rational(1, 1).into();
            let size = header.extradata.len();
            let data = ffmpeg::ffi::av_mallocz(size + ffmpeg::ffi::AV_INPUT_BUFFER_PADDING_SIZE as usize).cast::<u8>();
            if data.is_null() {
                return Err(failed(ffmpeg::Error::Other { errno: ffmpeg::error::ENOMEM }));
            }
            std::ptr::copy_nonoverlapping(header.extradata.as_ptr(), data, size);
            (*raw).extradata = data;
            (*raw).extradata_size = size as i32;
            (*output.as_mut_ptr()).flags |= ffmpeg::ffi::AVFMT_FLAG_BITEXACT;
        }
        {
            let none: Option<ffmpeg::Codec> = None;
            let mut stream = output.add_stream(none).map_err(failed)?;
            stream.set_parameters(parameters);
            stream.set_time_base(Rational(1, fps as i32));
            stream.set_avg_frame_rate(Rational(fps as i32, 1));
            stream.set_rate(Rational(fps as i32, 1));
        }
        let mut options = Dictionary::new();
        // The index in front for web players; no edit list, since frame 0 is at 0.
        options.set("movflags", "faststart");
        options.set("use_editlist", "0");
        output.write_header_with(options).map_err(failed)?;
        let base = output.stream(0).map_or(Rational(1, fps as i32), |stream| stream.time_base());
        let ticks = i64::from(base.1) / (i64::from(base.0) * i64::from(fps));
        Ok(Self { output, path: path.to_path_buf(), ticks, next: 0 })
    }

    pub(crate) fn write(&mut self, bytes: &[u8], key: bool) -> Result<()> {
        let mut packet = ffmpeg::Packet::copy(bytes);
        packet.set_stream(0);
        packet.set_pts(Some(self.next * self.ticks));
        packet.set_dts(Some(self.next * self.ticks));
        packet.set_duration(self.ticks);
        if key {
            packet.set_flags(ffmpeg::codec::packet::Flags::KEY);
        }
        self.next += 1;
        packet.write(&mut self.output).map_err(|source| Error::video("writing", Some(&self.path), source))?;
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Result<()> {
        self.output.write_trailer().map_err(|source| Error::video("finishing", Some(&self.path), source))
    }
}

/// Reads packets of a video file in order, without decoding.
pub(crate) struct Demuxer {
    input: ffmpeg::format::context::Input,
    path: PathBuf,
    stream: usize,
}

fn open_input(path: &Path) -> Result<(ffmpeg::format::context::Input, usize)> {
    init();
    let input = ffmpeg::format::input(path).map_err(|source| match source {
        ffmpeg::Error::Other { .. } => Error::video("opening", Some(path), source),
        source => Error::corrupt(path, format!("no readable video: {source}")),
    })?;
    let stream = input
        .streams()
        .best(ffmpeg::media::Type::Video)
        .map(|stream| stream.index())
        .ok_or_else(|| Error::corrupt(path, "holds no video stream"))?;
    Ok((input, stream))
}

impl Demuxer {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let (input, stream) = open_input(path)?;
        Ok(Self { input, path: path.to_path_buf(), stream })
    }

    pub(crate) fn header(&self, codec: Codec) -> Result<StreamHeader> {
        let parameters = self
            .input
            .stream(self.stream)
            .ok_or_else(|| Error::corrupt(&self.path, "lost its video stream"))?
            .parameters();
        if parameters.id() != codec_id(codec) {
            return Err(Error::corrupt(&self.path, format!("holds {:?}, expected {codec:?}", parameters.id())));
        }
        // SAFETY: the parameters belong to the open input and are valid while it lives; extradata is
        // null or `extradata_size` bytes.
        unsafe {
            let raw = parameters.as_ptr();
            let extradata = if (*raw).extradata.is_null() {
                Vec::new()
            } else {
                std::slice::from_raw_parts((*raw).extradata, (*raw).extradata_size as usize).to_vec()
            };
            // An mp4 file has four bytes before the AV1 sequence header that its encoder gave.
            let wrapped = codec == Codec::Av1 && extradata.first().is_some_and(|first| first & 0x80 != 0);
            let extradata = if wrapped { extradata.get(4..).unwrap_or_default().to_vec() } else { extradata };
            Ok(StreamHeader { codec, width: (*raw).width as u32, height: (*raw).height as u32, extradata })
        }
    }

    /// The next packet in decoding order.
    pub(crate) fn next(&mut self) -> Result<Option<Packet>> {
        let mut packet = ffmpeg::Packet::empty();
        loop {
            match packet.read(&mut self.input) {
                Ok(()) if packet.stream() == self.stream => {
                    let bytes = packet.data().unwrap_or_default().to_vec();
                    return Ok(Some(Packet { bytes, key: packet.is_key() }));
                }
                Ok(()) => {
                    // SAFETY: the packet is valid; this drops its reference to another stream's data.
                    unsafe { ffmpeg::ffi::av_packet_unref(packet.as_mut_ptr()) }
                }
                Err(ffmpeg::Error::Eof) => return Ok(None),
                Err(source) => return Err(Error::corrupt(&self.path, format!("packet cannot be read: {source}"))),
            }
        }
    }
}

/// Reads pictures of a video file, from any frame on.
pub(crate) struct Decoder {
    input: ffmpeg::format::context::Input,
    inner: ffmpeg::decoder::Video,
    path: PathBuf,
    stream: usize,
    time_base: Rational,
    fps: f64,
    frame: ffmpeg::frame::Video,
    scaler: Option<ffmpeg::software::scaling::Context>,
    drained: bool,
}

/// A decoded picture: `[H, W, 3]` sRGB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// `[H, W, 3]`, row 0 at the top.
    pub rgb: Vec<u8>,
}

impl Decoder {
    pub(crate) fn open(path: &Path, fps: f64) -> Result<Self> {
        let (input, stream) = open_input(path)?;
        let damaged = |source: ffmpeg::Error| Error::corrupt(path, format!("cannot be decoded: {source}"));
        let found = input.stream(stream).ok_or_else(|| Error::corrupt(path, "lost its video stream"))?;
        let time_base = found.time_base();
        let mut context = ffmpeg::codec::Context::from_parameters(found.parameters()).map_err(damaged)?;
        context.set_threading(ffmpeg::threading::Config::count(1));
        let mut decoder = context.decoder();
        // A damaged picture is an error, not a guess.
        decoder.check(Check::EXPLODE | Check::CRC | Check::BITSTREAM | Check::BUFFER);
        let inner = decoder.video().map_err(damaged)?;
        let frame = ffmpeg::frame::Video::empty();
        let path = path.to_path_buf();
        Ok(Self { input, inner, path, stream, time_base, fps, frame, scaler: None, drained: false })
    }

    /// Goes to the key frame at or before frame `index`.
    pub(crate) fn seek(&mut self, index: u64) -> Result<()> {
        // FFmpeg's own clock ticks in microseconds; half a frame late, so that rounding cannot miss.
        let ticks = ((index as f64 + 0.5) / self.fps * 1e6) as i64;
        self.input
            .seek(ticks, ..ticks)
            .map_err(|source| Error::corrupt(&self.path, format!("frame {index} cannot be reached: {source}")))?;
        self.inner.flush();
        self.drained = false;
        Ok(())
    }

    /// The next picture and its frame number; `None` at the end of the file.
    pub(crate) fn next(&mut self) -> Result<Option<(u64, Picture)>> {
        let damaged = |path: &Path, source: ffmpeg::Error| Error::corrupt(path, format!("cannot be decoded: {source}"));
        loop {
            match self.inner.receive_frame(&mut self.frame) {
                Ok(()) => {
                    let pts = self.frame.timestamp().or(self.frame.pts());
                    let pts = pts.ok_or_else(|| Error::corrupt(&self.path, "a picture has no time"))?;
                    let seconds = pts as f64 * f64::from(self.time_base.0) / f64::from(self.time_base.1);
                    let index = (seconds * self.fps).round().max(0.0) as u64;
                    return Ok(Some((index, self.picture()?)));
                }
                Err(ffmpeg::Error::Eof) => return Ok(None),
                Err(ffmpeg::Error::Other { errno: ffmpeg::error::EAGAIN }) if !self.drained => {}
                Err(source) => return Err(damaged(&self.path, source)),
            }
            let mut packet = ffmpeg::Packet::empty();
            match packet.read(&mut self.input) {
                Ok(()) if packet.stream() == self.stream => {
                    self.inner.send_packet(&packet).map_err(|source| damaged(&self.path, source))?;
                }
                Ok(()) => {}
                Err(ffmpeg::Error::Eof) => {
                    self.drained = true;
                    self.inner.send_eof().map_err(|source| damaged(&self.path, source))?;
                }
                Err(source) => return Err(damaged(&self.path, source)),
            }
        }
    }

    fn picture(&mut self) -> Result<Picture> {
        let (width, height) = (self.frame.width(), self.frame.height());
        let (full, shift) = match self.frame.format() {
            Pixel::YUV420P => (false, Some([1, 1])),
            Pixel::YUVJ420P => (true, Some([1, 1])),
            Pixel::YUV444P => (false, Some([0, 0])),
            Pixel::YUVJ444P => (true, Some([0, 0])),
            Pixel::YUV422P => (false, Some([1, 0])),
            _ => (false, None),
        };
        let rgb = match shift {
            Some(shift) => {
                let matrix = Matrix {
                    bt709: self.frame.color_space() == color::Space::BT709,
                    full_range: full || self.frame.color_range() == color::Range::JPEG,
                };
                let planes = [0, 1, 2].map(|i| Plane { bytes: self.frame.data(i), stride: self.frame.stride(i) });
                colour::to_rgb(planes, width as usize, height as usize, shift, matrix)
            }
            None => self.scaled(width, height)?,
        };
        Ok(Picture { width, height, rgb })
    }

    /// Rarer pixel formats (10 bits, grey) through FFmpeg's scaler.
    fn scaled(&mut self, width: u32, height: u32) -> Result<Vec<u8>> {
        let failed = |source| Error::video("converting pixels of", Some(&self.path), source);
        let format = self.frame.format();
        let scaler = match &mut self.scaler {
            Some(scaler) => scaler,
            none => none.insert(
                ffmpeg::software::scaling::Context::get(
                    format,
                    width,
                    height,
                    Pixel::RGB24,
                    width,
                    height,
                    ffmpeg::software::scaling::Flags::BITEXACT | ffmpeg::software::scaling::Flags::ACCURATE_RND,
                )
                .map_err(failed)?,
            ),
        };
        let mut out = ffmpeg::frame::Video::empty();
        scaler.run(&self.frame, &mut out).map_err(failed)?;
        let row = width as usize * 3;
        Ok(out.data(0).chunks(out.stride(0)).take(height as usize).flat_map(|line| &line[..row]).copied().collect())
    }
}

#[cfg(test)]
mod tests;
