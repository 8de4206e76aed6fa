//! Makes a stuck set of values smaller: values are left out as long as what remains is stuck.

use super::super::pace::Pace;
use super::super::spans::Span;
use super::peel::stuck;

/// How many values may be looked at while shrinking, all attempts together: a fraction of a second.
const MAX_STEPS: usize = 1 << 20;

/// A stuck set of some of these values, which are stuck. When the time is over or the effort too large it is not the
/// smallest there is, but it is a proof all the same.
pub(super) fn shrink(mut values: Vec<Span>, pace: &mut Pace<'_>) -> Vec<Span> {
    let mut steps = 0;
    let mut block = values.len() / 2;
    while block > 0 {
        let mut from = 0;
        while from < values.len() {
            steps += values.len();
            if steps > MAX_STEPS {
                return values;
            }
            let to = values.len().min(from + block);
            let fewer = [&values[..from], &values[to..]].concat();
            match stuck(&fewer, pace) {
                Ok(Some(fewer)) => values = fewer,
                Ok(None) => from = to,
                Err(_) => return values,
            }
        }
        block = (block / 2).min(values.len() / 2);
    }
    values
}
