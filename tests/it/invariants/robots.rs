//! Robots read from files keep their limits.
