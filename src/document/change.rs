//! Structural transitions.
