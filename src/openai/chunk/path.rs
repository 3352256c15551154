//! Where a text without a name of its own stands in an answer, as a number: the same one in every chunk.

use super::AnswerKind;

/// The way from `delta` or `message` down to a value.
///
/// Its number is a sum with one term a step, so that one step can be exchanged afterwards: the `index` of an array's element may
/// stand behind its text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Path {
    number: u32,
    depth: u32,
    free: bool,
}

impl Path {
    /// `delta` or `message` itself.
    pub(super) const ROOT: Self = Self { number: 0, depth: 0, free: false };

    /// A member of the object here.
    pub(super) const fn member(self, name: &str) -> Self {
        self.step(b'.', name.as_bytes())
    }

    /// The name of a member of the object here, for names that say something.
    pub(super) const fn name(self, name: &str) -> Self {
        self.step(b'=', name.as_bytes())
    }

    /// An element of the array here.
    pub(super) const fn element(self, index: u32) -> Self {
        self.step(b'#', &index.to_le_bytes())
    }

    /// From here on the model chose the keys: none of them is grammar.
    pub(super) const fn free(self) -> Self {
        Self { free: true, ..self }
    }

    /// Whether the model chose the keys here.
    pub(super) const fn is_free(self) -> bool {
        self.free
    }

    /// What a text here carries.
    pub(super) const fn kind(self) -> AnswerKind {
        AnswerKind::Other(self.number)
    }

    /// The number of a path that led through element `from` of the array here, as if it had led through element `to`.
    pub(super) const fn moved(self, number: u32, from: u32, to: u32) -> u32 {
        number.wrapping_sub(self.element(from).number).wrapping_add(self.element(to).number)
    }

    const fn step(self, form: u8, name: &[u8]) -> Self {
        // FNV-1a of the depth, the form and the name, each byte of which has then to reach every bit: the terms are summed.
        let mut term = fnv(fnv(0x811c_9dc5, &self.depth.to_le_bytes()), &[form]);
        term = fnv(term, name);
        term = (term ^ term >> 16).wrapping_mul(0x85eb_ca6b);
        term = (term ^ term >> 13).wrapping_mul(0xc2b2_ae35);
        term ^= term >> 16;
        Self { number: self.number.wrapping_add(term), depth: self.depth + 1, ..self }
    }
}

const fn fnv(mut hash: u32, mut bytes: &[u8]) -> u32 {
    while let [byte, rest @ ..] = bytes {
        hash = (hash ^ *byte as u32).wrapping_mul(0x0100_0193);
        bytes = rest;
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn neighbouring_paths_have_numbers_of_their_own() {
        let steps = |path: Path| {
            let members =
                ["a", "b", "ab", "text", "index"].into_iter().flat_map(move |name| [path.member(name), path.name(name)]);
            members.chain((0..20).map(move |index| path.element(index))).collect::<Vec<_>>()
        };
        let mut paths = vec![Path::ROOT];
        for level in 0..3 {
            let from = paths.len() - 30usize.pow(level);
            let next: Vec<Path> = paths[from..].iter().flat_map(|path| steps(*path)).collect();
            paths.extend(next);
        }
        let numbers: HashSet<u32> = paths.iter().map(|path| path.number).collect();
        assert_eq!(numbers.len(), 1 + 30 + 900 + 27_000);
    }

    #[test]
    fn a_moved_path_is_the_path_of_the_other_element() {
        let array = Path::ROOT.member("tool_calls");
        let below = |index| array.element(index).member("x").element(7).number;
        assert_eq!(array.moved(below(0), 0, 5), below(5));
    }
}
