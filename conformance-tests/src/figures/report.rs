//! What a run found, and whether it counts.

use serde_json::json;

use super::process::load_average;

/// How many operations a pass wanted to make, made, and how many of them failed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// So many were to be made.
    pub wanted: usize,
    /// So many were made.
    pub made: usize,
    /// So many of them failed.
    pub failed: usize,
}

/// All figures of a run. Each is printed as a line of JSON when it is known, and all as a table at the end.
#[derive(Debug, Default)]
pub struct Report {
    rows: Vec<[String; 5]>,
    failures: Vec<String>,
}

impl Report {
    /// A figure of a pass. `who` is the server, or the two, that it is of.
    pub fn figure(&mut self, scenario: &str, who: &str, what: &str, (value, unit): (f64, &str), tally: Tally) {
        let load = load_average();
        let Tally { wanted, made, failed } = tally;
        let line = json!({
            "scenario": scenario, "who": who, "what": what, "value": value, "unit": unit,
            "operations": made, "wanted": wanted, "errors": failed, "load": load,
        });
        println!("{line}");
        if failed > 0 || made < wanted {
            self.failures.push(format!("{scenario}, {who}, {what}: {made} of {wanted} operations, {failed} failed"));
        }
        let counted = format!("{made}, {failed} failed, load {load:.1}");
        self.rows.push([scenario.to_owned(), who.to_owned(), what.to_owned(), format!("{value:.3} {unit}"), counted]);
    }

    /// Prints the table; gives whether the run counts.
    pub fn print(&self) -> bool {
        let width = |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths = [0, 1, 2, 3, 4].map(width);
        for row in &self.rows {
            let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            println!("| {} |", cells.join(" | "));
        }
        for failure in &self.failures {
            eprintln!("FAILED {failure}");
        }
        self.failures.is_empty()
    }
}

/// The middle of what passes found; of an even number of them, the mean of the two in the middle.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => sorted[length / 2],
        length => f64::midpoint(sorted[length / 2 - 1], sorted[length / 2]),
    }
}

/// The value that this share of the values does not exceed: 0.5 is the median.
pub fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index of the list")]
    let index = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(index.max(1) - 1).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::{median, quantile};

    #[test]
    fn the_median_of_two_is_between_them() {
        assert_eq!([&[3.0][..], &[4.0, 1.0], &[9.0, 1.0, 2.0]].map(median), [3.0, 2.5, 2.0]);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn a_quantile_is_one_of_the_values() {
        let values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!([0.5, 0.99, 1.0].map(|share| quantile(&values, share)), [50.0, 99.0, 100.0]);
        assert_eq!(quantile(&[7.0], 0.5), 7.0);
        assert!(quantile(&[], 0.5).is_nan());
    }
}
