locals {
  everybody = setunion(var.team, var.developers, flatten([for e in values(var.environments) : tolist(e.members)]))

  # Who may run what; environments that nobody may run need no binding.
  runners = {
    for name, e in var.environments : name => setunion(var.team, var.developers, e.members)
    if length(setunion(var.team, var.developers, e.members)) > 0
  }

  # Project-wide, as Google gives these no smaller place.
  project_roles = merge(
    # Who calls with their own credentials, calls on this project's quota.
    { for m in local.everybody : "${m} serviceUsageConsumer" => { member = m, role = "roles/serviceusage.serviceUsageConsumer" } },
    { for m in var.team_reads_logs ? local.everybody : toset([]) : "${m} logging.viewer" => { member = m, role = "roles/logging.viewer" } },
    # Jobs of their own for `--image`.
    { for m in var.developers : "${m} run.developer" => { member = m, role = "roles/run.developer" } },
  )
}

# Run with overrides, and cancel: the role holds nothing else, not even the right to see what was started.
resource "google_cloud_run_v2_job_iam_binding" "run" {
  for_each = local.runners

  project  = var.project
  location = var.region
  name     = google_cloud_run_v2_job.this[each.key].name
  role     = "roles/run.jobsExecutorWithOverrides"
  members  = each.value
}

resource "google_cloud_run_v2_job_iam_binding" "view" {
  for_each = local.runners

  project  = var.project
  location = var.region
  name     = google_cloud_run_v2_job.this[each.key].name
  role     = "roles/run.viewer"
  members  = each.value
}

# One member at a time: a binding on a project would take the role away from everybody else.
resource "google_project_iam_member" "this" {
  for_each = local.project_roles

  project = var.project
  role    = each.value.role
  member  = each.value.member
}

resource "google_artifact_registry_repository_iam_member" "push" {
  for_each = var.developers

  project    = var.project
  location   = var.region
  repository = google_artifact_registry_repository.this.name
  role       = "roles/artifactregistry.writer"
  member     = each.value
}

resource "google_service_account_iam_member" "act_as" {
  for_each = { for pair in setproduct(keys(var.environments), var.developers) : join(" ", pair) => { environment = pair[0], member = pair[1] } }

  service_account_id = google_service_account.task[each.value.environment].name
  role               = "roles/iam.serviceAccountUser"
  member             = each.value.member
}
