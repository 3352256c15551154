//! What a reader needs to know before trusting the model.

use crate::folds::Folds;
use crate::rows::{Row, Rows};

/// The score a share of `rate` of the benign `scores` is above.
pub fn threshold(scores: &[f32], rate: f64) -> f32 {
    let mut sorted = scores.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    sorted.get((sorted.len() as f64 * rate) as usize).copied().unwrap_or(f32::MAX)
}

/// Prints recall and false alarms of rules, model and both at the two `rates`, over all and by source.
pub fn print(rows: &Rows, folds: &Folds, rates: [f64; 2]) {
    let attacks = rows.all.iter().filter(|row| row.attack).count();
    println!(
        "{} rows, {attacks} attacks, {} sources, each scored by a model that never saw it",
        rows.all.len(),
        rows.sources.len()
    );
    println!("{} times a row was left out of training as a copy", folds.copies);
    let rules: Vec<f32> = rows.all.iter().map(|row| row.reading.rules).collect();
    let ways = [("rules", rules), ("model", folds.model.clone()), ("shipped", folds.combined(rows))];
    let block = |row: &Row| row.reading.rules_block;
    let share = |of: &dyn Fn(&Row) -> bool| share(rows, of, |_, row| block(row));
    println!(
        "block rules alone: recall {:.3} of direct attacks, {:.5} of benign texts",
        share(&is_direct),
        share(&|r| !r.attack)
    );
    println!("rules were written with this data in sight; only the model's rows are blind\n");
    println!("{:8} {:>6}  {:>15}  {:>15}  {:>15}", "", "AUC", "all", "direct", "direct with words");
    for (name, scores) in &ways {
        let cuts = cuts(rows, scores, rates);
        print!("{name:8} {:6.3}", area(rows, scores));
        for of in [is_attack, is_direct, is_worded] {
            let [warn, block] = cuts.map(|cut| self::share(rows, of, |at, _| scores[at] > cut));
            print!("  {warn:7.3} {block:7.3}");
        }
        println!();
    }
    println!("\nby source: share above the {:.1} % and the {:.1} % point", rates[0] * 100.0, rates[1] * 100.0);
    print!("{:58} {:>6}", "", "rows");
    ways.iter().for_each(|(name, _)| print!(" {name:>13}"));
    println!();
    for attack in [true, false] {
        for (source, name) in rows.sources.iter().enumerate() {
            let of = |row: &Row| row.source == source && row.attack == attack;
            let count = rows.all.iter().filter(|row| of(row)).count();
            if count == 0 {
                continue;
            }
            print!("{} {:56.56} {count:6}", if attack { '+' } else { '-' }, name);
            for (_, scores) in &ways {
                let [warn, block] = cuts(rows, scores, rates).map(|cut| self::share(rows, of, |at, _| scores[at] > cut));
                print!("  {warn:.3} {block:.3} ");
            }
            println!();
        }
    }
}

/// An attack.
pub fn is_attack(row: &Row) -> bool {
    row.attack
}

/// An attack a person wrote to be sent straight to a model.
pub fn is_direct(row: &Row) -> bool {
    row.attack && row.direct
}

/// A direct attack that is more than a task.
pub fn is_worded(row: &Row) -> bool {
    is_direct(row) && row.taught
}

fn cuts(rows: &Rows, scores: &[f32], rates: [f64; 2]) -> [f32; 2] {
    let benign: Vec<f32> = scores.iter().zip(&rows.all).filter(|(_, row)| !row.attack).map(|(score, _)| *score).collect();
    rates.map(|rate| threshold(&benign, rate))
}

fn share(rows: &Rows, of: impl Fn(&Row) -> bool, hit: impl Fn(usize, &Row) -> bool) -> f64 {
    let (mut all, mut hits) = (0usize, 0usize);
    for (at, row) in rows.all.iter().enumerate().filter(|(_, row)| of(row)) {
        all += 1;
        hits += usize::from(hit(at, row));
    }
    hits as f64 / all.max(1) as f64
}

/// Area under the ROC curve: how often an attack scores above a benign text, a tie counting half.
fn area(rows: &Rows, scores: &[f32]) -> f64 {
    let mut sorted: Vec<(f32, bool)> = scores.iter().zip(&rows.all).map(|(score, row)| (*score, row.attack)).collect();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut below, mut attacks, mut wins) = (0.0, 0.0, 0.0);
    for tied in sorted.chunk_by(|a, b| a.0 == b.0) {
        let hits = tied.iter().filter(|(_, attack)| *attack).count() as f64;
        let rest = tied.len() as f64 - hits;
        wins += hits * (below + rest / 2.0);
        below += rest;
        attacks += hits;
    }
    wins / (attacks * below).max(1.0)
}
