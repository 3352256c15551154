//! Counts what is done to a text, in steps of about ten instructions, so that a test can tell linear work from worse without a clock.

use std::cell::Cell;

thread_local!(static DONE: Cell<usize> = const { Cell::new(0) });

/// Adds steps of this thread.
pub fn count(steps: usize) {
    DONE.set(DONE.get() + steps);
}

/// The steps of this thread so far.
pub fn done() -> usize {
    DONE.get()
}
