//! What is printed: one block a scenario, figures with their spread and, where the project has set one, their bar.
//!
//! Results go to standard output, progress to standard error. Nothing here fails: a bar that is missed is said, no more.

use std::sync::LazyLock;
use std::time::Instant;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// What a figure is held against.
#[derive(Debug, Clone, Copy)]
pub enum Bar {
    AtLeast(f64),
    AtMost(f64),
}

pub fn heading(name: &str, what: &str) {
    println!("\n{name}: {what}");
}

/// What takes long is said before it starts.
pub fn progress(what: &str) {
    eprintln!("  [{:>5.0} s] {what}", START.elapsed().as_secs_f64());
}

/// The middle one; the mean of the middle two.
pub fn median(values: &[f64]) -> f64 {
    let sorted = sorted(values);
    match sorted.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => sorted[len / 2],
        len => f64::midpoint(sorted[len / 2 - 1], sorted[len / 2]),
    }
}

pub fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// The value below which that many of a hundred lie.
pub fn percentile(values: &[f64], of_hundred: usize) -> f64 {
    let sorted = sorted(values);
    sorted.get((sorted.len() * of_hundred / 100).min(sorted.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}

pub fn figure(label: &str, value: f64, unit: &str) {
    println!("  {label:<66} {:>10} {unit}", number(value));
}

/// Several runs of the same: the median, and each of them in the order in which they ran.
pub fn runs(label: &str, values: &[f64], unit: &str) {
    let each: Vec<String> = values.iter().map(|value| number(*value)).collect();
    let spread = match sorted(values).as_slice() {
        [low, .., high] => format!(", spread {:.0} %", (high - low) / median(values) * 100.0),
        _ => String::new(),
    };
    println!("  {label:<66} {:>10} {unit}   (runs: {}{spread})", number(median(values)), each.join(" "));
}

/// Samples of one run.
pub fn samples(label: &str, values: &[f64], unit: &str) {
    let at = |of_hundred| number(percentile(values, of_hundred));
    println!(
        "  {label:<66} {:>10} {unit} median, p90 {}, p99 {}, most {}   ({} samples)",
        at(50),
        at(90),
        at(99),
        at(100),
        values.len()
    );
}

/// A figure and its bar.
pub fn against(label: &str, value: f64, unit: &str, bar: Bar) {
    let (sign, limit, reached) = match bar {
        Bar::AtLeast(limit) => (">=", limit, value >= limit),
        Bar::AtMost(limit) => ("<=", limit, value <= limit),
    };
    let verdict = if reached { "reached" } else { "NOT REACHED" };
    println!("  {label:<66} {:>10} {unit}   bar {sign} {limit}: {verdict}", number(value));
}

pub fn note(text: &str) {
    println!("  {text}");
}

/// Something was lost, sent twice or not recorded: the figures above are worth nothing.
pub fn no_result(problem: &str) {
    println!("  *** NOT A RESULT: {problem} ***");
    eprintln!("  *** NOT A RESULT: {problem} ***");
}

/// Three digits that matter, and no more decimals than that.
fn number(value: f64) -> String {
    let decimals = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}
