//! Scripted policies reach their goals.
