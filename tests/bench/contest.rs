//! Several ways of doing the same, in turns, so that a busy moment of the machine meets them all.

use std::time::Duration;

use crate::trial::Trial;

/// One way.
pub(crate) struct Way<'a> {
    pub(crate) name: String,
    run: Box<dyn FnMut() -> Trial + 'a>,
}

impl<'a> Way<'a> {
    pub(crate) fn new(name: impl Into<String>, run: impl FnMut() -> Trial + 'a) -> Self {
        Self {
            name: name.into(),
            run: Box::new(run),
        }
    }
}

/// What a way took, round by round.
pub(crate) struct Taken {
    pub(crate) name: String,
    pub(crate) trials: Vec<Trial>,
}

/// Lets each way have its turn, so many times.
pub(crate) fn hold(mut ways: Vec<Way<'_>>, rounds: usize) -> Vec<Taken> {
    let mut trials = vec![Vec::new(); ways.len()];
    for _ in 0..rounds {
        for (way, trials) in ways.iter_mut().zip(&mut trials) {
            trials.push((way.run)());
        }
    }
    let names = ways.into_iter().map(|way| way.name);
    let taken = names.zip(trials);
    taken.map(|(name, trials)| Taken { name, trials }).collect()
}

/// Which time of a trial counts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Until {
    Started,
    Ended,
}

impl Until {
    fn of(self, trial: &Trial) -> f64 {
        let time = match self {
            Self::Started => trial.started,
            Self::Ended => Some(trial.wall),
        };
        time.unwrap_or(Duration::ZERO).as_secs_f64()
    }
}

impl Taken {
    pub(crate) fn seconds(&self, until: Until) -> f64 {
        median(self.trials.iter().map(|trial| until.of(trial)))
    }

    pub(crate) fn cpu(&self) -> f64 {
        median(self.trials.iter().map(|trial| trial.cpu.as_secs_f64()))
    }

    /// The most of all rounds.
    pub(crate) fn peak_kb(&self) -> u64 {
        self.trials
            .iter()
            .map(|trial| trial.peak_kb)
            .max()
            .unwrap_or(0)
    }

    /// How many times as long as `ours`: the median of the rounds' own ratios.
    pub(crate) fn against(&self, ours: &Self, until: Until) -> f64 {
        let rounds = self.trials.iter().zip(&ours.trials);
        median(rounds.map(|(theirs, ours)| until.of(theirs) / until.of(ours)))
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}
