resource "google_cloud_run_v2_job" "this" {
  for_each = var.environments

  project  = var.project
  location = var.region
  name     = local.names[each.key]

  # A job holds nothing that is worth protecting, and one whose making failed must be replaced, which protection forbids.
  deletion_protection = false

  template {
    task_count = 1 # overridden by each run

    template {
      service_account               = google_service_account.task[each.key].email
      max_retries                   = 0 # sortie starts a task again itself, where that is right
      timeout                       = "${each.value.timeout_seconds}s"
      execution_environment         = "EXECUTION_ENVIRONMENT_GEN2"
      gpu_zonal_redundancy_disabled = each.value.gpu == null ? null : true

      # Neither command nor args: the image's entrypoint is sortie's.
      containers {
        name  = "task"
        image = local.images[each.key]

        resources {
          limits = merge(
            { cpu = each.value.cpu, memory = each.value.memory },
            each.value.gpu == null ? {} : { "nvidia.com/gpu" = "1" },
          )
        }

        dynamic "env" {
          for_each = each.value.env
          content {
            name  = env.key
            value = env.value
          }
        }

        dynamic "env" {
          for_each = each.value.secrets
          content {
            name = env.key
            value_source {
              secret_key_ref {
                secret = env.value
                # A number, so that tasks of one run cannot see two values. Of somebody else's secret we know none.
                version = var.secrets[env.value].create ? google_secret_manager_secret_version.this[env.value].version : "latest"
              }
            }
          }
        }
      }

      dynamic "node_selector" {
        for_each = each.value.gpu == null ? [] : [each.value.gpu]
        content {
          accelerator = node_selector.value
        }
      }

      dynamic "vpc_access" {
        for_each = local.networks[each.key] == null ? [] : [local.networks[each.key]]
        content {
          egress = vpc_access.value.egress
          network_interfaces {
            network    = vpc_access.value.network
            subnetwork = vpc_access.value.subnetwork
            tags       = vpc_access.value.tags
          }
        }
      }
    }
  }

  # The console and gcloud write these.
  lifecycle {
    ignore_changes = [client, client_version]
  }

  # Making a job fails while its account cannot read its secrets, and no job may run unfiltered for a while.
  depends_on = [
    google_secret_manager_secret_iam_member.task,
    google_compute_network_firewall_policy_association.egress,
    google_compute_router_nat.egress,
    google_dns_record_set.any_google_api,
  ]
}

locals {
  networks = {
    for name, e in var.environments : name => e.egress ? {
      network    = one([for network in google_compute_network.egress : network.id])
      subnetwork = one([for subnetwork in google_compute_subnetwork.egress : subnetwork.id])
      egress     = "ALL_TRAFFIC"
      tags       = tolist([])
    } : e.vpc
  }
}
