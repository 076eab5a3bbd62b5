//! `--image`, `--cpu`, `--memory`, `--gpu`.

use clap::Args;

use crate::settings::Shape;

/// An image and resources of one's own. In the cloud they make a job like the environment's, which takes the right to
/// make jobs; on this machine, a container by docker or podman.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "What to run in")]
pub(super) struct ShapeArguments {
    /// The image, which has sortie's entrypoint; on this machine any image will do.
    #[arg(long, value_name = "IMAGE[@sha256:…]")]
    image: Option<String>,

    /// vCPUs: 1, 2, 4, 6 or 8.
    #[arg(long, value_name = "N")]
    cpu: Option<String>,

    /// Memory, such as `2Gi`.
    #[arg(long, value_name = "M")]
    memory: Option<String>,

    /// With a GPU, an NVIDIA L4.
    #[arg(long)]
    gpu: bool,
}

impl ShapeArguments {
    /// As the settings take it.
    pub(super) fn into_shape(self) -> Shape {
        Shape {
            image: self.image,
            cpu: self.cpu,
            memory: self.memory,
            gpu: self.gpu,
        }
    }
}
