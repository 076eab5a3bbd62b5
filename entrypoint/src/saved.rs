//! What a task leaves behind, on its way home: the outputs first, then what was asked for beside them.

use std::cell::Cell;
use std::future::ready;

use wire::contract::{Archive, Collect, Collected, Outputs, Spec};

use crate::beneath::Directory;
use crate::outputs::{self, OutputsError};
use crate::stop::chain;
use crate::storage::Store;
use crate::workspace::Workspace;

/// What is saved so far.
#[derive(Debug, Default)]
pub(crate) struct Saved {
    /// The output directory.
    pub(crate) outputs: Option<Result<Outputs, OutputsError>>,
    collected: Vec<Result<Outputs, OutputsError>>,
}

impl Saved {
    /// Saves one directory after the other. `room` is what archives may take in the report together.
    pub(crate) async fn save(
        &mut self,
        spec: &Spec,
        workspace: &Workspace,
        store: &Store,
        room: impl Future<Output = usize>,
    ) {
        let left = Cell::new(0);
        let room = async {
            left.set(room.await);
            left.get()
        };
        let (name, output) = (store.objects.outputs(), Directory::At(workspace.output()));
        let outputs = outputs::save(store, &name, &output, spec.output_limit, room).await;
        if let Ok(outputs) = &outputs {
            left.set(left.get().saturating_sub(inline_size(outputs)));
        }
        self.outputs = Some(outputs);
        for (index, collect) in spec.collect.iter().enumerate() {
            let name = store.objects.collected(index);
            let saved = match Directory::find(workspace.root(), collect.path.as_os_str()) {
                Ok(Some(found)) => {
                    let room = ready(left.get());
                    outputs::save(store, &name, &found, spec.output_limit, room).await
                }
                Ok(None) => Ok(Outputs::default()),
                Err(error) => Err(OutputsError::Pack(Box::new(error))),
            };
            if let Ok(outputs) = &saved {
                left.set(left.get().saturating_sub(inline_size(outputs)));
            }
            self.collected.push(saved);
        }
    }

    /// What became of each directory that was asked for; what there was no time for is lost.
    pub(crate) fn collected(&mut self, wanted: &[Collect]) -> Vec<Collected> {
        let mut saved = std::mem::take(&mut self.collected).into_iter();
        let collected = |collect: &Collect| {
            let (outputs, problem) = match saved.next().unwrap_or(Err(OutputsError::Cut)) {
                Ok(outputs) => (outputs, None),
                Err(error) => (Outputs::default(), Some(chain(&error))),
            };
            Collected {
                name: collect.name.clone(),
                outputs,
                problem,
            }
        };
        wanted.iter().map(collected).collect()
    }
}

/// Bytes that an archive takes in the report, before its encoding.
fn inline_size(outputs: &Outputs) -> usize {
    match &outputs.archive {
        Archive::Inline(text) => text.len() / 4 * 3,
        Archive::None | Archive::Object { .. } => 0,
    }
}
