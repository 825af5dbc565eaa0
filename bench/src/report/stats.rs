//! Medians and quartiles.

/// The least, the greatest, and the quartiles of some numbers.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Spread {
    pub least: f64,
    pub lower: f64,
    pub median: f64,
    pub upper: f64,
    pub greatest: f64,
}

impl Spread {
    /// `None` without numbers.
    pub fn of(numbers: impl Iterator<Item = f64>) -> Option<Self> {
        let mut numbers: Vec<f64> = numbers.filter(|number| number.is_finite()).collect();
        numbers.sort_by(f64::total_cmp);
        let (least, greatest) = (*numbers.first()?, *numbers.last()?);
        // Interpolated between two numbers.
        let at = |part: f64| {
            let place = part * (numbers.len() - 1) as f64;
            let (below, above) = (
                numbers[place.floor() as usize],
                numbers[place.ceil() as usize],
            );
            below + (above - below) * place.fract()
        };
        Some(Spread {
            least,
            lower: at(0.25),
            median: at(0.5),
            upper: at(0.75),
            greatest,
        })
    }
}
