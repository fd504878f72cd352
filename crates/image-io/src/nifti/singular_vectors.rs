//! Singular values and left singular vectors of a 3x3 matrix, by LINPACK's method in single precision.
//!
//! The vectors are unique only up to sign, and where two singular values are equal not even that. ITK compares the
//! vectors of a header's two forms (see [`super::forms`]), so its choice depends on the very signs and rounding that its
//! LINPACK routine (`ssvdc`: Householder bidiagonalisation, then implicit QR steps) produces: the operations here come in
//! that routine's order. Source: Dongarra, Bunch, Moler, Stewart, LINPACK Users' Guide, chapter 11.

/// Rows and columns.
const N: usize = 3;
/// Iterations for one singular value before the method gives up.
const MAX_ITERATIONS: usize = 1000;

/// A 3x3 matrix as a list of columns.
type Columns = [[f32; N]; N];

/// Left singular vectors and singular values, largest value first.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct LeftSingular {
    /// The vectors, one after the other.
    pub(super) vectors: Columns,
    /// The values.
    pub(super) values: [f32; N],
}

impl LeftSingular {
    /// Decomposes the matrix with these `rows`. `None` if the iteration does not converge, as with entries that are not
    /// finite.
    pub(super) fn of(rows: [[f32; N]; N]) -> Option<Self> {
        let columns = std::array::from_fn(|c| std::array::from_fn(|r| rows[r][c]));
        let mut work = Bidiagonal::of(columns);
        work.diagonalise()?;
        Some(Self { vectors: work.u, values: work.diagonal.map(f32::abs) })
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).fold(0.0, |sum, (x, y)| sum + x * y)
}

fn add_multiple(to: &mut [f32], factor: f32, of: &[f32]) {
    to.iter_mut().zip(of).for_each(|(t, v)| *t += factor * v);
}

/// Euclidean length, scaled against overflow.
fn length(v: &[f32]) -> f32 {
    if let [single] = v {
        return single.abs();
    }
    let (mut scale, mut squares) = (0.0f32, 1.0f32);
    for x in v.iter().map(|x| x.abs()).filter(|x| *x != 0.0) {
        if scale < x {
            let ratio = scale / x;
            squares = squares * (ratio * ratio) + 1.0;
            scale = x;
        } else {
            let ratio = x / scale;
            squares += ratio * ratio;
        }
    }
    (f64::from(scale) * f64::from(squares).sqrt()) as f32
}

/// Turns `v` into a Householder vector and returns the entry that the reflection leaves, 0 if `v` is zero.
fn reflector(v: &mut [f32]) -> f32 {
    let mut norm = length(v);
    if norm != 0.0 {
        if v[0] != 0.0 {
            norm = norm.copysign(v[0]);
        }
        let inverse = 1.0 / norm;
        v.iter_mut().for_each(|x| *x *= inverse);
        v[0] += 1.0;
    }
    -norm
}

/// A plane rotation.
struct Rotation {
    cos: f32,
    sin: f32,
}

impl Rotation {
    /// The rotation that turns (a, b) to (r, 0), and r.
    fn that_zeroes(a: f32, b: f32) -> (Self, f32) {
        let larger = if a.abs() > b.abs() { a } else { b };
        let scale = a.abs() + b.abs();
        if scale == 0.0 {
            return (Self { cos: 1.0, sin: 0.0 }, 0.0);
        }
        let (x, y) = (a / scale, b / scale);
        let r = (f64::from(scale) * f64::from(x * x + y * y).sqrt()) as f32;
        let r = 1f32.copysign(larger) * r;
        (Self { cos: a / r, sin: b / r }, r)
    }

    /// Rotates the pair of columns `i` and `j`.
    fn apply(&self, columns: &mut Columns, i: usize, j: usize) {
        let (x, y) = (columns[i], columns[j]);
        columns[i] = std::array::from_fn(|row| self.cos * x[row] + self.sin * y[row]);
        columns[j] = std::array::from_fn(|row| self.cos * y[row] - self.sin * x[row]);
    }
}

/// What keeps the last singular value in work from being found.
enum Case {
    /// The last diagonal entry is zero.
    LastIsZero,
    /// The diagonal entry before this place is zero.
    Split,
    /// A QR step is due.
    Step,
    /// The value is found.
    Converged,
}

