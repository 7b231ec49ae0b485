//! Layers, owners, file sizes, documented paths.
