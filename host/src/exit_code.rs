//! What sortie exits with, other than the command's own code. Public: scripts depend on it.

/// The command, or the batch, succeeded.
pub const SUCCESS: i32 = 0;

/// A batch in which some task did not exit with 0.
pub const BATCH_FAILED: i32 = 1;

/// `sortie doctor` has found what stops a run.
pub const UNHEALTHY: i32 = 1;

/// The command met its timeout (as `timeout` has it).
pub const DEADLINE: i32 = 124;

/// sortie's own failure, lost outputs included (as `docker run` has it).
pub const FAILURE: i32 = 125;

/// Ctrl-C, or a cancel by somebody else.
pub const INTERRUPTED: i32 = 130;
