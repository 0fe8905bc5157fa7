//! An allocator that counts what is held, for tests of what things cost in memory. Nothing is sampled, and what no table admits to
//! is counted too.
//!
//! A test binary includes this file, and all that it does is counted: so it has one test, or its tests run in processes of their
//! own, as nextest does it.

// An allocator cannot be written without: it only adds numbers up and calls the system's.
#![allow(unsafe_code)]
#![allow(dead_code)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicUsize, Ordering},
};

struct Counting;

static BYTES: AtomicUsize = AtomicUsize::new(0);
static CHUNKS: AtomicUsize = AtomicUsize::new(0);

/// As the system's allocator hands out memory: in chunks of 16 bytes, with 8 of its own.
fn chunk(size: usize) -> usize {
    (size + 8).next_multiple_of(16).max(32)
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.fetch_add(layout.size(), Ordering::Relaxed);
        CHUNKS.fetch_add(chunk(layout.size()), Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        CHUNKS.fetch_sub(chunk(layout.size()), Ordering::Relaxed);
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Bytes that were asked for and not given back.
pub fn bytes() -> usize {
    BYTES.load(Ordering::Relaxed)
}

/// The same with what the allocator itself spends on them.
pub fn chunks() -> usize {
    CHUNKS.load(Ordering::Relaxed)
}
