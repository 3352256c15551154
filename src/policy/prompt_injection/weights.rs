//! What training left behind: one byte for each bucket, and the terms under which they mean anything.
//!
//! ```text
//!  0  magic          8 bytes, `ktinject`
//!  8  version        u16, of this layout
//! 10  features       u16, what the buckets count (`grams`)
//! 12  bits           u8, width of a bucket number, then three zeros
//! 16  seed           u64, of the hash
//! 24  scale          f32, log-odds of one unit of weight
//! 28  bias           f32, log-odds of the empty text
//! 32  rules          f32, log-odds of one log-odd the rules give
//! 36  warn           f32, log-odds that 0.5 % of benign texts reach
//! 40  block          f32, log-odds that 0.1 % of benign texts reach
//! 44  data           32 bytes, SHA-256 of the training file
//! 76  checksum       u32, CRC-32C of everything before it and after it
//! 80  weights        one i8 for each bucket
//! ```
//!
//! All numbers are little-endian. A file that differs in any of it is refused: a wrong score would look like a right one.

use super::grams::{BITS, FEATURES};
use super::letters::SEED;

/// Bytes before the weights.
const HEADER: usize = 80;
/// Where the checksum stands.
const CHECKSUM: usize = 76;
/// How many weights there are: one for each value of a bucket number.
pub const BUCKETS: usize = 1 << BITS;

/// Log-odds of the score 0.75, which blocks by default; 0.5 warns.
const BLOCK_ODDS: f32 = 1.098_612_3;

const MAGIC: &[u8; 8] = b"ktinject";
const VERSION: u16 = 1;

/// Why a weights file is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WeightsError {
    /// Not as long as its layout, or not beginning as it does.
    #[error("the weights of the injection model are not a weights file of version {VERSION}")]
    Layout,
    /// Trained on something this build does not compute.
    #[error("the weights of the injection model were trained on other features than this build reads")]
    Features,
    /// Damaged.
    #[error("the weights of the injection model are damaged: their checksum differs")]
    Checksum,
    /// A number no training yields.
    #[error("the weights of the injection model have terms that are not usable numbers")]
    Terms,
}

/// How a sum of weights becomes a score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Terms {
    /// Log-odds of one unit of weight.
    pub scale: f32,
    /// Log-odds of the empty text.
    pub bias: f32,
    /// What one log-odd of the rules weighs.
    pub rules: f32,
    /// The log-odds 0.5 % of benign texts reach.
    pub warn: f32,
    /// The log-odds 0.1 % of benign texts reach.
    pub block: f32,
}

impl Terms {
    /// A score between 0 and 1 for the sum of a window's weights and the log-odds of the rules. It counts false alarms: 1 benign text
    /// in 200 reaches 0.5, and 1 in 1,000 reaches 0.75.
    pub fn score(&self, sum: i32, rules: f32) -> f32 {
        let odds = (self.log_odds(sum, rules) - self.warn) / (self.block - self.warn) * BLOCK_ODDS;
        1.0 / (1.0 + (-odds).exp())
    }

    /// The log-odds of an attack, for the sum of a window's weights and the log-odds of the rules.
    pub fn log_odds(&self, sum: i32, rules: f32) -> f32 {
        sum as f32 * self.scale + self.bias + rules * self.rules
    }

    fn are_usable(&self) -> bool {
        let finite = [self.scale, self.bias, self.rules, self.warn, self.block].iter().all(|term| term.is_finite());
        finite && self.scale > 0.0 && self.rules >= 0.0 && self.warn < self.block
    }
}

/// A checked weights file.
#[derive(Clone)]
pub struct Weights {
    table: Box<[i8; BUCKETS]>,
    terms: Terms,
    data: [u8; 32],
}

impl Weights {
    /// What training found on the data with this SHA-256.
    ///
    /// # Errors
    ///
    /// [`WeightsError::Terms`] for terms that are not usable.
    pub fn new(table: Box<[i8; BUCKETS]>, terms: Terms, data: [u8; 32]) -> Result<Self, WeightsError> {
        if terms.are_usable() { Ok(Self { table, terms, data }) } else { Err(WeightsError::Terms) }
    }

