resource "google_artifact_registry_repository" "this" {
  project                = var.project
  location               = var.region
  repository_id          = var.name
  description            = "Images of sortie's jobs."
  format                 = "DOCKER"
  cleanup_policy_dry_run = false

  # A tag is a digest of sources: it never means two images.
  docker_config {
    immutable_tags = true
  }

  vulnerability_scanning_config {
    enablement_config = "DISABLED" # billed by the image where the project has it on
  }

  cleanup_policies {
    id     = "old"
    action = "DELETE"
    condition {
      tag_state  = "ANY"
      older_than = "30d"
    }
  }

  # Keeping wins over deleting.
  cleanup_policies {
    id     = "newest"
    action = "KEEP"
    most_recent_versions {
      keep_count = var.images.keep
    }
  }

  depends_on = [google_project_service.this]
}

locals {
  # The host's name is written out, as only newer providers tell it.
  registry = "${var.region}-docker.pkg.dev/${var.project}/${google_artifact_registry_repository.this.repository_id}"
}
