//! Cuts members out of an object so that the rest of it stays valid JSON: each run of them goes with exactly one comma.

use super::edit::Splice;
use std::ops::Range;

/// Collects the cuts of one object, whose members are shown to it in order.
#[derive(Debug, Default)]
pub(super) struct Cuts {
    splices: Vec<Splice>,
    /// Where the last member that stays ends.
    stays_to: Option<usize>,
    /// The run of members that go, so far.
    run: Option<Range<usize>>,
}

impl Cuts {
    /// The next member, from its key's opening quote to the end of its value, stays.
    pub(super) fn keep(&mut self, member: Range<usize>) {
        if let Some(run) = self.run.take() {
            // Behind a member that stays, the comma before the run has gone with it; at the head, the one after it goes.
            let end = if self.stays_to.is_some() { run.end } else { member.start };
            self.splices.push(Splice::new(run.start..end, ""));
        }
        self.stays_to = Some(member.end);
    }

    /// The next member goes.
    pub(super) fn drop(&mut self, member: Range<usize>) {
        let start = match &self.run {
            Some(run) => run.start,
            None => self.stays_to.unwrap_or(member.start),
        };
        self.run = Some(start..member.end);
    }

    /// The object is over: the cuts, in order, one a run.
    pub(super) fn finish(mut self) -> Vec<Splice> {
        self.splices.extend(self.run.map(|run| Splice::new(run, "")));
        self.splices
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openai::edit::rewrite;

    #[test]
    fn every_run_of_members_goes_with_one_comma() {
        let object = r#"{ "a" : 1 , "b":2,"c": 3 }"#;
        let members = [2..9, 12..17, 18..24];
        for (gone, left) in [
            ([false, false, false], r#"{ "a" : 1 , "b":2,"c": 3 }"#),
            ([true, false, false], r#"{ "b":2,"c": 3 }"#),
            ([false, true, false], r#"{ "a" : 1,"c": 3 }"#),
            ([false, false, true], r#"{ "a" : 1 , "b":2 }"#),
            ([true, true, false], r#"{ "c": 3 }"#),
            ([true, false, true], r#"{ "b":2 }"#),
            ([false, true, true], r#"{ "a" : 1 }"#),
            ([true, true, true], r#"{  }"#),
        ] {
            let mut cuts = Cuts::default();
            for (member, gone) in members.iter().zip(gone) {
                if gone { cuts.drop(member.clone()) } else { cuts.keep(member.clone()) }
            }
            assert_eq!(rewrite(object.as_bytes(), cuts.finish()), left.as_bytes(), "{gone:?}");
        }
    }
}
