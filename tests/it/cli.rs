//! The command line as a stranger sees it.
