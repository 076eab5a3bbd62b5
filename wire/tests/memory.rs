//! A large object moves in little memory. Alone in its process, so that its peak is nobody else's.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::sync::Arc;

use emulator::{Account, Config, Emulator};
use tokio::runtime::Handle;
use url::Url;
use wire::api::{Api, RetryConfig, http_client};
use wire::bucket::{Bucket, NewObject, Precondition};
use wire::token::{StaticToken, Token, Tokens};

const MIB: u64 = 1 << 20;
const SIZE: u64 = 300 * MIB;

/// The client's chunk and queues, the emulator's buffers: what is left is the allocator's.
const GROWTH: u64 = 64 * MIB;

fn peak() -> io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.map(|kib| kib * 1024)
        .ok_or_else(|| io::Error::other("no VmHWM"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_hundred_mebibytes_move_in_little_memory() {
    let state = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(Config {
        state: state.path().to_owned(),
        listen: ([127, 0, 0, 1], 0).into(),
        project: "memory".to_owned(),
        region: "us-central1".to_owned(),
        runner: Vec::new(),
        owner_token: "owner".to_owned(),
        anonymous_storage: false,
        container_account: Account::default(),
        idle_exit: None,
    })
    .await
    .unwrap();
    emulator.ensure_bucket("memory-bucket").await.unwrap();
    let endpoint: Url = format!("http://{}", emulator.address()).parse().unwrap();
    let serving = tokio::spawn(emulator.serve(std::future::pending()));
    let token = Arc::new(StaticToken(Token::new("owner", None)));
    let tokens = Tokens::origin(&endpoint, token);
    let api = Api::new(http_client().unwrap(), tokens, None, RetryConfig::default());
    let bucket = Bucket::new(api, &endpoint, "memory-bucket");
    let object = NewObject {
        content_type: "application/octet-stream",
        metadata: BTreeMap::new(),
        custom_time: None,
        precondition: Precondition::Absent,
    };
    let before = peak().unwrap();

    let mut writer = bucket
        .upload("large", &object)
        .await
        .unwrap()
        .into_writer(&Handle::current());
    let writing = tokio::task::spawn_blocking(move || {
        io::copy(&mut io::repeat(7).take(SIZE), &mut writer).unwrap();
        writer.flush().unwrap();
        writer.finish().unwrap()
    });
    assert_eq!(writing.await.unwrap().size, SIZE);
    let mut reader = bucket
        .download("large", None)
        .await
        .unwrap()
        .into_reader(&Handle::current());
    let reading =
        tokio::task::spawn_blocking(move || io::copy(&mut reader, &mut io::sink()).unwrap());
    assert_eq!(reading.await.unwrap(), SIZE);

    let growth = peak().unwrap() - before;
    assert!(growth < GROWTH, "grew by {} MiB", growth / MIB);
    serving.abort();
}
