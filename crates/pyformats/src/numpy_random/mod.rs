//! NumPy's legacy random generator (`numpy.random.RandomState`), draw for draw.
//!
//! nnU-Net's splits, class locations and fingerprint samples come from it, so the same seed must
//! give the same numbers. The generator is MT19937 (Matsumoto and Nishimura 1998); bounded integers
//! are drawn by masking and rejecting, shuffles run from the last element down. All integer results
//! are equal to NumPy's; `normal` and `uniform` are equal up to the rounding of `ln`.

mod partial_shuffle;

const STATE: usize = 624;
const LAG: usize = 397;
const UPPER: u32 = 0x8000_0000;
const LOWER: u32 = 0x7fff_ffff;
const MATRIX: u32 = 0x9908_b0df;

/// The generator behind `numpy.random.RandomState(seed)`.
#[derive(Clone)]
pub struct RandomState {
    key: [u32; STATE],
    /// The current block of outputs; those before `position` are used up.
    outputs: [u32; STATE],
    position: usize,
    spare_normal: Option<f64>,
}

impl std::fmt::Debug for RandomState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RandomState").field("position", &self.position).finish_non_exhaustive()
    }
}

impl RandomState {
    /// `RandomState(seed)`.
    pub fn new(seed: u32) -> Self {
        let mut key = [0; STATE];
        let mut word = seed;
        for (i, slot) in key.iter_mut().enumerate() {
            *slot = word;
            word = 1_812_433_253u32.wrapping_mul(word ^ (word >> 30)).wrapping_add(i as u32 + 1);
        }
        Self { key, outputs: [0; STATE], position: STATE, spare_normal: None }
    }

    /// Makes the next block of outputs. The recurrence reaches 227 words back, so each of the
    /// loops works on words that do not depend on each other and is vectorised.
    fn refill(&mut self) {
        #[inline(always)]
        fn twist(far: u32, here: u32, next: u32) -> u32 {
            let y = (here & UPPER) | (next & LOWER);
            far ^ (y >> 1) ^ ((y & 1).wrapping_neg() & MATRIX)
        }
        const BACK: usize = STATE - LAG;
        let key = &mut self.key;
        let (low, high) = key.split_at_mut(LAG);
        for i in 0..BACK {
            low[i] = twist(high[i], low[i], low[i + 1]);
        }
        let (low, high) = key.split_at_mut(BACK);
        for i in 0..BACK {
            high[i] = twist(low[i], high[i], high[i + 1]);
        }
        let (low, high) = key.split_at_mut(2 * BACK);
        let rest = STATE - 2 * BACK;
        for i in 0..rest - 1 {
            high[i] = twist(low[BACK + i], high[i], high[i + 1]);
        }
        high[rest - 1] = twist(low[LAG - 1], high[rest - 1], low[0]);
        for (out, &word) in self.outputs.iter_mut().zip(key.iter()) {
            let mut y = word;
            y ^= y >> 11;
            y ^= (y << 7) & 0x9d2c_5680;
            y ^= (y << 15) & 0xefc6_0000;
            *out = y ^ (y >> 18);
        }
        self.position = 0;
    }

    /// The next 32 random bits.
    #[inline]
    pub fn next_u32(&mut self) -> u32 {
        if self.position == STATE {
            self.refill();
        }
        let value = self.outputs[self.position];
        self.position += 1;
        value
    }

    /// The next 64 random bits, the high half drawn first.
    fn next_u64(&mut self) -> u64 {
        let high = u64::from(self.next_u32());
        high << 32 | u64::from(self.next_u32())
    }

    /// `random_sample()`: uniform in [0, 1) with 53 bits.
    pub fn random_sample(&mut self) -> f64 {
        let a = f64::from(self.next_u32() >> 5);
        let b = f64::from(self.next_u32() >> 6);
        (a * 67_108_864.0 + b) / 9_007_199_254_740_992.0
    }

