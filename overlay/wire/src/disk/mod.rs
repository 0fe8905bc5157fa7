//! Append-only segment files.
