locals {
  bucket = coalesce(var.bucket.name, "${var.project}-${var.name}")

  # How conditions call the bucket's objects: the underscore stands for any project, and is to be written so.
  objects = "projects/_/buckets/${local.bucket}/objects"
}

resource "google_storage_bucket" "this" {
  project                     = var.project
  name                        = local.bucket
  location                    = var.region
  storage_class               = "STANDARD"
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = var.bucket.force_destroy

  versioning {
    enabled = false
  }

  # Left out, it would be seven days, and billed.
  soft_delete_policy {
    retention_duration_seconds = 0
  }

  # sortie moves an input's custom time forward whenever it is used. A rule by age would take one away from beneath a run.
  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      matches_prefix         = ["inputs/"]
      days_since_custom_time = var.bucket.inputs_unused_days
    }
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      matches_prefix = ["runs/"]
      age            = var.bucket.runs_days
    }
  }

  lifecycle_rule {
    action {
      type = "AbortIncompleteMultipartUpload"
    }
    condition {
      age = 1
    }
  }

  depends_on = [google_project_service.this]
}

# These bindings are authoritative for their role and condition, so one written by hand is noticed and undone.

resource "google_storage_bucket_iam_binding" "tasks_get" {
  bucket  = google_storage_bucket.this.name
  role    = "roles/storage.legacyObjectReader" # storage.objects.get and nothing else: no list
  members = local.task_members

  condition {
    title       = "inputs-and-runs"
    description = "Objects whose names the task knows."
    expression  = "resource.name.startsWith(\"${local.objects}/inputs/\") || resource.name.startsWith(\"${local.objects}/runs/\")"
  }
}

resource "google_storage_bucket_iam_binding" "tasks_create" {
  bucket  = google_storage_bucket.this.name
  role    = "roles/storage.objectCreator" # no delete, hence no overwriting either
  members = local.task_members

  condition {
    title       = "runs"
    description = "New objects of runs."
    expression  = "resource.name.startsWith(\"${local.objects}/runs/\")"
  }
}

# Without a condition: listing is asked of the bucket, and no condition on object names holds there.
resource "google_storage_bucket_iam_binding" "team" {
  count = length(local.everybody) == 0 ? 0 : 1

  bucket  = google_storage_bucket.this.name
  role    = "roles/storage.objectUser"
  members = local.everybody
}
