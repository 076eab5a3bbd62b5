//! Send local files to an ephemeral Cloud Run Jobs container, run a command there, bring the results home.
//!
//! [`CloudRunJob`] and [`ClaudeCodeJob`] are the library; [`cli`] the program `sortie`. The story of a run is [`run::run`].

pub mod claude_code;
pub mod cli;
mod clock;
mod cloud_run;
mod core_files;
pub mod cost;
pub mod course;
mod credentials;
pub mod doctor;
pub mod error;
pub mod event;
pub mod exit_code;
pub mod forecast;
mod image;
mod init;
pub mod interrupts;
mod job;
mod local;
#[doc(hidden)]
pub mod measure;
mod own_job;
pub mod record;
mod report;
pub mod request;
pub mod results;
mod roles;
pub mod run;
pub mod runs;
pub mod session;
pub mod settings;
mod stage;
mod stream;
mod submit;
mod task_file;
mod text;
mod timeout;

pub use claude_code::{
    ApiKey, ClaudeCodeJob, ClaudeCodeJobConfig, ClaudeCodeJobResult, ClaudeCodeTask,
};
pub use error::Error;
pub use job::{CloudRunJob, CloudRunJobConfig, CloudRunJobResult};
pub use stream::RunStream;
