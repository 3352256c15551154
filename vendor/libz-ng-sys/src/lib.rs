//! Stock zlib under the name of zlib-ng, so that the build needs no cmake.
#![no_std]

pub use libz_sys::*;
