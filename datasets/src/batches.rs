//! Windows of frames in batches, streamed from disk: what a training loop reads.

use std::collections::VecDeque;
use std::sync::Arc;

use worldloom_engine::stream::Stream;

use crate::error::{Error, Result};
use crate::reader::{Dataset, FrameRow, Frames};

/// What batches are made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchSpec {
    /// Windows in a batch, B. The last batch may be smaller.
    pub batch: usize,
    /// Frames in a window, T. Episodes shorter than this give none.
    pub window: usize,
    /// Frames from one window's start to the next.
    pub stride: usize,
    /// LeRobot's keys of the cameras wanted.
    pub cameras: Vec<String>,
    /// Episodes to read, in this order; all if absent.
    pub episodes: Option<Vec<u64>>,
    /// Shuffles episodes, and windows within `buffer` of each other, by this seed.
    pub shuffle: Option<u64>,
    /// Windows held back for shuffling; bounds memory.
    pub buffer: usize,
}

impl BatchSpec {
    /// Batches of `batch` windows of `window` frames, one after the other, without pictures.
    pub fn new(batch: usize, window: usize) -> Self {
        Self { batch, window, stride: window, cameras: Vec::new(), episodes: None, shuffle: None, buffer: 256 }
    }
}

/// B windows of T frames.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Windows, B.
    pub windows: usize,
    /// By camera of the spec: `[B, T, C, H, W]`, 8-bit sRGB.
    pub pictures: Vec<Pictures>,
    /// `[B, T, D]`.
    pub state: Vec<f32>,
    /// `[B, T, A]`.
    pub action: Vec<f32>,
    /// `[B, T]`.
    pub reward: Vec<f32>,
    /// `[B, T]`.
    pub done: Vec<bool>,
    /// `[B]`: episode and frame of each window's start.
    pub starts: Vec<(u64, u64)>,
}

/// Pictures of a camera in a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pictures {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// `[B, T, C, H, W]`.
    pub pixels: Vec<u8>,
}

/// See [`Dataset::batches`].
pub struct Batches<'a> {
    dataset: &'a Dataset,
    spec: BatchSpec,
    episodes: VecDeque<u64>,
    frames: Option<Frames>,
    window: VecDeque<Arc<FrameRow>>,
    buffer: Vec<Vec<Arc<FrameRow>>>,
    random: Option<Stream>,
    failed: bool,
}

impl Dataset {
    /// Batches of windows, read as they are asked for.
    pub fn batches(&self, spec: BatchSpec) -> Result<Batches<'_>> {
        if spec.batch == 0 || spec.window == 0 || spec.stride == 0 {
            return Err(Error::invalid("batches", "batch, window and stride must be at least 1"));
        }
        let mut episodes = match &spec.episodes {
            Some(episodes) => episodes.clone(),
            None => (0..self.episodes().len() as u64).collect(),
        };
        let mut random = spec.shuffle.map(|seed| Stream::new(seed, "batches", 0, 0));
        if let Some(random) = &mut random {
            // Fisher and Yates.
            for i in (1..episodes.len()).rev() {
                episodes.swap(i, random.below(i as u64 + 1) as usize);
            }
        }
        let (episodes, window) = (episodes.into(), VecDeque::new());
        Ok(Batches { dataset: self, spec, episodes, frames: None, window, buffer: Vec::new(), random, failed: false })
    }
}

impl Batches<'_> {
    /// The next window in reading order.
    fn window(&mut self) -> Result<Option<Vec<Arc<FrameRow>>>> {
        loop {
            let frames = match &mut self.frames {
                Some(frames) => frames,
                none => {
                    let Some(episode) = self.episodes.pop_front() else { return Ok(None) };
                    let cameras: Vec<&str> = self.spec.cameras.iter().map(String::as_str).collect();
                    none.insert(self.dataset.frames_with(episode, &cameras)?)
                }
            };
            let Some(frame) = frames.next() else {
                self.frames = None;
                self.window.clear();
                continue;
            };
            self.window.push_back(Arc::new(frame?));
            if self.window.len() > self.spec.window {
                self.window.pop_front();
            }
            let start = self.window.front().map_or(0, |frame| frame.frame);
            if self.window.len() == self.spec.window && start.is_multiple_of(self.spec.stride as u64) {
                return Ok(Some(self.window.iter().cloned().collect()));
            }
        }
    }

    /// The next window, shuffled if that is asked for.
    fn sample(&mut self) -> Result<Option<Vec<Arc<FrameRow>>>> {
        if self.random.is_none() {
            return self.window();
        }
        while self.buffer.len() < self.spec.buffer.max(1) {
            match self.window()? {
                Some(window) => self.buffer.push(window),
                None => break,
            }
        }
        let count = self.buffer.len() as u64;
        Ok(match &mut self.random {
            Some(random) if count > 0 => Some(self.buffer.swap_remove(random.below(count) as usize)),
            _ => None,
        })
    }

    fn read(&mut self) -> Result<Option<Batch>> {
        let mut windows = Vec::with_capacity(self.spec.batch);
        while windows.len() < self.spec.batch {
            match self.sample()? {
                Some(window) => windows.push(window),
                None => break,
            }
        }
        if windows.is_empty() { Ok(None) } else { self.stack(&windows).map(Some) }
    }

    fn stack(&self, windows: &[Vec<Arc<FrameRow>>]) -> Result<Batch> {
        let mut batch = Batch {
            windows: windows.len(),
            pictures: vec![Pictures::default(); self.spec.cameras.len()],
            state: Vec::new(),
            action: Vec::new(),
            reward: Vec::new(),
            done: Vec::new(),
            starts: Vec::with_capacity(windows.len()),
        };
        for window in windows {
            if let Some(first) = window.first() {
                batch.starts.push((first.episode, first.frame));
            }
            for frame in window {
                batch.state.extend_from_slice(&frame.state);
                batch.action.extend_from_slice(&frame.action);
                batch.reward.push(frame.reward);
                batch.done.push(frame.done);
                for (camera, (all, picture)) in batch.pictures.iter_mut().zip(&frame.pictures).enumerate() {
                    if all.pixels.is_empty() {
                        (all.width, all.height) = (picture.width, picture.height);
                    }
                    if (all.width, all.height) != (picture.width, picture.height) {
                        let size = format!("{}×{}", picture.width, picture.height);
                        return Err(Error::invalid(
                            self.spec.cameras[camera].clone(),
                            format!("changes its size to {size}"),
                        ));
                    }
                    for channel in 0..3 {
                        all.pixels.extend(picture.rgb.iter().skip(channel).step_by(3));
                    }
                }
            }
        }
        Ok(batch)
    }
}

impl Iterator for Batches<'_> {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let batch = self.read();
        self.failed = batch.is_err();
        batch.transpose()
    }
}
