//! Numbers as a reader wants them.

/// `value` with four significant digits (four decimals below 1), without trailing zeros; a dash where it is not a number.
pub(crate) fn number(value: f64) -> String {
    if value.is_nan() {
        return "–".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "∞" } else { "-∞" }.to_owned();
    }
    let magnitude = value.abs();
    if magnitude != 0.0 && !(1e-4..1e9).contains(&magnitude) {
        return format!("{value:.2e}");
    }
    let digits_before = if magnitude < 1.0 { 0 } else { magnitude.log10().floor() as i32 + 1 };
    let text = format!("{value:.*}", (4 - digits_before).max(0) as usize);
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// A length along each axis, e.g. `36 × 50 × 35`.
pub(crate) fn extent<T: Copy>(values: [T; 3], show: impl Fn(T) -> String) -> String {
    values.map(show).join(" × ")
}

/// `count` things: `1 case`, `2 cases`.
pub(crate) fn counted(count: usize, one: &str) -> String {
    match count {
        1 => format!("1 {one}"),
        _ if one.ends_with('s') => format!("{count} {one}es"),
        _ => format!("{count} {one}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_four_significant_digits() {
        for (value, shown) in [
            (0.0, "0"),
            (0.891_26, "0.8913"),
            (1.0, "1"),
            (12.3456, "12.35"),
            (-1.5, "-1.5"),
            (12_345.6, "12346"),
            (0.000_012_3, "1.23e-5"),
            (4.0e12, "4.00e12"),
            (f64::NAN, "–"),
            (f64::INFINITY, "∞"),
        ] {
            assert_eq!(number(value), shown);
        }
        assert_eq!(extent([1, 2, 3], |n| n.to_string()), "1 × 2 × 3");
        assert_eq!((counted(1, "class"), counted(2, "class")), ("1 class".into(), "2 classes".into()));
    }
}
