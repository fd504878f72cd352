//! What somebody may have meant who wrote a name that is not known.

/// Letters to insert, remove, replace or swap with their neighbour to get from `a` to `b`.
pub fn edit_distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = [vec![0; b.len() + 1], (0..=b.len()).collect(), vec![0; b.len() + 1]];
    for (i, ca) in a.iter().enumerate() {
        let [before, above, row] = &mut rows;
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let replaced = above[j] + usize::from(ca != cb);
            row[j + 1] = replaced.min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i - 1] == *cb && b[j - 1] == *ca {
                row[j + 1] = row[j + 1].min(before[j - 1] + 1);
            }
        }
        rows.rotate_left(1);
    }
    rows[1][b.len()]
}

/// The one of `names` that `asked` most resembles, if it does: by the letters that differ (case does not
/// count, up to a quarter of them, and up to half of those behind a common beginning), else as the shortest name that contains
/// it.
pub fn closest<'a>(asked: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let asked = asked.to_lowercase();
    let length = asked.chars().count();
    let limit = 1 + length / 4;
    let mut best: Option<(usize, &str)> = None;
    for name in names {
        let lower = name.to_lowercase();
        let distance = edit_distance(&asked, &lower);
        // A long beginning in common, as names of one kind have it, is no resemblance yet.
        let common = asked.chars().zip(lower.chars()).take_while(|(a, b)| a == b).count();
        let rest = length - common;
        let rank = if distance <= limit.min(2 + rest / 4).min(rest.div_ceil(2).max(2)) {
            distance
        } else if length > 2 && lower.contains(&asked) {
            limit + lower.chars().count()
        } else {
            continue;
        };
        if best.is_none_or(|(least, _)| rank < least) {
            best = Some((rank, name));
        }
    }
    best.map(|(_, name)| name)
}

/// `names` in the order of their distance from `asked`, for messages; equally distant ones stay in their order.
pub fn closest_first<'a>(asked: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let asked = asked.to_lowercase();
    let mut names: Vec<&str> = names.into_iter().collect();
    names.sort_by_cached_key(|name| edit_distance(&asked, &name.to_lowercase()));
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_names_come_in_the_order_of_their_distance() {
        assert_eq!(
            closest_first("CTnormalisation", ["Z", "CTNormalization", "NoNormalization"])[0],
            "CTNormalization"
        );
        assert_eq!(closest_first("x", ["b", "a"]), ["b", "a"]);
    }

    #[test]
    fn distances_by_hand() {
        assert_eq!(edit_distance("kitten", "sitting"), 3);
        assert_eq!(edit_distance("", "ab"), 2);
        assert_eq!(edit_distance("same", "same"), 0);
        assert_eq!(edit_distance("hd59", "hd95"), 1);
        assert_eq!(edit_distance("ca", "abc"), 3);
    }

    #[test]
    fn names_that_resemble() {
        let names = ["ExperimentPlanner", "nnUNetPlannerResEncM", "nnUNetPlannerResEncL_torchres"];
        assert_eq!(closest("nnunetplannerresencm", names), Some("nnUNetPlannerResEncM"));
        assert_eq!(closest("ExperimentPlaner", names), Some("ExperimentPlanner"));
        assert_eq!(closest("torchres", names), Some("nnUNetPlannerResEncL_torchres"));
        assert_eq!(closest("something else", names), None);
        let trainers =
            ["nnUNetTrainer", "nnUNetTrainer_1epoch", "nnUNetTrainerNoMirroring", "nnUNetTrainerBN"];
        assert_eq!(closest("nnUNetTrainerDiceLoss", trainers), None);
        assert_eq!(closest("nnUNetTrainerMine", trainers), None);
        assert_eq!(closest("nnUNetTrainerNB", trainers), Some("nnUNetTrainerBN"));
        assert_eq!(closest("nnUNetTrainerNoMiroring", trainers), Some("nnUNetTrainerNoMirroring"));
        assert_eq!(closest("nnUNetTrianer_1epohc", trainers), Some("nnUNetTrainer_1epoch"));
        assert_eq!(closest("predcit", ["preprocess", "predict"]), Some("predict"));
        assert_eq!(closest("", names), None);
    }
}
