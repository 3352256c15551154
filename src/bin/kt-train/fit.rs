//! Logistic regression over buckets: FTRL-proximal on the worst window of each text.
//!
//! A text scores what its worst window scores, so that is the window to learn from: of an attack the one that gives it away, of a benign
//! text the one that looks most like an attack.

use crate::rows::{Row, Rows};
use kt::policy::prompt_injection::training::BUCKETS;

/// Step sizes and penalties.
#[derive(Debug, Clone)]
pub struct Rates {
    /// How far one text moves a weight.
    pub rate: f32,
    /// Pulls weights to zero.
    pub l1: f32,
    /// Pulls large weights down.
    pub l2: f32,
    /// Times every text is seen.
    pub epochs: usize,
    /// 0: every text counts the same. 1: every source does.
    pub balance: f32,
}

impl Default for Rates {
    fn default() -> Self {
        Self { rate: 0.1, l1: 0.5, l2: 1.0, epochs: 6, balance: 0.3 }
    }
}

/// What a text counts for, before sources are balanced.
const IMPORTANCE: f32 = 5.0;
/// A gradient smaller than this teaches nothing.
const LEARNT: f32 = 1e-4;
/// Of the order texts are seen in.
const SEED: u64 = 0x5eed_0f6b_7407;
/// Distinct bytes a weight may take on each side of zero.
const STEPS: f32 = 127.0;

/// Weights of buckets.
pub struct Model {
    /// One for each bucket.
    pub weights: Vec<f32>,
    /// Log-odds of the empty text.
    pub bias: f32,
}

impl Model {
    /// The log-odds of a text, and which window it is.
    pub fn worst(&self, row: &Row) -> (f32, usize) {
        let sums = row.reading.windows().map(|window| window.iter().map(|bucket| self.of(*bucket)).sum::<f32>());
        let (at, sum) = sums.enumerate().max_by(|(_, a), (_, b)| a.total_cmp(b)).unwrap_or_default();
        (sum + self.bias, at)
    }

    /// The weight one step of a byte stands for.
    pub fn unit(&self) -> f32 {
        self.weights.iter().fold(f32::MIN_POSITIVE, |most, weight| most.max(weight.abs())) / STEPS
    }

    fn of(&self, bucket: u16) -> f32 {
        self.weights.get(usize::from(bucket)).copied().unwrap_or_default()
    }
}

/// Learns from the rows that may be taught and for which `take` holds.
pub fn fit(rows: &Rows, take: impl Fn(&Row) -> bool, rates: &Rates) -> Model {
    let mut taught: Vec<&Row> = rows.all.iter().filter(|row| (row.taught || !row.attack) && take(row)).collect();
    let mut counts = vec![0.0f32; rows.sources.len()];
    taught.iter().for_each(|row| counts[row.source] += 1.0);
    let mut learner = Learner::new(rates.clone());
    let mut random = Random(SEED);
    for epoch in 0..rates.epochs {
        random.shuffle(&mut taught);
        for row in &taught {
            let importance = IMPORTANCE * counts[row.source].powf(-rates.balance);
            let windows = row.reading.windows().len();
            if epoch == 0 && row.attack && windows > 1 {
                // Nobody knows yet which window it is.
                (0..windows).for_each(|window| learner.learn(row, window, importance / windows as f32));
            } else if windows > 0 {
                learner.learn(row, learner.model.worst(row).1, importance);
            }
        }
    }
    learner.model
}

/// A model and, for each weight, what it was pulled by.
struct Learner {
    model: Model,
    rates: Rates,
    pulls: Vec<f32>,
    squares: Vec<f32>,
    bias_squares: f32,
}

impl Learner {
    fn new(rates: Rates) -> Self {
        let model = Model { weights: vec![0.0; BUCKETS], bias: -1.0 };
        Self { model, rates, pulls: vec![0.0; BUCKETS], squares: vec![0.0; BUCKETS], bias_squares: 1.0 }
    }

    fn learn(&mut self, row: &Row, window: usize, importance: f32) {
        let Some(buckets) = row.reading.windows().nth(window) else { return };
        let odds = buckets.iter().map(|bucket| self.model.of(*bucket)).sum::<f32>() + self.model.bias;
        let gradient = (1.0 / (1.0 + (-odds).exp()) - f32::from(u8::from(row.attack))) * importance;
        if gradient.abs() < LEARNT {
            return;
        }
        let Rates { rate, l1, l2, .. } = self.rates;
        self.bias_squares += gradient * gradient;
        self.model.bias -= rate * gradient / self.bias_squares.sqrt();
        for bucket in buckets {
            let at = usize::from(*bucket);
            let (pull, square, weight) = (&mut self.pulls[at], &mut self.squares[at], &mut self.model.weights[at]);
            let root = (*square + gradient * gradient).sqrt();
            *pull += gradient - (root - square.sqrt()) / rate * *weight;
            *square += gradient * gradient;
            *weight = if pull.abs() <= l1 { 0.0 } else { -(*pull - pull.signum() * l1) / ((1.0 + root) / rate + l2) };
        }
    }
}

/// Xorshift: all that a shuffle needs.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, (self.next() % (last as u64 + 1)) as usize);
        }
    }
}
