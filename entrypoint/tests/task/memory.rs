//! The container's memory is the user's: ours is bounded, whatever goes through it.

use crate::shell;
use crate::site::Site;
use crate::task::Task;

/// Of the entrypoint itself, unoptimised; the container's own binary stays well below.
const MOST: u64 = 32 << 20;

#[test]
fn inputs_logs_and_outputs_of_any_size_pass_through_little_memory() {
    let site = Site::start();
    let source = tempfile::tempdir().unwrap();
    for number in 0..8_u8 {
        // Of a pack each; what compresses well is much larger on its way out than on its way in.
        let block: Vec<u8> = (0..1_000_000_u32)
            .map(|at| at.to_le_bytes()[1] ^ number)
            .collect();
        let text = block.repeat(12);
        std::fs::write(source.path().join(number.to_string()), text).unwrap();
    }
    let mut spec =
        shell("seq 4000000; head -c 60000000 /dev/urandom >output/random; cp input/big/0 output/");
    spec.inputs.push(site.input("big", source.path()));
    spec.log_interval_ms = 100;
    let task = Task::new(&site, spec).quiet().start();
    let peak = task.peak();
    let ran = task.finish();
    assert_eq!(ran.code(), 0);
    assert!(ran.outputs().path().join("random").exists());
    println!("at the most {peak} bytes");
    assert!(peak > 1 << 20, "measured nothing");
    assert!(peak < MOST, "{peak} bytes");
}