/// The matrix reduced to a diagonal and the superdiagonal above it, with the vectors accumulated so far.
struct Bidiagonal {
    diagonal: [f32; N],
    above: [f32; N],
    u: Columns,
}

impl Bidiagonal {
    fn of(mut x: Columns) -> Self {
        let (mut s, mut e) = ([0.0f32; N], [0.0f32; N]);
        let mut u = [[0.0f32; N]; N];
        for l in 0..2 {
            s[l] = reflector(&mut x[l][l..]);
            let vector = x[l];
            for (j, column) in x.iter_mut().enumerate().skip(l + 1) {
                if s[l] != 0.0 {
                    let t = -dot(&vector[l..], &column[l..]) / vector[l];
                    add_multiple(&mut column[l..], t, &vector[l..]);
                }
                e[j] = column[l];
            }
            u[l][l..].copy_from_slice(&vector[l..]);
            if l == 0 {
                e[0] = reflector(&mut e[1..]);
                if e[0] != 0.0 {
                    let mut work = [0.0f32; N];
                    for j in 1..N {
                        add_multiple(&mut work[1..], e[j], &x[j][1..]);
                    }
                    for j in 1..N {
                        add_multiple(&mut x[j][1..], -e[j] / e[1], &work[1..]);
                    }
                }
            }
        }
        s[2] = x[2][2];
        e[1] = x[2][1];
        e[2] = 0.0;
        u[2] = [0.0, 0.0, 1.0];
        for l in [1, 0] {
            if s[l] == 0.0 {
                u[l] = [0.0; N];
                u[l][l] = 1.0;
                continue;
            }
            let vector = u[l];
            for column in &mut u[l + 1..] {
                let t = -dot(&vector[l..], &column[l..]) / vector[l];
                add_multiple(&mut column[l..], t, &vector[l..]);
            }
            u[l] = vector.map(|v| -v);
            u[l][l] += 1.0;
            u[l][..l].fill(0.0);
        }
        Self { diagonal: s, above: e, u }
    }

    /// Makes the superdiagonal vanish. `None` if that takes too long.
    fn diagonalise(&mut self) -> Option<()> {
        let mut iterations = 0;
        let mut last = N;
        while last > 0 {
            if iterations >= MAX_ITERATIONS {
                return None;
            }
            // The part in work: places `first` to `last - 1`.
            let (case, first) = self.case(last);
            match case {
                Case::LastIsZero => self.chase_upwards(first, last),
                Case::Split => self.chase_downwards(first, last),
                Case::Step => {
                    self.step(first, last);
                    iterations += 1;
                }
                Case::Converged => {
                    self.settle(first);
                    iterations = 0;
                    last -= 1;
                }
            }
        }
        Some(())
    }

    /// What to do about the leading `last` places, and the first place that it is about.
    fn case(&mut self, last: usize) -> (Case, usize) {
        let negligible = |what: f32, beside: f32| beside + what.abs() == beside;
        let mut first = last - 1;
        while first > 0 {
            let beside = self.diagonal[first - 1].abs() + self.diagonal[first].abs();
            if negligible(self.above[first - 1], beside) {
                self.above[first - 1] = 0.0;
                break;
            }
            first -= 1;
        }
        if first == last - 1 {
            return (Case::Converged, first);
        }
        for place in (first..last).rev() {
            let mut beside = 0.0;
            if place != last - 1 {
                beside += self.above[place].abs();
            }
            if place != first {
                beside += self.above[place - 1].abs();
            }
            if negligible(self.diagonal[place], beside) {
                self.diagonal[place] = 0.0;
                return if place == last - 1 { (Case::LastIsZero, first) } else { (Case::Split, place + 1) };
            }
        }
        (Case::Step, first)
    }

    fn chase_upwards(&mut self, first: usize, last: usize) {
        let mut f = std::mem::take(&mut self.above[last - 2]);
        for k in (first..last - 1).rev() {
            let (rotation, r) = Rotation::that_zeroes(self.diagonal[k], f);
            self.diagonal[k] = r;
            if k != first {
                f = -rotation.sin * self.above[k - 1];
                self.above[k - 1] *= rotation.cos;
            }
        }
    }

