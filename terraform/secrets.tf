locals {
  made_secrets = { for id, secret in var.secrets : id => secret if secret.create }

  # One grant for each account and secret, however many variables hold it.
  secret_grants = merge([
    for name, e in var.environments : { for id in toset(values(e.secrets)) : "${name}/${id}" => { environment = name, id = id } }
  ]...)
}

resource "google_secret_manager_secret" "this" {
  for_each = local.made_secrets

  project   = var.project
  secret_id = each.key

  replication {
    auto {}
  }

  depends_on = [google_project_service.this]
}

resource "google_secret_manager_secret_version" "this" {
  for_each = local.made_secrets

  secret                = google_secret_manager_secret.this[each.key].id
  is_secret_data_base64 = true
  # `lookup`, as the fallback of `try` would lose the sensitive mark and make every later plan show a change. A value
  # that was not given becomes what is no base64, and is refused instead of stored.
  secret_data_wo         = lookup({ for id, value in var.secret_values : id => base64encode(value) }, each.key, "!")
  secret_data_wo_version = each.value.serial
  deletion_policy        = "DISABLE"

  # The jobs move to the new version before the old one is disabled.
  lifecycle {
    create_before_destroy = true
  }
}

resource "google_secret_manager_secret_iam_member" "task" {
  for_each = local.secret_grants

  project   = var.project
  secret_id = var.secrets[each.value.id].create ? google_secret_manager_secret.this[each.value.id].secret_id : each.value.id
  role      = "roles/secretmanager.secretAccessor"
  member    = "serviceAccount:${google_service_account.task[each.value.environment].email}"
}
