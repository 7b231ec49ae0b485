//! Kill, truncation, disk full, hostile files.
