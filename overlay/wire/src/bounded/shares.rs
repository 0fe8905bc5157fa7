//! Max-min fairness: who gives how much where all together hold too much.

/// The level `l` at which `sizes`, each cut to `l`, add up to no more than `target`. Whoever is below keeps everything.
pub(super) fn fair_level(sizes: impl Iterator<Item = usize>, target: usize) -> usize {
    let mut sizes: Vec<usize> = sizes.collect();
    sizes.sort_unstable();
    let (mut left, mut rest) = (target, sizes.len());
    for size in sizes {
        let share = left / rest;
        if size > share {
            return share;
        }
        left -= size;
        rest -= 1;
    }
    usize::MAX
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_heaviest_gives_first() {
        for (sizes, target, level) in [
            (vec![10, 20, 30], 60, usize::MAX),
            (vec![10, 20, 30], 55, 25),
            (vec![10, 20, 30], 30, 10),
            (vec![5, 100, 100], 105, 50),
            (vec![], 0, usize::MAX),
            (vec![7], 3, 3),
        ] {
            assert_eq!(fair_level(sizes.iter().copied(), target), level, "{sizes:?} to {target}");
        }
    }

    proptest! {
        #[test]
        fn what_is_left_fits_and_wastes_less_than_one_each(
            sizes in proptest::collection::vec(0usize..1_000, 0..20), target in 0usize..10_000,
        ) {
            let level = fair_level(sizes.iter().copied(), target);
            let left: usize = sizes.iter().map(|s| (*s).min(level)).sum();
            prop_assert!(left <= target.max(sizes.iter().sum::<usize>().min(target)));
            let all: usize = sizes.iter().sum();
            prop_assert!(level == usize::MAX && left == all || left + sizes.len() > target);
        }
    }
}
