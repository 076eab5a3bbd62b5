//! Where in a run something is killed: spread over all of it, by a seed that is printed.

use std::time::Duration;

use crate::gate::Side;

/// A moment of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Point {
    /// At this request, from 1.
    At(usize, Side),
    /// So long after its beginning.
    After(Duration),
}

/// One of many rounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    pub(crate) point: Point,
    /// For what else differs between rounds.
    pub(crate) dice: u64,
}

/// Four of five at requests, one at a time; as many as `SORTIE_KILL_ROUNDS` says, from the seed `SORTIE_KILL_SEED`.
pub(crate) fn rounds(requests: usize, time: Duration) -> Vec<Round> {
    let (count, seed) = (
        number("SORTIE_KILL_ROUNDS", 20),
        number("SORTIE_KILL_SEED", 1),
    );
    let by_time = count.div_ceil(5);
    let by_request = count - by_time;
    let mut dice = Dice(seed);
    let sides = requests as u64 * 2;
    let at = |i: u64, dice: &mut Dice| {
        // One in each of as many parts as there are rounds.
        let place = (sides * i + dice.next() % sides.max(1)) / by_request.max(1);
        let side = if place.is_multiple_of(2) {
            Side::Request
        } else {
            Side::Answer
        };
        Point::At(usize::try_from(place / 2).unwrap() + 1, side)
    };
    let after = |i: u64, dice: &mut Dice| {
        let millis = u64::try_from(time.as_millis()).unwrap().max(1);
        Point::After(Duration::from_millis(
            (millis * i + dice.next() % millis) / by_time,
        ))
    };
    let mut all = Vec::new();
    for i in 0..by_request {
        let point = at(i, &mut dice);
        let dice = dice.next();
        all.push(Round { point, dice });
    }
    for i in 0..by_time {
        let point = after(i, &mut dice);
        let dice = dice.next();
        all.push(Round { point, dice });
    }
    println!("{count} rounds from seed {seed}, of {requests} requests in {time:?}");
    all
}

/// Plays all rounds, a few at once.
pub(crate) fn play(rounds: &[Round], round: impl Fn(Round) -> String + Sync) {
    const AT_ONCE: usize = 4;
    let next = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(which) =
                    rounds.get(next.fetch_add(1, std::sync::atomic::Ordering::SeqCst))
                {
                    println!("{which:?}: begins");
                    let came_of_it = round(*which);
                    println!("{which:?}: {came_of_it}");
                }
            });
        }
    });
}

#[expect(clippy::disallowed_methods, reason = "a test has no settings to read")]
pub(crate) fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// Small and the same everywhere (splitmix64).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// So many bytes that do not compress.
    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let words = std::iter::repeat_with(|| self.next().to_le_bytes());
        words.flatten().take(count).collect()
    }
}
