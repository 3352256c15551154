//! The compiled-in weights at work: what disguises take from them, and what they cost.

use crate::disguises::{DISGUISES, Disguise};
use crate::rows::{OWN, Row, Rows};
use crate::tables::is_worded;
use kt::policy::Verdict;
use kt::policy::prompt_injection::{InjectionSettings, PromptInjection};
use std::error::Error;

/// Texts of each kind that are disguised.
const SAMPLE: usize = 400;
/// Longer texts say nothing more about a disguise.
const MAX_TEXT: usize = 600;

/// Prints what share of attacks and of benign texts warns and blocks under each disguise, and which of our own honest texts do.
pub fn report(rows: &Rows) -> Result<(), Box<dyn Error>> {
    let policy = PromptInjection::new(InjectionSettings::default())?;
    let attacks = sample(rows, is_worded);
    let benign = sample(rows, |row| !row.attack && row.english);
    println!("texts the weights were trained on: read a line against `plain`, not by itself");
    println!("{:32} {:>7} {:>7} {:>14} {:>7}", "", "warn", "block", "benign: warn", "block");
    for (name, disguise) in DISGUISES {
        let [warn, block] = shares(&policy, &attacks, disguise);
        let [benign_warn, benign_block] = shares(&policy, &benign, disguise);
        println!("{name:32} {warn:7.3} {block:7.3} {benign_warn:14.4} {benign_block:7.4}");
    }
    println!("\nour own honest texts that are flagged:");
    for row in rows.all.iter().filter(|row| rows.sources.get(row.source).is_some_and(|source| source == OWN)) {
        let findings = policy.explain(&row.text);
        let rules: Vec<&str> = findings.iter().map(|finding| finding.rule.as_ref()).collect();
        if !rules.is_empty() {
            println!("{:6} {rules:?} {}", policy.verdict(&findings).as_str(), row.text);
        }
    }
    Ok(())
}

/// Judges one text `times` times.
pub fn judge(text: &str, times: usize) -> Result<(), Box<dyn Error>> {
    let policy = PromptInjection::new(InjectionSettings::default())?;
    let found: usize = (0..times).map(|_| policy.explain(std::hint::black_box(text)).len()).sum();
    println!("{} bytes, {times} times, {found} findings", text.len());
    Ok(())
}

/// Texts of a kind, evenly spread over the file.
fn sample(rows: &Rows, of: impl Fn(&Row) -> bool) -> Vec<&Row> {
    let all: Vec<&Row> = rows.all.iter().filter(|row| of(row) && row.text.len() <= MAX_TEXT).collect();
    let step = all.len().div_ceil(SAMPLE).max(1);
    all.into_iter().step_by(step).collect()
}

/// The shares that at least warn, and that block.
fn shares(policy: &PromptInjection, rows: &[&Row], disguise: Disguise) -> [f64; 2] {
    let verdicts: Vec<Verdict> = rows.iter().map(|row| policy.verdict(&policy.explain(&disguise(&row.text)))).collect();
    let share = |least| verdicts.iter().filter(|verdict| **verdict >= least).count() as f64 / rows.len().max(1) as f64;
    [share(Verdict::Warn), share(Verdict::Block)]
}
