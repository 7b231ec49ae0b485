//! Digests of records and images.
