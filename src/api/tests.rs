//! What concerns the HTTP interface as a whole.

mod coverage;
