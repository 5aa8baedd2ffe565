//! What a job asks of a worker's machine: `gpu=a100`, `vram>=16`, or just `nvme`.

/// The most labels of a job or a worker, and the most bytes of one.
pub(crate) const LABELS_MAX: usize = 32;
pub(crate) const LABEL_BYTES_MAX: usize = 128;

/// Whether a worker that announces `offered` meets all that is `wanted`.
///
/// A wish is `name`, `name=value`, or a comparison of numbers with `>=`, `<=`, `>` or `<`.
pub(crate) fn meet(offered: &[String], wanted: &[String]) -> bool {
    wanted.iter().all(|wish| offered.iter().any(|label| meets(label, wish)))
}

/// A sign, and what it says of two numbers.
type Comparison = (&'static str, fn(f64, f64) -> bool);

fn meets(label: &str, wish: &str) -> bool {
    let (name, value) = label.split_once('=').unwrap_or((label, ""));
    let compare: [Comparison; 4] =
        [(">=", |a, b| a >= b), ("<=", |a, b| a <= b), (">", |a, b| a > b), ("<", |a, b| a < b)];
    for (sign, holds) in compare {
        if let Some((wanted, bound)) = wish.split_once(sign) {
            let numbers = value.trim().parse().ok().zip(bound.trim().parse().ok());
            return name.trim() == wanted.trim() && numbers.is_some_and(|(have, want)| holds(have, want));
        }
    }
    match wish.split_once('=') {
        Some((wanted, exact)) => name.trim() == wanted.trim() && value.trim() == exact.trim(),
        None => name.trim() == wish.trim(),
    }
}

#[cfg(test)]
mod tests {
    use super::meet;

    #[track_caller]
    fn check(offered: &[&str], wanted: &[&str], expected: bool) {
        let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        assert_eq!(meet(&owned(offered), &owned(wanted)), expected, "{offered:?} for {wanted:?}");
    }

    #[test]
    fn a_worker_meets_all_wishes_or_gets_nothing() {
        check(&[], &[], true);
        check(&["gpu=a100", "vram=24"], &["vram>=16", "gpu=a100"], true);
        check(&["gpu=a100", "vram=12"], &["vram>=16"], false);
        check(&["vram=16"], &["vram>16"], false);
        check(&["vram=16"], &["vram<=16", "vram<17"], true);
        check(&["nvme"], &["nvme"], true);
        check(&["gpu=a100"], &["gpu"], true);
        check(&["vram=lots"], &["vram>=1"], false);
        check(&["vramx=99"], &["vram>=1"], false);
    }
}