    /// `uniform(low, high)`.
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.random_sample()
    }

    /// `normal(mean, standard_deviation)`: the polar method, whose second value is kept for the
    /// next call.
    pub fn normal(&mut self, mean: f64, standard_deviation: f64) -> f64 {
        if let Some(value) = self.spare_normal.take() {
            return mean + standard_deviation * value;
        }
        loop {
            let a = 2.0 * self.random_sample() - 1.0;
            let b = 2.0 * self.random_sample() - 1.0;
            let r2 = a * a + b * b;
            if r2 < 1.0 && r2 != 0.0 {
                let f = (-2.0 * r2.ln() / r2).sqrt();
                self.spare_normal = Some(f * a);
                return mean + standard_deviation * (f * b);
            }
        }
    }

    /// A uniform integer in `0..=max`; nothing is drawn for `max == 0`.
    #[inline]
    pub fn interval(&mut self, max: u64) -> u64 {
        if max == 0 {
            return 0;
        }
        let mask = u64::MAX >> max.leading_zeros();
        loop {
            let value =
                if max <= u64::from(u32::MAX) { u64::from(self.next_u32()) } else { self.next_u64() } & mask;
            if value <= max {
                return value;
            }
        }
    }

    /// `randint(low, high)`: a uniform integer in `low..high`. `None` if the range is empty.
    pub fn randint(&mut self, low: i64, high: i64) -> Option<i64> {
        let max = (high > low).then(|| high.wrapping_sub(low) as u64 - 1)?;
        Some(low.wrapping_add(self.interval(max) as i64))
    }

    /// `choice(n, out.len(), replace=True)`, which is also `randint(0, n, out.len())`: fills `out`
    /// with uniform indices in `0..n`. Leaves `out` and the generator as they are for `n == 0`.
    ///
    /// Calls may be split: filling two halves gives what filling the whole does.
    pub fn choice_with_replacement(&mut self, n: u32, out: &mut [u32]) {
        let Some(max) = n.checked_sub(1) else { return };
        if max == 0 {
            out.fill(0);
            return;
        }
        let mask = u32::MAX >> max.leading_zeros();
        let mut filled = 0;
        while filled < out.len() {
            if self.position == STATE {
                self.refill();
            }
            let words = (STATE - self.position).min(out.len() - filled);
            // A rejected word is written too and overwritten by the next: no branch to mispredict.
            for &word in &self.outputs[self.position..self.position + words] {
                let value = word & mask;
                out[filled] = value;
                filled += usize::from(value <= max);
            }
            self.position += words;
        }
    }

    /// `shuffle(items)`.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let j = self.interval(i as u64) as usize;
            items.swap(i, j);
        }
    }

    /// `permutation(n)`: the numbers `0..n`, shuffled.
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut items: Vec<usize> = (0..n).collect();
        self.shuffle(&mut items);
        items
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn golden() -> Value {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/numpy_random/draws.json");
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }

    fn floats(value: &Value) -> Vec<f64> {
        value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
    }

    fn number(value: &Value, key: &str) -> u64 {
        value[key].as_u64().unwrap()
    }

    fn check_digest(case: &Value, values: impl ExactSizeIterator<Item = u64>) {
        assert_eq!(values.len() as u64, number(case, "len"), "{case}");
        let mut sum = 0u64;
        let mut first = Vec::new();
        for (i, v) in values.enumerate() {
            sum = sum.wrapping_add(v.wrapping_mul(i as u64 + 1));
            if i < 8 {
                first.push(v);
            }
        }
        assert_eq!(Value::from(first), case["first"], "{case}");
        assert_eq!(sum.to_string(), case["sum"].as_str().unwrap(), "{case}");
    }

    fn check_next(case: &Value, mut state: RandomState) {
        assert_eq!(u64::from(state.next_u32()), number(case, "next"), "state after {case}");
    }

    #[test]
    fn floats_equal_numpy() {
        let golden = golden();
        let mut state = RandomState::new(1234);
        for expected in floats(&golden["random_sample_1234"]) {
            assert_eq!(state.random_sample(), expected);
        }
        assert_eq!(u64::from(state.next_u32()), golden["after_random_sample"].as_u64().unwrap());
        let mut state = RandomState::new(7);
        for expected in floats(&golden["uniform"]) {
            assert_eq!(state.uniform(-3.5, 11.25), expected);
        }
        let mut state = RandomState::new(99);
        for expected in floats(&golden["normal"]) {
            let value = state.normal(2.0, 0.5);
            assert!((value - expected).abs() <= 1e-15 * 8.0, "{value} {expected}");
        }
    }

    #[test]
    fn randint_equals_numpy() {
        for case in golden()["randint"].as_array().unwrap() {
            let mut state = RandomState::new(number(case, "seed") as u32);
            let (low, high) = (case["low"].as_i64().unwrap(), case["high"].as_i64().unwrap());
            let values: Vec<i64> =
                (0..number(case, "n")).map(|_| state.randint(low, high).unwrap()).collect();
            assert_eq!(Value::from(&values[..values.len().min(20)]), case["values"]);
            assert_eq!(values.iter().sum::<i64>().to_string(), case["sum"].as_str().unwrap());
            check_next(case, state);
        }
        assert_eq!(RandomState::new(0).randint(3, 3), None);
    }

    #[test]
    fn choice_with_replacement_equals_numpy() {
        for case in golden()["choice_replace"].as_array().unwrap() {
            let mut state = RandomState::new(number(case, "seed") as u32);
            let n = number(case, "n") as u32;
            let mut values = vec![0; number(case, "size") as usize];
            // In two uneven parts: the stream must not notice.
            let (head, tail) = values.split_at_mut(7);
            state.choice_with_replacement(n, head);
            state.choice_with_replacement(n, tail);
            check_digest(case, values.iter().map(|&v| u64::from(v)));
            check_next(case, state);
        }
    }

    #[test]
    fn permutation_equals_numpy() {
        for case in golden()["permutation"].as_array().unwrap() {
            let mut state = RandomState::new(number(case, "seed") as u32);
            assert_eq!(Value::from(state.permutation(number(case, "n") as usize)), case["values"]);
            check_next(case, state);
        }
    }

    #[test]
    fn choice_without_replacement_equals_numpy() {
        for case in golden()["choice_without_replacement"].as_array().unwrap() {
            let mut state = RandomState::new(number(case, "seed") as u32);
            let values =
                state.choice_without_replacement(number(case, "n") as usize, number(case, "k") as usize);
            check_digest(case, values.iter().map(|&v| v as u64));
            check_next(case, state);
        }
    }
}
