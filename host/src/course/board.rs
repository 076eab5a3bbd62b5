//! How each task of a run stands.

use std::collections::HashMap;

/// How one task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// In no start yet.
    Waiting,
    /// In this start.
    Started(u32),
    /// Its result is here.
    Home,
}

/// How each task of a run stands: a few bytes for each.
#[derive(Debug)]
pub(super) struct Board {
    states: Vec<State>,
    started: u32,
    home: u32,
    first_waiting: u32,
    tries: HashMap<u32, u32>,
}

impl Board {
    pub(super) fn new(count: u32) -> Self {
        Self {
            states: vec![State::Waiting; count as usize],
            started: 0,
            home: 0,
            first_waiting: 0,
            tries: HashMap::new(),
        }
    }

    pub(super) fn state(&self, task: u32) -> Option<State> {
        self.states.get(task as usize).copied()
    }

    pub(super) fn set(&mut self, task: u32, state: State) {
        let Some(slot) = self.states.get_mut(task as usize) else {
            return;
        };
        let before = std::mem::replace(slot, state);
        for (which, change) in [(before, false), (state, true)] {
            let counter = match which {
                State::Started(_) => &mut self.started,
                State::Home => &mut self.home,
                State::Waiting => continue,
            };
            *counter = if change { *counter + 1 } else { *counter - 1 };
        }
        if state == State::Waiting {
            self.first_waiting = self.first_waiting.min(task);
        }
    }

    /// Tasks that are in a start and not home.
    pub(super) fn started(&self) -> u32 {
        self.started
    }

    pub(super) fn home(&self) -> u32 {
        self.home
    }

    pub(super) fn waiting(&self) -> u32 {
        self.count() - self.started - self.home
    }

    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.states.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn all_home(&self) -> bool {
        self.home == self.count()
    }

    /// The first of those that wait, in order, as long as they fit together.
    pub(super) fn next_waiting(&mut self, limit: u32, fits: impl Fn(u32) -> bool) -> Vec<u32> {
        let count = self.count();
        while self.first_waiting < count && self.state(self.first_waiting) != Some(State::Waiting) {
            self.first_waiting += 1;
        }
        let waits = |task: &u32| self.state(*task) == Some(State::Waiting) && fits(*task);
        let waiting = (self.first_waiting..count).filter(waits);
        waiting.take(limit as usize).collect()
    }

    /// Which are in this start and not home.
    pub(super) fn in_start(&self, start: u32) -> impl Iterator<Item = u32> + '_ {
        (0_u32..)
            .zip(&self.states)
            .filter(move |(_, state)| **state == State::Started(start))
            .map(|(task, _)| task)
    }

    /// Counts one more try of a task, and says how many there were before.
    pub(super) fn try_again(&mut self, task: u32) -> u32 {
        let tries = self.tries.entry(task).or_default();
        *tries += 1;
        *tries - 1
    }

    /// How often a task was tried again.
    pub(super) fn tried_again(&self, task: u32) -> u32 {
        self.tries.get(&task).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_follow_the_states() {
        let mut board = Board::new(4);
        for task in 0..3 {
            board.set(task, State::Started(0));
        }
        board.set(0, State::Home);
        assert_eq!((board.waiting(), board.started(), board.home()), (1, 2, 1));
        board.set(1, State::Waiting);
        assert_eq!(board.next_waiting(9, |_| true), [1, 3]);
        assert_eq!(board.next_waiting(1, |_| true), [1]);
        assert_eq!(board.next_waiting(1, |_| true), [1], "asking takes nothing");
        assert_eq!(board.next_waiting(9, |task| task == 3), [3]);
        assert_eq!(board.in_start(0).collect::<Vec<_>>(), [2]);
        for task in 0..4 {
            board.set(task, State::Home);
        }
        assert!(board.all_home());
    }

    #[test]
    fn what_was_passed_over_is_found_again() {
        let mut board = Board::new(6);
        assert_eq!(board.next_waiting(2, |task| task % 2 == 1), [1, 3]);
        board.set(1, State::Started(0));
        board.set(3, State::Started(0));
        assert_eq!(board.next_waiting(9, |_| true), [0, 2, 4, 5]);
    }
}
