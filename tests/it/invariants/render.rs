//! Pictures against analytic silhouettes, depths and flows.
