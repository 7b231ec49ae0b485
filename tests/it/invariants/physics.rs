//! Conservation laws, each with a negative control.
