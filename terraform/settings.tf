# What the host must know, in three places: outputs for `make config`, and the bucket for who has nothing but its name
# (`sortie init gs://BUCKET`). No secret in it, and no endpoint: a file must not say where tokens go.

locals {
  settings = {
    format  = 1
    project = var.project
    region  = var.region
    bucket  = google_storage_bucket.this.name
    environments = {
      for name, e in var.environments : name => merge(
        {
          job             = google_cloud_run_v2_job.this[name].name
          image           = local.images[name]
          cpu             = e.cpu
          memory          = e.memory
          timeout_seconds = e.timeout_seconds
          secrets         = sort(keys(e.secrets))
        },
        e.gpu == null ? {} : { gpu = e.gpu },
      )
    }
  }

  # The same as sortie.toml. JSON's strings, numbers and lists are TOML's too.
  toml = join("\n", concat(
    ["# Made from the outputs of terraform/: make config. Meant to be committed; it holds no secrets."],
    [for key in ["project", "region", "bucket"] : "${key} = ${jsonencode(local.settings[key])}"],
    flatten([
      for name, e in local.settings.environments : concat(
        ["", "[environments.${name}]"],
        [for key in ["job", "image", "cpu", "memory", "timeout_seconds", "gpu", "secrets"] : "${key} = ${jsonencode(e[key])}" if can(e[key])],
      )
    ]),
    [""],
  ))
}

resource "google_storage_bucket_object" "settings" {
  bucket       = google_storage_bucket.this.name
  name         = "config/sortie.json"
  content      = jsonencode(local.settings)
  content_type = "application/json"
}
