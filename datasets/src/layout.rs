//! Names of files and folders.

/// Version of the files beside LeRobot's own: `worldloom.json`, `worldloom/`, `annotations/`, staging.
pub const FORMAT_VERSION: u32 = 1;
/// LeRobot's format.
pub const CODEBASE_VERSION: &str = "v3.0";
/// Episodes in a run. A writer holds the numbers of those that are done and those that are not, some
/// tens of bytes each; nothing else of it grows with them.
pub const MOST_EPISODES: u64 = 10_000_000;
/// Files in a chunk folder.
pub const CHUNK_FILES: u64 = 1000;
/// LeRobot's cap for data and metadata files, megabytes; ours for label files too.
pub const DATA_FILE_MB: u64 = 100;
/// LeRobot's cap for video files, megabytes.
pub const VIDEO_FILE_MB: u64 = 200;
/// Most episodes in a data file: a row group each.
pub const DATA_FILE_EPISODES: u64 = 250;
/// Columns times row groups of a data or metadata file, at least one row group. A writer and every reader
/// hold a description of each in memory, some 400 bytes: the more columns, the fewer episodes in a file.
pub const FILE_CHUNKS: u64 = 65_536;
/// Frames in a video file: its index is held in memory, and LeRobot's float32 times stay exact to 10⁻⁴ s.
pub const VIDEO_FILE_FRAMES: u64 = 36_000;

pub(crate) const VIDEO_EXTENSION: &str = "mp4";
/// Staging, in the output folder, gone when the dataset is finished.
pub(crate) const STAGING: &str = ".worldloom";
pub(crate) const MANIFEST: &str = "worldloom.json";
pub(crate) const INFO: &str = "meta/info.json";
pub(crate) const STATS: &str = "meta/stats.json";
pub(crate) const TASKS: &str = "meta/tasks.parquet";
pub(crate) const EPISODES: &str = "meta/episodes";
pub(crate) const RECORDS: &str = "worldloom/episodes";
/// Digests of the files, for `b3sum --check`.
pub(crate) const FILES: &str = "worldloom/files.b3";
pub(crate) const CARD: &str = "README.md";
pub(crate) const DATA_PATH: &str = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet";
pub(crate) const VIDEO_PATH: &str = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4";

/// `chunk-000/file-007.parquet` of the file number `file`.
pub(crate) fn numbered(file: u64, extension: &str) -> String {
    let (chunk, file) = chunk_and_file(file);
    format!("chunk-{chunk:03}/file-{file:03}.{extension}")
}

/// Chunk index and file index of the file number `file`.
pub(crate) fn chunk_and_file(file: u64) -> (u64, u64) {
    (file / CHUNK_FILES, file % CHUNK_FILES)
}
