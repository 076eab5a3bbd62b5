use super::random::Random;

const SYLLABLES: &str = "ab ac al an ar as at ba be bi bo ca ce ci co da de di do el en er es et fa fi fo ga ge go he hi \
    ho id in io is it la le li lo ma me mi mo na ne no ob of on op or pa pe po ra re ri ro sa se si so ta te ti to ul un \
    ur us va ve vi wo";
const KEYWORDS: &str = "return if else for while let fn def class import from struct impl match self None True False const \
    static pub use mod async await try except with as in not and or";
const JOINTS: [&str; 14] = [
    " ", " ", " ", ".", "_", ", ", "(", ") ", " = ", " == ", ": ", "->", "[", "] ",
];
const ENDS: [&str; 10] = ["", "", "", ";", ":", ",", " {", "}", ")", "):"];

/// Writes what shrinks as program text does: to a quarter or so.
pub(super) struct Text {
    words: Vec<String>,
    /// Of the words before and including each: few words are used often.
    weights: Vec<f64>,
}

impl Text {
    pub(super) fn new() -> Self {
        let mut random = Random::new("words");
        let syllables: Vec<_> = SYLLABLES.split_whitespace().collect();
        let mut words: Vec<_> = KEYWORDS.split_whitespace().map(str::to_owned).collect();
        for _ in 0..4000 {
            let count = 1 + random.below(4);
            words.push((0..count).map(|_| *random.pick(&syllables)).collect());
        }
        let mut sum = 0.0;
        let mut rank = 2.0_f64;
        let weights = words.iter().map(|_| {
            rank += 1.0;
            sum += rank.powf(-0.95);
            sum
        });
        let weights = weights.collect();
        Self { words, weights }
    }

    /// One that is no keyword.
    pub(super) fn word(&self, random: &mut Random) -> &str {
        let keywords = KEYWORDS.split_whitespace().count();
        let word: &String = random.pick(&self.words[keywords..]);
        word
    }

    pub(super) fn text(&self, random: &mut Random, size: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(size + 200);
        let mut recent: Vec<Vec<u8>> = Vec::new();
        let mut indent = 0;
        while out.len() < size {
            if !recent.is_empty() && random.unit() < 0.42 {
                let line: &Vec<u8> = random.pick(&recent);
                out.extend_from_slice(line);
                continue;
            }
            indent = (indent + random.below(5)).saturating_sub(2).min(6);
            let line = self.line(random, indent);
            out.extend_from_slice(&line);
            if recent.len() < 64 {
                recent.push(line);
            } else {
                recent[random.below(64)] = line;
            }
        }
        out.truncate(size);
        out
    }

    fn line(&self, random: &mut Random, indent: usize) -> Vec<u8> {
        let mut line = "    ".repeat(indent);
        for _ in 0..2 + random.below(9) {
            line.push_str(self.frequent(random));
            line.push_str(JOINTS[random.below(JOINTS.len())]);
        }
        if random.below(15) == 0 {
            line.push_str(&(random.next() >> 40).to_string());
        }
        line.push_str(ENDS[random.below(ENDS.len())]);
        line.push('\n');
        line.into_bytes()
    }

    fn frequent(&self, random: &mut Random) -> &str {
        let most = self.weights[self.weights.len() - 1];
        let at = random.unit() * most;
        let index = self.weights.partition_point(|&weight| weight < at);
        &self.words[index.min(self.words.len() - 1)]
    }
}
