//! Distribution functions. NaN where the degrees of freedom are not positive.

use statrs::distribution::{ContinuousCDF, Normal, StudentsT};
use statrs::function::beta::beta_reg;
use statrs::function::gamma::ln_gamma;

/// P(Z <= z) of the standard normal distribution.
pub(super) fn normal_cdf(z: f64) -> f64 {
    Normal::standard().cdf(z)
}

/// The `p` quantile of the standard normal distribution.
pub(super) fn normal_quantile(p: f64) -> f64 {
    Normal::standard().inverse_cdf(p)
}

/// P(|T| >= |t|) of Student's distribution.
pub(super) fn t_two_sided(t: f64, degrees: f64) -> f64 {
    2.0 * t_upper(t.abs(), degrees)
}

/// P(T >= t) of Student's distribution.
pub(super) fn t_upper(t: f64, degrees: f64) -> f64 {
    match StudentsT::new(0.0, 1.0, degrees) {
        Ok(distribution) if t.is_finite() => distribution.cdf(-t),
        Ok(_) if t == f64::INFINITY => 0.0,
        Ok(_) if t == f64::NEG_INFINITY => 1.0,
        _ => f64::NAN,
    }
}

/// The `p` quantile of Student's distribution.
pub(super) fn t_quantile(p: f64, degrees: f64) -> f64 {
    StudentsT::new(0.0, 1.0, degrees).map_or(f64::NAN, |distribution| distribution.inverse_cdf(p))
}

/// P(T <= t) of the noncentral t distribution.
///
/// R. V. Lenth, Algorithm AS 243 (1989).
pub(super) fn noncentral_t_cdf(t: f64, degrees: f64, shift: f64) -> f64 {
    if t < 0.0 {
        return 1.0 - noncentral_t_cdf(-t, degrees, -shift);
    }
    let mut total = normal_cdf(-shift);
    let x = t * t / (t * t + degrees);
    if x <= 0.0 || x.is_nan() {
        return total;
    }
    let half = shift * shift / 2.0;
    let mut even = (-half).exp();
    // The series of odd terms begins with exp(-half) sqrt(half) / gamma(3/2), with the sign of the shift.
    let mut odd = shift / std::f64::consts::SQRT_2 * (-half - ln_gamma(1.5)).exp();
    for j in 0..10_000 {
        let k = f64::from(j);
        let step = even * beta_reg(k + 0.5, degrees / 2.0, x) + odd * beta_reg(k + 1.0, degrees / 2.0, x);
        total += step / 2.0;
        if step.abs() < 1e-14 && k > half {
            break;
        }
        even *= half / (k + 1.0);
        odd *= half / (k + 1.5);
    }
    total.clamp(0.0, 1.0)
}
