//! What must not wait for something else: destinations that hold one pack until others have come.

use tokio::sync::{Barrier, watch};
use tokio::time::timeout;

use super::*;

/// Only what hangs takes so long.
const PATIENCE: Duration = Duration::from_mins(1);

/// Keeps the first pack it is given when a second was given to it.
#[derive(Clone)]
struct Pair {
    shelf: Shelf,
    met: Arc<Barrier>,
    given: Arc<AtomicU32>,
}

impl Destination for Pair {
    async fn look(&self, digest: &Digest) -> Result<Standing, Error> {
        self.shelf.look(digest).await
    }

    async fn look_and_keep(&self, digest: &Digest) -> Result<Standing, Error> {
        self.look(digest).await
    }

    async fn place(
        &self,
        digest: &Digest,
        standing: Standing,
        body: Body,
        name: &str,
    ) -> Result<Placed, Error> {
        if self.given.fetch_add(1, Ordering::SeqCst) < 2 {
            let met = timeout(PATIENCE, self.met.wait()).await;
            met.map_err(|_| Error::local("one pack waits for another", "a failure"))?;
        }
        self.shelf.place(digest, standing, body, name).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pack_is_sent_while_another_is() {
    let dir = tempfile::tempdir().unwrap();
    some_packs(dir.path());
    let pair = Pair {
        shelf: Shelf::new(),
        met: Arc::new(Barrier::new(2)),
        given: Arc::default(),
    };
    let line = Line::new(pair.clone(), None);
    let scan = Scan::of(&input(dir.path())).await.unwrap();
    let sent = line.send(scan).await.unwrap();
    let kept = pair.shelf.kept.lock().unwrap().len();
    assert_eq!(kept, sent.staged.input.packs.len());
}

/// Takes the first piece of a large pack, and the others when it has all small packs.
#[derive(Clone)]
struct Patient {
    shelf: Shelf,
    missing: watch::Sender<usize>,
}

impl Patient {
    async fn take(&self, body: Again) -> Result<(), Error> {
        let mut pieces = body.pieces().await?;
        let mut taken = 0;
        while pieces.next().await?.is_some() {
            if taken == 0 {
                let mut missing = self.missing.subscribe();
                let all_are_here = missing.wait_for(|missing| *missing == 0);
                if timeout(PATIENCE, all_are_here).await.is_err() {
                    return Err(Error::local(
                        "small packs wait for a large one",
                        "a failure",
                    ));
                }
            }
            taken += 1;
        }
        assert!(taken > 1, "nothing was left to be taken later");
        Ok(())
    }
}

impl Destination for Patient {
    async fn look(&self, digest: &Digest) -> Result<Standing, Error> {
        self.shelf.look(digest).await
    }

    async fn look_and_keep(&self, digest: &Digest) -> Result<Standing, Error> {
        self.look(digest).await
    }

    async fn place(
        &self,
        digest: &Digest,
        standing: Standing,
        body: Body,
        name: &str,
    ) -> Result<Placed, Error> {
        if let Body::Again(large) = body {
            self.take(large).await?;
            return Ok(Placed::default());
        }
        let placed = self.shelf.place(digest, standing, body, name).await;
        self.missing.send_modify(|missing| *missing -= 1);
        placed
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_file_that_is_slow_to_go_keeps_nothing_else_from_going() {
    let dir = tempfile::tempdir().unwrap();
    some_packs(dir.path());
    let packs = Tree::scan(b"in", dir.path()).unwrap().packs().len();
    let small = packs - 1;
    let patient = Patient {
        shelf: Shelf::new(),
        missing: watch::Sender::new(small),
    };
    let line = Line::new(patient.clone(), None);
    let scan = Scan::of(&input(dir.path())).await.unwrap();
    let sent = line.send(scan).await.unwrap();
    assert_eq!(sent.staged.input.packs.len(), packs);
    assert_eq!(patient.shelf.kept.lock().unwrap().len(), small);
}
