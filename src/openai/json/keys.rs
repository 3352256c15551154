//! The keys of the objects that are open, so that a second one of the same name is noticed.

use std::borrow::Cow;
use std::collections::HashSet;

/// Objects of up to this many keys are searched; larger ones are hashed, so that a million keys stay linear.
const SEARCHED: usize = 16;

/// The keys seen so far in every open object, outermost first.
#[derive(Debug, Default)]
pub(super) struct Keys<'a> {
    names: Vec<Cow<'a, str>>,
    open: Vec<Open<'a>>,
}

#[derive(Debug)]
struct Open<'a> {
    /// Where this object's keys begin in `names`.
    from: usize,
    hashed: Option<HashSet<Cow<'a, str>>>,
}

impl<'a> Keys<'a> {
    /// An object begins.
    pub(super) fn open(&mut self) {
        self.open.push(Open { from: self.names.len(), hashed: None });
    }

    /// The innermost object ends.
    pub(super) fn close(&mut self) {
        if let Some(object) = self.open.pop() {
            self.names.truncate(object.from);
        }
    }

    /// Takes a decoded key of the innermost object; `false` if it was there.
    pub(super) fn add(&mut self, name: Cow<'a, str>) -> bool {
        let Some(object) = self.open.last_mut() else { return true };
        if let Some(hashed) = &mut object.hashed {
            return hashed.insert(name);
        }
        let own = self.names.get(object.from..).unwrap_or_default();
        if own.contains(&name) {
            return false;
        }
        if own.len() < SEARCHED {
            self.names.push(name);
        } else {
            let mut hashed: HashSet<_> = self.names.drain(object.from..).collect();
            hashed.insert(name);
            object.hashed = Some(hashed);
        }
        true
    }
}