    fn chase_downwards(&mut self, first: usize, last: usize) {
        let mut f = std::mem::take(&mut self.above[first - 1]);
        for k in first..last {
            let (rotation, r) = Rotation::that_zeroes(self.diagonal[k], f);
            self.diagonal[k] = r;
            f = -rotation.sin * self.above[k];
            self.above[k] *= rotation.cos;
            rotation.apply(&mut self.u, k, first - 1);
        }
    }

    /// One implicit QR step with LINPACK's shift.
    fn step(&mut self, first: usize, last: usize) {
        let (s, e) = (&mut self.diagonal, &mut self.above);
        let scale = [s[last - 1], s[last - 2], e[last - 2], s[first], e[first]];
        let scale = scale.iter().fold(0.0f32, |largest, v| largest.max(v.abs()));
        let [sm, smm1, emm1] = [s[last - 1] / scale, s[last - 2] / scale, e[last - 2] / scale];
        let [sl, el] = [s[first] / scale, e[first] / scale];
        let b = ((smm1 + sm) * (smm1 - sm) + emm1 * emm1) / 2.0;
        let c = (sm * emm1) * (sm * emm1);
        let mut shift = 0.0;
        if b != 0.0 || c != 0.0 {
            shift = (b * b + c).sqrt();
            if b < 0.0 {
                shift = -shift;
            }
            shift = c / (b + shift);
        }
        let mut f = (sl + sm) * (sl - sm) + shift;
        let mut g = sl * el;
        for k in first..last - 1 {
            let (rotation, r) = Rotation::that_zeroes(f, g);
            if k != first {
                e[k - 1] = r;
            }
            let Rotation { cos, sin } = rotation;
            f = cos * s[k] + sin * e[k];
            e[k] = cos * e[k] - sin * s[k];
            g = sin * s[k + 1];
            s[k + 1] *= cos;
            let (rotation, r) = Rotation::that_zeroes(f, g);
            let Rotation { cos, sin } = rotation;
            s[k] = r;
            f = cos * e[k] + sin * s[k + 1];
            s[k + 1] = -sin * e[k] + cos * s[k + 1];
            g = sin * e[k + 1];
            e[k + 1] *= cos;
            rotation.apply(&mut self.u, k, k + 1);
        }
        e[last - 2] = f;
    }

    /// Makes the value at `place` positive and sorts it among those found before, which lie behind it.
    fn settle(&mut self, mut place: usize) {
        self.diagonal[place] = self.diagonal[place].abs();
        while place + 1 < N && self.diagonal[place] < self.diagonal[place + 1] {
            self.diagonal.swap(place, place + 1);
            self.u.swap(place, place + 1);
            place += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// |M Mᵀ - U S² Uᵀ| and |Uᵀ U - 1| are small.
    fn check(rows: [[f32; 3]; 3]) {
        let LeftSingular { vectors: u, values } = LeftSingular::of(rows).unwrap();
        assert!(values.windows(2).all(|w| w[0] >= w[1]), "{values:?}");
        for i in 0..3 {
            for j in 0..3 {
                let product = dot(&rows[i], &rows[j]);
                let composed: f32 = (0..3).map(|k| u[k][i] * values[k] * values[k] * u[k][j]).sum();
                assert!((product - composed).abs() <= 2e-5 * values[0] * values[0], "{rows:?}");
                let unit = dot(&u[i], &u[j]) - if i == j { 1.0 } else { 0.0 };
                assert!(unit.abs() < 1e-5, "{rows:?}");
            }
        }
    }

    #[test]
    fn decompositions_compose_to_the_matrix() {
        check([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]);
        check([[0.0, 0.0, 3.0], [-2.0, 0.0, 0.0], [0.0, 1.5, 0.0]]);
        check([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]]);
        check([[0.0; 3], [0.0; 3], [0.0; 3]]);
        check([[0.8, -0.1, 0.2], [0.3, 0.9, -0.4], [-0.1, 0.5, 2.5]]);
    }

    #[test]
    fn what_is_not_finite_ends_without_a_result_or_with_one() {
        for v in [f32::NAN, f32::INFINITY] {
            let _ = LeftSingular::of([[v, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]);
        }
    }
}