    /// Reads a weights file.
    ///
    /// # Errors
    ///
    /// Whatever differs from the layout, from what this build computes, or from what was written.
    pub fn parse(file: &[u8]) -> Result<Self, WeightsError> {
        let field = |at: usize, len: usize| file.get(at..at + len).ok_or(WeightsError::Layout);
        if file.len() != HEADER + BUCKETS || field(0, 8)? != MAGIC || field(8, 2)? != VERSION.to_le_bytes() {
            return Err(WeightsError::Layout);
        }
        if field(CHECKSUM, 4)? != checksum(field(0, CHECKSUM)?, field(HEADER, BUCKETS)?) {
            return Err(WeightsError::Checksum);
        }
        let features = field(10, 2)? == FEATURES.to_le_bytes() && field(12, 4)? == [BITS, 0, 0, 0];
        if !features || field(16, 8)? != SEED.to_le_bytes() {
            return Err(WeightsError::Features);
        }
        let term = |at| field(at, 4).and_then(|b| b.try_into().map_err(|_| WeightsError::Layout)).map(f32::from_le_bytes);
        let terms = Terms { scale: term(24)?, bias: term(28)?, rules: term(32)?, warn: term(36)?, block: term(40)? };
        let table: Vec<i8> = field(HEADER, BUCKETS)?.iter().map(|b| b.cast_signed()).collect();
        let table = table.into_boxed_slice().try_into().map_err(|_| WeightsError::Layout)?;
        Self::new(table, terms, field(44, 32)?.try_into().map_err(|_| WeightsError::Layout)?)
    }

    /// The file [`Weights::parse`] reads back.
    #[cfg(any(test, feature = "train"))]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut head = Vec::with_capacity(HEADER + BUCKETS);
        head.extend_from_slice(MAGIC);
        head.extend_from_slice(&VERSION.to_le_bytes());
        head.extend_from_slice(&FEATURES.to_le_bytes());
        head.extend_from_slice(&[BITS, 0, 0, 0]);
        head.extend_from_slice(&SEED.to_le_bytes());
        let Terms { scale, bias, rules, warn, block } = self.terms;
        [scale, bias, rules, warn, block].iter().for_each(|term| head.extend_from_slice(&term.to_le_bytes()));
        head.extend_from_slice(&self.data);
        let table: Vec<u8> = self.table.iter().map(|weight| weight.cast_unsigned()).collect();
        let checksum = checksum(&head, &table);
        head.extend_from_slice(&checksum);
        head.extend_from_slice(&table);
        head
    }

    /// The weight of a bucket.
    #[inline]
    pub fn of(&self, bucket: u16) -> i32 {
        i32::from(self.table[usize::from(bucket)])
    }

    /// How a sum of weights becomes a score.
    pub fn terms(&self) -> Terms {
        self.terms
    }

    /// SHA-256 of the training file, for whoever wants to know what this was trained on.
    #[cfg(any(test, feature = "train"))]
    pub fn data(&self) -> [u8; 32] {
        self.data
    }
}

impl std::fmt::Debug for Weights {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Weights").field("terms", &self.terms).field("data", &hex::encode(self.data)).finish_non_exhaustive()
    }
}

fn checksum(head: &[u8], table: &[u8]) -> [u8; 4] {
    crc32c::crc32c_append(crc32c::crc32c(head), table).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights() -> Weights {
        let terms = Terms { scale: 0.02, bias: -1.5, rules: 0.7, warn: 0.5, block: 2.0 };
        let mut table = Box::new([0; BUCKETS]);
        table[7] = -128;
        Weights::new(table, terms, [9; 32]).unwrap()
    }

    #[test]
    fn what_is_written_is_read_back() {
        let file = weights().to_bytes();
        assert!(file.len() <= 96 << 10);
        let read = Weights::parse(&file).unwrap();
        assert_eq!((read.of(7), read.of(8), read.terms(), read.data()), (-128, 0, weights().terms(), [9; 32]));
    }

    #[test]
    fn a_file_with_any_bit_changed_is_refused() {
        let file = weights().to_bytes();
        for at in (0..HEADER).chain([HEADER, HEADER + 7, file.len() - 1]) {
            let mut damaged = file.clone();
            damaged[at] ^= 1;
            assert!(Weights::parse(&damaged).is_err(), "byte {at}");
        }
        assert_eq!(Weights::parse(&file[..file.len() - 1]).unwrap_err(), WeightsError::Layout);
        assert_eq!(Weights::parse(b"").unwrap_err(), WeightsError::Layout);
    }

    #[test]
    fn weights_of_another_build_are_refused_even_when_whole() {
        for at in [10, 12, 16] {
            let mut file = weights().to_bytes();
            file[at] ^= 1;
            let sum = checksum(&file[..CHECKSUM], &file[HEADER..]);
            file[CHECKSUM..HEADER].copy_from_slice(&sum);
            assert_eq!(Weights::parse(&file).unwrap_err(), WeightsError::Features, "byte {at}");
        }
    }

    #[test]
    fn terms_that_order_nothing_are_refused() {
        let good = weights().terms();
        for bad in [Terms { block: 0.5, ..good }, Terms { scale: 0.0, ..good }, Terms { bias: f32::NAN, ..good }] {
            assert_eq!(Weights::new(Box::new([0; BUCKETS]), bad, [0; 32]).unwrap_err(), WeightsError::Terms);
        }
    }

    #[test]
    fn the_weights_in_the_binary_are_those_of_this_build() {
        assert!(Weights::parse(include_bytes!("weights.bin")).is_ok());
    }
}
