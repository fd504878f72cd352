//! Paired differences by their ranks: Wilcoxon's signed-rank test, its effect size, and Holm's correction for several
//! tests.
//!
//! The test equals `scipy.stats.wilcoxon` (1.17) with its defaults: zeros are dropped, ties get mid-ranks, and the
//! distribution is chosen from the sample.

use super::distributions::normal_cdf;

/// Most differences for which p is computed from the distribution of all signs.
const MOST_EXACT: usize = 50;
/// The same where differences are equal or zero.
const MOST_EXACT_WITH_TIES: usize = 13;

/// Wilcoxon's signed-rank test of differences against 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SignedRank {
    /// Sum of the ranks of the positive differences.
    pub positive: f64,
    /// Sum of the ranks of the negative differences.
    pub negative: f64,
    /// Two-sided p. Exact for up to 50 differences without ties and zeros, and for up to 13 with them; otherwise by the
    /// normal approximation, corrected for ties but not for continuity. 1 if all differences are zero; NaN without any.
    pub p: f64,
}

impl SignedRank {
    /// Tests `differences`, which must not contain NaN.
    pub fn new(differences: &[f64]) -> Self {
        let ranks = Ranks::new(differences);
        let is_plain = ranks.ties == 0.0 && ranks.doubled.len() == differences.len();
        let most = if is_plain { MOST_EXACT } else { MOST_EXACT_WITH_TIES };
        let p = match (differences.len(), ranks.doubled.len()) {
            (0, _) => f64::NAN,
            (_, 0) => 1.0,
            (all, _) if all <= most => exact_p(&ranks.doubled, ranks.positive.min(ranks.negative)),
            (_, n) => {
                let n = n as f64;
                let deviation = ((n * (n + 1.0) * (2.0 * n + 1.0) - ranks.ties / 2.0) / 24.0).sqrt();
                let distance = (ranks.positive as f64 / 2.0 - n * (n + 1.0) / 4.0).abs();
                2.0 * normal_cdf(-distance / deviation)
            }
        };
        Self { positive: ranks.positive as f64 / 2.0, negative: ranks.negative as f64 / 2.0, p }
    }
}

/// The rank-biserial correlation of paired `differences`, from -1 (all negative) to 1 (all positive); 0 if all are zero
/// (D. S. Kerby, 2014). NaN of none.
pub fn rank_biserial(differences: &[f64]) -> f64 {
    let Ranks { positive, negative, .. } = Ranks::new(differences);
    match positive + negative {
        0 if differences.is_empty() => f64::NAN,
        0 => 0.0,
        all => (positive as f64 - negative as f64) / all as f64,
    }
}

/// The ranks of differences by their size, without zeros.
struct Ranks {
    /// Twice each rank: ranks of equal ones are halves, so that this is a whole number.
    doubled: Vec<usize>,
    /// Sum of those of the positive differences.
    positive: usize,
    /// Sum of those of the negative differences.
    negative: usize,
    /// Sum of t³ - t over the groups of t equal ones.
    ties: f64,
}

impl Ranks {
    fn new(differences: &[f64]) -> Self {
        let mut signed: Vec<f64> = differences.iter().copied().filter(|d| *d != 0.0).collect();
        signed.sort_by(|a, b| a.abs().total_cmp(&b.abs()));
        let mut ranks =
            Self { doubled: Vec::with_capacity(signed.len()), positive: 0, negative: 0, ties: 0.0 };
        for equal in signed.chunk_by(|a, b| a.abs() == b.abs()) {
            let rank = 2 * ranks.doubled.len() + equal.len() + 1;
            let positive = equal.iter().filter(|d| **d > 0.0).count();
            ranks.positive += rank * positive;
            ranks.negative += rank * (equal.len() - positive);
            ranks.doubled.extend(std::iter::repeat_n(rank, equal.len()));
            let size = equal.len() as f64;
            ranks.ties += size.powi(3) - size;
        }
        ranks
    }
}

/// Twice the share of all assignments of signs to the ranks whose positive ones sum up to `smaller` at most.
fn exact_p(doubled_ranks: &[usize], smaller: usize) -> f64 {
    let mut shares = vec![0.0; doubled_ranks.iter().sum::<usize>() + 1];
    shares[0] = 1.0;
    let mut largest = 0;
    for rank in doubled_ranks {
        largest += rank;
        for sum in (0..=largest).rev() {
            let with = if sum >= *rank { shares[sum - rank] } else { 0.0 };
            shares[sum] = (shares[sum] + with) / 2.0;
        }
    }
    (2.0 * shares[..=smaller].iter().sum::<f64>()).min(1.0)
}

/// p values corrected for their number, in the same order (S. Holm, 1979). NaN stays and does not count as a test.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).filter(|&i| !p[i].is_nan()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    let (mut corrected, mut largest) = (p.to_vec(), 0.0_f64);
    for (done, &i) in order.iter().enumerate() {
        largest = largest.max((order.len() - done) as f64 * p[i]).min(1.0);
        corrected[i] = largest;
    }
    corrected
}
