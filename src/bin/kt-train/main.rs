//! Trains the linear model of the injection detector, and says how far to trust it.
//!
//! `cargo run --release --no-default-features --features train --bin kt-train -- --data FILE.jsonl.zst` reads rows of
//! `{"text", "label", "source", "category", "lang"}`, scores every source by a model that never saw it, prints tables of that, sets the
//! thresholds by it, trains on all rows, and writes `src/policy/prompt_injection/weights.bin`. One thread, fixed seeds: the same file
//! from the same data, to the byte.
//!
//! `--shipped` prints what the compiled-in weights make of the data, disguised in twenty ways; `--judge FILE` judges one text over
//! and over, for instruction counts.

mod disguises;
mod fit;
mod folds;
mod rows;
mod shipped;
mod tables;

use fit::{Model, Rates};
use folds::Folds;
use kt::policy::prompt_injection::training::{BUCKETS, Terms, Weights};
use rows::Rows;
use std::error::Error;
use std::path::PathBuf;

/// Share of benign texts that may warn.
const WARN: f64 = 0.005;
/// Share of benign texts that may be blocked.
const BLOCK: f64 = 0.001;
/// Times `--judge` judges.
const JUDGED: usize = 20;

/// What to do.
struct Arguments {
    data: Option<PathBuf>,
    out: PathBuf,
    shipped: bool,
    judge: Option<PathBuf>,
    rates: Rates,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::read(std::env::args().skip(1))?;
    if let Some(file) = &arguments.judge {
        return shipped::judge(&std::fs::read_to_string(file)?, JUDGED);
    }
    let rows = Rows::load(arguments.data.as_deref().ok_or("--data FILE.jsonl.zst is needed")?)?;
    if arguments.shipped {
        return shipped::report(&rows);
    }
    let folds = Folds::run(&rows, &arguments.rates);
    tables::print(&rows, &folds, [WARN, BLOCK]);
    let model = fit::fit(&rows, |_| true, &arguments.rates);
    let weights = quantised(&model, &folds, &rows)?;
    std::fs::write(&arguments.out, weights.to_bytes())?;
    println!("\nwrote {} with {:?}", arguments.out.display(), weights);
    Ok(())
}

/// The model in bytes, on the scale and with the thresholds of the folds.
fn quantised(model: &Model, folds: &Folds, rows: &Rows) -> Result<Weights, Box<dyn Error>> {
    let unit = model.unit();
    let mut table = Box::new([0; BUCKETS]);
    for (byte, weight) in table.iter_mut().zip(&model.weights) {
        *byte = (weight / unit).round().clamp(-127.0, 127.0) as i8;
    }
    let stack = &folds.stack;
    let terms = Terms {
        scale: unit * stack.model,
        bias: model.bias * stack.model + stack.bias,
        rules: stack.rules,
        warn: folds.threshold(rows, WARN),
        block: folds.threshold(rows, BLOCK),
    };
    Ok(Weights::new(table, terms, rows.digest)?)
}

impl Arguments {
    fn read(mut given: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let mut read = Self {
            data: None,
            out: "src/policy/prompt_injection/weights.bin".into(),
            shipped: false,
            judge: None,
            rates: Rates::default(),
        };
        while let Some(name) = given.next() {
            let mut value = || given.next().ok_or(format!("{name} needs a value"));
            match name.as_str() {
                "--data" => read.data = Some(value()?.into()),
                "--out" => read.out = value()?.into(),
                "--shipped" => read.shipped = true,
                "--judge" => read.judge = Some(value()?.into()),
                "--rate" => read.rates.rate = value()?.parse()?,
                "--l1" => read.rates.l1 = value()?.parse()?,
                "--l2" => read.rates.l2 = value()?.parse()?,
                "--epochs" => read.rates.epochs = value()?.parse()?,
                "--balance" => read.rates.balance = value()?.parse()?,
                _ => return Err(format!("unknown argument {name}").into()),
            }
        }
        Ok(read)
    }
}
