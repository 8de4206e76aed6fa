//! Measures the checkers on one history, in turn, so that whatever else the machine does meets both.

use super::answer::Answer;

/// How often a checker is measured on a history that it decides fast.
const ROUNDS: usize = 3;

/// Below this a checker is fast, in seconds of checking.
const FAST_SECONDS: f64 = 1.0;

/// Runs one checker on the history once.
pub(crate) type Side<'a> = Box<dyn FnMut() -> anyhow::Result<Answer> + 'a>;

/// Runs every side in turn, those that are slow or gave up only once, and returns an answer for each.
pub(crate) fn alternate(sides: &mut [Side<'_>]) -> anyhow::Result<Vec<Answer>> {
    let mut answers = Vec::new();
    for side in sides.iter_mut() {
        answers.push(side()?);
    }
    for _ in 1..ROUNDS {
        for (side, answer) in sides.iter_mut().zip(&mut answers) {
            if answer.verdict.is_definite() && answer.check_seconds < FAST_SECONDS {
                *answer = answer.clone().merge(side()?);
            }
        }
    }
    Ok(answers)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::super::answer::{Verdict, tests::answer};
    use super::*;

    #[test]
    fn fast_sides_take_turns_and_slow_ones_run_once() {
        let order = RefCell::new(String::new());
        let side = |name: char, seconds: f64| -> Side<'_> {
            let order = &order;
            Box::new(move || {
                order.borrow_mut().push(name);
                Ok(answer(Verdict::Ok, seconds))
            })
        };
        alternate(&mut [side('a', 0.1), side('b', 0.2)]).unwrap();
        assert_eq!(order.take(), "ababab");
        alternate(&mut [side('a', 0.1), side('b', 60.0)]).unwrap();
        assert_eq!(order.take(), "abaa");
    }

    #[test]
    fn least_time_of_the_rounds_counts() {
        let mut times = [0.3, 0.1, 0.2].into_iter();
        let side: Side<'_> = Box::new(move || Ok(answer(Verdict::Ok, times.next().unwrap())));
        assert_eq!(alternate(&mut [side]).unwrap()[0].check_seconds, 0.1);
    }

    #[test]
    fn side_that_gave_up_is_not_asked_again() {
        let mut asked = 0;
        let side: Side<'_> = Box::new(|| {
            asked += 1;
            Ok(answer(Verdict::OutOfMemory, 0.0))
        });
        alternate(&mut [side]).unwrap();
        assert_eq!(asked, 1);
    }
}
