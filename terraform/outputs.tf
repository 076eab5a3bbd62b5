output "next" {
  description = "The commands to type next."
  value       = <<-EOT
    Here:               make config && make run TASK=examples/wordcount.toml
    On another machine: sortie init gs://${google_storage_bucket.this.name}
  EOT
}

output "sortie_config" {
  description = "The host's settings, as in gs://BUCKET/config/sortie.json."
  value       = local.settings
}

output "sortie_toml" {
  description = "The host's settings as the text of sortie.toml: terraform output -raw sortie_toml > sortie.toml"
  value       = local.toml
}

output "bucket" {
  description = "Name of the bucket."
  value       = google_storage_bucket.this.name
}

output "registry" {
  description = "Where images are pushed: REGISTRY/NAME."
  value       = local.registry
}

output "accounts" {
  description = "Who the tasks of each environment are: grant these what your commands need beyond the bucket."
  value       = { for name, account in google_service_account.task : name => account.email }
}
