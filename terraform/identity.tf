# Who the tasks of an environment are. An account of its own each, so that one environment's secrets are not another's.
resource "google_service_account" "task" {
  for_each = var.environments

  project      = var.project
  account_id   = local.account_ids[each.key]
  display_name = "sortie tasks in ${each.key}"
  description  = "Gets inputs, creates results, reads the secrets of its environment."

  depends_on = [google_project_service.this]
}

locals {
  names = { for name in keys(var.environments) : name => "${var.name}-${name}" }

  # At most 30 characters.
  account_ids = { for key, name in local.names : key => length(name) <= 30 ? name : "${substr(name, 0, 23)}-${substr(sha256(name), 0, 6)}" }

  task_members = [for account in google_service_account.task : "serviceAccount:${account.email}"]
}
